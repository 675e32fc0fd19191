r"""The journal in a folder of segment files: the truth in append-only segments, an index in SQLite beside them.

    commit -> Ledger (judges) -> SegmentLog (one frame a batch, synced) -> State (memory)
                                                     now and then: State -> index.db
    read   -> State and index.db (where?) -> SegmentLog (what?)

`index.db` holds nothing that the segments do not, and is made anew whenever it is missing or damaged.
`snapshots.db` holds shortcuts. One process at a time: a lock on the folder sees to that.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

from mcp_interface.clock import Clock, Entropy, SystemEntropy
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    OurBug,
    StorageCorrupt,
    StorageUnavailable,
    UmbrellaError,
)
from mcp_interface.store import Record, Snapshot, StreamInfo
from mcp_interface.telemetry import Telemetry
from mcp_persistence.entry import Committed, Row, Run
from mcp_persistence.front import Front
from mcp_persistence.group_commit import Work
from mcp_persistence.index import reading, snapshots, tables
from mcp_persistence.index.files import INDEX, remove
from mcp_persistence.index.frames import Frames
from mcp_persistence.index.opening import LONG, Opened, load, open_folder
from mcp_persistence.index.pages import Pages
from mcp_persistence.index.state import Head, State
from mcp_persistence.index.tables import IndexDamaged
from mcp_persistence.medium import Usage
from mcp_persistence.names import is_exact, matcher, span
from mcp_persistence.segment.disk import Disk
from mcp_persistence.sqlite.connection import in_one_view
from mcp_persistence.stores import lock as locks
from mcp_persistence.stores.deadline import Deadline
from mcp_persistence.tiers.hot import EVENT_BYTES
from mcp_persistence.upcast import EventCodec

log = logging.getLogger(__name__)

T = TypeVar("T")
ANSWER: Final = 60.0
"""Seconds after which a commit that the disk does not answer counts as failed."""


class SegmentJournal(Front):
    """A `mcp_interface.store.Store` in a folder. Made by `open`, ended by `close`."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        clock: Clock,
        telemetry: Telemetry | None = None,
        *,
        codec: EventCodec | None = None,
        entropy: Entropy | None = None,
        hot_bytes: int = EVENT_BYTES,
        segment_bytes: int | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """Open a journal, or begin one where there is none. The folder is made, with mode 0700.

        Args:
            folder: Of this journal alone.
            clock: Stamps frames; for durations, and for the waits between attempts to heal.
            telemetry: Told of commits, snapshots and the recovery.
            codec: Which events these are; Umbrella's own unless given.
            entropy: Names a new journal.
            hot_bytes: Memory for recent events, and as much for snapshots.
            segment_bytes: Size of every segment file; None lets them grow with the journal, up to 64 MiB.
            disk: Stands in for the operating system's files.

        Raises:
            StorageUnavailable: The disk refused, or another process has the journal open.
            StorageCorrupt: It is damaged, or lacks what was acknowledged; nothing was changed.
        """
        began = clock.monotonic()
        if hot_bytes < 0:
            raise CallerMistaken(
                f"hot_bytes is {hot_bytes}", "give a number of bytes; zero keeps nothing in memory"
            )
        folder = Path(folder).absolute()
        lock = locks.take(folder)
        source = entropy or SystemEntropy()
        shape = codec or EventCodec()
        former: SegmentMedium | None = None

        async def open_medium() -> SegmentMedium:
            nonlocal former
            locks.check(folder, lock)
            if former is not None and former.is_stuck:
                raise StorageUnavailable("the disk has still not answered", "look at the disk")
            opened = await open_folder(folder, clock, source.token(16), segment_bytes, disk)
            former = SegmentMedium(folder, shape, opened)
            return former

        def let_go() -> None:
            # a write that hangs may land yet: then nobody else may have the folder before this process has ended
            if former is None or not former.is_stuck:
                os.close(lock)

        try:
            medium = await open_medium()
        except BaseException:
            os.close(lock)
            raise
        journal = cls(medium, open_medium, clock, shape, telemetry, hot_bytes, let_go)
        try:
            await asyncio.sleep(0)  # the writer task begins, so that it sees when the loop ends
        except BaseException:
            await journal.close()
            raise
        journal._emit("recovery_complete", began, {"events": medium.recovered}, {})
        return journal

    @property
    def path(self) -> Path:
        """The journal's folder."""
        return self._medium.folder


class SegmentMedium:
    """An opened folder; a `front.Medium`."""

    kind = "segments"

    def __init__(self, folder: Path, codec: EventCodec, opened: Opened) -> None:
        self.folder = folder
        self._ledger = ledger = opened.ledger
        self._log = ledger.log
        self.head = ledger.log.head
        self.found = opened.found
        self.recovered = opened.recovered
        """Events that were read again at the opening."""
        self._writer = opened.writer
        self._reader = opened.reader
        self._frames = Frames(ledger.log, codec)
        self._pages = Pages(codec, lambda: ledger.state, partial(self._look, reading.stretch))
        self._deadline = Deadline(ANSWER, self._give_up)
        self._past: asyncio.Future[None] | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._released = False
        self._names: list[str] = []

    def commit(self, batch: Sequence[Work[Any, Any]]) -> asyncio.Future[Committed]:
        """Do a batch in one frame; see `front.Medium`."""
        ledger = self._ledger
        if ledger.is_due and self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint(), name="index checkpoint")
        if set(map(type, batch)) != {Run}:
            return self._awaited(self._writer.begin(lambda _: ledger.commit(batch)))
        # Runs are judged here, where they were made: in another thread each of their objects has to come over
        # from another core first, which costs as much as the judging.
        ledger.judge_runs(cast("Sequence[Run]", batch))
        return self._awaited(self._writer.begin(lambda _: ledger.finish()))

    @property
    def is_stuck(self) -> bool:
        """Whether the writer's thread is still at what was given up: then it may write yet."""
        return self._past is not None and not self._past.done()

    def _awaited(self, commit: asyncio.Future[Committed]) -> asyncio.Future[Committed]:
        self._deadline.waits_for = commit
        return commit

    def _give_up(self, commit: asyncio.Future[Committed]) -> None:
        """Tell whoever waits that the disk does not answer. The thread cannot be called back from there."""
        error = StorageUnavailable(
            f"the disk did not answer within {ANSWER:.0f} s", "look at the disk; it is tried again"
        )
        self._ledger.stop(error)
        self._past = self._writer.begin(lambda _: None)
        commit.set_exception(error)

    async def stream_page(self, stream: str, after: int, limit: int) -> list[Row]:
        """Rows of one stream; see `front.Medium`."""
        return await self._look(reading.stream_page, stream, after, limit)

    async def page(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """Records of matching streams; see `front.Medium`."""
        if is_exact(glob):
            return await self._look(reading.stream_tail, glob, after, limit)
        return await self._pages.page(after, limit, glob)

    async def streams(self, pattern: str, after: str, limit: int) -> list[StreamInfo]:
        """Streams by name; see `EventStore.streams`."""

        def look(db: sqlite3.Connection) -> list[StreamInfo]:
            heads = self._heads(pattern, after, limit)
            if not heads:
                return []
            newest = snapshots.newest_between(db, heads[0].stream, heads[-1].stream)
            return [head.info(newest.get((head.stream, head.erased), 0)) for head in heads]

        return await self._reader.run(look)

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream; see `EventStore.stream_info`."""
        head = self._ledger.state.heads.get(stream)
        if head is None or not head.version:
            raise NotFound(f"no stream {stream!r}")
        return head.info(await self._reader.run(lambda db: snapshots.newest(db, head)))

    async def save_snapshot(self, snapshot: Snapshot, body: bytes) -> int:
        """Keep a snapshot; see `EventStore.save_snapshot`."""
        self._ledger.check()
        stream, version = snapshot.stream, snapshot.version

        def save(db: sqlite3.Connection) -> int:
            head = self._ledger.state.heads.get(stream)
            if head is None or not 1 <= version <= head.version:
                raise CallerMistaken(
                    f"a snapshot of {stream[:200]!r} at {version} does not lie within 1 to "
                    f"{0 if head is None else head.version}",
                    "append first",
                )
            with snapshots.writing(db):
                snapshots.keep(db, head, self._log.head, version, body)
            return snapshots.newest(db, head)

        try:
            return await self._writer.run(save)
        except StorageCorrupt:
            await self._renew_snapshots()
            return await self._writer.run(save)

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; see `EventStore.load_snapshot`."""
        head = self._ledger.state.heads.get(stream)
        if head is None or not head.version:
            return None
        return await self._reader.run(lambda db: snapshots.load(db, head))

    async def load_snapshots(self, pattern: str, after: str, limit: int) -> list[Snapshot]:
        """The newest sound snapshots; see `EventStore.load_snapshots`."""

        def look(db: sqlite3.Connection) -> list[Snapshot]:
            return snapshots.load_page(db, self._ledger.state.heads, pattern, after, limit)

        return await self._reader.run(look)

    async def value(self, key: str) -> Any:
        """The value of a key; see `KeyValueStore.get`."""
        return await self._look(reading.key_value, key)

    async def key_names(self, pattern: str, after: str, limit: int) -> list[str]:
        """Keys that match; see `KeyValueStore.list_keys`."""
        return await self._look(reading.key_names, pattern, after, limit)

    async def verify(self) -> int:
        """Check every byte of the segments; see `Store.verify`."""
        report = await asyncio.to_thread(self._log.verify)
        if report.damage:
            raise report.damage[0].error()
        await self._look(_check_index)
        return sum(head.version for head in list(self._ledger.state.numbers))

    async def rebuild(self) -> None:
        """Throw the index's content away and make it anew; see `Store.rebuild`."""
        self._ledger.check()

        def rebuild(db: sqlite3.Connection) -> None:
            with self._deadline.lifted():
                self._ledger.rebuild()

        try:
            await self._writer.run(rebuild, LONG)
        except IndexDamaged as error:
            # not even that can be done with this file: the next opening makes another, at the next write
            self._ledger.stop(error)
            remove(self.folder / INDEX)
            raise

    async def usage(self) -> Usage:
        """What it takes; see `front.Medium`."""
        size = segments = 0
        with contextlib.suppress(
            OSError, UmbrellaError
        ):  # a disk that is gone must not keep this from being told
            for file in list(self.folder.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    size += file.stat().st_size
            segments = len(self._log.segments())
        heads = self._ledger.state.numbers
        return Usage(sum(1 for head in list(heads) if head.version), size, segments)

    async def release(self) -> None:
        """Let go of everything; harmless when repeated."""
        if self._checkpointing is not None:
            await asyncio.wait({self._checkpointing})
        self._deadline.cancel()
        if self.is_stuck:
            await self._reader.end()
            self._writer.stop()  # once the call has returned that hangs; the log is closed with the thread
            return
        if not self._released:
            self._released = True
            with contextlib.suppress(UmbrellaError):  # the next opening reads a longer tail
                await self._writer.run(lambda _: self._ledger.checkpoint())
        for worker in (self._reader, self._writer):
            await worker.end()
        self._log.close()

    def _heads(self, pattern: str, after: str, limit: int) -> list[Head]:
        """A page of the streams that match, by name."""
        heads = self._ledger.state.heads
        if len(self._names) != len(heads):  # names only ever come, and are dear to sort
            self._names = sorted(heads.copy())
        first, end = span(pattern)
        is_wanted = matcher(pattern)
        found: list[Head] = []
        for name in islice(self._names, bisect_right(self._names, max(after, first[:-1])), None):
            if name >= end or len(found) >= limit:
                break
            head = heads[name]
            if name > after and head.version and is_wanted(name):
                found.append(head)
        return found

    async def _look(self, work: Callable[..., T], *args: Any) -> T:
        """Read with the index; one that turns out to be damaged is made anew."""
        with contextlib.suppress(IndexDamaged):
            return await self._look_once(work, *args)
        # behind the block: as long as its error lives, so does the view that the reader had
        await self.rebuild()
        return await self._look_once(work, *args)

    async def _look_once(self, work: Callable[..., T], *args: Any) -> T:
        look = in_one_view(work, self._frames, self._ledger.state, *args)

        def suspicious(db: sqlite3.Connection) -> T:
            with tables.suspicion():
                return look(db)

        return await self._reader.run(suspicious)

    async def _renew_snapshots(self) -> None:
        """Begin a new file of snapshots: into the present one none can be written."""
        log.warning("the snapshots in %s were damaged and are lost; states are replayed instead", self.folder)

        def attach(db: sqlite3.Connection) -> None:
            db.execute("DETACH kept")
            snapshots.attach(db, self.folder)

        await self._writer.run(lambda db: snapshots.renew(db, self.folder, self._log))
        await self._reader.run(attach)

    async def _checkpoint(self) -> None:
        try:
            await self._writer.run(lambda _: self._ledger.checkpoint())
        except Exception as error:  # whatever it is: memory must not grow without bound
            self._ledger.stop(
                error if isinstance(error, UmbrellaError) else OurBug(f"no checkpoint: {error!r}")
            )
        finally:
            self._checkpointing = None


def _check_index(db: sqlite3.Connection, frames: Frames, state: State) -> None:
    """See that nothing is missing in it, as every opening does: who asks for a hidden key cannot know."""
    load(db)
