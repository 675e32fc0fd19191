"""When a call must have its answer; pure but for the clock that is handed in."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from mcp_interface.clock import Clock

LONGEST: Final = 3600.0
"""Seconds that a call may go on that keeps reporting progress, or ten times its timeout if that is more."""


class Deadline:
    """Begins anew whenever there is progress, but not for ever; stands still while a person is asked.

    Args:
        seconds: From the beginning, from each progress and from each answer.
        clock: Counts.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._clock = clock
        now = clock.monotonic()
        self._until = now + seconds
        self._end = now + max(LONGEST, 10.0 * seconds)
        self._pauses = 0

    def renew(self) -> None:
        """There was progress: all the seconds again, as far as the end of everything."""
        self._until = self._clock.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds, zero or less when it has passed; all of them during a pause, because they begin anew with its end."""
        if self._pauses:
            return self.seconds
        return min(self._until, self._end) - self._clock.monotonic()

    @property
    def at(self) -> float:
        """When it passes, on the clock's monotonic scale, if nothing moves it."""
        return self._clock.monotonic() + self.left()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Somebody is asked; the time in here is not the server's. Pauses may overlap."""
        began = self._clock.monotonic()
        first = self._pauses == 0
        if first:
            self._pause_began = began
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if self._pauses == 0:
                self._end += self._clock.monotonic() - self._pause_began
                self.renew()
