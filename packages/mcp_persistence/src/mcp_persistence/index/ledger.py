"""The writer's side of the segment journal: judges each decision, appends one frame a batch, then takes it in.

Everything here runs in the writer's thread. What a batch decides is held apart until its frame is durable, so
that a failed append leaves nothing behind in memory that a reader could take for the truth.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from mcp_interface.clock import Clock
from mcp_interface.codec import decode_json
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    StaleEpoch,
    TooMuch,
    UmbrellaError,
    VersionConflict,
)
from mcp_persistence.entry import MAX_VALUE, NEVER, NO_IDS, Committed, Entry, Ids, Known, Row, Run
from mcp_persistence.group_commit import Work
from mcp_persistence.index import reading, snapshots, tables, writing
from mcp_persistence.index.state import Changes, Made, State
from mcp_persistence.index.tables import Meta, suspicion
from mcp_persistence.medium import judge
from mcp_persistence.segment.body import (
    Born,
    Claimed,
    Decided,
    Erased,
    Events,
    Item,
    Put,
    Removed,
    Traced,
    pack,
    unpack,
)
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.sqlite.connection import transaction

CHECKPOINT_EVENTS: Final = 50_000
"""Events after which the index is brought up to date; as many are read again by an opening after a crash."""
CHECKPOINT_BYTES: Final = 32 << 20
"""Bytes of changed keys after which it is, too."""
MOST_KEYS: Final = 4 * MAX_VALUE
"""Bytes of changed keys in one batch: a transaction does not say beforehand how much it will write."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Ledger:
    """The desk at which a batch is judged and written.

    Args:
        log: The journal.
        state: What is true up to its end.
        meta: What the index knows.
        db: The writing connection to the index.
        clock: Stamps each frame.
    """

    def __init__(
        self, log: SegmentLog, state: State, meta: Meta, db: sqlite3.Connection, clock: Clock
    ) -> None:
        self.log = log
        self._db = db
        self._clock = clock
        self._stopped: UmbrellaError | None = None
        self.state = state
        self.meta = meta
        self._begin()

    def _begin(self) -> None:
        self._outcomes: list[Any] = []
        self._items: list[Item] = []
        self._runs: list[Run] = []
        self._rows: list[Row] = []
        self._erased: list[str] = []
        self._versions: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._keys: dict[str, bytes | None] = {}
        self._key_bytes = 0
        self._decisions: dict[str, Made] = {}
        self._heads = self.state.heads
        self._epoch = self.state.epoch
        self._position = self._first = self.log.head

    def commit(self, batch: Sequence[Work["Ledger", Any]]) -> Committed:
        """Do a batch in one frame and make it durable.

        Raises:
            StorageUnavailable: The disk refused; what reached it is not known.
        """
        self.judge(batch)
        return self.finish()

    def judge(self, batch: Sequence[Work["Ledger", Any]]) -> None:
        """The first half of `commit`: nothing is written yet.

        Raises:
            StorageUnavailable: An earlier batch failed.
        """
        self.check()
        self._begin()
        self._outcomes = judge(self, batch)

    def finish(self) -> Committed:
        """The second half of `commit`."""
        if self._items:
            try:
                self._append()
            except UmbrellaError as error:
                self._stopped = error
                raise
            for stream in self._erased:
                with suppress(sqlite3.Error):  # they are not loaded any more; see `snapshots.TABLE`
                    snapshots.forget(self._db, stream)
        return Committed(self._outcomes, self.log.head, self._rows, self._erased)

    def claim(self) -> int:
        """Take the next epoch."""
        self._epoch += 1
        self._items.append(Claimed(self._epoch))
        return self._epoch

    def decide(self, entry: Entry) -> int | Known:
        """Write a decision, all or none; see `front.Desk`."""
        if entry.epoch != self._epoch and (entry.epoch is not None or entry.runs):
            raise StaleEpoch(
                f"epoch {entry.epoch} may not write, {self._epoch} does", "stop writing, or claim the store"
            )
        if entry.key is not None and (known := self._known(entry)) is not None:
            return known
        for run in entry.runs:
            actual = self._version(run.stream)
            if run.expected != actual:
                raise VersionConflict(
                    f"{run.stream!r} is at {actual}, not {run.expected}",
                    "read it again and decide again",
                    {"actual": actual},
                )
        if entry.changes:
            self._check_room(entry.changes)
        before = self._position
        for run in entry.runs:
            self._write(run, entry.ids)
        if entry.changes:
            self._change(entry.changes)
        if entry.key is not None:
            made = Made(entry.digest, before, self._position - before)
            self._decisions[entry.key] = made
            self._items.append(Decided(entry.key, made.digest, before, made.count))
        return before

    def delete_stream(self, stream: str) -> None:
        """Remove a stream; an unknown one is ignored."""
        if not self._version(stream):
            return
        head = self._heads.get(stream)
        self._items.append(Erased(self._number(stream) if head is None else head.number))
        self._versions[stream] = 0
        self._rows = [row for row in self._rows if row.stream != stream]
        self._erased.append(stream)

    def value(self, key: str) -> Any:
        """The value of a key as this batch sees it."""
        content = self._keys[key] if key in self._keys else reading.value(self._db, self.state.changes, key)
        if content is None:
            raise NotFound(f"no key {key!r}")
        return decode_json(content, Any)

    @property
    def is_due(self) -> bool:
        """Whether the index should be brought up to date."""
        changes = self.state.changes
        return changes.events >= CHECKPOINT_EVENTS or changes.key_bytes >= CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Bring the index up to date."""
        checkpoint = self.log.checkpoint()
        # after a failure somebody else may have opened the index: what is known here is not the truth any more
        if self._stopped is not None or checkpoint == self.meta.checkpoint:
            return
        with suspicion(), transaction(self._db):
            meta = writing.write(self._db, self.meta, self.state, checkpoint)
        self.meta = meta
        # A reader may have looked before the commit and still hold the old changes: those stay whole.
        self.state.changes = Changes()

    def catch_up(self) -> int:
        """Take in every frame behind the index, and put that down; gives the number of their events."""
        with suspicion(), transaction(self._db):
            meta, events = self._read_on(self.meta, self.state)
        self.meta = meta
        return events

    def rebuild(self) -> None:
        """Forget what the index holds and read the whole journal again."""
        self.check()
        state = State()
        with suspicion(), transaction(self._db):
            tables.clear(self._db)
            meta, _ = self._read_on(writing.blank(self.log.journal_id), state)
        self.meta, self.state = meta, state

    def check(self) -> None:
        """Refuse to write once stopped."""
        if self._stopped is not None:
            raise self._stopped

    def stop(self, error: UmbrellaError) -> None:
        """Refuse the next batch: the index cannot follow, and memory must not grow without bound."""
        self._stopped = error

    def _read_on(self, meta: Meta, state: State) -> tuple[Meta, int]:
        events = 0
        start = meta.checkpoint
        for frame in self.log.frames(start if start.frame else None):
            state.apply(frame.place, frame.first, unpack(frame.body, frame.first))
            events += frame.count
            if state.changes.events >= CHECKPOINT_EVENTS or state.changes.key_bytes >= CHECKPOINT_BYTES:
                # within the caller's transaction: a crash leaves the old checkpoint with the old rows
                meta = writing.write(self._db, meta, state, start)
                state.changes = Changes()
        if self.log.checkpoint() != start:
            meta = writing.write(self._db, meta, state, self.log.checkpoint())
            state.changes = Changes()
        return meta, events

    def _append(self) -> None:
        at = (self._clock.now() - NEVER) // _MICROSECOND
        place = self.log.append(
            pack(self._items), count=self._position - self._first, epoch=self.state.epoch, at=at
        )
        self.state.apply(place, self._first + 1, self._items, self._runs)

    def _write(self, run: Run, ids: Ids) -> None:
        stream, version, position = run.stream, run.expected + 1, self._position
        head = self._heads.get(stream)
        number = self._number(stream) if head is None else head.number
        bodies = run.bodies
        self._items.append(
            Events(number, version, bodies) if ids is NO_IDS else Traced(number, version, bodies, *ids)
        )
        self._runs.append(run)
        self._rows.append(Row(position + 1, stream, version, self._epoch, bodies, ids))
        self._position = position + len(bodies)
        self._versions[stream] = run.expected + len(bodies)

    def judge_runs(self, batch: Sequence[Run]) -> None:
        """As `judge`, for decisions that are one run each: what almost all are.

        It looks at nothing but memory that changes only while a batch is finished, and may run in another
        thread: see `SegmentMedium.commit`. The same rules, without a call for each; whatever they refuse goes
        the long way and gets its words there.
        """
        self.check()
        self._begin()
        epoch, position = self._epoch, self._position
        versions, heads = self._versions, self._heads
        outcomes, items, rows = self._outcomes, self._items, self._rows
        for run in batch:
            stream, bodies, version = run.stream, run.bodies, run.expected + 1
            head = heads.get(stream)
            known = versions.get(stream)
            if known is None:
                known = 0 if head is None else head.version
            if run.epoch != epoch or run.expected != known:
                self._position = position
                outcomes += judge(self, [run])
                continue
            number = self._number(stream) if head is None else head.number
            items.append(Events(number, version, bodies))
            rows.append(Row(position + 1, stream, version, epoch, bodies, NO_IDS))
            outcomes.append(position)
            position += len(bodies)
            versions[stream] = run.expected + len(bodies)
            self._runs.append(run)
        self._position = position

    def _check_room(self, changes: dict[str, bytes | None]) -> None:
        self._key_bytes += sum(len(content) for content in changes.values() if content is not None)
        if self._key_bytes > MOST_KEYS:
            raise TooMuch("too much is being written to keys at this moment", "wait a moment and try again")

    def _change(self, changes: dict[str, bytes | None]) -> None:
        for key, content in changes.items():
            self._items.append(Removed(key) if content is None else Put(key, content))
        self._keys |= changes

    def _version(self, stream: str) -> int:
        version = self._versions.get(stream)
        if version is None:
            head = self._heads.get(stream)
            version = 0 if head is None else head.version
        return version

    def _number(self, stream: str) -> int:
        number = self._numbers.get(stream)
        if number is None:
            number = len(self.state.numbers) + len(self._numbers) + 1
            self._numbers[stream] = number
            self._items.append(Born(number, stream))
        return number

    def _known(self, entry: Entry) -> Known | None:
        key = entry.key or ""
        made = self._decisions.get(key) or reading.decision(self._db, self.state.changes, key)
        if made is None:
            return None
        if made.digest != entry.digest:
            raise CallerMistaken(
                f"the idempotency key {key!r} was used for other events",
                "give each decision a key of its own",
            )
        return Known(made.before, made.count)
