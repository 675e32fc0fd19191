"""Group commit: many callers, one writer, one sync for everybody who waits.

The writer takes all that is queued and hands it over as one batch. Each piece of work is judged on its own
inside the batch: what it refuses concerns its caller alone. When the batch itself fails, nobody knows what
reached the disk, and trying again could report as durable what is not (a failed fsync is not repeated by the
kernel). So the queue is then poisoned: everybody who waits is told, and nothing more is taken.

A caller that is cancelled withdraws its work while that still waits. Once it has been taken there is no way
back; the caller then gets the outcome after all, and the cancellation at its next await.

This module knows nothing of any medium; `commit` is handed in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from mcp_interface.errors import OurBug, StorageUnavailable, TooMuch, UmbrellaError, error_from

Desk = TypeVar("Desk")
T = TypeVar("T")

MAX_WAITING: Final = 10_000
"""Most pieces of work that may wait."""
MAX_WAITING_BYTES: Final = 256 << 20
"""Most bytes that may wait."""
MAX_BATCH: Final = 2_048
"""Most pieces of work in one commit."""
MAX_BATCH_BYTES: Final = 8 << 20
"""A batch is closed when it has grown to this many bytes."""

_WAITS: Final = object()
Work = Callable[[Desk], T]
"""Judges and writes through the desk of the open batch, in the writer's thread."""


class Refusal:
    """The outcome of a piece of work that was not done."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Job(msgspec.Struct, gc=False, eq=False):
    """A piece of work in the queue."""

    work: Work[Any, Any]
    size: int
    future: asyncio.Future[Any]
    outcome: Any = _WAITS

    def settle(self, outcome: Any) -> None:
        """Tell whoever waits."""
        self.outcome = outcome
        if not self.future.done():
            self.future.set_result(outcome)


class GroupCommit(Generic[Desk]):
    """Queue of one medium; lives on one event loop.

    Args:
        commit: Performs a batch and makes it durable. Raising means that the batch failed as a whole.
        broken: Told, once, that the queue is poisoned and why; not when it is being closed.
        abandon: Called when the event loop is shut down around an open queue, to let go of the medium.
        take_in: Turns what `commit` gave into one outcome for each piece, in order: its result, or a `Refusal`.
            Called before anybody is told; must not raise.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work[Desk, Any]]], Awaitable[Any]],
        broken: Callable[[UmbrellaError], None],
        abandon: Callable[[], Awaitable[None]],
        take_in: Callable[[Any], Sequence[Any]] = lambda outcomes: outcomes,
    ) -> None:
        self._commit = commit
        self._tell = broken
        self._abandon = abandon
        self._take_in = take_in
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._bytes = 0
        self._taken: list[Job] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self.broken: UmbrellaError | None = None
        """Why nothing is taken any more."""
        self._guard = asyncio.create_task(self._watch(), name="journal writer")

    async def submit(self, work: Work[Desk, T], size: int = 0) -> T:
        """Have a piece of work done in the next batch; returns once it is durable.

        Args:
            work: Runs in the writer's thread.
            size: Bytes that it will write, roughly.

        Raises:
            TooMuch: `MAX_WAITING` others, or `MAX_WAITING_BYTES`, wait already.
            StorageUnavailable: The queue is closed or poisoned, or the batch failed.
        """
        job = self.put(work, size)
        try:
            outcome = await job.future
        except asyncio.CancelledError:
            outcome = await self.too_late(job)
        if type(outcome) is Refusal:
            del (
                job
            )  # a traceback that leads back to the queue would keep files open until the next collection
            raise outcome.error
        result: T = outcome
        return result

    def put(self, work: Work[Desk, Any], size: int) -> Job:
        """Queue a piece of work; the first half of `submit`, for callers that save a coroutine."""
        if self.broken is not None or self._closing:
            raise self._refusal()
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            raise TooMuch(f"{len(waiting)} writes wait for the disk already", "wait a moment and try again")
        job = Job(work, size, self._loop.create_future())
        waiting.append(job)
        self._bytes += size
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # not at once: whoever else is ready to run now comes along
            self._loop.call_soon(self._start)
        return job

    async def close(self) -> None:
        """Finish what is queued; harmless when repeated."""
        self._closing = True
        await self._idle.wait()
        self._guard.cancel()
        await asyncio.wait({self._guard})

    async def too_late(self, job: Job) -> Any:
        """The caller was cancelled while it waited: raise, unless its work is being done or was done meanwhile."""
        while job in self._taken and job.outcome is _WAITS:
            job.future = self._loop.create_future()
            try:
                await job.future
            except asyncio.CancelledError:
                continue  # the writer is at it; wait for its word all the same
        if job.outcome is _WAITS or type(job.outcome) is Refusal:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        if task is not None:
            self._loop.call_soon(_cancel_again, task)
        return job.outcome

    async def _watch(self) -> None:
        """Notice that the event loop ends, which cancels all tasks: what the disk is at is finished, no more."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not self._closing:
                self._closing = True
                await self._idle.wait()
                await self._abandon()
            raise

    def _start(self) -> None:
        batch = self._take()
        if batch and self.broken is None:
            commit: asyncio.Future[Any] = self._loop.create_future()
            try:
                commit = asyncio.ensure_future(self._commit([job.work for job in batch]))
            except Exception as error:  # raised here it would end a callback, and nobody would be told
                commit.set_exception(error)
            commit.add_done_callback(self._done)
        else:
            self._busy = False
            self._idle.set()

    def _take(self) -> list[Job]:
        batch: list[Job] = []
        size = 0
        waiting = self._waiting
        while waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            job = waiting.popleft()
            self._bytes -= job.size
            if not job.future.done():  # its caller has given up
                batch.append(job)
                size += job.size
        self._taken = batch
        return batch

    def _done(self, commit: asyncio.Future[Any]) -> None:
        try:
            outcomes = self._take_in(commit.result())
        except UmbrellaError as error:
            self._poison(error)
        except asyncio.CancelledError:
            self._closing = True
            self._poison(StorageUnavailable("the store's event loop has ended", "open it again"))
        except Exception as error:
            self._poison(OurBug(f"the journal's writer failed: {error!r}", "report it with the log"), error)
        else:
            batch, self._taken = self._taken, []
            for job, outcome in zip(batch, outcomes, strict=True):
                job.outcome = outcome  # as `settle`; thousands of times in a row
                future = job.future
                if not future.done():
                    future.set_result(outcome)
        # behind those who have just been told, so that what they write next is in the next batch
        self._loop.call_soon(self._start)

    def _poison(self, error: UmbrellaError, cause: BaseException | None = None) -> None:
        if self.broken is not None:
            return
        self.broken = error
        for job in [*self._taken, *self._waiting]:
            # Everybody gets an error of their own: a shared one would collect all their tracebacks.
            own = error_from(error.body())
            own.__cause__ = cause or error.__cause__
            job.settle(Refusal(own))
        self._taken = []
        self._waiting.clear()
        self._bytes = 0
        if not self._closing:
            self._tell(error)

    def _refusal(self) -> StorageUnavailable:
        if self._closing or self.broken is None:
            return StorageUnavailable("the store is closed", "open it again")
        return StorageUnavailable(
            f"the journal is read-only since a failed commit: {self.broken.message}",
            "it looks at the disk again by itself; what was not acknowledged may or may not be there",
        )


def _cancel_again(task: asyncio.Task[Any]) -> None:
    # Only if nobody has taken the request back: `asyncio.timeout` does when its block has ended in time.
    if not task.done() and task.cancelling():
        task.cancel()
        task.uncancel()  # the same request as before, not one more
