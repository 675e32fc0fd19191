"""Actors that nobody needs leave memory; the next message brings them back from the journal.

For actors whose state is the journal's: what they held in memory only is gone with them.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from mcp_core.runtime.supervisor import Child, Supervisor
from mcp_interface.clock import Clock

IDLE_S: Final = 900.0
"""Seconds without a message before an actor leaves memory."""
SWEEPS: Final = 4
"""Looks within that time; so it may take a quarter longer."""
PART: Final = 1000
"""Children that are looked at before the event loop gets a turn: about a millisecond."""


class Passivation:
    """Lets the idle children of one supervisor rest.

    Args:
        supervisor: Whose children.
        clock: For the time between two looks.
        idle_s: Seconds without a message.
    """

    def __init__(self, supervisor: Supervisor, clock: Clock, idle_s: float = IDLE_S) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._pause = idle_s / SWEEPS
        self._seen: dict[Child, tuple[int, int]] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled; the event loop has its turns while it looks at many."""
        while True:
            await self._clock.sleep(self._pause)
            for _ in self._look():
                await asyncio.sleep(0)

    def sweep(self) -> int:
        """Look once; returns how many went to rest. One that has handled nothing since so many looks rests."""
        return sum(self._look())

    def _look(self) -> Iterator[int]:
        """Look once, a part of the children at a time; gives how many of each part went to rest."""
        seen: dict[Child, tuple[int, int]] = {}
        children = self._supervisor.children()
        for begin in range(0, len(children), PART):
            yield sum(self._rests(child, seen) for child in children[begin : begin + PART])
        self._seen = seen

    def _rests(self, child: Child, seen: dict[Child, tuple[int, int]]) -> bool:
        ref = child.ref
        if ref._actor is None or not ref.actor_class.passivates:
            return False
        handled, looks = self._seen.get(child, (-1, 0))
        looks = looks + 1 if handled == ref.handled else 0
        if looks >= SWEEPS and child.rest():
            return True
        seen[child] = (ref.handled, looks)
        return False
