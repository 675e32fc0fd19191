"""Every tool that can be called, first-party and remote, under one lookup."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from mcp_core.gateway.plain_errors import plain
from mcp_core.protocol.arguments import ArgumentCheck
from mcp_core.protocol.reach import did_you_mean
from mcp_core.runtime.breaker import Breaker, Breakers, failed
from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import DeadlineExceeded, NotFound, ServerUnavailable, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult


class ServerHost(Protocol):
    """What the toolbox needs of the MCP host (`mcp_core.protocol.Host`)."""

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        """Connect a server, or replace it."""
        ...

    async def remove(self, name: str) -> None:
        """Disconnect a server."""
        ...

    async def restart(self, name: str) -> ServerStatus:
        """Disconnect a server and connect it again."""
        ...

    def statuses(self) -> list[ServerStatus]:
        """All servers."""
        ...

    def tools(self, server: str | None = None) -> list[ToolInfo]:
        """Tools that are known now."""
        ...

    async def find(self, server: str, tool: str, timeout: float) -> ToolInfo:
        """One tool, waiting for its server to be ready."""
        ...

    async def call(
        self,
        server: str,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None,
        context: ToolContext | None = None,
        expected: ToolInfo | None = None,
        last_look: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Run one tool, if it is `expected` and `last_look` raises nothing right before it is sent."""
        ...


def speaks_against(error: BaseException) -> bool:
    """Whether a failed call counts for the circuit breaker of its tool.

    That a server cannot be reached does not: its connection rests by itself, and says when it is back. A deadline
    counts when the call had been sent; then the error names the tool.
    """
    if isinstance(error, DeadlineExceeded):
        return "tool" in error.details
    return failed(error) and not isinstance(error, ServerUnavailable)


class RemoteTool:
    """A tool of an MCP server as a `Tool`. It needs the right to run exactly that tool."""

    def __init__(
        self,
        host: ServerHost,
        info: ToolInfo,
        timeout: float,
        breaker: Breaker,
        last_look: Callable[[], None] | None = None,
        *,
        frank: bool = True,
    ) -> None:
        self._frank = frank
        self._breaker = breaker
        self._host = host
        self._info = info
        self._timeout = timeout
        self._last_look = last_look

    def with_last_look(self, last_look: Callable[[], None]) -> "RemoteTool":
        """The same tool, for one call that may have to wait for the server: it raises if that is to stay unsent."""
        return RemoteTool(self._host, self._info, self._timeout, self._breaker, last_look, frank=self._frank)

    def info(self) -> ToolInfo:
        """The server's own description."""
        return self._info

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check against the tool's JSON Schema.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        ArgumentCheck(self._info.server, self._info.name, self._info.parameters)(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to run this tool with these arguments."""
        return [Need(tool_resource(self._info.server, self._info.name), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Call the server, unless the tool has become another one since it was judged.

        Raises:
            NotPermitted: It has; or as the last look says.
            CircuitOpen: It has failed again and again, and is left alone for a while.
            UmbrellaError: As the server's connection says; in plain words where they are not for the owner of the node.
        """
        work = partial(
            self._host.call,
            self._info.server,
            self._info.name,
            args,
            timeout=self._timeout,
            context=context,
            expected=self._info,
            last_look=self._last_look,
        )
        try:
            return await self._breaker.run(work)
        except UmbrellaError as error:
            if self._frank:
                raise
            raise plain(error, self._info.server, self._info.name) from None


class Toolbox:
    """Finds tools by server and name.

    Args:
        host: The MCP servers.
        builtin: First-party tools by the name of their server.
        breakers: Leave a remote tool alone that keeps failing.
        owner: Who is told in full why a server fails; None: everybody is.
    """

    def __init__(
        self,
        host: ServerHost,
        builtin: dict[str, Sequence[Tool]],
        breakers: Breakers,
        owner: PrincipalId | None = None,
    ) -> None:
        self.host = host
        self._owner = owner
        self._breakers = breakers
        self._builtin = {
            server: {tool.info().name: tool for tool in tools} for server, tools in builtin.items()
        }

    @property
    def builtin(self) -> frozenset[str]:
        """Names that no MCP server can take."""
        return frozenset(self._builtin)

    def statuses(self) -> list[ServerStatus]:
        """Built-in servers first, then the connected ones."""
        own = [
            ServerStatus(name=name, state="ready", protocol="built-in", tools=len(tools))
            for name, tools in self._builtin.items()
        ]
        return own + self.host.statuses()

    def listed(self, server: str | None = None) -> list[ToolInfo]:
        """Tools of one server or of all.

        Raises:
            NotFound: No such server.
        """
        if server is not None and server not in {status.name for status in self.statuses()}:
            raise self._no_server(server)
        own = [
            tool.info()
            for name, tools in self._builtin.items()
            if server in (None, name)
            for tool in tools.values()
        ]
        if server in self._builtin:
            return own
        return own + self.host.tools(server)

    def timeout(self, server: str) -> float | None:
        """Seconds that a server's own entry allows for a call; None when it says nothing."""
        for status in self.host.statuses():
            if status.name == server and status.spec is not None and status.spec.timeout is not None:
                return status.spec.timeout / 1000
        return None

    async def find(self, server: str, tool: str, timeout: float, reader: PrincipalId | None = None) -> Tool:
        """One tool, ready to be used.

        Args:
            server: Its server.
            tool: Its name.
            timeout: Seconds, for finding it and for each call.
            reader: Who reads what becomes of the call; anybody but the owner reads errors in plain words.

        Raises:
            NotFound: No such server or tool; the remedy names close ones.
            ServerUnavailable: The server does not answer.
        """
        if server in self._builtin:
            found = self._builtin[server].get(tool)
            if found is None:
                raise NotFound(f"{server} has no tool {tool!r}", did_you_mean(tool, self._builtin[server]))
            return found
        frank = self._owner is None or reader == self._owner
        try:
            if server not in {status.name for status in self.host.statuses()}:
                raise self._no_server(server)
            info = await self.host.find(server, tool, timeout)
        except UmbrellaError as error:
            if frank:
                raise
            raise plain(error, server, tool) from None
        return RemoteTool(self.host, info, timeout, self._breakers.of(f"{server}/{tool}"), frank=frank)

    def _no_server(self, server: str) -> NotFound:
        names = [status.name for status in self.statuses()]
        return NotFound(f"no server {server!r}", did_you_mean(server, names))
