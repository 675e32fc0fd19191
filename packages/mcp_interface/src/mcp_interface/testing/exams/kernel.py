"""The exam of a `SecurityKernel`: default deny, honest verdicts, delegation that never widens."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TypeVar

from mcp_interface.address import parse_resource, resource
from mcp_interface.capability import (
    DEFAULT_DEPTH,
    MAX_DEPTH,
    Ask,
    AuditEntry,
    Context,
    GrantOptions,
    Sealed,
    SecurityKernel,
)
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, NotPermitted
from mcp_interface.ids import CapabilityId, PrincipalId, new_id
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.exams.bench import READ, Bench, check_verdict
from mcp_interface.testing.exams.delegation import DELEGATION
from mcp_interface.testing.exams.durable_rights import fails_closed, outlives_its_process, records_decisions
from mcp_interface.testing.time import ManualClock, SeededEntropy

K = TypeVar("K", bound=SecurityKernel)


async def check_kernel(
    maker: Callable[[Clock, Entropy], AbstractAsyncContextManager[K]],
    *,
    reopen: Callable[[K], AbstractAsyncContextManager[K]] | None = None,
    entries: Callable[[K], Awaitable[Sequence[AuditEntry]]] | None = None,
    break_records: Callable[[K], None] | None = None,
) -> None:
    """Examine a security kernel.

    Args:
        maker: Opens a kernel that knows nothing yet, over the given clock and entropy, and closes it.
        reopen: Ends the given kernel and opens another over what it left, with the same clock. Declares that
            rights outlive the process; None leaves that unexamined.
        entries: Reads the audit trail, oldest first; None leaves it unexamined.
        break_records: Makes every further record fail; None leaves that unexamined.

    Raises:
        AssertionError: Names the broken promise.
    """
    for part in (
        _denies_by_default,
        _grants_what_was_asked,
        _refuses_bad_grants,
        _grants_bundles,
        _names_the_reason,
        _ends_at_the_expiry,
        _counts_uses,
        _denies_what_it_cannot_judge,
        _hands_out_handles,
        _explains,
        *DELEGATION,
    ):
        clock = ManualClock()
        async with maker(clock, SeededEntropy()) as kernel:
            await within(part(Bench(kernel, clock)), f"check_kernel.{part.__name__.strip('_')}")
    clock = ManualClock()
    if reopen is not None:
        async with maker(clock, SeededEntropy()) as kernel:
            await within(outlives_its_process(kernel, clock, reopen), "check_kernel.outlives_its_process")
    if entries is not None:
        async with maker(clock, SeededEntropy()) as kernel:
            await within(records_decisions(kernel, clock, entries), "check_kernel.records_decisions")
    if break_records is not None:
        async with maker(clock, SeededEntropy()) as kernel:
            await within(fails_closed(kernel, clock, break_records), "check_kernel.fails_closed")


async def _denies_by_default(bench: Bench) -> None:
    kernel, agent = bench.kernel, bench.agents[0]
    assert list(kernel.capabilities()) == [], "a new kernel has no capabilities"
    assert list(kernel.held_by(agent)) == [], "a new agent holds nothing"
    verdict = await kernel.authorize(agent, READ)
    check_verdict(verdict, allowed=False, reason="no_capability")
    assert verdict.audit_seq is not None, "a denial is recorded"
    assert verdict.needed is not None, "a denial names the grant that would help"
    await bench.root(agent, verdict.needed)
    check_verdict(await kernel.authorize(agent, READ), allowed=True)
    made_up = kernel.validate(Sealed(b"made up"), agent, READ)
    check_verdict(made_up, allowed=False, reason="unknown_capability")
    public = Sealed(kernel.held_by(agent)[0].id.encode())
    assert not kernel.validate(public, agent, READ).allowed, "a capability's id is not its handle"


async def _grants_what_was_asked(bench: Bench) -> None:
    kernel, owner, now = bench.kernel, bench.owner, bench.clock.now()
    plain = (await kernel.request(owner, READ)).capability
    plain.validate()
    assert plain.resource_uri == READ.uri, "the grant speaks of the resource that was asked for"
    assert (plain.principal_id, plain.parent_capability_id) == (owner, None), "a root grant has no parent"
    assert (plain.granted_at, plain.expires_at) == (now, None), "granted now, without an end"
    assert plain.delegation_depth == DEFAULT_DEPTH, f"the default depth is {DEFAULT_DEPTH}"
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    asked = GrantOptions(
        expires_in=hour, expires_at=now + minute, delegation_depth=0, metadata={"why": "", "count": 0}
    )
    limited = (await kernel.request(owner, READ, asked)).capability
    assert limited.expires_at == now + minute, "the earlier of both expiries wins"
    assert limited.delegation_depth == 0, "depth zero is a value"
    assert limited.metadata == {"why": "", "count": 0}, "metadata is kept"
    later = GrantOptions(expires_in=minute, expires_at=now + hour)
    third = (await kernel.request(owner, READ, later)).capability
    assert third.expires_at == now + minute, "the earlier of both expiries wins"
    ids = [capability.id for capability in kernel.held_by(owner)]
    assert ids == [plain.id, limited.id, third.id], "held_by gives everything, oldest first"
    assert list(kernel.capabilities()) == list(kernel.held_by(owner)), "capabilities gives everybody's"


async def _refuses_bad_grants(bench: Bench) -> None:
    kernel, owner, now = bench.kernel, bench.owner, bench.clock.now()
    for principal, options, what in (
        (PrincipalId("nobody"), GrantOptions(), "a grant to a made-up principal"),
        (owner, GrantOptions(delegation_depth=MAX_DEPTH + 1), "too great a depth"),
        (owner, GrantOptions(delegation_depth=-1), "a depth of -1"),
        (owner, GrantOptions(expires_at=now), "a grant that ends as it begins"),
        (owner, GrantOptions(expires_in=timedelta(seconds=-1)), "a grant that ends before it begins"),
    ):
        with refuses(InvalidRecord, what=what):
            await kernel.request(principal, READ, options)
    assert list(kernel.capabilities()) == [], "a refused grant leaves no trace"


async def _grants_bundles(bench: Bench) -> None:
    kernel, owner, agent = bench.kernel, bench.owner, bench.agents[0]
    other = resource("fs", "read", "elsewhere")
    roots = await kernel.request_all(owner, [Ask(resource=READ), Ask(resource=other)])
    assert [grant.capability.resource_uri for grant in roots] == [READ.uri, other.uri], "in the order asked"
    for asks, what in (
        ([Ask(handle=roots[0].handle), Ask(handle=Sealed(b"made up"))], "a bundle with a made-up handle"),
        ([Ask(handle=roots[0].handle), Ask(handle=roots[1].handle, resource=READ)], "a bundle that exceeds"),
        ([Ask(handle=roots[0].handle), Ask(resource=READ)], "a bundle that names no parent"),
    ):
        with refuses(NotPermitted, CallerMistaken, what=what):
            await kernel.delegate_all(owner, agent, asks)
        assert list(kernel.held_by(agent)) == [], f"{what} gives nothing"
    with refuses(InvalidRecord, CallerMistaken, what="a bundle with a bad depth"):
        await kernel.request_all(
            agent, [Ask(resource=READ), Ask(resource=other, options=GrantOptions(delegation_depth=-1))]
        )
    assert list(kernel.held_by(agent)) == [], "a refused bundle leaves no trace"
    children = await kernel.delegate_all(owner, agent, [Ask(handle=grant.handle) for grant in roots])
    assert list(kernel.held_by(agent)) == [grant.capability for grant in children], "all of it is held"
    check_verdict(await kernel.authorize(agent, other), allowed=True)


async def _names_the_reason(bench: Bench) -> None:
    kernel, agent = bench.kernel, bench.agents[0]
    handle = (await bench.root(agent, "mcp://fs/read/data/**")).handle
    for uri, reason in (
        ("mcp://fs/read/data/x", "allowed"),
        ("mcp://fs/read/data/deep/er", "allowed"),
        ("mcp://fs/write/data/x", "resource_mismatch"),
        ("mcp://shell/execute/data/x", "resource_mismatch"),
        ("mcp://fs/read/database/x", "path_not_allowed"),
        ("mcp://fs/read/other", "path_not_allowed"),
        ("mcp://fs/read/data*/**", "path_not_allowed"),
    ):
        wanted = parse_resource(uri)
        allowed = reason == "allowed"
        verdict = kernel.validate(handle, agent, wanted)
        check_verdict(verdict, allowed=allowed, reason=reason)
        assert verdict.audit_seq is None, "validate records nothing"
        assert kernel.validate(handle, agent, wanted) == verdict, "validate is pure"
        recorded = await kernel.authorize(agent, wanted, Context(note="exam"), handle)
        check_verdict(recorded, allowed=allowed, reason=reason)
        assert recorded.audit_seq is not None, "authorize records"
        assert (await kernel.authorize(agent, wanted)).allowed == allowed, f"{uri} without a handle"
    stranger = kernel.validate(handle, bench.agents[1], parse_resource("mcp://fs/read/data/x"))
    check_verdict(stranger, allowed=False, reason="wrong_principal")
    numbers = [(await kernel.authorize(agent, READ)).audit_seq or 0 for _ in range(3)]
    assert numbers == sorted(set(numbers)), f"audit numbers rise: {numbers}"


async def _ends_at_the_expiry(bench: Bench) -> None:
    kernel, agent, clock = bench.kernel, bench.agents[0], bench.clock
    grant = await kernel.request(agent, READ, GrantOptions(expires_in=timedelta(seconds=10)))
    clock.advance(9.999)
    check_verdict(kernel.validate(grant.handle, agent, READ), allowed=True)
    assert [held.id for held in kernel.held_by(agent)] == [grant.capability.id], "it still holds"
    clock.advance(0.001)
    check_verdict(kernel.validate(grant.handle, agent, READ), allowed=False, reason="expired")
    assert not (await kernel.authorize(agent, READ)).allowed, "an expired right allows nothing"
    assert list(kernel.held_by(agent)) == [], "an expired right is not held"
    assert list(kernel.capabilities()) == [], "an expired right is not live"
    with refuses(NotFound, what="the handle of an expired right"):
        kernel.handle_of(grant.capability.id, agent)


async def _counts_uses(bench: Bench) -> None:
    kernel, agent = bench.kernel, bench.agents[0]
    grant = await kernel.request(agent, READ, GrantOptions(constraints={"max_uses": 2}))
    for _ in range(3):
        check_verdict(kernel.validate(grant.handle, agent, READ), allowed=True)
    assert not (await kernel.authorize(agent, resource("fs", "read", "elsewhere"))).allowed
    check_verdict(await kernel.authorize(agent, READ), allowed=True)
    check_verdict(await kernel.authorize(agent, READ, handle=grant.handle), allowed=True)
    spent = await kernel.authorize(agent, READ, handle=grant.handle)
    check_verdict(spent, allowed=False, reason="uses_exhausted")
    assert not (await kernel.authorize(agent, READ)).allowed, "a spent right allows nothing"
    check_verdict(kernel.validate(grant.handle, agent, READ), allowed=False, reason="uses_exhausted")
    await bench.root(agent, READ.uri)
    check_verdict(await kernel.authorize(agent, READ), allowed=True)


async def _denies_what_it_cannot_judge(bench: Bench) -> None:
    kernel, agent = bench.kernel, bench.agents[0]
    for name, value in (("phase_of_the_moon", "full"), ("max_uses", 0), ("max_uses", "many")):
        try:
            grant = await kernel.request(agent, READ, GrantOptions(constraints={name: value}))
        except (CallerMistaken, NotPermitted):
            assert list(kernel.held_by(agent)) == [], "a refused grant leaves no trace"
            continue
        verdict = kernel.validate(grant.handle, agent, READ)
        check_verdict(verdict, allowed=False, reason=None if name == "max_uses" else "unknown_constraint")
        assert not (await kernel.authorize(agent, READ)).allowed, f"{name}={value!r} denies"
        await kernel.revoke(grant.capability.id, agent)


async def _hands_out_handles(bench: Bench) -> None:
    kernel, (first, second, _) = bench.kernel, bench.agents
    one, two = await bench.root(first, READ.uri), await bench.root(first, READ.uri)
    assert one.handle != two.handle, "every capability has its own handle"
    assert one.capability.id != two.capability.id, "every capability has its own id"
    for grant in (one, two):
        assert kernel.handle_of(grant.capability.id, first) == grant.handle, "handle_of finds the handle"
        secret = grant.handle.reveal()
        for shown in (repr(grant), repr(kernel.held_by(first))):
            assert secret.hex() not in shown and repr(secret) not in shown, "a handle never shows"
    unknown = CapabilityId(new_id("cap", SeededEntropy(404)))
    for capability, principal in ((one.capability.id, second), (unknown, first)):
        with refuses(NotFound, what="the handle of a right that the principal does not hold"):
            kernel.handle_of(capability, principal)


async def _explains(bench: Bench) -> None:
    kernel, (first, second, _) = bench.kernel, bench.agents
    nothing = kernel.explain(first, READ)
    check_verdict(nothing.verdict, allowed=False, reason="no_capability")
    assert (nothing.considered, nothing.chain) == ([], []), "who holds nothing has nothing to consider"
    root = await bench.root(first, "mcp://fs/read/data/**")
    other = await bench.root(first, "mcp://tool/execute/server/**")
    child = await kernel.delegate(root.handle, first, second, READ)
    told = kernel.explain(second, READ)
    assert (told.principal_id, told.resource_uri) == (second, READ.uri), "it says what was asked"
    check_verdict(told.verdict, allowed=True)
    assert told.verdict.audit_seq is None, "explaining records no decision"
    chain = [link.id for link in told.chain]
    assert chain == [child.capability.id, root.capability.id], "the chain goes up to the root grant"
    considered = [held.id for held in kernel.explain(first, READ).considered]
    assert considered == [root.capability.id], f"only the same type is considered, not {other.capability.id}"
    missing = kernel.explain(second, resource("fs", "read", "elsewhere")).verdict
    check_verdict(missing, allowed=False)
