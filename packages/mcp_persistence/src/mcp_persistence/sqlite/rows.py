"""Rows of the journal as values, each checked against its own digest when it is read."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_interface.store import StreamInfo
from mcp_persistence.entry import NO_IDS, Row
from mcp_persistence.sqlite.integrity import digest

_encode: Final = msgspec.msgpack.Encoder().encode
RESTORE: Final = "restore the data directory from a backup; nothing was changed or repaired"
EVENT_COLUMNS: Final = "position, stream, version, epoch, trace, body, digest, causation, correlation"
STREAM_COLUMNS: Final = "stream, version, created_at, updated_at, snapshot, digest"
MADE_COLUMNS: Final = "key, before, count, content, digest"


class Head(msgspec.Struct, frozen=True):
    """A row of the table of streams."""

    stream: str
    version: int = 0
    created_at: str = ""
    updated_at: str = ""
    snapshot: int = 0

    @property
    def digest(self) -> bytes:
        """Fingerprint of the row."""
        return digest(self.stream, self.version, self.created_at, self.updated_at, self.snapshot)

    def info(self) -> StreamInfo:
        """The row as the contract shows it."""
        return StreamInfo(
            stream=self.stream,
            version=self.version,
            created_at=datetime.fromisoformat(self.created_at),
            updated_at=datetime.fromisoformat(self.updated_at),
            snapshot_version=self.snapshot,
        )


def row_of(row: tuple[Any, ...]) -> Row:
    """Turn a row of `EVENT_COLUMNS` into a value.

    Raises:
        StorageCorrupt: It is not what was written; names the position.
    """
    check_event(row)
    position, stream, version, epoch, trace, body, _, causation, correlation = row
    ids = (trace, causation, correlation)
    return Row(position, stream, version, epoch, [body], NO_IDS if ids == NO_IDS else ids)


def check_event(row: tuple[Any, ...]) -> None:
    """Compare a row of `EVENT_COLUMNS` with its digest.

    Raises:
        StorageCorrupt: They differ; names the position.
    """
    if event_digest(*row[:6], *row[7:]) != row[6]:
        raise StorageCorrupt(
            f"the event at position {row[0]} is not what was written", RESTORE, {"position": row[0]}
        )


def event_digest(
    position: int,
    stream: str,
    version: int,
    epoch: int,
    trace: str | None,
    body: bytes,
    causation: str | None,
    correlation: str | None,
) -> bytes:
    """Fingerprint of an event's row; without the last two the same as in format 1."""
    content: tuple[Any, ...] = (position, stream, version, epoch, trace, body)
    if causation is not None or correlation is not None:
        content += (causation, correlation)
    return sha256(_encode(content)).digest()  # as `digest`, without its price: this is what writing costs


class Made(msgspec.Struct, frozen=True):
    """A row of the table of idempotency keys: what was once decided under one."""

    key: str
    before: int
    """Position before the first event."""
    count: int
    content: bytes
    """Fingerprint of the decision."""

    @property
    def digest(self) -> bytes:
        """Fingerprint of the row."""
        return digest(self.key, self.before, self.count, self.content)


def made_of(row: tuple[Any, ...]) -> Made:
    """Turn a row of `MADE_COLUMNS` into a value.

    Raises:
        StorageCorrupt: It is not what was written.
    """
    made = Made(*row[:4])
    if made.digest != row[4]:
        raise StorageCorrupt(
            f"the entry of idempotency key {str(row[0])[:200]!r} is not what was written", RESTORE
        )
    return made


def find_made(db: sqlite3.Connection, key: str) -> Made | None:
    """Look an idempotency key up; None when it is new."""
    row = db.execute(f"SELECT {MADE_COLUMNS} FROM made WHERE key = ?", (key,)).fetchone()  # noqa: S608
    return None if row is None else made_of(row)


def head_of(row: tuple[Any, ...]) -> Head:
    """Turn a row of `STREAM_COLUMNS` into a value.

    Raises:
        StorageCorrupt: It is not what was written.
    """
    head = Head(*row[:5])
    if head.digest != row[5]:
        raise StorageCorrupt(f"the entry of stream {str(row[0])[:200]!r} is not what was written", RESTORE)
    return head


def find_head(db: sqlite3.Connection, stream: str) -> Head | None:
    """Look a stream up; None when there is none."""
    row = db.execute(f"SELECT {STREAM_COLUMNS} FROM streams WHERE stream = ?", (stream,)).fetchone()  # noqa: S608
    return None if row is None else head_of(row)


def check_run(versions: Iterable[int], first: int, count: int, stream: str) -> None:
    """Check that the versions read are exactly `count` from `first` on.

    Raises:
        StorageCorrupt: One is missing, twice or out of order; names the stream and version.
    """
    expected = first
    for version in versions:
        if version != expected:
            break
        expected += 1
    if expected != first + count:
        raise StorageCorrupt(
            f"version {expected} of stream {stream!r} is missing",
            RESTORE,
            {"stream": stream, "version": expected},
        )
