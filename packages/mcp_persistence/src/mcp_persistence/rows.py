"""Rows of the journal as values, each checked against its own digest when it is read."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from mcp_interface.codec import decode_disk
from mcp_interface.errors import InvalidRecord, StorageCorrupt
from mcp_interface.events import Event
from mcp_interface.store import Record, StreamInfo
from mcp_persistence.integrity import digest

RESTORE: Final = "restore the data directory from a backup; nothing was changed or repaired"
EVENT_COLUMNS: Final = "position, stream, version, epoch, trace, body, digest"
STREAM_COLUMNS: Final = "stream, version, created_at, updated_at, snapshot, digest"


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


def record(row: tuple[Any, ...]) -> Record:
    """Turn a row of `EVENT_COLUMNS` into a record.

    Raises:
        StorageCorrupt: It is not what was written; names the position.
    """
    check_event(row)
    position, stream, version, epoch, trace, body, _ = row
    try:
        event: Event = decode_disk(body, Event)
    except InvalidRecord as error:
        raise StorageCorrupt(
            f"the event at position {position} of {stream!r} is unknown to this version: {error.message}",
            "open the store with the version that wrote it",
            {"position": position},
        ) from error
    return Record(position=position, stream=stream, version=version, epoch=epoch, event=event, trace_id=trace)


def check_event(row: tuple[Any, ...]) -> None:
    """Compare a row of `EVENT_COLUMNS` with its digest.

    Raises:
        StorageCorrupt: They differ; names the position.
    """
    if digest(*row[:6]) != row[6]:
        raise StorageCorrupt(
            f"the event at position {row[0]} is not what was written", RESTORE, {"position": row[0]}
        )


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
