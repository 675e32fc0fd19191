"""Reading the journal through: from frames to pages of records, on the event loop.

A reader's thread only reads frames and takes them apart; their events become records here, a page at a time.
Made there, or all of a large frame at once, they would have to be fetched again from slower memory by whoever
looks at them, which costs as much as the decoding. What a page leaves over of its frames waits for the next one.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec

from mcp_interface.errors import InvalidRecord
from mcp_interface.store import PAGE, Record
from mcp_persistence.decoding import records, unreadable
from mcp_persistence.entry import NO_IDS
from mcp_persistence.index.reading import Stretch
from mcp_persistence.index.state import Head, State
from mcp_persistence.names import matcher
from mcp_persistence.segment.body import Bundle, Claimed, Gone, TracedBundle
from mcp_persistence.upcast import EventCodec, separate

EVERY: Final = "*"


class Pages:
    """Gives the pages of one journal.

    Args:
        codec: Which events these are.
        state: What is true now. Asked for each page: streams are removed, and the index may be made anew.
        fetch: Reads frames from a position on, for so many events; see `reading.stretch`.
    """

    def __init__(
        self,
        codec: EventCodec,
        state: Callable[[], State],
        fetch: Callable[[int, int], Awaitable[Stretch]],
    ) -> None:
        self._codec = codec
        self._state = state
        self._fetch = fetch
        self._numbers: Sequence[Head] = ()
        self._limit = PAGE
        self._ahead: _Ahead | None = None

    async def page(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """Records of matching streams with positions > `after`, and how far the search came.

        Not many more than `limit`: what was appended at once comes at once.

        Raises:
            StorageCorrupt: An event cannot be read by this version.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None or (ahead.after, ahead.glob) != (after, glob):
            stretch = await self._fetch(after, limit if glob == EVERY else PAGE)
            ahead = _Ahead(after, glob, stretch.reached, self._pages(stretch, after, glob))
        self._numbers, self._limit = self._state().numbers, limit
        found = next(ahead.pages, [])
        if len(found) < limit:
            return found, ahead.reached
        ahead.after = found[-1].position
        self._ahead = ahead if ahead.after < ahead.reached else None
        return found, ahead.after

    def _pages(self, stretch: Stretch, after: int, glob: str) -> Iterator[list[Record]]:
        """Events of streams that match, without those that were removed since, `_limit` at a time."""
        decode, is_wanted, every = self._codec.decode_all, matcher(glob), glob == EVERY
        found: list[Record] = []
        for frame in stretch.frames:
            position, epoch = frame.first, frame.epoch
            for item in frame.items:
                if type(item) is Bundle:
                    ids = NO_IDS
                elif type(item) is TracedBundle:
                    ids = item.trace, item.causation, item.correlation
                else:
                    if type(item) is Claimed:
                        epoch = item.epoch
                    elif type(item) is Gone:
                        position += item.count
                    continue
                first = position
                head = self._numbers[item.number - 1]
                is_hidden = first <= head.erased or not (every or is_wanted(head.stream))
                if is_hidden or first <= after:
                    position += len(separate(item.bodies))
                    if is_hidden or position <= after + 1:
                        continue
                try:
                    events = decode(item.bodies)
                except InvalidRecord as error:
                    raise unreadable(error, head.stream, first) from error
                position = first + len(events)
                found += records(head.stream, events, first - 1, item.version - 1, epoch, ids)
                if first <= after:
                    del found[: after + 1 - first]
                if len(found) >= self._limit:
                    yield found
                    found = []
        yield found


class _Ahead(msgspec.Struct):
    """What is left of the frames that were read last."""

    after: int
    glob: str
    reached: int
    """Position up to which they go."""
    pages: Iterator[list[Record]]
