"""A disk that refuses, or waits, for as long as a test wants."""

import asyncio
import threading

from persistence.simulated_disk import SimulatedDisk


class BrokenDisk(SimulatedDisk):
    """Refuses whatever changes something, for as long as `error` is set; or lets it wait at the `gate`."""

    def __init__(self, seed=0):
        super().__init__(seed=seed)
        self.error = None
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Event()

    def step(self):
        self.waits.set()
        assert self.gate.wait(30)
        return self.error or super().step()

    def hold(self):
        self.waits.clear()
        self.gate.clear()

    async def reached(self):
        assert await asyncio.to_thread(self.waits.wait, 30)
