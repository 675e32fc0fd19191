"""The kernel against a naive model: never a stale allow, never a wider child, never a wrong no.

The model knows no epochs, no merged limits and no shared counters. It walks up to the root each time and asks
every link its own question, so that a right is allowed if and only if all of its ancestors' terms are met.
Usually some thousands of steps; a million under `UMBRELLA_PROFILE=nightly`.
"""

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from mcp_interface.address import Resource, resource
from mcp_interface.capability import Ask, AuditEntry, Facts, Grant, GrantOptions, Sealed
from mcp_interface.errors import InvalidRecord, NotFound, NotPermitted
from mcp_interface.ids import SYSTEM, PrincipalId
from mcp_interface.testing import ManualClock, MemoryStore, SeededEntropy
from mcp_interface.testing.patterns import covers
from mcp_security import Kernel
from mcp_security.audit import Draft

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
PERSON = PrincipalId(f"user_{0:032x}")
HOLDERS = [PERSON, *(PrincipalId(f"agent_{number:032x}") for number in range(1, 4))]
PATTERNS = ["**", "a/**", "a/", "a/b", "a/b/**", "a/*", "*/b", "ab/**", "a/b/c", "a*/**"]
THINGS = ["a", "a/b", "a/b/c", "ab", "ab/c", "b/b", "a/bc", "abc/d", "a/b/c/d"]


class Trail:
    """An audit that keeps nothing but its length."""

    def __init__(self) -> None:
        self.seq = 0

    @property
    def head(self) -> tuple[int, str]:
        return self.seq, ""

    async def append(self, **fields: Any) -> AuditEntry:
        return (await self.append_all([Draft(**fields)]))[0]

    async def append_all(self, drafts: Sequence[Draft]) -> list[AuditEntry]:
        entries = []
        for draft in drafts:
            self.seq += 1
            now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
            entries.append(
                AuditEntry(seq=self.seq, time=now, kind=draft.kind, principal_id=draft.principal_id)
            )
        return entries


class Link:
    """One right as the model sees it: what was asked for, and from whom it came."""

    def __init__(
        self, parent: "Link | None", grant: Grant, wanted: Resource, options: GrantOptions, now: datetime
    ) -> None:
        self.parent = parent
        self.grant = grant
        self.holder = grant.capability.principal_id
        self.wanted = wanted
        self.limits = options.constraints
        self.ends = None if options.expires_in is None else now + options.expires_in
        self.revoked = False
        self.uses = 0
        self.tokens = Fraction(self.limits.get("rate_limit", {}).get("count", 0))
        self.refilled = now

    def chain(self) -> "list[Link]":
        return [self] if self.parent is None else [self, *self.parent.chain()]

    def stands(self, now: datetime) -> bool:
        return not self.revoked and (self.ends is None or now < self.ends)

    def refill(self, now: datetime) -> None:
        rate = self.limits.get("rate_limit")
        if rate is not None:
            passed = Fraction((now - self.refilled).total_seconds())
            more = self.tokens + passed * rate["count"] / rate["per_s"]
            self.tokens, self.refilled = min(Fraction(rate["count"]), more), now

    def lets(self, thing: Resource, facts: Facts, now: datetime) -> bool:
        self.refill(now)
        limits = self.limits
        path = thing.path
        size = limits.get("max_bytes")
        return (
            self.stands(now)
            and covers(self.wanted, thing)
            and self.uses < limits.get("max_uses", self.uses + 1)
            and all(
                path != each and not path.startswith(f"{each}/") for each in limits.get("denied_paths", [])
            )
            and any(
                covers(resource("fs", "read", each), thing) for each in limits.get("allowed_paths", ["**"])
            )
            and (size is None or (facts.size is not None and facts.size <= size))
            and ("rate_limit" not in limits or self.tokens >= 1)
        )


limits = st.fixed_dictionaries(
    {},
    optional={
        "max_uses": st.integers(1, 4),
        "allowed_paths": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2),
        "denied_paths": st.lists(st.sampled_from(["a/b", "ab", "b", "a/b/c"]), max_size=2, unique=True),
        "max_bytes": st.sampled_from([0, 5, 10]),
        "rate_limit": st.builds(
            lambda count, per_s: {"count": count, "per_s": per_s}, st.integers(1, 3), st.sampled_from([4, 8])
        ),
    },
)
asked = st.builds(
    GrantOptions,
    expires_in=st.none() | st.sampled_from([timedelta(seconds=5), timedelta(seconds=60)]),
    constraints=st.just({}) | limits,
)
things = st.sampled_from([resource("fs", "read", path) for path in THINGS])
stated = st.sampled_from([Facts(), Facts(size=0), Facts(size=7), Facts(size=11)])
patterns = st.sampled_from([resource("fs", "read", path) for path in PATTERNS])


class KernelMachine(RuleBasedStateMachine):
    """Rules are what people, agents and processes do; every answer is compared with the model's."""

    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock, self.entropy = ManualClock(), SeededEntropy()
        self.store, self.trail = MemoryStore(), Trail()
        self.all: list[Link] = []
        self.start()

    def start(self) -> None:
        async def opened() -> Kernel:
            epoch = await self.store.claim()
            return await Kernel.open(self.store, epoch, self.trail, self.clock, self.entropy)

        self.kernel = self.loop.run(opened())

    def teardown(self) -> None:
        self.loop.close()

    def allowed(self, link: Link, who: PrincipalId, thing: Resource, facts: Facts) -> bool:
        now = self.clock.now()
        return who == link.holder and all(each.lets(thing, facts, now) for each in link.chain())

    @rule(target=links, wanted=patterns, options=asked)
    def request(self, wanted: Resource, options: GrantOptions) -> Link:
        grant = self.loop.run(self.kernel.request(PERSON, wanted, options))
        link = Link(None, grant, wanted, options, self.clock.now())
        self.all.append(link)
        return link

    @rule(
        target=links,
        parent=links,
        by=st.sampled_from(HOLDERS),
        honest=st.booleans(),
        to=st.sampled_from(HOLDERS),
        wanted=st.none() | patterns,
        options=asked,
    )
    def delegate(
        self,
        parent: Link,
        by: PrincipalId,
        honest: bool,
        to: PrincipalId,
        wanted: Resource | None,
        options: GrantOptions,
    ) -> Any:
        by = parent.holder if honest else by
        now = self.clock.now()
        standing = by == parent.holder and all(each.stands(now) for each in parent.chain())
        left = parent.grant.capability.delegation_depth
        fresh = all(each.uses < each.limits.get("max_uses", each.uses + 1) for each in parent.chain())
        try:
            grant = self.loop.run(self.kernel.delegate(parent.grant.handle, by, to, wanted, options))
        except (NotPermitted, InvalidRecord):
            plain = wanted is None and "allowed_paths" not in options.constraints
            assert not (standing and left and plain and fresh), "refused what is plainly narrower"
            return multiple()
        assert standing and left, "handed on by who could not"
        link = Link(parent, grant, wanted or parent.wanted, options, now)
        self.all.append(link)
        return link

    @rule(parents=st.lists(links, min_size=1, max_size=3), to=st.sampled_from(HOLDERS), wanted=patterns)
    def bundle_is_all_or_none(self, parents: list[Link], to: PrincipalId, wanted: Resource) -> None:
        by = parents[0].holder
        before = len(self.kernel.capabilities())
        asks = [Ask(handle=parent.grant.handle, resource=wanted) for parent in parents]
        try:
            grants = self.loop.run(self.kernel.delegate_all(by, to, asks))
        except (NotPermitted, InvalidRecord):
            assert len(self.kernel.capabilities()) == before
            return
        now = self.clock.now()
        for parent, grant in zip(parents, grants, strict=True):
            assert all(each.stands(now) for each in parent.chain()) and parent.holder == by
            self.all.append(Link(parent, grant, wanted, GrantOptions(), now))

    @rule(link=links, who=st.sampled_from(HOLDERS), honest=st.booleans(), thing=things, facts=stated)
    def validate(self, link: Link, who: PrincipalId, honest: bool, thing: Resource, facts: Facts) -> None:
        who = link.holder if honest else who
        verdict = self.kernel.validate(link.grant.handle, who, thing, facts)
        assert verdict.allowed == self.allowed(link, who, thing, facts), verdict.message
        text = Sealed(link.grant.handle.reveal())
        assert self.kernel.validate(text, who, thing, facts).allowed == verdict.allowed

    @rule(link=links, thing=things, facts=stated)
    def use(self, link: Link, thing: Resource, facts: Facts) -> None:
        expected = self.allowed(link, link.holder, thing, facts)
        verdict = self.loop.run(
            self.kernel.authorize(link.holder, thing, handle=link.grant.handle, facts=facts)
        )
        assert verdict.allowed == expected, verdict.message
        if expected:
            for each in link.chain():
                each.uses += 1
                each.tokens -= 1

    @rule(who=st.sampled_from(HOLDERS), thing=things, facts=stated)
    def use_what_is_held(self, who: PrincipalId, thing: Resource, facts: Facts) -> None:
        can = [link for link in self.all if self.allowed(link, who, thing, facts)]
        verdict = self.loop.run(self.kernel.authorize(who, thing, facts=facts))
        assert verdict.allowed == bool(can), verdict.message
        if verdict.allowed:
            used = next(link for link in can if link.grant.capability.id == verdict.capability_id)
            for each in used.chain():
                each.uses += 1
                each.tokens -= 1

    @rule(link=consumes(links), by=st.sampled_from(["holder", "root", "system"]))
    def revoke(self, link: Link, by: str) -> None:
        who = {"holder": link.holder, "root": link.chain()[-1].holder, "system": SYSTEM}[by]
        try:
            self.loop.run(self.kernel.revoke(link.grant.capability.id, who))
        except NotFound:
            assert not all(each.stands(self.clock.now()) for each in link.chain())
        link.revoked = True

    @rule(link=links)
    def a_stranger_revokes_nothing(self, link: Link) -> None:
        stranger = PrincipalId(f"agent_{99:032x}")
        now = self.clock.now()
        try:
            assert not self.loop.run(self.kernel.revoke(link.grant.capability.id, stranger))
        except NotPermitted:
            return
        except NotFound:  # a snapshot leaves out what has expired
            pass
        assert not all(each.stands(now) for each in link.chain())

    @rule(who=st.sampled_from(HOLDERS[1:]))
    def holder_dies(self, who: PrincipalId) -> None:
        self.loop.run(self.kernel.revoke_all(who, SYSTEM, "it died"))
        for link in self.all:
            if link.holder == who:
                link.revoked = True

    @rule(seconds=st.sampled_from([1, 2, 7, 61]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(shortcut=st.booleans())
    def restart(self, shortcut: bool) -> None:
        if shortcut:
            self.loop.run(self.kernel.close())
        old = self.kernel
        self.start()
        now = self.clock.now()
        for link in self.all:
            assert not self.kernel.validate(link.grant.handle, link.holder, link.wanted).allowed
            # a restart fills the buckets again; the model is told so
            link.tokens = Fraction(link.limits.get("rate_limit", {}).get("count", 0))
            link.refilled = now
            if all(each.stands(now) for each in link.chain()):
                handle = self.kernel.handle_of(link.grant.capability.id, link.holder)
                link.grant = Grant(link.grant.capability, handle)
            else:
                assert link.grant.capability not in self.kernel.held_by(link.holder)
        assert old is not self.kernel

    @invariant()
    def what_is_held_is_what_stands(self) -> None:
        now = self.clock.now()
        standing = {
            link.grant.capability.id for link in self.all if all(each.stands(now) for each in link.chain())
        }
        assert {capability.id for capability in self.kernel.capabilities()} == standing


KernelMachine.TestCase.settings = settings(
    max_examples=5_000 if NIGHTLY else 60,
    stateful_step_count=200 if NIGHTLY else 50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestKernel = KernelMachine.TestCase
