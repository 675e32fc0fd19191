"""Where things rest: the event store (the journal) and the key-value store.

Acknowledged means durable: a coroutine that writes returns only after the bytes are synced. Streams are
named `session:<id>`, `agent:<id>`, `security`, `servers`. Versions count from 1 within a stream, positions
count from 1 over the whole store, and a position once visible is never preceded by a later arrival.

Cancelling a writer either withdraws the write, and raises, or comes too late: then the write goes through, the
coroutine returns as if nothing had been, and the cancellation is delivered at the caller's next await.

Production: `mcp_persistence.SegmentJournal` and `SqliteJournal`; in memory: `testing.MemoryStore`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.events import Event
from mcp_interface.ids import TraceId

T = TypeVar("T")
NEW_STREAM: Final = 0
"""Expected version of a stream that must not exist yet."""
PAGE: Final = 1000
"""Most records that one read returns."""


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event at rest."""

    position: int
    """Place in the whole store, from 1."""
    stream: str
    version: int
    """Place in its stream, from 1."""
    epoch: int
    """Which writer wrote it."""
    event: Event
    trace_id: TraceId | None = None
    causation_id: str | None = None
    """What led to it: the id of a message, an execution or another decision."""
    correlation_id: str | None = None
    """What it belongs to as a whole, such as a run."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A shortcut: the state after applying a stream up to `version`. Losing it loses nothing."""

    stream: str
    version: int
    schema: str
    """Names the shape of `state` and its version, `<name>/<n>`; a reader that does not know it replays."""
    state: bytes
    taken_at: Instant
    fingerprint: str = ""
    """`codec.fingerprint` of the state's type: a shape changed without a new version is noticed."""
    position: int = 0
    """Position of the event at `version`: a recovery of many states begins to read behind it."""


class SnapshotPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When the next snapshot of a stream is due: by count or by time, whichever comes first."""

    events: int = 500
    seconds: float = 300.0

    def is_due(self, events: int, seconds: float) -> bool:
        """Tell whether so many events, and so much time, since the last one are enough."""
        return events >= self.events or (events > 0 and seconds >= self.seconds)


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """Events for the end of one stream, as a part of a `Decision`."""

    stream: str
    events: Sequence[Event]
    expected: int
    """The version last seen; zero means the stream must not exist yet."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of work leaves behind: results, state, timers, outgoing messages. All of it or none."""

    appends: Sequence[Append] = ()
    """Each stream once."""
    puts: dict[str, Any] = {}
    """Keys to set, as `KeyValueStore.put`."""
    deletes: Sequence[str] = ()
    """Keys to remove."""
    key: str | None = None
    """Idempotency key, unique in the store: a decision that was made already is not made again."""
    trace_id: TraceId | None = None
    causation_id: str | None = None
    correlation_id: str | None = None


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a store is."""

    kind: str
    """`segments`, `sqlite` or `memory`."""
    state: Literal["writable", "read_only", "closed"]
    reason: str = ""
    """Why it is not writable, and what ends that."""
    found: str = ""
    """One line: what the last opening found; what it did behind the first `; `."""
    head: int
    streams: int
    size_bytes: int = 0
    """What it takes on the disk."""
    segments: int = 0
    disk: Literal["ok", "warning", "error"] = "ok"
    """Warning beyond 85 % of the file system, error beyond 95 %."""
    disk_used: float = 0.0
    """Share of the file system in use, 0 to 1."""
    damage: str = ""
    """What the last verification found, as long as no later one finds none. A store does not remember this; a
    running node adds it."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stream without reading it."""

    stream: str
    version: int
    created_at: Instant
    updated_at: Instant
    snapshot_version: int = 0
    """Zero: none."""


class EventStore(Protocol):
    """Append-only history with optimistic positions and fenced writers."""

    async def claim(self) -> int:
        """Become the writer: take the next epoch. Every older epoch is refused from now on."""
        ...

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected: int,
        epoch: int,
        key: str | None = None,
        trace_id: TraceId | None = None,
        causation_id: str | None = None,
        correlation_id: str | None = None,
    ) -> list[Record]:
        """Add events to the end of one stream, all or none, durable on return.

        Args:
            stream: Which history to extend; up to 200 printable characters.
            events: One or more; an empty sequence is a mistake, not a no-op.
            expected: The version last seen; zero means the stream must not exist yet.
            epoch: What `claim` gave.
            key: Idempotency key, up to 200 printable characters, unique in the store. When events were
                appended with it before, nothing is written and those records are returned, whatever
                `expected` says; without those of streams that were removed since.
            trace_id: Kept with each record, as are the next two.
            causation_id: What led to it.
            correlation_id: What it belongs to.

        Returns:
            The records as stored, in order.

        Raises:
            CallerMistaken: No events, a bad stream name, or a key that was used for other events.
            VersionConflict: The stream is elsewhere; `details["actual"]` says where.
            StaleEpoch: Another writer has claimed the store.
            TooMuch: Too many writes wait already; nothing was stored.
            StorageUnavailable: The disk refused; whether the events are in is not known.
        """
        ...

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Records of one stream with version > `after`, in order, at most min(limit, PAGE).

        An unknown stream is empty.

        Raises:
            StorageCorrupt: A record is not what was written.
        """
        ...

    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        """Records of all streams that match a glob, with position > `after`, in order of position."""
        ...

    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        """Records of matching streams behind `after`, then each new one once it is durable; without end.

        In order of position, without a gap, none twice; resumed by the position of the last record seen. A
        slow reader holds nobody up and loses nothing. Closing the generator, or the store, ends it.
        """
        ...

    async def head(self) -> int:
        """Position of the last durable record; zero for an empty store."""
        ...

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        """Streams that match a glob, by name, beginning behind `after`."""
        ...

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream.

        Raises:
            NotFound: No such stream.
        """
        ...

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream and its snapshots; an unknown one is ignored. Positions are not reused."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep the latest snapshots of a stream.

        Raises:
            CallerMistaken: It is ahead of its stream, or of no event at all.
        """
        ...

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; damaged ones are passed over."""
        ...

    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = PAGE
    ) -> list[Snapshot]:
        """The newest sound snapshot of each stream that matches a glob and has one, by name, behind `after`."""
        ...


class Transaction(Protocol):
    """The key-value operations inside `KeyValueStore.transaction`."""

    def get(self, key: str) -> Any:
        """As `KeyValueStore.get`, seeing this transaction's own writes."""
        ...

    def put(self, key: str, value: Any) -> None:
        """As `KeyValueStore.put`, on commit."""
        ...

    def delete(self, key: str) -> None:
        """As `KeyValueStore.delete`, on commit."""
        ...


class KeyValueStore(Protocol):
    """Small durable facts by name. Values are JSON-compatible; falsy ones are values too.

    A name has 1 to 512 printable characters.
    """

    async def put(self, key: str, value: Any) -> None:
        """Set a key, durable on return.

        Raises:
            CallerMistaken: It cannot be a name, or the value is not JSON-compatible.
        """
        ...

    async def get(self, key: str) -> Any:
        """Read a key.

        Raises:
            NotFound: No such key (None is a value).
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; an unknown one is ignored."""
        ...

    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        """Keys that match a glob, sorted, beginning behind `after`."""
        ...

    async def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent view; all of its writes are kept, or none when it raises."""
        ...


class Store(EventStore, KeyValueStore, Protocol):
    """Both flavours over one medium, opened and closed together.

    When the medium refuses a write, the store turns read-only: whoever waits is told, later writes are refused
    with `StorageUnavailable`, reading goes on. It looks at the medium again by itself and is writable once that
    has healed.
    """

    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        """Make a decision durable: all of its appends and keys at once, or nothing.

        Returns:
            The records in order of `appends`; those of the first time when the idempotency key is known.

        Raises:
            CallerMistaken: It is empty, names a stream or a key twice, or its key was used for another.
            VersionConflict, StaleEpoch, TooMuch, StorageUnavailable: As `append`.
        """
        ...

    async def report(self) -> StoreReport:
        """Say how the store is; also when it is closed."""
        ...

    async def verify(self) -> int:
        """Read everything back and compare it with what was written; gives the number of events.

        Raises:
            StorageCorrupt: Something is missing, changed or added; says where, and what is sound.
        """
        ...

    async def rebuild(self) -> None:
        """Make anew, from the history, whatever can be derived from it."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then release the medium; harmless when repeated."""
        ...
