"""What is put off while writers wait: indexing, and moving what is committed from the log into the database.

A checkpoint in the writer holds up everybody who waits for a commit. So a thread of its own does the most of
it; but the log begins again at its start only when nothing is left in it, which never happens beside a busy
writer. So the writer does the little that has been added meanwhile.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mcp_interface.errors import UmbrellaError
from mcp_persistence.sqlite.connection import Worker

log = logging.getLogger(__name__)

EVENTS: Final = 24_000
COMMITS: Final = 1_000
"""The log is swept after so many events or commits, whichever comes first."""
PAUSE: Final = 1.0
"""Seconds after which what was appended is indexed."""


class Tidying:
    """Does what was put off.

    Args:
        writer: The writing connection.
        own: Another one that may write, used by nobody else; `end` ends it.
        index: Catches up with the events, in the writer's thread.
    """

    def __init__(self, writer: Worker, own: Worker, index: Callable[[], None]) -> None:
        self._writer = writer
        self._own = own
        self._index = index
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._events = 0
        self._commits = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def committed(self, events: int) -> None:
        """Take note of a commit."""
        self._events += events
        self._commits += 1
        if self._events >= EVENTS or self._commits >= COMMITS:
            self._events = self._commits = 0
            self._begin(self._sweep())
        if events and self._alarm is None:
            self._alarm = self._loop.call_later(PAUSE, self._wake)

    async def end(self) -> None:
        """Finish what has begun, and end the thread; harmless when repeated."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._own.end()

    def _wake(self) -> None:
        self._alarm = None
        self._begin(self._writer.run(lambda _: self._index()))

    async def _sweep(self) -> None:
        await self._own.run(_checkpoint)
        await self._writer.run(_checkpoint)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work), name="journal tidying")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except UmbrellaError as error:
        # Nothing is lost, and it is tried again. A disk that is broken shows in the commits.
        log.warning("the journal could not be tidied: %s", error.message)


def _checkpoint(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
