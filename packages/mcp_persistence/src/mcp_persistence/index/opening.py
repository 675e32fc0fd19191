"""Opening a folder: the index as far as it goes, the log from there on, and the snapshots beside them.

The index tells the log how far it has been checked before, so that only what is newer is read; when the index is
missing, damaged, or of another journal, everything is read and the index is made anew. Nothing is written to the
segments before they have been judged sound: see `segment.opening`.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from mcp_interface.clock import Clock
from mcp_persistence.entry import NEVER
from mcp_persistence.index import snapshots, tables, writing
from mcp_persistence.index.files import INDEX, SNAPSHOTS, remove, touch
from mcp_persistence.index.ledger import Ledger
from mcp_persistence.index.state import Head, State
from mcp_persistence.index.tables import (
    NOTHING,
    IndexDamaged,
    Meta,
    check_row,
    check_sum,
    digest,
    mix,
    read_meta,
)
from mcp_persistence.segment.disk import Disk
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.sqlite.connection import Worker, connect, transaction

LONG: Final = 3600.0
"""Seconds for what reads everything."""
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    # what is lost with the power is read again from the segments
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cell_size_check = ON",
    "PRAGMA journal_size_limit = 16777216",
)

_ROWS: Final = 1000
"""Rows of the index that are read at a time."""

_MICROSECOND: Final = timedelta(microseconds=1)

_decode_head = msgspec.msgpack.Decoder(Head).decode


class Opened(msgspec.Struct, frozen=True):
    """A folder that is ready to be read and written."""

    ledger: Ledger
    writer: Worker
    reader: Worker
    recovered: int
    """Events that were read again."""
    found: str
    """One line for a person: what the opening found and did."""


class _Joined(msgspec.Struct, frozen=True):
    """The log, and an index that has come as far."""

    ledger: Ledger
    recovered: int
    note: str
    """Why the index was made anew, if it was."""


async def open_folder(
    folder: Path, clock: Clock, journal_id: bytes, segment_bytes: int | None, disk: Disk | None
) -> Opened:
    """Open log and index, and bring the index up to date. On failure everything is closed again.

    Args:
        folder: Which exists.
        clock: Stamps frames.
        journal_id: Of a journal that is begun; one that exists keeps its own.
        segment_bytes: As `SegmentLog.open`.
        disk: Likewise.

    Raises:
        StorageUnavailable: The disk refused.
        StorageCorrupt: The log is damaged, or lacks what was acknowledged; nothing was changed.
    """

    def join(db: sqlite3.Connection) -> _Joined:
        return _join(db, folder, clock, journal_id, segment_bytes, disk)

    try:
        return await _open(folder, join, "")
    except IndexDamaged as error:
        remove(folder / INDEX)
        return await _open(folder, join, error.message)


async def _open(folder: Path, join: Callable[[sqlite3.Connection], _Joined], damage: str) -> Opened:
    """Open what there is, the writer first."""
    async with AsyncExitStack() as opened:
        touch(folder / INDEX)
        touch(folder / SNAPSHOTS)
        writer = await connect(folder / INDEX, writable=True)
        opened.push_async_callback(writer.end)
        joined = await writer.run(join, LONG)
        ledger = joined.ledger
        opened.callback(ledger.log.close)
        await writer.run(lambda db: snapshots.attach_for_writing(db, folder, ledger.log))
        reader = await connect(folder / INDEX, writable=False)
        opened.push_async_callback(reader.end)
        await reader.run(lambda db: snapshots.attach(db, folder))
        opened.pop_all()
    found = _line(ledger, joined.recovered, damage or joined.note)
    return Opened(ledger, writer, reader, joined.recovered, found)


def _join(
    db: sqlite3.Connection,
    folder: Path,
    clock: Clock,
    journal_id: bytes,
    segment_bytes: int | None,
    disk: Disk | None,
) -> _Joined:
    """Open the log as far as the index knows it already, and read the rest."""
    with tables.suspicion():
        for setting in _SETTINGS:
            db.execute(setting)
        begun = db.execute("SELECT count(*) FROM main.sqlite_master").fetchone()[0]
        known = load(db) if begun else None
    since = None if known is None or not known[0].checkpoint.frame else known[0].checkpoint
    at = (clock.now() - NEVER) // _MICROSECOND
    segments = SegmentLog.open(
        folder, journal_id=journal_id, at=at, disk=disk, segment_bytes=segment_bytes, since=since
    )
    try:
        resumed = 0 if since is None else since.frame
        note = ""
        if known and known[0].journal == segments.journal_id and segments.found.resumed_from == resumed:
            meta, state = known
        else:
            note = "" if known is None else "the index was of another journal"
            with tables.suspicion(), transaction(db):
                tables.clear(db)
                meta, state = writing.blank(segments.journal_id), State()
                writing.write(db, meta, state, meta.checkpoint)
        ledger = Ledger(segments, state, meta, db, clock)
        return _Joined(ledger, ledger.catch_up(), note)
    except BaseException:
        segments.close()
        raise


def load(db: sqlite3.Connection) -> tuple[Meta, State]:
    """Read what must be in memory, and check that nothing is missing.

    Raises:
        IndexDamaged: The index is not as it was written.
    """
    meta = read_meta(db)
    heads: list[Head] = []
    for rows in _checked(db, "streams", "number, body", meta.streams):
        heads += [_decode_head(body) for _, body, _ in rows]
    for _ in _checked(db, "keys", "key, value", meta.keys):
        pass
    for _ in _checked(db, "decisions", "key, body", meta.decisions):
        pass
    return meta, State(meta.epoch, heads, meta.checkpoint.position)


def _checked(db: sqlite3.Connection, table: str, columns: str, expected: bytes) -> Iterator[list[Any]]:
    """All rows of a table, some at a time, each compared with its digest and all of them with their sum."""
    found = db.execute(f"SELECT {columns}, digest FROM {table} ORDER BY 1")  # noqa: S608
    total = NOTHING
    while rows := found.fetchmany(_ROWS):
        for name, content, stored in rows:
            if digest(name, content) != stored:  # asked again there, for the words
                check_row(f"{table} {str(name)[:60]!r}", stored, name, content)
        total = mix(total, *[stored for _, _, stored in rows])
        yield rows
    check_sum(table, total, expected)


def _line(ledger: Ledger, recovered: int, note: str) -> str:
    """One line for a person: what the opening found and did."""
    found = ledger.log.found
    streams = sum(1 for head in ledger.state.numbers if head.version)
    parts = [f"{ledger.log.head:,} events in {streams:,} stream{'' if streams == 1 else 's'}"]
    if recovered:
        parts.append(f"the last {recovered:,} were read back from the log")
    if found.torn_bytes:
        parts.append(
            f"cut off an unfinished write of {found.torn_bytes:,} bytes behind position {ledger.log.head:,}"
        )
    if note:
        parts.append(f"made the index anew ({note})")
    return "; ".join(parts)
