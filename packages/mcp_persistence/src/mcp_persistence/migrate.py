"""From a journal in one SQLite file, as the first versions kept it, to one in segments.

Positions, versions, epochs and ids stay as they are; what was erased leaves its positions empty. The new
journal is built beside the old one, read back, and only then takes its name; the old file stays, renamed. A
crash at any moment leaves one of the two whole, and the next attempt begins anew, or ends what was begun.
"""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.clock import Clock, Entropy, SystemEntropy
from mcp_interface.codec import encode_json
from mcp_interface.errors import OurBug
from mcp_interface.store import Record, Store
from mcp_interface.telemetry import Telemetry
from mcp_persistence.segment.body import Born, Claimed, Decided, Events, Gone, Item, Put, Traced, pack
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.sqlite.connection import translate
from mcp_persistence.sqlite.rows import MADE_COLUMNS, made_of
from mcp_persistence.stores.segments import SegmentJournal
from mcp_persistence.upcast import EventCodec

OLD: Final = ".before-segments"
"""Ending that the old file gets."""
FRAME_BYTES: Final = 8 << 20
"""Bytes from which on a frame is full."""


async def open_journal(
    folder: Path,
    clock: Clock,
    telemetry: Telemetry | None = None,
    *,
    entropy: Entropy | None = None,
    before: Path | None = None,
) -> SegmentJournal:
    """Open a segment journal; one that an earlier version kept in the SQLite file `before` moves in first.

    Raises:
        StorageUnavailable, StorageCorrupt: As `SegmentJournal.open`.
    """
    if before is not None:
        await move_to_segments(before, folder, clock, entropy or SystemEntropy())
    return await SegmentJournal.open(folder, clock, telemetry, entropy=entropy)


async def move_to_segments(path: Path, folder: Path, clock: Clock, entropy: Entropy) -> None:
    """Make a segment journal at `folder` from the SQLite journal at `path`; harmless when it was done before.

    Raises:
        StorageCorrupt: The old journal is damaged; it stays as it is.
        StorageUnavailable: The disk refused.
    """
    if not path.exists():
        return
    if _has_journal(folder):
        _put_away(path)
        return
    from mcp_persistence.stores.sqlite import SqliteJournal  # late: it is needed once in a lifetime, if ever

    building = folder.with_name(folder.name + ".building")
    await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
    old = await SqliteJournal.open(path, clock)
    try:
        log = SegmentLog.open(building, journal_id=entropy.token(16), at=_micros(clock))
        try:
            await _copy(old, path, log, _micros(clock))
        finally:
            log.close()
        new = await SegmentJournal.open(building, clock)
        try:
            await _snapshots(old, new)
            if await new.head() != await old.head() or await new.verify() != await old.verify():
                raise OurBug("the copy of the journal differs from the journal", "report it")
        finally:
            await new.close()
    finally:
        await old.close()
    try:
        building.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise translate(error) from error
    _put_away(path)


def _has_journal(folder: Path) -> bool:
    """Whether the new journal has its name already; an empty folder is only a place for it."""
    return folder.exists() and any(folder.iterdir())


def _put_away(path: Path) -> None:
    """Rename the old file. Its high-water mark goes first: the file itself says whether this was done."""
    try:
        for ending in (".head", ""):
            old, kept = path.with_name(path.name + ending), path.with_name(path.name + OLD + ending)
            if old.exists() and not kept.exists():
                old.rename(kept)
        _sync(path.parent)
    except OSError as error:
        raise translate(error) from error


class _Copy:
    """Writes items to a log, in frames of a bounded size."""

    def __init__(self, log: SegmentLog, at: int) -> None:
        self._log = log
        self._at = at
        self.position = 0
        self.epoch = 0
        self._begin()

    def _begin(self) -> None:
        self._items: list[Item] = []
        self._bytes = 0
        self._before = self.position
        self._epoch = self.epoch

    def add(self, item: Item, count: int = 0, size: int = 0) -> None:
        """Add an item that fills so many positions and bytes."""
        self._items.append(item)
        self.position += count
        self._bytes += size
        if self._bytes >= FRAME_BYTES:
            self.flush()

    def claim(self, epoch: int) -> None:
        """Whatever follows was written by this writer."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.add(Claimed(epoch))

    def reach(self, position: int) -> None:
        """Leave positions empty up to this one."""
        if position > self.position:
            self.add(Gone(position - self.position), position - self.position)

    def flush(self) -> None:
        """Make everything durable."""
        if self._items:
            count = self.position - self._before
            self._log.append(pack(self._items), count=count, epoch=self._epoch, at=self._at)
        self._begin()


async def _copy(old: Store, path: Path, log: SegmentLog, at: int) -> None:
    claimed = await old.claim()  # from here on no writer can add an event to the old file
    copy = _Copy(log, at)
    numbers: dict[str, int] = {}
    codec = EventCodec()
    while records := await old.read_all(after=copy.position):
        for record in records:
            copy.reach(record.position - 1)
            copy.claim(record.epoch)
            body = msgspec.Raw(codec.encode(record.event))
            for item in _events(record, body, numbers):
                copy.add(item, isinstance(item, Events | Traced), len(body))
    copy.reach(await old.head())
    copy.claim(claimed)
    after = ""
    while names := await old.list_keys(after=after):
        for name in names:
            content = encode_json(await old.get(name))
            copy.add(Put(name, content), size=len(content))
        after = names[-1]
    for decided in await asyncio.to_thread(_decisions, path):
        copy.add(decided)
    copy.flush()


def _decisions(path: Path) -> list[Decided]:
    """What was decided under idempotency keys: it must not be decided again."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        made = [made_of(row) for row in db.execute(f"SELECT {MADE_COLUMNS} FROM made ORDER BY before")]  # noqa: S608
    return [Decided(each.key, each.content, each.before, each.count) for each in made]


def _events(record: Record, body: msgspec.Raw, numbers: dict[str, int]) -> Iterator[Item]:
    number = numbers.get(record.stream)
    if number is None:
        number = numbers[record.stream] = len(numbers) + 1
        yield Born(number, record.stream)
    ids = (record.trace_id, record.causation_id, record.correlation_id)
    if any(each is not None for each in ids):
        yield Traced(number, record.version, [body], *ids)
    else:
        yield Events(number, record.version, [body])


async def _snapshots(old: Store, new: SegmentJournal) -> None:
    after = ""
    while streams := await old.streams(after=after):
        for info in streams:
            snapshot = await old.load_snapshot(info.stream)
            if snapshot is not None:
                await new.save_snapshot(snapshot)
        after = streams[-1].stream


def _micros(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1e6)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
