"""One connection for each login, bounded, and closed when nobody uses it."""

import asyncio
from typing import Any

import pytest

from mcp_interface.commands import GetStatus, ListSessions, Page
from mcp_interface.errors import NodeUnavailable, TooMuch
from mcp_interface.testing import ManualClock
from mcp_web import clients as module
from mcp_web.clients import IDLE_S, Clients


def keys(door: Any, count: int) -> list[str]:
    door.answers[ListSessions] = Page(items=[])
    made = [f"key-{number}" for number in range(count)]
    door.keys.update(made)
    return made


def test_a_login_is_connected_once_however_many_ask_at_once(door: Any, clock: ManualClock) -> None:
    async def scenario() -> None:
        pool = Clients(door, clock)
        (key,) = keys(door, 1)
        await asyncio.gather(*(pool.ask(key, ListSessions()) for _ in range(20)))
        assert door.connected == 1
        await pool.close()
        assert door.connected == 0

    asyncio.run(scenario())


def test_every_login_asks_with_its_own_rights(door: Any, clock: ManualClock) -> None:
    async def scenario() -> None:
        pool = Clients(door, clock)
        first, second = keys(door, 2)
        await pool.ask(first, ListSessions())
        await pool.ask(second, ListSessions(limit=1))
        assert door.commands(first) == [ListSessions()]
        assert door.commands(second) == [ListSessions(limit=1)]
        await pool.close()

    asyncio.run(scenario())


def test_an_idle_connection_is_closed_and_opened_again_when_needed(door: Any, clock: ManualClock) -> None:
    async def scenario() -> None:
        pool = Clients(door, clock)
        (key,) = keys(door, 1)
        await pool.ask(key, ListSessions())
        sweeper = asyncio.create_task(pool.sweep())
        for _ in range(12):
            await asyncio.sleep(0)
            clock.advance(IDLE_S / 10)
            await asyncio.sleep(0)
        assert door.connected == 0
        sweeper.cancel()
        await pool.ask(key, ListSessions())
        assert door.connected == 1
        await pool.close()

    asyncio.run(scenario())


def test_the_least_recently_used_login_makes_room(
    door: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOGINS", 2)

    async def scenario() -> None:
        pool = Clients(door, clock)
        for key in keys(door, 5):
            await pool.ask(key, ListSessions())
            clock.advance(1)
        assert door.connected == 2
        await pool.close()

    asyncio.run(scenario())


def test_streams_are_bounded(door: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 1)

    async def scenario() -> None:
        pool = Clients(door, clock)
        (key,) = keys(door, 1)
        info = module.ClientInfo(name="test", token=key)
        async with pool.stream(info, lambda: None):
            with pytest.raises(TooMuch):
                async with pool.stream(info, lambda: None):
                    raise AssertionError("a second stream was let in")
        await pool.close()

    asyncio.run(scenario())


def test_after_the_node_was_away_the_next_request_connects_anew(door: Any, clock: ManualClock) -> None:
    async def scenario() -> None:
        pool = Clients(door, clock)
        (key,) = keys(door, 1)
        door.answers[GetStatus] = NodeUnavailable("gone")
        with pytest.raises(NodeUnavailable):
            await pool.ask(key, GetStatus())
        await pool.ask(key, ListSessions())
        assert door.commands(key) == [GetStatus(), ListSessions()]
        await pool.close()

    asyncio.run(scenario())
