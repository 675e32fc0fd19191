"""Snapshots beside the index, in a file of their own: they cannot be made anew from the journal, only lost.

A snapshot is a shortcut. A damaged one is passed over for the one before it, and so is one that is ahead of
its stream, or of an earlier stream of that name; nothing here raises for damage.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final

from mcp_interface.codec import decode_disk
from mcp_interface.errors import InvalidRecord
from mcp_interface.store import Snapshot
from mcp_persistence.index.state import Head
from mcp_persistence.index.tables import digest
from mcp_persistence.names import matches, span

log = logging.getLogger(__name__)

KEPT: Final = 5
"""How many snapshots of a stream are kept, by version."""
TABLE: Final = """CREATE TABLE IF NOT EXISTS kept.snapshots (stream TEXT NOT NULL, since INTEGER NOT NULL,
    version INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (stream, since, version))"""
"""`since` tells streams of one name apart that were removed and begun again: see `Head.erased`."""
OWNER: Final = "CREATE TABLE IF NOT EXISTS kept.owner (journal BLOB NOT NULL, head INTEGER NOT NULL)"
"""The journal that they are shortcuts in, and how long it was when the last one was kept."""


def begin(db: sqlite3.Connection, journal: bytes, head: int) -> None:
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
    with _passing_over():
        rows = db.execute(
            """SELECT stream, since, version, body, digest FROM kept.snapshots
               WHERE stream > ? AND stream >= ? AND stream < ? ORDER BY stream, since, version""",
            (after, *span(glob)),
        )
        for stream, group in groupby(rows, key=itemgetter(0)):
            head = heads.get(stream)
            if head is None or not head.version or not matches(stream, glob):
                continue
            sound = (snapshot for row in reversed([*group]) if (snapshot := _sound(row, head)) is not None)
            found += islice(sound, 1)
            if len(found) >= limit:
                break
    return found


def _sound(row: tuple[Any, ...], head: Head) -> Snapshot | None:
    _, since, version, body, stored = row
    if since != head.erased or version > head.version or digest(*row[:4]) != stored:
        return None
    try:
        snapshot: Snapshot = decode_disk(body, Snapshot)
    except InvalidRecord:
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
            """SELECT stream, since, max(version) FROM kept.snapshots
               WHERE stream BETWEEN ? AND ? AND typeof(version) = 'integer' GROUP BY stream, since""",
            (first, last),
        )
        found |= {(stream, since): version for stream, since, version in rows}
    return found


def forget(db: sqlite3.Connection, stream: str) -> None:
    """Remove all snapshots of a stream."""
    db.execute("DELETE FROM kept.snapshots WHERE stream = ?", (stream,))
