"""What a person cannot see or do on a node that belongs to somebody else."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import Node, Settings
from mcp_core.gateway.handlers.security import SecurityCommands
from mcp_core.gateway.handlers.servers import ServerCommands
from mcp_core.gateway.logins import Logins
from mcp_interface.client import ClientInfo
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CreateSession,
    ExplainAccess,
    GetAgent,
    GrantCapability,
    ListAgents,
    ListCapabilities,
    Page,
    ReadAudit,
    RemoveServer,
    RevokeCapability,
    SpawnAgent,
    StopAgent,
)
from mcp_interface.errors import NotFound, NotPermitted
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.server import ServerSpec
from mcp_interface.testing import SeededEntropy

FRIEND = PrincipalId(new_id("user", SeededEntropy(8)))
URI = "mcp://fs/read/etc/**"


class NoAudit:
    """An audit trail without an entry."""

    async def query(self, query: ReadAudit) -> Page[Any]:
        return Page(items=[])


Ask = Callable[[PrincipalId, Any], Awaitable[Any]]


def with_two_people(open_house: Callable[..., Any], work: Callable[[Any, Ask], Awaitable[None]]) -> None:
    """Run `work` in a house of the owner, where a friend may ask things too."""

    async def scenario() -> None:
        async with open_house() as house:
            logins = Logins(house.store, house.clock, house.entropy, "token", house.owner)
            servers = ServerCommands(house.toolbox, house.journal, house.clock, house.owner, house.sight)
            handlers = {
                **house.agents.handlers(),
                **SecurityCommands(NoAudit(), logins).handlers(),  # type: ignore[arg-type]
                **servers.handlers(),
                **house.calls.handlers(),
                **house.commands.handlers(),
            }
            async with asyncio.timeout(20):
                await work(house, lambda who, command: handlers[type(command)](who, command))

    asyncio.run(scenario())


@pytest.mark.parametrize("inside", [True, False])
def test_an_agent_of_another_person_does_not_exist(open_house: Callable[..., Any], inside: bool) -> None:
    async def work(house: Any, ask: Ask) -> None:
        session = await ask(house.owner, CreateSession())
        agent = await ask(house.owner, SpawnAgent(name="ann", session_id=session.id if inside else None))
        for name in ("ann", agent.id, agent.id[:14]):
            for command in (
                GetAgent(agent=name),
                StopAgent(agent=name),
                GrantCapability(agent=name, resource_uri=URI),
                ListCapabilities(principal=name),
                ExplainAccess(principal=name, resource_uri=URI),
                CallTool(server="stub", tool="count_words", arguments={"text": "a"}, as_agent=name),
            ):
                with pytest.raises(NotFound, match=r"no (agent|tool)"):
                    await ask(FRIEND, command)
        with pytest.raises(NotFound, match="no session"):
            await ask(FRIEND, ListAgents(session_id=session.id))
        assert not (await ask(FRIEND, ListAgents(stopped=True))).items
        assert (await ask(house.owner, GetAgent(agent="ann"))).state == "active"

    with_two_people(open_house, work)


def test_not_even_the_owner_of_the_node_reaches_into_the_session_of_another_person(
    open_house: Callable[..., Any],
) -> None:
    async def work(house: Any, ask: Ask) -> None:
        session = await ask(FRIEND, CreateSession())
        agent = await ask(FRIEND, SpawnAgent(name="bob", session_id=session.id))
        with pytest.raises(NotFound):
            await ask(house.owner, GetAgent(agent="bob"))
        assert agent.id not in [each.id for each in (await ask(house.owner, ListAgents())).items]
        mine = (await ask(FRIEND, ListAgents())).items
        assert [each.id for each in mine] == [*session.agents, agent.id]
        assert not (await ask(FRIEND, ListCapabilities(principal="bob"))).items
        assert not (await ask(FRIEND, ListCapabilities(principal=FRIEND))).items
        await ask(FRIEND, StopAgent(agent="bob"))

    with_two_people(open_house, work)


@pytest.mark.parametrize(
    "command",
    [
        AddServer(name="git", spec=ServerSpec(command="x")),
        RemoveServer(name="git"),
        ReadAudit(),
        ListCapabilities(),
        ListCapabilities(principal=new_id("user", SeededEntropy(7))),
        ExplainAccess(principal="system", resource_uri=URI),
        SpawnAgent(name="ann"),
    ],
)
def test_what_concerns_the_whole_node_is_for_its_owner(open_house: Callable[..., Any], command: Any) -> None:
    async def work(house: Any, ask: Ask) -> None:
        with pytest.raises(NotPermitted, match="only the owner"):
            await ask(FRIEND, command)
        assert not await house.journal.read("servers")

    with_two_people(open_house, work)


def test_the_owner_sees_the_whole_node(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, ask: Ask) -> None:
        ann = await ask(house.owner, SpawnAgent(name="ann"))
        assert ann.id in [agent.id for agent in (await ask(house.owner, ListAgents())).items]
        assert (await ask(house.owner, ListCapabilities())).items
        assert not (await ask(house.owner, ListCapabilities(principal=FRIEND))).items
        assert not (await ask(house.owner, ReadAudit())).items

    with_two_people(open_house, work)


def test_a_root_right_that_was_taken_back_stays_taken_back(tmp_path: Path) -> None:
    async def roots(end: bool) -> set[str]:
        async with Node(Settings.load(tmp_path, {})) as node:
            client = node.client()
            owner = (await client.connect(ClientInfo(name="test", token=node.owner_token))).principal_id
            held = (await client.request(ListCapabilities(principal=owner))).items
            if end:
                shell = next(each for each in held if each.resource_uri == "mcp://shell/execute/**")
                await client.request(RevokeCapability(capability_id=shell.id, reason="test"))
            return {each.resource_uri for each in held}

    first = asyncio.run(roots(end=True))
    assert asyncio.run(roots(end=False)) == first - {"mcp://shell/execute/**"}


def test_roots_that_a_crash_kept_from_the_first_start_are_given_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp_security import Kernel

    whole = Kernel.request_all
    given: list[str] = []

    async def crash(self: Any, principal: Any, asks: Any) -> Any:
        await whole(self, principal, asks[:3])  # of what is appended together, a kill may leave the beginning
        given.extend(ask.resource.uri for ask in asks[:3])
        raise OSError("the power failed")

    async def start() -> list[str]:
        async with Node(Settings.load(tmp_path, {})) as node:
            client = node.client()
            owner = (await client.connect(ClientInfo(name="test", token=node.owner_token))).principal_id
            return [
                each.resource_uri for each in (await client.request(ListCapabilities(principal=owner))).items
            ]

    monkeypatch.setattr(Kernel, "request_all", crash)
    with pytest.raises(OSError, match="power"):
        asyncio.run(start())
    monkeypatch.undo()
    held = asyncio.run(start())
    assert held[:3] == given
    assert len(held) == len(set(held)) > 3
