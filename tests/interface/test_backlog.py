"""What waits for one reader: bounded whatever comes, complete or honestly cut off."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.backlog import Backlog, Bounds
from mcp_interface.client import TextDelta
from mcp_interface.errors import NodeUnavailable, TooMuch
from mcp_interface.events import SessionEnded
from mcp_interface.ids import MessageId, SessionId, TurnId
from mcp_interface.store import Record
from mcp_interface.testing import START

DELTA = TextDelta(session_id=SessionId("s"), turn_id=TurnId("t"), message_id=MessageId("m"), text="x")
BOUNDS = Bounds(records=8, size=100, passing=4, passing_size=40)


def record(position: int) -> Record:
    event = SessionEnded(timestamp=START)
    return Record(position=position, stream="s", version=position, epoch=1, event=event)


async def taken(backlog: Backlog, count: int) -> list[Any]:
    """So many notices that wait; fewer when there are no more."""
    found = []
    stream = backlog.notices()
    try:
        async with asyncio.timeout(5):
            for _ in range(count):
                found.append(await anext(stream))
    finally:
        await stream.aclose()
    return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(1, 60)),
        st.tuples(st.just("passing"), st.integers(1, 60)),
        st.tuples(st.just("take"), st.integers(1, 5)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS, st.integers(0, 3))
def test_records_come_in_order_without_a_gap_until_the_reader_is_told_where_to_go_on(
    steps: list[tuple[str, int]], after: int
) -> None:
    async def scenario() -> None:
        backlog, position, seen, cut_off = Backlog(after, BOUNDS), after, list[int](), False
        for step, number in steps:
            if step == "record":
                position += 1
                backlog.offer(record(position), number)
            elif step == "passing":
                backlog.offer(DELTA, number)
            else:
                waits = len(backlog._waiting)
                if not waits:
                    continue
                for notice in await taken(backlog, min(number, waits)):
                    if isinstance(notice, Record):
                        seen.append(notice.position)
            waiting_records = sum(isinstance(item, Record) for item, _ in backlog._waiting)
            waiting_passing = len(backlog._waiting) - waiting_records
            sizes = [size for _, size in backlog._waiting]
            assert backlog.size == sum(sizes)
            assert waiting_records <= BOUNDS.records and waiting_passing <= BOUNDS.passing
            assert backlog.size <= BOUNDS.size or len(sizes) == 1
        backlog.end()
        try:
            async for notice in backlog.notices():
                if isinstance(notice, Record):
                    seen.append(notice.position)
        except TooMuch as told:
            cut_off = True
            assert told.details == {"position": seen[-1] if seen else after}
        assert seen == list(range(after + 1, after + 1 + len(seen)))
        assert cut_off or len(seen) == position - after

    asyncio.run(scenario())


def test_passing_notices_make_room_for_records() -> None:
    async def scenario() -> None:
        backlog = Backlog(0, Bounds(size=100, passing_size=90))
        for _ in range(9):
            backlog.offer(DELTA, 10)
        backlog.offer(record(1), 50)
        assert backlog.size == 50
        assert await taken(backlog, 1) == [record(1)]

    asyncio.run(scenario())


def test_one_record_larger_than_the_bound_gets_through_when_nothing_else_waits() -> None:
    async def scenario() -> None:
        backlog = Backlog(0, BOUNDS)
        backlog.offer(record(1), 10_000)
        assert await taken(backlog, 1) == [record(1)]
        backlog.offer(record(2), 10_000)
        backlog.offer(record(3), 1)
        stream = backlog.notices()
        assert await anext(stream) == record(2)
        with pytest.raises(TooMuch):
            await anext(stream)
        assert backlog.position == 2

    asyncio.run(scenario())


def test_what_waits_is_taken_before_an_end_is_told() -> None:
    async def scenario() -> None:
        backlog = Backlog(0)
        backlog.offer(record(1), 1)
        backlog.end(NodeUnavailable("the node is gone"))
        backlog.offer(record(2), 1)
        stream = backlog.notices()
        assert await anext(stream) == record(1)
        with pytest.raises(NodeUnavailable):
            await anext(stream)

    asyncio.run(scenario())
