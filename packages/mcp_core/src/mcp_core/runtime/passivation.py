"""Actors that nobody needs leave memory; the next message brings them back from the journal.

For actors whose state is the journal's: what they held in memory only is gone with them.
"""

import asyncio
import logging
from typing import Final

from mcp_core.runtime.supervisor import Child, Supervisor
from mcp_interface.clock import Clock

log = logging.getLogger(__name__)

IDLE_S: Final = 900.0
"""Seconds without a message before an actor leaves memory."""
SWEEPS: Final = 4
"""Looks within that time; so it may take a quarter longer."""


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
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._pause)
            self.sweep()
            await asyncio.sleep(0)

    def sweep(self) -> int:
        """Look once; returns how many went to rest. One that has handled nothing since so many looks rests."""
        seen: dict[Child, tuple[int, int]] = {}
        resting = 0
        for child in self._supervisor.children():
            if child.ref._actor is None or not child.ref.actor_class.passivates:
                continue
            handled, looks = self._seen.get(child, (-1, 0))
            looks = looks + 1 if handled == child.ref.handled else 0
            if looks >= SWEEPS and child.rest():
                resting += 1
            else:
                seen[child] = (child.ref.handled, looks)
        self._seen = seen
        return resting
