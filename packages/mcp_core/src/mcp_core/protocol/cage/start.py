"""Starts a process in its cage: orders it, waits at the gate until the cage is complete, compares, lets it go.

The gate is a shell that has all of the cage around it and reads one line of its standard input before it becomes
the server. What is inherited over that step is what was inspected: nothing comes between the look and the use.

Bubblewrap is started with an empty environment and its options in a file that has no name: what stands in its
own environment or command line could be read in the cage as process 1, and by everybody on the host.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from mcp_core.protocol.cage import launcher
from mcp_core.protocol.cage.filter import call_filter
from mcp_core.protocol.cage.inspection import inspect, refuse
from mcp_core.protocol.cage.limits import Bounds, bounds
from mcp_core.protocol.cage.order import ACCOUNTS, Order, bubblewrap_words, take_order
from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import ServerSpec

MAKE_SECONDS: Final = 20.0
"""For the cage to be complete; it takes a twentieth of a second on an idle machine."""
_BIND_SECONDS: Final = 5.0
_OLDEST: Final = (0, 8)
_PLACES: Final = "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"
_GATE: Final = 'read -r word && [ "$word" = go ] && exec "$@"'
_OPENED: Final = b"go\n"
_LOOK: Final = 0.005
_numbers = count(1)


class Caged(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs in its cage."""

    process: asyncio.subprocess.Process
    words: str
    """What it got of the machine, for a person."""
    bounds: Bounds

    def release(self) -> None:
        """Give back what its limits took of the machine; once it has ended."""
        self.bounds.release()


async def start_caged(
    spec: ServerSpec, errlog: TextIO, pipe: tuple[int, int], closed: Sequence[Path]
) -> Caged:
    """Start a server's process in the cage that its specification orders.

    Args:
        spec: Expanded, with a cage.
        errlog: Where its stderr goes.
        pipe: Its standard input: the end to read from and ours to write to; both stay the caller's.
        closed: What no cage may hold.

    Raises:
        InvalidRecord: The order cannot be carried out; names the path and the remedy.
        ServerUnavailable: There is no bubblewrap, or the cage is not what was ordered; nothing of the server ran.
    """
    program = await find_bubblewrap()
    order = take_order(spec, closed, os.environ)
    limit = bounds(order.cage, str(next(_numbers)))
    try:
        process = await _start(program, order, limit, errlog, pipe)
    except BaseException:
        limit.release()
        raise
    return Caged(process=process, words=in_words(order, limit), bounds=limit)


async def find_bubblewrap() -> str:
    """Where bubblewrap is.

    Raises:
        ServerUnavailable: It is not installed, too old, or this is not Linux.
    """
    if sys.platform != "linux":
        raise ServerUnavailable("cages need Linux", "run the node on Linux, or the server without a cage")
    program = shutil.which("bwrap", path=_PLACES)
    if program is None:
        raise ServerUnavailable(
            "bubblewrap is not installed, so that there is no cage to start the server in",
            "install the package bubblewrap, as in: apt install bubblewrap",
        )
    asked = await asyncio.create_subprocess_exec(
        program, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env={}
    )
    said, _ = await asyncio.wait_for(asked.communicate(), MAKE_SECONDS)
    found = re.search(rb"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _OLDEST:
        raise ServerUnavailable(
            f"{program} is {said.decode('utf-8', 'replace').strip()[:80]!r}, and cages need 0.8 or newer",
            "install a newer package bubblewrap",
        )
    return program


def in_words(order: Order, limit: Bounds) -> str:
    """What a process has of the machine, for a person."""
    reads = [each.path for each in order.lent if not each.write]
    writes = [each.path for each in order.lent if each.write]
    parts = [f"reads {', '.join(reads)}"] if reads else []
    parts += [f"writes {', '.join(writes)}"] if writes else []
    parts = parts or ["no files but the system's"]
    return "; ".join([*parts, "the host's network" if order.network else "no network", *limit.words])


async def _start(
    program: str, order: Order, limit: Bounds, errlog: TextIO, pipe: tuple[int, int]
) -> asyncio.subprocess.Process:
    told, tells = os.pipe()
    passed = [tells]
    try:
        accounts = {place: _file(text.encode()) for place, text in ACCOUNTS.items()}
        passed += accounts.values()
        words = bubblewrap_words(order, accounts)
        passed.append(_file(call_filter(platform.machine(), order.network)))
        words += ["--seccomp", str(passed[-1]), "--info-fd", str(tells)]
        passed.append(_file(b"".join(os.fsencode(word) + b"\0" for word in words)))
        run = [
            program,
            "--args",
            str(passed[-1]),
            "/bin/sh",
            "-c",
            f"{limit.script()}\n{_GATE}",
            "cage",
            *order.command,
        ]
        if order.staged:
            lent = {"user": order.user, "paths": [each.path for each in order.lent]}
            passed.append(_file(json.dumps({**lent, "program": program, "arguments": run}).encode()))
            run = [sys.executable, "-I", "-S", launcher.__file__, str(passed[-1])]
        process = await asyncio.create_subprocess_exec(
            *run,
            stdin=pipe[0],
            stdout=asyncio.subprocess.PIPE,
            stderr=errlog,
            env={},
            cwd="/",
            start_new_session=True,
            pass_fds=passed,
        )
    except BaseException:
        os.close(told)
        raise
    finally:
        for descriptor in passed:
            os.close(descriptor)
    try:
        async with asyncio.timeout(MAKE_SECONDS):
            waiting = await _at_the_gate(process, told)
        if limit.group is not None:
            limit.group.take(waiting)
        await _bound(waiting, limit)
        inspect(waiting, order)
        os.write(pipe[1], _OPENED)
    except BaseException as error:
        await _end(process)
        if isinstance(error, OSError | TimeoutError):
            raise ServerUnavailable(
                f"the cage did not come about: {error or 'it took too long'}", "see the server's log for why"
            ) from error
        raise
    return process


def _file(content: bytes) -> int:
    """A file without a name, to be read from its beginning."""
    descriptor = os.memfd_create("cage")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _at_the_gate(process: asyncio.subprocess.Process, told: int) -> int:
    """The id of the shell that waits in the finished cage; takes over the descriptor.

    Raises:
        ServerUnavailable: There was no cage.
    """
    first = await _first_process(told)
    while process.returncode is None:
        with suppress(OSError):
            children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
            if len(children) == 1 and Path(f"/proc/{children[0]}/comm").read_text() == "sh\n":
                return int(children[0])
        await asyncio.sleep(_LOOK)
    raise _no_cage()


async def _bound(waiting: int, limit: Bounds) -> None:
    """Wait until the shell has bound itself.

    Raises:
        ServerUnavailable: It has not; names every difference.
    """
    for _ in range(int(_BIND_SECONDS / _LOOK)):
        if not limit.differences(waiting):
            return
        await asyncio.sleep(_LOOK)
    refuse(limit.differences(waiting))


async def _first_process(told: int) -> int:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(told, "rb", 0)
    )
    try:
        said: Any = json.loads(await reader.readuntil(b"}"))
        return int(said["child-pid"])
    except (EOFError, ValueError, KeyError, TypeError) as error:
        raise _no_cage() from error
    finally:
        transport.close()


def _no_cage() -> ServerUnavailable:
    return ServerUnavailable(
        "bubblewrap could not make the cage",
        "see the server's log for why; a system may forbid user namespaces to ordinary users",
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 5.0)
