"""A client over the node's Unix socket. Needs nothing of the node's own machinery, so it loads quickly."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from mcp_interface.client import (
    MAX_FRAME,
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
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable, TooMuch, UmbrellaError
from mcp_interface.exchange import Exchange, welcomed
from mcp_interface.ids import SessionId
from mcp_interface.trace import current_traceparent

R = TypeVar("R")
CONNECT_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
"""Seconds after which a node that does not take a follow is given up."""
PAUSE = 64
"""Frames after which readers get their turn."""


class SocketClient:
    """The `Client` of a node in another process of this machine."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._exchange = Exchange()
        self._lost: UmbrellaError = NodeUnavailable("not connected", "call connect first")

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are; as `Client.connect`."""
        await self.disconnect()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=MAX_FRAME)
                writer.write(encode_json(Hello(client=info)) + b"\n")
                first: NodeFrame = decode_json(await reader.readuntil(b"\n"), NodeFrame)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            if writer is not None:
                writer.close()
            raise NodeUnavailable(
                f"no node answers on {self._socket}", "start one with: umbrella node start"
            ) from error
        try:
            welcome = welcomed(first)
        except UmbrellaError:
            writer.close()
            raise
        self._writer = writer
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        return welcome

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait; as `Client.request`."""
        key, answer = self._exchange.expect()
        try:
            async with asyncio.timeout(timeout):
                trace = current_traceparent()
                await self._send(Request(id=key, command=command, trace=trace))  # type: ignore[arg-type]  # every Command is in AnyCommand
                result = await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {timeout:g} s", "the work may still be going on"
            ) from error
        except asyncio.CancelledError:
            self._forget(key)  # the node cancels what nobody waits for
            raise
        finally:
            self._exchange.settle(key)
        value: R = decode_json(bytes(result.value), result_type(command))
        return value

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """What happens; as `Client.follow`."""
        key, backlog = self._exchange.follow(after)
        try:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await self._send(Follow(id=key, session_id=session_id, after=after))
            except TimeoutError as error:
                raise NodeUnavailable("the node does not read", "restart it") from error
            async with aclosing(backlog.notices()) as notices:
                async for notice in notices:
                    yield notice
        finally:
            if self._exchange.leave(key):
                self._forget(key)

    async def disconnect(self, reason: str = "") -> None:
        """Leave; harmless when repeated."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        self._gone(NodeUnavailable("disconnected", "connect again"))

    def _forget(self, key: int) -> None:
        """Tell the node, without waiting for it, that nobody waits any more."""
        if self._writer is not None:
            self._writer.write(encode_json(Unfollow(id=key)) + b"\n")

    async def _send(self, frame: ClientFrame) -> None:
        writer = self._writer
        if writer is None:
            raise self._lost
        line = encode_json(frame) + b"\n"
        if len(line) > MAX_FRAME:
            raise TooMuch(
                f"the request has {len(line)} bytes, a frame holds {MAX_FRAME}", "send less at once"
            )
        writer.write(line)
        try:
            await writer.drain()
        except OSError as error:
            raise NodeUnavailable("the node is gone", "start it again with: umbrella node start") from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            for number in itertools.count():
                line = await reader.readuntil(b"\n")
                self._exchange.take(decode_json(line, NodeFrame), len(line))
                if number % PAUSE == 0:
                    await asyncio.sleep(0)  # what has come at once does not overrun readers that are ready
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UmbrellaError):
            self._gone(NodeUnavailable("the node is gone", "start it again with: umbrella node start"))

    def _gone(self, why: UmbrellaError) -> None:
        self._lost = why
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._exchange.end(why)
