"""How much of the machine a caged process may use.

The kernel's limits hold for each process by itself. For memory that is little: what is shared between processes
escapes the count, and a program that reserves address space generously (Node does) dies of a limit that it never
used. So memory is bounded by a control group for all processes of the cage together, where this machine lets us
make one; elsewhere by the limits of each process, and `ServerStatus.caged` says which.
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import Cage

PROCESSES: Final = 256
"""Processes and threads together, when the order names no number."""
FILES: Final = 4096
"""Open files of one process."""
_MB: Final = 2**20
_SPACE: Final = 2048 * _MB
"""Address space beyond the memory that a process may own: programs, libraries, reservations."""
_OWN: Final = 1
"""Processes of the cage that are ours: the first one, which buries the others."""
_GROUPS: Final = Path("/sys/fs/cgroup")
_PREFIX: Final = "umbrella-"


class Group:
    """A control group with a memory limit, for one cage."""

    def __init__(self, folder: Path, limit: Path, size: int) -> None:
        self._folder = folder
        self._limit = limit
        self._size = size

    def take(self, pid: int) -> None:
        """Move a process into it, and all that it starts later.

        Raises:
            OSError: The system refuses.
        """
        (self._folder / "cgroup.procs").write_text(str(pid))

    def differences(self, pid: int) -> list[str]:
        """What is not as ordered, in words."""
        found = []
        if str(pid) not in (self._folder / "cgroup.procs").read_text().split():
            found.append("it is not in its control group")
        if int(self._limit.read_text()) > self._size:
            found.append("its control group has no memory limit")
        return found

    def remove(self) -> None:
        """Take the group away; it must be empty, which takes its last process a moment."""
        for _ in range(20):
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.005)


class _Kind(msgspec.Struct, frozen=True):
    """One limit that the kernel holds for every process."""

    title: str
    """In /proc/<pid>/limits."""
    word: str
    """How a shell sets it; the number goes behind. Shells disagree over one, and the second fails in the others."""
    unit: int = 1
    """Of what a shell counts."""


_CORE: Final = _Kind("Max core file size", "ulimit -c", 512)
_OPEN: Final = _Kind("Max open files", "ulimit -n")
_PROCESSES: Final = _Kind("Max processes", "ulimit -p {0} 2>/dev/null || ulimit -u")
_DATA: Final = _Kind("Max data size", "ulimit -d", 1024)
_ADDRESSES: Final = _Kind("Max address space", "ulimit -v", 1024)
_CPU: Final = _Kind("Max cpu time", "ulimit -t")
_FILE: Final = _Kind("Max file size", "ulimit -f", 512)


class Bounds(msgspec.Struct, frozen=True):
    """The limits of one cage."""

    each: dict[_Kind, int]
    """Of every process."""
    words: list[str]
    """For a person."""
    group: Group | None = None

    def script(self) -> str:
        """What a shell in the cage does to bind itself; only there the processes are counted from zero."""
        numbers = {kind: str(value // kind.unit) for kind, value in self.each.items()}
        return "\n".join(f"{kind.word.format(number)} {number}" for kind, number in numbers.items())

    def differences(self, pid: int) -> list[str]:
        """What is not as ordered for a process that has bound itself, in words.

        Raises:
            OSError: It cannot be looked at.
        """
        now: dict[str, list[str]] = {}
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
            title, *numbers = re.split(r"\s{2,}", line.strip())
            now[title] = numbers[:2]
        found = [
            f"{kind.title!r} is {now.get(kind.title)}, not {value}"
            for kind, value in self.each.items()
            if now.get(kind.title) != [str(value), str(value)]
        ]
        return found + ([] if self.group is None else self.group.differences(pid))

    def release(self) -> None:
        """Give back what was made for it."""
        if self.group is not None:
            self.group.remove()


def bounds(cage: Cage, mark: str) -> Bounds:
    """The limits that an order means on this machine.

    Args:
        cage: The order.
        mark: Unique among the cages of this process.

    Raises:
        ServerUnavailable: A number is too small to start anything with.
    """
    processes = PROCESSES if cage.processes is None else cage.processes
    sizes = {"processes": processes, "memory": cage.memory_mb, "cpu": cage.cpu_s, "file": cage.file_mb}
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ServerUnavailable(f"the cage cannot be made: {name} {size} is less than one", "raise it")
    each = {_CORE: 0, _OPEN: FILES, _PROCESSES: processes + _OWN}
    words = [f"{processes} processes"]
    group = None
    if cage.memory_mb is not None:
        group = _group(cage.memory_mb * _MB, mark)
        words.append(f"{cage.memory_mb} MB of memory {'each' if group is None else 'in all'}")
        if group is None:
            each |= {
                _DATA: cage.memory_mb * _MB,
                _ADDRESSES: cage.memory_mb * _MB + _SPACE,
            }
    if cage.cpu_s is not None:
        each[_CPU] = cage.cpu_s
        words.append(f"{cage.cpu_s} s of processor each")
    if cage.file_mb is not None:
        each[_FILE] = cage.file_mb * _MB
        words.append(f"files up to {cage.file_mb} MB")
    return Bounds(each, words, group)


def _group(size: int, mark: str) -> Group | None:
    """Make a group, or find that this machine does not let us."""
    for folder, name, swap in _places():
        ours = folder / f"{_PREFIX}{os.getpid()}-{mark}"
        try:
            _sweep(folder)
            ours.mkdir()
        except OSError:
            continue
        try:
            (ours / name).write_text(str(size))
            with suppress(OSError):  # a kernel may count no swap
                (ours / swap[0]).write_text(swap[1] or str(size))
            os.close(os.open(ours / "cgroup.procs", os.O_WRONLY))
        except OSError:
            ours.rmdir()
            continue
        return Group(ours, ours / name, size)
    return None


def _places() -> list[tuple[Path, str, tuple[str, str]]]:
    """Where a group could be made, and the files of its limits: of the first kind of groups, then of the second."""
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            inner = path.strip("/")
            if "memory" in controllers.split(","):
                names = "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", "")
                found.append((_GROUPS / "memory" / inner, *names))
            elif not controllers:
                # beside our own group: one that holds processes may have no groups below it that share out memory
                own = _GROUPS / inner
                parent = own.parent if inner else own
                if "memory" in (parent / "cgroup.subtree_control").read_text().split():
                    found.append((parent, "memory.max", ("memory.swap.max", "0")))
    return found


def _sweep(folder: Path) -> None:
    """Take away what a node left that was killed."""
    for left in folder.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with suppress(OSError):
                left.rmdir()
