"""All MCP servers of a node by name.

Above: the node, which decides who may call and how many servers there are. Below: one `Connection` each.
Knows nothing of rights or journals.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from mcp_core.protocol.configuration import check_name
from mcp_core.protocol.connections import Connection
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.owner import ConnectionOwner
from mcp_core.protocol.reach import did_you_mean
from mcp_core.protocol.standing import News
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NodeUnavailable, NotFound
from mcp_interface.offers import (
    Contents,
    PromptInfo,
    PromptResult,
    ResourceInfo,
    ResourceTemplate,
    Suggestions,
)
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult

STOP_SECONDS: Final = 15.0
FIRST_ATTEMPT: Final = 15.0
"""How long `add` waits; the attempt itself goes on."""


class Host:
    """The connected servers.

    Args:
        clock: For pauses and deadlines.
        entropy: For jitter.
        log_dir: Where stdio servers write their stderr.
        on_change: Told every new status of every server, on the event loop; must not raise.
        supervisor: Keeps the owner of each connection alive.
        environment: Where `${VAR}` in specifications looks; None is the environment of the process.
        on_news: Told what servers offer anew, and which watched resources changed, on the event loop; must not raise.
        doors: Logins, extensions and cages; None: none of them.
    """

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        log_dir: Path,
        on_change: Callable[[ServerStatus], None],
        supervisor: Supervisor,
        environment: Mapping[str, str] | None = None,
        *,
        on_news: Callable[[News], None] | None = None,
        doors: Doors | None = None,
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._log_dir = log_dir
        self._on_change = on_change
        self._supervisor = supervisor
        self._environment = environment
        self._on_news = on_news
        self._doors = doors or Doors()
        self._connections: dict[str, Connection] = {}
        self._watched: dict[str, dict[str, set[str]]] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._closed = False

    @property
    def doors(self) -> Doors:
        """What its connections are given."""
        return self._doors

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        """Add or replace a server and wait for its first attempt, at most fifteen seconds.

        A server that cannot be reached is a status with an error, not an exception, and is tried again. One that is
        there already with an equal specification stays as it is; if it has failed, it is tried again at once.

        Raises:
            InvalidRecord: The name or the specification breaks a rule.
            NodeUnavailable: The host is closed.
        """
        check_name(name)
        spec.validate()
        async with self._changing.setdefault(name, asyncio.Lock()):
            connection = self._connections.get(name)
            if connection is None or connection.spec != spec or connection.status.state == "stopped":
                connection = await self._replace(name, spec)
            elif connection.status.state in {"waiting", "failed", "login"}:
                await connection.try_again()
        return await connection.settled(FIRST_ATTEMPT)

    async def restart(self, name: str) -> ServerStatus:
        """Disconnect a server and connect it again, and wait for the first attempt as `add` does.

        Raises:
            NotFound: No such server.
            NodeUnavailable: The host is closed.
        """
        async with self._changing.setdefault(name, asyncio.Lock()):
            connection = await self._replace(name, self._connection(name).spec)
        return await connection.settled(FIRST_ATTEMPT)

    def retry(self, name: str) -> None:
        """Try at once to connect a server that could not be reached, as when a login has been made.

        Raises:
            NotFound: No such server.
        """
        self._connection(name).retry()

    async def _replace(self, name: str, spec: ServerSpec) -> Connection:
        if self._closed:
            raise NodeUnavailable("the node is stopping", "start it again")
        await self._supervisor.stop(_owner(name), STOP_SECONDS)
        make = partial(ConnectionOwner, partial(self._connect, name, spec))
        self._supervisor.start(ChildSpec(name=_owner(name), make=make))
        return self._connections[name]

    def _connect(self, name: str, spec: ServerSpec) -> Connection:
        """Make the connection of a new owner, and let calls find it."""
        self._connections[name] = Connection(
            name,
            spec,
            clock=self._clock,
            entropy=self._entropy,
            log_dir=self._log_dir,
            on_change=self._on_change,
            on_news=self._on_news,
            environment=self._environment,
            doors=self._doors,
            watched=self._watched.setdefault(name, {}),
        )
        return self._connections[name]

    async def remove(self, name: str) -> None:
        """Disconnect and forget a server.

        Raises:
            NotFound: No such server.
        """
        async with self._changing.setdefault(name, asyncio.Lock()):
            self._connection(name)
            del self._connections[name]
            self._watched.pop(name, None)
            await self._supervisor.stop(_owner(name), STOP_SECONDS)
        self._changing.pop(name, None)

    def statuses(self) -> list[ServerStatus]:
        """Every server's status, by name."""
        return [self._connections[name].status for name in sorted(self._connections)]

    def tools(self, server: str | None = None) -> list[ToolInfo]:
        """Tools as last listed, of one server or of all, by server and name.

        Raises:
            NotFound: No such server.
        """
        return [known.tools[name] for known in self._of(server) for name in sorted(known.tools)]

    def resources(self, server: str | None = None) -> list[ResourceInfo]:
        """Resources as last listed, by server, in its own order.

        Raises:
            NotFound: No such server.
        """
        return [one for known in self._of(server) for one in known.offered.resources]

    def templates(self, server: str | None = None) -> list[ResourceTemplate]:
        """Templates of resources, likewise.

        Raises:
            NotFound: No such server.
        """
        return [one for known in self._of(server) for one in known.offered.templates]

    def prompts(self, server: str | None = None) -> list[PromptInfo]:
        """Prompts, likewise.

        Raises:
            NotFound: No such server.
        """
        return [one for known in self._of(server) for one in known.offered.prompts]

    async def find(self, server: str, tool: str, timeout: float) -> ToolInfo:
        """Describe one tool, waiting at most `timeout` seconds for its server.

        Raises:
            NotFound: No such server or tool; names those that come close.
            UmbrellaError: As `Connection.describe`.
        """
        return await self._connection(server).describe(tool, timeout)

    async def call(
        self,
        server: str,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None = None,
        context: ToolContext | None = None,
        expected: ToolInfo | None = None,
        last_look: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Run one tool; see `Connection.call`.

        Raises:
            NotFound: No such server or tool.
            UmbrellaError: As `Connection.call`.
        """
        return await self._connection(server).call(
            tool, arguments, timeout=timeout, context=context, expected=expected, last_look=last_look
        )

    async def read(
        self, server: str, uri: str, *, timeout: float | None = None, context: ToolContext | None = None
    ) -> list[Contents]:
        """Read a resource; see `Connection.read`.

        Raises:
            NotFound: No such server or resource.
            UmbrellaError: As `Connection.read`.
        """
        return await self._connection(server).read(uri, timeout=timeout, context=context)

    async def get_prompt(
        self,
        server: str,
        name: str,
        arguments: Mapping[str, str],
        *,
        timeout: float | None = None,
        context: ToolContext | None = None,
    ) -> PromptResult:
        """Get a prompt with values in place; see `Connection.get_prompt`.

        Raises:
            NotFound: No such server or prompt.
            UmbrellaError: As `Connection.get_prompt`.
        """
        return await self._connection(server).get_prompt(name, arguments, timeout=timeout, context=context)

    async def complete(
        self,
        server: str,
        kind: Literal["prompt", "template"],
        name: str,
        *,
        argument: str,
        value: str = "",
        known: Mapping[str, str] | None = None,
    ) -> Suggestions:
        """What could stand for a value; see `Connection.complete`.

        Raises:
            NotFound: No such server.
            UmbrellaError: As `Connection.complete`.
        """
        return await self._connection(server).complete(
            kind, name, argument=argument, value=value, known=known
        )

    async def watch(self, server: str, uri: str, who: str) -> None:
        """Have changes of a resource told to `on_news`; see `Connection.watch`.

        Raises:
            NotFound: No such server.
            UmbrellaError: As `Connection.watch`.
        """
        await self._connection(server).watch(uri, who)

    async def unwatch(self, server: str, uri: str, who: str) -> None:
        """No longer have them told to somebody; harmless when repeated.

        Raises:
            NotFound: No such server.
        """
        await self._connection(server).unwatch(uri, who)

    async def close(self) -> None:
        """Disconnect everything and end every child process; bounded, and harmless when repeated."""
        self._closed = True
        names = list(self._connections)
        self._connections.clear()
        await asyncio.gather(*(self._supervisor.stop(_owner(name), STOP_SECONDS) for name in names))

    def _of(self, server: str | None) -> Iterator[Connection]:
        if server is not None:
            yield self._connection(server)
            return
        for name in sorted(self._connections):
            yield self._connections[name]

    def _connection(self, name: str) -> Connection:
        found = self._connections.get(name)
        if found is None:
            raise NotFound(
                f"there is no server {name[:80]!r}", did_you_mean(name, self._connections), {"server": name}
            )
        return found


def _owner(name: str) -> str:
    return f"server:{name}"
