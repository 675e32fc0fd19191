"""The HTTP+SSE transport of 2024, guarded. Imports the SDK; imported late.

The server's words come on one standing stream, ours go out as one POST each. Ours rather than the SDK's, whose writer
ends without a word at the first POST that fails: here every failure is answered with a JSON-RPC error of the one
request, and the watch is told.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, ErrorData, JSONRPCError, JSONRPCRequest, jsonrpc_message_adapter

from mcp_core.protocol.streamable import MAX_BODY, WatchedClient
from mcp_core.protocol.watch import Watch
from mcp_interface.errors import WorldBroken
from mcp_interface.server import ServerSpec

_GREETING_SECONDS: Final = 30.0
"""For the server to say where our words go."""
_CLOSED: Final = (anyio.ClosedResourceError, anyio.BrokenResourceError)


@asynccontextmanager
async def sse_transport(
    spec: ServerSpec, watch: Watch, auth: httpx2.Auth | None
) -> AsyncGenerator[TransportStreams]:
    """Talk HTTP+SSE to the server's URL with its headers.

    Raises:
        WorldBroken: It is no such server.
        httpx2.HTTPError: It cannot be reached.
    """
    async with WatchedClient(watch, headers=spec.headers, auth=auth) as client:
        line = _Line(client, spec.url or "", watch)
        tasks = [asyncio.create_task(line.read()), asyncio.create_task(line.write())]
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                await line.greeted()
            yield line.inbox, line.outbox
        finally:
            line.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=2.0)


class _Line:
    """The standing stream and the posts beside it."""

    def __init__(self, client: WatchedClient, url: str, watch: Watch) -> None:
        self._client = client
        self._url = url
        self._watch = watch
        self._heard: MemoryObjectSendStream[SessionMessage | Exception]
        self.inbox: MemoryObjectReceiveStream[SessionMessage | Exception]
        self._heard, self.inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._said: MemoryObjectReceiveStream[SessionMessage]
        self.outbox: MemoryObjectSendStream[SessionMessage]
        self.outbox, self._said = anyio.create_memory_object_stream[SessionMessage](0)
        self._posts_to: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def greeted(self) -> None:
        """Wait until it is known where our words go."""
        await asyncio.shield(self._posts_to)

    async def read(self) -> None:
        """Pass on what the server says, until it stops."""
        with suppress(*_CLOSED):
            async with self._heard:
                try:
                    async with self._client.sse(self._url, max_event_size=MAX_BODY) as events:
                        events.response.raise_for_status()
                        async for event in events:
                            await self._take(event.event, event.data)
                    reason = "its stream ended"
                except (httpx2.HTTPError, httpx2.StreamError, httpx2.SSEError, WorldBroken) as error:
                    self._fail(error)
                    reason = str(error) or type(error).__name__
                self._watch.broke(reason)
                self._fail(WorldBroken(reason, "use the address of an MCP server"))

    async def write(self) -> None:
        """Post what the client says."""
        with suppress(*_CLOSED):
            async with self._said:
                await self.greeted()
                async for item in self._said:
                    await self._post(item)

    def close(self) -> None:
        """Let go of every handle."""
        for stream in (self._heard, self.inbox, self._said, self.outbox):
            stream.close()
        self._posts_to.cancel()

    async def _take(self, kind: str, data: str) -> None:
        if kind == "endpoint":
            place = urljoin(self._url, data)
            if urlsplit(place)[:2] != urlsplit(self._url)[:2]:
                raise WorldBroken(f"it wants our words at another origin, {place[:200]!r}", "report it")
            if not self._posts_to.done():
                self._posts_to.set_result(place)
        elif kind == "message" and data:
            item: SessionMessage | Exception
            try:
                item = SessionMessage(jsonrpc_message_adapter.validate_json(data, by_name=False))
            except ValueError:
                item = ValueError(data[:200])
            await self._heard.send(item)

    async def _post(self, item: SessionMessage) -> None:
        message = item.message
        body = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        response = await self._client.post(self._posts_to.result(), json=body)
        if response.status_code >= 400 and isinstance(message, JSONRPCRequest):
            await self._heard.send(SessionMessage(_answer_for(message.id, response)))

    def _fail(self, error: Exception) -> None:
        if not self._posts_to.done():
            self._posts_to.set_exception(error)
            self._posts_to.exception()  # seen, even when nobody waits for it


def _answer_for(request: Any, response: httpx2.Response) -> JSONRPCError:
    """What the guarded client says of a post that failed, as the answer of its request."""
    try:
        error = ErrorData.model_validate(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        error = ErrorData(code=CONNECTION_CLOSED, message=f"HTTP {response.status_code}")
    return JSONRPCError(jsonrpc="2.0", id=request, error=error)
