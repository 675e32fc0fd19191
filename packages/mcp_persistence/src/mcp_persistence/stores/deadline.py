"""A deadline for what a thread does, which costs nothing for each piece of work.

A timer for each commit would cost as much as a part of the commit. So one timer looks now and then whether the
thread is still at the same piece as the last times.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

LOOKS: Final = 4
"""How often a piece must be seen unfinished: a process that was stopped for an hour wakes to one look, not to all."""


class Deadline:
    """Gives up on a future that stays open for too long. Lives on the loop that made it.

    Args:
        seconds: How long it may take; a look more at most.
        give_up: Told of the future, once; nothing is looked at afterwards.
    """

    def __init__(self, seconds: float, give_up: Callable[[asyncio.Future[Any]], None]) -> None:
        self.waits_for: asyncio.Future[Any] | None = None
        """The newest piece of work; set for each."""
        self._pause = seconds / LOOKS
        self._give_up = give_up
        self._seen: asyncio.Future[Any] | None = None
        self._looks = 0
        self._is_lifted = False
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def cancel(self) -> None:
        """Look no more; harmless when repeated."""
        self._timer.cancel()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """For what may take long: nothing is given up within; for the thread itself."""
        self._is_lifted = True
        try:
            yield
        finally:
            self._is_lifted = False

    def _look(self) -> None:
        future = self.waits_for
        if future is None or future.done():
            self.waits_for = self._seen = None
        elif future is not self._seen or self._is_lifted:
            self._seen, self._looks = future, 0
        else:
            self._looks += 1
            if self._looks == LOOKS:
                self._give_up(future)
                return
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)
