"""Timers in memory: any number of them, one sleeper for all, none while nothing is armed.

A timer is for what a process has to do by itself: deadlines, pauses, heartbeats. What must outlive the process is
a timer of the store (`mcp_persistence.timers`), which somebody here looks after with `every`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Final

from mcp_core.runtime.dead_letters import DeadLetters, deliver
from mcp_core.runtime.target import Target
from mcp_core.runtime.wheel import Entry, Wheel
from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken

log = logging.getLogger(__name__)

RESOLUTION: Final = 0.01
"""Seconds; a timer is up to so much late, and more while the loop is busy, but never early."""
LONGEST: Final = 100 * 365 * 86_400.0
"""Seconds; about a hundred years."""
BATCH: Final = 500
"""Timers that go off in one turn of the loop, before others have theirs."""

_SECOND: Final = 1_000_000_000
_UNIT: Final = round(RESOLUTION * _SECOND)

Do = Callable[[], object]


class Timer(Entry):
    """One that was armed; made by `Timers`."""

    __slots__ = ("_do", "_owner", "_period")

    def __init__(self, due: int, do: Do, owner: "Timers", period: int) -> None:
        self.due = due  # not by `super`: a third of the time that arming takes
        self.slot = None
        self._do: Do | None = do
        self._owner = owner
        self._period = period

    @property
    def armed(self) -> bool:
        """Whether it will still go off."""
        return self._do is not None

    def cancel(self) -> bool:
        """Take it back; harmless when repeated.

        Returns:
            False when it had gone off or had been cancelled before.
        """
        if self._do is None:
            return False
        self._do = None
        self._owner._forget(self)
        return True


class Timers:
    """The timers of one event loop; used on it only.

    What a timer does runs on the loop and should be short. When it raises, that is logged and nothing else stops.

    Args:
        clock: What is slept on.
        letters: Where messages of `send_after` go that find nobody.
    """

    def __init__(self, clock: Clock, letters: DeadLetters | None = None) -> None:
        self._clock = clock
        self._letters = letters
        now = self._now()
        self._wheel: Wheel[Timer] = Wheel(_UNIT, now // _UNIT)
        self._ready: deque[Timer] = deque()
        """Taken from the wheel because their time has come."""
        self._sleeper: asyncio.Task[None] | None = None
        self._until = 0
        """The tick that the sleeper waits for."""
        self._looking = False

    def __len__(self) -> int:
        return len(self._wheel)

    def after(self, seconds: float, do: Do) -> Timer:
        """Do something once.

        Timers of one tick go off in the order of their due times, then of arming.

        Args:
            seconds: From now, zero or more.
            do: Called without arguments; what it returns is ignored.

        Raises:
            CallerMistaken: The time is negative, no number, or longer than `LONGEST`.
        """
        if not 0 <= seconds <= LONGEST:
            raise _mistaken(seconds, "zero")
        now = self._now()
        return self._arm(Timer(now + round(seconds * _SECOND), do, self, 0), now)

    def every(self, seconds: float, do: Do) -> Timer:
        """Do something again and again, the first time after one period.

        The n-th time is due n periods from now, however late the others were. Of the times that were missed, while
        the loop was busy or the machine asleep, one is made up for.

        Raises:
            CallerMistaken: The period is shorter than `RESOLUTION`, no number, or longer than `LONGEST`.
        """
        if not RESOLUTION <= seconds <= LONGEST:
            raise _mistaken(seconds, f"{RESOLUTION:g}")
        now, period = self._now(), round(seconds * _SECOND)
        return self._arm(Timer(now + period, do, self, period), now)

    def send_after(self, target: Target, seconds: float, message: Any) -> Timer:
        """Tell somebody something once; who has ended by then gets a dead letter.

        Raises:
            CallerMistaken: As `after`.
        """
        return self.after(seconds, partial(deliver, target, message, self._letters))

    async def close(self) -> None:
        """Forget every timer."""
        for timer in self._ready:
            timer._do = None
        self._ready.clear()
        for timer in self._wheel.clear():
            timer._do = None
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            sleeper.cancel()
            await asyncio.wait({sleeper})

    def _now(self) -> int:
        # whole nanoseconds: 0.1 s and 0.2 s are 0.3 s here
        return round(self._clock.monotonic() * _SECOND)

    def _arm(self, timer: Timer, now: int) -> Timer:
        self._wheel.add(timer, now // _UNIT)
        if self._sleeper is None or self._wheel.next < self._until:
            self._look()
        return timer

    def _forget(self, timer: Timer) -> None:
        self._wheel.remove(timer)
        if not self._wheel:
            with suppress(RuntimeError):  # the loop has ended, and the sleeper with it
                self._look()

    def _look(self) -> None:
        """Have it looked at, once in a turn of the loop, whether the sleeper sleeps for the right time."""
        if not self._looking:
            asyncio.get_running_loop().call_soon(self._settle)
            self._looking = True

    def _settle(self) -> None:
        self._looking = False
        sleeper = self._sleeper
        if sleeper is not None and not sleeper.done():
            if self._ready or (self._wheel and self._until <= self._wheel.next):
                return
            sleeper.cancel()
        self._sleeper = None
        if self._wheel or self._ready:
            self._until = self._wheel.next
            # in a context of its own: who happened to arm the first timer is nobody to the others
            self._sleeper = asyncio.get_running_loop().create_task(
                self._run(), name="timers", context=Context()
            )

    async def _run(self) -> None:
        while self._wheel or self._ready:
            if not self._ready:
                self._until = self._wheel.next
                await self._clock.sleep(max(0.0, (self._until * _UNIT - self._now()) / _SECOND))
                self._ready.extend(self._wheel.take(self._now() // _UNIT))
            self._go_off()
            if self._ready:
                await self._clock.sleep(0)
        self._sleeper = None

    def _go_off(self) -> None:
        for _ in range(min(BATCH, len(self._ready))):
            timer = self._ready.popleft()
            do = timer._do
            if do is None:
                continue  # cancelled by one that went off before
            if timer._period:
                now = self._now()
                timer.due += ((now - timer.due) // timer._period + 1) * timer._period
                self._wheel.add(timer, now // _UNIT)
            else:
                timer._do = None
            try:
                do()
            except (Exception, asyncio.CancelledError):  # the second of a future that it looked at
                log.exception("a timer raised")


def _mistaken(seconds: float, least: str) -> CallerMistaken:
    return CallerMistaken(f"a timer cannot wait {seconds} s", f"give {least} to {LONGEST:.0f} seconds")
