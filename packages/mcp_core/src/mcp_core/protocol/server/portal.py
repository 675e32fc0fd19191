"""One principal's way from MCP into the node, within one virtual server: what both transports hand to the handlers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import mcp  # noqa: F401 - whole, and first: a thread of the host may be at it, and its parts import each other in circles
from mcp.server.subscriptions import ListenHandler

from mcp_core.protocol.server.catalogue import Catalogue
from mcp_core.protocol.server.changes import Changes
from mcp_core.protocol.server.feed import Feed
from mcp_core.protocol.server.line import Connect, Line
from mcp_core.settings import McpSettings
from mcp_interface.clock import Clock
from mcp_interface.commands import CreateSession, ListSessions
from mcp_interface.errors import UmbrellaError, WrongState
from mcp_interface.execution import CancelExecution, Execution, StartExecution
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId
from mcp_interface.question import InquiryKind
from mcp_interface.tool import ToolInfo

LABEL: Final = "mcp"
"""Under which key of a session's metadata stands whose calls it records."""
DEFAULTS: Final = McpSettings()
MAX_STREAMS: Final = 64
"""Open `subscriptions/listen` streams of one principal."""


class Portal:
    """Asks the node on behalf of one principal.

    Args:
        connect: Makes connections as that principal.
        name: Of the key, or whatever came in: its calls are recorded in the session "mcp: <name>".
        publication: Name of the virtual server; None offers everything.
        clock: Time.
        settings: Say how calls become tasks.
    """

    def __init__(
        self,
        connect: Connect,
        name: str,
        publication: str | None,
        clock: Clock,
        settings: McpSettings = DEFAULTS,
    ) -> None:
        self._name = name
        self.clock = clock
        self.settings = settings
        self.line = Line(connect, clock)
        self.catalogue = Catalogue(self.line, publication, clock)
        self.changes = Changes(self.line, self.catalogue)
        self.listen = ListenHandler(self.changes, max_subscriptions=MAX_STREAMS)
        self._feed: Feed | None = None
        self._finding = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.busy = 0
        """Requests that are being served."""

    async def principal(self) -> PrincipalId:
        """Whom it asks for."""
        return (await self.line.welcome()).principal_id

    async def start(
        self, tool: ToolInfo, arguments: dict[str, Any], answers: list[InquiryKind]
    ) -> tuple[Feed, Execution]:
        """Begin a tool call, recorded in this principal's session; a session that has ended is followed by a new one.

        Raises:
            UmbrellaError: The node does not begin it.
        """
        for attempt in (1, 2):
            feed = await self.feed()
            command = StartExecution(
                server=tool.server,
                tool=tool.name,
                arguments=arguments,
                session_id=feed.session_id,
                answers=answers,
            )
            try:
                return feed, await self.line.ask(command)
            except WrongState:
                if attempt == 2:
                    raise
                await self._let_go(feed)
        raise AssertionError("one of two attempts returns or raises")

    async def feed(self) -> Feed:
        """What happens to this principal's calls."""
        async with self._finding:
            if self._feed is None or self._feed.ended:
                self._feed = Feed(self.line, await self._session())
                await asyncio.sleep(0)  # it follows from before the call that is begun next
            return self._feed

    @asynccontextmanager
    async def feed_of(self, session_id: SessionId) -> AsyncIterator[Feed]:
        """What happens to the calls of a session of this principal, which another key of theirs may have begun."""
        own = await self.feed()
        if own.session_id == session_id:
            yield own
            return
        other = Feed(self.line, session_id)
        try:
            yield other
        finally:
            await other.close()

    def cancel(self, execution_id: ExecutionId) -> None:
        """Stop a call that nobody waits for any more, whatever becomes of whoever says so."""

        async def stop() -> None:
            with suppress(UmbrellaError):
                await self.line.ask(CancelExecution(execution_id=execution_id))

        self.later(stop())

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that outlives the request it comes from."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the streams, then hang up."""
        self.listen.close()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=5.0)
        if self._feed is not None:
            await self._feed.close()
        await self.changes.close()
        await self.line.close()

    async def _let_go(self, feed: Feed) -> None:
        async with self._finding:
            if self._feed is feed:
                self._feed = None
        await feed.close()

    async def _session(self) -> SessionId:
        for session in await self.line.every(ListSessions()):
            if session.metadata.get(LABEL) == self._name and session.status in {"initializing", "active"}:
                return session.id
        made = CreateSession(title=f"mcp: {self._name}"[:200], metadata={LABEL: self._name})
        return (await self.line.ask(made)).id
