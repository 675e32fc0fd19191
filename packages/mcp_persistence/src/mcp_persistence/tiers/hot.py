"""The hot tier: what was written or used last, in memory.

It belongs to the store, not to whoever works with the data: a worker that crashes finds its snapshot and the
events behind it here and is back without touching the disk. Losing it loses nothing. Bounded in bytes; the
oldest goes first, a batch at a time. Events rest as bytes, so that no reader can change what the next one sees.

Used on the store's event loop only.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Final

from mcp_interface.store import Snapshot
from mcp_persistence.entry import Row
from mcp_persistence.names import matches

EVENT_BYTES: Final = 32 << 20
"""Bytes of recent events that are kept unless told otherwise; as much again for snapshots."""
_ROW: Final = 200
"""Bytes that a row takes besides its events, roughly."""
_SNAPSHOT: Final = 600
"""Bytes that a snapshot takes besides its state, roughly."""

_EVICTED: Final[tuple[Sequence[Row], int]] = ((), 0)


class HotTier:
    """Recent events in order, and recent snapshots.

    Args:
        head: Position behind which everything will be added.
        size: Most bytes of events, and most bytes of snapshots; zero keeps nothing.
    """

    def __init__(self, head: int, size: int = EVENT_BYTES) -> None:
        self._most = size
        self.clear(head)

    def clear(self, head: int) -> None:
        """Forget everything; what is added next follows `head`."""
        self._low = head  # everything behind this position is here
        self._batches: list[tuple[Sequence[Row], int]] = []  # with the bytes of each
        self._gone = 0  # batches at the front of the list that were evicted
        self._streams: dict[str, deque[Row]] = {}
        self._bytes = 0
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._snapshot_bytes = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Keep a batch that has just become durable, in order of position; the sequence is not to be changed."""
        streams = self._streams
        size = 0
        for row in rows:
            kept = streams.get(row.stream)
            if kept is None:
                streams[row.stream] = deque((row,))
            else:
                kept.append(row)
            bodies = row.bodies
            size += _ROW + (len(bodies[0]) if len(bodies) == 1 else sum(map(len, bodies)))
        self._batches.append((rows, size))
        self._bytes += size
        while self._bytes > self._most:
            self._evict()

    def stream(self, stream: str, after: int, limit: int) -> list[Row] | None:
        """Rows of one stream that hold the versions > `after`; None when not all of them are here."""
        kept = self._streams.get(stream)
        if not kept or kept[0].version > after + 1:
            return None
        found: list[Row] = []
        count = 0
        # most readers want the end, so the beginning of the answer is looked for from there
        for row in reversed(kept):
            if row.version + len(row.bodies) <= after + 1:
                break
            found.append(row)
            count += min(len(row.bodies), row.version + len(row.bodies) - 1 - after)
        found.reverse()
        while found and count - len(found[-1].bodies) >= limit:
            count -= len(found.pop().bodies)
        return found

    def after(self, position: int, limit: int, glob: str) -> tuple[list[Row], int] | None:
        """Rows of matching streams that hold positions > `position`, and how far the search came.

        None when not all of them are here.
        """
        if position < self._low:
            return None
        batches = self._batches
        place = bisect_right(batches, position, lo=self._gone, key=_end)
        found: list[Row] = []
        count = 0
        reached = position
        for row in chain.from_iterable(batches[each][0] for each in range(place, len(batches))):
            if _last(row) <= position:
                continue
            reached = _last(row)
            if matches(row.stream, glob):
                found.append(row)
                count += min(len(row.bodies), reached - position)
                if count >= limit:
                    break
        return found, reached

    def forget(self, streams: Collection[str]) -> None:
        """Drop streams that were removed."""
        gone = {stream for stream in streams if self._streams.pop(stream, None)}
        if gone:
            batches = self._batches[self._gone :]
            self._batches, self._gone, self._bytes = [], 0, 0
            for rows, _ in batches:
                rest = [row for row in rows if row.stream not in gone]
                if rest:
                    size = sum(map(_size, rest))
                    self._batches.append((rest, size))
                    self._bytes += size
        for stream in streams:
            self._drop_snapshot(stream)

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep the newest snapshot of a stream."""
        before = self._snapshots.get(snapshot.stream)
        if before is not None and before.version > snapshot.version:
            return
        self._drop_snapshot(snapshot.stream)
        self._snapshots[snapshot.stream] = snapshot
        self._snapshot_bytes += _SNAPSHOT + len(snapshot.state)
        while self._snapshot_bytes > self._most:
            _, oldest = self._snapshots.popitem(last=False)
            self._snapshot_bytes -= _SNAPSHOT + len(oldest.state)

    def snapshot(self, stream: str) -> Snapshot | None:
        """The newest snapshot of a stream, if it is here."""
        found = self._snapshots.get(stream)
        if found is not None:
            self._snapshots.move_to_end(stream)
        return found

    def _drop_snapshot(self, stream: str) -> None:
        before = self._snapshots.pop(stream, None)
        if before is not None:
            self._snapshot_bytes -= _SNAPSHOT + len(before.state)

    def _evict(self) -> None:
        rows, size = self._batches[self._gone]
        self._batches[self._gone] = _EVICTED
        self._gone += 1
        if self._gone > len(self._batches) // 2:
            del self._batches[: self._gone]
            self._gone = 0
        self._bytes -= size
        self._low = _last(rows[-1])
        streams = self._streams
        for row in rows:
            kept = streams[row.stream]
            if len(kept) > 1:
                kept.popleft()
            else:
                del streams[row.stream]


def _end(batch: tuple[Sequence[Row], int]) -> int:
    return _last(batch[0][-1])


def _last(row: Row) -> int:
    return row.position + len(row.bodies) - 1


def _size(row: Row) -> int:
    return _ROW + sum(map(len, row.bodies))
