"""A stdio server's process as a transport of the SDK. Imports the SDK; imported late.

Ours rather than the SDK's own for four promises: the death of the process is told to the watch, a request that
the process never read is told from one that it did, a line has a longest length, and the whole process group
is gone afterwards. The order of ending is the specification's: close stdin, wait, terminate, kill.

Of the node's environment a server sees what the SDK passes on (HOME, LOGNAME, PATH, SHELL, TERM, USER) and
`CARRIED`: language, folders and certificates, without which package runners such as uvx fail; no secrets. In a
cage it sees less; see `cage`.
"""

import asyncio
import os
import signal
import stat
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from mcp_core.protocol.watch import Watch
from mcp_interface.errors import OurBug
from mcp_interface.server import ServerSpec

CARRIED: Final = (
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)
MAX_LINE: Final = 32 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_GRACE: Final = 2.0
"""Seconds to end by itself once stdin is closed, and again once told to terminate."""
_FOR_THE_CODE: Final = 0.2
"""Seconds for the exit code to arrive after the output has ended."""
_STRAGGLERS: Final = 5
"""Turns of the event loop in which a call that had just begun may still come in."""
_POLL: Final = 0.01
_CLOSED: Final = (anyio.ClosedResourceError, anyio.BrokenResourceError)


@asynccontextmanager
async def process_transport(
    spec: ServerSpec, errlog: TextIO, watch: Watch, closed: Sequence[Path] | None = None
) -> AsyncGenerator[TransportStreams]:
    """Start the server's process; it gets a minimal environment and what the specification names.

    Args:
        spec: Expanded.
        errlog: Where its stderr goes.
        watch: Told of its death, and what it got of the machine if it is caged.
        closed: The node's own folders and files, which no cage may hold; None: not known, and nothing is caged.

    Raises:
        OSError: The command cannot be started.
        InvalidRecord: Its cage cannot be made as ordered.
        ServerUnavailable: There can be no cage here, or it is not what was ordered.
    """
    # A pipe of ours, not of the event loop, whose kinds differ: only a plain pipe tells what was read from it.
    theirs, ours = os.pipe()
    held = ExitStack()
    try:
        process = await _start(spec, errlog, watch, closed, (theirs, ours), held)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    server = _Server(process, ours, watch)
    tasks = [asyncio.create_task(server.read()), asyncio.create_task(server.write())]
    try:
        yield server.inbox, server.outbox
    finally:
        try:
            await server.end()
        finally:
            server.kill()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)
            server.release()
            held.close()


async def _start(
    spec: ServerSpec,
    errlog: TextIO,
    watch: Watch,
    closed: Sequence[Path] | None,
    pipe: tuple[int, int],
    held: ExitStack,
) -> asyncio.subprocess.Process:
    """Start the process, in its cage if it shall have one; what must be given back afterwards goes into `held`."""
    if spec.cage is not None:
        if closed is None:
            raise OurBug("a cage was ordered where nobody said which folders are the node's own")
        from mcp_core.protocol.cage import start_caged

        caged = await start_caged(spec, errlog, pipe, closed)
        held.callback(caged.release)
        watch.caged = caged.words
        return caged.process
    return await asyncio.create_subprocess_exec(
        spec.command or "",
        *spec.args,
        stdin=pipe[0],
        stdout=asyncio.subprocess.PIPE,
        stderr=errlog,
        env=environment_of(spec),
        cwd=spec.cwd,
        start_new_session=True,
    )


def environment_of(spec: ServerSpec) -> dict[str, str]:
    """What a process without a cage sees."""
    carried = {name: os.environ[name] for name in CARRIED if name in os.environ}
    return get_default_environment() | carried | spec.env


class _Server:
    """The process, its two pumps and what it was asked."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int, watch: Watch) -> None:
        assert process.stdout is not None
        self._process = process
        self._stdout = process.stdout
        self._watch = watch
        self._heard: MemoryObjectSendStream[SessionMessage | Exception]
        self.inbox: MemoryObjectReceiveStream[SessionMessage | Exception]
        self._heard, self.inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._said: MemoryObjectReceiveStream[SessionMessage]
        self.outbox: MemoryObjectSendStream[SessionMessage]
        self.outbox, self._said = anyio.create_memory_object_stream[SessionMessage](0)
        self._asked: dict[Any, int] = {}
        self._written = 0
        os.set_blocking(pipe, False)
        self._pipe = pipe

    async def read(self) -> None:
        """Pass on what the process prints, until it stops; then answer for it what it never read."""
        with suppress(*_CLOSED):
            async with self._heard:
                await self._read_lines()
                await self._gone(_FOR_THE_CODE)
                self._watch.broke(self._obituary())
                for _ in range(_STRAGGLERS):
                    for request in self._unread():
                        await self._heard.send(_never_read(request, self._watch.not_sent))
                    await asyncio.sleep(0)

    async def write(self) -> None:
        """Pass on what the client says, noting where in the pipe each request begins."""
        with suppress(*_CLOSED, OSError):
            async with self._said:
                async for item in self._said:
                    message = item.message
                    line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    if isinstance(message, JSONRPCRequest):
                        self._asked[message.id] = self._written
                    with suppress(OSError):  # the reader tells of the death, and what was unread by then
                        await self._put(line)

    async def end(self) -> None:
        """End the process, politely first; bounded."""
        self.inbox.close()
        self.outbox.close()
        await asyncio.sleep(0)
        self._close_pipe()
        if not await self._gone():
            self._signal(signal.SIGTERM)
            if not await self._gone():
                self.kill()
                await self._gone()

    def kill(self) -> None:
        """Kill whatever is left of the process group."""
        self._signal(signal.SIGKILL)

    def release(self) -> None:
        """Let go of every handle."""
        self._close_pipe()
        for stream in (self._heard, self.inbox, self._said, self.outbox):
            stream.close()
        # A survivor may hold a pipe open; asyncio offers no public way to let go of it.
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()

    async def _put(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest and self._pipe >= 0:
            try:
                count = os.write(self._pipe, rest)
            except BlockingIOError:
                await self._writable()
            else:
                self._written += count
                rest = rest[count:]

    async def _writable(self) -> None:
        loop, pipe = asyncio.get_running_loop(), self._pipe
        ready = asyncio.Event()
        loop.add_writer(pipe, ready.set)
        try:
            await ready.wait()
        finally:
            if self._pipe == pipe:
                loop.remove_writer(pipe)

    async def _read_lines(self) -> None:
        parts: list[bytes] = []
        size = 0
        while chunk := await self._stdout.read(_CHUNK):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                parts.append(line)
                await self._hear(b"".join(parts))
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > MAX_LINE:
                self._watch.broke(f"it printed a line longer than {MAX_LINE} bytes")
                return

    async def _hear(self, line: bytes) -> None:
        if not line.strip():
            return
        item: SessionMessage | Exception
        try:
            item = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            item = ValueError(line[:200].decode("utf-8", "replace"))
        else:
            if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                self._asked.pop(item.message.id, None)
        await self._heard.send(item)

    def _unread(self) -> list[Any]:
        """Take out the requests of which nobody has read, or ever will read, a single byte."""
        left = _abandoned(self._pipe) if self._pipe >= 0 else None
        if left is None:
            return []
        found = [request for request, begin in self._asked.items() if begin >= self._written - left]
        for request in found:
            del self._asked[request]
        return found

    def _obituary(self) -> str:
        code = self._process.returncode
        if code is None:
            return "its process ended or closed its output"
        return (
            f"its process was killed by signal {-code}" if code < 0 else f"its process ended with code {code}"
        )

    async def _gone(self, seconds: float = _GRACE) -> bool:
        # Not `wait()`: it also waits for the pipes, which a child of the server may hold open.
        for _ in range(int(seconds / _POLL)):
            if self._process.returncode is not None:
                return True
            await asyncio.sleep(_POLL)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            asyncio.get_running_loop().remove_writer(self._pipe)
            os.close(self._pipe)
            self._pipe = -1


def _never_read(request: Any, mark: str) -> SessionMessage:
    error = ErrorData(code=CONNECTION_CLOSED, message="Connection closed", data=mark)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))


def _abandoned(pipe: int) -> int | None:
    """Bytes left in a pipe that has no reader any more; None when it has one, or the system cannot say."""
    if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
        return None
    import fcntl
    import select
    import termios

    poll = select.poll()
    poll.register(pipe, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return None
    try:
        return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])
    except OSError:
        return None
