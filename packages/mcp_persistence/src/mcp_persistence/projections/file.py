"""The file of one projection: its rows and, in the same transaction, how far they have come.

`progress` holds the position of the last event taken in. `followed` holds, for each stream, its last event: the
version makes a lost or doubled event visible, and the newest of the fingerprints tells this journal from
another one. The file is never the truth. It is written without a sync of its own (synchronous = NORMAL): what
is lost with the power is followed again, because rows and position are lost together.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from mcp_interface.codec import encode_disk
from mcp_interface.errors import CallerMistaken, OurBug, StorageCorrupt, UmbrellaError
from mcp_interface.store import PAGE, Record
from mcp_persistence.projections.projection import Projection
from mcp_persistence.sqlite.connection import Worker, connect, in_one_view, transaction, translate

T = TypeVar("T")
APPLICATION_ID: Final = 0x756D6270
"""Says in the file's header that it is a projection of ours."""
FORMAT: Final = 1
"""Changes whenever `progress` or `followed` do."""
ANEW: Final = "it is made anew from the journal"
_LONG: Final = 3600.0
"""Seconds for what touches every row."""
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cell_size_check = ON",
    # what was deleted from the journal must not linger in free pages
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 16777216",
)
_TABLES: Final = (
    "CREATE TABLE progress (id INTEGER PRIMARY KEY, made_by TEXT NOT NULL, position INTEGER NOT NULL)",
    """CREATE TABLE followed (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, position INTEGER NOT NULL,
       fingerprint BLOB NOT NULL) WITHOUT ROWID""",
)


class ProjectionFile:
    """An opened file; made by `open`, ended by `close`.

    Attributes:
        position: Of the last event that was taken in; zero for none.
    """

    def __init__(self, path: Path, projection: Projection, writer: Worker, reader: Worker) -> None:
        self.path = path
        self.position = 0
        self._projection = projection
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path, projection: Projection) -> Self:
        """Open a file, or begin one.

        Raises:
            StorageCorrupt: It is damaged, or was made by another version: remove it and begin anew.
            StorageUnavailable: The disk refused.
            CallerMistaken: It is a file of somebody else.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise translate(error) from error
        writer = await connect(path, writable=True)
        try:
            position = await writer.run(lambda db: _begin(db, path, projection))
            file = cls(path, projection, writer, await connect(path, writable=False))
        except BaseException:
            await writer.end()
            raise
        file.position = position
        return file

    async def write(self, records: Sequence[Record]) -> None:
        """Take in what follows the present position, all or none.

        Raises:
            StorageCorrupt: The file is damaged, or lacks an event, or somebody else has written to it.
            StorageUnavailable: The disk refused.
            OurBug: The projection failed.
        """
        before = self.position
        await self._writer.run(lambda db: _take_in(db, self._projection, before, records), _LONG)
        self.position = records[-1].position

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading function over one consistent state, beside the writer."""
        return await self._reader.run(in_one_view(work))

    async def newest(self) -> tuple[int, bytes] | None:
        """Position and fingerprint of the newest event that was taken in and not forgotten."""
        query = "SELECT position, fingerprint FROM followed ORDER BY position DESC LIMIT 1"
        found: tuple[int, bytes] | None = await self._writer.run(lambda db: db.execute(query).fetchone())
        return found

    async def streams(self, after: str) -> list[str]:
        """A page of the streams from which something was taken in, by name."""
        query = "SELECT stream FROM followed WHERE stream > ? ORDER BY stream LIMIT ?"
        rows = await self._writer.run(lambda db: db.execute(query, (after, PAGE)).fetchall())
        return [row[0] for row in rows]

    async def forget(self, streams: Sequence[str]) -> None:
        """Remove whatever came from these streams, from the write-ahead log too."""

        def work(db: sqlite3.Connection) -> None:
            with transaction(db):
                _forget(db, self._projection, streams)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._writer.run(work, _LONG)

    async def close(self) -> None:
        """Finish what is queued and release the file; harmless when repeated."""
        await self._reader.end()
        await self._writer.end()

    @staticmethod
    def remove(path: Path) -> None:
        """Delete a file and what SQLite keeps beside it."""
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def fingerprint(record: Record) -> bytes:
    """Fingerprint of an event at its place; 16 bytes."""
    content: Any = (record.position, record.stream, record.version, record.epoch, record.event)
    return sha256(encode_disk(content)).digest()[:16]


def _begin(db: sqlite3.Connection, path: Path, projection: Projection) -> int:
    """Find the position in a file of ours, or make the tables in an empty one."""
    made_by = f"{FORMAT} {projection.name} {projection.version}"
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    blank = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not (blank and owner == 0):
        raise CallerMistaken(
            f"{path} is not a projection of Umbrella", "give another folder; the file was left as it is"
        )
    for setting in _SETTINGS:
        db.execute(setting)
    if blank:
        with transaction(db):
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for table in _TABLES:
                db.execute(table)
            projection.prepare(db)
            db.execute("INSERT INTO progress VALUES (1, ?, 0)", (made_by,))
        return 0
    row = db.execute("SELECT made_by, position FROM progress").fetchone()
    if row is None or not isinstance(row[1], int):
        raise StorageCorrupt("the projection does not know how far it has come", ANEW)
    if row[0] != made_by:
        raise StorageCorrupt(f"the projection was made by version {row[0]!r}, this is {made_by!r}", ANEW)
    return row[1]


def _take_in(db: sqlite3.Connection, projection: Projection, before: int, records: Sequence[Record]) -> None:
    versions: dict[str, int] = {}
    last: dict[str, Record] = {}
    part: list[Record] = []
    with transaction(db):
        present = db.execute("SELECT position FROM progress").fetchone()
        if present != (before,):
            raise StorageCorrupt(f"the projection is at {present}, not {before}", ANEW)
        for record in records:
            stream = record.stream
            known = versions.get(stream)
            if known is None:
                row = db.execute("SELECT version FROM followed WHERE stream = ?", (stream,)).fetchone()
                known = 0 if row is None else row[0]
            if record.version == 1 and known:  # deleted, and begun anew under the same name
                if part:
                    _apply(db, projection, part)
                    part = []
                _forget(db, projection, [stream])
            elif record.version != known + 1:
                raise StorageCorrupt(
                    f"the projection knows {stream!r} up to {known}, {record.version} came next", ANEW
                )
            versions[stream] = record.version
            last[stream] = record
            part.append(record)
        _apply(db, projection, part)
        db.executemany(
            "INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?)",
            [(each.stream, each.version, each.position, fingerprint(each)) for each in last.values()],
        )
        db.execute("UPDATE progress SET position = ?", (records[-1].position,))


def _apply(db: sqlite3.Connection, projection: Projection, records: Sequence[Record]) -> None:
    try:
        projection.apply(db, records)
    except (sqlite3.Error, OSError, UmbrellaError):
        raise
    except Exception as error:
        raise OurBug(
            f"the projection {projection.name!r} failed between positions {records[0].position} and "
            f"{records[-1].position}: {error!r}",
            "mend it, then rebuild it",
        ) from error


def _forget(db: sqlite3.Connection, projection: Projection, streams: Sequence[str]) -> None:
    projection.forget(db, streams)
    db.executemany("DELETE FROM followed WHERE stream = ?", [(stream,) for stream in streams])
