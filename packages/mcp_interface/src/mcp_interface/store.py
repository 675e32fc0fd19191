"""Where things rest: the event store (the journal) and the key-value store.

Acknowledged means durable: a coroutine that writes returns only after the bytes are synced. Streams are
named `session:<id>`, `agent:<id>`, `security`, `servers`. Versions count from 1 within a stream, positions
count from 1 over the whole store, and a position once visible is never preceded by a later arrival.
Production: `mcp_persistence.SqliteStore`; in memory: `testing.MemoryStore`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.events import Event
from mcp_interface.ids import TraceId

T = TypeVar("T")
NEW_STREAM: Final = 0
"""Expected version of a stream that must not exist yet."""
PAGE: Final = 1000
"""Most records that one read returns."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
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


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A shortcut: the state after applying a stream up to `version`. Losing it loses nothing."""

    stream: str
    version: int
    schema: str
    """Names the shape of `state`; a reader that does not know it replays from the start."""
    state: bytes
    taken_at: Instant


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
        trace_id: TraceId | None = None,
    ) -> list[Record]:
        """Add events to the end of one stream, all or none, durable on return.

        Cancelling the caller does not tell whether the events are in; read again.

        Args:
            stream: Which history to extend; up to 200 printable characters.
            events: One or more; an empty sequence is a mistake, not a no-op.
            expected: The version last seen; zero means the stream must not exist yet.
            epoch: What `claim` gave.
            trace_id: Kept with each record.

        Returns:
            The records as stored, in order.

        Raises:
            CallerMistaken: No events, or a bad stream name.
            VersionConflict: The stream is elsewhere; `details["actual"]` says where.
            StaleEpoch: Another writer has claimed the store.
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
            CallerMistaken: It is ahead of its stream.
        """
        ...

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; damaged ones are passed over."""
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
    """Small durable facts by name. Values are JSON-compatible; falsy ones are values too."""

    async def put(self, key: str, value: Any) -> None:
        """Set a key, durable on return."""
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
    """Both flavours over one medium, opened and closed together."""

    async def close(self) -> None:
        """Finish what is queued, then release the medium; harmless when repeated."""
        ...
