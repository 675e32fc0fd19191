"""Files and directories, reached so that no name, link or race leads out of the right that allowed it.

Checking a path and then opening it by name is a race. Here the kernel of the system resolves the name
(`openat2`), and everything else is done with the descriptor that comes out; names are created, renamed and
removed within the descriptor of the directory they lie in. At first no link at all is followed, which needs
one call and no descriptor kept from before, so nothing can be stale. A path with a link in it is then tried
beneath the root, the fixed part of the right's pattern, which is itself reached without a link
(RESOLVE_BENEATH), and only where all that a link can reach is granted too, that is for a whole subtree;
under a glob or an exact path a link is refused. Linux 5.6 or newer; elsewhere every call refuses.
"""

import errno
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from mcp_interface.errors import CallerMistaken, LostRace, NotFound, NotPermitted, UmbrellaError, WorldBroken
from mcp_security.validators import openat2
from mcp_security.validators.closed import Closed
from mcp_security.validators.places import RESERVED, Place, covered
from mcp_security.validators.replacement import NOT_REGULAR, replace, require_regular

MAX_LISTED: Final = 10_000
MAX_WALKED: Final = 100_000

_STRAIGHT: Final = openat2.NO_SYMLINKS | openat2.NO_MAGICLINKS
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_READ_STRAIGHT: Final = openat2.how(_READ, _STRAIGHT)
_ROOT_STRAIGHT: Final = openat2.how(os.O_PATH | os.O_DIRECTORY, _STRAIGHT)
_INNER: Final = openat2.how(_DIRECTORY, _STRAIGHT | openat2.BENEATH)

_OUTSIDE: Final = "RESOLVE_BENEATH: it leads outside the granted directory"
_LINKED: Final = "RESOLVE_NO_SYMLINKS: a part of it is a symbolic link"
_MEANINGS: Final[dict[int, tuple[type[UmbrellaError], str, str]]] = {
    errno.EXDEV: (NotPermitted, _OUTSIDE, "use the path it points to, if you may"),
    errno.ELOOP: (NotPermitted, _LINKED, "use the path it points to, if you may"),
    errno.ENOENT: (NotFound, "it does not exist", "list its directory"),
    errno.ENOTDIR: (CallerMistaken, "a part of it is not a directory", "list the directory above it"),
    errno.EISDIR: (CallerMistaken, "it is a directory", "name a file in it"),
    errno.EEXIST: (CallerMistaken, "it exists already", "use another name"),
    errno.ENOTEMPTY: (CallerMistaken, "the directory is not empty", "delete what is in it first"),
    errno.ENXIO: (CallerMistaken, NOT_REGULAR, "devices, pipes and sockets are not opened"),
    errno.ENAMETOOLONG: (CallerMistaken, "a name in it is too long", "shorten it"),
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a directory; links are not followed."""

    name: str
    """Bytes that are not UTF-8 are shown as U+FFFD; such a name cannot be opened. From a walk: relative."""
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    """Bytes; zero for what is not a file."""


class FilesystemGate:
    """Reaches what a right covers, and nothing else. Its state never changes; safe to use from any thread.

    Args:
        closed: Directories that no right reaches; see `closed`.

    Every method takes the resource pattern of the right that allowed it (`Verdict.covering`), which must be
    for the operation that it names, and an absolute path in canonical form. What is changed is durable on
    return. Every method may raise:

    - CallerMistaken: The path is not canonical, or not of the kind that the method is for.
    - NotPermitted: It is not covered, or a link leads away; the message names the rule.
    - NotFound: It, or the directory it would lie in, does not exist.
    - WorldBroken: The system refused, or cannot open beneath a directory.
    """

    def __init__(self, closed: Iterable[Path] = ()) -> None:
        self._closed = Closed(closed)

    def open_file(self, covering: str, path: str) -> int:
        """Open a regular file for reading; the right is `read`, and the caller closes the descriptor."""
        pattern = covered(covering, "read")
        place = None if pattern.includes(path) else pattern.place(path)
        self._closed.refuse(path)
        try:
            try:
                file = openat2.openat2(openat2.HERE, path.encode(), _READ_STRAIGHT)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                file = self._open_beneath(place or pattern.place(path), _READ)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    require_regular(file, path)
                os.set_blocking(file, True)
            except BaseException:
                os.close(file)
                raise
            return file
        except OSError as error:
            raise _translate(error, path) from error

    def create_file(self, covering: str, path: str) -> int:
        """Create a file that was not there, and open it for writing; the right is `write`.

        Mode 0666 less the umask; the caller closes the descriptor, and syncs what it writes.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._parent(covering, path, "write") as (directory, name):
            file = os.open(name, flags, 0o666, dir_fd=directory)
            try:
                os.fsync(directory)
            except BaseException:
                os.close(file)
                raise
            return file

    def replace_file(self, covering: str, path: str, data: bytes, seen: os.stat_result | None = None) -> None:
        """Create a file with this content or replace all of it, at once; the right is `write`.

        Whatever happens, the name has the old content or the new, never a mix. Mode, owner and group stay.

        Args:
            covering: As everywhere.
            path: As everywhere.
            data: The new content.
            seen: From `os.fstat` of the file when it was read: replace only that state of it.

        Raises:
            LostRace: It has changed since it was seen.
        """
        with self._parent(covering, path, "write") as (directory, name):
            replace(directory, name, path, data, seen)

    def rename(
        self, covering_old: str, covering_new: str, old: str, new: str, *, replace: bool = False
    ) -> None:
        """Move a regular file within one filesystem; the rights are `delete` on the old and `write` on the new.

        A directory is refused: what lies in it would get other names without a right being asked.

        Args:
            covering_old: For `old`.
            covering_new: For `new`.
            old: The file.
            new: Its new path, in a directory that exists.
            replace: Whether a file that is there already is replaced.

        Raises:
            LostRace: Somebody put something else in the file's place; it was moved back if that could be.
        """
        with (
            self._parent(covering_old, old, "delete") as (source, name),
            self._parent(covering_new, new, "write") as (target, new_name),
        ):
            _require_file(source, name, old)
            if replace:
                with suppress(NotFound):
                    _require_file(target, new_name, new)
            try:
                openat2.rename(source, name, target, new_name, replace=replace)
            except OSError as error:
                raise _translate_rename(error, old, new) from error
            _require_moved_file(source, name, target, new_name, (old, new))
            os.fsync(target)
            os.fsync(source)

    def unlink(self, covering: str, path: str) -> None:
        """Remove a file, or a link itself; the right is `delete`."""
        with self._parent(covering, path, "delete") as (directory, name):
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def make_directory(self, covering: str, path: str) -> None:
        """Create a directory in one that exists; the right is `write`."""
        with self._parent(covering, path, "write") as (directory, name):
            os.mkdir(name, 0o777, dir_fd=directory)
            os.fsync(directory)

    def remove_directory(self, covering: str, path: str) -> None:
        """Remove an empty directory; the right is `delete`."""
        with self._parent(covering, path, "delete") as (directory, name):
            os.rmdir(name, dir_fd=directory)
            os.fsync(directory)

    def list_directory(self, covering: str, path: str, limit: int) -> list[Entry]:
        """Return the first entries of a directory by name; the right is `list`.

        Args:
            covering: As everywhere.
            path: As everywhere.
            limit: Most entries, 1 to 10,000; ask for one more to learn whether there are more.
        """
        _require_limit(limit, MAX_LISTED)
        with _translated(path):
            directory = self._open(covered(covering, "list").place(path), _DIRECTORY)
            try:
                return [entry for _, entry in _first(directory, "", limit)]
            finally:
                os.close(directory)

    def walk(self, covering: str, path: str, limit: int) -> Iterator[Entry]:
        """Go through everything below a directory; the right is `list`, on all of it.

        Each directory's names in order, its own before those below it; no link is followed. What changes
        meanwhile, or may not be read, is passed over. It begins with the first step; close the iterator
        when leaving it early.

        Args:
            covering: As everywhere.
            path: As everywhere.
            limit: Most entries, 1 to 100,000; ask for one more to learn whether there are more.
        """
        _require_limit(limit, MAX_WALKED)
        place = covered(covering, "list").place(path, with_below=True)
        with _translated(path):
            top = self._open(place, _DIRECTORY)
        try:
            real = self._closed.locate(top)
            waiting = ["."]
            while waiting and limit > 0:
                above = waiting.pop()
                found = _below(top, above, limit)
                limit -= len(found)
                yield from (entry for _, entry in found)
                waiting += [
                    path
                    for path, entry in reversed(found)
                    if entry.kind == "directory" and not self._closed.holds(f"{real}/{path}")
                ]
        finally:
            os.close(top)

    def _open(self, place: Place, flags: int) -> int:
        self._closed.refuse(place.path)
        try:
            return openat2.openat2(openat2.HERE, place.path.encode(), openat2.how(flags, _STRAIGHT))
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return self._open_beneath(place, flags)

    def _open_beneath(self, place: Place, flags: int) -> int:
        file = _resolve_beneath(place, flags)
        try:
            self._closed.refuse_descriptor(file)
        except BaseException:
            os.close(file)
            raise
        return file

    @contextmanager
    def _parent(self, covering: str, path: str, operation: str) -> Iterator[tuple[int, str]]:
        """Lend the descriptor of the directory that a name lies in, and the name, which is never followed."""
        place, name = covered(covering, operation).place(path).parent()
        with _translated(path):
            directory = self._open(place, _DIRECTORY)
            try:
                self._closed.refuse_descriptor(directory, name)
                yield directory, name
            finally:
                os.close(directory)


def _real(path: str) -> str:
    try:
        return f", {os.path.realpath(path)}"
    except OSError:  # the link went away while it was read
        return ""


def _resolve_beneath(place: Place, flags: int) -> int:
    """Open a path that has a link in it, or say why not."""
    try:
        root = openat2.openat2(openat2.HERE, place.root.encode(), _ROOT_STRAIGHT)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPermitted(
                f"{place.path}: {_LINKED} of the granted directory {place.root}",
                f"grant and use the real path{_real(place.root)}",
                {"reason": "path_not_allowed"},
            ) from error
        raise
    try:
        resolve = openat2.BENEATH | openat2.NO_MAGICLINKS | (0 if place.whole else openat2.NO_SYMLINKS)
        return openat2.openat2(root, place.beneath.encode(), openat2.how(flags, resolve))
    finally:
        os.close(root)


def _below(top: int, path: str, limit: int) -> list[tuple[str, Entry]]:
    """The first entries of a directory below one that is open; none when it is no directory any more."""
    try:
        directory = openat2.openat2(top, os.fsencode(path), _INNER)
    except OSError:
        return []
    try:
        return _first(directory, "" if path == "." else f"{path}/", limit)
    finally:
        os.close(directory)


def _first(directory: int, prefix: str, limit: int) -> list[tuple[str, Entry]]:
    """The first entries by name, each with its path as the system spells it."""
    with os.scandir(directory) as found:
        shown = (entry for entry in found if not entry.name.startswith(RESERVED))
        nearest = heapq.nsmallest(limit, shown, key=lambda entry: entry.name)
        return [(prefix + entry.name, _entry(entry, prefix)) for entry in nearest]


def _require_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise CallerMistaken(f"limit {limit} is not within 1 to {most}", "ask for fewer entries")


def _require_file(directory: int, name: str, path: str) -> None:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError as error:
        raise _translate(error, path) from error
    if not stat.S_ISREG(mode):
        raise CallerMistaken(f"{path}: {NOT_REGULAR}", "only files are moved, one at a time")


def _require_moved_file(source: int, name: str, target: int, new_name: str, paths: tuple[str, str]) -> None:
    """Undo a move when, between looking and moving, a directory or a link took the file's place."""
    try:
        mode = os.stat(new_name, dir_fd=target, follow_symlinks=False).st_mode
    except FileNotFoundError:  # somebody has taken it further already
        return
    if stat.S_ISREG(mode):
        return
    now = "back"
    try:
        openat2.rename(target, new_name, source, name, replace=False)
    except OSError:  # its old name is taken again, or it was moved on
        now = f"at {paths[1]}"
    raise LostRace(
        f"{paths[0]} was something else when it was moved; it is {now}", "look at it and try again"
    )


def _entry(found: "os.DirEntry[str]", prefix: str) -> Entry:
    kind: Literal["file", "directory", "symlink", "other"] = "other"
    size = 0
    if found.is_symlink():
        kind = "symlink"
    elif found.is_dir(follow_symlinks=False):
        kind = "directory"
    elif found.is_file(follow_symlinks=False):
        kind = "file"
        # it may go between listing and looking; the listing stands
        with suppress(OSError):
            size = found.stat(follow_symlinks=False).st_size
    name = os.fsencode(prefix + found.name).decode("utf-8", "replace")
    return Entry(name=name, kind=kind, size=size)


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


def _translate_rename(error: OSError, old: str, new: str) -> UmbrellaError:
    if error.errno == errno.EXDEV:  # here it is no link that leads away
        return CallerMistaken(
            f"{old} and {new} lie on different filesystems", "read it, write it there, then delete it"
        )
    return _translate(error, old if error.errno == errno.ENOENT else new)
