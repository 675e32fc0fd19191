"""A `Store` in memory: everything a durable store promises, except surviving the process.

Values rest as encoded bytes, so that neither writer nor reader can change them afterwards.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.codec import decode_disk, decode_json, encode_disk, encode_json
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
from mcp_interface.store import PAGE, Record, Snapshot, StreamInfo, Transaction

T = TypeVar("T")
MAX_STREAM_NAME: Final = 200
KEPT_SNAPSHOTS: Final = 5


class _Stream(msgspec.Struct):
    """One history at rest."""

    positions: list[int] = []
    """Indexes into the store's records, in order of version."""
    snapshots: dict[int, bytes] = {}


class MemoryStore:
    """An honest `Store` without a medium."""

    def __init__(self) -> None:
        self._epoch = 0
        self._head = 0
        self._records: dict[int, bytes] = {}
        self._streams: dict[str, _Stream] = {}
        self._values: dict[str, bytes] = {}
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
        trace_id: TraceId | None = None,
    ) -> list[Record]:
        """Add events to one stream, all or none; see `EventStore.append`."""
        self._check_open()
        _check_name(stream)
        if not events:
            raise CallerMistaken(f"nothing to append to {stream!r}", "give at least one event")
        if epoch != self._epoch:
            raise StaleEpoch(f"epoch {epoch} may not write, {self._epoch} does", "stop writing")
        kept = self._streams.get(stream, _Stream())
        actual = len(kept.positions)
        if expected != actual:
            raise VersionConflict(
                f"{stream!r} is at {actual}, not {expected}", "read it again", {"actual": actual}
            )
        records = [
            Record(
                position=self._head + place,
                stream=stream,
                version=actual + place,
                epoch=epoch,
                event=event,
                trace_id=trace_id,
            )
            for place, event in enumerate(events, start=1)
        ]
        encoded = {record.position: encode_disk(record) for record in records}
        self._records |= encoded
        kept.positions.extend(encoded)
        self._streams[stream] = kept
        self._head += len(records)
        return [_record(data) for data in encoded.values()]

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Records of one stream; see `EventStore.read`."""
        self._check_open()
        kept = self._streams.get(stream, _Stream())
        wanted = kept.positions[max(after, 0) :][: _bounded(limit)]
        return [_record(self._records[position]) for position in wanted]

    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        """Records of all matching streams; see `EventStore.read_all`."""
        self._check_open()
        found: list[Record] = []
        for position, data in self._records.items():
            if len(found) >= _bounded(limit):
                break
            if position > after and fnmatchcase((record := _record(data)).stream, streams):
                found.append(record)
        return found

    async def head(self) -> int:
        """Position of the last record; see `EventStore.head`."""
        self._check_open()
        return self._head

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        """Matching streams by name; see `EventStore.streams`."""
        self._check_open()
        return [self._info(name) for name in _matching(self._streams, pattern, after, limit)]

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream; see `EventStore.stream_info`."""
        self._check_open()
        if stream not in self._streams:
            raise NotFound(f"no stream {stream!r}")
        return self._info(stream)

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream and its snapshots; see `EventStore.delete_stream`."""
        self._check_open()
        for position in self._streams.pop(stream, _Stream()).positions:
            del self._records[position]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, the newest few of each stream; see `EventStore.save_snapshot`."""
        self._check_open()
        kept = self._streams.get(snapshot.stream, _Stream())
        if snapshot.version > len(kept.positions):
            raise CallerMistaken(
                f"a snapshot of {snapshot.stream!r} at {snapshot.version} is ahead of {len(kept.positions)}",
                "append first",
            )
        kept.snapshots[snapshot.version] = encode_disk(snapshot)
        for version in sorted(kept.snapshots)[:-KEPT_SNAPSHOTS]:
            del kept.snapshots[version]

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; see `EventStore.load_snapshot`."""
        self._check_open()
        kept = self._streams.get(stream, _Stream())
        for version in sorted(kept.snapshots, reverse=True):
            try:
                snapshot: Snapshot = decode_disk(kept.snapshots[version], Snapshot)
            except InvalidRecord:
                continue
            return snapshot
        return None

    async def put(self, key: str, value: Any) -> None:
        """Set a key; see `KeyValueStore.put`."""
        self._check_open()
        self._values[key] = encode_json(value)

    async def get(self, key: str) -> Any:
        """Read a key; see `KeyValueStore.get`."""
        self._check_open()
        return _value(self._values, key)

    async def delete(self, key: str) -> None:
        """Remove a key; see `KeyValueStore.delete`."""
        self._check_open()
        self._values.pop(key, None)

    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        """Matching keys, sorted; see `KeyValueStore.list_keys`."""
        self._check_open()
        return _matching(self._values, pattern, after, limit)

    async def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a copy that replaces the values when it returns; see `KeyValueStore.transaction`."""
        self._check_open()
        draft = _Draft(dict(self._values))
        result = work(draft)
        self._values = draft.values
        return result

    async def close(self) -> None:
        """Refuse everything from now on; harmless when repeated."""
        self._closed = True

    def damage_snapshot(self, stream: str) -> None:
        """Break the newest snapshot of a stream, as a bad disk would."""
        snapshots = self._streams[stream].snapshots
        newest = max(snapshots)
        snapshots[newest] = snapshots[newest][:-1]

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the store is closed", "open it again")

    def _info(self, name: str) -> StreamInfo:
        kept = self._streams[name]
        return StreamInfo(
            stream=name,
            version=len(kept.positions),
            created_at=_record(self._records[kept.positions[0]]).event.timestamp,
            updated_at=_record(self._records[kept.positions[-1]]).event.timestamp,
            snapshot_version=max(kept.snapshots, default=0),
        )


class _Draft:
    """The `Transaction` of a memory store."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def get(self, key: str) -> Any:
        return _value(self.values, key)

    def put(self, key: str, value: Any) -> None:
        self.values[key] = encode_json(value)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def _check_name(stream: str) -> None:
    if not stream or len(stream) > MAX_STREAM_NAME or not stream.isprintable():
        raise CallerMistaken(
            f"{stream[:MAX_STREAM_NAME]!r} cannot name a stream",
            f"use 1 to {MAX_STREAM_NAME} printable characters",
        )


def _record(data: bytes) -> Record:
    record: Record = decode_disk(data, Record)
    return record


def _value(values: dict[str, bytes], key: str) -> Any:
    if key not in values:
        raise NotFound(f"no key {key!r}")
    return decode_json(values[key], Any)


def _matching(names: dict[str, Any], pattern: str, after: str, limit: int) -> list[str]:
    found = sorted(name for name in names if name > after and fnmatchcase(name, pattern))
    return found[: _bounded(limit)]


def _bounded(limit: int) -> int:
    return min(max(limit, 0), PAGE)
