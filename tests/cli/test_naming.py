import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_cli.naming import collect, find_agent, find_session, latest_session, principal_id, short
from mcp_interface.agent import AgentRecord
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CreateSession, ListAgents, ListSessions, Page
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import AgentId
from mcp_interface.testing import FakeNode

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def agent(digits: str, name: str = "", state: Any = "active") -> AgentRecord:
    return AgentRecord(
        id=AgentId("agent_" + digits.ljust(32, "0")), type="worker", name=name, started_at=NOW, state=state
    )


class Agents:
    """A node that knows agents only."""

    def __init__(self, *agents: AgentRecord) -> None:
        self._agents = agents

    async def request(self, command: Any, timeout: float | None = None) -> Any:
        assert isinstance(command, ListAgents)
        return Page(items=[one for one in self._agents if command.stopped or one.state == "active"])


def find(text: str, *agents: AgentRecord) -> AgentRecord:
    return asyncio.run(find_agent(Agents(*agents), text))  # type: ignore[arg-type]


def test_an_agent_is_found_by_id_prefix_or_name() -> None:
    one, two = agent("aa1", "scout"), agent("ab2", "writer")
    assert find(one.id, one, two) == one
    assert find("writer", one, two) == two
    assert find("agent_ab", one, two) == two
    assert find("aa", one, two) == one


def test_what_fits_several_is_never_guessed() -> None:
    one, two = agent("aa1", "scout"), agent("aa2", "scout")
    with pytest.raises(CallerMistaken, match="fits 2 agents: agent_aa100000, agent_aa200000"):
        find("aa", one, two)
    with pytest.raises(CallerMistaken, match="fits 2"):
        find("scout", one, two)


def test_a_running_agent_comes_before_a_stopped_one_of_the_same_name() -> None:
    old, new = agent("aa1", "scout", "terminated"), agent("ab2", "scout")
    assert find("scout", old, new) == new
    assert find("aa1", old, new) == old
    with pytest.raises(NotFound, match="no agent is called 'x'"):
        find("x", old, new)


def test_principals_are_taken_as_they_are() -> None:
    async def scenario() -> None:
        user = "user_" + "0" * 32
        assert await principal_id(Agents(), user) == user  # type: ignore[arg-type]
        assert await principal_id(Agents(), "system") == "system"  # type: ignore[arg-type]

    asyncio.run(scenario())


def test_sessions_are_found_and_the_record_of_single_calls_is_not_a_conversation() -> None:
    async def scenario() -> None:
        async with FakeNode() as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            with pytest.raises(NotFound, match="no earlier session"):
                await latest_session(client)
            talk = await client.request(CreateSession(title="About fish"))
            await client.request(CreateSession(title="command line", metadata={"kind": "console"}))
            assert await latest_session(client) == talk
            assert await find_session(client, "About fish") == talk
            assert await find_session(client, short(talk.id)) == talk
            assert len(await collect(client, ListSessions(limit=1))) == 2
            assert len(await collect(client, ListSessions(limit=1), most=1)) == 1

    asyncio.run(scenario())
