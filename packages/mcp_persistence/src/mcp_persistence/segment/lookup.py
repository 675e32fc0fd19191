"""Finding the frame that holds a position: one small table for each segment, built when it is first asked for.

The table knows one frame in every `STRIDE` bytes; from there headers are followed. Headers are believed by
their own sum; whoever reads the frame checks the rest.
"""

from array import array
from bisect import bisect_right
from typing import Final

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment.disk import File
from mcp_persistence.segment.frame import SIZE, Header, decode_header
from mcp_persistence.segment.header import BLOCK
from mcp_persistence.segment.values import Place

STRIDE: Final = 16 << 10
"""Bytes between two frames that a table knows."""

_WINDOW: Final = 64 << 10


class Table:
    """The table of one segment. Not for use by two threads at a time.

    Args:
        segment: Number of its first frame.
        name: Of its file, for errors.
    """

    def __init__(self, segment: int, name: str) -> None:
        self._segment = segment
        self._name = name
        self._positions = array("Q")
        self._offsets = array("Q")
        self._walked = BLOCK

    def find(self, file: File, position: int, end: int, seed: int) -> Place | None:
        """The frame that holds a position; None when none before byte `end` does.

        Raises:
            StorageCorrupt: A header on the way is damaged.
            OSError: As the disk gives it.
        """
        self._extend(file, position, end, seed)
        index = bisect_right(self._positions, position) - 1
        if index < 0:
            return None
        offset = self._offsets[index]
        window = memoryview(b"")
        start = offset
        while offset < end:
            if offset + SIZE > start + len(window):
                start, window = offset, memoryview(file.pread(2 * STRIDE, offset))
            header = self._header(window, offset - start, offset, seed)
            if header.first <= position < header.first + header.events:
                return Place(self._segment, offset, header.total)
            if header.first > position:
                return None
            offset += header.total
        return None

    def _extend(self, file: File, position: int, end: int, seed: int) -> None:
        """Walk on until behind `position`, or to the end."""
        window = memoryview(b"")
        start = self._walked
        while self._walked < end and not (self._positions and self._positions[-1] > position):
            offset = self._walked
            if offset + SIZE > start + len(window):
                start, window = offset, memoryview(file.pread(min(_WINDOW, end - offset), offset))
            if not any(window[offset - start : offset - start + SIZE]):
                return  # zeros behind the last frame of a sealed segment whose cut did not reach the disk
            header = self._header(window, offset - start, offset, seed)
            if not self._offsets or offset >= self._offsets[-1] + STRIDE:
                self._positions.append(header.first)
                self._offsets.append(offset)
            self._walked = offset + header.total

    def _header(self, window: memoryview, at: int, offset: int, seed: int) -> Header:
        header = decode_header(window, at, seed) if at + SIZE <= len(window) else None
        if header is None:
            raise damaged_frame(self._name, offset)
        return header


def damaged_frame(name: str, offset: int, position: int | None = None) -> StorageCorrupt:
    """The error for a frame that is not as it was written."""
    return StorageCorrupt(
        f"the frame at byte {offset} of {name} is not as it was written",
        "run a verification to see what can be saved, then restore the journal from a backup",
        {"segment": name, "offset": offset, "position": position},
    )
