"""Every blob store passes the same exam; the broken ones do not."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from broken_fakes import assert_found, opening
from mcp_interface.errors import NotFound
from mcp_interface.testing import MemoryBlobs, check_blobs
from mcp_persistence import FileBlobs


@asynccontextmanager
async def in_files() -> AsyncIterator[FileBlobs]:
    with TemporaryDirectory() as folder:
        yield await FileBlobs.open(Path(folder) / "deep" / "blobs")


@asynccontextmanager
async def again(store: FileBlobs) -> AsyncIterator[FileBlobs]:
    yield await FileBlobs.open(store.folder)


def flip(store: FileBlobs, digest: str) -> None:
    place = store.folder / digest[:2] / digest[2:4] / digest
    place.write_bytes(b"S" + place.read_bytes()[1:])


def cut(store: FileBlobs, digest: str) -> None:
    os.truncate(store.folder / digest[:2] / digest[2:4] / digest, 2)


@pytest.mark.parametrize("damage", [flip, cut])
def test_files_pass_the_exam(damage) -> None:
    asyncio.run(check_blobs(in_files, reopened=again, damage=damage))


def test_the_fake_passes_the_exam() -> None:
    asyncio.run(check_blobs(opening(MemoryBlobs)))


class NamesByNumber(MemoryBlobs):
    async def put(self, data: bytes) -> str:
        digest = f"{len(self.kept):064x}"
        self.kept[digest] = data
        return digest


class KeepsText(MemoryBlobs):
    async def get(self, digest: str) -> bytes:
        return (await super().get(digest)).replace(b"\r\n", b"\n")


class GivesNothingForTheUnknown(MemoryBlobs):
    async def get(self, digest: str) -> bytes:
        return self.kept.get(digest, b"")


class IgnoresCase(MemoryBlobs):
    async def get(self, digest: str) -> bytes:
        return await super().get(digest.lower())


class CountsItsKeepers(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, int] = {}

    async def put(self, data: bytes) -> str:
        digest = await super().put(data)
        self.times[digest] = self.times.get(digest, 0) + 1
        return digest

    async def remove(self, digest: str) -> None:
        self.times[digest] = self.times.get(digest, 0) - 1
        if self.times[digest] <= 0:
            await super().remove(digest)


class RemovesOnce(MemoryBlobs):
    async def remove(self, digest: str) -> None:
        try:
            del self.kept[digest]
        except KeyError:
            raise NotFound("gone already") from None


class NeverForgets(MemoryBlobs):
    async def remove(self, digest: str) -> None:
        return None


class RefusesWhatWasGone(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()

    async def put(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        return digest if digest in self.gone else await super().put(data)

    async def remove(self, digest: str) -> None:
        self.gone.add(digest)
        await super().remove(digest)


class MixesUp(MemoryBlobs):
    async def put(self, data: bytes) -> str:
        self.last = data
        await asyncio.sleep(0)
        self.kept[sha256(data).hexdigest()] = self.last
        return sha256(data).hexdigest()


@pytest.mark.parametrize(
    "store",
    [
        NamesByNumber,
        KeepsText,
        GivesNothingForTheUnknown,
        IgnoresCase,
        CountsItsKeepers,
        RemovesOnce,
        NeverForgets,
        RefusesWhatWasGone,
        MixesUp,
    ],
)
def test_the_exam_finds(store) -> None:
    assert_found(check_blobs, store)


class LooksAtNothing(FileBlobs):
    def _get(self, digest: str) -> bytes:
        if len(digest) != 64 or not self._place(digest).exists():
            raise NotFound("none")
        return self._place(digest).read_bytes()


class BelievesWhatIsThere(FileBlobs):
    def _put(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        return digest if self._place(digest).exists() else super()._put(data)


@pytest.mark.parametrize("kind", [LooksAtNothing, BelievesWhatIsThere])
def test_the_exam_finds_files_that_believe_everything(kind) -> None:
    @asynccontextmanager
    async def made() -> AsyncIterator[FileBlobs]:
        with TemporaryDirectory() as folder:
            yield await kind.open(Path(folder))

    with pytest.raises(AssertionError, match="notices_damage"):
        asyncio.run(check_blobs(made, damage=flip))


def test_the_exam_finds_what_does_not_survive() -> None:
    @asynccontextmanager
    async def empty(_: MemoryBlobs) -> AsyncIterator[MemoryBlobs]:
        yield MemoryBlobs()

    with pytest.raises(AssertionError, match="survives"):
        asyncio.run(check_blobs(opening(MemoryBlobs), reopened=empty))
