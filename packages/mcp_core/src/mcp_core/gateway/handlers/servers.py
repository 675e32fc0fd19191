"""Commands about servers and tools. The configuration of servers is the stream "servers"."""

import asyncio
from contextlib import suppress

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.agents.tool_executor import Caller, ToolRequest
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import Owning, require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.protocol.configuration import MAX_SERVERS, check_name, refuse_secrets
from mcp_core.protocol.reach import did_you_mean
from mcp_core.runtime.commit import History, Journal
from mcp_interface.clock import Clock
from mcp_interface.commands import (
    AddServer,
    CallOutcome,
    CallTool,
    ListServers,
    ListTools,
    Page,
    RemoveServer,
)
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, TooMuch
from mcp_interface.events import ServerConfigured, ServerRemoved
from mcp_interface.ids import PrincipalId
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

SCHEMA = "servers/1"


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
    """Handlers over the servers of a node and their tools."""

    def __init__(
        self,
        toolbox: Toolbox,
        sessions: Sessions,
        directory: Directory,
        caller: Caller,
        journal: Journal,
        clock: Clock,
        owner: PrincipalId,
    ) -> None:
        self._owner = owner
        self._owning = Owning(owner, sessions, directory)
        self._toolbox = toolbox
        self._sessions = sessions
        self._directory = directory
        self._caller = caller
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
            ListServers: self.listed,
            ListTools: self.tools,
            CallTool: self.call,
        }

    async def load(self) -> dict[str, ServerSpec]:
        """Read the configuration."""
        await self._history.load()
        return self._history.state.servers

    async def add(self, who: PrincipalId, command: AddServer) -> ServerStatus:
        """Keep the entry, then connect; a server that does not answer is kept and tried again."""
        require_owner(who, self._owner, "add servers")
        check_name(command.name)
        if command.name in self._toolbox.builtin:
            raise InvalidRecord(
                "invalid_server_name", f"{command.name} is built in", "give the server another name"
            )
        command.spec.validate()
        refuse_secrets(command.name, command.spec)
        async with self._writing:
            known = self._history.state.servers
            if command.name not in known and len(known) >= MAX_SERVERS:
                raise TooMuch(f"there are {MAX_SERVERS} servers already", "remove one")
            await self._history.commit(
                ServerConfigured(timestamp=self._clock.now(), name=command.name, spec=command.spec, by=who)
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

    async def listed(self, who: PrincipalId, command: ListServers) -> Page[ServerStatus]:
        """All servers with their state."""
        return page_of(self._toolbox.statuses(), command.limit, command.cursor)

    async def tools(self, who: PrincipalId, command: ListTools) -> Page[ToolInfo]:
        """Tools that are known now."""
        return page_of(self._toolbox.listed(command.server), command.limit, command.cursor)

    async def call(self, who: PrincipalId, command: CallTool) -> CallOutcome:
        """One tool call; acting as an agent never asks anybody, it is allowed or denied."""
        principal = who
        if command.as_agent is not None:
            agent = self._owning.agent(who, command.as_agent)
            self._directory.ref(agent.id)
            principal = PrincipalId(agent.id)
        if command.session_id is None:
            session = await self._sessions.console(who)
        else:
            session = self._sessions.get(command.session_id, who)
        return await self._caller.call(
            ToolRequest(
                session_id=session.id,
                principal_id=principal,
                server=command.server,
                tool=command.tool,
                arguments=command.arguments,
                timeout_s=None if command.timeout_ms is None else command.timeout_ms / 1000,
            )
        )
