"""The tables of a SQLite journal, and how an older file becomes a present one.

A file is ours when its header carries our application id; `user_version` counts the shape of the tables.
Small tables are WITHOUT ROWID: such a tree holds rows in its inner pages too, so that a scan sees every byte
by which a lookup is steered, and the sums of `integrity` cover it.
"""

import sqlite3
from typing import Final

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.integrity import Meta

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
        for statements in MIGRATIONS[present:]:
            for statement in statements:
                db.execute(statement)
        if present == 0:
            write_meta(db, Meta())
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
    row = db.execute(
        "SELECT epoch, head, chain, commits, streams, keys, digest FROM meta WHERE id = 1"
    ).fetchone()
    if row is not None:
        meta = Meta(*row[:-1])
        if meta.digest == row[-1]:
            return meta
    raise StorageCorrupt("the journal's own summary is damaged", "restore the data directory from a backup")


def write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    """Write what the store knows of itself."""
    db.execute(
        "INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        (meta.epoch, meta.head, meta.chain, meta.commits, meta.streams, meta.keys, meta.digest),
    )
