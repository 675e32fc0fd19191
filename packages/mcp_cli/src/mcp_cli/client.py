"""A client over one WebSocket, for a node that `umbrella serve` opened to the network.

It speaks the same frames as the node's Unix socket (`mcp_interface.client`), one frame per text message.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast
from urllib.parse import urlsplit

from mcp_interface.client import (
    MAX_FRAME,
    AnyCommand,
    ClientFrame,
    ClientInfo,
    Follow,
    Hello,
    NodeFrame,
    Notice,
    Request,
    Unfollow,
    Welcome,
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import Command, result_type
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    NodeUnavailable,
    UmbrellaError,
)
from mcp_interface.exchange import Exchange, welcomed
from mcp_interface.ids import SessionId
from mcp_interface.trace import current_traceparent

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

R = TypeVar("R")
CONNECT_S: Final = 10.0
"""Seconds for the connection and the welcome."""
PAUSE: Final = 64
"""Frames after which readers get their turn."""
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


class WebSocketClient:
    """The `Client` of a node at a URL.

    Args:
        url: For example `ws://127.0.0.1:8420/api/ws`.

    Raises:
        CallerMistaken: The URL is not a WebSocket's.
    """

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme not in {"ws", "wss"} or not urlsplit(url).hostname:
            raise CallerMistaken(f"{url[:200]!r} is not a WebSocket URL", "write ws://HOST:PORT/api/ws")
        self._url = url
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._exchange = Exchange()
        self._lost: UmbrellaError = NodeUnavailable("not connected", "call connect first")

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are; as `Client.connect`."""
        from websockets.exceptions import WebSocketException

        await self.disconnect()
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await self._open()
                try:
                    await socket.send(encode_json(Hello(client=info)), text=True)
                    first: NodeFrame = decode_json(await socket.recv(decode=False), NodeFrame)
                    welcome = welcomed(first)
                except BaseException:
                    await socket.close()
                    raise
        except (OSError, TimeoutError, WebSocketException) as error:
            raise NodeUnavailable(
                f"no node answers at {self._url}: {error}", "start it there with: umbrella serve"
            ) from error
        self._socket = socket
        self._reading = asyncio.get_running_loop().create_task(self._read(socket))
        return welcome

    async def _open(self) -> "ClientConnection":
        from websockets.asyncio.client import connect

        # A proxy from the environment must not stand between a client and its own machine.
        proxy: Literal[True] | None = None if urlsplit(self._url).hostname in _LOOPBACK else True
        return await connect(self._url, max_size=MAX_FRAME, compression=None, open_timeout=None, proxy=proxy)

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait for the answer; as `Client.request`."""
        key, answer = self._exchange.expect()
        try:
            async with asyncio.timeout(timeout):
                await self._send(
                    Request(id=key, command=cast("AnyCommand", command), trace=current_traceparent())
                )
                result = await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {timeout:g} s", "the work may go on; look again"
            ) from error
        except asyncio.CancelledError:
            with contextlib.suppress(UmbrellaError):
                await self._send(Unfollow(id=key))  # the node cancels what nobody waits for
            raise
        finally:
            self._exchange.settle(key)
        value: R = decode_json(bytes(result.value), result_type(command))
        return value

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """Everything behind `after`, then what happens; as `Client.follow`."""
        key, backlog = self._exchange.follow(after)
        try:
            await self._send(Follow(id=key, session_id=session_id, after=after))
            async with contextlib.aclosing(backlog.notices()) as notices:
                async for notice in notices:
                    yield notice
        finally:
            if self._exchange.leave(key) and self._socket is not None:
                with contextlib.suppress(UmbrellaError):
                    await self._send(Unfollow(id=key))

    async def disconnect(self, reason: str = "") -> None:
        """Leave; harmless when repeated."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        socket = self._socket
        self._gone(NodeUnavailable("the connection to the node is closed", "connect again"))
        if socket is not None:
            await socket.close(reason=reason[:100])

    async def _send(self, frame: ClientFrame) -> None:
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            raise self._lost
        try:
            data = encode_json(frame)
            # What the node could not read would cost the whole connection; better to refuse it here.
            decode_json(data, ClientFrame)
        except (TypeError, ValueError, OverflowError) as error:
            raise CallerMistaken(f"{type(frame).__name__} cannot be sent: {error}") from error
        try:
            await self._socket.send(data, text=True)
        except (OSError, ConnectionClosed) as error:
            raise NodeUnavailable("the node is gone", "connect again") from error

    async def _read(self, socket: "ClientConnection") -> None:
        from websockets.exceptions import WebSocketException

        try:
            for number in itertools.count():
                data = await socket.recv(decode=False)
                self._exchange.take(decode_json(data, NodeFrame), len(data))
                if number % PAUSE == 0:
                    await asyncio.sleep(0)  # what has come at once does not overrun readers that are ready
        except (OSError, WebSocketException, UmbrellaError) as error:
            self._gone(NodeUnavailable(f"the node is gone: {error}", "connect again"))
            await socket.close()

    def _gone(self, why: UmbrellaError) -> None:
        self._lost, self._socket = why, None
        self._exchange.end(why)
