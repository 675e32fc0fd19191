import asyncio
import random

import pytest

from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_interface.backlog import Bounds
from mcp_interface.client import TextDelta
from mcp_interface.errors import StorageUnavailable, TooMuch
from mcp_interface.events import UserMessage
from mcp_interface.ids import MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.store import Record
from mcp_interface.testing import START, MemoryStore, SeededEntropy

ENTROPY = SeededEntropy()
SESSION = SessionId(new_id("session", ENTROPY))
STREAM = f"session:{SESSION}"


def message(text: str) -> UserMessage:
    return UserMessage(
        timestamp=START,
        message_id=MessageId(new_id("msg", ENTROPY)),
        author=PrincipalId("system"),
        text=text,
    )


async def _take(bus: Bus, count: int, after: int = 0, session: SessionId | None = None) -> list[int]:
    positions = []
    async with asyncio.timeout(5):
        async for notice in bus.follow(session, after):
            assert isinstance(notice, Record)
            positions.append(notice.position)
            if len(positions) == count:
                break
    return positions


def test_records_reach_followers_in_order_however_their_appends_finish() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        bus = Bus(store, 0)
        records = []
        for number in range(50):
            records += await store.append(f"stream-{number}", [message("x")], expected=0, epoch=epoch)
        taking = asyncio.create_task(_take(bus, 50))
        await asyncio.sleep(0)
        random.Random(3).shuffle(records)
        for record in records:
            bus.publish([record])
        assert await taking == list(range(1, 51))

    asyncio.run(scenario())


def test_a_follower_gets_the_past_and_then_the_present_without_gap_or_repeat() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bus = Bus(store, 0)
        journal = Journal(store, await store.claim(), bus)

        async def write(first: int, last: int) -> None:
            for version in range(first, last):
                await journal.append(STREAM, [message("x")], expected=version, epoch=journal.epoch)
                await asyncio.sleep(0)

        await write(0, 30)
        taking = asyncio.create_task(_take(bus, 60, after=10, session=SESSION))
        await write(30, 70)
        assert await taking == list(range(11, 71))

    asyncio.run(scenario())


def test_a_record_whose_appender_saw_an_error_does_not_hold_back_the_others() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        bus = Bus(store, 0)
        await store.append("lost", [message("never published")], expected=0, epoch=epoch)
        later = await store.append("seen", [message("published")], expected=0, epoch=epoch)
        taking = asyncio.create_task(_take(bus, 2))
        await asyncio.sleep(0)
        bus.publish(later)
        assert await taking == [1, 2]

    asyncio.run(scenario())


def test_a_cancelled_appender_does_not_keep_its_record_from_the_followers() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bus = Bus(store, 0)
        journal = Journal(store, await store.claim(), bus)
        appending = asyncio.create_task(
            journal.append(STREAM, [message("x")], expected=0, epoch=journal.epoch)
        )
        await asyncio.sleep(0)
        appending.cancel()
        assert await _take(bus, 1) == [1]

    asyncio.run(scenario())


def test_a_slow_reader_loses_passing_notices_first_and_is_told_before_it_loses_records() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bus = Bus(store, 0, Bounds(records=20, passing=5))
        journal = Journal(store, await store.claim(), bus)
        follower = bus.follow(SESSION)
        first = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        delta = TextDelta(session_id=SESSION, turn_id=TurnId("t"), message_id=MessageId("m"), text="x")
        for _ in range(50):
            bus.pass_by(delta)
        for version in range(16):
            await journal.append(STREAM, [message("x")], expected=version, epoch=journal.epoch)
        assert isinstance(await first, TextDelta)
        kept = [await anext(follower) for _ in range(19)]
        assert sum(isinstance(notice, TextDelta) for notice in kept) < 6
        for version in range(16, 60):
            await journal.append(STREAM, [message("x")], expected=version, epoch=journal.epoch)
        with pytest.raises(TooMuch) as told:
            async for notice in follower:
                kept.append(notice)
        last = max(notice.position for notice in kept if isinstance(notice, Record))
        assert told.value.details == {"position": last}
        assert await _take(bus, 60 - last, after=last, session=SESSION) == list(range(last + 1, 61))

    asyncio.run(scenario())


class Moody(MemoryStore):
    """A store that cannot be read the first times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def read_all(self, *, after: int = 0, limit: int = 1000, streams: str = "*") -> list[Record]:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("the disk is busy")
        return await super().read_all(after=after, limit=limit, streams=streams)


def test_a_gap_is_filled_although_the_store_fails_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.runtime.bus.GAP_PATIENCE", 0.01)

    async def scenario() -> None:
        store = Moody(failures=3)
        epoch = await store.claim()
        bus = Bus(store, 0)
        await store.append("lost", [message("never published")], expected=0, epoch=epoch)
        later = await store.append("seen", [message("published")], expected=0, epoch=epoch)
        taking = asyncio.create_task(_take(bus, 2))
        await asyncio.sleep(0)
        bus.publish(later)
        assert await taking == [1, 2]
        assert store.failures == 0
        await bus.close()

    asyncio.run(scenario())


def test_a_reader_that_catches_up_slowly_is_never_cut_off_and_keeps_nothing_waiting() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bus = Bus(store, 0, Bounds(records=1))
        journal = Journal(store, await store.claim(), bus)

        async def write(first: int, last: int) -> None:
            for version in range(first, last):
                await journal.append(STREAM, [message("x")], expected=version, epoch=journal.epoch)

        await write(0, 3)
        follower = bus.follow(SESSION)
        seen = []
        for version in range(3, 200):  # somebody writes as fast as the reader reads
            notice = await anext(follower)
            assert isinstance(notice, Record)
            seen.append(notice.position)
            await write(version, version + 1)
            bus.pass_by(
                TextDelta(session_id=SESSION, turn_id=TurnId("t"), message_id=MessageId("m"), text="x")
            )
        while len(seen) < 200:
            notice = await anext(follower)
            assert isinstance(notice, Record)
            seen.append(notice.position)
        assert seen == list(range(1, 201))
        await follower.aclose()

    asyncio.run(scenario())


def test_a_reader_that_never_reads_delays_nobody_and_holds_a_bounded_number_of_bytes() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bus = Bus(store, 0, Bounds(size=50_000))
        journal = Journal(store, await store.claim(), bus)
        stuck = bus.follow(SESSION)
        first = asyncio.ensure_future(anext(stuck))
        await asyncio.sleep(0)
        quick = asyncio.create_task(_take(bus, 100, session=SESSION))
        await asyncio.sleep(0)
        most = 0
        for version in range(100):
            await journal.append(STREAM, [message("x" * 1_000)], expected=version, epoch=journal.epoch)
            most = max(most, *(reader.backlog.size for reader in bus._readers))
            await asyncio.sleep(0)
        assert await quick == list(range(1, 101))
        assert 40_000 < most <= 50_000
        seen = [(await first).position]  # type: ignore[union-attr]
        with pytest.raises(TooMuch) as told:
            async for notice in stuck:
                seen.append(notice.position)  # type: ignore[union-attr]
        assert told.value.details == {"position": seen[-1]}

    asyncio.run(scenario())


def test_following_a_closed_bus_ends() -> None:
    async def scenario() -> None:
        bus = Bus(MemoryStore(), 0)
        await bus.close()
        async with asyncio.timeout(5):
            assert [notice async for notice in bus.follow()] == []

    asyncio.run(scenario())
