"""Disks that a test may pull the plug of: ext4 in a file, and small ones that fill up. All of it needs root."""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

SHUTDOWN = 0x8004587D
"""FS_IOC_SHUTDOWN: from now on nothing reaches the disk."""
LOG_FLUSH, NO_LOG_FLUSH = 1, 2
"""The plug is pulled after the file system's own log was flushed, or before."""
MKFS = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")
TIMEOUT = 60


class Refused(Exception):
    """The kernel does not let us mount, as in an unprivileged container."""


def probe(folder: Path) -> None:
    """Ask the kernel whether this process may mount and use loop devices.

    Raises:
        Refused: Root is not enough here.
        OSError: Something else is in the way.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=64k"):
        _refuse("mount", ctypes.get_errno())
    library.umount2(os.fsencode(folder), 0)
    try:
        os.close(os.open("/dev/loop-control", os.O_RDWR))
    except OSError as error:
        _refuse("/dev/loop-control", error.errno)


def _refuse(what: str, number: int) -> None:
    if number == errno.EPERM:
        raise Refused(f"the kernel refuses {what} with EPERM, also for root: a container without the right")
    raise OSError(number, os.strerror(number), what)


def command(*words: str | Path) -> str:
    """Run a tool; gives what it says, and shows what it complains of."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr.strip()}"
    return done.stdout.strip()


def make_image(image: Path, megabytes: int) -> None:
    """Make an ext4 file system in a sparse file."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    command(*MKFS, image)


@contextlib.contextmanager
def mounted(image: Path, point: Path) -> Iterator[Path]:
    """Mount an image on a folder, through a loop device that goes away with the mount."""
    point.mkdir(exist_ok=True)
    command("mount", "-o", "loop,nodiscard", image, point)
    with _unmounted_afterwards(point):
        yield point


@contextlib.contextmanager
def small_memory_disk(point: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system in memory that is soon full."""
    point.mkdir(exist_ok=True)
    command("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", point)
    with _unmounted_afterwards(point):
        yield point


@contextlib.contextmanager
def _unmounted_afterwards(point: Path) -> Iterator[None]:
    try:
        yield
        command("umount", point)
    except BaseException:
        # Whatever still holds it, it must not stay behind: the first error is the one to report.
        subprocess.run(["umount", "--lazy", point], capture_output=True, timeout=TIMEOUT)
        raise


@contextlib.contextmanager
def plug(point: Path) -> Iterator["Plug"]:
    """Take the plug of a mounted disk in the hand."""
    file = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Plug(file)
    finally:
        os.close(file)


class Plug:
    """Pulls the plug of one disk."""

    def __init__(self, file: int) -> None:
        self._file = file

    def pull(self, flag: int) -> None:
        """Cut the power; the machine goes on, and sees errors from now on."""
        fcntl.ioctl(self._file, SHUTDOWN, struct.pack("I", flag))
