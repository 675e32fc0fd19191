"""From frames to the events of one stream.

Frames are kept unpacked for a while, since the frames of many streams are the same. Whoever reads the journal
through takes another way: see `pages`.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from mcp_interface.ids import TraceId
from mcp_persistence.entry import NO_IDS, Ids, Row
from mcp_persistence.segment.body import Claimed, Events, Gone, Item, Traced, unpack
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
        self._kept: OrderedDict[Place, tuple[Frame, list[Item]]] = OrderedDict()
        self._bytes = 0

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
