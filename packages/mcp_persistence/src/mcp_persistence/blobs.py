"""Bytes as files that are named by their own hash: written once, synced, verified whenever they are read.

`<folder>/ab/cd/<sha256>` holds the bytes; what is being written lies in `<folder>/new` until it is whole, and what
a crash left there is thrown away at the next opening. Nothing here knows whose the bytes are or who still needs
them. In memory: `mcp_interface.testing.MemoryBlobs`.
"""

import asyncio
import os
import re
import stat
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final, Self

from mcp_interface.errors import NotFound, StorageCorrupt, StorageUnavailable

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NEW: Final = "new"


class FileBlobs:
    """A `mcp_interface.blob.BlobStore` in a folder. Made by `open`; one at a time for each folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count(1)

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open a folder, or make it, for its owner alone.

        Raises:
            StorageUnavailable: The disk refused.
        """
        store = cls(Path(folder).absolute())
        await asyncio.to_thread(store._prepare)
        return store

    async def put(self, data: bytes) -> str:
        """As `BlobStore.put`; it goes on to its end when the caller is cancelled, and harms nobody."""
        return await asyncio.to_thread(self._put, bytes(data))

    async def get(self, digest: str) -> bytes:
        """As `BlobStore.get`."""
        return await asyncio.to_thread(self._get, digest)

    async def remove(self, digest: str) -> None:
        """As `BlobStore.remove`; durable when this returns.

        Raises:
            StorageUnavailable: The disk refused.
        """
        await asyncio.to_thread(self._remove, digest)

    # -- in a thread -------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            _make_folder(self.folder)
            _make_folder(self.folder / _NEW)
            for left in (self.folder / _NEW).iterdir():
                left.unlink()
        except OSError as error:
            raise _refused(self.folder, error) from error

    def _put(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        place = self._place(digest)
        try:
            with suppress(FileNotFoundError):
                if _is_sound(_read(place), digest):
                    # its name may be younger than the last sync of its folder: a crash can have come in between
                    _sync_folder(place.parent)
                    return digest
            _make_folder(place.parent.parent)
            _make_folder(place.parent)
            self._write(place, data)
        except OSError as error:
            raise _refused(place, error) from error
        return digest

    def _write(self, place: Path, data: bytes) -> None:
        new = self.folder / _NEW / f"{place.name}.{next(self._numbers)}"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file, left) :]
                os.fsync(file)
            finally:
                os.close(file)
            new.replace(place)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise
        _sync_folder(place.parent)

    def _get(self, digest: str) -> bytes:
        if not _DIGEST.fullmatch(digest):
            raise _unknown(digest)
        place = self._place(digest)
        try:
            data = _read(place)
        except FileNotFoundError:
            raise _unknown(digest) from None
        except OSError as error:
            raise _refused(place, error) from error
        if not _is_sound(data, digest):
            raise StorageCorrupt(
                f"{place} does not hold what was put there: its hash is another one",
                "put the file back from a backup, or store its content again",
                {"sha256": digest},
            )
        return data

    def _remove(self, digest: str) -> None:
        if not _DIGEST.fullmatch(digest):
            return
        place = self._place(digest)
        try:
            place.unlink()
            _sync_folder(place.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(place, error) from error

    def _place(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:4] / digest


def _is_sound(data: bytes, digest: str) -> bool:
    return sha256(data).hexdigest() == digest


def _read(place: Path) -> bytes:
    """Read a regular file whole; a link in its place is not followed, a pipe not waited for."""
    file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return b"\0not a file"
        return opened.read()


def _make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and its name durable."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unknown(digest: str) -> NotFound:
    return NotFound(f"nothing with the hash {digest[:80]!r} is kept", "look the hash up again")


def _refused(place: Path, error: OSError) -> StorageUnavailable:
    return StorageUnavailable(
        f"{place}: {error.strerror or error}", "make room, or see to the rights of the folder"
    )
