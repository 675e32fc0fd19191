r"""The journal in a folder of segment files: the truth in append-only segments, an index in SQLite beside them.

    commit -> Ledger (judges) -> SegmentLog (one frame a batch, synced) -> State (memory)
                                                     now and then: State -> index.db
    read   -> State and index.db (where?) -> SegmentLog (what?)

`index.db` holds nothing that the segments do not, and is made anew whenever it is missing or damaged.
`snapshots.db` holds shortcuts. One process at a time: a lock on the folder sees to that.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Sequence
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
from mcp_persistence.entry import NEVER, Committed, Entry, Row
from mcp_persistence.front import Front
from mcp_persistence.group_commit import Work
from mcp_persistence.index import reading, snapshots, tables, writing
from mcp_persistence.index.frames import Frames
from mcp_persistence.index.ledger import Ledger
from mcp_persistence.index.state import Head, State
from mcp_persistence.index.tables import IndexDamaged
from mcp_persistence.medium import Usage
from mcp_persistence.names import matches, span
from mcp_persistence.segment.disk import Disk, SystemDisk
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.sqlite.connection import Worker, connect, in_one_view, transaction, translate
from mcp_persistence.tiers.hot import EVENT_BYTES
from mcp_persistence.upcast import EventCodec

log = logging.getLogger(__name__)

T = TypeVar("T")
INDEX: Final = "index.db"
SNAPSHOTS: Final = "snapshots.db"
LOCK: Final = "lock"
LONG: Final = 3600.0
"""Seconds for what reads everything."""
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    # what is lost with the power is read again from the segments
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cell_size_check = ON",
    "PRAGMA journal_size_limit = 16777216",
)


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
        lock = _lock(folder)
        source = entropy or SystemEntropy()
        shape = codec or EventCodec()

        async def open_medium() -> SegmentMedium:
            _check_lock(folder, lock)
            return await SegmentMedium.open(folder, clock, source, shape, segment_bytes, disk)

        try:
            medium = await open_medium()
        except BaseException:
            os.close(lock)
            raise
        journal = cls(medium, open_medium, clock, shape, telemetry, hot_bytes, lambda: os.close(lock))
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

    def __init__(
        self, folder: Path, ledger: Ledger, codec: EventCodec, writer: Worker, reader: Worker
    ) -> None:
        self.folder = folder
        self.head = ledger.log.head
        self.found = ""
        self.recovered = 0
        """Events that were read again at the opening."""
        self._log = ledger.log
        self._frames = Frames(ledger.log, codec)
        self._writer = writer
        self._reader = reader
        self._ledger = ledger
        self._checkpointing: asyncio.Task[None] | None = None
        self._released = False
        self._names: list[str] = []

    @classmethod
    async def open(
        cls,
        folder: Path,
        clock: Clock,
        entropy: Entropy,
        codec: EventCodec,
        segment_bytes: int | None,
        disk: Disk | None,
    ) -> Self:
        """Open log and index, and bring the index up to date."""
        at = (clock.now() - NEVER).total_seconds()

        def open_log(db: sqlite3.Connection) -> Joined:
            return _join(db, folder, clock, entropy.token(16), int(at * 1e6), segment_bytes, disk)

        damage = ""
        try:
            writer, reader, joined = await _open_all(folder, open_log)
        except IndexDamaged as error:
            damage = error.message
            _remove(folder / INDEX)
            writer, reader, joined = await _open_all(folder, open_log)
        ledger, recovered, note = joined
        medium = cls(folder, ledger, codec, writer, reader)
        medium.recovered = recovered
        medium.found = _line(ledger, recovered, damage or note)
        return medium

    def commit(self, batch: Sequence[Work[Any, Any]]) -> asyncio.Future[Committed]:
        """Do a batch in one frame; see `front.Medium`."""
        ledger = self._ledger
        if ledger.is_due and self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint(), name="index checkpoint")
        if not all(type(work) is Entry and work.is_plain for work in batch):
            return self._writer.begin(lambda _: ledger.commit(batch))
        # Plain decisions are judged here, where they were made: in another thread each of their objects has to
        # come over from another core first, which costs as much as the judging.
        ledger.judge_plain(cast("Sequence[Entry]", batch))
        return self._writer.begin(lambda _: ledger.finish())

    async def stream_page(self, stream: str, after: int, limit: int) -> list[Row]:
        """Rows of one stream; see `front.Medium`."""
        return await self._look(reading.stream_page, stream, after, limit)

    async def page(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """Records of matching streams; see `front.Medium`."""
        return await self._look(reading.page, after, limit, glob)

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
        try:
            await self._writer.run(lambda _: self._ledger.rebuild(), LONG)
        except IndexDamaged as error:
            # not even that can be done with this file: the next opening makes another, at the next write
            self._ledger.stop(error)
            _remove(self.folder / INDEX)
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
        found: list[Head] = []
        for name in islice(self._names, bisect_right(self._names, max(after, first[:-1])), None):
            if name >= end or len(found) >= limit:
                break
            head = heads[name]
            if name > after and head.version and matches(name, pattern):
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

        def renew(db: sqlite3.Connection) -> None:
            db.execute("DETACH kept")
            _remove(self.folder / SNAPSHOTS)
            _attach_snapshots(db, self.folder, self._ledger)

        def attach(db: sqlite3.Connection) -> None:
            db.execute("DETACH kept")
            _attach(db, self.folder)

        await self._writer.run(renew)
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


Joined = tuple[Ledger, int, str]
"""The ledger, how many events were read again, and what else there is to say."""


async def _open_all(
    folder: Path, open_log: Callable[[sqlite3.Connection], Joined]
) -> tuple[Worker, Worker, Joined]:
    """Open what there is, the writer first; on failure everything is closed again."""
    async with contextlib.AsyncExitStack() as opened:
        _touch(folder / INDEX)
        _touch(folder / SNAPSHOTS)
        writer = await connect(folder / INDEX, writable=True)
        opened.push_async_callback(writer.end)
        joined = await writer.run(open_log, LONG)
        opened.callback(joined[0].log.close)
        await writer.run(lambda db: _attach_snapshots(db, folder, joined[0]))
        reader = await connect(folder / INDEX, writable=False)
        opened.push_async_callback(reader.end)
        await reader.run(lambda db: _attach(db, folder))
        opened.pop_all()
    return writer, reader, joined


def _check_index(db: sqlite3.Connection, frames: Frames, state: State) -> None:
    """See that nothing is missing in it, as every opening does: who asks for a hidden key cannot know."""
    writing.load(db)


def _attach(db: sqlite3.Connection, folder: Path) -> None:
    db.execute("ATTACH ? AS kept", (str(folder / SNAPSHOTS),))


def _attach_snapshots(db: sqlite3.Connection, folder: Path, ledger: Ledger) -> None:
    """Attach the snapshots for writing; a damaged file of them is replaced."""

    def begin() -> None:
        _attach(db, folder)
        db.execute("PRAGMA kept.journal_mode = WAL")
        db.execute("PRAGMA kept.synchronous = NORMAL")
        with snapshots.writing(db):
            snapshots.begin(db, ledger.log.journal_id, ledger.log.head)

    try:
        begin()
    except sqlite3.Error as error:
        if not isinstance(translate(error), StorageCorrupt):
            raise
        log.warning("the snapshots in %s were damaged and are lost: %s", folder, error)
        with contextlib.suppress(sqlite3.Error):
            db.execute("DETACH kept")
        _remove(folder / SNAPSHOTS)
        begin()


def _join(
    db: sqlite3.Connection,
    folder: Path,
    clock: Clock,
    journal_id: bytes,
    at: int,
    segment_bytes: int | None,
    disk: Disk | None,
) -> Joined:
    """Open the log as far as the index knows it already, and read the rest."""
    with tables.suspicion():
        for setting in _SETTINGS:
            db.execute(setting)
        begun = db.execute("SELECT count(*) FROM main.sqlite_master").fetchone()[0]
        known = writing.load(db) if begun else None
    since = None if known is None or not known[0].checkpoint.frame else known[0].checkpoint
    segments = SegmentLog.open(
        folder, journal_id=journal_id, at=at, disk=disk, segment_bytes=segment_bytes, since=since
    )
    try:
        resumed = 0 if since is None else since.frame
        note = ""
        if known and known[0].journal == segments.journal_id and segments.found.resumed_from == resumed:
            meta, state = known
        else:
            note = "" if known is None else "the index was of another journal"
            with tables.suspicion(), transaction(db):
                tables.clear(db)
                meta, state = writing.blank(segments.journal_id), State()
                writing.write(db, meta, state, meta.checkpoint)
        ledger = Ledger(segments, state, meta, db, clock)
        return ledger, ledger.catch_up(), note
    except BaseException:
        segments.close()
        raise


def _line(ledger: Ledger, recovered: int, note: str) -> str:
    """One line for a person: what the opening found and did."""
    found = ledger.log.found
    streams = sum(1 for head in ledger.state.numbers if head.version)
    parts = [f"{ledger.log.head:,} events in {streams:,} streams"]
    if recovered:
        parts.append(f"read {recovered:,} again")
    if found.torn_bytes:
        parts.append(
            f"cut off an unfinished write of {found.torn_bytes:,} bytes behind position {ledger.log.head:,}"
        )
    if note:
        parts.append(f"made the index anew ({note})")
    return "; ".join(parts)


def _touch(path: Path) -> None:
    """Have a file of its owner's alone, which SQLite then fills."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise translate(error) from error


def _remove(path: Path) -> None:
    """Remove a database."""
    try:
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise translate(error) from error


def _check_lock(folder: Path, lock: int) -> None:
    """See that the folder is still the one that was locked.

    Raises:
        StorageUnavailable: It was taken away or replaced; a journal that is begun in its place would be empty.
    """
    try:
        is_ours = os.path.samestat(os.stat(folder / LOCK), os.fstat(lock))  # noqa: PTH116 beside fstat
    except OSError as error:
        raise translate(error) from error
    if not is_ours:
        raise StorageUnavailable(
            f"{folder} is not the folder that was opened",
            "put it back, or close the journal and open it again",
        )


def _lock(folder: Path) -> int:
    """Take the folder for this process.

    Raises:
        StorageUnavailable: Another one has it, or the disk refused.
    """
    try:
        SystemDisk().make_folder(folder)  # which makes its name durable, too
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise translate(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StorageUnavailable(
            f"another process has the journal in {folder} open", "stop it, or give another folder"
        ) from error
    return lock
