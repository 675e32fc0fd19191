"""Following the frames of one segment, and looking for sound ones behind a bad place. Reads, never writes.

`Source` is a segment to read from; `Cursor` stands behind the last good frame and moves over the good ones,
each of which must be whole and must continue number, position and chain. What a bad place means is decided in
`walk`, which knows all segments.
"""

from collections.abc import Iterator
from typing import Final

from mcp_persistence.segment.disk import File
from mcp_persistence.segment.frame import MAGIC as FRAME_MAGIC
from mcp_persistence.segment.frame import SIZE, ZERO, Header, body_of, chain_of, content_of, decode_header
from mcp_persistence.segment.header import BLOCK, SegmentHeader
from mcp_persistence.segment.lookup import Table
from mcp_persistence.segment.pool import Pool
from mcp_persistence.segment.values import Checkpoint, Frame, Place

WINDOW: Final = 256 << 10
"""Most bytes read at once, but for a larger frame."""
FIRST_WINDOW: Final = 64 << 10
"""Bytes of the first read; whoever only wants the newest frame reads no more. Doubled with each read."""

_ZEROS: Final = bytes(1 << 20)


class Source:
    """A segment of the log, open for reading.

    Args:
        pool: Opens files.
        name: Of its file.
        frame: Number of its first frame, as the name has it.
        position: Of its first event, as the name has it.
        header: As read; None when it is damaged.
    """

    __slots__ = ("_pool", "first_frame", "first_position", "header", "name", "table")

    def __init__(
        self, pool: Pool, name: str, frame: int, position: int, header: SegmentHeader | None
    ) -> None:
        self._pool = pool
        self.name = name
        self.first_frame = frame
        self.first_position = position
        self.header = header
        self.table = Table(frame, name)

    @property
    def file(self) -> File:
        """Its content."""
        return self._pool.get(self.name)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size()


class Cursor:
    """Stands behind a good frame, or before the first one."""

    __slots__ = ("chain", "epoch", "last", "number", "offset", "position", "segment")

    def __init__(self) -> None:
        self.segment = 1
        self.offset = BLOCK
        self.last: Place | None = None
        self.number = 0
        self.position = 0
        self.chain = ZERO
        self.epoch = 0

    def checkpoint(self) -> Checkpoint:
        """The frame behind which it stands."""
        last = Place(1, BLOCK, 0) if self.last is None else self.last
        return Checkpoint(
            last.segment, last.offset + last.length, last.length, self.number, self.position, self.chain
        )

    def restore(self, point: Checkpoint) -> None:
        """Stand at a checkpoint; the epoch there is not known from it."""
        self.segment, self.offset = point.segment, point.offset
        self.number, self.position, self.chain = point.frame, point.position, point.chain
        self.last = Place(point.segment, point.offset - point.length, point.length) if point.frame else None

    def enter(self, segment: int) -> None:
        """Stand at the beginning of the next segment."""
        self.segment, self.offset = segment, BLOCK

    def resume(self, offset: int, number: int, first: int, chain: bytes) -> None:
        """Stand before a frame that was found behind a bad place, as if all before it were good."""
        self.offset = offset
        self.number, self.position, self.chain = number - 1, first - 1, chain

    def frames(self, source: Source, seed: int, until: int | None = None) -> Iterator[Frame]:
        """Move over good frames, giving each; ends before the first that is not good.

        Args:
            source: The segment it stands in.
            seed: The journal's.
            until: Number of the last frame to move over; None for all.
        """
        wanted = FIRST_WINDOW
        while until is None or self.number < until:
            start = self.offset
            view = memoryview(source.file.pread(wanted, start))
            at = 0
            while len(view) - at >= SIZE:
                header = decode_header(view, at, seed)
                if header is None or not self._fits(header):
                    return
                if at + header.total > len(view):
                    break
                content = content_of(view, at, header, seed)
                if content is None:
                    return
                at += header.total
                yield self._pass(header, content)
                if self.number == until:
                    return
            else:
                header = None
            # The rest of the window holds a part of a frame: read again from where that begins.
            needed = SIZE if header is None else header.total
            if start + at + needed > source.size:
                return
            wanted = max(min(2 * wanted, WINDOW), needed)

    def _fits(self, header: Header) -> bool:
        return (
            header.number == self.number + 1
            and header.first == self.position + 1
            and header.previous == self.chain
        )

    def _pass(self, header: Header, content: memoryview) -> Frame:
        place = Place(self.segment, self.offset, header.total)
        self.offset += header.total
        self.last = place
        self.number = header.number
        self.position += header.events
        self.chain = chain_of(content)
        self.epoch = header.epoch
        return Frame(
            place, header.number, header.first, header.events, header.epoch, header.at, body_of(content)
        )


def find_frame(source: Source, offset: int, end: int, seed: int, least: int) -> tuple[int, Header] | None:
    """Look for a whole frame that begins at or behind `offset` and before `end`, with number `least` or later.

    The sum of the header alone decides whether a body is read at all, so that bytes made to look like
    thousands of headers cannot make this slow.
    """
    while offset < end:
        chunk = source.file.pread(WINDOW, offset)
        if len(chunk) < SIZE:
            return None
        view = memoryview(chunk)
        at = chunk.find(FRAME_MAGIC)
        while 0 <= at <= len(chunk) - SIZE:
            header = decode_header(view, at, seed)
            if header is not None and header.number >= least and _is_whole(source, offset + at, header, seed):
                return offset + at, header
            at = chunk.find(FRAME_MAGIC, at + 1)
        offset += len(chunk) - SIZE + 1
    return None


def dirty_bytes(source: Source, offset: int) -> int:
    """How many bytes there are from `offset` up to the last one that is not zero."""
    dirty = 0
    at = offset
    while at < source.size:
        chunk = source.file.pread(len(_ZEROS), at)
        if not chunk:
            break
        if chunk != _ZEROS:
            rest = len(chunk.rstrip(b"\0"))
            dirty = at - offset + rest if rest else dirty
        at += len(chunk)
    return dirty


def _is_whole(source: Source, offset: int, header: Header, seed: int) -> bool:
    view = memoryview(source.file.pread(header.total, offset))
    return content_of(view, 0, header, seed) is not None
