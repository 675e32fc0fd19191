"""Preparing the next segment ahead, filled with zeros that are really written.

A sync of bytes that replace written zeros changes no size and no block map, and so costs a third of one that
does. The zeros are written by the log's own writer, a slice with each append once the present segment is half
full, and Linux is asked to write them out in the meantime. A thread of its own was the other road: it would
compete for the interpreter's lock just when the writer wakes from a sync, and a crash could fall between its
steps and the writer's in orders that no seed repeats. A slice costs less than the sync that it follows.
"""

from pathlib import Path
from typing import Final

from mcp_persistence.segment.disk import Disk, File, write_all
from mcp_persistence.segment.folder import TEMPORARY

NAME: Final = "next" + TEMPORARY
SLICE: Final = 1 << 20
"""Most bytes of zeros written with one append."""

_ZEROS: Final = bytes(SLICE)


class Spare:
    """A file under a temporary name that becomes the next segment.

    Raises:
        OSError: From every method, as the disk gives it.
    """

    def __init__(self, disk: Disk, folder: Path, size: int) -> None:
        self.path = folder / NAME
        self.size = size
        self._disk = disk
        self._filled = 0
        self.file: File = disk.create(self.path)

    @property
    def is_filled(self) -> bool:
        """Whether all zeros are written."""
        return self._filled == self.size

    def fill(self, length: int) -> None:
        """Write the next zeros, at most `SLICE`."""
        length = min(length, SLICE, self.size - self._filled)
        write_all(self.file, [_ZEROS[:length]], self._filled)
        self.file.start_writing(self._filled, length)
        self._filled += length

    def finish(self, block: bytes, path: Path) -> File:
        """Fill up, put down the first block, and only when all that is durable give it its name."""
        while not self.is_filled:
            self.fill(SLICE)
        write_all(self.file, [block], 0)
        self.file.fsync()
        self._disk.rename(self.path, path)
        self._disk.sync_folder(path.parent)
        return self.file
