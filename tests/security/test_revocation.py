import asyncio
import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import GrantOptions
from mcp_interface.errors import NotPermitted, StorageUnavailable
from mcp_interface.events import CapabilityRevoked, RevocationSettled
from mcp_interface.ids import SYSTEM
from mcp_security import revocation

DATA = "mcp://fs/read/data/**"
X = parse_resource("mcp://fs/read/data/x")


async def chain(kernel: Any, room: Any, length: int) -> list[Any]:
    grants = [await room.root(kernel, DATA, delegation_depth=1000)]
    holders = [room.owner, *(room.agents[at % 2] for at in range(length))]
    for giver, taker in pairwise(holders):
        grants.append(await kernel.delegate(grants[-1].handle, giver, taker))
    return grants


def test_revoking_the_root_ends_the_leaf_of_a_thousand_at_once(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grants = await chain(kernel, room, 1000)
            leaf, holder = grants[-1], grants[-1].capability.principal_id
            assert leaf.capability.delegation_depth == 0
            assert kernel.validate(leaf.handle, holder, X).allowed
            ending = kernel.revoke(grants[0].capability.id, room.owner)
            ending.send(None)  # up to where it first waits
            assert kernel.validate(leaf.handle, holder, X).reason == "capability_revoked"
            ending.close()
            assert len(await kernel.revoke(grants[0].capability.id, room.owner)) == 1000
            await kernel.settled()
            assert kernel.capabilities() == []

    asyncio.run(scenario())


def test_the_middle_of_a_family_ends_and_the_rest_lives(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grants = await chain(kernel, room, 6)
            sibling = await kernel.delegate(grants[0].handle, room.owner, room.agents[3])
            await kernel.revoke(grants[3].capability.id, SYSTEM)
            alive = [
                kernel.validate(grant.handle, grant.capability.principal_id, X).allowed for grant in grants
            ]
            assert alive == [True] * 3 + [False] * 4
            assert kernel.validate(sibling.handle, room.agents[3], X).allowed

    asyncio.run(scenario())


def test_more_than_are_listed_end_at_once_and_are_recorded_behind(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 3)
    monkeypatch.setattr(revocation, "BATCH", 2)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for at in range(10):
                child = await kernel.delegate(root.handle, room.owner, room.agents[at % 4])
                await kernel.delegate(child.handle, room.agents[at % 4], room.agents[0])
            ended = await kernel.revoke(root.capability.id, room.owner, "enough")
            assert len(ended) == 3 and ended[0] == root.capability.id
            assert all(not kernel.held_by(agent) for agent in room.agents)
            await kernel.settled()
            told = [entry.capability_id for entry in await room.trail() if entry.decision == "revoked"]
            assert len(told) == len(set(told)) == 21
            records = await room.store.read("security")
            assert isinstance(records[-1].event, RevocationSettled)
            assert len(kernel._tree) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("shape", ["chain", "star"])
@pytest.mark.parametrize("size", range(1, 8))
def test_every_end_is_recorded_once_whatever_the_shape_of_the_family(room, monkeypatch, shape, size) -> None:
    monkeypatch.setattr(revocation, "LISTED", 3)
    monkeypatch.setattr(revocation, "BATCH", 2)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            family = [await room.root(kernel, DATA, delegation_depth=9)]
            for _ in range(size - 1):
                above = family[-1 if shape == "chain" else 0].handle
                family.append(await kernel.delegate(above, room.owner, room.owner))
            ended = await kernel.revoke(family[0].capability.id, room.owner, "enough")
            assert len(ended) == min(size, 3)
            last = (await room.store.read("security"))[-1].event
            assert isinstance(last, RevocationSettled) == (size <= 3)  # a small family in one step
            await kernel.settled()
            told = [entry for entry in await room.trail() if entry.decision == "revoked"]
            assert sorted(entry.capability_id for entry in told) == sorted(
                one.capability.id for one in family
            )
            assert {(entry.kind, entry.reason, entry.details["by"]) for entry in told} == {
                ("capability_revoked", "enough", room.owner)
            }
            events = [record.event for record in await room.store.read("security")]
            settled = [event for event in events if isinstance(event, RevocationSettled)]
            assert [event.capability_ids for event in settled] == [[family[0].capability.id]]
            assert settled[0].ended == size - 1
            revoked = [event for event in events if isinstance(event, CapabilityRevoked)]
            assert [event.audit_seq for event in revoked] == [told[len(ended) - 1].seq]
            assert len(kernel._tree) == 0
            counts = [fields["count"] for name, fields in room.told if name == "mcp.capability.revoked"]
            assert counts == [1] * size

    asyncio.run(scenario())


def test_a_family_that_could_not_be_recorded_is_recorded_whole_when_repeated(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            children = [await kernel.delegate(root.handle, room.owner, agent) for agent in room.agents]
            room.store_broken = True
            with pytest.raises(StorageUnavailable):
                await kernel.revoke(root.capability.id, room.owner)
            room.store_broken = False
            ended = await kernel.revoke(root.capability.id, room.owner)
            assert ended == [one.capability.id for one in (root, *children)]

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", [False, True])
def test_only_ends_that_could_not_be_recorded_are_complained_of(
    room, monkeypatch, caplog, broken: bool
) -> None:
    monkeypatch.setattr(revocation, "LISTED", 1)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for agent in room.agents:
                await kernel.delegate(root.handle, room.owner, agent)
            await kernel.revoke(root.capability.id, room.owner)
            room.audit_broken = broken
            await kernel.settled()
            room.audit_broken = False
            assert all(not kernel.held_by(agent) for agent in room.agents)

    asyncio.run(scenario())
    assert [("could not all be recorded" in record.message) for record in caplog.records] == [True] * broken


def test_a_recording_that_is_cancelled_is_no_failure(room, monkeypatch, caplog) -> None:
    monkeypatch.setattr(revocation, "LISTED", 1)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            await kernel.delegate(root.handle, room.owner, room.agents[0])
            await kernel.revoke(root.capability.id, room.owner)
            for task in kernel._revocation._settling:
                task.cancel()
            await kernel.settled()
            assert not kernel._revocation._settling

    asyncio.run(scenario())


@pytest.mark.parametrize("children", [0, 1, 5])
def test_all_that_a_holder_loses_is_recorded_however_much_it_is(room, monkeypatch, children: int) -> None:
    monkeypatch.setattr(revocation, "LISTED", 3)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            lost = [await kernel.delegate(root.handle, room.owner, room.agents[0]) for _ in range(5)]
            derived = [
                await kernel.delegate(one.handle, room.agents[0], room.agents[1])
                for one in lost
                for _ in range(children)
            ]
            assert len(await kernel.revoke_all(room.agents[0], room.owner)) == 3
            await kernel.settled()
            told = [entry.capability_id for entry in await room.trail() if entry.decision == "revoked"]
            assert sorted(told) == sorted(one.capability.id for one in (*lost, *derived))
            last = (await room.store.read("security"))[-1].event
            assert isinstance(last, RevocationSettled) and last.ended == len(derived)

    asyncio.run(scenario())


def test_ends_that_others_recorded_hide_none_that_nobody_did(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 3)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            children = [await kernel.delegate(root.handle, room.owner, room.owner) for _ in range(6)]
            for one in children[1:5]:  # as while their own families are being settled
                one.handle.node.take_back()
                one.handle.node.recorded = True
            await kernel.revoke(root.capability.id, room.owner)
            await kernel.settled()
            told = {entry.capability_id for entry in await room.trail() if entry.decision == "revoked"}
            assert told == {one.capability.id for one in (root, children[0], children[5])}

    asyncio.run(scenario())


def test_all_of_a_holder_ends_at_once_or_nothing_of_it(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            other = room.agents[1]
            mine, root = await room.root(kernel, DATA), await room.root(kernel, DATA)
            theirs = await kernel.delegate(root.handle, room.owner, other)
            grants = [
                await kernel.delegate(theirs.handle, other, room.agents[0]),
                await kernel.delegate(mine.handle, room.owner, room.agents[0]),
            ]
            with pytest.raises(NotPermitted) as caught:  # of the second it is neither holder nor ancestor
                await kernel.revoke_all(room.agents[0], other)
            assert caught.value.details["reason"] == "wrong_principal"
            refused = (await room.trail())[-1]
            assert (
                refused.kind,
                refused.principal_id,
                refused.capability_id,
                refused.decision,
                refused.reason,
            ) == (
                "revocation_denied",
                other,
                grants[1].capability.id,
                "denied",
                "wrong_principal",
            )
            assert all(kernel.validate(one.handle, room.agents[0], X).allowed for one in grants)
            ending = kernel.revoke_all(room.agents[0], room.owner)
            ending.send(None)  # up to where it first waits
            assert not any(kernel.validate(one.handle, room.agents[0], X).allowed for one in grants)
            ending.close()

    asyncio.run(scenario())


def test_who_waits_to_be_judged_comes_before_the_bookkeeping(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            await asyncio.gather(
                kernel.revoke(grant.capability.id, SYSTEM), kernel.authorize(room.agents[0], X)
            )
            assert [entry.kind for entry in await room.trail()][-2:] == [
                "access_denied",
                "capability_revoked",
            ]

    asyncio.run(scenario())


def test_of_two_that_take_back_the_same_one_records_it(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            ended = await asyncio.gather(*(kernel.revoke(grant.capability.id, SYSTEM) for _ in range(2)))
            assert ended == [[grant.capability.id], []]
            events = [record.event for record in await room.store.read("security")]
            assert sum(isinstance(event, CapabilityRevoked) for event in events) == 1

    asyncio.run(scenario())


def test_a_process_that_dies_before_all_is_recorded_goes_on_at_its_next_start(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 1)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for _ in range(5):
                await kernel.delegate(root.handle, room.owner, room.agents[0])
            ended = await kernel.revoke(root.capability.id, room.owner)
            assert len(ended) == 1
            for task in kernel._revocation._settling:
                task.cancel()
        async with room.kernel() as kernel:
            assert kernel.held_by(room.agents[0]) == []
            await kernel.settled()
            told = {entry.capability_id for entry in await room.trail() if entry.decision == "revoked"}
            assert len(told) == 6
        async with room.kernel() as kernel:
            assert len(kernel._tree) == 0
            assert await kernel.revoke(root.capability.id, room.owner) == []

    asyncio.run(scenario())


def test_what_could_not_be_recorded_stays_ended_and_repeating_records_it(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            room.store_broken = True
            with pytest.raises(StorageUnavailable):
                await kernel.revoke(grant.capability.id, room.owner)
            assert kernel.validate(grant.handle, room.agents[0], X).reason == "capability_revoked"
            room.store_broken = False
            assert await kernel.revoke_all(room.agents[0], SYSTEM) == [grant.capability.id]
            events = [record.event for record in await room.store.read("security")]
            assert sum(isinstance(event, CapabilityRevoked) for event in events) == 1

    asyncio.run(scenario())


def test_a_child_revoked_while_its_parents_end_is_being_recorded_is_recorded_once(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 1)
    monkeypatch.setattr(revocation, "BATCH", 1)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            children = [await kernel.delegate(root.handle, room.owner, agent) for agent in room.agents]
            await asyncio.gather(
                kernel.revoke(root.capability.id, room.owner),
                *(kernel.revoke(child.capability.id, room.owner) for child in children),
            )
            await kernel.settled()
            told = [entry.capability_id for entry in await room.trail() if entry.decision == "revoked"]
            assert set(told) == {grant.capability.id for grant in (root, *children)}
            assert len(kernel._tree) == 0
        async with room.kernel() as kernel:
            assert kernel.capabilities() == []

    asyncio.run(scenario())


def test_no_thread_sees_an_allow_after_the_revocation_began(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            for _ in range(20):
                grants = await chain(kernel, room, 5)
                leaf, holder = grants[-1], grants[-1].capability.principal_id
                revoked, late, begun = threading.Event(), [], threading.Barrier(5)

                def look(leaf=leaf, holder=holder, revoked=revoked, late=late, begun=begun) -> None:
                    begun.wait()
                    while True:
                        over = revoked.is_set()
                        if not kernel.validate(leaf.handle, holder, X).allowed:
                            return
                        if over:
                            late.append(True)
                            return

                threads = [threading.Thread(target=look) for _ in range(4)]
                for thread in threads:
                    thread.start()
                begun.wait()
                ending = kernel.revoke(grants[2].capability.id, SYSTEM)
                ending.send(None)
                revoked.set()
                for thread in threads:
                    await asyncio.to_thread(thread.join)
                ending.close()
                assert not late

    asyncio.run(scenario())


def test_a_single_use_holds_under_sixty_four_threads(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA, constraints={"max_uses": 1})
            loop, allowed, begun = asyncio.get_running_loop(), [], threading.Barrier(64)

            def use() -> None:
                begun.wait()
                if kernel.validate(grant.handle, room.agents[0], X).allowed:
                    threading.Event().wait(0.001)  # a yield between the look and the act
                work = kernel.authorize(room.agents[0], X, handle=grant.handle)
                allowed.append(asyncio.run_coroutine_threadsafe(work, loop).result(60).allowed)

            threads = [threading.Thread(target=use) for _ in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert sorted(allowed) == [False] * 63 + [True]

    asyncio.run(scenario())


def test_an_expired_right_is_forgotten_and_stays_a_no(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, expires_in=timedelta(seconds=5))
            child = await kernel.delegate(root.handle, room.owner, room.agents[0], options=GrantOptions())
            room.clock.advance(6)
            assert kernel.held_by(room.agents[0]) == kernel.held_by(room.owner) == []
            assert kernel.validate(child.handle, room.agents[0], X).reason == "expired"
            assert (await kernel.authorize(room.agents[0], X)).reason == "expired"
            await kernel.close()
            assert len(kernel._tree) == 0
            assert kernel.validate(child.handle, room.agents[0], X).reason == "expired"
            assert await kernel.revoke(child.capability.id, room.owner) == []

    asyncio.run(scenario())


def test_each_end_is_recorded_when_an_ancestor_is_revoked_during_a_settlement(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 5)
    monkeypatch.setattr(revocation, "BATCH", 2)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, delegation_depth=10)
            middle = await kernel.delegate(root.handle, room.owner, room.agents[0])
            for _ in range(12):
                child = await kernel.delegate(middle.handle, room.agents[0], room.agents[1])
                await kernel.delegate(child.handle, room.agents[1], room.agents[2])
            await kernel.revoke(middle.capability.id, SYSTEM)
            assert await kernel.revoke(root.capability.id, SYSTEM) == [root.capability.id]
            await kernel.settled()
            told = [entry.capability_id for entry in await room.trail() if entry.decision == "revoked"]
            assert len(told) == len(set(told)) == 26
            assert len(kernel._tree) == 0

    asyncio.run(scenario())


def test_an_end_that_is_on_record_is_not_recorded_again_before_it_is_forgotten(room, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "LISTED", 2)
    monkeypatch.setattr(revocation, "BATCH", 1)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            family = [root] + [await kernel.delegate(root.handle, room.owner, agent) for agent in room.agents]
            append, reached, go_on = room.store.append, asyncio.Event(), asyncio.Event()

            async def held(stream, events, **fields):
                if isinstance(events[-1], RevocationSettled):
                    reached.set()
                    await go_on.wait()
                return await append(stream, events, **fields)

            room.store.append = held
            assert len(await kernel.revoke(root.capability.id, room.owner)) == 2
            await reached.wait()  # all five are in the trail, and none is forgotten
            behind_first = [*family[2:], *family[:2]]
            again = [asyncio.create_task(kernel.revoke(one.capability.id, SYSTEM)) for one in behind_first]
            await asyncio.sleep(0)
            go_on.set()
            assert await asyncio.gather(*again) == [[]] * 5
            await kernel.settled()
            told = [entry.capability_id for entry in await room.trail() if entry.decision == "revoked"]
            assert sorted(told) == sorted(one.capability.id for one in family)
            assert len(kernel._tree) == 0

    asyncio.run(scenario())


def test_a_right_that_is_forgotten_while_its_revocation_waits_is_named_by_no_later_event(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            short = await room.root(kernel, DATA, expires_in=timedelta(seconds=5))
            room.clock.advance(6)
            ended, _ = await asyncio.gather(kernel.revoke(short.capability.id, SYSTEM), kernel.close())
            assert len(kernel._tree) == 0, "the snapshot came first"
            assert ended == []
            await room.root(kernel, DATA)
        async with room.kernel() as kernel:
            assert len(kernel.capabilities()) == 1

    asyncio.run(scenario())
