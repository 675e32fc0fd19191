"""The two system calls that Python lacks and the filesystem gate stands on: openat2 and renameat2.

Knows nothing of rights. What the calls are told is built once and never changed, so that a call costs little
more than the system's own work, from any thread. Where there is no such call, every one fails with ENOSYS.

Source: openat2(2), rename(2).
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from mcp_interface.errors import UmbrellaError, WorldBroken

MAX_TRIES: Final = 128
"""How often the system may ask to try again while somebody renames directories under us."""

NO_MAGICLINKS: Final = 0x02
NO_SYMLINKS: Final = 0x04
BENEATH: Final = 0x08

HERE: Final = -100
"""AT_FDCWD: in place of a directory's descriptor, for a name that is absolute."""

_OPENAT2: Final = 437  # the same number on every architecture
_NOREPLACE: Final = 1


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_HOW_BYTES: Final = ctypes.sizeof(_How)


def how(flags: int, resolve: int) -> Any:
    """Prepare what `openat2` is told: flags of open(2), always close-on-exec, and RESOLVE_ flags."""
    return ctypes.byref(_How(flags | os.O_CLOEXEC, 0, resolve))


def openat2(directory: int, name: bytes, told: Any) -> int:
    """Open a name beneath a directory.

    Args:
        directory: A descriptor, or `HERE`.
        name: As the system spells it.
        told: From `how`.

    Raises:
        OSError: The system's answer.
        WorldBroken: This system has no such call, or the directories are renamed without end.
    """
    for _ in range(MAX_TRIES):
        file = _openat2(_OPENAT2, directory, name, told, _HOW_BYTES)
        if file >= 0:
            return file
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise _unsupported()
        if code not in {errno.EAGAIN, errno.EINTR}:
            raise OSError(code, os.strerror(code), name)
    raise WorldBroken(
        f"{os.fsdecode(name)}: the directories above it are being renamed all the time",
        "try again when they rest",
    )


def rename(old_directory: int, old: str, new_directory: int, new: str, *, replace: bool) -> None:
    """Rename within directories that are open; without `replace` only to a name that is free.

    Raises:
        OSError: The system's answer.
        WorldBroken: This system has no such call.
    """
    flags = 0 if replace else _NOREPLACE
    if _renameat2(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags):
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise _unsupported()
        raise OSError(code, os.strerror(code), old, None, new)


def _load(platform: str, name: str, result: Any, *arguments: Any) -> Callable[..., int]:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if platform == "linux" else None
    if function is None:
        return _absent
    function.restype = result
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]


def _absent(*arguments: Any) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


def _unsupported() -> UmbrellaError:
    return WorldBroken(
        "this system cannot open files beneath a directory (openat2), so no file is opened at all",
        "run on Linux 5.6 or newer, in a sandbox that permits openat2",
    )


_openat2 = _load(
    sys.platform, "syscall", ctypes.c_long,
    ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t,
)  # fmt: skip
_renameat2 = _load(
    sys.platform, "renameat2", ctypes.c_int,
    ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
)  # fmt: skip
