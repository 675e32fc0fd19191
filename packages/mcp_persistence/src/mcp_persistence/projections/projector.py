r"""Keeps a projection up with its journal.

    store.read_all(after=position) -> one transaction: rows, position -> and again
    nothing behind it               -> store.subscribe(after=position), until something comes or somebody asks

One task owns the file, so that following, sweeping and rebuilding never meet. A projection is made anew, without
being told to, when its version is another, when its file is damaged, and when the journal is not the one that
it followed: the newest event it knows is looked up at its position. If that is gone, which a deletion may do
too, the doubt is enough.

The journal has no event for the deletion of a stream. Its rows go when a projection is opened, when `sweep` is
called (by whoever deletes), and when a stream of the same name begins anew. Whoever shows rows before that
has happened asks the store whether their events still exist, as `text` does.
"""

import asyncio
import contextlib
import logging
import re
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable
from mcp_interface.store import PAGE, Store
from mcp_persistence.projections.file import ProjectionFile, fingerprint
from mcp_persistence.projections.projection import Projection
from mcp_persistence.sqlite.connection import translate

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_LOOK: Final = 1.0
"""Seconds until a journal or disk that refused is tried again; doubles up to `LAST_LOOK`."""
LAST_LOOK: Final = 30.0

_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class Projector:
    """Runs one projection. Made by `open`, ended by `close`.

    Attributes:
        path: Its file.
        found: One line: what the opening, or the last making anew, found and did.
    """

    def __init__(self, projection: Projection, store: Store, file: ProjectionFile, clock: Clock) -> None:
        self.path = file.path
        self.found = ""
        self._projection = projection
        self._store = store
        self._file = file
        self._clock = clock
        self._reached = file.position
        self._broke_at = 0
        self._anew = ""
        self._trouble: Exception | None = None
        self._moved = asyncio.Event()
        self._asked = asyncio.Event()
        self._wishes: deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, projection: Projection, store: Store, folder: Path, clock: Clock) -> Self:
        """Open the projection's file in an existing folder, or begin it, and follow the journal from there.

        What is damaged, outdated or of another journal is thrown away and made anew; it then lags behind.

        Args:
            projection: What is derived.
            store: From which journal; closed by its owner, after this.
            folder: Where `<name>.db` lies; the file belongs to the projector.
            clock: For the waits between attempts when the disk refuses.

        Raises:
            CallerMistaken: The name is none, or the file is somebody else's.
            StorageUnavailable: The disk refused.
        """
        if not _NAME.fullmatch(projection.name):
            raise CallerMistaken(
                f"{projection.name[:60]!r} cannot name a projection", "use 1 to 64 of a-z, 0-9, _ and -"
            )
        path = Path(folder).absolute() / f"{projection.name}.db"
        reason = ""
        try:
            file = await ProjectionFile.open(path, projection)
        except StorageCorrupt as damage:
            reason = damage.message
            file = await _begin_anew(path, projection)
        projector = cls(projection, store, file, clock)
        try:
            await projector._examine(reason)
        except BaseException:
            await projector._file.close()
            raise
        projector._task = asyncio.create_task(projector._run(), name=f"projection {projection.name}")
        await asyncio.sleep(0)  # the task begins, so that it sees when the loop ends
        return projector

    @property
    def position(self) -> int:
        """Up to which position the rows hold everything."""
        return self._reached

    async def lag(self) -> int:
        """How many positions of the journal are not in yet."""
        behind = max(0, await self._store.head() - self._reached)
        if behind:
            self._asked.set()  # nobody is woken for events that were deleted before they were seen
        return behind

    async def wait_for(self, position: int) -> None:
        """Return once everything up to this position is in.

        Args:
            position: Of an event that is in the journal; for a later one this may wait without end.

        Raises:
            StorageUnavailable: The projector or the store is closed.
            UmbrellaError: The projection has stopped; says why.
        """
        self._asked.set()  # as in `lag`
        while self._reached < position:
            if self._closing:
                raise _closed()
            if self._trouble is not None:
                raise self._trouble
            await self._moved.wait()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading function over one consistent state of the projection's tables, in its thread.

        Raises:
            StorageUnavailable: It is closed, or was found damaged and is being made anew: ask again later.
        """
        file = self._file
        try:
            return await file.read(work)
        except StorageCorrupt as error:
            if not getattr(error.__cause__, "sqlite_errorname", "").startswith(_DAMAGE):
                raise
            if file is self._file:
                reason = error.message
                self._wish(lambda: self._mend(file, reason))
            raise StorageUnavailable(
                f"the projection {self._projection.name} is damaged: {error.message}",
                "it is being made anew; try again later",
            ) from error
        except StorageUnavailable:
            if file is self._file:
                raise
            return await self._file.read(work)  # it was made anew under our hands

    async def sweep(self) -> int:
        """Remove the rows of streams that the store no longer has; call it after deleting some.

        Returns:
            How many streams were forgotten.
        """
        return await self._wish(self._sweep)

    async def rebuild(self) -> None:
        """Throw everything away and begin from the first event; returns before it has caught up."""
        await self._wish(self._rebuild)

    async def close(self) -> None:
        """Finish what is being written and release the file; harmless when repeated."""
        self._closing = True
        self._asked.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _wish(self, work: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":
        """Have the owner of the file do something."""
        if self._closing:
            raise _closed()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._wishes.append((work, future))
        self._asked.set()
        return future

    async def _run(self) -> None:
        wait = FIRST_LOOK
        try:
            while not self._closing:
                await self._grant()
                try:
                    more = self._trouble is None and await self._step()
                    wait = FIRST_LOOK
                except StorageUnavailable as error:
                    if (await self._store.report()).state == "closed":
                        self._stop(error)
                    else:
                        log.warning("the projection %s waits: %s", self._projection.name, error.message)
                        await self._unless_asked(self._clock.sleep(wait))
                        wait = min(2 * wait, LAST_LOOK)
                        continue
                except Exception as error:
                    self._stop(error)
                if self._trouble is not None:
                    await self._asked.wait()
                elif not more:
                    await self._unless_asked(self._next())
        finally:
            # also when nobody called `close`: its threads would keep the process from ending
            self._closing = True
            self._tell()
            for _, future in self._wishes:
                if not future.done():
                    future.set_exception(_closed())
            await self._file.close()

    async def _step(self) -> bool:
        """Take one page in; tells whether there may be more."""
        if self._anew:  # the disk refused when it was tried
            await self._make_anew(self._anew)
        head = await self._store.head()
        records = await self._store.read_all(after=self._reached)
        more = len(records) >= PAGE
        if records:
            file = self._file
            try:
                await file.write(records)
            except StorageCorrupt as error:
                if self._broke_at:
                    raise  # making it anew has not helped
                self._broke_at = records[-1].position
                await self._mend(file, error.message)
                return True
            if file.position >= self._broke_at:
                self._broke_at = 0
        # a deleted stream leaves a gap that may reach up to the head
        self._reached = records[-1].position if more else max(head, self._file.position)
        self._tell()
        return more

    async def _next(self) -> None:
        async with contextlib.aclosing(self._store.subscribe(after=self._reached)) as records:
            await anext(records, None)

    async def _unless_asked(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, or until somebody wants something of us."""
        tasks = {asyncio.ensure_future(waiting), asyncio.ensure_future(self._asked.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # what went wrong is met again at the next step
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _grant(self) -> None:
        if not self._closing:
            self._asked.clear()
        while self._wishes and not self._closing:
            work, future = self._wishes.popleft()
            try:
                result = await work()
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

    async def _examine(self, reason: str) -> None:
        """Find out whether the file belongs to this journal, and let go of what was deleted meanwhile."""
        reason = reason or await self._doubt()
        if reason and self._file.position:
            await self._make_anew(reason)
        elif reason:
            self.found = f"made anew: {reason}"
        else:
            gone = await self._sweep()
            self.found = f"at position {self._file.position:,}"
            self.found += f"; {gone:,} streams were deleted meanwhile" if gone else ""

    async def _doubt(self) -> str:
        """Say why this may be another journal; empty when it is not."""
        newest = await self._file.newest()
        if newest is None:
            return "there is nothing left by which to know the journal" if self._file.position else ""
        position, expected = newest
        if self._file.position > await self._store.head():
            return "the journal ends before the projection"
        records = await self._store.read_all(after=position - 1, limit=1)
        if not records or records[0].position != position or fingerprint(records[0]) != expected:
            return f"the event at position {position:,} is another, or was deleted"
        return ""

    async def _sweep(self) -> int:
        present: set[str] = set()
        last = ""
        while infos := await self._store.streams(after=last):
            present.update(info.stream for info in infos)
            last = infos[-1].stream
        gone: list[str] = []
        last = ""
        while known := await self._file.streams(last):
            gone += [stream for stream in known if stream not in present]
            last = known[-1]
        if gone:
            await self._file.forget(gone)
        return len(gone)

    async def _rebuild(self) -> None:
        self._broke_at = 0
        await self._make_anew("somebody asked for it")

    async def _mend(self, file: ProjectionFile, reason: str) -> None:
        if file is self._file:
            await self._make_anew(reason)

    async def _make_anew(self, reason: str) -> None:
        log.warning("the projection %s is made anew: %s", self._projection.name, reason)
        self._anew = reason
        await self._file.close()
        self._file = await _begin_anew(self.path, self._projection)
        self._anew = ""
        self._reached = 0
        self._trouble = None
        self.found = f"made anew: {reason}"

    def _stop(self, error: Exception) -> None:
        self._trouble = error
        log.error("the projection %s has stopped: %r", self._projection.name, error)
        self._tell()

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


async def _begin_anew(path: Path, projection: Projection) -> ProjectionFile:
    try:
        ProjectionFile.remove(path)
    except OSError as error:
        raise translate(error) from error
    return await ProjectionFile.open(path, projection)


def _closed() -> StorageUnavailable:
    return StorageUnavailable("the projection is closed", "open it again")
