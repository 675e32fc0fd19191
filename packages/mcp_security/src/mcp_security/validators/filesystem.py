"""Files and directories, opened so that no name, link or race leads out of the right that allowed it.

Checking a path and then opening it by name is a race. Here the kernel of the system resolves the name beneath
a descriptor of the right's root (`openat2`, RESOLVE_BENEATH), and everything else is done with the descriptor
that comes out. The root is the fixed part of the right's pattern and is itself reached without following any
link. Beneath it links are followed only where all they can reach is granted too, that is for a whole subtree;
under a glob or an exact path a link is refused. Linux 5.6 or newer; elsewhere every call refuses.

Source: openat2(2).
"""

import ctypes
import errno
import heapq
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import msgspec

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, UmbrellaError, WorldBroken
from mcp_security.patterns import Paths

MAX_LISTED: Final = 10_000
MAX_TRIES: Final = 128
"""How often the system may ask to try again while somebody renames directories under us."""

_OPENAT2: Final = 437  # the same number on every architecture
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_OUTSIDE: Final = "RESOLVE_BENEATH: it leads outside the granted directory"
_LINKED: Final = "RESOLVE_NO_SYMLINKS: a part of it is a symbolic link"

_NOT_REGULAR: Final = "it is not a regular file"
_MEANINGS: Final[dict[int, tuple[type[UmbrellaError], str, str]]] = {
    errno.EXDEV: (NotPermitted, _OUTSIDE, "use the path it points to, if you may"),
    errno.ELOOP: (NotPermitted, _LINKED, "use the path it points to, if you may"),
    errno.ENOENT: (NotFound, "it does not exist", "list its directory"),
    errno.ENOTDIR: (CallerMistaken, "a part of it is not a directory", "list the directory above it"),
    errno.EISDIR: (CallerMistaken, "it is a directory", "name a file in it"),
    errno.ENXIO: (CallerMistaken, _NOT_REGULAR, "devices, pipes and sockets are not opened"),
    errno.ENAMETOOLONG: (CallerMistaken, "a name in it is too long", "shorten it"),
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a directory; links are not followed."""

    name: str
    """Bytes that are not UTF-8 are shown as U+FFFD; such a name cannot be opened."""
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    """Bytes; zero for what is not a file."""


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _Place(msgspec.Struct, frozen=True):
    """Where to act: a root directory and a way beneath it."""

    path: str
    root: str
    beneath: str
    """Relative; `.` is the root itself."""
    resolve: int


class FilesystemGate:
    """Opens what a right covers, and nothing else. Holds no state; safe to use from any thread."""

    def open_file(self, covering: str, path: str, *, write: bool = False) -> int:
        """Open a regular file; the caller closes the descriptor.

        Args:
            covering: The resource pattern of the right that allowed it (`Verdict.covering`); its operation
                must be `write` for writing and `read` for reading.
            path: Absolute, in canonical form.
            write: Create it (mode 0666 less the umask) or empty it, instead of reading it.

        Raises:
            CallerMistaken: The path is not canonical, or not a regular file.
            NotPermitted: It is not covered, or a link leads away; the message names the rule.
            NotFound: It, or the directory it would lie in, does not exist.
            WorldBroken: The system refused, or cannot open beneath a directory.
        """
        place = _place(covering, path, "write" if write else "read")
        with _translated(path):
            file = _create(place) if write else _open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                _require_regular(file, path)
                if write:
                    os.ftruncate(file, 0)
                os.set_blocking(file, True)
            except BaseException:
                os.close(file)
                raise
            return file

    def list_directory(self, covering: str, path: str, limit: int) -> list[Entry]:
        """Return the first entries of a directory by name.

        Args:
            covering: As `open_file`, with the operation `list`.
            path: Absolute, in canonical form.
            limit: Most entries, 1 to 10,000; ask for one more to learn whether there are more.

        Raises:
            CallerMistaken: The path is not canonical or not a directory, or the limit is out of bounds.
            NotPermitted: As `open_file`.
            NotFound: It does not exist.
            WorldBroken: As `open_file`.
        """
        if not 1 <= limit <= MAX_LISTED:
            raise CallerMistaken(f"limit {limit} is not within 1 to {MAX_LISTED}", "ask for fewer entries")
        place = _place(covering, path, "list")
        with _translated(path):
            directory = _open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(directory) as found:
                    nearest = heapq.nsmallest(limit, found, key=lambda entry: entry.name)
                    return [_entry(entry) for entry in nearest]
            finally:
                os.close(directory)


def _place(covering: str, path: str, operation: str) -> _Place:
    """Decide, without looking at any file, where to act. Refuses; never repairs."""
    if not path.startswith("/"):
        raise CallerMistaken(
            f"path {path[:200]!r} is not absolute", "write it from the root, beginning with /"
        )
    if path.endswith("/"):
        raise CallerMistaken(f"path {path[:200]!r} ends with an empty segment", "leave out the last slash")
    wanted = resource("fs", operation, path)
    pattern = parse_resource(covering)
    # here the path is a name, not a pattern: a file may well be called "*"
    covered = Paths.of(pattern.path).includes(Paths(wanted.segments, False))
    if pattern.type != "fs" or pattern.operation != operation or not covered:
        raise NotPermitted(
            f"{path} is not covered by {covering} for {operation}",
            f"ask for a grant of {wanted.uri}",
            {"reason": "path_not_allowed", "grant": wanted.uri},
        )
    return _beneath(pattern, wanted, path)


def _beneath(pattern: Resource, wanted: Resource, path: str) -> _Place:
    paths = Paths.of(pattern.path)
    fixed = next((at for at, part in enumerate(paths.segments) if "*" in part), len(paths.segments))
    whole = paths.subtree and paths.literal
    if not whole:
        fixed = min(fixed, len(wanted.segments) - 1)
    return _Place(
        path=path,
        root="/" + "/".join(wanted.segments[:fixed]),
        beneath="/".join(wanted.segments[fixed:]) or ".",
        resolve=_BENEATH | _NO_MAGICLINKS | (0 if whole else _NO_SYMLINKS),
    )


def _open_root(place: _Place) -> int:
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        beneath = place.root[1:] or "."
        return _openat2(top, beneath, os.O_PATH | os.O_DIRECTORY, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPermitted(
                f"{place.path}: {_LINKED} of the granted directory {place.root}",
                f"grant and use the real path, {os.path.realpath(place.root)}",
                {"reason": "path_not_allowed"},
            ) from error
        raise
    finally:
        os.close(top)


def _open(place: _Place, flags: int) -> int:
    root = _open_root(place)
    try:
        return _openat2(root, place.beneath, flags, place.resolve)
    finally:
        os.close(root)


def _create(place: _Place) -> int:
    """Open for writing through the parent's descriptor, so that the last name is never followed."""
    parent, _, name = place.beneath.rpartition("/")
    if name == ".":
        raise CallerMistaken(f"{place.path} is a directory", "name a file in it")
    directory = _open(msgspec.structs.replace(place, beneath=parent or "."), os.O_PATH | os.O_DIRECTORY)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(name, flags, 0o666, dir_fd=directory)
    finally:
        os.close(directory)


def _openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    if sys.platform != "linux":
        raise _unsupported()
    how = _How(flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    for _ in range(MAX_TRIES):
        file = _syscall()(_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))
        if file >= 0:
            return int(file)
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise _unsupported()
        if code not in {errno.EAGAIN, errno.EINTR}:
            raise OSError(code, os.strerror(code), path)
    raise WorldBroken(
        f"{path}: the directories above it are being renamed all the time", "try again when they rest"
    )


_loaded: list[Callable[..., int]] = []


def _syscall() -> Callable[..., int]:
    if not _loaded:
        function = ctypes.CDLL(None, use_errno=True).syscall
        function.restype = ctypes.c_long
        function.argtypes = [
            ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t,
        ]  # fmt: skip
        _loaded.append(function)
    return _loaded[0]


def _unsupported() -> UmbrellaError:
    return WorldBroken(
        "this system cannot open files beneath a directory (openat2), so no file is opened at all",
        "run on Linux 5.6 or newer, in a sandbox that permits openat2",
    )


def _require_regular(file: int, path: str) -> None:
    mode = os.fstat(file).st_mode
    if stat.S_ISDIR(mode):
        raise CallerMistaken(f"{path}: it is a directory", "list it instead")
    if not stat.S_ISREG(mode):
        raise CallerMistaken(f"{path}: {_NOT_REGULAR}", "devices, pipes and sockets are not opened")


def _entry(found: "os.DirEntry[str]") -> Entry:
    kind: Literal["file", "directory", "symlink", "other"] = "other"
    size = 0
    if found.is_symlink():
        kind = "symlink"
    elif found.is_dir(follow_symlinks=False):
        kind = "directory"
    elif found.is_file(follow_symlinks=False):
        kind = "file"
        try:
            size = found.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # it went between listing and looking; the listing stands
            size = 0
    return Entry(name=os.fsencode(found.name).decode("utf-8", "replace"), kind=kind, size=size)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn the system's errors into ours, once."""
    try:
        yield
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: str) -> UmbrellaError:
    known = _MEANINGS.get(error.errno or 0)
    if known is not None:
        kind, text, remedy = known
        details = {"reason": "path_not_allowed"} if kind is NotPermitted else None
        return kind(f"{path[:200]}: {text}", remedy, details)
    return WorldBroken(
        f"{path[:200]}: the system refuses: {error.strerror}",
        "check the file's permissions and the disk; no grant can help",
    )
