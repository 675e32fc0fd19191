"""Time and randomness that a test decides: a clock moved by hand and entropy that repeats itself."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from hashlib import shake_256
from itertools import count
from typing import Final

from mcp_interface.errors import CallerMistaken

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a manual clock begins unless told otherwise."""


class ManualClock:
    """A `Clock` that stands still until `advance` moves it.

    Sleepers wake in the order of their deadlines. A sleeper may live on another thread's event loop than the
    one that advances; it is woken through its own loop.

    Args:
        start: The first instant, with a time zone.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start.astimezone(UTC)
        self._elapsed = timedelta()
        self._order = count()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []

    @property
    def sleepers(self) -> int:
        """How many tasks wait for time to pass."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds since the clock was made."""
        return self._elapsed.total_seconds()

    def advance(self, seconds: float) -> None:
        """Move on and wake everybody whose time has come.

        Raises:
            CallerMistaken: The seconds are negative.
        """
        if seconds < 0:
            raise CallerMistaken(f"time cannot go back by {-seconds} s", "advance by zero or more")
        self._elapsed += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.get_loop().call_soon_threadsafe(_wake, future)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced so far; zero yields once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(
            self._sleepers, (self._elapsed + timedelta(seconds=seconds), next(self._order), future)
        )
        await future


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class SeededEntropy:
    """An `Entropy` that gives the same bytes for the same seed; never for secrets."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._calls = 0

    def token(self, size: int) -> bytes:
        """Return the next `size` bytes of the seed's sequence."""
        self._calls += 1
        return shake_256(f"{self._seed}:{self._calls}".encode()).digest(size)
