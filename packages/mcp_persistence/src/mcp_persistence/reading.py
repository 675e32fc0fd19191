"""Reading with suspicion: what is returned was written, and what was written is not left out.

Each function runs in a reader's thread over one consistent view. A row's digest shows that it is whole;
that no row is missing is seen from the versions, which have no gaps within a stream, and from the positions,
whose gaps are all listed in the table of what was erased.
"""

import sqlite3
from typing import Any

from mcp_interface.codec import decode_json
from mcp_interface.errors import NotFound, StorageCorrupt
from mcp_interface.store import PAGE, Record, StreamInfo
from mcp_persistence.integrity import digest
from mcp_persistence.rows import (
    EVENT_COLUMNS,
    RESTORE,
    STREAM_COLUMNS,
    check_event,
    check_run,
    find_head,
    head_of,
    record,
)
from mcp_persistence.schema import read_meta


def stream_page(db: sqlite3.Connection, stream: str, after: int, limit: int) -> list[Record]:
    """Records of one stream with version > `after`."""
    head = find_head(db, stream)
    count = 0 if head is None else min(limit, head.version - after)
    if count <= 0:
        return []
    rows = db.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?",  # noqa: S608
        (stream, after, count),
    ).fetchall()
    records = [record(row) for row in rows]
    check_run((each.version for each in records), after + 1, count, stream)
    return records


def stream_tail(db: sqlite3.Connection, stream: str, position: int, limit: int) -> list[Record]:
    """Records of one stream with a position > `position`."""
    row = db.execute(
        "SELECT max(version) FROM events WHERE stream = ? AND position <= ?", (stream, position)
    ).fetchone()
    before = row[0] or 0
    if not isinstance(before, int):
        raise StorageCorrupt(f"a version of stream {stream!r} is not a number", RESTORE)
    records = stream_page(db, stream, before, limit)
    if records and records[0].position <= position:
        raise StorageCorrupt(f"stream {stream!r} is out of order at version {records[0].version}", RESTORE)
    return records


def scan(db: sqlite3.Connection, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
    """Look at the next page of all events and pick those whose stream matches.

    Every row is checked, not only those that match: a damaged name must not hide an event.

    Args:
        db: The reading connection.
        after: Position to begin behind.
        limit: Most records to return.
        glob: As `names` reads it.

    Returns:
        The records, and the position up to which the search came; the head when there is no more.
    """
    head = read_meta(db).head
    rows = db.execute(
        f"SELECT {EVENT_COLUMNS}, matches(stream, ?) FROM events WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608
        (glob, after, PAGE),
    ).fetchall()
    reached = rows[-1][0] if len(rows) == PAGE else max(head, after)
    _check_gaps(db, after, reached, len(rows))
    found: list[Record] = []
    for row in rows:
        if not row[-1]:
            check_event(row[:-1])
            continue
        found.append(record(row[:-1]))
        if len(found) == limit:
            return found, found[-1].position
    return found, reached


def head(db: sqlite3.Connection) -> int:
    """Position of the last event ever written."""
    return read_meta(db).head


def stream_names(db: sqlite3.Connection, pattern: str, after: str, limit: int) -> list[StreamInfo]:
    """Streams that match a glob, by name."""
    rows = db.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams WHERE matches(stream, ?) AND stream > ? ORDER BY stream LIMIT ?",  # noqa: S608
        (pattern, after, limit),
    ).fetchall()
    return [head_of(row).info() for row in rows]


def stream_info(db: sqlite3.Connection, stream: str) -> StreamInfo:
    """What is known of one stream."""
    found = find_head(db, stream)
    if found is None:
        raise NotFound(f"no stream {stream!r}")
    return found.info()


def key_names(db: sqlite3.Connection, pattern: str, after: str, limit: int) -> list[str]:
    """Keys that match a glob, sorted."""
    rows = db.execute(
        "SELECT key, value, digest FROM keys WHERE matches(key, ?) AND key > ? ORDER BY key LIMIT ?",
        (pattern, after, limit),
    ).fetchall()
    for row in rows:
        check_value(*row)
    return [row[0] for row in rows]


def value(db: sqlite3.Connection, key: str) -> Any:
    """The value of a key."""
    row = db.execute("SELECT key, value, digest FROM keys WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise NotFound(f"no key {key!r}")
    check_value(*row)
    return decode_json(row[1], Any)


def check_value(key: str, content: bytes, expected: bytes) -> None:
    """Compare a value with its digest.

    Raises:
        StorageCorrupt: They differ; names the key.
    """
    if digest(key, content) != expected:
        raise StorageCorrupt(f"the value of key {str(key)[:200]!r} is not what was written", RESTORE)


def _check_gaps(db: sqlite3.Connection, after: int, reached: int, found: int) -> None:
    erased = db.execute(
        "SELECT count(*) FROM erased WHERE position > ? AND position <= ?", (after, reached)
    ).fetchone()[0]
    if found + erased != reached - after:
        raise StorageCorrupt(
            f"of positions {after + 1} to {reached}, {found} are there and {erased} were erased", RESTORE
        )
