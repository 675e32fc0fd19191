"""Time and randomness, the only place that reads either.

Everything else is handed a `Clock` and an `Entropy`, so that a test, a replay or a simulation decides what
time it is. The production kinds are here; the manual clock and seeded entropy are in `testing`.
"""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Protocol

from msgspec import Meta

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its zone; a text without one is refused wherever a struct is read."""


class Clock(Protocol):
    """Source of time."""

    def now(self) -> datetime:
        """Return the present instant, always with the UTC time zone."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero yields once."""
        ...


class Entropy(Protocol):
    """Source of unpredictable bytes."""

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)

    # the builtin itself: the kernel reads it at every judgement
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        import asyncio  # late: the command line reads this module and needs no loop

        await asyncio.sleep(seconds)


class SystemEntropy:
    """The operating system's random source."""

    def token(self, size: int) -> bytes:
        """Return `size` bytes fit for secrets."""
        return secrets.token_bytes(size)
