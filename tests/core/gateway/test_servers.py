"""The configuration of servers: what gets into it, and that the host follows."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.gateway.handlers.servers import ServerCommands
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.protocol.configuration import MAX_SERVERS
from mcp_core.runtime.breaker import Breakers
from mcp_interface.commands import AddServer, RemoveServer
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, TooMuch
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.testing import CountWords

SPEC = ServerSpec(command="x")


class Forgetful:
    """A host that takes every server and forgets it at once."""

    def __init__(self) -> None:
        self.added: list[str] = []

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        await asyncio.sleep(0)
        self.added.append(name)
        return ServerStatus(name=name, spec=spec, state="ready")

    async def remove(self, name: str) -> None:
        raise NotFound(f"there is no server {name!r}")

    async def restart(self, name: str) -> ServerStatus:
        raise NotFound(f"there is no server {name!r}")

    def statuses(self) -> list[ServerStatus]:
        return []


async def _commands(house: Any) -> tuple[ServerCommands, Forgetful]:
    host = Forgetful()
    toolbox = Toolbox(host, {"stub": [CountWords()]}, Breakers(house.clock))  # type: ignore[arg-type]
    commands = ServerCommands(toolbox, house.journal, house.clock, house.owner, house.sight)
    await commands.load()
    return commands, host


@pytest.mark.parametrize(
    ("name", "spec", "error"),
    [
        ("a/b", SPEC, InvalidRecord),
        ("x" * 64, SPEC, InvalidRecord),
        ("stub", SPEC, InvalidRecord),
        ("x", ServerSpec(), InvalidRecord),
        ("x", ServerSpec(command="x", env={"API_KEY": "abc123xyz"}), CallerMistaken),
    ],
)
def test_what_is_refused_is_not_journaled(
    open_house: Callable[..., Any], name: str, spec: ServerSpec, error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            commands, host = await _commands(house)
            with pytest.raises(error):
                await commands.add(house.owner, AddServer(name=name, spec=spec))
            assert not host.added
            assert not await house.journal.read("servers")

    asyncio.run(scenario())


def test_the_servers_of_a_node_are_bounded_and_the_bound_is_checked_before_the_journal(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            commands, host = await _commands(house)
            answers = await asyncio.gather(
                *(
                    commands.add(house.owner, AddServer(name=f"s{number}", spec=SPEC))
                    for number in range(MAX_SERVERS + 5)
                ),
                return_exceptions=True,
            )
            assert [type(answer) for answer in answers].count(TooMuch) == 5
            assert len(host.added) == len(await commands.load()) == MAX_SERVERS
            await commands.add(house.owner, AddServer(name="s0", spec=SPEC))
            await commands.remove(house.owner, RemoveServer(name="s1"))
            await commands.add(house.owner, AddServer(name="another", spec=SPEC))

    asyncio.run(scenario())


def test_a_server_that_the_host_does_not_know_can_be_removed(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            commands, _ = await _commands(house)
            await commands.add(house.owner, AddServer(name="git", spec=SPEC))
            await commands.remove(house.owner, RemoveServer(name="git"))
            assert await commands.load() == {}
            with pytest.raises(NotFound):
                await commands.remove(house.owner, RemoveServer(name="git"))

    asyncio.run(scenario())
