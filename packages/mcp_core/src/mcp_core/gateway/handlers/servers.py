"""Commands about servers and what they offer. The configuration of servers is the stream "servers"."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.protocol.configuration import MAX_SERVERS, check_name
from mcp_core.protocol.plain_secrets import refuse_secrets
from mcp_core.protocol.reach import did_you_mean
from mcp_core.runtime.commit import History, Journal
from mcp_core.tools.index import search_tools
from mcp_interface.clock import Clock
from mcp_interface.commands import (
    AddServer,
    ListServers,
    ListTools,
    Page,
    RemoveServer,
    RestartServer,
)
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, TooMuch
from mcp_interface.events import ServerConfigured, ServerRemoved
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import CATALOG
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

SCHEMA = "servers/1"
MOST_FOUND = 200
"""Tools that one search gives."""


class Configured(msgspec.Struct):
    """The servers that somebody wants, by name."""

    servers: dict[str, ServerSpec] = {}


def apply(state: Configured, record: Record) -> None:
    """Move the configuration on by one event."""
    match record.event:
        case ServerConfigured(name=name, spec=spec):
            state.servers[name] = spec
        case ServerRemoved(name=name):
            state.servers.pop(name, None)


class ServerCommands:
    """Handlers over the servers of a node and the list of their tools."""

    def __init__(
        self,
        toolbox: Toolbox,
        journal: Journal,
        clock: Clock,
        owner: PrincipalId,
        sight: Sight,
        forget: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._owner = owner
        self._sight = sight
        self._forget = forget
        self._toolbox = toolbox
        self._clock = clock
        self._writing = asyncio.Lock()
        self._history: History[Configured] = History(
            journal, "servers", initial=Configured, apply=apply, clock=clock, schema=SCHEMA
        )

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            AddServer: self.add,
            RemoveServer: self.remove,
            RestartServer: self.restart,
            ListServers: self.listed,
            ListTools: self.tools,
        }

    async def load(self) -> dict[str, ServerSpec]:
        """Read the configuration."""
        await self._history.load()
        return self._history.state.servers

    async def add(self, who: PrincipalId, command: AddServer) -> ServerStatus:
        """Keep the entry, then connect; a server that does not answer is kept and tried again."""
        require_owner(who, self._owner, "add servers")
        check_name(command.name)
        if command.name in self._toolbox.builtin or command.name == CATALOG:
            raise InvalidRecord(
                "invalid_server_name", f"{command.name} is built in", "give the server another name"
            )
        command.spec.validate()
        refuse_secrets(command.name, command.spec)
        async with self._writing:
            known = self._history.state.servers
            if command.name not in known and len(known) >= MAX_SERVERS:
                raise TooMuch(f"there are {MAX_SERVERS} servers already", "remove one")
            if known.get(command.name) != command.spec:
                await self._history.commit(
                    ServerConfigured(
                        timestamp=self._clock.now(), name=command.name, spec=command.spec, by=who
                    )
                )
        return await self._toolbox.host.add(command.name, command.spec)

    async def remove(self, who: PrincipalId, command: RemoveServer) -> None:
        """Forget the entry and disconnect."""
        require_owner(who, self._owner, "remove servers")
        if command.name in self._toolbox.builtin:
            raise CallerMistaken(f"{command.name} is built in", "it cannot be removed")
        async with self._writing:
            known = self._history.state.servers
            if command.name not in known:
                raise NotFound(f"no server {command.name!r}", did_you_mean(command.name, known))
            await self._history.commit(ServerRemoved(timestamp=self._clock.now(), name=command.name, by=who))
        with suppress(NotFound):  # it never came up, or somebody else removed it just now
            await self._toolbox.host.remove(command.name)
        if self._forget is not None:  # what people logged in with there
            await self._forget(command.name)

    async def restart(self, who: PrincipalId, command: RestartServer) -> ServerStatus:
        """Disconnect and connect again, by the entry as it is."""
        require_owner(who, self._owner, "restart servers")
        if command.name in self._toolbox.builtin:
            raise CallerMistaken(f"{command.name} is built in", "it starts and ends with its node")
        known = self._history.state.servers
        if command.name not in known:
            raise NotFound(f"no server {command.name!r}", did_you_mean(command.name, known))
        return await self._toolbox.host.restart(command.name)

    async def listed(self, who: PrincipalId, command: ListServers) -> Page[ServerStatus]:
        """All servers with their state."""
        return page_of(self._seen(who), command.limit, command.cursor)

    async def tools(self, who: PrincipalId, command: ListTools) -> Page[ToolInfo]:
        """Tools that are known now; searched, those that match."""
        shown = self._shown(who, command)
        if command.query:
            shown = await asyncio.to_thread(search_tools, shown, command.query, MOST_FOUND)
        return page_of(shown, command.limit, command.cursor)

    def _shown(self, who: PrincipalId, command: ListTools) -> list[ToolInfo]:
        if self._sight.sees_all(who):
            return self._toolbox.listed(command.server)
        shown = [tool for tool in self._toolbox.listed() if self._sight.tool(who, tool)]
        if command.server is not None:
            shown = [tool for tool in shown if tool.server == command.server]
            if not shown:  # one that is hidden and one that does not exist look the same
                raise NotFound(f"no server {command.server[:80]!r}", "list them: umbrella mcp list")
        return shown

    def _seen(self, who: PrincipalId) -> list[ServerStatus]:
        """The servers that somebody may know of; how they are reached is the owner's to know."""
        statuses = self._toolbox.statuses()
        if self._sight.sees_all(who):
            return statuses
        sight = self._sight
        own = {tool.server for tool in self._toolbox.listed() if sight.tool(who, tool)}
        return [
            ServerStatus(name=each.name, state=each.state, protocol=each.protocol)
            for each in statuses
            if each.name in own or (each.name not in self._toolbox.builtin and sight.server(who, each.name))
        ]
