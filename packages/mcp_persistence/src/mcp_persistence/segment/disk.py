"""The few file operations that the log needs, so that a simulated disk can stand in for the real one.

Everything here raises OSError as the kernel gave it; `log` translates. A descriptor is closed when the last
holder lets go of its `File`: so a reader on another thread can never have it closed, or reused, under it.
"""

import os
from pathlib import Path
from typing import Protocol

from mcp_interface.errors import StorageUnavailable


class File(Protocol):
    """An open file, used by offset only, so that threads may share it."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read; shorter at the end of the file."""
        ...

    def pwritev(self, buffers: list[bytes], offset: int) -> int:
        """Write one after another; tells how many bytes were taken."""
        ...

    def fdatasync(self) -> None:
        """Return once the content, and the size needed to read it, are durable."""
        ...

    def fsync(self) -> None:
        """Return once content and size are durable."""
        ...

    def start_writing(self, offset: int, length: int) -> None:
        """Ask that a part be written out soon, without waiting; promises nothing."""
        ...

    def ftruncate(self, size: int) -> None:
        """Cut or extend."""
        ...

    def size(self) -> int:
        """Bytes of the file."""
        ...


class Disk(Protocol):
    """Folders and names."""

    def make_folder(self, folder: Path) -> None:
        """Create it, its parents too; fine when it exists."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Names in the folder; none when there is no such folder."""
        ...

    def open(self, path: Path, *, write: bool) -> File:
        """Open a file that exists."""
        ...

    def create(self, path: Path) -> File:
        """Make a file that must not exist yet, for its owner alone."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give another name; replaces what has it."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove the name."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in it are durable."""
        ...


class SystemFile:
    """A file of the operating system."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        os.close(self._fd)

    def pread(self, length: int, offset: int) -> bytes:
        """Read."""
        return os.pread(self._fd, length, offset)

    def pwritev(self, buffers: list[bytes], offset: int) -> int:
        """Write."""
        return os.pwritev(self._fd, buffers, offset)

    def fdatasync(self) -> None:
        """Sync the content."""
        os.fdatasync(self._fd)

    def fsync(self) -> None:
        """Sync content and size."""
        os.fsync(self._fd)

    def start_writing(self, offset: int, length: int) -> None:
        """Linux begins to write out pages of which it hears that nobody will need them."""
        os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_DONTNEED)

    def ftruncate(self, size: int) -> None:
        """Cut or extend."""
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._fd).st_size


class SystemDisk:
    """The operating system's files."""

    def make_folder(self, folder: Path) -> None:
        """Create it for its owner alone, and make its name durable."""
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in missing:
            self.sync_folder(each.parent)

    def names(self, folder: Path) -> list[str]:
        """Names in the folder."""
        try:
            return os.listdir(folder)  # noqa: PTH208 names, not paths
        except FileNotFoundError:
            return []

    def open(self, path: Path, *, write: bool) -> SystemFile:
        """Open."""
        return SystemFile(os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC))

    def create(self, path: Path) -> SystemFile:
        """Make a new file."""
        return SystemFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def rename(self, old: Path, new: Path) -> None:
        """Replace atomically."""
        old.replace(new)

    def unlink(self, path: Path) -> None:
        """Remove the name."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Sync the folder itself."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_all(file: File, buffers: list[bytes], offset: int) -> None:
    """Write everything; after a short write the rest is tried once more from where it stopped.

    Raises:
        OSError: The disk took less than everything and says why, or took nothing at all.
    """
    total = sum(map(len, buffers))
    written = file.pwritev(buffers, offset)
    if written == total:
        return
    rest = b"".join(buffers)
    while written < total:
        more = file.pwritev([rest[written:]], offset + written)
        if more <= 0:
            raise OSError(0, "the disk takes no more bytes")
        written += more


def refusal(error: OSError, path: Path, deed: str) -> StorageUnavailable:
    """Translate what the kernel said.

    Args:
        error: As raised.
        path: What was worked on.
        deed: What was tried, such as "written to".
    """
    return StorageUnavailable(
        f"{path} could not be {deed}: {error.strerror or error} (errno {error.errno})",
        "make room or mend the disk, then open the journal again; what was not acknowledged may or may "
        "not be there",
        {"path": str(path), "errno": error.errno},
    )
