"""What is true behind the last checkpoint of the index: heads of all streams, recent places, keys and decisions.

The writer's thread changes it, frame by frame and only once a frame is durable. Readers of other threads take
references and look; whatever they find is durable.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_interface.store import StreamInfo
from mcp_persistence.entry import NEVER, Run, time_of
from mcp_persistence.segment.body import (
    Born,
    Claimed,
    Decided,
    Erased,
    Events,
    Gone,
    Item,
    Put,
    Removed,
    Traced,
)
from mcp_persistence.segment.values import Place

_ENTRY: Final = 200
"""Bytes that a changed key takes besides its value, roughly."""


class Head(msgspec.Struct):
    """One stream."""

    stream: str
    number: int
    version: int = 0
    """Zero: it was removed, or has no event yet."""
    created_at: datetime = NEVER
    updated_at: datetime = NEVER
    erased: int = 0
    """Its events up to this position were removed."""

    def info(self, snapshot_version: int = 0) -> StreamInfo:
        """The stream as the contract shows it."""
        return StreamInfo(
            stream=self.stream,
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
            snapshot_version=snapshot_version,
        )


class Spot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where events of one stream begin that follow one another within a frame."""

    version: int
    position: int
    place: Place


class Made(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A decision that carried an idempotency key."""

    digest: bytes
    before: int
    count: int


class Changes:
    """What has happened since a checkpoint; replaced as a whole by the next one."""

    def __init__(self) -> None:
        self.spots: dict[str, list[Spot]] = {}
        self.wiped: set[str] = set()
        """Streams of which the index holds nothing that still counts."""
        self.touched: set[str] = set()
        """Streams that were born or removed; those with fresh events are in `spots`."""
        self.keys: dict[str, bytes | None] = {}
        self.decisions: dict[str, Made] = {}
        self.events = 0
        self.key_bytes = 0


class State:
    """Everything in memory of one segment journal."""

    def __init__(self, epoch: int = 0, heads: Sequence[Head] = (), position: int = 0) -> None:
        self.epoch = epoch
        self.position = position
        """Everything up to here was taken in; the log may be a frame ahead."""
        self.numbers: list[Head] = list(heads)
        """Stream n stands at n - 1."""
        self.heads = {head.stream: head for head in self.numbers}
        self.changes = Changes()

    def apply(
        self,
        place: Place,
        first: int,
        items: Sequence[Item],
        runs: Sequence[Run] | None = None,
    ) -> None:
        """Take in a durable frame.

        Args:
            place: Where it lies.
            first: Position of its first event.
            items: What it holds.
            runs: What its events were made from, in order, which knows their times; None: read them.

        Raises:
            StorageCorrupt: It does not follow from what came before.
        """
        changes = self.changes
        numbers, spots = self.numbers, changes.spots
        position = first
        made_from = None if runs is None else iter(runs)
        for item in items:
            if type(item) is not Events and type(item) is not Traced:
                position += self._apply_rare(item, position)
                continue
            number, version, count = item.number, item.version, len(item.bodies)
            head = numbers[number - 1] if 1 <= number <= len(numbers) else None
            if head is None or version != head.version + 1:
                raise _odd(position, f"version {version} of stream {number} follows something else")
            if made_from is None:
                first_at, last_at = _times(item)
            else:
                run = next(made_from)
                first_at, last_at = run.first_at, run.last_at
            stream = head.stream
            known = spots.get(stream)
            if known is None:
                spots[stream] = [Spot(version, position, place)]
            else:
                known.append(Spot(version, position, place))
            if version == 1:
                head.created_at = first_at
            head.updated_at = last_at
            head.version = version + count - 1  # last: readers look here first, and must find the rest
            position += count
        changes.events += position - first
        self.position = position - 1

    def _apply_rare(self, item: Item, position: int) -> int:
        match item:
            case Put(key, value):
                self.changes.keys[key] = value
                self.changes.key_bytes += _ENTRY + len(value)
            case Removed(key):
                self.changes.keys[key] = None
                self.changes.key_bytes += _ENTRY
            case Born(number, stream):
                if number != len(self.numbers) + 1 or stream in self.heads:
                    raise _odd(position, f"stream {stream!r} gets the number {number}")
                head = Head(stream, number)
                self.numbers.append(head)
                self.heads[stream] = head
                self.changes.touched.add(stream)
            case Claimed(epoch):
                self.epoch = epoch
            case Erased(number):
                self._erase(self._head(number, position), position - 1)
            case Decided(key, digest, before, count):
                self.changes.decisions[key] = Made(digest, before, count)
            case Gone(count):
                return count
        return 0

    def _erase(self, head: Head, position: int) -> None:
        head.version = 0
        head.erased = position
        self.changes.spots.pop(head.stream, None)
        self.changes.wiped.add(head.stream)
        self.changes.touched.add(head.stream)

    def _head(self, number: int, position: int) -> Head:
        if not 1 <= number <= len(self.numbers):
            raise _odd(position, f"there is no stream with the number {number}")
        return self.numbers[number - 1]


def _times(item: Events | Traced) -> tuple[datetime, datetime]:
    first = time_of(item.bodies[0])
    return first, first if len(item.bodies) == 1 else time_of(item.bodies[-1])


def _odd(position: int, what: str) -> StorageCorrupt:
    return StorageCorrupt(
        f"the journal contradicts itself at position {position}: {what}",
        "restore the data directory from a backup; nothing was changed or repaired",
        {"position": position},
    )
