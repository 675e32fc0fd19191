import asyncio
from datetime import datetime, timedelta

import msgspec
import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Ask, Facts, GrantOptions, Sealed
from mcp_interface.codec import encode_disk, fingerprint
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_security import stream

DATA = "mcp://fs/read/data/**"
X = parse_resource("mcp://fs/read/data/x")


def test_a_snapshot_changes_nothing_but_how_much_is_read(room, monkeypatch) -> None:
    monkeypatch.setattr(stream, "SNAPSHOT_EVERY", 4)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints={"max_uses": 3})
            kept = [await kernel.delegate(root.handle, room.owner, agent) for agent in room.agents[:3]]
            await kernel.authorize(room.agents[0], X)
            await kernel.revoke(kept[1].capability.id, room.owner)
        snapshot = await room.store.load_snapshot("security")
        assert snapshot is not None and snapshot.version == 7
        read = room.store.read
        seen = []

        async def watched(*args, **fields):
            records = await read(*args, **fields)
            seen.extend(records)
            return records

        room.store.read = watched
        async with room.kernel() as kernel:
            assert seen == []
            assert [one.id for one in kernel.capabilities()] == [
                grant.capability.id for grant in (root, kept[0], kept[2])
            ]
            assert await kernel.revoke(kept[1].capability.id, room.owner) == []
            uses = [(await kernel.authorize(room.agents[2], X)).allowed for _ in range(3)]
            assert uses == [True, True, False]

    asyncio.run(scenario())


def test_a_damaged_or_unknown_snapshot_is_passed_over(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
        sound = await room.store.load_snapshot("security")
        assert sound.fingerprint == fingerprint(stream._State)
        nothing = encode_disk(stream._State([], [], 0, sound.taken_at))
        for damaged in (
            msgspec.structs.replace(sound, state=sound.state[:-9]),
            msgspec.structs.replace(sound, schema="security/99"),
            msgspec.structs.replace(sound, fingerprint="0123456789abcdef", state=nothing),
            msgspec.structs.replace(sound, fingerprint="", state=nothing),
        ):
            await room.store.save_snapshot(damaged)
            async with room.kernel() as kernel:
                assert grant.capability in kernel.capabilities()

    asyncio.run(scenario())


def test_a_trail_that_ends_before_what_the_journal_names_is_noted(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.given(kernel, DATA)
        for file in room.path.parent.glob("audit*"):
            file.unlink()
        async with room.kernel() as kernel:
            noted = [entry for entry in await room.trail() if entry.kind == "audit_behind_journal"]
            assert [entry.details["journal_names"] > 0 for entry in noted] == [True]

    asyncio.run(scenario())


def test_a_bundle_is_one_step_in_the_journal_and_names_the_one_that_fails(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            inside, outside = parse_resource("mcp://fs/read/data/a"), parse_resource("mcp://fs/read/etc/b")
            version = len(await room.store.read("security"))
            try:
                await kernel.delegate_all(
                    room.owner,
                    room.agents[0],
                    [Ask(handle=root.handle, resource=inside), Ask(handle=root.handle, resource=outside)],
                )
            except NotPermitted as error:
                assert "etc/b" in error.message
            else:
                raise AssertionError("it was handed on")
            assert len(await room.store.read("security")) == version
            last = (await room.trail())[-1]
            assert (last.kind, last.resource_uri) == ("capability_denied", outside.uri)
            for bundle in ([], [Ask(resource=X)] * 101):
                try:
                    await kernel.request_all(room.owner, bundle)
                except CallerMistaken as error:
                    assert "bundle" in error.message
                else:
                    raise AssertionError("it was minted")

    asyncio.run(scenario())


def test_each_grant_in_the_journal_names_its_entry_in_the_trail(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            await kernel.revoke(grant.capability.id, room.owner)
            entries = {entry.seq: entry for entry in await room.trail()}
            for record in await room.store.read("security"):
                seq = getattr(record.event, "audit_seq", None)
                if seq is not None:
                    assert entries[seq].capability_id is not None
            named = [getattr(record.event, "audit_seq", None) for record in await room.store.read("security")]
            assert [seq is not None for seq in named] == [True, True, True, False]

    asyncio.run(scenario())


def test_a_handle_object_of_an_earlier_kernel_is_nobodys(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            old = await room.given(kernel, DATA)
        async with room.kernel() as kernel:
            verdict = kernel.validate(old.handle, room.agents[0], X)
            assert verdict.reason == "unknown_capability"
            for work in (
                kernel.delegate(old.handle, room.agents[0], room.agents[1]),
                kernel.delegate(old.handle, room.agents[0], room.agents[1], options=GrantOptions()),
            ):
                try:
                    await work
                except NotPermitted as error:
                    assert error.details["reason"] == "unknown_capability"
                else:
                    raise AssertionError("it was handed on")

    asyncio.run(scenario())


def test_a_right_that_expires_while_it_is_handed_on_stops_nobody_else(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            short = await room.root(
                kernel, DATA, expires_in=timedelta(seconds=60), constraints={"max_uses": 5}
            )
            other = await room.root(kernel, "mcp://fs/read/srv/**")
            write = room.log.append_all

            async def slow(drafts):
                entries = await write(drafts)
                room.clock.advance(61)
                kernel.held_by(room.owner)
                return entries

            room.log.append_all = slow
            await kernel.delegate(short.handle, room.owner, room.agents[0])
            room.log.append_all = write
            assert kernel.held_by(room.agents[0]) == []
            await kernel.revoke(other.capability.id, room.owner)
            assert (await room.given(kernel, DATA)).capability in kernel.held_by(room.agents[0])

    asyncio.run(scenario())


def test_what_a_snapshot_left_out_is_named_by_no_later_event(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            short = await room.root(kernel, DATA, expires_in=timedelta(seconds=5))
            counted = await room.root(
                kernel, DATA, expires_in=timedelta(seconds=5), constraints={"max_uses": 2}
            )
            room.clock.advance(6)
            await kernel.close()  # keeps a snapshot
            assert await kernel.revoke(short.capability.id, room.owner) == []
            # a handle that somebody kept still says what became of it
            assert (await kernel.authorize(room.owner, X, handle=counted.handle)).reason == "expired"
            await room.root(kernel, DATA)
        async with room.kernel() as kernel:
            assert len(kernel.capabilities()) == 1

    asyncio.run(scenario())


def test_a_clock_that_was_ahead_once_keeps_nothing_alive(room) -> None:
    async def scenario() -> None:
        true, ahead = room.clock.now, timedelta(days=3650)
        async with room.kernel() as kernel:
            room.clock.now = lambda: true() + ahead
            await room.root(kernel, "mcp://fs/read/b")
            room.clock.now = true
            short = await room.root(kernel, DATA, expires_in=timedelta(seconds=60))
            assert kernel.validate(short.handle, room.owner, X).allowed
            room.clock.advance(61)
            assert not kernel.validate(short.handle, room.owner, X).allowed
            assert (await kernel.authorize(room.owner, X)).reason == "expired"

    asyncio.run(scenario())


def test_what_a_caller_does_to_what_it_was_given_changes_no_right(room) -> None:
    limits = {"max_bytes": 10, "denied_paths": ["/data/secret"]}

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints=dict(limits))
            verdict = kernel.validate(root.handle, room.owner, X, Facts(size=1))
            for given in (verdict.limits, root.capability.constraints, kernel.capabilities()[0].constraints):
                assert given == limits
                given["denied_paths"].clear()
                given.clear()
            child = await kernel.delegate(root.handle, room.owner, room.agents[0])
            assert child.capability.constraints == limits
            assert not kernel.validate(child.handle, room.agents[0], X, Facts(size=11)).allowed
        async with room.kernel() as kernel:
            assert [one.constraints for one in kernel.capabilities()] == [limits, limits]

    asyncio.run(scenario())


def test_what_is_no_handle_is_a_no(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            for given in (None, "text", b"bytes"):
                assert kernel.validate(given, room.owner, X).reason == "unknown_capability"
            with pytest.raises(InvalidRecord):
                await room.root(kernel, DATA, expires_at=datetime(2030, 1, 1))

    asyncio.run(scenario())


def test_a_snapshot_forgets_what_has_expired_and_nothing_else(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.root(kernel, DATA, expires_in=timedelta(seconds=5))
            edge = await room.root(kernel, DATA, expires_in=timedelta(seconds=6))
            later = await room.root(kernel, DATA, expires_in=timedelta(seconds=60), metadata={"why": ["x"]})
            later.capability.metadata["why"].clear()
            room.clock.advance(6)
            await kernel.close()
            assert [node.id for node in kernel._tree] == [later.capability.id]
            assert kernel.validate(later.handle, room.owner, X).allowed
            assert kernel.validate(Sealed(later.handle.reveal()), room.owner, X).allowed
            assert kernel.validate(edge.handle, room.owner, X).reason == "expired"
        async with room.kernel() as kernel:
            assert [one.metadata for one in kernel.capabilities()] == [{"why": ["x"]}]

    asyncio.run(scenario())


def test_a_right_without_a_rate_is_used_before_one_that_has_it(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.root(kernel, DATA, constraints={"rate_limit": {"count": 1, "per_s": 60}})
            free = await room.root(kernel, DATA)
            used = [(await kernel.authorize(room.owner, X)).capability_id for _ in range(3)]
            assert used == [free.capability.id] * 3

    asyncio.run(scenario())
