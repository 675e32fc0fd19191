"""One live client of the SDK: opened, listed, called, listened to. Imports the SDK; imported late.

`open_link` and the closing of its stack must happen in one task, because the SDK's cancel scopes belong to the
task that entered them; calls may come from any. Every call runs in a task of its own, so that whatever the SDK
cancels when a server dies, it never cancels a caller.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, Final, TextIO

from mcp import Client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND, Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.arguments import ArgumentCheck
from mcp_core.protocol.definition import MAX_DEFINITION, fits
from mcp_core.protocol.process import process_transport
from mcp_core.protocol.reach import NotSent
from mcp_core.protocol.streamable import http_transport
from mcp_core.protocol.watch import Watch
from mcp_core.protocol.wire import percent, refusal, tool_info, tool_result
from mcp_interface.errors import DeadlineExceeded, Interrupted
from mcp_interface.server import ServerSpec
from mcp_interface.tool import ToolInfo, ToolResult

for _library in ("mcp", "httpx2"):  # else Python prints their warnings onto whatever terminal there is
    logging.getLogger(_library).addHandler(logging.NullHandler())

MAX_TOOLS: Final = 1_000
MAX_PAGES: Final = 100
REQUEST_SECONDS: Final = 20.0
"""For each request of ours that is not a tool call."""
_MOURNING: Final = 1.0
"""Seconds for an abandoned call to tell the server that nobody waits any more."""
_LAST_WORDS: Final = 0.2
_BETWEEN_LISTENS: Final = 1.0
_LOST: Final = ("Connection closed", "SSE stream ended")
"""How the SDK begins the errors that it makes itself when a connection ends under a request."""


async def open_link(
    stack: AsyncExitStack, name: str, spec: ServerSpec, errlog: TextIO | None, watch: Watch
) -> "Link":
    """Connect, agree on a protocol version and list the tools.

    Args:
        stack: Closes the connection; to be closed by the task that calls this.
        name: The server's name here.
        spec: With its variables expanded.
        errlog: Where a stdio server's stderr goes; None over HTTP.
        watch: Told about what happens to the connection later.

    Raises:
        Exception: Whatever the transport or the SDK raises; the caller translates.
    """
    transport = http_transport(spec, watch) if errlog is None else process_transport(spec, errlog, watch)

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            watch.changed()
        elif isinstance(message, Exception):
            watch.heard(str(message).splitlines()[0] if str(message) else type(message).__name__)

    client = Client(
        transport,
        mode="auto",
        read_timeout_seconds=REQUEST_SECONDS,
        message_handler=hear,
        client_info=Implementation(name="umbrella", title="Umbrella", version=version("mcp-umbrella-core")),
        cache=None,
    )
    await stack.enter_async_context(client)
    link = Link(name, client, watch)
    await link.refresh()
    return link


class Link:
    """One live connection.

    Args:
        server: The server's name here.
        client: Entered.
        watch: Where news about the connection goes.
    """

    def __init__(self, server: str, client: Client, watch: Watch) -> None:
        self.tools: dict[str, ToolInfo] = {}
        self.left_out = ""
        """Which tools are not listed because of what they say of themselves, in words; empty when there are none."""
        self._server = server
        self._client = client
        self._watch = watch
        self._checks: dict[str, ArgumentCheck] = {}
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def protocol(self) -> str:
        """The version both sides agreed on."""
        return self._client.protocol_version

    @property
    def broken(self) -> bool:
        """Whether the connection is known to be dead."""
        return bool(self._watch.broken)

    async def refresh(self) -> None:
        """List all tools anew; a server that cannot list has none.

        Raises:
            MCPError: The connection ended or the server refused.
        """
        if self._client.server_capabilities.tools is None:
            return
        found: dict[str, ToolInfo] = {}
        unfit: list[str] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except MCPError as error:
                if error.code != METHOD_NOT_FOUND:
                    raise
                break
            for tool in page.tools:
                info = tool_info(self._server, tool)
                if info is None or len(found) >= MAX_TOOLS:
                    continue
                if fits(info):
                    found[info.name] = info
                else:
                    unfit.append(info.name)
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = found
        self.left_out = _left_out(unfit)
        self._checks.clear()

    def check(self, tool: str, arguments: dict[str, Any]) -> None:
        """Check the arguments of a listed tool.

        Raises:
            CallerMistaken: Naming the argument.
        """
        found = self._checks.get(tool)
        if found is None:
            found = ArgumentCheck(self._server, tool, self.tools[tool].parameters)
            self._checks[tool] = found
        found(arguments)

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        seconds: float,
        progress: Callable[[float, str], Awaitable[None]] | None,
    ) -> ToolResult:
        """Send one call and wait; cancelling it, or its deadline, tells the server to stop.

        Raises:
            NotSent: The server was not there; nothing has happened.
            Interrupted: The connection ended under the call.
            DeadlineExceeded: No answer within the seconds.
            UmbrellaError: The server refused.
        """
        work = asyncio.create_task(
            self._client.call_tool(
                tool,
                arguments,
                read_timeout_seconds=seconds + REQUEST_SECONDS,
                progress_callback=None if progress is None else percent(progress),
            )
        )
        self._calls.add(work)
        work.add_done_callback(self._forget)
        try:
            await asyncio.wait({work}, timeout=max(0.0, seconds))
            if not work.done():
                raise DeadlineExceeded(
                    f"server {self._server!r} did not answer {tool!r} in {seconds:g} s; it was told to stop",
                    "allow more time, or look into the server's log",
                    {"server": self._server, "tool": tool},
                )
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=_MOURNING)
        return self._outcome(tool, work)

    async def listen(self) -> None:
        """Follow changes of the tools until cancelled; returns at once where the server offers none.

        Older servers notify unasked, so this is for the newer era only.
        """
        offered = self._client.server_capabilities.tools
        if offered is None or not offered.list_changed or self.protocol not in MODERN_PROTOCOL_VERSIONS:
            return
        while not self.broken:
            try:
                async with self._client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        self._watch.changed()
            except (ListenNotSupportedError, MCPError):
                return
            except (SubscriptionLost, TimeoutError):
                self._watch.changed()  # listing shows whether the server lives
            await asyncio.sleep(_BETWEEN_LISTENS)

    async def cut(self) -> None:
        """End every call that is still under way; each becomes `Interrupted`.

        A moment first, in which the transport says which calls never arrived.
        """
        for seconds in (_LAST_WORDS, _MOURNING):
            calls = list(self._calls)
            if calls:
                await asyncio.wait(calls, timeout=seconds)
            for work in self._calls:
                work.cancel()

    def _forget(self, work: asyncio.Task[Any]) -> None:
        self._calls.discard(work)
        if not work.cancelled():
            work.exception()  # seen, even when nobody waits any more

    def _outcome(self, tool: str, work: asyncio.Task[Any]) -> ToolResult:
        error = None if work.cancelled() else work.exception()
        if not work.cancelled() and error is None:
            return tool_result(work.result())
        data = error.data if isinstance(error, MCPError) else None
        if data == self._watch.not_sent:
            raise NotSent(self._watch.broken or str(error))
        if work.cancelled() or data == self._watch.cut or self._lost(error):
            self._watch.changed()
            reason = self._watch.broken or (str(error) if error is not None else "the connection was closed")
            raise Interrupted(
                f"server {self._server!r} was lost while it ran {tool!r}: {reason}",
                "it may or may not have taken effect; look before you call again",
                {"server": self._server, "tool": tool},
            ) from error
        if isinstance(error, Exception):
            raise refusal(self._server, tool, error) from error
        raise error if error is not None else asyncio.CancelledError

    def _lost(self, error: BaseException | None) -> bool:
        if isinstance(error, MCPError):
            return error.message.startswith(_LOST)
        return self.broken


def _left_out(names: list[str]) -> str:
    if not names:
        return ""
    first = ", ".join(repr(name[:80]) for name in names[:5])
    return (
        f"{len(names)} of its tools are not offered, because their definitions have more than "
        f"{MAX_DEFINITION} bytes or are not data: {first}"
    )
