"""Snapshots beside the index, in a file of their own: they cannot be made anew from the journal, only lost.

A snapshot is a shortcut. A damaged one is passed over for the one before it, and so is one that is ahead of
its stream, or of an earlier stream of that name; nothing here raises for damage.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from mcp_interface.codec import disk_decoder
from mcp_interface.errors import StorageCorrupt
from mcp_interface.store import Snapshot
from mcp_persistence.index.files import SNAPSHOTS, remove
from mcp_persistence.index.state import Head
from mcp_persistence.index.tables import digest
from mcp_persistence.names import matcher, span
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.sqlite.connection import translate

log = logging.getLogger(__name__)

KEPT: Final = 5
"""How many snapshots of a stream are kept, by version."""
TABLE: Final = """CREATE TABLE IF NOT EXISTS kept.snapshots (stream TEXT NOT NULL, since INTEGER NOT NULL,
    version INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (stream, since, version))"""
"""`since` tells streams of one name apart that were removed and begun again: see `Head.erased`."""
OWNER: Final = "CREATE TABLE IF NOT EXISTS kept.owner (journal BLOB NOT NULL, head INTEGER NOT NULL)"
"""The journal that they are shortcuts in, and how long it was when the last one was kept."""
_NEWEST: Final = """SELECT newest.stream, whole.* FROM
    (SELECT stream, max(version), rowid AS place FROM kept.snapshots
     WHERE stream > ? AND stream >= ? AND stream < ? GROUP BY stream ORDER BY stream LIMIT ?) AS newest
    CROSS JOIN kept.snapshots AS whole ON whole.rowid = newest.place"""
"""The newest of each stream, found by names and versions alone: the bodies of the others are not touched."""

_decode = disk_decoder(Snapshot)


def attach(db: sqlite3.Connection, folder: Path) -> None:
    """Attach the snapshots of a folder to a connection."""
    db.execute("ATTACH ? AS kept", (str(folder / SNAPSHOTS),))


def attach_for_writing(db: sqlite3.Connection, folder: Path, segments: SegmentLog) -> None:
    """Attach the snapshots of a log; a damaged file of them is replaced."""
    try:
        _begin(db, folder, segments)
    except sqlite3.Error as error:
        if not isinstance(translate(error), StorageCorrupt):
            raise
        log.warning("the snapshots in %s were damaged and are lost: %s", folder, error)
        with suppress(sqlite3.Error):
            db.execute("DETACH kept")
        remove(folder / SNAPSHOTS)
        _begin(db, folder, segments)


def renew(db: sqlite3.Connection, folder: Path, segments: SegmentLog) -> None:
    """Begin a new file of snapshots: into the present one none can be written."""
    db.execute("DETACH kept")
    remove(folder / SNAPSHOTS)
    attach_for_writing(db, folder, segments)


def _begin(db: sqlite3.Connection, folder: Path, segments: SegmentLog) -> None:
    attach(db, folder)
    db.execute("PRAGMA kept.journal_mode = WAL")
    db.execute("PRAGMA kept.synchronous = NORMAL")
    with writing(db):
        _own(db, segments.journal_id, segments.head)


def _own(db: sqlite3.Connection, journal: bytes, head: int) -> None:
    """Make the tables; forget all snapshots of another journal, and of one that was longer than this is now."""
    db.execute(TABLE)
    db.execute(OWNER)
    owner = db.execute("SELECT journal, head FROM kept.owner").fetchone()
    if owner is None or owner[0] != journal or not isinstance(owner[1], int) or owner[1] > head:
        db.execute("DELETE FROM kept.snapshots")
        db.execute("DELETE FROM kept.owner")
        db.execute("INSERT INTO kept.owner VALUES (?, ?)", (journal, head))


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block, or none; nothing of the index is locked."""
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


@contextmanager
def _passing_over() -> Iterator[None]:
    """A file that SQLite cannot read holds no snapshots."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        log.warning("snapshots cannot be read and are passed over: %s", error)


def keep(db: sqlite3.Connection, head: Head, position: int, version: int, body: bytes) -> None:
    """Write a snapshot's bytes and drop what is older than the newest `KEPT`, or of an earlier stream.

    Args:
        db: The writing connection.
        head: Of the stream.
        position: The journal's end.
        version: Of the snapshot.
        body: The snapshot.
    """
    db.execute("UPDATE kept.owner SET head = ?", (position,))
    row = (head.stream, head.erased, version, body)
    db.execute("INSERT OR REPLACE INTO kept.snapshots VALUES (?, ?, ?, ?, ?)", (*row, digest(*row)))
    db.execute(
        """DELETE FROM kept.snapshots WHERE stream = ?1 AND (since <> ?2 OR version NOT IN
           (SELECT version FROM kept.snapshots WHERE stream = ?1 AND since = ?2 ORDER BY version DESC LIMIT ?3))""",
        (head.stream, head.erased, KEPT),
    )


def load(db: sqlite3.Connection, head: Head) -> Snapshot | None:
    """The newest sound snapshot of a stream."""
    with _passing_over():
        rows = db.execute(
            """SELECT stream, since, version, body, digest FROM kept.snapshots WHERE stream = ? AND since = ?
               ORDER BY version DESC LIMIT ?""",
            (head.stream, head.erased, KEPT),
        )
        for row in rows:
            if (snapshot := _sound(row, head)) is not None:
                return snapshot
    return None


def load_page(
    db: sqlite3.Connection, heads: Mapping[str, Head], glob: str, after: str, limit: int
) -> list[Snapshot]:
    """The newest sound snapshot of each stream that matches, by name, behind `after`; in one pass."""
    found: list[Snapshot] = []
    is_wanted = matcher(glob)
    first, end = span(glob)
    with _passing_over():
        while len(found) < limit and (
            rows := db.execute(_NEWEST, (after, first, end, limit - len(found))).fetchall()
        ):
            for stream, *row in rows:
                head = heads.get(stream)
                if head is None or not head.version or not is_wanted(stream):
                    continue
                snapshot = _sound(row, head) or load(db, head)
                if snapshot is not None:
                    found.append(snapshot)
            after = rows[-1][0]
    return found


def _sound(row: Sequence[Any], head: Head) -> Snapshot | None:
    stream, since, version, body, stored = row
    if digest(stream, since, version, body) != stored:
        return None
    if stream != head.stream or since != head.erased or version > head.version:
        return None
    try:
        snapshot: Snapshot = _decode(body)
    except (msgspec.MsgspecError, UnicodeError):
        return None  # written by a version that knew another shape
    return snapshot


def newest(db: sqlite3.Connection, head: Head) -> int:
    """Version of the newest snapshot of a stream; zero without one."""
    version = 0
    with _passing_over():
        row = db.execute(
            """SELECT max(version) FROM kept.snapshots
               WHERE stream = ? AND since = ? AND typeof(version) = 'integer'""",
            (head.stream, head.erased),
        ).fetchone()
        version = int(row[0] or 0)
    return min(version, head.version)


def newest_between(db: sqlite3.Connection, first: str, last: str) -> dict[tuple[str, int], int]:
    """As `newest`, of all streams from one name to another, by name and `Head.erased`."""
    found: dict[tuple[str, int], int] = {}
    with _passing_over():
        rows = db.execute(
            """SELECT stream, since, version FROM kept.snapshots
               WHERE stream BETWEEN ? AND ? ORDER BY stream, since, version""",
            (first, last),
        )
        # the newest comes last
        found |= {(stream, since): version for stream, since, version in rows if type(version) is int}
    return found


def forget(db: sqlite3.Connection, stream: str) -> None:
    """Remove all snapshots of a stream."""
    db.execute("DELETE FROM kept.snapshots WHERE stream = ?", (stream,))
