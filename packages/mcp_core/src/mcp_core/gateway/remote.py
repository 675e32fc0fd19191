"""A client over the node's Unix socket. Needs nothing of the node's own machinery, so it loads quickly."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from mcp_interface.client import (
    MAX_FRAME,
    ClientFrame,
    ClientInfo,
    Failure,
    Follow,
    Happened,
    Hello,
    NodeFrame,
    Notice,
    PassedBy,
    Request,
    Result,
    Unfollow,
    Welcome,
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import Command, result_type
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable, OurBug, TooMuch, UmbrellaError, error_from
from mcp_interface.ids import SessionId

R = TypeVar("R")
CONNECT_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
"""Seconds after which a node that does not take a follow is given up."""
FOLLOW_QUEUE = 20_000
"""Notices that may wait for a slow reader before its follow ends."""


class SocketClient:
    """The `Client` of a node in another process of this machine."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Result]] = {}
        self._follows: dict[int, asyncio.Queue[Happened | PassedBy | Failure]] = {}
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
        if isinstance(first, Failure):
            writer.close()
            raise error_from(first.error)
        if not isinstance(first, Welcome):
            writer.close()
            raise OurBug(f"the node began with {type(first).__name__}")
        self._writer = writer
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        return first

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait; as `Client.request`."""
        key = next(self._ids)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        try:
            async with asyncio.timeout(timeout):
                await self._send(Request(id=key, command=command))  # type: ignore[arg-type]  # every Command is in AnyCommand
                result = await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {timeout:g} s", "the work may still be going on"
            ) from error
        except asyncio.CancelledError:
            self._forget(key)  # the node cancels what nobody waits for
            raise
        finally:
            self._answers.pop(key, None)
        value: R = decode_json(bytes(result.value), result_type(command))
        return value

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """What happens; as `Client.follow`."""
        key = next(self._ids)
        queue: asyncio.Queue[Happened | PassedBy | Failure] = asyncio.Queue(FOLLOW_QUEUE)
        self._follows[key] = queue
        try:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await self._send(Follow(id=key, session_id=session_id, after=after))
            except TimeoutError as error:
                raise NodeUnavailable("the node does not read", "restart it") from error
            while True:
                frame = await queue.get()
                match frame:
                    case Happened():
                        yield frame.record
                    case PassedBy():
                        yield frame.passing
                    case Failure():
                        raise error_from(frame.error)
        finally:
            if self._follows.pop(key, None) is not None:
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
            while True:
                self._take(decode_json(await reader.readuntil(b"\n"), NodeFrame))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UmbrellaError):
            self._gone(NodeUnavailable("the node is gone", "start it again with: umbrella node start"))

    def _take(self, frame: NodeFrame) -> None:
        match frame:
            case Result():
                answer = self._answers.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
            case Failure():
                answer = self._answers.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_exception(error_from(frame.error))
                self._hand(frame.id, frame)
            case Happened() | PassedBy():
                self._hand(frame.id, frame)

    def _hand(self, key: int, frame: Happened | PassedBy | Failure) -> None:
        queue = self._follows.get(key)
        if queue is None:
            return
        if queue.full() and isinstance(frame, PassedBy):
            return
        if queue.full():
            self._follows.pop(key)
            queue.get_nowait()
            slow = TooMuch("this reader was too slow for what happens", "follow again from the last position")
            queue.put_nowait(Failure(id=key, error=slow.body()))
            return
        queue.put_nowait(frame)

    def _gone(self, why: UmbrellaError) -> None:
        self._lost = why
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(why)
        for key, queue in list(self._follows.items()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(Failure(id=key, error=why.body()))
