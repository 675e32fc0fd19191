"""From a path to two connections that may be trusted, or to an error that says what to do.

The file is examined through a connection that cannot write before one is opened that can: SQLite tidies up
when the last writer closes, and would remove what is left of a damaged write-ahead log.
"""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.errors import StorageUnavailable
from mcp_persistence.sqlite import schema
from mcp_persistence.sqlite.connection import Worker, connect, in_one_view, translate
from mcp_persistence.sqlite.highwater import HighWater, Mark
from mcp_persistence.sqlite.integrity import Meta
from mcp_persistence.sqlite.recovery import check_blank, check_opened, describe, heads_fit
from mcp_persistence.upcast import EventCodec

T = TypeVar("T")
WHOLE_FILE: Final = 3600.0
"""Seconds for what may read or write a whole file."""
_WRITER: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 32000",  # usually `tidying` comes before
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -16384",
    "PRAGMA cell_size_check = ON",
)
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cell_size_check = ON")


class Opened(msgspec.Struct, frozen=True):
    """What `open_connections` gives."""

    writer: Worker
    reader: Worker
    sweeper: Worker
    """One more that may write."""
    raw: sqlite3.Connection
    """The connection inside the writer; to be used in its thread only."""
    meta: Meta
    found: str
    """One line: what was found and done."""
    repair: bool
    """What is derived from the events is damaged and must be made anew before anything is read."""


async def open_connections(path: Path, water: HighWater, codec: EventCodec) -> Opened:
    """Open, examine and if need be begin the journal at a path.

    The lock is taken and stays with `water`, also when this fails.

    Raises:
        StorageUnavailable: The folder is missing, the disk refused, or another store has the journal open.
        StorageCorrupt: The file is damaged, lacks what was acknowledged, or is not ours.
    """
    _translated(_make_file, path)
    if path.with_name(path.name + "-journal").exists():
        await _roll_back(path)
    reader = await connect(path, writable=False)
    try:
        version = await reader.run(lambda db: schema.examine(db, str(path)))
        _translated(water.lock)
        mark = _translated(water.load)
        if version == 0:
            check_blank(mark)
        else:
            await reader.run(in_one_view(check_opened, mark, version))
        writer = await connect(path, writable=True)
        try:
            await writer.run(lambda db: _make_ready(db, path))
            raw, meta, found, repair = await writer.run(
                lambda db: (db, *_prepare(db, version, water, mark, codec)), WHOLE_FILE
            )
            await reader.run(lambda db: _set(db, _READER))
            sweeper = await connect(path, writable=True)
        except BaseException:
            await writer.end()
            raise
    except BaseException:
        await reader.end()
        raise
    return Opened(writer, reader, sweeper, raw, meta, found, repair)


async def _roll_back(path: Path) -> None:
    """Finish what a crash interrupted while the file was being begun, before it had a write-ahead log.

    A connection that cannot write cannot do it, and would call the file unreadable.
    """
    writer = await connect(path, writable=True)
    try:
        await writer.run(lambda db: db.execute("PRAGMA schema_version").fetchone())
    finally:
        await writer.end()


def _make_ready(db: sqlite3.Connection, path: Path) -> None:
    path.chmod(0o600)  # the log and its index take the mode of the file
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnavailable(
            "this file system cannot hold a write-ahead log", "put the data directory on a local disk"
        )
    _set(db, _WRITER)


def _prepare(
    db: sqlite3.Connection, version: int, water: HighWater, mark: Mark | None, codec: EventCodec
) -> tuple[Meta, str, bool]:
    schema.migrate(db, version)
    meta = check_opened(db, mark, schema.VERSION)
    repair = not heads_fit(db, meta)
    found = describe(db, meta, mark, version)
    if repair:
        found += ", its table of streams was damaged and has been made anew"
    water.start(meta)
    return meta, found, repair


def _translated(work: Callable[..., T], *args: Any) -> T:
    try:
        return work(*args)
    except OSError as error:
        raise translate(error) from error


def _set(db: sqlite3.Connection, pragmas: tuple[str, ...]) -> None:
    for pragma in pragmas:
        db.execute(pragma)


def _make_file(path: Path) -> None:
    """Create the file if there is none, for nobody else's eyes, and make its name durable.

    One that exists is not opened here: closing any descriptor of a file drops all locks that this process
    holds on it, also those of a store that is open already.
    """
    if not path.parent.is_dir():
        raise StorageUnavailable(f"there is no folder {path.parent}", "make it first")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not path.is_file():
            raise StorageUnavailable(f"{path} is not a regular file", "give another path") from None
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:  # SQLite would only say that it cannot open it
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path)) from None
        return
    _sync_and_close(file)
    _sync_and_close(os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC))


def _sync_and_close(file: int) -> None:
    try:
        os.fsync(file)
    finally:
        os.close(file)
