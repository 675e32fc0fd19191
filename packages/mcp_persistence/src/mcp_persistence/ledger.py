"""The writer's side of the journal: judges each piece of work and writes it, one transaction a batch.

Everything here runs in the writer's thread. What the transaction decides by (the epoch, the head of each
stream) is kept between batches and thrown away as soon as SQLite says that another connection has written,
so two stores on one file cannot both be right about one version.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.codec import decode_json, encode_json
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    StaleEpoch,
    StorageCorrupt,
    StorageUnavailable,
    UmbrellaError,
    VersionConflict,
)
from mcp_interface.ids import TraceId
from mcp_interface.store import Transaction
from mcp_persistence import snapshot
from mcp_persistence.highwater import HighWater
from mcp_persistence.integrity import Meta, digest, link, toggle
from mcp_persistence.journal import Outcome, Work
from mcp_persistence.names import can_be_key, check_key
from mcp_persistence.reading import check_value
from mcp_persistence.rows import RESTORE, Head, find_head
from mcp_persistence.schema import read_meta, write_meta

T = TypeVar("T")
REMEMBERED: Final = 20_000
"""Most stream heads kept in memory between batches."""
MAX_VALUE: Final = 64 << 20
"""Largest value of a key, and largest sum of events of one append, in bytes."""


class Entry(msgspec.Struct, frozen=True):
    """Events on their way in, already encoded."""

    stream: str
    bodies: list[bytes]
    expected: int
    epoch: int
    trace: TraceId | None
    first_at: str
    """Time of the first event, ISO 8601."""
    last_at: str


class Ledger:
    """The desk at which a batch is judged and written.

    Args:
        db: The writing connection.
        water: Rewritten after each commit.
    """

    def __init__(self, db: sqlite3.Connection, water: HighWater) -> None:
        self._db = db
        self._water = water
        self._seen = -1
        self._meta = Meta()
        self._changed = False
        self._heads: dict[str, Head | None] = {}
        self._stored: dict[str, bytes] = {}  # digests of the rows behind `_heads`
        self._touched: set[str] = set()
        self._events: list[tuple[Any, ...]] = []

    def commit(self, batch: Sequence[Work["Ledger", Any]]) -> list[Outcome]:
        """Do a batch in one transaction and make it durable.

        Raises:
            sqlite3.Error: It failed; what reached the disk is not known.
            StorageCorrupt: What it builds on is damaged.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not str(error.sqlite_errorname).startswith("SQLITE_BUSY"):
                raise
            busy = StorageUnavailable("another process is writing; nothing was stored", "try again later")
            return [Outcome(error=busy) for _ in batch]
        try:
            self._refresh()
            outcomes = [self._judge(work) for work in batch]
            self._finish()
        except BaseException:
            self._seen = -1
            with contextlib.suppress(sqlite3.Error):
                self._db.rollback()
            raise
        return outcomes

    def claim(self) -> int:
        """Take the next epoch."""
        self._meta = msgspec.structs.replace(self._meta, epoch=self._meta.epoch + 1)
        self._changed = True
        return self._meta.epoch

    def append(self, entry: Entry) -> tuple[int, int]:
        """Add events to a stream.

        Returns:
            Position and version before the first of them.

        Raises:
            StaleEpoch: Another writer has claimed the store.
            VersionConflict: The stream is elsewhere.
        """
        meta, stream = self._meta, entry.stream
        if entry.epoch != meta.epoch:
            raise StaleEpoch(
                f"epoch {entry.epoch} may not write, {meta.epoch} does", "stop writing, or claim the store"
            )
        head = self._head(stream) or Head(stream)
        if entry.expected != head.version:
            raise VersionConflict(
                f"{stream!r} is at {head.version}, not {entry.expected}",
                "read it again and decide again",
                {"actual": head.version},
            )
        position, version, chain = meta.head, head.version, meta.chain
        for body in entry.bodies:
            position += 1
            version += 1
            row = (position, stream, version, entry.epoch, entry.trace, body)
            content = digest(*row)
            chain = link(chain, content)
            self._events.append((*row, content, chain))
        self._meta = msgspec.structs.replace(meta, head=position, chain=chain)
        created = head.created_at or entry.first_at
        self._put_head(stream, Head(stream, version, created, entry.last_at, head.snapshot))
        return meta.head, head.version

    def delete_stream(self, stream: str) -> None:
        """Remove a stream; what stays is the digest of each event, so that the chain can still be followed.

        Raises:
            StorageCorrupt: Events of it are missing; nothing is removed.
        """
        head = self._head(stream)
        if head is None:
            return
        self._flush_events()
        found = self._db.execute("SELECT count(*) FROM events WHERE stream = ?", (stream,)).fetchone()[0]
        if found != head.version:
            raise StorageCorrupt(f"stream {stream!r} has {found} of {head.version} events", RESTORE)
        self._db.execute(
            "INSERT INTO erased SELECT position, digest, chain FROM events WHERE stream = ?", (stream,)
        )
        self._db.execute("DELETE FROM events WHERE stream = ?", (stream,))
        snapshot.forget(self._db, stream)
        self._put_head(stream, None)

    def save_snapshot(self, stream: str, version: int, body: bytes) -> None:
        """Keep a snapshot.

        Raises:
            CallerMistaken: It is ahead of its stream, or of no event at all.
        """
        head = self._head(stream)
        actual = 0 if head is None else head.version
        if head is None or not 1 <= version <= actual:
            raise CallerMistaken(
                f"a snapshot of {stream[:200]!r} at {version} does not lie within 1 to {actual}",
                "append first",
            )
        newest = snapshot.keep(self._db, stream, version, body)
        self._put_head(stream, msgspec.structs.replace(head, snapshot=newest))

    def put(self, key: str, content: bytes) -> None:
        """Set a key to an encoded value."""
        self._write_keys({key: content})

    def delete(self, key: str) -> None:
        """Remove a key; an unknown one is ignored."""
        self._write_keys({key: None})

    def value(self, key: str) -> Any:
        """The value of a key as this transaction sees it."""
        row = self._key(key)
        if row is None:
            raise NotFound(f"no key {key!r}")
        return decode_json(row[1], Any)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a draft, then put down what it wrote; when it raises, nothing is."""
        draft = Draft(self)
        try:
            result = work(draft)
        except sqlite3.Error:
            raise  # ours, not theirs
        except BaseException as error:
            raise Refused(error) from error
        self._write_keys(draft.changes)
        return result

    def _judge(self, work: Work["Ledger", Any]) -> Outcome:
        try:
            return Outcome(work(self))
        except (UmbrellaError, Refused) as error:
            return Outcome(error=error.cause if isinstance(error, Refused) else error)

    def _refresh(self) -> None:
        seen = self._db.execute("PRAGMA data_version").fetchone()[0]
        if seen != self._seen or len(self._heads) > REMEMBERED:
            self._heads.clear()
            self._stored.clear()
            self._meta = read_meta(self._db)
            self._seen = seen
        self._changed = False
        self._touched = set()
        self._events = []

    def _finish(self) -> None:
        if not self._changed:
            self._db.rollback()  # all refused, or nothing to do: no reason to pay for a sync
            return
        self._flush_events()
        self._flush_heads()
        self._meta = msgspec.structs.replace(self._meta, commits=self._meta.commits + 1)
        write_meta(self._db, self._meta)
        self._db.execute("COMMIT")
        self._water.write(self._meta)

    def _head(self, stream: str) -> Head | None:
        if stream not in self._heads:
            found = self._heads[stream] = find_head(self._db, stream)
            if found is not None:
                self._stored[stream] = found.digest
        return self._heads[stream]

    def _put_head(self, stream: str, head: Head | None) -> None:
        self._touched.add(stream)
        self._heads[stream] = head
        self._changed = True

    def _flush_events(self) -> None:
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._events)
        self._events = []

    def _flush_heads(self) -> None:
        changed, gone, fresh = [], [], []
        for stream in sorted(self._touched):  # neighbours share pages
            if (before := self._stored.pop(stream, None)) is not None:
                changed.append(before)
            head = self._heads[stream]
            if head is None:
                gone.append((stream,))
                continue
            content = self._stored[stream] = head.digest
            changed.append(content)
            fresh.append(
                (head.stream, head.version, head.created_at, head.updated_at, head.snapshot, content)
            )
        self._db.executemany("DELETE FROM streams WHERE stream = ?", gone)
        self._db.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?)", fresh)
        self._meta = msgspec.structs.replace(self._meta, streams=toggle(self._meta.streams, *changed))

    def _write_keys(self, changes: Mapping[str, bytes | None]) -> None:
        before = {key: self._key(key) for key in changes}  # all are checked before the first is written
        total = self._meta.keys
        for key, content in changes.items():
            old = before[key]
            if old is not None:
                self._db.execute("DELETE FROM keys WHERE key = ?", (key,))
                total = toggle(total, old[2])
            if content is not None:
                fresh = digest(key, content)
                self._db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key, content, fresh))
                total = toggle(total, fresh)
            self._changed = self._changed or old is not None or content is not None
        self._meta = msgspec.structs.replace(self._meta, keys=total)

    def _key(self, key: str) -> tuple[str, bytes, bytes] | None:
        row: tuple[str, bytes, bytes] | None = self._db.execute(
            "SELECT key, value, digest FROM keys WHERE key = ?", (key,)
        ).fetchone()
        if row is not None:
            check_value(*row)
        return row


class Refused(Exception):
    """Carries what a caller's own function raised out of the batch and back to that caller."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Draft:
    """The `Transaction` of a ledger: reads through, keeps writes until the work has succeeded."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.changes: dict[str, bytes | None] = {}

    def get(self, key: str) -> Any:
        """Read a key, own writes first."""
        if can_be_key(key) and key not in self.changes:
            return self._ledger.value(key)
        content = self.changes.get(key)
        if content is None:
            raise NotFound(f"no key {key!r}")
        return decode_json(content, Any)

    def put(self, key: str, value: Any) -> None:
        """Set a key, on commit."""
        check_key(key)
        self.changes[key] = encode_value(key, value)

    def delete(self, key: str) -> None:
        """Remove a key, on commit."""
        if can_be_key(key):
            self.changes[key] = None


def encode_value(key: str, value: Any) -> bytes:
    """Turn a value into bytes.

    Raises:
        CallerMistaken: It is not JSON-compatible, or larger than `MAX_VALUE`.
    """
    try:
        content = encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CallerMistaken(f"the value of {key!r} is not JSON-compatible: {error}") from error
    if len(content) > MAX_VALUE:
        raise CallerMistaken(
            f"the value of {key!r} has {len(content)} bytes, {MAX_VALUE} are allowed", "split it up"
        )
    return content
