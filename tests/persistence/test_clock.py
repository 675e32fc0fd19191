"""A wall clock that is set back and forward by days: order is by position, times are what the events say."""

import asyncio
import random
from datetime import timedelta

import msgspec
import pytest

import mcp_persistence
from mcp_interface.store import Append, Decision, Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from persistence.engines import ENGINES, place

DAY = timedelta(days=1)
STREAMS = ["session:0", "session:1", "session:2"]


class SetClock(ManualClock):
    """A clock that somebody sets, by the wall; what it measures goes on."""

    shift = timedelta()

    def now(self):
        return super().now() + self.shift


@pytest.fixture(params=ENGINES)
def kind(request):
    return request.param


def open_it(kind, folder, clock):
    folder.mkdir(exist_ok=True)
    return getattr(mcp_persistence, ENGINES[kind]).open(place(kind, folder), clock, hot_bytes=0)


def an_event(number, clock):
    return msgspec.structs.replace(a_message(number), timestamp=clock.now())


def a_jump(chance):
    return chance.choice((-400, -30, -1, 1, 30, 400)) * DAY


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_wall_clock_shows_everything_is_there_in_the_order_of_positions(kind, tmp_path, seed):
    chance = random.Random(seed)
    clock = SetClock()
    written = {stream: [] for stream in STREAMS}
    order = []

    async def append(journal, epoch, stream):
        events = [an_event(len(order) + number, clock) for number in range(chance.randrange(1, 4))]
        expected = len(written[stream])
        written[stream] += events
        order.extend(event.message_id for event in events)
        if chance.random() < 0.5:
            await journal.append(stream, events, expected=expected, epoch=epoch)
        else:
            part = Append(stream=stream, events=events, expected=expected)
            await journal.commit(Decision(appends=[part], puts={stream: expected}), epoch=epoch)

    async def life():
        journal = await open_it(kind, tmp_path, clock)
        try:
            await check(journal)
            epoch = await journal.claim()
            for _ in range(12):
                if chance.random() < 0.4:
                    clock.shift += a_jump(chance)
                clock.advance(1)
                await append(journal, epoch, chance.choice(STREAMS))
            await check(journal)
        finally:
            await journal.close()

    async def check(journal):
        records = await journal.read_all()
        assert [record.position for record in records] == list(range(1, len(order) + 1))
        assert [record.event.message_id for record in records] == order
        for stream in filter(written.get, STREAMS):
            assert [record.event for record in await journal.read(stream)] == written[stream]
            info = await journal.stream_info(stream)
            times = (written[stream][0].timestamp, written[stream][-1].timestamp)
            assert (info.created_at, info.updated_at) == times
        assert await journal.verify() == len(order)

    for _ in range(4):
        asyncio.run(life())
        clock.shift += a_jump(chance)
    assert len(order) > 40


def test_a_snapshot_from_the_future_is_the_newest_only_by_its_version(kind, tmp_path):
    clock = SetClock()

    async def body():
        journal = await open_it(kind, tmp_path, clock)
        try:
            epoch = await journal.claim()
            for number in range(3):
                await journal.append("session:0", [an_event(number, clock)], expected=number, epoch=epoch)
                state, taken = f"state {number + 1}".encode(), START - number * DAY
                await journal.save_snapshot(
                    Snapshot(stream="session:0", version=number + 1, schema="1", state=state, taken_at=taken)
                )
            found = await journal.load_snapshot("session:0")
            assert (found.version, found.state) == (3, b"state 3")
        finally:
            await journal.close()

    asyncio.run(body())


def test_a_clock_before_1970_does_not_keep_a_journal_from_working(kind, tmp_path):
    """As on a board without a battery, or set by mistake."""
    clock = SetClock()
    clock.shift = -(START - START.replace(year=1969))

    async def body():
        for version in range(2):
            journal = await open_it(kind, tmp_path, clock)
            try:
                epoch = await journal.claim()
                await journal.append("session:0", [a_message(version)], expected=version, epoch=epoch)
                assert await journal.verify() == version + 1
            finally:
                await journal.close()

    asyncio.run(body())
