"""The law of the kernel: whatever a child allows, its parent allows; and a restart changes no verdict."""

import asyncio
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.address import Resource, resource
from mcp_interface.capability import Capability, Grant, GrantOptions
from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_interface.testing import ManualClock, MemoryStore, SeededEntropy
from mcp_security import AuditLog, Kernel

HOLDERS = [PrincipalId(f"user_{number:032x}") for number in range(3)]
segment = st.sampled_from(["a", "b", "ab", "*", "a*", "*b"])
names = st.sampled_from(["a", "b", "ab", "ba", "aab"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    parts = draw(st.lists(segment, max_size=3))
    return "/".join(parts) + draw(st.sampled_from(["", "/", "/**"])) if parts else "**"


@st.composite
def constraints(draw: st.DrawFn) -> dict:
    some = {
        "allowed_paths": st.lists(paths(), min_size=1, max_size=2),
        "denied_paths": st.lists(paths(), max_size=2),
        "max_uses": st.integers(1, 3),
        "max_delegation_depth": st.integers(0, 4),
    }
    return {key: draw(some[key]) for key in draw(st.sets(st.sampled_from(sorted(some)), max_size=2))}


asked = st.builds(
    GrantOptions,
    expires_in=st.none() | st.sampled_from([timedelta(seconds=5), timedelta(seconds=50)]),
    delegation_depth=st.none() | st.integers(0, 5),
    constraints=constraints(),
)
things = st.builds(
    lambda parts, tail: resource("fs", "read", "/".join(parts) + tail),
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/"]),
)
steps = st.one_of(
    st.tuples(st.just("root"), st.integers(0, 2), paths(), asked),
    st.tuples(st.just("delegate"), st.integers(0, 20), st.integers(0, 2), st.none() | paths(), asked),
    st.tuples(st.just("delegate"), st.integers(0, 20), st.integers(0, 2), st.none(), asked),
    st.tuples(st.just("use"), st.integers(0, 2), things),
    st.tuples(st.just("revoke"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.sampled_from([1, 10])),
)


async def play(kernel: Kernel, clock: ManualClock, script: list) -> list[Grant]:
    grants: list[Grant] = []
    for step in script:
        try:
            match step:
                case ("root", who, path, options):
                    wanted = resource("fs", "read", path)
                    grants.append(await kernel.request(HOLDERS[who], wanted, options))
                case ("delegate", which, to, path, options) if grants:
                    parent = grants[which % len(grants)]
                    wanted = None if path is None else resource("fs", "read", path)
                    giver = parent.capability.principal_id
                    grants.append(await kernel.delegate(parent.handle, giver, HOLDERS[to], wanted, options))
                case ("use", who, thing):
                    await kernel.authorize(HOLDERS[who], thing)
                case ("revoke", which) if grants:
                    target = grants[which % len(grants)].capability
                    await kernel.revoke(target.id, target.principal_id)
                case ("wait", seconds):
                    clock.advance(seconds)
        except (NotPermitted, InvalidRecord):
            continue
    return grants


def allowed(kernel: Kernel, capability: Capability, thing: Resource) -> bool:
    node = kernel._tree.get(capability.id)  # what has ended may be forgotten
    return node is not None and kernel.validate(node.handle, capability.principal_id, thing).allowed


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, min_size=2, max_size=14), st.lists(things, min_size=1, max_size=12))
def test_a_child_never_allows_what_its_parent_denies_and_a_restart_changes_nothing(
    script: list, wanted: list[Resource]
) -> None:
    async def scenario(folder: Path) -> None:
        clock, store, entropy = ManualClock(), MemoryStore(), SeededEntropy()
        log = await AuditLog.open(folder / "audit.jsonl", clock)
        kernel = await Kernel.open(store, await store.claim(), log, clock, entropy)
        grants = [grant.capability for grant in await play(kernel, clock, script)]
        by_id = {capability.id: capability for capability in grants}
        before = {}
        for capability in grants:
            parent = by_id.get(capability.parent_capability_id)
            for thing in wanted:
                may = before[capability.id, thing] = allowed(kernel, capability, thing)
                if may and parent is not None:
                    assert allowed(kernel, parent, thing), (capability, parent, thing)
        again = await Kernel.open(store, await store.claim(), log, clock, entropy)
        for (capability_id, thing), may in before.items():
            assert allowed(again, by_id[capability_id], thing) == may
        assert [one.id for one in again.capabilities()] == [one.id for one in kernel.capabilities()]
        assert (await log.verify()).ok
        await log.close()

    with TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))
