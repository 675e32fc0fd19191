"""What a cage shall hold: a server's specification, checked against the machine and turned into bubblewrap's words.

Denied unless ordered. Everything doubtful about an ordered path is an error that names it: the server does not
start, and never starts with less of a cage. That the kernel then really made what stands here is checked by
`inspection`.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from shutil import which
from typing import Final

import msgspec

from mcp_core.protocol.cage.launcher import STAGE
from mcp_interface.errors import InvalidRecord
from mcp_interface.server import Cage, ServerSpec

NOBODY: Final = 65534
"""The user of the host who stands behind a caged process when the node runs as root."""
INSIDE: Final = 1000
"""What the process takes itself for."""
HOME: Final = "/tmp"  # noqa: S108 (the cage's own)
HOSTNAME: Final = "cage"
SCRATCH: Final = 256 * 2**20
"""Bytes of the private /tmp, and again of /dev/shm; both are memory."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CARRIED: Final = ("LANG", "LC_ALL", "TZ")
"""What a caged process sees of the node's environment."""
SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS: Final = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
)
"""Files of the system that programs need and that hold no secret."""
ACCOUNTS: Final = {
    "/etc/passwd": f"cage:x:{INSIDE}:{INSIDE}:cage:{HOME}:/bin/sh\n",
    "/etc/group": f"cage:x:{INSIDE}:\n",
}
_NEVER: Final = ("/proc", "/sys", "/dev", "/run", "/var/run")
"""The kernel's, and where the services of the host are spoken to."""
_EXACTLY: Final = ("/", "/tmp", "/var", "/var/tmp")  # noqa: S108 (refused, not used)


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """One path of the host that the process gets."""

    path: str
    write: bool
    device: int
    inode: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the cage of one process shall be."""

    lent: list[Lent]
    """Parents before what lies in them."""
    network: bool
    cage: Cage
    environment: dict[str, str]
    directory: str
    command: list[str]
    user: int
    """Who it is on the host."""
    staged: bool
    """Whether root lends the paths to another user; see `launcher`."""

    def __repr__(self) -> str:
        return f"Order({len(self.lent)} paths, network={self.network})"  # the environment holds secrets


def take_order(
    spec: ServerSpec, closed: Sequence[Path], environment: Mapping[str, str], user: int | None = None
) -> Order:
    """Check what a specification wants for its process, on this machine and now.

    Args:
        spec: Expanded, with a cage.
        closed: Folders and files that no cage may hold: the node's own.
        environment: Where the language comes from.
        user: Who the node is; None asks the system.

    Raises:
        InvalidRecord: Naming the path, the rule and the remedy.
    """
    cage, user = spec.cage or Cage(), os.geteuid() if user is None else user
    wanted = dict.fromkeys(cage.read, False) | dict.fromkeys(cage.write, True)
    lent = [_lent(path, write, closed) for path, write in sorted(wanted.items(), key=_depth)]
    for own in map(os.path.realpath, closed):
        if any(_holds(folder, own) for folder in SYSTEM):
            raise _refused(
                "cage_holds_node",
                own,
                "lies in the system that every cage can read",
                "keep the node's data elsewhere",
            )
    inner = {name: environment[name] for name in CARRIED if name in environment}
    inner |= {"PATH": PATH, "HOME": HOME, "TMPDIR": HOME, "USER": "cage", "LOGNAME": "cage"} | spec.env
    directory = spec.cwd or HOME
    inside = [*SYSTEM, *(each.path for each in lent)]
    if directory != HOME and not any(_holds(folder, os.path.realpath(directory)) for folder in inside):
        raise _refused(
            "cage_cwd",
            directory,
            "is the working folder, but not in the cage",
            f"add --allow-path {directory}",
        )
    _check_command(spec.command or "", inner["PATH"], directory, inside)
    return Order(
        lent=lent,
        network=cage.network,
        cage=cage,
        environment=inner,
        directory=directory,
        command=[spec.command or "", *spec.args],
        user=user or NOBODY,
        staged=user == 0,
    )


def bubblewrap_words(order: Order, accounts: Mapping[str, int]) -> list[str]:
    """The options of bubblewrap for an order; the filter and the command come behind them.

    Args:
        order: What the cage shall be.
        accounts: For each of `ACCOUNTS`, the descriptor from which it can be read.
    """
    words = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]
    words += [] if order.network else ["--unshare-net"]
    words += ["--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--hostname", HOSTNAME, "--uid", str(INSIDE), "--gid", str(INSIDE), "--clearenv"]
    for name, value in order.environment.items():
        words += ["--setenv", name, value]
    for path in SYSTEM:
        if Path(path).is_symlink():
            words += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            words += ["--ro-bind", path, path]
    for path in filter(os.path.exists, SETTINGS):
        words += ["--ro-bind", path, path]
    for path, descriptor in accounts.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    # The kernel's switches a second time: of folders that root cannot write, bubblewrap thinks nobody can.
    words += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for place in ("/dev/shm", HOME):  # noqa: S108
        words += ["--size", str(SCRATCH), "--perms", "1777", "--tmpfs", place]
    for number, each in enumerate(order.lent):
        source = f"{STAGE}/{number}" if order.staged else each.path
        words += ["--bind" if each.write else "--ro-bind", source, each.path]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", order.directory]


def _lent(path: str, write: bool, closed: Sequence[Path]) -> Lent:
    if not path.startswith("/") or os.path.normpath(path) != path or "\0" in path:
        raise _refused(
            "cage_path_form", path, "is not an absolute path without '.', '..' or '//'", "write it out"
        )
    if path in _EXACTLY or any(_holds(folder, path) for folder in _NEVER):
        raise _refused("cage_path_too_wide", path, "would undo the cage", "allow a narrower or another one")
    if write and any(_holds(folder, path) for folder in SYSTEM):
        raise _refused(
            "cage_path_system", path, "belongs to the system, which is read-only", "allow another one"
        )
    try:
        found = Path(path).stat()
    except OSError as error:
        reason = (
            "does not exist"
            if isinstance(error, FileNotFoundError)
            else f"cannot be looked at: {error.strerror}"
        )
        raise _refused("cage_path_missing", path, reason, "make it first, or allow another one") from error
    real = os.path.realpath(path)
    if real != path:
        raise _refused(
            "cage_path_link", path, f"is reached through a link and is really {real}", f"allow {real}"
        )
    if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
        raise _refused(
            "cage_path_kind", path, "is neither a folder nor a file", "allow the folder of what is needed"
        )
    for own in map(os.path.realpath, closed):
        if _holds(path, own) or _holds(own, path):
            raise _refused(
                "cage_holds_node",
                path,
                f"holds or lies in {own}, which is the node's own",
                "allow a narrower one",
            )
    return Lent(path=path, write=write, device=found.st_dev, inode=found.st_ino)


def _check_command(command: str, search: str, directory: str, inside: Iterable[str]) -> None:
    """See that the program is in the cage, by its name and by what the name leads to."""
    if "/" in command:
        there = str(Path(directory, command))
        outside = there
    else:
        there = which(command, path=search) or ""
        outside = there or which(command) or ""
    real = os.path.realpath(outside)
    if there and all(any(_holds(each, place) for each in inside) for place in (_plain(there), real)):
        if not os.access(real, os.X_OK):
            raise _refused(
                "cage_command", command, "is not there, or cannot be executed", "check the command"
            )
        return
    if not outside:
        raise _refused("cage_command", command, "was not found", "check the command, or write its whole path")
    needed = dict.fromkeys(_installed_in(place) for place in (_plain(outside), real))
    missing = [place for place in needed if not any(_holds(each, place) for each in inside)]
    words = " ".join(f"--allow-path {place}" for place in missing)
    whole = "" if there else f", and name it {outside}"
    raise _refused("cage_command", command, f"is {real}, which is not in the cage", f"add {words}{whole}")


def _installed_in(program: str) -> str:
    """The folder that a program needs: its own, or what its `bin` belongs to."""
    folder = PurePath(program).parent
    return str(folder.parent if folder.name == "bin" else folder)


def _plain(path: str) -> str:
    """The path with the folders that lead to it resolved, but not what it is itself."""
    return str(Path(os.path.realpath(Path(path).parent), Path(path).name))


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith("/" if folder == "/" else f"{folder}/")


def _depth(wanted: tuple[str, bool]) -> tuple[int, str]:
    return wanted[0].count("/"), wanted[0]


def _refused(rule: str, path: str, why: str, remedy: str) -> InvalidRecord:
    return InvalidRecord(rule, f"the cage cannot be made: {path[:300]!r} {why}", remedy, {"path": path[:300]})
