"""Lines of an input, read by a thread of its own: a read of a terminal cannot be cancelled, waiting for a line can."""

import asyncio
import threading
from concurrent.futures import CancelledError
from itertools import chain
from typing import Final, TextIO

AHEAD: Final = 100
"""Lines that are read before anybody asks for them."""


class Lines:
    """What somebody types or pipes in; nothing is read before the first line is asked for."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(AHEAD)
        self._reading = False
        self._ended = False

    async def next(self) -> str | None:
        """The next line; None at the end, and ever after."""
        if self._ended:
            return None
        if not self._reading:
            self._reading = True
            self._start()
        line = await self._lines.get()
        self._ended = line is None
        return line

    def drop(self) -> None:
        """Forget what was typed before now: it was meant for something else."""
        while not self._lines.empty() and not self._ended:
            self._ended = self._lines.get_nowait() is None

    def _start(self) -> None:
        loop = asyncio.get_running_loop()

        def pump() -> None:
            for line in chain(self._source, [None]):
                put = self._lines.put(line)
                try:
                    asyncio.run_coroutine_threadsafe(put, loop).result()
                except (RuntimeError, CancelledError):  # nobody reads any more: the loop has ended
                    put.close()
                    return

        # It dies with the process.
        threading.Thread(target=pump, daemon=True, name="stdin").start()
