"""The part of the client exam about several clients at one session: all see the same, and nobody waits for another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from mcp_interface.client import Notice
from mcp_interface.commands import ChangeSession, CreateSession, EndSession
from mcp_interface.errors import TooMuch
from mcp_interface.events import SessionEnded
from mcp_interface.ids import SessionId
from mcp_interface.store import Record
from mcp_interface.testing.exams.asserting import within
from mcp_interface.testing.exams.connection import (
    Entrance,
    connected,
    leave,
    next_record,
    read_whole,
    records_until,
)

WRITERS: Final = 4
CHANGES: Final = 12
"""How often each of them changes the session."""
KILOBYTE: Final = "x" * 1024


async def _shows_all_the_same(entrance: Entrance) -> None:
    async with connected(entrance) as first:
        session = await first.request(CreateSession())
        writing = asyncio.gather(*(_writes(entrance, session.id, number) for number in range(WRITERS)))
        watching = []
        for number in range(WRITERS):  # each attaches at another moment, while all of this is going on
            watching.append(asyncio.ensure_future(_watches(entrance, session.id)))
            await first.request(ChangeSession(session_id=session.id, title=f"watched by {number}"))
        await writing
        await first.request(EndSession(session_id=session.id))
        whole = await read_whole(first, session.id)
        assert len(whole) > WRITERS * CHANGES, f"everything that was written is there: {len(whole)}"
        for seen in await asyncio.gather(*watching):
            _check_same(seen, whole)


async def _goes_on_where_each_left(entrance: Entrance) -> None:
    """Clients that come and go see each event once, whoever else comes and goes."""
    async with connected(entrance) as writer:
        session = await writer.request(CreateSession())
        coming = [asyncio.ensure_future(_comes_and_goes(entrance, session.id, steps)) for steps in (1, 3, 7)]
        await _writes(entrance, session.id, 0)
        await writer.request(EndSession(session_id=session.id))
        whole = await read_whole(writer, session.id)
        for seen in await asyncio.gather(*coming):
            _check_same(seen, whole)


async def _delays_nobody(entrance: Entrance) -> None:
    """One client follows and reads nothing; the others see everything meanwhile, and in the end so does it."""
    async with connected(entrance) as idle, connected(entrance) as writer:
        session = await writer.request(CreateSession())
        stream = idle.follow(session.id)
        first = await within(next_record(stream), "waiting for the first record")
        quick = asyncio.ensure_future(_watches(entrance, session.id))
        await _writes(entrance, session.id, 0)
        await writer.request(EndSession(session_id=session.id))
        whole = await read_whole(writer, session.id)
        _check_same(await within(quick, "a quick reader beside one that does not read"), whole)
        seen, _ = await _read_out([first], stream)
        position = seen[-1].position
        if position < whole[-1].position:
            seen += await records_until(idle, session.id, position, _ended)
        _check_same(seen, whole)


SHARING: Final = (_shows_all_the_same, _goes_on_where_each_left, _delays_nobody)
"""Every part; `check_client` runs them."""


async def overruns(entrance: Entrance, events: int) -> None:
    """Examine a node and a client in which a reader that reads nothing is cut off after so many kilobytes."""
    async with connected(entrance) as idle, connected(entrance) as writer:
        session = await writer.request(CreateSession())
        stream = idle.follow(session.id, (await read_whole(writer, session.id))[-1].position)
        waiting = asyncio.ensure_future(next_record(stream))
        await writer.request(ChangeSession(session_id=session.id, title="news"))
        first = await within(waiting, "waiting for news")  # from here on it is told, and reads nothing
        quick = asyncio.ensure_future(_watches(entrance, session.id))
        for number in range(events):
            await writer.request(ChangeSession(session_id=session.id, title=f"{number} {KILOBYTE}"))
        await writer.request(EndSession(session_id=session.id))
        whole = await read_whole(writer, session.id)
        _check_same(await within(quick, "a quick reader beside one that is cut off"), whole)
        whole = [record for record in whole if record.position >= first.position]
        seen, told = await _read_out([first], stream)
        assert told is not None, f"{events} kilobytes that nobody read were kept: {len(seen)} records"
        named = told.details.get("position")
        assert named == seen[-1].position, f"go on after {seen[-1].position}, not {named}"
        seen += await records_until(idle, session.id, seen[-1].position, _ended)
        _check_same(seen, whole)


async def _read_out(seen: list[Record], stream: AsyncIterator[Notice]) -> tuple[list[Record], TooMuch | None]:
    """Read on until the end of the session, or until the reader is told that it was too slow."""
    try:
        while not _ended(seen):
            seen.append(await next_record(stream))
    except TooMuch as told:
        return seen, told
    await leave(stream)
    return seen, None


async def _writes(entrance: Entrance, session_id: SessionId, number: int) -> None:
    async with connected(entrance, session_id) as client:
        for change in range(CHANGES):
            await client.request(ChangeSession(session_id=session_id, title=f"{number}: {change}"))


async def _watches(entrance: Entrance, session_id: SessionId) -> list[Record]:
    async with connected(entrance, session_id) as client:
        return await records_until(client, session_id, 0, _ended)


async def _comes_and_goes(entrance: Entrance, session_id: SessionId, steps: int) -> list[Record]:
    """Follow a few records at a time, each time over a new connection."""
    seen: list[Record] = []
    while not _ended(seen):
        async with connected(entrance, session_id) as client:
            stream = client.follow(session_id, after=seen[-1].position if seen else 0)
            for _ in range(steps):
                seen.append(await within(next_record(stream), "following again"))
                if _ended(seen):
                    break
            await leave(stream)
    return seen


def _ended(records: list[Record]) -> bool:
    return bool(records) and isinstance(records[-1].event, SessionEnded)


def _check_same(seen: list[Record], whole: list[Record]) -> None:
    got = [record.position for record in seen]
    expected = [record.position for record in whole]
    assert got == expected, f"seen were {got}, remembered are {expected}"
    assert seen == whole, "every client sees what is remembered"
