"""New content for a name, all of it or none: written beside it, made durable, then renamed over it.

Works within a directory that is open already, and follows no link. Whoever is killed in between leaves the
old content, and perhaps a file with a reserved name that nobody can reach through the gate.
"""

import errno
import itertools
import os
import stat
from contextlib import suppress
from typing import Final

from mcp_interface.errors import CallerMistaken, LostRace, WorldBroken
from mcp_security.validators.places import RESERVED

NOT_REGULAR: Final = "it is not a regular file"
_ACL: Final = "system.posix_acl_access"
_MAX_TRIES: Final = 128

_numbers = itertools.count()


def replace(directory: int, name: str, path: str, data: bytes, seen: os.stat_result | None) -> None:
    """Give a name new content; it is durable on return.

    Permission bits, owner, group and access list of the old file are kept.

    Args:
        directory: Descriptor of where the name lies, open for reading.
        name: The last segment.
        path: The whole of it, for messages.
        data: The new content.
        seen: What the old file was when it was read; None when that does not matter.

    Raises:
        CallerMistaken: The name belongs to something else than a regular file.
        LostRace: It is no longer what was seen.
        WorldBroken: Its group cannot be kept, or names for the new content are used up.
        OSError: The system's answer; the old content is untouched.
    """
    old = _open_old(directory, name)
    try:
        if old is not None:
            require_regular(old, path)
        temporary, file = _create(directory, path, 0o666 if old is None else 0o600)
        try:
            try:
                _write(file, data)
                if old is not None:
                    _take_over(old, file, path)
                os.fsync(file)
            finally:
                os.close(file)
            if seen is not None:
                _require_seen(directory, name, path, seen)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)
    finally:
        if old is not None:
            os.close(old)


def require_regular(file: int, path: str) -> None:
    """Refuse what is not a regular file.

    Raises:
        CallerMistaken: It is a directory, a device, a pipe or a socket.
    """
    mode = os.fstat(file).st_mode
    if stat.S_ISDIR(mode):
        raise CallerMistaken(f"{path}: it is a directory", "list it instead")
    if not stat.S_ISREG(mode):
        raise CallerMistaken(f"{path}: {NOT_REGULAR}", "devices, pipes and sockets are not opened")


def _open_old(directory: int, name: str) -> int | None:
    """Open for writing, though nothing is written: who may not write the file may not replace it either."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        return None


def _create(directory: int, path: str, mode: int) -> tuple[str, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_MAX_TRIES):
        # another process, or one before us with the same number, may own the name: O_EXCL tells
        name = f"{RESERVED}{os.getpid()}-{next(_numbers)}"
        with suppress(FileExistsError):
            return name, os.open(name, flags, mode, dir_fd=directory)
    raise WorldBroken(
        f"{path}: beside it lie too many files that begin with {RESERVED}, left over by writers that died",
        "remove them",
    )


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _take_over(old: int, new: int, path: str) -> None:
    was, now = os.fstat(old), os.fstat(new)
    if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
        _keep_owner(was, new, path)
    os.fchmod(new, was.st_mode & 0o777)  # never set-user-id: the content is another one
    try:
        access = os.getxattr(old, _ACL)
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.EOPNOTSUPP}:
            return
        raise
    # without it the group's bits, which are the list's mask, would give the group more than it had
    os.setxattr(new, _ACL, access)


def _keep_owner(was: os.stat_result, new: int, path: str) -> None:
    for owner in (was.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(new, owner, was.st_gid)
            return
    raise WorldBroken(
        f"{path}: it belongs to a group of others, and replacing it would change that",
        "let its owner write it, or change its group",
    )


def _require_seen(directory: int, name: str, path: str, seen: os.stat_result) -> None:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        found = None
    if found is None or _identity(found) != _identity(seen):
        raise LostRace(f"{path} has changed since it was read", "read it again and decide again")


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
