"""Snapshots at rest: the newest few of each stream, each with the digest of its bytes.

A snapshot is a shortcut. A damaged one is passed over for the one before it, and losing all of them costs
only a longer replay; so nothing here raises for damage.
"""

import sqlite3
from typing import Final

from mcp_interface.codec import decode_disk
from mcp_interface.errors import InvalidRecord
from mcp_interface.store import Snapshot
from mcp_persistence.sqlite.integrity import digest

KEPT: Final = 5
"""How many snapshots of a stream are kept, by version."""


def keep(db: sqlite3.Connection, stream: str, version: int, body: bytes) -> int:
    """Write a snapshot's bytes and drop what is older than the newest `KEPT`.

    Returns:
        Version of the newest one that is kept.
    """
    db.execute(
        "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
        (stream, version, body, digest(stream, version, body)),
    )
    db.execute(
        """DELETE FROM snapshots WHERE stream = ? AND version NOT IN
           (SELECT version FROM snapshots WHERE stream = ? ORDER BY version DESC LIMIT ?)""",
        (stream, stream, KEPT),
    )
    row = db.execute(
        "SELECT max(version) FROM snapshots WHERE stream = ? AND typeof(version) = 'integer'", (stream,)
    ).fetchone()
    return int(row[0])


def load(db: sqlite3.Connection, stream: str) -> Snapshot | None:
    """The newest sound snapshot of a stream."""
    rows = db.execute(
        "SELECT version, body, digest FROM snapshots WHERE stream = ? ORDER BY version DESC LIMIT ?",
        (stream, KEPT),
    )
    for version, body, expected in rows:
        if digest(stream, version, body) != expected:
            continue
        try:
            snapshot: Snapshot = decode_disk(body, Snapshot)
        except InvalidRecord:
            continue  # written by a version that knew another shape
        return snapshot
    return None


def load_many(db: sqlite3.Connection, pattern: str, after: str, limit: int) -> list[Snapshot]:
    """The newest sound snapshots of streams that match a glob, by name."""
    found: list[Snapshot] = []
    streams = db.execute(
        """SELECT stream FROM (SELECT DISTINCT stream FROM snapshots WHERE stream > ?)
           WHERE matches(stream, ?) ORDER BY stream""",
        (after, pattern),
    )
    for (stream,) in streams:
        if len(found) >= limit:
            break
        if (snapshot := load(db, stream)) is not None:
            found.append(snapshot)
    return found


def forget(db: sqlite3.Connection, stream: str) -> None:
    """Remove all snapshots of a stream."""
    db.execute("DELETE FROM snapshots WHERE stream = ?", (stream,))
