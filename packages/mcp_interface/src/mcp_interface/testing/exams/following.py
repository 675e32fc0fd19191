"""The part of the client exam about following: everything remembered, then what happens, no gap, no repeat."""

import asyncio
from typing import Final

from mcp_interface.client import Client
from mcp_interface.commands import ChangeSession, CreateSession, EndSession
from mcp_interface.errors import NodeUnavailable, NotFound
from mcp_interface.events import SessionEnded
from mcp_interface.ids import SessionId, new_id
from mcp_interface.store import Record
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.exams.connection import (
    Entrance,
    connected,
    leave,
    next_record,
    read_whole,
    records_until,
    say,
)
from mcp_interface.testing.time import SeededEntropy

CHANGES: Final = 40
"""How often the exam changes a session while somebody follows it."""


async def _replays_then_lives(entrance: Entrance) -> None:
    async with connected(entrance) as writer, connected(entrance) as one, connected(entrance) as two:
        session = await writer.request(CreateSession())
        await _change(writer, session.id, 0, CHANGES // 2)
        seen = await asyncio.gather(
            records_until(one, session.id, 0, _ended),
            records_until(two, session.id, 0, _ended),
            records_until(writer, session.id, 0, _ended),
            _change_and_end(writer, session.id),
        )
        whole = await read_whole(writer, session.id)
        assert len(whole) >= CHANGES, f"every change is remembered: {len(whole)}"
        for followed in seen[:3]:
            _check_same(followed, whole)


async def _resumes(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession())
        await _change(client, session.id, 0, 10)
        whole = await read_whole(client, session.id)
        for cut in (1, 4, len(whole) - 1):
            part = await records_until(client, session.id, 0, lambda seen, cut=cut: len(seen) >= cut)  # type: ignore[misc]
            _check_same(part, whole[:cut])
            rest = len(whole) - cut
            others = await records_until(
                client,
                session.id,
                part[-1].position,
                lambda seen, rest=rest: len(seen) >= rest,  # type: ignore[misc]
            )
            _check_same(part + others, whole)


async def _waits_for_news(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession())
        last = (await read_whole(client, session.id))[-1].position
        stream = client.follow(session.id, after=last)
        news = asyncio.ensure_future(next_record(stream))
        await client.request(ChangeSession(session_id=session.id, title="news"))
        first = await within(news, "waiting for what comes next")
        assert first.position > last, f"old news: {first}"
        await leave(stream)
        stopped = [notice async for notice in stream]
        assert stopped == [], "a follow that was left gives nothing more"


async def _follows_the_whole_node(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        one = await client.request(CreateSession())
        start = (await read_whole(client, one.id))[-1].position
        two = await client.request(CreateSession())
        await asyncio.gather(say(client, one.id, "to one"), say(client, two.id, "to two"))
        whole = await read_whole(client, one.id) + await read_whole(client, two.id)
        expected = sorted((r for r in whole if r.position > start), key=lambda record: record.position)
        streams = {f"session:{one.id}", f"session:{two.id}"}
        seen = await records_until(
            client,
            None,
            start,
            lambda records: bool(records) and records[-1].position >= expected[-1].position,
        )
        positions = [record.position for record in seen]
        assert positions == sorted(set(positions)), f"positions rise: {positions}"
        _check_same([record for record in seen if record.stream in streams], expected)


async def _keeps_sessions_apart(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        one = await client.request(CreateSession())
        two = await client.request(CreateSession())
        await asyncio.gather(_change(client, one.id, 0, 5), _change(client, two.id, 0, 5))
        await client.request(EndSession(session_id=one.id))
        seen = await records_until(client, one.id, 0, _ended)
        _check_same(seen, await read_whole(client, one.id))


async def _survives_slow_readers(entrance: Entrance) -> None:
    async with connected(entrance) as slow, connected(entrance) as writer:
        session = await writer.request(CreateSession())
        stream = slow.follow(session.id)
        first = await within(next_record(stream), "waiting for the first record")
        await _change_and_end(writer, session.id)
        await leave(stream)
        rest = await records_until(slow, session.id, first.position, _ended)
        _check_same([first, *rest], await read_whole(writer, session.id))


async def _misses_nothing_while_away(entrance: Entrance) -> None:
    async with connected(entrance) as writer:
        session = await writer.request(CreateSession())
        async with connected(entrance, session.id) as client:
            await _change(client, session.id, 0, 3)
            before = await records_until(client, session.id, 0, lambda seen: len(seen) >= 3)
        await _change_and_end(writer, session.id)
        async with connected(entrance, session.id) as again:
            after = await records_until(again, session.id, before[-1].position, _ended)
        _check_same(before + after, await read_whole(writer, session.id))


async def _ends_with_the_connection(entrance: Entrance) -> None:
    client = entrance.client()
    async with connected(entrance) as other:
        session = await other.request(CreateSession())
        with refuses(NotFound, what="following an unknown session"):
            unknown = SessionId(new_id("session", SeededEntropy(406)))
            await anext(other.follow(unknown))
        async with connected(entrance) as client:
            stream = client.follow(session.id)
            await within(next_record(stream), "waiting for the first record")
            waiting = asyncio.ensure_future(_drain(client, session.id))
            await client.request(ChangeSession(session_id=session.id, title="still here"))
            await client.disconnect("enough")
            await within(waiting, "a follow of a client that has left")
        whole = await read_whole(other, session.id)
        assert len(whole) >= 2, "what was asked for goes on"


async def _drain(client: Client, session_id: SessionId) -> None:
    try:
        async for _ in client.follow(session_id):
            pass
    except NodeUnavailable:
        return


async def _change(client: Client, session_id: SessionId, first: int, last: int) -> None:
    for number in range(first, last):
        await client.request(ChangeSession(session_id=session_id, title=f"title {number}"))


async def _change_and_end(client: Client, session_id: SessionId) -> list[Record]:
    await _change(client, session_id, CHANGES // 2, CHANGES)
    await client.request(EndSession(session_id=session_id))
    return []


def _ended(records: list[Record]) -> bool:
    return bool(records) and isinstance(records[-1].event, SessionEnded)


def _check_same(followed: list[Record], whole: list[Record]) -> None:
    got = [record.position for record in followed]
    expected = [record.position for record in whole]
    assert got == expected, f"followed {got}, remembered are {expected}"
    assert followed == whole, "a follower sees what is remembered"


FOLLOWING: Final = (
    _replays_then_lives,
    _resumes,
    _waits_for_news,
    _follows_the_whole_node,
    _keeps_sessions_apart,
    _survives_slow_readers,
    _misses_nothing_while_away,
    _ends_with_the_connection,
)
"""Every part; `check_client` runs them."""
