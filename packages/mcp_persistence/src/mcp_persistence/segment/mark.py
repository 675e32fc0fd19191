"""The high-water mark of the log: the small file `head` that says which frame was acknowledged last.

A damaged last frame and one that a power cut tore look alike; the mark tells them apart. It is written after
each commit without a sync of its own, which would double the price of a commit: after kill -9 the kernel
still has it, and after a power cut an older mark is merely a weaker lower bound, never a false alarm, because
it is written only when its frame is already durable.

The file holds two lines, each in a sector of its own, written in turn: so a write that stops halfway leaves
the mark before it. The newer whole one counts.
"""

from pathlib import Path
from typing import Final

import msgspec
from xxhash import xxh3_64_hexdigest

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment.disk import Disk, File, write_all

NAME: Final = "head"
SECTOR: Final = 512

_TEMPORARY: Final = NAME + ".tmp"
_TITLE: Final = "umbrella-log-head-1"


class Mark(msgspec.Struct, frozen=True):
    """The last acknowledged frame."""

    journal_id: bytes
    frame: int
    position: int
    chain: bytes


def encode(mark: Mark) -> bytes:
    """Make the line; always of one length, less than a sector."""
    text = f"{_TITLE} {mark.journal_id.hex()} {mark.frame:020d} {mark.position:020d} {mark.chain.hex()}"
    return f"{text} {xxh3_64_hexdigest(text)}\n".encode()


def decode(content: bytes) -> Mark | None:
    """Read the line; None when it is not as it was written."""
    try:
        _, journal_id, frame, position, chain, _ = content.decode("ascii").split()
        mark = Mark(bytes.fromhex(journal_id), int(frame), int(position), bytes.fromhex(chain))
    except ValueError:
        return None
    return mark if content == encode(mark) else None


def load(disk: Disk, folder: Path) -> Mark | None:
    """Read the mark; None when there is none.

    Raises:
        StorageCorrupt: There is one, but no line of it is as it was written.
        OSError: As the disk gives it.
    """
    path = folder / NAME
    try:
        whole = [each for each in _lines(disk.open(path, write=False)) if each is not None]
    except FileNotFoundError:
        return None
    if not whole:
        raise StorageCorrupt(
            f"{path} is not as it was written",
            "restore it, or delete it to open the journal without its protection",
            {"path": str(path)},
        )
    return max(whole, key=lambda each: each.frame)


def _lines(file: File) -> list[Mark | None]:
    content = file.pread(2 * SECTOR, 0)
    return [decode(each.rstrip(b"\0")) for each in (content[:SECTOR], content[SECTOR:])]


class MarkFile:
    """The mark, open for writing.

    Args:
        disk: Where the folder is.
        folder: Of the log.
        mark: The present mark; durable when this returns, but for the name of a new file.

    Raises:
        OSError: From every method, as the disk gives it.
    """

    def __init__(self, disk: Disk, folder: Path, mark: Mark) -> None:
        path = folder / NAME
        try:
            self._file: File = disk.open(path, write=True)
        except FileNotFoundError:
            self._file = disk.create(folder / _TEMPORARY)
            self._turn = 0
            self._renew(mark)
            disk.rename(folder / _TEMPORARY, path)
        else:
            first, second = (-1 if each is None else each.frame for each in _lines(self._file))
            self._turn = 1 if first > second else 0
            self._renew(mark)

    def write(self, mark: Mark) -> None:
        """Write one line in place; after a failure the same line is the next to be written."""
        write_all(self._file, [encode(mark)], SECTOR * self._turn)
        self._turn = 1 - self._turn

    def sync(self) -> None:
        """Return once the lines are durable."""
        self._file.fdatasync()

    def _renew(self, mark: Mark) -> None:
        """Write both lines, the older one first, so that there is a whole one at every moment."""
        for _ in range(2):
            self.write(mark)
            self.sync()
