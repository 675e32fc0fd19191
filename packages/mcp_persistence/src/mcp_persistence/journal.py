"""Group commit: many callers, one writer, one sync for everybody who waits.

The writer takes all that is queued and hands it over as one batch. Each piece of work is judged on its own
inside the batch: what it refuses concerns its caller alone. When the batch itself fails, nobody knows what
reached the disk, and trying again could report as durable what is not (a failed fsync is not repeated by the
kernel). So the journal is then poisoned: everybody who waits is told, and nothing more is taken until the
store is opened again.

This module knows nothing of SQLite; `commit` is handed in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from mcp_interface.errors import OurBug, StorageUnavailable, TooMuch, UmbrellaError, error_from

Desk = TypeVar("Desk")
T = TypeVar("T")

MAX_WAITING: Final = 10_000
"""Most pieces of work that may wait."""
MAX_BATCH: Final = 2_048
"""Most pieces of work in one commit."""
MAX_BATCH_BYTES: Final = 8 << 20
"""A batch is closed when it has grown to this many bytes."""


class Outcome:
    """What became of one piece of work in a batch: a result, or the error of its own."""

    __slots__ = ("error", "result")

    def __init__(self, result: Any = None, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error


Work = Callable[[Desk], T]
"""Judges and writes through the desk of the open batch, in the writer's thread."""


class _Job(Generic[Desk]):
    __slots__ = ("future", "size", "work")

    def __init__(self, work: Work[Desk, Any], size: int, future: asyncio.Future[Outcome]) -> None:
        self.work = work
        self.size = size
        self.future = future


class Journal(Generic[Desk]):
    """Queue and writer task of one store; lives on one event loop.

    Args:
        commit: Performs a batch and makes it durable; gives one outcome for each piece, in order. Raising
            means that the batch failed as a whole.
        abandon: Called when the event loop is shut down around an open journal, to let go of the medium.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work[Desk, Any]]], Awaitable[Sequence[Outcome]]],
        abandon: Callable[[], Awaitable[None]],
    ) -> None:
        self._commit = commit
        self._abandon = abandon
        self._waiting: deque[_Job[Desk]] = deque()
        self._taken: list[_Job[Desk]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._broken: UmbrellaError | None = None
        self._writer = asyncio.create_task(self._run(), name="journal writer")

    async def submit(self, work: Work[Desk, T], size: int = 0) -> T:
        """Have a piece of work done in the next batch; returns once it is durable.

        Cancelling the caller withdraws the work if it has not been taken yet, and changes nothing otherwise.

        Args:
            work: Runs in the writer's thread.
            size: Bytes that it will write, roughly.

        Raises:
            TooMuch: `MAX_WAITING` others wait already.
            StorageUnavailable: The journal is closed or poisoned, or the batch failed.
        """
        if self._broken is not None:
            raise self._refusal(self._broken)
        if self._closing:
            raise StorageUnavailable("the store is closed", "open it again")
        if len(self._waiting) >= MAX_WAITING:
            raise TooMuch(f"{MAX_WAITING} writes wait for the disk already", "wait and try again")
        job = _Job(work, size, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._wake.set()
        outcome = await job.future
        if outcome.error is not None:
            raise outcome.error
        result: T = outcome.result
        return result

    async def close(self) -> None:
        """Finish what is queued and end the writer; harmless when repeated."""
        self._closing = True
        self._wake.set()
        await asyncio.wait({self._writer})

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._write(self._take())
        except asyncio.CancelledError:
            self._poison(StorageUnavailable("the store's event loop has ended", "open it again"))
            await self._abandon()
            raise

    def _take(self) -> list[_Job[Desk]]:
        batch: list[_Job[Desk]] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            job = self._waiting.popleft()
            if not job.future.done():  # its caller has given up
                batch.append(job)
                size += job.size
        self._taken = batch
        return batch

    async def _write(self, batch: list[_Job[Desk]]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._commit([job.work for job in batch])
        except UmbrellaError as error:
            self._poison(error)
        except Exception as error:
            self._poison(OurBug(f"the journal's writer failed: {error!r}", "report it with the log"), error)
        else:
            self._taken = []
            for job, outcome in zip(batch, outcomes, strict=True):
                if not job.future.done():
                    job.future.set_result(outcome)

    def _poison(self, error: UmbrellaError, cause: BaseException | None = None) -> None:
        self._broken = error
        for job in [*self._taken, *self._waiting]:
            if not job.future.done():
                # Everybody gets an error of their own: a shared one would collect all their tracebacks.
                own = error_from(error.body())
                own.__cause__ = cause or error.__cause__
                job.future.set_result(Outcome(error=own))
        self._taken = []
        self._waiting.clear()

    def _refusal(self, cause: UmbrellaError) -> StorageUnavailable:
        if self._closing:
            return StorageUnavailable("the store is closed", "open it again")
        return StorageUnavailable(
            f"the journal stopped after a failed commit: {cause.message}",
            "close the store and open it again; what was not acknowledged may or may not be there",
        )
