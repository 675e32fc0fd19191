"""What waits for one reader of a follow: bounded in records and in bytes, honest when that is not enough.

The node keeps one for each reader, and so does every client that receives for several readers over one
connection. Who offers never waits, so that a slow reader delays nobody. What merely passes by is dropped
first; when there is no room for a remembered event, nothing more is taken, and the reader is told, behind what
waits already, from where to go on. So every attempt brings it further.
Used on one event loop only.
"""

from collections import deque
from collections.abc import AsyncGenerator

import msgspec

from mcp_interface.client import Notice
from mcp_interface.errors import TooMuch, UmbrellaError
from mcp_interface.store import Record


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait for one reader. A single record may be larger than `size` when nothing else waits."""

    records: int = 10_000
    size: int = 16 * 1024 * 1024
    """Bytes, as encoded, of all that waits."""
    passing: int = 2_000
    """Notices that merely pass by."""
    passing_size: int = 1024 * 1024
    """Bytes of those."""


USUAL_BOUNDS = Bounds()


class Backlog:
    """Hands notices on in the order in which they were offered.

    Args:
        after: The position behind which the reader begins.
        bounds: None is `USUAL_BOUNDS`.
    """

    def __init__(self, after: int, bounds: Bounds | None = None) -> None:
        from asyncio import Event  # late: who only reads contracts does not need it

        self.position = after
        """Of the last record that was taken: following again from here misses nothing."""
        self._bounds = USUAL_BOUNDS if bounds is None else bounds
        self._waiting: deque[tuple[Notice, int]] = deque()
        self._records = self._size = self._passing = self._passing_size = 0
        self._ready = Event()
        self._why: UmbrellaError | None = None
        self._ended = self._overrun = False

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def offer(self, notice: Notice, size: int) -> None:
        """Let a notice of so many bytes wait, if there is room; never blocks."""
        if self._ended:
            return
        bounds = self._bounds
        if isinstance(notice, Record):
            if self._full(size):
                self._drop_passing()
            if self._full(size):
                self._overrun = True
                self.end()
                return
            self._records += 1
        else:
            crowded = self._passing >= bounds.passing or self._passing_size + size > bounds.passing_size
            if crowded or self._size + size > bounds.size:
                return
            self._passing += 1
            self._passing_size += size
        self._size += size
        self._waiting.append((notice, size))
        self._ready.set()

    def end(self, why: UmbrellaError | None = None) -> None:
        """Let the reader take what waits, then end: with an error, or without one."""
        if not self._ended:
            self._ended, self._why = True, why
            self._ready.set()

    async def notices(self) -> AsyncGenerator[Notice, None]:
        """Take what waits, and what comes.

        Raises:
            TooMuch: More would have had to wait than may; `details["position"]` is where to go on.
            UmbrellaError: What it was ended with.
        """
        while True:
            while self._waiting:
                yield self._take()
            if self._overrun:
                raise TooMuch(
                    f"this reader was too slow: more happened behind position {self.position} than may wait",
                    f"follow again after {self.position}",
                    {"position": self.position},
                )
            if self._why is not None:
                raise self._why
            if self._ended:
                return
            self._ready.clear()
            await self._ready.wait()

    def _take(self) -> Notice:
        notice, size = self._waiting.popleft()
        self._size -= size
        if isinstance(notice, Record):
            self._records -= 1
            self.position = notice.position
        else:
            self._passing -= 1
            self._passing_size -= size
        return notice

    def _full(self, size: int) -> bool:
        crowded = self._records >= self._bounds.records or self._size + size > self._bounds.size
        return crowded and bool(self._waiting)

    def _drop_passing(self) -> None:
        self._waiting = deque(item for item in self._waiting if isinstance(item[0], Record))
        self._size -= self._passing_size
        self._passing = self._passing_size = 0
