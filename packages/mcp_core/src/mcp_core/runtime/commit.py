"""How event-sourced state is kept: take, decide, commit, apply, publish.

`Journal` is the node's only way to the event store: it adds the writer's epoch and publishes what became
durable. `History` is one stream's present state, loaded from snapshot and events and moved on by commits.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from mcp_core.runtime.bus import Bus
from mcp_interface.clock import Clock
from mcp_interface.codec import decode_disk, encode_disk, fingerprint
from mcp_interface.errors import StorageUnavailable, UmbrellaError, VersionConflict
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import EventStore, Record, Snapshot, SnapshotPolicy, StreamInfo
from mcp_interface.trace import current_trace_id

log = logging.getLogger(__name__)

S = TypeVar("S")
USUAL: Final = SnapshotPolicy()
ATTEMPTS: Final = 3
"""Decisions on one message before a writer that is always late gives up."""


class Journal:
    """An `EventStore` that publishes. Reads go straight through."""

    def __init__(self, store: EventStore, epoch: int, bus: Bus) -> None:
        self._store = store
        self.epoch = epoch
        self.bus = bus

    async def claim(self) -> int:
        """Take over from every earlier writer, this one's own past included."""
        self.epoch = await self._store.claim()
        return self.epoch

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
        """As `EventStore.append`; what is durable is published before this returns.

        Without a trace of its own it carries the caller's `current_trace`.
        """
        records = await self._store.append(
            stream,
            events,
            expected=expected,
            epoch=epoch,
            key=key,
            trace_id=current_trace_id() if trace_id is None else trace_id,
            causation_id=causation_id,
            correlation_id=correlation_id,
        )
        self.bus.publish(records)
        return records

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """As `EventStore.read`."""
        return await self._store.read(stream, after=after, limit=limit)

    async def read_all(self, *, after: int = 0, limit: int = 1000, streams: str = "*") -> list[Record]:
        """As `EventStore.read_all`."""
        return await self._store.read_all(after=after, limit=limit, streams=streams)

    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        """As `EventStore.subscribe`."""
        return self._store.subscribe(after=after, streams=streams)

    async def head(self) -> int:
        """As `EventStore.head`."""
        return await self._store.head()

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = 1000) -> list[StreamInfo]:
        """As `EventStore.streams`."""
        return await self._store.streams(pattern, after=after, limit=limit)

    async def stream_info(self, stream: str) -> StreamInfo:
        """As `EventStore.stream_info`."""
        return await self._store.stream_info(stream)

    async def delete_stream(self, stream: str) -> None:
        """As `EventStore.delete_stream`."""
        await self._store.delete_stream(stream)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """As `EventStore.save_snapshot`."""
        await self._store.save_snapshot(snapshot)

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """As `EventStore.load_snapshot`."""
        return await self._store.load_snapshot(stream)

    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = 1000
    ) -> list[Snapshot]:
        """As `EventStore.load_snapshots`."""
        return await self._store.load_snapshots(pattern, after=after, limit=limit)


class History(Generic[S]):
    """The state of one stream. Not safe for overlapping commits: one actor owns it.

    Args:
        journal: Where the stream lies.
        stream: Its name.
        initial: Makes the state before the first event.
        apply: Moves the state on by one record.
        clock: For the time between snapshots, which a wall clock set anew does not change.
        schema: Name and version of the state, `<name>/<n>`. A new field or type is noticed without a new
            version; an `apply` that comes to other results is not.
        policy: When a commit is followed by a snapshot.
    """

    def __init__(
        self,
        journal: Journal,
        stream: str,
        *,
        initial: Callable[[], S],
        apply: Callable[[S, Record], None],
        clock: Clock,
        schema: str,
        policy: SnapshotPolicy = USUAL,
    ) -> None:
        self._journal = journal
        self._apply = apply
        self._initial = initial
        self._clock = clock
        self._schema = schema
        self._policy = policy
        self._snapshot_version = 0
        self._snapshot_at = clock.monotonic()
        self._unsure = False
        self._position = 0
        self.stream = stream
        self.state = initial()
        self.version = 0

    async def load(self) -> None:
        """Rebuild the state from the newest snapshot, if it fits, and the events behind it."""
        self.state = self._initial()
        self.version = self._snapshot_version = 0
        snapshot = await self._journal.load_snapshot(self.stream)
        if snapshot is not None:
            self._restore(snapshot)
        while page := await self._journal.read(self.stream, after=self.version):
            self._take(page)
        self._unsure = False

    async def commit(self, *events: Event, trace_id: TraceId | None = None) -> list[Record]:
        """Make events durable, then apply them.

        Raises:
            VersionConflict: Somebody else wrote to the stream; the state has been read again, decide again.
            StaleEpoch: Another node has taken over.
            StorageUnavailable: The disk refused.
        """
        if self._unsure:
            await self._make_sure()
        try:
            records = await self._journal.append(
                self.stream, events, expected=self.version, epoch=self._journal.epoch, trace_id=trace_id
            )
        except VersionConflict:
            await self.load()
            raise
        except StorageUnavailable:
            self._unsure = True
            raise
        self._take(records)
        passed = self._clock.monotonic() - self._snapshot_at
        if self._policy.is_due(self.version - self._snapshot_version, passed):
            await self._save()
        return records

    async def decide(
        self, events: Callable[[S], Sequence[Event]], *, attempts: int = ATTEMPTS
    ) -> list[Record]:
        """Commit what a pure function makes of the state; when another writer was first, ask it again.

        Args:
            events: From the state to what happens; nothing happens when it returns nothing or raises.
            attempts: How often at most.

        Raises:
            VersionConflict: Somebody else was first every time.
            StaleEpoch: Another node has taken over.
            StorageUnavailable: The disk refused.
        """
        for left in range(attempts - 1, -1, -1):
            if self._unsure:
                await self.load()
            decided = events(self.state)
            if not decided:
                return []
            try:
                return await self.commit(*decided)
            except VersionConflict:
                if not left:
                    raise
        raise AssertionError("at least one attempt")

    async def _make_sure(self) -> None:
        """Events of an append that failed may be in the journal all the same."""
        known = self.version
        await self.load()
        if self.version != known:
            raise VersionConflict(
                f"{self.stream!r} is at {self.version}, not {known}: what was refused had been written",
                "decide again",
                {"actual": self.version},
            )

    def _restore(self, snapshot: Snapshot) -> None:
        shape = self._fingerprint()
        if (snapshot.schema, snapshot.fingerprint) != (self._schema, shape):
            log.info(
                "a snapshot of %s is passed over: it is of shape %s %s, not %s %s",
                self.stream,
                snapshot.schema,
                snapshot.fingerprint or "unknown",
                self._schema,
                shape,
            )
            return
        try:
            self.state = decode_disk(snapshot.state, type(self.state))
        except UmbrellaError as error:
            log.warning("a snapshot of %s is passed over: %s", self.stream, error.message)
        else:
            self.version = self._snapshot_version = snapshot.version
            self._position = snapshot.position

    async def _save(self) -> None:
        snapshot = Snapshot(
            stream=self.stream,
            version=self.version,
            schema=self._schema,
            state=encode_disk(self.state),
            taken_at=self._clock.now(),
            fingerprint=self._fingerprint(),
            position=self._position,
        )
        # also when it cannot be kept: the next attempt is due when the next snapshot is
        self._snapshot_version, self._snapshot_at = self.version, self._clock.monotonic()
        try:
            await self._journal.save_snapshot(snapshot)
        except UmbrellaError:
            log.warning("no snapshot of %s could be kept; the journal still has everything", self.stream)

    def _fingerprint(self) -> str:
        kind: Any = type(self.state)
        return fingerprint(kind)

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._apply(self.state, record)
            self.version = record.version
            self._position = record.position
