import asyncio
from typing import Any

import pytest

from mcp_interface.address import Resource, parse_resource
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import Ask, GrantOptions
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_interface.ids import SYSTEM, PrincipalId
from mcp_security.granting import MAX_BUNDLE

DATA = parse_resource("mcp://fs/read/data/**")
X = parse_resource("mcp://fs/read/data/x")


def test_grants_and_delegations_are_on_record_as_what_they_are(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await kernel.request(room.owner, DATA)
            child = await kernel.delegate(root.handle, room.owner, room.agents[0], X)
            told = [
                (entry.kind, entry.principal_id, entry.capability_id, entry.resource_uri, entry.decision)
                for entry in (await room.trail())[-2:]
            ]
            assert told == [
                ("capability_granted", room.owner, root.capability.id, DATA.uri, "granted"),
                ("capability_delegated", room.agents[0], child.capability.id, X.uri, "granted"),
            ]
            assert (await room.trail())[-1].details == {
                "by": room.owner,
                "parent": root.capability.id,
                "expires_at": None,
                "depth": 2,
                "constraints": {},
            }

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [0, MAX_BUNDLE + 1])
def test_a_bundle_is_neither_empty_nor_endless(room, count: int) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await kernel.request(room.owner, DATA)
            with pytest.raises(CallerMistaken):
                await kernel.request_all(room.owner, [Ask(resource=DATA)] * count)
            with pytest.raises(CallerMistaken):
                await kernel.delegate_all(room.owner, room.agents[0], [Ask(handle=root.handle)] * count)
            assert len(kernel.capabilities()) == 1

    asyncio.run(scenario())


def test_the_largest_bundle_is_granted_and_each_of_it_told(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grants = await kernel.request_all(room.owner, [Ask(resource=DATA)] * MAX_BUNDLE)
            granted = [grant.capability.id for grant in grants]
            assert len(set(granted)) == MAX_BUNDLE
            assert [fields["capability_id"] for _, fields in room.told] == granted

    asyncio.run(scenario())


def test_of_a_bundle_the_one_that_fails_is_named_and_none_is_minted(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await kernel.request(room.owner, DATA)
            good, wide = (
                Ask(handle=root.handle),
                Ask(handle=root.handle, resource=parse_resource("mcp://fs/read/**")),
            )
            with pytest.raises(NotPermitted) as caught:
                await kernel.delegate_all(room.owner, room.agents[0], [good, wide, good])
            assert caught.value.details["index"] == 1
            refused = (await room.trail())[-1]
            assert (
                refused.kind,
                refused.decision,
                refused.principal_id,
                refused.resource_uri,
                refused.reason,
            ) == (
                "capability_denied",
                "denied",
                room.owner,
                "mcp://fs/read/**",
                "path_not_allowed",
            )
            assert kernel.held_by(room.agents[0]) == []

    asyncio.run(scenario())


def test_what_asks_for_nothing_in_particular_is_the_callers_mistake_and_on_record(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            with pytest.raises(CallerMistaken):
                await kernel.request_all(room.owner, [Ask()])
            with pytest.raises(CallerMistaken):
                await kernel.delegate_all(room.owner, room.agents[0], [Ask(resource=DATA)])
            assert [entry.reason for entry in (await room.trail())[-2:]] == ["invalid_input"] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("resource", "constraints", "reason"),
    [
        (Resource("fs", "read", "x" * 5000), {}, "invalid_resource_uri"),
        (DATA, {"max_uses": 0}, "invalid_constraint"),
        (DATA, {"moon_phase": "full"}, "unknown_constraint"),
    ],
)
def test_a_refused_grant_is_on_record_with_its_reason(room, resource, constraints, reason: str) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            with pytest.raises((InvalidRecord, NotPermitted)) as caught:
                await kernel.request(room.owner, resource, GrantOptions(constraints=constraints))
            refused = (await room.trail())[-1]
            assert (refused.kind, refused.decision, refused.reason) == ("capability_denied", "denied", reason)
            assert refused.details == {"message": caught.value.message}

    asyncio.run(scenario())


def test_a_refusal_of_who_is_nobody_is_recorded_in_the_name_of_the_system(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            with pytest.raises(InvalidRecord):
                await kernel.request(PrincipalId("no\nbody"), DATA)
            assert (await room.trail())[-1].principal_id == SYSTEM

    asyncio.run(scenario())


def test_what_breaks_while_granting_is_named(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            for agent, broken in ((room.owner, "store"), (room.agents[0], "audit")):
                setattr(room, f"{broken}_broken", True)
                with pytest.raises(NotPermitted) as caught:
                    await kernel.request(agent, DATA)
                details = caught.value.details
                assert (details["reason"], details["cause"]) == ("security_error", "storage_unavailable")

    asyncio.run(scenario())


def test_a_parent_that_ends_while_its_child_is_journaled_gives_no_handle(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await kernel.request(room.owner, DATA)
            append = room.append

            async def slow(*args: Any, **fields: Any) -> Any:
                root.handle.node.take_back()
                return await append(*args, **fields)

            room.append = slow
            kernel._stream._store = room
            with pytest.raises(NotPermitted) as caught:
                await kernel.delegate(root.handle, room.owner, room.agents[0], options=GrantOptions())
            assert caught.value.details["reason"] == "capability_revoked"
            assert kernel.held_by(room.agents[0]) == []

    asyncio.run(scenario())


def test_explaining_shows_the_chain_and_records_nothing(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA.uri)
            before = room.log.head
            told = kernel.explain(room.agents[0], parse_resource("mcp://fs/read/elsewhere"))
            assert told.verdict.reason == "path_not_allowed"
            assert [link.id for link in told.chain] == [
                grant.capability.id,
                grant.capability.parent_capability_id,
            ]
            assert room.log.head == before

    asyncio.run(scenario())


def test_a_right_that_was_given_to_be_handed_on_allows_no_use_but_whoever_gets_it(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            giver, below = room.agents[:2]
            root = await room.root(kernel, DATA.uri)
            marked = GrantOptions(delegation_depth=1, metadata={"for": HANDING_ON})
            right = await kernel.delegate(root.handle, room.owner, giver, options=marked)
            assert not (await kernel.authorize(giver, X)).allowed
            assert not kernel.explain(giver, X).verdict.allowed
            await kernel.delegate(right.handle, giver, below)
            assert (await kernel.authorize(below, X)).allowed
        async with room.kernel() as kernel:
            assert not (await kernel.authorize(giver, X)).allowed, "nor after a restart"
            assert (await kernel.authorize(below, X)).allowed

    asyncio.run(scenario())
