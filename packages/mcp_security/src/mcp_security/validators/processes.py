"""One command from start to end, as the node sees it: started, listened to, ended, buried.

The program itself is started by `launcher`, a small process between it and the node; see there for what that
buys. This module holds the pipes and the deadline. It uses no subprocess support of the event loop, so that it
is the same under every loop and nothing waits for a pipe that a stray process holds open.
"""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.errors import CallerMistaken, UmbrellaError, WorldBroken
from mcp_security.validators.launcher import STUBBORN_S

MAX_FILES: Final = 1024
"""Descriptors that a program may have open."""
MAX_FILE_BYTES: Final = 1024**3
"""Longest file that a program may write."""

_LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
_CHUNK: Final = 64 * 1024
_SLACK: Final = 2.0
"""Seconds that the launcher has beyond its own deadlines, on a busy machine."""
_POLL: Final = 0.002
_TEXTS: Final[Mapping[int, tuple[type[UmbrellaError], str, str]]] = {
    errno.EACCES: (CallerMistaken, "it is not executable", "name an executable file"),
    errno.ENOEXEC: (
        CallerMistaken,
        "it is neither a binary of this system nor a script whose first line names an interpreter",
        "no shell is asked to guess; name the interpreter as the program",
    ),
    errno.E2BIG: (CallerMistaken, "its arguments are too long for the system", "hand over less"),
    errno.ENOENT: (WorldBroken, "the interpreter or loader that it names does not exist", "install it"),
}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. The descriptors stay the caller's."""

    program: int
    """Descriptor of the program; only it is executed, whatever its path means by then."""
    folder: int
    """Descriptor of the working directory."""
    argv: Sequence[str]
    """The program's path first."""
    environment: Mapping[str, str]
    stdin: bytes | None
    """None is the empty device."""
    timeout_s: float
    grace_s: float
    """Seconds between SIGTERM and SIGKILL at the deadline."""
    max_bytes: int
    """Of each of the two outputs; the rest is read and thrown away."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended."""

    exit_code: int
    """Negative for the signal that ended it."""
    stdout: bytes
    stderr: bytes
    truncated: bool
    """Whether either output was longer than what was kept."""
    timed_out: bool


async def run(order: Order) -> Outcome:
    """Run a command; when this returns or raises, nothing of it runs any more. Cancelling kills it at once.

    Raises:
        CallerMistaken: It cannot be executed, or its arguments are too long.
        WorldBroken: The system refused, or something of it cannot be killed; the message says which.
    """
    child = _Child(order)
    try:
        in_time = await child.ended(order.timeout_s)
        if not in_time:
            child.stop()
            await child.ended(order.grace_s + STUBBORN_S + _SLACK)
        return child.outcome(timed_out=not in_time)
    finally:
        child.stop(at_once=True)
        await asyncio.shield(asyncio.ensure_future(child.close()))


class _Capture:
    """The first bytes of one output."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.truncated = False
        self._pipe, self.theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._pipe, self._read)

    @property
    def data(self) -> bytes:
        return b"".join(self._parts)

    def close(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        kept = chunk[: self._limit - self._size]
        self.truncated = self.truncated or len(kept) < len(chunk)
        self._size += len(kept)
        if kept:
            self._parts.append(kept)


class _Child:
    """The launcher and the node's ends of its pipes."""

    def __init__(self, order: Order) -> None:
        self._path = order.argv[0]
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._outputs = (_Capture(order.max_bytes), _Capture(order.max_bytes))
        try:
            self._process = _start(order, theirs.fileno(), *(output.theirs for output in self._outputs))
        except OSError as error:
            self._release()
            raise _failure(self._path, error.errno or 0) from error
        except BaseException:
            self._release()
            raise
        finally:
            theirs.close()
            for output in self._outputs:
                os.close(output.theirs)
        self._answer = asyncio.ensure_future(self._listen())

    async def ended(self, seconds: float) -> bool:
        """Wait for the launcher's answer."""
        done, _ = await asyncio.wait([self._answer], timeout=seconds)
        if done:  # what it printed lies in the pipes already
            await asyncio.wait([output.done for output in self._outputs], timeout=_SLACK)
        return bool(done)

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the launcher to end everything."""
        if not self._answer.done():
            try:
                if at_once:
                    self._control.send(b"k")
                self._control.shutdown(socket.SHUT_WR)
            except OSError:  # it is gone, or was asked before
                pass

    def outcome(self, *, timed_out: bool) -> Outcome:
        """Read the answer."""
        told = self._answer.result() if self._answer.done() else "left"
        word, _, number = told.partition(" ")
        if word == "error":
            raise _failure(self._path, int(number))
        if word not in {"exit", "signal"}:
            raise WorldBroken(
                f"{self._path} was stopped, but some of what it started may still run",
                "look for it in the list of processes",
            )
        out, err = self._outputs
        return Outcome(
            exit_code=int(number) * (1 if word == "exit" else -1),
            stdout=out.data,
            stderr=err.data,
            truncated=out.truncated or err.truncated,
            timed_out=timed_out,
        )

    async def close(self) -> None:
        """Wait until the launcher has cleared up, and bury it."""
        await asyncio.wait([self._answer], timeout=STUBBORN_S + _SLACK)
        self._answer.cancel()
        await asyncio.wait([self._answer])
        self._release()
        for _ in range(int(_SLACK / _POLL)):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(_POLL)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(_SLACK)

    async def _listen(self) -> str:
        """The launcher's first line; an empty one when it was killed."""
        loop, heard = asyncio.get_running_loop(), b""
        while chunk := await loop.sock_recv(self._control, 256):
            heard += chunk
        return heard.partition(b"\n")[0].decode()

    def _release(self) -> None:
        self._control.close()
        for output in self._outputs:
            output.close()


def _start(order: Order, control: int, stdout: int, stderr: int) -> "subprocess.Popen[bytes]":
    if not sys.executable:
        raise WorldBroken(
            "this program does not know its own Python", "run the node with a Python interpreter"
        )
    numbers = [control, order.program, order.folder, int(order.grace_s * 1000), MAX_FILES, MAX_FILE_BYTES]
    given = _stdin(order.stdin)
    try:
        return subprocess.Popen(  # noqa: S603 - judged by the gate, and no shell
            [sys.executable, "-I", "-S", "-B", _LAUNCHER, *map(str, numbers), *order.argv],
            stdin=given,
            stdout=stdout,
            stderr=stderr,
            env=dict(order.environment),
            cwd="/",
            pass_fds=(control, order.program, order.folder),
            start_new_session=True,
        )
    finally:
        if given >= 0:
            os.close(given)


def _stdin(data: bytes | None) -> int:
    """A descriptor to read the data from; a file in memory, so that no writer has to keep up."""
    if data is None:
        return subprocess.DEVNULL
    file = os.memfd_create("stdin")
    with os.fdopen(os.dup(file), "wb") as writer:
        writer.write(data)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _failure(path: str, code: int) -> UmbrellaError:
    kind, text, remedy = _TEXTS.get(
        code, (WorldBroken, f"the system refuses: {os.strerror(code)}", "try again; no grant can help")
    )
    return kind(f"{path[:200]} cannot be run: {text}", remedy)
