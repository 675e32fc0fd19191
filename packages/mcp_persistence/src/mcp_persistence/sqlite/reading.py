"""Reading with suspicion: what is returned was written, and what was written is not left out.

Each function runs in a reader's thread over one consistent view. A row's digest shows that it is whole;
that no row is missing is seen from the versions, which have no gaps within a stream, and from the positions,
whose gaps are all listed in the table of what was erased.
"""

import sqlite3
from typing import Any

from mcp_interface.codec import decode_json
from mcp_interface.errors import NotFound, StorageCorrupt
from mcp_interface.store import PAGE, StreamInfo
from mcp_persistence.entry import Row
from mcp_persistence.names import is_exact, matches, span
from mcp_persistence.sqlite.index import PLACED, heads_behind
from mcp_persistence.sqlite.integrity import Meta, digest
from mcp_persistence.sqlite.rows import (
    EVENT_COLUMNS,
    RESTORE,
    STREAM_COLUMNS,
    check_event,
    check_run,
    find_head,
    head_of,
    row_of,
)
from mcp_persistence.sqlite.schema import read_meta
from mcp_persistence.upcast import EventCodec


def stream_page(db: sqlite3.Connection, stream: str, least: int, after: int, limit: int) -> list[Row]:
    """Rows of one stream with version > `after`.

    Args:
        db: The reading connection.
        stream: Which one.
        least: Version that is known to be durable and may not be indexed yet; zero when all is.
        after: Version to begin behind.
        limit: Most rows.
    """
    head = find_head(db, stream)
    indexed = 0 if head is None else head.version
    rows: list[Row] = []
    if (count := min(limit, indexed - after)) > 0:
        found = db.execute(
            f"""SELECT {PLACED} FROM places JOIN events USING (position)
                WHERE places.stream = ? AND places.version > ? ORDER BY places.version LIMIT ?""",  # noqa: S608
            (stream, after, count),
        )
        rows = [row_of(each) for each in found.fetchall()]
        check_run((each.version for each in rows), after + 1, count, stream)
    after = max(after, indexed)
    if (count := min(limit - len(rows), least - after)) > 0:
        found = db.execute(
            f"""SELECT {EVENT_COLUMNS} FROM events WHERE position > ? AND stream = ? AND version > ?
                ORDER BY position LIMIT ?""",  # noqa: S608
            (read_meta(db).indexed, stream, after, limit - len(rows)),
        )
        tail = [row_of(each) for each in found.fetchall()]
        check_run((each.version for each in tail), after + 1, max(count, len(tail)), stream)
        rows += tail
    if any(row.stream != stream for row in rows):
        raise StorageCorrupt(f"a place of stream {stream!r} is not what was written", RESTORE)
    return rows


def page(db: sqlite3.Connection, glob: str, least: int, after: int, limit: int) -> tuple[list[Row], int]:
    """Rows of matching streams with position > `after`; see `Medium.page`, and for `least` `stream_page`."""
    meta = read_meta(db)
    if is_exact(glob) and after < meta.indexed:
        return _stream_tail(db, meta, glob, least, after, limit)
    return _scan(db, meta, after, limit, glob)


def _stream_tail(
    db: sqlite3.Connection, meta: Meta, stream: str, least: int, position: int, limit: int
) -> tuple[list[Row], int]:
    """Look one stream up, instead of looking at all events."""
    row = db.execute(
        "SELECT version FROM places WHERE stream = ? AND position <= ? ORDER BY version DESC LIMIT 1",
        (stream, position),
    ).fetchone()
    before = 0 if row is None else row[0]
    if not isinstance(before, int):
        raise StorageCorrupt(f"a version of stream {stream!r} is not a number", RESTORE)
    rows = stream_page(db, stream, least, before, limit)
    if rows and rows[0].position <= position:
        raise StorageCorrupt(f"stream {stream!r} is out of order at version {rows[0].version}", RESTORE)
    return rows, rows[-1].position if len(rows) == limit else meta.head


def _scan(db: sqlite3.Connection, meta: Meta, after: int, limit: int, glob: str) -> tuple[list[Row], int]:
    """Look at the next page of all events and pick those whose stream matches.

    Every row is checked, not only those that match: a damaged name must not hide an event.
    """
    rows = db.execute(
        f"SELECT {EVENT_COLUMNS}, matches(stream, ?) FROM events WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608
        (glob, after, PAGE),
    ).fetchall()
    reached = rows[-1][0] if len(rows) == PAGE else max(meta.head, after)
    _check_gaps(db, after, reached, len(rows))
    found: list[Row] = []
    for row in rows:
        if not row[-1]:
            check_event(row[:-1])
            continue
        found.append(row_of(row[:-1]))
        if len(found) == limit:
            return found, found[-1].position
    return found, reached


def stream_names(
    db: sqlite3.Connection, codec: EventCodec, pattern: str, after: str, limit: int
) -> list[StreamInfo]:
    """Streams that match a glob, by name."""
    rows = db.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams WHERE matches(stream, ?) AND stream > ? ORDER BY stream LIMIT ?",  # noqa: S608
        (pattern, after, limit),
    ).fetchall()
    heads = {row[0]: head_of(row) for row in rows}
    for _, head in heads_behind(db, read_meta(db), codec):
        if head.stream > after and matches(head.stream, pattern):
            heads[head.stream] = head
    return [heads[stream].info() for stream in sorted(heads)[:limit]]


def stream_info(db: sqlite3.Connection, stream: str, least: int, codec: EventCodec) -> StreamInfo:
    """What is known of one stream; for `least` see `stream_page`."""
    found = find_head(db, stream)
    if least > (0 if found is None else found.version):
        behind = heads_behind(db, read_meta(db), codec, stream)
        found = next((head for _, head in behind if head.version >= least), None)
        if found is None:
            raise StorageCorrupt(
                f"version {least} of stream {stream!r} is missing",
                RESTORE,
                {"stream": stream, "version": least},
            )
    if found is None:
        raise NotFound(f"no stream {stream!r}")
    return found.info()


def count_streams(db: sqlite3.Connection) -> int:
    """How many streams there are."""
    row = db.execute(
        """SELECT count(*) FROM (SELECT stream FROM streams
           UNION SELECT stream FROM events WHERE position > ?)""",
        (read_meta(db).indexed,),
    ).fetchone()
    return int(row[0])


def key_names(db: sqlite3.Connection, pattern: str, after: str, limit: int) -> list[str]:
    """Keys that match a glob, sorted."""
    rows = db.execute(
        """SELECT key, value, digest FROM keys WHERE matches(key, ?) AND key > ? AND key >= ? AND key < ?
           ORDER BY key LIMIT ?""",
        (pattern, after, *span(pattern), limit),
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


def check_value(key: str, content: bytes, expected: bytes) -> bytes:
    """Compare a value with its digest, and give that.

    Raises:
        StorageCorrupt: They differ; names the key.
    """
    if digest(key, content) != expected:
        raise StorageCorrupt(f"the value of key {str(key)[:200]!r} is not what was written", RESTORE)
    return expected


def _check_gaps(db: sqlite3.Connection, after: int, reached: int, found: int) -> None:
    erased = db.execute(
        "SELECT count(*) FROM erased WHERE position > ? AND position <= ?", (after, reached)
    ).fetchone()[0]
    if found + erased != reached - after:
        raise StorageCorrupt(
            f"of positions {after + 1} to {reached}, {found} are there and {erased} were erased", RESTORE
        )
