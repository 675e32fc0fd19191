"""Serves frames as JSON lines on the node's Unix socket, for every client outside the process."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.tickets import Ticket
from mcp_interface.client import (
    MAX_FRAME,
    PROTOCOL,
    ClientFrame,
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
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.errors import CallerMistaken, LoginRequired, NodeUnavailable, TooMuch, UmbrellaError
from mcp_interface.store import Record
from mcp_interface.trace import parse_traceparent, tracing

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
MAX_PENDING = 256
"""Requests and follows of one connection that may be open at once."""
HELLO_TIMEOUT = 10.0
WRITE_TIMEOUT = 30.0
"""Seconds after which a client that does not read is cut off."""
CLOSE_TIMEOUT = 10.0
"""Seconds that requests whose clients have left may take to end when the node stops."""


class Listener:
    """The socket door of one node."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._orphans: set[asyncio.Task[None]] = set()

    async def open(self, path: Path) -> None:
        """Listen; only the user of this process may connect."""
        path.unlink(missing_ok=True)
        self._path = path
        self._server = await asyncio.start_unix_server(self._accept, path, limit=MAX_FRAME)
        path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            # A socket that is left behind means to an attached client that the node was killed.
            self._path.unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for orphan in list(self._orphans):
            orphan.cancel()
        if self._orphans:
            await asyncio.wait(list(self._orphans), timeout=CLOSE_TIMEOUT)

    def _adopt(self, task: asyncio.Task[None]) -> None:
        """Let a request go on although its client has left."""
        self._orphans.add(task)
        task.add_done_callback(self._orphans.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await Connection(self._gateway, reader, writer, self._adopt).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the node is closing
        except Exception:
            log.exception("a connection failed")
        finally:
            self._connections.discard(task)
            writer.close()


class Connection:
    """One client behind the socket."""

    def __init__(
        self,
        gateway: Gateway,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        adopt: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._gateway = gateway
        self._reader = reader
        self._writer = writer
        self._adopt = adopt
        self._sending = asyncio.Lock()
        self._work: dict[int, asyncio.Task[None]] = {}
        self._following: set[int] = set()

    async def run(self) -> None:
        """Serve until the client leaves."""
        try:
            ticket = await self._greet()
            if ticket is None:
                return
            while (frame := await self._receive()) is not None:
                await self._take(ticket, frame)
        finally:
            for key, task in list(self._work.items()):
                if key in self._following:
                    task.cancel()
                else:
                    self._adopt(task)

    async def _greet(self) -> Ticket | None:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                line = await self._line()
            if line is None:
                return None
            hello: ClientFrame = decode_json(line, ClientFrame)
            if not isinstance(hello, Hello):
                raise LoginRequired("the first frame must be a hello")
            if hello.protocol != PROTOCOL:
                raise CallerMistaken(
                    f"this node speaks protocol {PROTOCOL}, the client {hello.protocol}",
                    "use a client and a node of the same version",
                )
            ticket, welcome = await self._gateway.welcome(hello.client)
        except TimeoutError:
            return None
        except UmbrellaError as error:
            await self._send(Failure(id=0, error=error.body()))
            return None
        await self._send(welcome)
        return ticket

    async def _take(self, ticket: Ticket, frame: ClientFrame) -> None:
        if isinstance(frame, Unfollow):
            # It keeps its id until it has ended: it may still have to clean up.
            task = self._work.get(frame.id)
            if task is not None:
                task.cancel()
            return
        if isinstance(frame, Hello):
            await self._send(Failure(id=0, error=CallerMistaken("hello was said already").body()))
            return
        if frame.id in self._work or len(self._work) >= MAX_PENDING:
            problem = TooMuch(
                f"id {frame.id} is in use, or {MAX_PENDING} requests are open", "wait for answers"
            )
            await self._send(Failure(id=frame.id, error=problem.body()))
            return
        if isinstance(frame, Follow):
            self._following.add(frame.id)
            work = self._follow(ticket, frame)
        else:
            work = self._answer(ticket, frame)
        task = asyncio.get_running_loop().create_task(work)
        self._work[frame.id] = task
        task.add_done_callback(partial(self._ended, frame.id))

    def _ended(self, key: int, task: asyncio.Task[None]) -> None:
        self._work.pop(key, None)
        self._following.discard(key)
        if not task.cancelled() and isinstance(task.exception(), Exception):
            self._writer.close()

    async def _answer(self, ticket: Ticket, request: Request) -> None:
        try:
            trace = None if request.trace is None else parse_traceparent(request.trace)
            with tracing(trace):
                value: Any = await self._gateway.handle(ticket, request.command)
            await self._send(Result(id=request.id, value=msgspec.Raw(encode_json(value))))
        except UmbrellaError as error:
            await self._send(Failure(id=request.id, error=error.body()))

    async def _follow(self, ticket: Ticket, follow: Follow) -> None:
        try:
            async with aclosing(self._gateway.follow(ticket, follow.session_id, follow.after)) as notices:
                async for notice in notices:
                    await self._send(framed(follow.id, notice))
            raise NodeUnavailable("the node is stopping", "start it again with: umbrella node start")
        except UmbrellaError as error:
            await self._send(Failure(id=follow.id, error=error.body()))

    async def _receive(self) -> ClientFrame | None:
        """The next frame that can be read; None when the client has left."""
        while (line := await self._line()) is not None:
            try:
                frame: ClientFrame = decode_json(line, ClientFrame)
            except UmbrellaError as error:
                await self._send(Failure(id=_id_of(line), error=error.body()))
            else:
                return frame
        return None

    async def _line(self) -> bytes | None:
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            await self._send(Failure(id=0, error=TooMuch(f"a frame may have {MAX_FRAME} bytes").body()))
            return None

    async def _send(self, frame: NodeFrame) -> None:
        line = encode_json(frame) + b"\n"
        if len(line) > MAX_FRAME:
            raise _too_large(frame, len(line))
        async with self._sending:
            self._writer.write(line)
            try:
                async with asyncio.timeout(WRITE_TIMEOUT):
                    await self._writer.drain()
            except TimeoutError:
                self._writer.transport.abort()
                raise ConnectionResetError("the client does not read") from None


def framed(follow_id: int, notice: Notice) -> Happened | PassedBy:
    """Wrap a notice for the follow that asked for it."""
    if isinstance(notice, Record):
        return Happened(id=follow_id, record=notice)
    return PassedBy(id=follow_id, passing=notice)


def _too_large(frame: NodeFrame, size: int) -> TooMuch:
    if isinstance(frame, Happened):
        place = frame.record.position
        return TooMuch(
            f"the record at {place} has {size} bytes, more than a frame holds", f"follow again after {place}"
        )
    return TooMuch(f"the answer has {size} bytes, more than a frame holds", "ask for less")


def _id_of(line: bytes) -> int:
    """The id of a frame that could not be read, so that its sender need not wait for the deadline."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return 0
    value = found.get("id") if isinstance(found, dict) else None
    return value if isinstance(value, int) else 0
