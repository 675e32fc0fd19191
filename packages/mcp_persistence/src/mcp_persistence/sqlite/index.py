"""What is derived from the events so that a stream is found quickly: its head, and the places of its events.

Both lag behind. An entry for each event at once would dirty one page for every stream written to, in every
commit, and cost more than the events themselves. So the writer catches up with thousands of events at a time,
sorted, and `Meta.indexed` says how far the tables have come. What lies behind that is looked through.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Final, Literal

import msgspec

from mcp_interface.errors import InvalidRecord, StorageCorrupt
from mcp_persistence.entry import Row
from mcp_persistence.sqlite.integrity import ZERO, Meta, toggle
from mcp_persistence.sqlite.rows import (
    EVENT_COLUMNS,
    RESTORE,
    STREAM_COLUMNS,
    Head,
    find_head,
    head_of,
    row_of,
)
from mcp_persistence.upcast import EventCodec

PLACED: Final = ", ".join(f"events.{column}" for column in EVENT_COLUMNS.split(", "))
LAG: Final = 16384
"""Events by which the tables may lag behind."""


def catch_up(
    db: sqlite3.Connection, meta: Meta, codec: EventCodec, streams: Collection[str] | None = None
) -> Meta:
    """Bring heads and places up to the last event, within the open transaction; gives the new summary.

    Args:
        db: The writing connection.
        meta: The summary.
        codec: Reads the times of events.
        streams: Those that have events which are not indexed; None when that is not known.

    Raises:
        StorageCorrupt: The events are not as they were written; the caller rolls back.
    """
    if meta.indexed == meta.head:
        return meta
    if streams is None:
        found = db.execute("SELECT DISTINCT stream FROM events WHERE position > ?", (meta.indexed,))
        streams = [row[0] for row in found.fetchall()]
    added = db.execute(
        """INSERT INTO places SELECT stream, version, position FROM events WHERE position > ?
           ORDER BY stream, version""",
        (meta.indexed,),
    ).rowcount
    changed: list[bytes] = []
    fresh = []
    for stream in sorted(streams):
        before = find_head(db, stream)
        head = _grown(before, _placed(db, stream, "DESC"), codec, lambda: _placed(db, stream, "ASC"))  # noqa: B023
        added -= head.version
        if before is not None:
            added += before.version
            changed.append(before.digest)
        content = head.digest
        changed.append(content)
        fresh.append((*msgspec.structs.astuple(head), content))
    if added != 0:
        raise StorageCorrupt(
            f"an event behind position {meta.indexed} is missing or not what was written", RESTORE
        )
    db.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?)", fresh)
    return msgspec.structs.replace(meta, streams=toggle(meta.streams, *changed), indexed=meta.head)


def rebuild(db: sqlite3.Connection, meta: Meta, codec: EventCodec) -> Meta:
    """Throw heads and places away and make them anew from the events, as `catch_up`."""
    db.execute("DELETE FROM streams")
    db.execute("DELETE FROM places")
    meta = catch_up(db, msgspec.structs.replace(meta, streams=ZERO, indexed=0), codec)
    saved = db.execute(
        "SELECT stream, max(version) FROM snapshots WHERE typeof(version) = 'integer' GROUP BY stream"
    ).fetchall()
    for stream, version in saved:
        head = find_head(db, stream)
        if head is not None and version <= head.version:
            meta = put_head(db, meta, head, msgspec.structs.replace(head, snapshot=version))
    return meta


def put_head(db: sqlite3.Connection, meta: Meta, before: Head, head: Head) -> Meta:
    """Replace the head of a stream; gives the new summary."""
    row = (*msgspec.structs.astuple(head), head.digest)
    db.execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?)", row)
    return msgspec.structs.replace(meta, streams=toggle(meta.streams, before.digest, head.digest))


def heads_behind(
    db: sqlite3.Connection, meta: Meta, codec: EventCodec, only: str | None = None
) -> Iterator[tuple[Head | None, Head]]:
    """Heads of the streams that have events behind `Meta.indexed`: as the table has them, and as they are.

    Raises:
        StorageCorrupt: A version is missing, or an event is not what was written.
    """
    which, parameters = ("", (meta.indexed,)) if only is None else ("AND stream = ?", (meta.indexed, only))
    behind = f"FROM events WHERE position > ? {which}"
    known = db.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams WHERE stream IN (SELECT stream {behind})",  # noqa: S608
        parameters,
    )
    before = {row[0]: head_of(row) for row in known}
    ends = db.execute(
        f"""SELECT {EVENT_COLUMNS}, first, number FROM events JOIN (SELECT max(position) AS position,
            min(position) AS first, count(*) AS number {behind} GROUP BY stream) USING (position)""",  # noqa: S608
        parameters,
    )
    for *found, first, number in ends.fetchall():
        last = row_of(tuple(found))
        head = before.get(last.stream)
        if last.version != number + (0 if head is None else head.version):
            raise StorageCorrupt(
                f"a version of stream {last.stream!r} up to {last.version} is missing",
                RESTORE,
                {"stream": last.stream, "version": last.version},
            )
        yield head, _grown(head, last, codec, lambda: _row_at(db, first))  # noqa: B023


def _grown(before: Head | None, last: Row, codec: EventCodec, first: Callable[[], Row]) -> Head:
    updated = _time(last, codec)
    if before is None:
        return Head(last.stream, last.version, _time(first(), codec), updated)
    return msgspec.structs.replace(before, version=last.version, updated_at=updated)


def _placed(db: sqlite3.Connection, stream: str, order: Literal["ASC", "DESC"]) -> Row:
    found = db.execute(
        f"""SELECT {PLACED} FROM places JOIN events USING (position) WHERE places.stream = ?
            ORDER BY places.version {order} LIMIT 1""",  # noqa: S608
        (stream,),
    ).fetchone()
    if found is None:
        raise StorageCorrupt(f"no event of stream {stream!r} is left", RESTORE)
    return row_of(found)


def _row_at(db: sqlite3.Connection, position: int) -> Row:
    found = db.execute(f"SELECT {EVENT_COLUMNS} FROM events WHERE position = ?", (position,))  # noqa: S608
    return row_of(found.fetchone())


def _time(row: Row, codec: EventCodec) -> str:
    try:
        at: datetime = codec.decode(row.bodies[0]).timestamp
    except InvalidRecord as error:
        raise StorageCorrupt(
            f"the event at position {row.position} cannot be read: {error.message}", error.remedy
        ) from error
    return at.isoformat()
