"""How event-sourced state is kept: take, decide, commit, apply, publish.

`Journal` is the node's only way to the event store: it adds the writer's epoch and publishes what became
durable. `History` is one stream's present state, loaded from snapshot and events and moved on by commits.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from mcp_core.runtime.bus import Bus
from mcp_interface.clock import Clock
from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.errors import UmbrellaError, VersionConflict
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import EventStore, Record, Snapshot, StreamInfo

log = logging.getLogger(__name__)

S = TypeVar("S")
SNAPSHOT_EVERY = 500
"""Events between snapshots of one stream."""


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
        trace_id: TraceId | None = None,
    ) -> list[Record]:
        """Append and publish; a cancelled caller does not keep the records from being published."""
        return await asyncio.shield(
            asyncio.ensure_future(self._append(stream, events, expected, epoch, trace_id))
        )

    async def _append(
        self, stream: str, events: Sequence[Event], expected: int, epoch: int, trace_id: TraceId | None
    ) -> list[Record]:
        records = await self._store.append(stream, events, expected=expected, epoch=epoch, trace_id=trace_id)
        self.bus.publish(records)
        return records

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """As `EventStore.read`."""
        return await self._store.read(stream, after=after, limit=limit)

    async def read_all(self, *, after: int = 0, limit: int = 1000, streams: str = "*") -> list[Record]:
        """As `EventStore.read_all`."""
        return await self._store.read_all(after=after, limit=limit, streams=streams)

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


class History(Generic[S]):
    """The state of one stream. Not safe for overlapping commits: one actor owns it."""

    def __init__(
        self,
        journal: Journal,
        stream: str,
        *,
        initial: Callable[[], S],
        apply: Callable[[S, Record], None],
        clock: Clock,
        schema: str,
    ) -> None:
        self._journal = journal
        self._apply = apply
        self._initial = initial
        self._clock = clock
        self._schema = schema
        self._snapshot_version = 0
        self.stream = stream
        self.state = initial()
        self.version = 0

    async def load(self) -> None:
        """Rebuild the state from the newest snapshot that fits, and the events behind it."""
        self.state = self._initial()
        self.version = self._snapshot_version = 0
        snapshot = await self._journal.load_snapshot(self.stream)
        if snapshot is not None and snapshot.schema == self._schema:
            try:
                self.state = decode_disk(snapshot.state, type(self.state))
            except UmbrellaError as error:
                log.warning("a snapshot of %s is passed over: %s", self.stream, error.message)
            else:
                self.version = self._snapshot_version = snapshot.version
        while page := await self._journal.read(self.stream, after=self.version):
            self._take(page)

    async def commit(self, *events: Event, trace_id: TraceId | None = None) -> list[Record]:
        """Make events durable, then apply them.

        Raises:
            VersionConflict: Somebody else wrote to the stream; the state has been read again, decide again.
            StaleEpoch: Another node has taken over.
            StorageUnavailable: The disk refused.
        """
        try:
            records = await self._journal.append(
                self.stream, events, expected=self.version, epoch=self._journal.epoch, trace_id=trace_id
            )
        except VersionConflict:
            await self.load()
            raise
        self._take(records)
        if self.version - self._snapshot_version >= SNAPSHOT_EVERY:
            await self._save()
        return records

    async def _save(self) -> None:
        snapshot = Snapshot(
            stream=self.stream,
            version=self.version,
            schema=self._schema,
            state=encode_disk(self.state),
            taken_at=self._clock.now(),
        )
        self._snapshot_version = self.version
        try:
            await self._journal.save_snapshot(snapshot)
        except UmbrellaError:
            log.warning("no snapshot of %s could be kept; the journal still has everything", self.stream)

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._apply(self.state, record)
            self.version = record.version
