"""The WebSocket: the very frames of the node's own socket, as JSON text messages.

A connection begins with `Hello` (its token, or else the login cookie) and `Welcome`. Requests run side by
side up to a bound; answers and notices leave through one bounded queue. When the browser reads too slowly,
passing notices are dropped first; what is remembered waits, until the deadline closes the connection and
the client follows again from the last position it saw. The wall has already checked Host and Origin.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any, Final

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from mcp_interface.client import (
    MAX_FRAME,
    PROTOCOL,
    Client,
    ClientFrame,
    Failure,
    Follow,
    Happened,
    Hello,
    NodeFrame,
    PassedBy,
    Request,
    Result,
    Unfollow,
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import CallTool
from mcp_interface.errors import (
    CallerMistaken,
    LoginRequired,
    NodeUnavailable,
    OurBug,
    TooMuch,
    UmbrellaError,
)
from mcp_interface.store import Record
from mcp_interface.trace import parse_traceparent, tracing
from mcp_web.auth import REMEDY, clients_of, key_of
from mcp_web.clients import Clients

log = logging.getLogger(__name__)

Socket = WebSocket[Any, Any, Any]

HELLO_S: Final = 10.0
SEND_S: Final = 30.0
"""Seconds that a browser may take to make room for the next remembered event."""
QUEUE: Final = 1024
"""Frames that may wait for the browser."""
QUEUE_BYTES: Final = MAX_FRAME
"""Bytes of them; a single frame always fits."""
MAX_WORK: Final = 64
"""Requests and follows that are going on at the same time on one connection."""
REQUEST_S: Final = 300.0

CLOSE_RESTART: Final = 1012
CLOSE_BAD_FRAME: Final = 4400
CLOSE_LOGIN: Final = 4401
CLOSE_TOO_SLOW: Final = 4408
CLOSE_BUSY: Final = 4429


@websocket("/api/ws")
async def stream(socket: Socket) -> None:
    """Speak the node's frames with one client, until either side leaves."""
    await socket.accept()
    code = 1000
    try:
        code = await _Session(socket, clients_of(socket)).run()
    except WebSocketDisconnect:
        return
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.close(code)


class _Outbox:
    """Encoded frames on their way out: bounded in number and in bytes, first come first served."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._turn = asyncio.Lock()
        self._moved = asyncio.Event()

    async def put(self, frame: bytes) -> None:
        """Wait for room."""
        async with self._turn:
            while not self._fits(frame):
                await self._move()
            self._append(frame)

    def offer(self, frame: bytes) -> None:
        """Keep it if there is room and nobody waits for some."""
        if self._fits(frame) and not self._turn.locked():
            self._append(frame)

    async def take(self) -> bytes:
        """Wait for the next one."""
        while not self._frames:
            await self._move()
        frame = self._frames.popleft()
        self._size -= len(frame)
        self._moved.set()
        return frame

    def _fits(self, frame: bytes) -> bool:
        return not self._frames or (len(self._frames) < QUEUE and self._size + len(frame) <= QUEUE_BYTES)

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._size += len(frame)
        self._moved.set()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()


class _Session:
    """One connection: a reader, a writer, and what was asked for."""

    def __init__(self, socket: Socket, clients: Clients) -> None:
        self._socket = socket
        self._clients = clients
        self._out = _Outbox()
        self._work: dict[int, asyncio.Task[None]] = {}
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Serve until the end; answers the close code."""
        try:
            hello = await self._hello()
            token = hello.client.token or key_of(self._socket)
            if not token:
                raise LoginRequired("this needs a login", REMEDY)
            info = msgspec.structs.replace(hello.client, token=token)
            async with self._clients.stream(info, lambda: self._end(CLOSE_LOGIN)) as (client, welcome):
                await self._send(welcome)
                return await self._serve(client)
        except UmbrellaError as error:
            await self._send(Failure(id=0, error=error.body()))
            return _close_code(error)

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                frame = await self._read()
        except TimeoutError as error:
            raise CallerMistaken(f"no hello within {HELLO_S:g} s", "begin with a hello frame") from error
        if not isinstance(frame, Hello):
            raise CallerMistaken("the first frame is not a hello", "begin with a hello frame")
        if frame.protocol != PROTOCOL:
            raise CallerMistaken(
                f"protocol {frame.protocol} is not spoken here", f"speak protocol {PROTOCOL}"
            )
        return frame

    async def _serve(self, client: Client) -> int:
        reader = asyncio.create_task(self._read_all(client), name="web: read frames")
        writer = asyncio.create_task(self._write_all(), name="web: write frames")
        try:
            ends: list[asyncio.Future[Any]] = [reader, writer, self._over]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return self._over.result()
            if writer.done():
                await writer  # raises: writing only ends by an error
            await reader
            return 1000
        finally:
            tasks = [reader, writer, *self._work.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> ClientFrame:
        text = await self._socket.receive_text()
        if len(text) > MAX_FRAME:
            raise CallerMistaken(f"a frame is larger than {MAX_FRAME} bytes", "send smaller frames")
        frame: ClientFrame = decode_json(text, ClientFrame)
        return frame

    async def _read_all(self, client: Client) -> None:
        while True:
            frame = await self._read()
            match frame:
                case Request(id=number):
                    await self._begin(number, self._answer(client, frame))
                case Follow(id=number):
                    await self._begin(number, self._follow(client, frame))
                case Unfollow(id=number):
                    if task := self._work.get(number):
                        task.cancel()
                case Hello():
                    raise CallerMistaken("a second hello", "open another connection")

    async def _begin(self, number: int, work: Any) -> None:
        problem: UmbrellaError | None = None
        if number in self._work or number < 1:
            problem = CallerMistaken(f"the id {number} is in use or not positive", "choose a fresh id")
        elif len(self._work) >= MAX_WORK:
            problem = TooMuch(f"{MAX_WORK} requests are going on", "wait for an answer first")
        if problem is not None:
            work.close()
            await self._put(Failure(id=number, error=problem.body()))
            return
        task = asyncio.create_task(work, name=f"web: frame {number}")
        self._work[number] = task
        task.add_done_callback(lambda _: self._work.pop(number, None))

    async def _answer(self, client: Client, frame: Request) -> None:
        command = frame.command
        timeout = REQUEST_S
        if isinstance(command, CallTool) and command.timeout_ms is not None:
            timeout = command.timeout_ms / 1000 + 10
        try:
            trace = None if frame.trace is None else parse_traceparent(frame.trace)
            with tracing(trace):
                value: Any = await client.request(command, timeout)
            reply: NodeFrame = Result(id=frame.id, value=msgspec.Raw(encode_json(value)))
        except Exception as error:
            reply = _failure(frame.id, error)
        await self._put(reply)

    async def _follow(self, client: Client, frame: Follow) -> None:
        try:
            async for notice in client.follow(frame.session_id, frame.after):
                if isinstance(notice, Record):
                    await self._put(Happened(id=frame.id, record=notice))
                else:
                    self._out.offer(encode_json(PassedBy(id=frame.id, passing=notice)))
        except NodeUnavailable:
            self._end(CLOSE_RESTART)  # a new connection finds the node again, this one never will
        except LoginRequired:
            self._end(CLOSE_LOGIN)  # the key or login has ended meanwhile
        except Exception as error:
            await self._put(_failure(frame.id, error))

    async def _put(self, frame: NodeFrame) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._out.put(encode_json(frame))
        except TimeoutError:
            self._end(CLOSE_TOO_SLOW)

    def _end(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)

    async def _write_all(self) -> None:
        while True:
            await self._socket.send_text((await self._out.take()).decode())

    async def _send(self, frame: NodeFrame) -> None:
        await self._socket.send_text(encode_json(frame).decode())


def _failure(number: int, error: Exception) -> Failure:
    if not isinstance(error, UmbrellaError):
        log.error("frame %d failed unexpectedly", number, exc_info=error)
        error = OurBug("something went wrong inside the web server", "look into its log and report it")
    return Failure(id=number, error=error.body())


def _close_code(error: UmbrellaError) -> int:
    if isinstance(error, LoginRequired):
        return CLOSE_LOGIN
    if isinstance(error, CallerMistaken):
        return CLOSE_BAD_FRAME
    return CLOSE_BUSY if isinstance(error, TooMuch) else 1011
