"""The tables of a SQLite journal, and how an older file becomes a present one.

A file is ours when its header carries our application id; `user_version` counts the shape of the tables.
Format 2 brought causation, correlation and idempotency keys, and an index of events (`places`) that may lag
behind them; what it took over from format 1 keeps its digests, for they cover the same values.
Small tables are WITHOUT ROWID: such a tree holds rows in its inner pages too, so that a scan sees every byte
by which a lookup is steered, and the sums of `integrity` cover it.
"""

import sqlite3
from typing import Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.sqlite.integrity import Meta, digest

APPLICATION_ID: Final = 0x756D6272
"""Says in the file's header that it is a journal of ours."""
MIGRATIONS: Final = (
    (
        """CREATE TABLE meta (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, head INTEGER NOT NULL,
           chain BLOB NOT NULL, commits INTEGER NOT NULL, streams BLOB NOT NULL, keys BLOB NOT NULL,
           digest BLOB NOT NULL)""",
        """CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL,
           version INTEGER NOT NULL, epoch INTEGER NOT NULL, trace TEXT, body BLOB NOT NULL,
           digest BLOB NOT NULL, chain BLOB NOT NULL, UNIQUE (stream, version))""",
        "CREATE TABLE erased (position INTEGER PRIMARY KEY, digest BLOB NOT NULL, chain BLOB NOT NULL)",
        """CREATE TABLE streams (stream TEXT PRIMARY KEY, version INTEGER NOT NULL,
           created_at TEXT NOT NULL, updated_at TEXT NOT NULL, snapshot INTEGER NOT NULL,
           digest BLOB NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE snapshots (stream TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
           digest BLOB NOT NULL, PRIMARY KEY (stream, version))""",
        "CREATE TABLE keys (key TEXT PRIMARY KEY, value BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID",
    ),
    (
        "ALTER TABLE events RENAME TO events_1",
        """CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL,
           version INTEGER NOT NULL, epoch INTEGER NOT NULL, trace TEXT, body BLOB NOT NULL,
           digest BLOB NOT NULL, chain BLOB NOT NULL, causation TEXT, correlation TEXT)""",
        "INSERT INTO events SELECT *, NULL, NULL FROM events_1 ORDER BY position",
        "DROP TABLE events_1",
        """CREATE TABLE places (stream TEXT NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL,
           PRIMARY KEY (stream, version)) WITHOUT ROWID""",
        "INSERT INTO places SELECT stream, version, position FROM events ORDER BY stream, version",
        """CREATE TABLE made (key TEXT PRIMARY KEY, before INTEGER NOT NULL, count INTEGER NOT NULL,
           content BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID""",
        "ALTER TABLE meta ADD COLUMN made BLOB",
        "ALTER TABLE meta ADD COLUMN indexed INTEGER",
    ),
)
"""Statements that lead from each version to the next; only ever added to."""
VERSION: Final = len(MIGRATIONS)


def examine(db: sqlite3.Connection, path: str) -> int:
    """Say which version of the tables a file has; zero is a blank file that may be used.

    Raises:
        StorageCorrupt: It belongs to another program, or to a newer version of this one.
    """
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    blank = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if owner == 0 and version == 0 and blank:
        return 0
    if owner != APPLICATION_ID or version < 1:
        raise StorageCorrupt(
            f"{path} is not a journal of Umbrella", "give another path; this file was left as it is"
        )
    if version > VERSION:
        raise StorageCorrupt(
            f"{path} was written by a newer version (format {version}, known up to {VERSION})",
            "open it with that version",
        )
    return version


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring the tables of a file from `version` to `VERSION`, all steps in one transaction."""
    if version == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # Two stores may open a new file at once: what counts is the version under the lock.
        present = int(db.execute("PRAGMA user_version").fetchone()[0])
        meta = read_meta(db) if present else Meta()
        for statements in MIGRATIONS[present:]:
            for statement in statements:
                db.execute(statement)
        write_meta(db, msgspec.structs.replace(meta, indexed=meta.head))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def read_meta(db: sqlite3.Connection) -> Meta:
    """Read what the store knows of itself.

    Raises:
        StorageCorrupt: The row is missing or not as it was written.
    """
    row = db.execute("SELECT * FROM meta WHERE id = 1").fetchone()
    if row is not None:
        content = (*row[1:7], *row[8:])  # what later formats have added stands behind the digest
        if digest(*content) == row[7]:
            return Meta(*content)
    raise StorageCorrupt("the journal's own summary is damaged", "restore the data directory from a backup")


def write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    """Write what the store knows of itself."""
    content = msgspec.structs.astuple(meta)
    db.execute(
        "INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*content[:6], digest(*content), *content[6:]),
    )
