"""Commands: one program, its arguments one by one, and never a shell.

The right is on a program by its absolute path. It is opened without following any link and executed by that
very descriptor, so that what was judged is what runs, whoever swaps names meanwhile. A program that is reached
by a link (`/usr/bin/python3`, or anything in `/bin`) is refused with its real path: one program, one name.

What holds: the program and arguments are those of the right; the environment is what is named here and nothing
of the node's; no descriptor of the node's goes along; output, time and the sizes of files are bounded; nothing
of it is left when it ends. What does not: **the program runs with the authority of the node's own user**. What
it opens, writes and sends is not judged, and files that it reads by itself (`.git/config`, a Makefile) tell it
what to do. Grant programs accordingly; a sandbox around them is not part of this gate.

Setuid and setgid programs, and those with file capabilities, are refused, and what the program starts gains no
privileges by them (no_new_privs). Linux only; elsewhere every call refuses.
"""

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import (
    CallerMistaken,
    LostRace,
    NotFound,
    NotPermitted,
    TooMuch,
    UmbrellaError,
    WorldBroken,
)
from mcp_security.argv import MAX_ARGUMENTS
from mcp_security.constraints.commands import Commands
from mcp_security.patterns import Paths
from mcp_security.validators import openat2
from mcp_security.validators.command_line import parse_line
from mcp_security.validators.processes import Order, Outcome, run

ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""What every program gets; HOME is not in it, so that nobody's dot files are read."""
MAX_RUNNING: Final = 16
MAX_TIMEOUT_S: Final = 3600.0
MAX_OUTPUT: Final = 16 * 1024 * 1024
MAX_INPUT: Final = 16 * 1024 * 1024
MAX_ARGV_BYTES: Final = 512 * 1024

_FOLLOW_NOTHING: Final = openat2.NO_SYMLINKS | openat2.NO_MAGICLINKS
_PROGRAM: Final = openat2.how(os.O_PATH, _FOLLOW_NOTHING)
_FOLDER: Final = openat2.how(os.O_PATH | os.O_DIRECTORY, _FOLLOW_NOTHING)


class ShellGate:
    """Runs what a right covers, and nothing else.

    Args:
        environment: Variables that every program gets, beside or instead of `ENVIRONMENT`. Never secrets.
        grace_s: Seconds that a program has to end by itself when its time is over.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, *, grace_s: float = 2.0) -> None:
        self._environment = {**ENVIRONMENT, **(environment or {})}
        self._grace_s = grace_s
        self._running = 0

    def words(self, line: str) -> tuple[str, ...]:
        """Split a typed line into a program and its arguments; see `parse_line`.

        Raises:
            CallerMistaken: It holds what a shell would do more with.
        """
        return parse_line(line)

    async def run(
        self,
        covering: str,
        limits: Mapping[str, Any],
        program: str,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        cwd_covering: str | None = None,
        stdin: bytes | None = None,
        timeout_s: float = 60.0,
        max_bytes: int = 64 * 1024,
    ) -> Outcome:
        """Run a program and wait for its end; nothing of it is left then. Cancelling kills it.

        Args:
            covering: The pattern of the right that allowed it (`Verdict.covering`), of `mcp://shell/execute`.
            limits: Constraints of that right (`Verdict.limits`); `commands` is judged once more, `max_bytes`
                bounds each output.
            program: Absolute and real path.
            argv: Its arguments, without the program.
            cwd: Absolute and real path of the working directory; None is an empty one that is removed again.
            cwd_covering: Pattern of the right `mcp://fs/list` on it; needed with `cwd`.
            stdin: What it can read; None is nothing.
            timeout_s: Seconds until it is told to end (SIGTERM), and `grace_s` later killed.
            max_bytes: Kept of each output; what is beyond is read and thrown away.

        Raises:
            CallerMistaken: A path is not canonical, an argument cannot be handed over, a bound is exceeded, or
                the program cannot be executed.
            NotPermitted: The program or directory is not covered, is reached by a link, or the arguments break
                a limit.
            NotFound: The program or directory does not exist.
            LostRace: It was replaced meanwhile.
            TooMuch: Too many programs run already.
            WorldBroken: The system refused.
        """
        _check_bounds(argv, stdin, timeout_s, max_bytes)
        wanted = _covered(covering, "shell", "execute", program)
        _check_limits(limits, Need(wanted, Facts(argv=tuple(argv))))
        if self._running >= MAX_RUNNING:
            raise TooMuch(f"{MAX_RUNNING} programs run already", "wait for one to end")
        self._running += 1
        try:
            async with _folder(cwd, cwd_covering) as folder:
                file = _open_program(program)
                try:
                    order = Order(
                        program=file,
                        folder=folder,
                        argv=[program, *argv],
                        environment=self._environment,
                        stdin=stdin,
                        timeout_s=timeout_s,
                        grace_s=self._grace_s,
                        max_bytes=min(max_bytes, limits.get("max_bytes", max_bytes)),
                    )
                    return await run(order)
                finally:
                    os.close(file)
        finally:
            self._running -= 1


def _check_bounds(argv: Sequence[str], stdin: bytes | None, timeout_s: float, max_bytes: int) -> None:
    if len(argv) > MAX_ARGUMENTS:
        raise CallerMistaken(f"{len(argv)} arguments exceed {MAX_ARGUMENTS}", "hand over fewer")
    size = 0
    for argument in argv:
        if "\0" in argument:
            raise CallerMistaken(f"argument {argument[:100]!r} holds a NUL", "leave it out")
        try:
            size += len(argument.encode()) + 1
        except UnicodeEncodeError as error:
            raise CallerMistaken(f"argument {argument[:100]!r} is not valid Unicode", "mend it") from error
    if size > MAX_ARGV_BYTES:
        raise CallerMistaken(
            f"arguments of {size} bytes exceed {MAX_ARGV_BYTES}", "use stdin for what is long"
        )
    if stdin is not None and len(stdin) > MAX_INPUT:
        raise CallerMistaken(f"stdin of {len(stdin)} bytes exceeds {MAX_INPUT}", "hand over less")
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise CallerMistaken(f"timeout {timeout_s} is not within 0 to {MAX_TIMEOUT_S} s", "choose another")
    if not 0 <= max_bytes <= MAX_OUTPUT:
        raise CallerMistaken(f"max_bytes {max_bytes} is not within 0 to {MAX_OUTPUT}", "choose another")


def _check_limits(limits: Mapping[str, Any], need: Need) -> None:
    if "commands" not in limits:
        return
    why = Commands().check(limits["commands"])(need)
    if why is not None:
        raise NotPermitted(why, "see the schema of the right", {"reason": "constraint_violated"})


def _covered(covering: str, type: str, operation: str, path: str) -> Resource:
    """Return the concrete resource, if the path is canonical and covered."""
    if not path.startswith("/") or path.endswith("/"):
        raise CallerMistaken(
            f"path {path[:200]!r} is not absolute, or ends with a slash", "write it from the root"
        )
    wanted = resource(type, operation, path)
    pattern = parse_resource(covering)
    # here the path is a name, not a pattern: a file may well be called "*"
    inside = Paths.of(pattern.path).includes(Paths(wanted.segments, False))
    if (pattern.type, pattern.operation) != (type, operation) or not inside:
        raise NotPermitted(
            f"{path} is not covered by {covering} for {operation}",
            f"ask for a grant of {wanted.uri}",
            {"reason": "path_not_allowed", "grant": wanted.uri},
        )
    return wanted


def _open_program(path: str) -> int:
    file = _open(path, _PROGRAM, "shell", "execute")
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            raise CallerMistaken(f"{path} is not a regular file", "name a program")
        if mode & (stat.S_ISUID | stat.S_ISGID) or _has_capabilities(file):
            raise NotPermitted(
                f"{path} runs with another authority than its caller's (setuid, setgid or file capabilities)",
                "no right covers that; use another program",
                {"reason": "path_not_allowed"},
            )
    except BaseException:
        os.close(file)
        raise
    return file


def _has_capabilities(file: int) -> bool:
    try:
        return bool(os.getxattr(f"/proc/self/fd/{file}", "security.capability"))
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise WorldBroken(
            f"the system does not say which capabilities a program has: {error.strerror}", "mount /proc"
        ) from error


@asynccontextmanager
async def _folder(cwd: str | None, covering: str | None) -> AsyncIterator[int]:
    """The working directory's descriptor: the one that was asked for, or a private and empty one."""
    if cwd is not None:
        _covered(covering or "", "fs", "list", cwd)
        folder = _open(cwd, _FOLDER, "fs", "list")
        try:
            yield folder
        finally:
            os.close(folder)
        return
    made = tempfile.mkdtemp(prefix="umbrella-shell-")
    try:
        folder = os.open(made, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)
    finally:
        _remove(made)


def _remove(folder: str) -> None:
    try:
        Path(folder).rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _open(path: str, told: Any, type: str, operation: str) -> int:
    if sys.platform != "linux":
        raise WorldBroken("programs are only run on Linux", "run the node on Linux")
    try:
        return openat2.openat2(openat2.HERE, os.fsencode(path), told)
    except OSError as error:
        raise _translate(error, path, type, operation) from error


def _translate(error: OSError, path: str, type: str, operation: str) -> UmbrellaError:
    if error.errno == errno.ELOOP:
        try:
            real = os.path.realpath(path)
        except OSError:  # the link went while it was being read
            return LostRace(f"{path} is being replaced", "try again when it rests")
        return NotPermitted(
            f"{path} is reached by a symbolic link; its real path is {real}",
            f"grant and use mcp://{type}/{operation}{real}",
            {"reason": "path_not_allowed", "grant": f"mcp://{type}/{operation}{real}"},
        )
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotFound(f"{path} does not exist", "look up the absolute path")
    if error.errno == errno.ENAMETOOLONG:
        return CallerMistaken(f"{path[:200]}: a name in it is too long", "shorten it")
    return WorldBroken(
        f"{path}: the system refuses: {error.strerror}", "check its permissions; no grant can help"
    )
