"""The tables of the index, each row with a digest, the small tables with a sum of them.

A flipped bit must not steer a lookup wrong unseen: rows are compared when they are read, and that none of the
heads, keys or decisions is missing is seen from the sums when the index is opened. That no place is missing
is seen by whoever follows a stream, from its versions. A damaged index is thrown away and made anew.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from xxhash import xxh3_128_digest

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment.values import Checkpoint
from mcp_persistence.sqlite.connection import translate

FORMAT: Final = 1
"""Changes whenever the tables do; an index of another format is made anew."""
REBUILD: Final = "it is made anew from the journal"
NOTHING: Final = bytes(16)
TABLES: Final = {
    "meta": "(id INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL)",
    "streams": "(number INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL)",
    "places": """(stream INTEGER NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL,
        body BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (stream, version)) WITHOUT ROWID""",
    "keys": "(key TEXT PRIMARY KEY, value BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID",
    "decisions": "(key TEXT PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID",
}

_encode = msgspec.msgpack.Encoder().encode


class IndexDamaged(StorageCorrupt):
    """The index is not as it was written; the journal has everything."""


class Meta(msgspec.Struct, frozen=True):
    """What the index knows of itself."""

    format: int
    journal: bytes
    """Id of the journal that it belongs to."""
    checkpoint: Checkpoint
    """How far it has come."""
    epoch: int
    streams: bytes = NOTHING
    keys: bytes = NOTHING
    decisions: bytes = NOTHING
    """Sums over the digests of the tables of these names."""


_read_meta = msgspec.msgpack.Decoder(Meta).decode


@contextmanager
def suspicion() -> Iterator[None]:
    """What SQLite takes for damage of its file is damage of the index alone.

    Raises:
        IndexDamaged: SQLite said so.
    """
    try:
        yield
    except sqlite3.Error as error:
        if isinstance(translate(error), StorageCorrupt):
            raise IndexDamaged(f"the index is damaged: {error}", REBUILD) from error
        raise


def digest(*content: Any) -> bytes:
    """Fingerprint of a row's values; their types and borders count."""
    return xxh3_128_digest(_encode(content))


def mix(total: bytes, *rows: bytes) -> bytes:
    """Put digests of rows into a sum, or take them out again."""
    mixed = int.from_bytes(total, "big")
    for row in rows:
        mixed ^= int.from_bytes(row, "big")
    return mixed.to_bytes(16, "big")


def clear(db: sqlite3.Connection) -> None:
    """Make the tables, empty."""
    for table, columns in TABLES.items():
        db.execute(f"DROP TABLE IF EXISTS main.{table}")
        db.execute(f"CREATE TABLE main.{table} {columns}")


def read_meta(db: sqlite3.Connection) -> Meta:
    """Read what the index knows of itself.

    Raises:
        IndexDamaged: The row is missing, of another format or not as it was written.
    """
    try:
        row = db.execute("SELECT body, digest FROM meta WHERE id = 1").fetchone()
        if row is not None and digest(row[0]) == row[1]:
            meta = _read_meta(row[0])
            if meta.format == FORMAT:
                return meta
    except (sqlite3.Error, msgspec.MsgspecError, UnicodeError):
        pass
    raise IndexDamaged("the summary of the index is missing, damaged or of another format", REBUILD)


def write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    """Write what the index knows of itself."""
    body = _encode(meta)
    db.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?)", (body, digest(body)))


def check_sum(table: str, total: bytes, expected: bytes) -> None:
    """Compare the sum over a table with what the summary says.

    Raises:
        IndexDamaged: They differ.
    """
    if total != expected:
        raise IndexDamaged(f"an entry is missing from the index's table of {table}", REBUILD)


def check_row(what: str, stored: bytes, *content: Any) -> None:
    """Compare a row with its digest.

    Raises:
        IndexDamaged: They differ; says of what.
    """
    if digest(*content) != stored:
        raise IndexDamaged(f"the index's entry of {what} is not what was written", REBUILD)
