"""A deterministic world for programs of actors: a seed decides who runs next, and time passes only when all wait.

The same seed gives the same run, whatever the machine does meanwhile. The seed also decides how long a turn is, when
an ask is answered on the asker's stack and when it goes through the mailbox, and which messages come as if another
thread had sent them.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any
from unittest.mock import patch

from mcp_core.runtime import loop as scheduler
from mcp_core.runtime import loop_ref

ELSEWHERE = -1
"""The number of a thread that does not exist."""


class _NoWaiting(selectors.SelectSelector):
    """Instead of waiting for input it lets the clock go on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen: a wake-up was lost")
        self.now += max(0.0, timeout)
        return super().select(0)


class ControlledLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the sum of what was waited for."""

    def __init__(self) -> None:
        self._clockwork = _NoWaiting()
        super().__init__(self._clockwork)

    def time(self) -> float:
        return self._clockwork.now


class Shuffled(deque[Any]):
    """A queue that gives out its entries in an order that a seed decides."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def popleft(self) -> Any:
        self.rotate(-self._random.randrange(len(self)))
        return super().popleft()


class World:
    """Runs one program under one seed.

    Args:
        seed: Decides everything that is left open.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._outside = False
        self.home: Any = None

    def run(self, program: Coroutine[Any, Any, Any]) -> Any:
        """Run a program to its end."""

        async def main() -> Any:
            self.home = scheduler.present_loop()
            self.home.ready = Shuffled(self.random)
            self.home.urgent = deque()
            return await program

        random = self.random
        choices = {
            "BATCH": random.choice([1, 2, 16]),
            "CREDIT": random.choice([0, 1, 5, 512]),
            "SLICE_S": random.choice([-1.0, 1.0]),
            "get_ident": self._ident,
            "perf_counter": lambda: 0.0,
        }
        with (
            patch.multiple(scheduler, **choices),
            patch.multiple(loop_ref, DEPTH=random.choice([0, 1, 3, 24]), get_ident=self._ident),
            asyncio.Runner(loop_factory=ControlledLoop) as runner,
        ):
            return runner.run(main())

    def outside(self, send: Any, *args: Any, **kwargs: Any) -> Any:
        """Send as another thread would; what it does is taken in by the loop later."""
        self._outside = True
        try:
            return send(*args, **kwargs)
        finally:
            self._outside = False

    def _ident(self) -> int:
        return ELSEWHERE if self._outside else scheduler.threading.get_ident()
