"""From a path to two connections that may be trusted, or to an error that says what to do.

The file is examined through a connection that cannot write before one is opened that can: SQLite tidies up
when the last writer closes, and would remove what is left of a damaged write-ahead log.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.errors import StorageUnavailable
from mcp_persistence import schema
from mcp_persistence.highwater import HighWater, Mark
from mcp_persistence.integrity import Meta
from mcp_persistence.recovery import check_blank, check_opened
from mcp_persistence.stores.connection import Worker, connect, in_one_view, translate

_WRITER: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -16384",
    "PRAGMA cell_size_check = ON",
)
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cell_size_check = ON")


class Opened(msgspec.Struct, frozen=True):
    """What `open_connections` gives."""

    writer: Worker
    reader: Worker
    raw: sqlite3.Connection
    """The connection inside the writer; to be used in its thread only."""
    water: HighWater
    meta: Meta


async def open_connections(path: Path) -> Opened:
    """Open, examine and if need be begin the journal at a path.

    Raises:
        StorageUnavailable: The folder is missing, or the disk refused.
        StorageCorrupt: The file is damaged, lacks what was acknowledged, or is not ours.
    """
    water = HighWater(path)
    try:
        _make_file(path)
        mark = water.load()
    except OSError as error:
        raise translate(error) from error
    reader = await connect(path, writable=False)
    try:
        version = await reader.run(lambda db: schema.examine(db, str(path)))
        if version == schema.VERSION:
            await reader.run(in_one_view(check_opened, mark))
        elif version == 0:
            check_blank(mark)
        writer = await connect(path, writable=True)
        try:
            raw, meta = await writer.run(lambda db: (db, _prepare(db, path, version, water, mark)))
            await reader.run(lambda db: _set(db, _READER))
        except BaseException:
            water.close()
            await writer.end()
            raise
    except BaseException:
        await reader.end()
        raise
    return Opened(writer, reader, raw, water, meta)


def _prepare(db: sqlite3.Connection, path: Path, version: int, water: HighWater, mark: Mark | None) -> Meta:
    path.chmod(0o600)  # the log and its index take the mode of the file
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnavailable(
            "this file system cannot hold a write-ahead log", "put the data directory on a local disk"
        )
    _set(db, _WRITER)
    schema.migrate(db, version)
    meta = check_opened(db, mark)
    water.start(meta)
    return meta


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
        return
    _sync_and_close(file)
    _sync_and_close(os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC))


def _sync_and_close(file: int) -> None:
    try:
        os.fsync(file)
    finally:
        os.close(file)
