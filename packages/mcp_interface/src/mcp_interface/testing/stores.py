"""A `Store` in memory: everything a durable store promises, except surviving the process.

Values rest as encoded bytes, so that neither writer nor reader can change them afterwards. Writing never waits:
a writer is cancelled before it began, or not at all.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from mcp_interface.codec import decode_disk, encode_disk, encode_json
from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NotFound,
    StaleEpoch,
    StorageUnavailable,
    VersionConflict,
)
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import (
    PAGE,
    Append,
    Decision,
    Record,
    Snapshot,
    StoreReport,
    StreamInfo,
    Transaction,
)
from mcp_interface.testing.shelf import (
    Draft,
    Made,
    Shelf,
    bounded,
    check_decision,
    check_key,
    content_of,
    matching,
    record_of,
    value_of,
)

T = TypeVar("T")
KEPT_SNAPSHOTS: Final = 5


class MemoryStore:
    """An honest `Store` without a medium."""

    def __init__(self) -> None:
        self._epoch = 0
        self._head = 0
        self._records: dict[int, bytes] = {}
        self._streams: dict[str, Shelf] = {}
        self._made: dict[str, Made] = {}
        self._values: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._closed = False

    async def claim(self) -> int:
        """Become the writer; see `EventStore.claim`."""
        self._check_open()
        self._epoch += 1
        return self._epoch

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
        """Add events to one stream, all or none; see `EventStore.append`."""
        decision = Decision(
            appends=[Append(stream=stream, events=events, expected=expected)],
            key=key,
            trace_id=trace_id,
            causation_id=causation_id,
            correlation_id=correlation_id,
        )
        return self._write(decision, epoch)

    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        """Write a decision, all or nothing; see `Store.commit`."""
        return self._write(decision, epoch)

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Records of one stream; see `EventStore.read`."""
        self._check_open()
        kept = self._streams.get(stream, Shelf())
        wanted = kept.positions[max(after, 0) :][: bounded(limit)]
        return [record_of(self._records[position]) for position in wanted]

    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        """Records of all matching streams; see `EventStore.read_all`."""
        self._check_open()
        found: list[Record] = []
        for position in range(max(after, 0) + 1, self._head + 1):
            if len(found) >= bounded(limit):
                break
            data = self._records.get(position)
            if data is not None and fnmatchcase((record := record_of(data)).stream, streams):
                found.append(record)
        return found

    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        """What matches, then what comes; see `EventStore.subscribe`."""
        while not self._closed:
            changed, seen = self._changed, self._head
            page = await self.read_all(after=after, streams=streams)
            for record in page:
                yield record
            if len(page) == PAGE:
                after = page[-1].position
            else:
                after = max(after, seen)
                await changed.wait()

    async def head(self) -> int:
        """Position of the last record; see `EventStore.head`."""
        self._check_open()
        return self._head

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        """Matching streams by name; see `EventStore.streams`."""
        self._check_open()
        return [self._info(name) for name in matching(self._streams, pattern, after, limit)]

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream; see `EventStore.stream_info`."""
        self._check_open()
        if stream not in self._streams:
            raise NotFound(f"no stream {stream!r}")
        return self._info(stream)

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream and its snapshots; see `EventStore.delete_stream`."""
        self._check_open()
        for position in self._streams.pop(stream, Shelf()).positions:
            del self._records[position]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, the newest few of each stream; see `EventStore.save_snapshot`."""
        self._check_open()
        kept = self._streams.get(snapshot.stream, Shelf())
        if not 1 <= snapshot.version <= len(kept.positions):
            raise CallerMistaken(
                f"a snapshot of {snapshot.stream!r} at {snapshot.version} is not within its {len(kept.positions)}",
                "append first",
            )
        kept.snapshots[snapshot.version] = encode_disk(snapshot)
        for version in sorted(kept.snapshots)[:-KEPT_SNAPSHOTS]:
            del kept.snapshots[version]

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; see `EventStore.load_snapshot`."""
        self._check_open()
        kept = self._streams.get(stream, Shelf())
        for version in sorted(kept.snapshots, reverse=True):
            try:
                snapshot: Snapshot = decode_disk(kept.snapshots[version], Snapshot)
            except InvalidRecord:
                continue
            return snapshot
        return None

    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = PAGE
    ) -> list[Snapshot]:
        """The newest sound snapshots by stream; see `EventStore.load_snapshots`."""
        self._check_open()
        kept = {name: stream for name, stream in self._streams.items() if stream.snapshots}
        found = [await self.load_snapshot(name) for name in matching(kept, pattern, after, limit)]
        return [snapshot for snapshot in found if snapshot is not None]

    async def put(self, key: str, value: Any) -> None:
        """Set a key; see `KeyValueStore.put`."""
        self._check_open()
        check_key(key)
        self._values[key] = encode_json(value)

    async def get(self, key: str) -> Any:
        """Read a key; see `KeyValueStore.get`."""
        self._check_open()
        return value_of(self._values, key)

    async def delete(self, key: str) -> None:
        """Remove a key; see `KeyValueStore.delete`."""
        self._check_open()
        self._values.pop(key, None)

    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        """Matching keys, sorted; see `KeyValueStore.list_keys`."""
        self._check_open()
        return matching(self._values, pattern, after, limit)

    async def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a copy that replaces the values when it returns; see `KeyValueStore.transaction`."""
        self._check_open()
        draft = Draft(dict(self._values))
        result = work(draft)
        self._values = draft.values
        return result

    async def report(self) -> StoreReport:
        """Say how the store is; see `Store.report`."""
        return StoreReport(
            kind="memory",
            state="closed" if self._closed else "writable",
            reason="the store is closed; open it again" if self._closed else "",
            head=self._head,
            streams=len(self._streams),
        )

    async def verify(self) -> int:
        """Read every event back and count them; see `Store.verify`."""
        self._check_open()
        return len([record_of(data) for data in self._records.values()])

    async def rebuild(self) -> None:
        """Find out anew which records belong to which stream; see `Store.rebuild`."""
        self._check_open()
        for kept in self._streams.values():
            kept.positions.clear()
        for position, data in self._records.items():
            self._streams[record_of(data).stream].positions.append(position)

    async def close(self) -> None:
        """Refuse everything from now on; harmless when repeated."""
        self._closed = True
        self._changed.set()

    def damage_snapshot(self, stream: str) -> None:
        """Break the newest snapshot of a stream, as a bad disk would."""
        snapshots = self._streams[stream].snapshots
        newest = max(snapshots)
        snapshots[newest] = snapshots[newest][:-1]

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the store is closed", "open it again")

    def _write(self, decision: Decision, epoch: int) -> list[Record]:
        self._check_open()
        check_decision(decision)
        content = content_of(decision)
        if epoch != self._epoch:
            raise StaleEpoch(f"epoch {epoch} may not write, {self._epoch} does", "stop writing")
        if decision.key is not None and decision.key in self._made:
            return self._repeat(decision.key, content)
        encoded = [encode_disk(record) for record in self._records_for(decision, epoch)]
        puts = {key: encode_json(value) for key, value in decision.puts.items()}
        records = [record_of(data) for data in encoded]  # one that cannot be read back is not taken
        for record, data in zip(records, encoded, strict=True):
            self._records[record.position] = data
            self._streams.setdefault(record.stream, Shelf()).positions.append(record.position)
        self._head += len(records)
        self._values |= puts
        for key in decision.deletes:
            self._values.pop(key, None)
        if decision.key is not None:
            self._made[decision.key] = Made(content, [record.position for record in records])
        self._changed.set()
        self._changed = asyncio.Event()
        return records

    def _repeat(self, key: str, content: bytes) -> list[Record]:
        made = self._made[key]
        if made.content != content:
            raise CallerMistaken(f"the idempotency key {key!r} was used for something else", "use a new one")
        return [
            record_of(self._records[position]) for position in made.positions if position in self._records
        ]

    def _records_for(self, decision: Decision, epoch: int) -> list[Record]:
        records: list[Record] = []
        for append in decision.appends:
            actual = len(self._streams.get(append.stream, Shelf()).positions)
            if append.expected != actual:
                raise VersionConflict(
                    f"{append.stream!r} is at {actual}, not {append.expected}",
                    "read it again",
                    {"actual": actual},
                )
            records += [
                Record(
                    position=self._head + len(records) + place,
                    stream=append.stream,
                    version=actual + place,
                    epoch=epoch,
                    event=event,
                    trace_id=decision.trace_id,
                    causation_id=decision.causation_id,
                    correlation_id=decision.correlation_id,
                )
                for place, event in enumerate(append.events, start=1)
            ]
        return records

    def _info(self, name: str) -> StreamInfo:
        kept = self._streams[name]
        return StreamInfo(
            stream=name,
            version=len(kept.positions),
            created_at=record_of(self._records[kept.positions[0]]).event.timestamp,
            updated_at=record_of(self._records[kept.positions[-1]]).event.timestamp,
            snapshot_version=max(kept.snapshots, default=0),
        )
