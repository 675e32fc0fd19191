"""Compares the cage that a process got with the one that was ordered, by what the kernel says of it.

A sandbox that was asked for is not one that was got: options are ignored by old releases, mounts fail over,
a link is put in a path's place between the look and the use. So the process is looked at from outside when it is
complete and before it may begin. Any difference, and anything that cannot be read, is a no.
"""

import os
import re
from pathlib import Path
from typing import Final

from mcp_core.protocol.cage.order import ACCOUNTS, HOME, SETTINGS, SYSTEM, Order
from mcp_interface.errors import ServerUnavailable

_APART: Final = ("user", "pid", "ipc", "uts", "cgroup", "mnt")
_CAPABILITIES: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "console", "shm")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def inspect(pid: int, order: Order) -> None:
    """Check one process.

    Args:
        pid: As this process knows it; it waits and has not begun.
        order: What it must be.

    Raises:
        ServerUnavailable: It is something else; names every difference.
    """
    process = Path("/proc", str(pid))
    try:
        found = [
            *status_differences(_status(process), order),
            *_namespace_differences(process, order),
            *mount_differences(_mounts(process), order),
            *_path_differences(process, order),
            *_environment_differences(process, order),
        ]
    except (OSError, ValueError) as error:
        found = [f"it cannot be inspected: {error}"]
    refuse(found)


def refuse(differences: list[str]) -> None:
    """Raise if there is any difference.

    Raises:
        ServerUnavailable: Names them.
    """
    if differences:
        raise ServerUnavailable(
            f"the cage is not what was ordered: {'; '.join(differences)}"[:1000],
            "the process was ended before it began; check bubblewrap and the kernel",
            {"differences": differences[:20]},
        )


def status_differences(status: dict[str, str], order: Order) -> list[str]:
    """What /proc/<pid>/status says otherwise."""
    found = []
    if status["NoNewPrivs"] != "1":
        found.append("it may gain privileges")
    if status["Seccomp"] != "2":
        found.append("its system calls are not filtered")
    found += [f"{name} is {status[name]}" for name in _CAPABILITIES if int(status[name], 16)]
    users = {*status["Uid"].split(), *status["Gid"].split()} if order.staged else {*status["Uid"].split()}
    if users != {str(order.user)}:
        found.append(f"it is user {status['Uid'].split()[0]}, not {order.user}")
    if order.staged and status["Groups"].split():
        found.append("it is in groups of the host")
    return found


def _namespace_differences(process: Path, order: Order) -> list[str]:
    apart = _APART if order.network else (*_APART, "net")
    mine = {name: (Path("/proc/self/ns") / name).readlink() for name in apart}
    found = [
        f"it shares the {name} namespace"
        for name in apart
        if (process / "ns" / name).readlink() == mine[name]
    ]
    if not order.network:
        lines = (process / "net" / "dev").read_text().splitlines()[2:]
        devices = [line.partition(":")[0].strip() for line in lines]
        found += [f"it has the network device {name}" for name in devices if name != "lo"]
    return found


def mount_differences(mounts: list[tuple[str, bool, str]], order: Order) -> list[str]:
    """What the list of mounts says otherwise.

    Args:
        mounts: Each with where it is, whether it can be written, and the kind of its file system.
        order: What it must be.
    """
    scratch = (HOME, "/dev/shm")  # noqa: S108
    devices = {f"/dev/{name}" for name in _DEVICES}
    system = {*SYSTEM, *SETTINGS, *ACCOUNTS}
    found = []
    for place, writable, kind in mounts:
        if (place in scratch and kind == "tmpfs") or place in devices or (place, kind) == ("/proc", "proc"):
            continue
        ours = (place, kind) in (("/", "tmpfs"), ("/dev", "tmpfs")) or place.startswith("/proc/")
        lender = False if ours else _lender(place, order, system)
        if lender is None:
            found.append(f"{place} is mounted")
        elif writable and not lender:
            found.append(f"{place} can be written")
    there = {(place, writable) for place, writable, _ in mounts}
    known = {place for place, _ in there}
    found += [
        f"{each.path} cannot be written"
        for each in order.lent
        if each.write and (each.path, True) not in there
    ]
    needed = {"/", "/proc", "/proc/sys", "/dev", *scratch, *(each.path for each in order.lent)}
    return found + [f"{place} is not mounted" for place in sorted(needed - known)]


def _lender(place: str, order: Order, system: set[str]) -> bool | None:
    """Whether the order lets this place be written; None when it does not know it."""
    for each in reversed(order.lent):  # the innermost speaks first
        if place == each.path or place.startswith(f"{each.path}/"):
            return each.write
    return False if any(place == each or place.startswith(f"{each}/") for each in system) else None


def _path_differences(process: Path, order: Order) -> list[str]:
    found = []
    for each in order.lent:
        there = (process / "root" / each.path.lstrip("/")).lstat()
        if (there.st_dev, there.st_ino) != (each.device, each.inode):
            found.append(f"{each.path} was exchanged for something else")
    return found


def _environment_differences(process: Path, order: Order) -> list[str]:
    entries = (process / "environ").read_bytes().split(b"\0")
    names = {os.fsdecode(entry).partition("=")[0] for entry in entries if entry}
    return [f"it sees the variable {name}" for name in sorted(names - order.environment.keys() - {"PWD"})]


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    found = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    missing = {"NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups", *_CAPABILITIES} - found.keys()
    if missing:
        raise ValueError(f"the kernel does not tell {', '.join(sorted(missing))}")
    return found


def _mounts(process: Path) -> list[tuple[str, bool, str]]:
    found = []
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        place = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        found.append((place, "rw" in fields[5].split(","), after.split()[0]))
    return found
