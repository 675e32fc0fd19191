"""Reading with suspicion: from the index to the places of a stream, from there to events that were written.

Each function runs in a reader's thread over one consistent view of the index. What has changed since the
last checkpoint is looked up in memory first. The order matters: what the state promises is read before its
changes are taken, and those before the first look at the index begins the view, so that between changes and
view nothing promised can be missing.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import msgspec

from mcp_interface.codec import decode_json
from mcp_interface.errors import NotFound
from mcp_interface.store import Record
from mcp_persistence.decoding import decoded
from mcp_persistence.entry import Row
from mcp_persistence.index.frames import Frames
from mcp_persistence.index.state import Changes, Head, Made, Spot, State
from mcp_persistence.index.tables import REBUILD, IndexDamaged, check_row
from mcp_persistence.names import matches, span
from mcp_persistence.segment.body import BundledItem, unpack_bundled

STRETCH_BYTES: Final = 4 << 20
"""Bytes of frames beyond which no more are read at once."""

_spots = msgspec.msgpack.Decoder(list[Spot]).decode
_made = msgspec.msgpack.Decoder(Made).decode


def stream_page(
    db: sqlite3.Connection,
    frames: Frames,
    state: State,
    stream: str,
    after: int,
    limit: int,
) -> list[Row]:
    """Rows that hold versions > `after` of a stream, enough for `limit` events."""
    head = state.heads.get(stream)
    if head is None or head.version <= after:
        return []
    erased = head.erased
    wanted = min(limit, head.version - after)
    spots = _places(db, head.number, state.changes, stream, "version", after + 1)
    rows: list[Row] = []
    reached = after
    for row in _rows_at(frames, head, spots):
        last = row.version + len(row.bodies) - 1
        if last <= reached:
            continue
        if row.version > reached + 1:
            break
        rows.append(row)
        reached = last
        if reached - after >= wanted:
            break
    if head.erased != erased:
        return []  # it was removed meanwhile: for a moment there was nothing
    if reached - after >= wanted:
        return rows
    raise IndexDamaged(f"version {reached + 1} of {stream!r} is not where the index says", REBUILD)


def stream_tail(
    db: sqlite3.Connection,
    frames: Frames,
    state: State,
    stream: str,
    position: int,
    limit: int,
) -> tuple[list[Record], int]:
    """Records of one stream with positions > `position`, and how far the search came."""
    end = state.position  # not of the log: that may be a frame ahead of what can be looked up
    head = state.heads.get(stream)
    if head is None or not head.version:
        return [], end
    erased, promised = head.erased, head.version
    found: list[Record] = []
    reached = 0
    spots = _places(db, head.number, state.changes, stream, "position", position + 1)
    for row in _rows_at(frames, head, spots):
        if row.version > reached + 1 and (reached or row.position > position + 1):
            break  # what lies between is hidden
        reached = max(reached, row.version + len(row.bodies) - 1)
        if row.position + len(row.bodies) - 1 > position:
            found += [record for record in decoded(row, frames.codec) if record.position > position]
        if len(found) >= limit:
            return found, found[-1].position
    if head.erased != erased:
        return [], max(end, position)  # it was removed meanwhile, and began anew behind the end at most
    if reached < promised:
        raise IndexDamaged(f"version {reached + 1} of {stream!r} is not where the index says", REBUILD)
    # what has come since may be among it: whoever goes on must not get that again
    return found, max(end, found[-1].position if found else position)


class Part(msgspec.Struct, frozen=True, gc=False):
    """A frame, taken apart but for its events."""

    first: int
    """Position of its first event."""
    epoch: int
    items: list[BundledItem]


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Frames that follow one another."""

    frames: list[Part]
    reached: int
    """Position up to which they go."""


def stretch(db: sqlite3.Connection, frames: Frames, state: State, after: int, limit: int) -> Stretch:
    """Frames that hold the positions > `after`, enough for `limit` events or `STRETCH_BYTES`."""
    found: list[Part] = []
    log = frames.log
    end = state.position  # of a frame behind it the state may not know the streams yet
    place = log.locate(after + 1)
    reached = after
    size = 0
    while place is not None and reached < after + limit and size < STRETCH_BYTES:
        frame = log.read(place)
        if frame.first > end:
            break
        found.append(Part(frame.first, frame.epoch, unpack_bundled(frame.body, frame.first)))
        reached = max(reached, frame.last)
        size += place.length
        place = log.following(place)
    return Stretch(found, reached)


def value(db: sqlite3.Connection, changes: Changes, key: str) -> bytes | None:
    """The bytes of a key; None when it is not set."""
    if key in changes.keys:
        return changes.keys[key]
    row = db.execute("SELECT value, digest FROM keys WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    check_row(f"key {key[:60]!r}", row[1], key, row[0])
    content: bytes = row[0]
    return content


def key_value(db: sqlite3.Connection, frames: Frames, state: State, key: str) -> Any:
    """The value of a key."""
    content = value(db, state.changes, key)
    if content is None:
        raise NotFound(f"no key {key!r}")
    return decode_json(content, Any)


def key_names(
    db: sqlite3.Connection, frames: Frames, state: State, pattern: str, after: str, limit: int
) -> list[str]:
    """Keys that match a glob, sorted."""
    recent = dict(state.changes.keys)
    rows = db.execute(
        """SELECT key, value, digest FROM keys WHERE matches(key, ?) AND key > ? AND key >= ? AND key < ?
           ORDER BY key LIMIT ?""",
        (pattern, after, *span(pattern), limit + len(recent)),
    ).fetchall()
    for key, content, stored in rows:
        check_row(f"key {str(key)[:60]!r}", stored, key, content)
    found = {row[0] for row in rows if recent.get(row[0], b"") is not None}
    found |= {
        key
        for key, content in recent.items()
        if content is not None and key > after and matches(key, pattern)
    }
    return sorted(found)[:limit]


def decision(db: sqlite3.Connection, changes: Changes, key: str) -> Made | None:
    """What was decided under an idempotency key."""
    if key in changes.decisions:
        return changes.decisions[key]
    row = db.execute("SELECT body, digest FROM decisions WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    check_row(f"decision {key[:60]!r}", row[1], key, row[0])
    return _made(row[0])


def _places(
    db: sqlite3.Connection, number: int, changes: Changes, stream: str, by: str, first: int
) -> Generator[Spot]:
    """Spots of a stream in order, from the last one that begins at or before `first` of that column on."""
    recent = list(changes.spots.get(stream, ()))
    if stream not in changes.wiped and not (recent and getattr(recent[0], by) <= first):
        for spot in _stored(db, number, by, first):
            if recent and spot.version >= recent[0].version:
                break  # a checkpoint has come between the changes and this view
            yield spot
    yield from _from(recent, by, first)


def _stored(db: sqlite3.Connection, number: int, by: str, first: int) -> Iterator[Spot]:
    row = db.execute(
        f"SELECT version FROM places WHERE stream = ? AND {by} <= ? ORDER BY version DESC LIMIT 1",  # noqa: S608
        (number, first),
    ).fetchone()
    rows = db.execute(
        "SELECT stream, version, position, body, digest FROM places WHERE stream = ? AND version >= ?"
        " ORDER BY version",
        (number, 0 if row is None else row[0]),
    )
    try:
        for *content, stored in rows:
            check_row(f"places of stream {number}", stored, *content)
            yield from _from(_spots(content[3]), by, first)
    finally:
        rows.close()  # an error may live on, and with it an open cursor: this reader's view would stay as it is


def _from(spots: Sequence[Spot], by: str, first: int) -> Sequence[Spot]:
    index = bisect_right(spots, first, key=lambda spot: getattr(spot, by))
    return spots[max(index - 1, 0) :]


def _rows_at(frames: Frames, head: Head, spots: Generator[Spot]) -> Iterator[Row]:
    before = None
    with closing(spots):  # at once, whatever the frames do: see `_stored`
        for spot in spots:
            if spot.place != before:
                before = spot.place
                yield from frames.rows(spot.place, head.stream, head.number, head.erased)
