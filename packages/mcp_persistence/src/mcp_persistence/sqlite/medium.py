"""One opened SQLite file as a `Medium`: connections that write, read and sweep, each with its own thread."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from mcp_interface.errors import StorageCorrupt, StorageUnavailable, UmbrellaError
from mcp_interface.store import Record, Snapshot, StreamInfo
from mcp_persistence.decoding import decoded
from mcp_persistence.entry import Committed, Row
from mcp_persistence.group_commit import Work
from mcp_persistence.medium import Usage
from mcp_persistence.sqlite import reading, snapshots
from mcp_persistence.sqlite.connection import connect, in_one_view
from mcp_persistence.sqlite.highwater import HighWater
from mcp_persistence.sqlite.ledger import Ledger
from mcp_persistence.sqlite.opening import WHOLE_FILE, Opened, open_connections
from mcp_persistence.sqlite.recovery import Verification
from mcp_persistence.sqlite.tidying import Tidying
from mcp_persistence.upcast import EventCodec

T = TypeVar("T")


class SqliteMedium:
    """See `front.Medium`. Made by `open`, ended by `release`."""

    kind = "sqlite"

    def __init__(self, path: Path, opened: Opened, water: HighWater, codec: EventCodec) -> None:
        self.folder = path.parent
        self.found = opened.found
        self.head = opened.meta.head
        self._path = path
        self._codec = codec
        self._writer = opened.writer
        self._reader = opened.reader
        self._ledger = Ledger(opened.raw, water, codec)
        self._tidying = Tidying(opened.writer, opened.sweeper, self._index)
        self._refused = False

    @classmethod
    async def open(cls, path: Path, water: HighWater, codec: EventCodec) -> Self:
        """Open, examine and if need be begin the file; the lock stays with `water`.

        Raises:
            StorageUnavailable, StorageCorrupt: As `open_connections`.
        """
        opened = await open_connections(path, water, codec)
        medium = cls(path, opened, water, codec)
        begin = medium._ledger.rebuild if opened.repair else medium._ledger.begin
        try:
            await medium._writer.run(lambda _: begin(), WHOLE_FILE)
        except BaseException:
            await medium.release()
            raise
        return medium

    async def try_writing(self) -> None:
        """Make a commit that changes nothing durable, to see whether the disk takes one.

        Raises:
            StorageUnavailable: It does not.
        """
        await self._writer.run(lambda _: self._ledger.touch())

    async def commit(self, batch: Sequence[Work[Any, Any]]) -> Committed:
        """Do a batch and make it durable; see `Medium.commit`."""
        try:
            done = await self._writer.run(lambda _: self._ledger.commit(batch))
        except UmbrellaError:
            self._refused = True
            raise
        self._tidying.committed(sum(len(row.bodies) for row in done.rows))
        return done

    async def stream_page(self, stream: str, after: int, limit: int) -> list[Row]:
        """See `Medium.stream_page`."""
        return await self._look_behind(reading.stream_page, stream, after, limit)

    async def page(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """See `Medium.page`."""
        return await self._look_behind(_decoded_page, glob, after, limit, self._codec)

    async def streams(self, pattern: str, after: str, limit: int) -> list[StreamInfo]:
        """See `Medium.streams`."""
        return await self._look(reading.stream_names, self._codec, pattern, after, limit)

    async def stream_info(self, stream: str) -> StreamInfo:
        """See `Medium.stream_info`."""
        return await self._look_behind(reading.stream_info, stream, self._codec)

    async def save_snapshot(self, snapshot: Snapshot, body: bytes) -> int:
        """See `Medium.save_snapshot`."""
        self._check_writable()
        return await self._writer.run(
            lambda _: self._ledger.save_snapshot(snapshot.stream, snapshot.version, body)
        )

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """See `Medium.load_snapshot`."""
        return await self._look(snapshots.load, stream)

    async def load_snapshots(self, pattern: str, after: str, limit: int) -> list[Snapshot]:
        """See `Medium.load_snapshots`."""
        return await self._look(snapshots.load_many, pattern, after, limit)

    async def value(self, key: str) -> Any:
        """See `Medium.value`."""
        return await self._look(reading.value, key)

    async def key_names(self, pattern: str, after: str, limit: int) -> list[str]:
        """See `Medium.key_names`."""
        return await self._look(reading.key_names, pattern, after, limit)

    async def verify(self) -> int:
        """Follow the chain from the first event to the last, on a connection of its own."""
        worker = await connect(self._path, writable=False)
        verification = Verification()
        try:
            await worker.run(verification.begin)
            while await worker.run(verification.step):
                pass
            return await worker.run(verification.finish, WHOLE_FILE)
        finally:
            await worker.end()

    async def rebuild(self) -> None:
        """Make the table of streams and the indexes anew; see `Store.rebuild`."""
        self._check_writable()
        await self._writer.run(lambda _: self._ledger.rebuild(), WHOLE_FILE)
        await self.verify()

    async def usage(self) -> Usage:
        """See `Medium.usage`."""
        return await self._look(_usage, self._path)

    async def release(self) -> None:
        """End all threads; harmless when repeated."""
        await self._tidying.end()
        for worker in (self._reader, self._writer):
            await worker.end()

    async def _look(self, work: Callable[..., T], *args: Any) -> T:
        return await self._reader.run(in_one_view(work, *args))

    async def _look_behind(self, work: Callable[..., T], stream: str, *args: Any) -> T:
        """Look at one stream, of which the writer may know versions that are not indexed yet."""
        least = self._ledger.behind.get(stream, 0)
        try:
            return await self._look(work, stream, least, *args)
        except StorageCorrupt:
            # Or is it just that the stream has been removed since? The writer knows once it has come to this.
            with contextlib.suppress(StorageUnavailable):
                await self._writer.run(lambda _: None)
            if self._ledger.behind.get(stream, 0) == least:
                raise
        return await self._look(work, stream, self._ledger.behind.get(stream, 0), *args)

    def _index(self) -> None:
        if not self._refused:  # another medium may be at the file by now
            self._ledger.begin()

    def _check_writable(self) -> None:
        if self._refused:
            raise StorageUnavailable(
                "the journal is read-only since a failed commit", "it looks at the disk again by itself"
            )


def _decoded_page(
    db: sqlite3.Connection, glob: str, least: int, after: int, limit: int, codec: EventCodec
) -> tuple[list[Record], int]:
    rows, reached = reading.page(db, glob, least, after, limit)
    return [record for row in rows for record in decoded(row, codec)], reached


def _usage(db: sqlite3.Connection, path: Path) -> Usage:
    files = [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", ".head"))]
    return Usage(reading.count_streams(db), sum(file.stat().st_size for file in files if file.exists()))
