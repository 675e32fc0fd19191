"""The high-water mark: a small file beside the journal that says how far it had come.

SQLite silently drops every transaction behind a damaged place of its write-ahead log, and the result looks
sound. So after each commit the number of commits, the last position and its link of the chain are written
to `<journal>.head`, and opening compares. The mark is written without a sync of its own, which would double
the price of a commit: after kill -9 the kernel still has it, and after a power cut an older mark is merely a
weaker lower bound, never a false alarm, because a mark is written only when its commit is already durable.
"""

import contextlib
import fcntl
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_persistence.sqlite.integrity import Meta

_TITLE: Final = "umbrella-head-1"
_CHECK: Final = 16
_LONGEST: Final = 4096


class Mark(msgspec.Struct, frozen=True):
    """How far a journal had come."""

    commits: int
    head: int
    chain: bytes


class HighWater:
    """Keeps the mark of one journal, and the lock that makes its store the only one.

    Not for use by two threads at a time.
    """

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(journal.name + ".head")
        self._file: int | None = None

    def lock(self) -> None:
        """Keep every other store away from this journal until `close`; harmless when repeated.

        Raises:
            StorageUnavailable: Another one has it.
        """
        if self._file is not None:
            return
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise StorageUnavailable(
                f"another store has the journal of {self.path} open", "close it there first"
            ) from error
        self._file = file

    def load(self) -> Mark | None:
        """Read the mark; None when there is none.

        Raises:
            StorageCorrupt: There is one, but not as it was written.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(_LONGEST)
        except FileNotFoundError:
            return None
        if not content.strip(b"\0"):
            return None  # a new file whose first line never reached the disk
        try:
            title, commits, head, chain, check = content.decode("ascii").split()
            mark = Mark(int(commits), int(head), bytes.fromhex(chain))
        except ValueError:
            title, mark, check = "", Mark(0, 0, b""), ""
        if title != _TITLE or content != _line(mark) or not check:
            raise StorageCorrupt(
                f"{self.path} is not as it was written",
                "restore it, or delete it to open the journal without its protection",
            )
        return mark

    def start(self, meta: Meta) -> None:
        """Put down the present mark, durably: the place now exists."""
        self.lock()
        assert self._file is not None
        os.fchmod(self._file, 0o600)
        self.write(meta)
        os.ftruncate(self._file, len(_line(Mark(meta.commits, meta.head, meta.chain))))
        os.fsync(self._file)

    def write(self, meta: Meta) -> None:
        """Overwrite the mark in place; one short line, so that it lies within one sector."""
        if self._file is not None:
            os.pwrite(self._file, _line(Mark(meta.commits, meta.head, meta.chain)), 0)

    def close(self) -> None:
        """Sync and let go; harmless when repeated."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a weaker mark is no loss
                os.fsync(self._file)
            os.close(self._file)
            self._file = None


def _line(mark: Mark) -> bytes:
    text = f"{_TITLE} {mark.commits:020d} {mark.head:020d} {mark.chain.hex()}"
    return f"{text} {sha256(text.encode()).hexdigest()[:_CHECK]}\n".encode()
