"""From frames to events: all of a frame at once for whoever reads the journal through, one stream's for others.

A whole frame is decoded in one call, straight into typed events; that is what makes a replay quick. Only when
it holds an event of an older shape are its events decoded one by one. For single streams frames are kept
unpacked for a while, since the frames of many streams are the same.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import TraceId
from mcp_interface.store import Record
from mcp_persistence.decoding import records, unreadable
from mcp_persistence.entry import NO_IDS, Ids, Row
from mcp_persistence.index.state import State
from mcp_persistence.segment.body import Claimed, Events, Gone, Item, Traced, typed, unpack
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.segment.values import Frame, Place
from mcp_persistence.upcast import EventCodec

KEPT_BYTES: Final = 4 << 20
"""Bytes of bodies that are kept unpacked."""


class Frames:
    """Reads frames of one log. Used in one reader's thread only."""

    def __init__(self, log: SegmentLog, codec: EventCodec) -> None:
        self.log = log
        self.codec = codec
        self._typed = typed(codec.kind)
        self._kept: OrderedDict[Place, tuple[Frame, list[Item]]] = OrderedDict()
        self._bytes = 0

    def records(self, frame: Frame, state: State, wanted: Callable[[str], bool]) -> list[Record]:
        """Events of a frame in streams that are wanted, without those that were removed since.

        Raises:
            StorageCorrupt: An event cannot be read by this version.
        """
        try:
            items = self._typed(frame.body)
            decode: Callable[[Any], Any] | None = None
        except (msgspec.MsgspecError, UnicodeError):
            items = unpack(frame.body, frame.first)
            decode = self.codec.decode
        found: list[Record] = []
        position, epoch = frame.first - 1, frame.epoch
        numbers = state.numbers
        for item in items:
            if not hasattr(item, "bodies"):
                if type(item) is Claimed:
                    epoch = item.epoch
                elif type(item) is Gone:
                    position += item.count
                continue
            head = numbers[item.number - 1]
            stream, version = head.stream, item.version - 1
            if position < head.erased or not wanted(stream):
                position += len(item.bodies)
                continue
            events = item.bodies
            if decode is not None:
                events = _each(decode, events, stream, position + 1)
            ids = _ids_of(item)
            found += records(stream, events, position, version, epoch, ids)
            position += len(events)
        return found

    def rows(self, place: Place, stream: str, number: int, erased: int) -> Iterator[Row]:
        """Runs of events of one stream in one frame, without those that were removed since."""
        frame, items = self._unpacked(place)
        position, epoch = frame.first, frame.epoch
        for item in items:
            if isinstance(item, Events | Traced):
                if item.number == number and position > erased:
                    yield Row(position, stream, item.version, epoch, item.bodies, _ids_of(item))
                position += len(item.bodies)
            elif isinstance(item, Claimed):
                epoch = item.epoch
            elif isinstance(item, Gone):
                position += item.count

    def _unpacked(self, place: Place) -> tuple[Frame, list[Item]]:
        found = self._kept.get(place)
        if found is not None:
            self._kept.move_to_end(place)
            return found
        frame = self.log.read(place)
        found = self._kept[place] = frame, unpack(frame.body, frame.first)
        self._bytes += len(frame.body)
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            _, (oldest, _) = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)
        return found


def _ids_of(item: Any) -> Ids:
    if isinstance(item, Events) or not hasattr(item, "trace"):
        return NO_IDS
    return None if item.trace is None else TraceId(item.trace), item.causation, item.correlation


def _each(decode: Callable[[Any], Any], bodies: list[Any], stream: str, position: int) -> list[Any]:
    try:
        return [decode(body) for body in bodies]
    except InvalidRecord as error:
        raise unreadable(error, stream, position) from error
