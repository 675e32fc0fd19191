"""What has ended long ago leaves memory and stays in the journal."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.agents.roster import Roster
from mcp_interface.commands import (
    CreateSession,
    EndSession,
    ForkSession,
    GetAgent,
    GetSession,
    ListAgents,
    ListSessions,
    ReadSession,
)
from mcp_interface.errors import NotFound
from mcp_interface.ids import PrincipalId, SessionId, new_id
from mcp_interface.testing import MemoryStore, SeededEntropy


def test_ended_sessions_leave_memory_and_can_still_be_read(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.sessions.ENDED", 2)

    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            made = [await house.commands.create(house.owner, CreateSession(title=str(n))) for n in range(5)]
            for session in made[:4]:
                await house.commands.end(house.owner, EndSession(session_id=session.id))
            await _check(house, made)
        async with open_house(store) as house:
            await _check(house, made)
            forked = await house.commands.fork(house.owner, ForkSession(session_id=made[0].id))
            assert forked.title == "0"

    asyncio.run(scenario())


async def _check(house: Any, made: list[Any]) -> None:
    first = made[0].id
    assert house.sessions.count() == 1 and not house.sessions.knows(first) and house.sessions.is_over(first)
    listed = await house.commands.listed(house.owner, ListSessions(ended=True, limit=2))
    rest = await house.commands.listed(house.owner, ListSessions(ended=True, limit=2, cursor=listed.cursor))
    titles = [session.title for session in listed.items + rest.items]
    assert sorted(titles) == ["2", "3", "4"] and rest.cursor is None
    with pytest.raises(NotFound):
        house.sessions.get(first)
    stranger = PrincipalId(new_id("user", SeededEntropy(3)))
    for nobodys in (first, SessionId("session_" + "0" * 32)):
        with pytest.raises(NotFound):
            await house.sessions.find(nobodys, stranger)
    assert await house.commands.read(house.owner, ReadSession(session_id=first))
    found = await house.commands.get(house.owner, GetSession(session_id=first))
    assert (found.status, found.title) == ("terminated", "0")
    assert house.sessions.knows(first) and not house.sessions.knows(made[2].id), "it has taken a place"
    await house.sessions.find(made[2].id, house.owner)
    await house.sessions.find(made[3].id, house.owner)


def test_agents_of_sessions_that_ended_long_ago_are_nobodys(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.sessions.ENDED", 1)

    async def scenario() -> None:
        async with open_house() as house:
            made = [await house.commands.create(house.owner, CreateSession()) for _ in range(2)]
            for session in made:
                await house.commands.end(house.owner, EndSession(session_id=session.id))
            page = await house.agents.listed(house.owner, ListAgents(stopped=True))
            sessions = [agent.session_id for agent in page.items if agent.type == "llm"]
            assert sessions == [made[1].id]

    asyncio.run(scenario())


def test_ended_agents_leave_memory_and_have_no_rights_left(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            house.directory._list = Roster(2)
            await house.directory.load()
            agents = [await house.directory.spawn("worker", f"w{n}") for n in range(5)]
            for agent in agents[:4]:
                await house.directory.stop(agent.id, "enough")
            found, cursor = [], None
            while not found or cursor is not None:
                page = await house.agents.listed(
                    house.owner, ListAgents(stopped=True, limit=1, cursor=cursor)
                )
                found, cursor = found + [agent.name for agent in page.items], page.cursor
            assert [name for name in found if name.startswith("w")] == ["w2", "w3", "w4"]
            assert not house.directory.is_active(PrincipalId(agents[0].id))
            assert agents[0].id not in house.directory._versions
            with pytest.raises(NotFound):
                await house.agents.get(house.owner, GetAgent(agent=agents[0].id))

    asyncio.run(scenario())
