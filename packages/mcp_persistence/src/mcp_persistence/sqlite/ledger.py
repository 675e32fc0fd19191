"""The writer's side of the journal: judges each piece of work and writes it, one transaction a batch.

Everything here runs in the writer's thread. What the transaction decides by (the epoch, the head of each
stream) is kept between batches and thrown away as soon as SQLite says that another connection has written.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.codec import decode_json
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    StaleEpoch,
    StorageCorrupt,
    StorageUnavailable,
    VersionConflict,
)
from mcp_persistence.entry import Committed, Entry, Ids, Known, Row, Run
from mcp_persistence.group_commit import Refusal, Work
from mcp_persistence.medium import judge
from mcp_persistence.sqlite import snapshots
from mcp_persistence.sqlite.connection import translate
from mcp_persistence.sqlite.highwater import HighWater
from mcp_persistence.sqlite.index import LAG, catch_up, put_head, rebuild
from mcp_persistence.sqlite.integrity import Meta, digest, link, toggle
from mcp_persistence.sqlite.reading import check_value
from mcp_persistence.sqlite.rows import RESTORE, Made, event_digest, find_head, find_made
from mcp_persistence.sqlite.schema import read_meta, write_meta
from mcp_persistence.upcast import EventCodec

T = TypeVar("T")
REMEMBERED: Final = 20_000
"""Most streams whose versions are kept in memory between batches."""
_ITS_EVENTS: Final = "position IN (SELECT position FROM places WHERE stream = ?)"
_EVENTS: Final = """INSERT INTO events (position, stream, version, epoch, trace, body, digest, chain,
                    causation, correlation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Ledger:
    """The desk at which a batch is judged and written.

    Args:
        db: The writing connection.
        water: Rewritten after each commit.
        codec: Reads the times of events.
    """

    def __init__(self, db: sqlite3.Connection, water: HighWater, codec: EventCodec) -> None:
        self._db = db
        self._water = water
        self._codec = codec
        self.behind: dict[str, int] = {}
        """Durable versions of streams with events that are not indexed yet; other threads look at it."""
        self._seen = -1
        self._meta = Meta()
        self._head = 0
        self._chain = b""
        self._changed = False
        self._caught_up = False
        self._unknown = True  # which streams are not indexed
        self._versions: dict[str, int] = {}
        self._fresh: dict[str, int] = {}  # versions that this batch leads to and that are not indexed yet
        self._events: list[tuple[Any, ...]] = []
        self._rows: list[Row] = []
        self._erased: list[str] = []
        self._made: dict[str, Made] = {}

    def begin(self) -> None:
        """Index whatever is not; must come before anything is read, for a crash may have left a lot."""
        self._alone(self._catch_up)

    def commit(self, batch: Sequence[Work["Ledger", Any]]) -> Committed:
        """Do a batch in one transaction and make it durable.

        Raises:
            sqlite3.Error: It failed; what reached the disk is not known.
            StorageCorrupt: What it builds on is damaged.
        """
        try:
            outcomes = self._whole(lambda: judge(self, batch))
        except _Busy:
            return Committed([Refusal(_busy()) for _ in batch], self._head, [])
        return Committed(outcomes, self._head, self._rows, self._erased)

    def claim(self) -> int:
        """Take the next epoch."""
        self._meta = msgspec.structs.replace(self._meta, epoch=self._meta.epoch + 1)
        self._changed = True
        return self._meta.epoch

    def decide(self, entry: Entry) -> int | Known:
        """Write a decision; see `Desk.decide`. Everything is judged before anything is written."""
        if entry.epoch != self._meta.epoch and (entry.epoch is not None or entry.runs):
            raise StaleEpoch(
                f"epoch {entry.epoch} may not write, {self._meta.epoch} does",
                "stop writing, or claim the store",
            )
        if entry.key is not None and (known := self._known(entry.key, entry)) is not None:
            return known
        for run in entry.runs:
            if run.expected != (actual := self._version(run.stream)):
                raise VersionConflict(
                    f"{run.stream!r} is at {actual}, not {run.expected}",
                    "read it again and decide again",
                    {"actual": actual},
                )
        before = {key: self._key(key) for key in entry.changes} if entry.changes else {}
        position = self._head
        for run in entry.runs:
            self._extend(run, self._meta.epoch, entry.ids)
        if before:
            self._write_keys(entry.changes, before)
        if entry.key is not None:
            self._made[entry.key] = Made(entry.key, position, entry.count, entry.digest)
            self._changed = True
        return position

    def delete_stream(self, stream: str) -> None:
        """Remove a stream; what stays is the digest of each event, so that the chain can still be followed.

        Raises:
            StorageCorrupt: Events of it are missing; nothing is removed.
        """
        if self._version(stream) == 0:
            return
        self._catch_up()
        db = self._db
        head = find_head(db, stream)
        found = db.execute(f"SELECT count(*) FROM events WHERE {_ITS_EVENTS}", (stream,)).fetchone()[0]  # noqa: S608
        if head is None or found != head.version:
            raise StorageCorrupt(f"stream {stream!r} has {found} of {self._version(stream)} events", RESTORE)
        db.execute(
            f"INSERT INTO erased SELECT position, digest, chain FROM events WHERE {_ITS_EVENTS}",  # noqa: S608
            (stream,),
        )
        db.execute(f"DELETE FROM events WHERE {_ITS_EVENTS}", (stream,))  # noqa: S608
        db.execute("DELETE FROM places WHERE stream = ?", (stream,))
        db.execute("DELETE FROM streams WHERE stream = ?", (stream,))
        snapshots.forget(db, stream)
        self._meta = msgspec.structs.replace(self._meta, streams=toggle(self._meta.streams, head.digest))
        self._versions[stream] = 0
        self._changed = True
        self._rows = [row for row in self._rows if row.stream != stream]
        self._erased.append(stream)

    def value(self, key: str) -> Any:
        """The value of a key as this transaction sees it."""
        try:
            row = self._key(key)
        except sqlite3.Error as error:
            raise translate(error) from error
        if row is None:
            raise NotFound(f"no key {key!r}")
        return decode_json(row[1], Any)

    def save_snapshot(self, stream: str, version: int, body: bytes) -> int:
        """Keep a snapshot, in a transaction of its own; gives the version of the newest one.

        Raises:
            CallerMistaken: It is ahead of its stream, or of no event at all.
            StorageUnavailable: Another process is writing.
            sqlite3.Error: The disk refused; the journal is as it was.
        """
        return self._alone(lambda: self._save_snapshot(stream, version, body))

    def rebuild(self) -> None:
        """Make anew what can be derived from the events, in a transaction of its own.

        Raises:
            StorageCorrupt: The events themselves are damaged; nothing was changed.
            sqlite3.Error, StorageUnavailable: As `save_snapshot`.
        """
        self._alone(self._rebuild)

    def touch(self) -> None:
        """Make a commit that counts itself and nothing else."""
        self._alone(self._change)

    def _change(self) -> None:
        self._changed = True

    def _rebuild(self) -> None:
        self._meta = rebuild(self._db, self._meta, self._codec)
        self._db.execute("REINDEX")
        self._versions.clear()
        self._changed = self._caught_up = True

    def _save_snapshot(self, stream: str, version: int, body: bytes) -> int:
        actual = self._version(stream)
        if not 1 <= version <= actual:
            raise CallerMistaken(
                f"a snapshot of {stream[:200]!r} at {version} does not lie within 1 to {actual}",
                "append first",
            )
        self._catch_up()
        head = find_head(self._db, stream)
        if head is None:
            raise StorageCorrupt(f"the entry of stream {stream!r} is missing", RESTORE)
        newest = snapshots.keep(self._db, stream, version, body)
        self._meta = put_head(self._db, self._meta, head, msgspec.structs.replace(head, snapshot=newest))
        self._changed = True
        return newest

    def _alone(self, work: Callable[[], T]) -> T:
        try:
            return self._whole(work)
        except _Busy:
            raise _busy() from None

    def _whole(self, work: Callable[[], T]) -> T:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not str(error.sqlite_errorname).startswith("SQLITE_BUSY"):
                raise
            raise _Busy from error
        try:
            self._refresh()
            result = work()
            self._finish()
        except BaseException:
            self._seen = -1
            with contextlib.suppress(sqlite3.Error):
                self._db.rollback()
            raise
        return result

    def _refresh(self) -> None:
        self._changed = self._caught_up = False
        self._fresh = {}
        self._events = []
        self._rows = []
        self._erased = []
        self._made = {}
        if len(self._versions) > REMEMBERED:
            self._versions = dict(self.behind)
        seen = self._db.execute("PRAGMA data_version").fetchone()[0]
        if seen != self._seen:
            self._versions = {}
            self._meta = read_meta(self._db)
            self._seen = seen
            self._head, self._chain = self._meta.head, self._meta.chain
            self._unknown = True
            self._catch_up()
        self._head, self._chain = self._meta.head, self._meta.chain

    def _finish(self) -> None:
        if not self._changed:
            self._db.rollback()  # all refused, or nothing to do: no reason to pay for a sync
            if self._caught_up:
                self.behind = {}
            return
        self._flush_events()
        self._flush_made()
        if self._head - self._meta.indexed > LAG:
            self._catch_up()
        meta = self._meta = msgspec.structs.replace(
            self._meta, head=self._head, chain=self._chain, commits=self._meta.commits + 1
        )
        write_meta(self._db, meta)
        self._db.execute("COMMIT")
        if self._caught_up:
            self.behind = self._fresh
        else:
            self.behind.update(self._fresh)
        self._water.write(meta)

    def _catch_up(self) -> None:
        """Index everything up to here."""
        self._flush_events()
        if self._meta.indexed != self._head:
            meta = msgspec.structs.replace(self._meta, head=self._head, chain=self._chain)
            streams = None if self._unknown else self.behind.keys() | self._fresh.keys()
            self._meta = catch_up(self._db, meta, self._codec, streams)
            self._changed = True
        self._fresh = {}
        self._caught_up = True
        self._unknown = False

    def _extend(self, run: Run, epoch: int, ids: Ids) -> None:
        stream, version, position, chain = run.stream, run.expected, self._head, self._chain
        self._rows.append(Row(position + 1, stream, version + 1, epoch, run.bodies, ids))
        trace, causation, correlation = ids
        add = self._events.append
        for body in map(bytes, run.bodies):
            position += 1
            version += 1
            content = event_digest(position, stream, version, epoch, trace, body, causation, correlation)
            chain = link(chain, content)
            add((position, stream, version, epoch, trace, body, content, chain, causation, correlation))
        self._head, self._chain = position, chain
        self._versions[stream] = self._fresh[stream] = version
        self._changed = True

    def _version(self, stream: str) -> int:
        version = self._versions.get(stream)
        if version is None:
            head = find_head(self._db, stream)
            version = self._versions[stream] = 0 if head is None else head.version
        return version

    def _known(self, key: str, entry: Entry) -> Known | None:
        made = self._made.get(key) or find_made(self._db, key)
        if made is None:
            return None
        if made.content != entry.digest:
            raise CallerMistaken(
                f"the idempotency key {key!r} was used for other events",
                "give each decision a key of its own",
            )
        return Known(made.before, made.count)

    def _flush_events(self) -> None:
        self._db.executemany(_EVENTS, self._events)
        self._events = []

    def _flush_made(self) -> None:
        if not self._made:
            return
        rows = [
            (made.key, made.before, made.count, made.content, made.digest) for made in self._made.values()
        ]
        self._db.executemany("INSERT INTO made VALUES (?, ?, ?, ?, ?)", rows)
        total = toggle(self._meta.made, *(row[-1] for row in rows))
        self._meta = msgspec.structs.replace(self._meta, made=total)

    def _write_keys(
        self, changes: Mapping[str, bytes | None], before: Mapping[str, tuple[str, bytes, bytes] | None]
    ) -> None:
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


class _Busy(Exception):
    """Another process is writing; nothing was begun."""


def _busy() -> StorageUnavailable:
    return StorageUnavailable("another process is writing; nothing was stored", "try again later")
