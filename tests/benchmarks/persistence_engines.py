"""Our own engines, and everything that the benchmark does with them beyond their contract.

An engine is one line in `ENGINES`. How state comes back after a start is in `recovered` and `state_of`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from payloads import EVENTS, State, fold, stream_name

import mcp_persistence
from mcp_interface.clock import SystemClock
from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.store import Record, Snapshot
from mcp_persistence.recovery import Family, recover

ENGINES = {
    "segment log": ("SegmentJournal", "log"),
    "SqliteJournal": ("SqliteJournal", "journal.db"),
}
"""By title: its name in `mcp_persistence`, and its file or folder."""
REBUILDABLE = ("index.db", "snapshots.db")
"""Files beside a log that hold nothing of their own; their companions begin with the same name."""
SCHEMA = "benchmark-1"
CHUNK = 10
"""Events in one append while a data set is built; between two of one stream come those of all others."""


def present(title: str) -> bool:
    """Whether this version has the engine."""
    return _class(title) is not None


@asynccontextmanager
async def opened(title: str, folder: Path):
    """An engine in a folder, begun or opened again."""
    where = folder / ENGINES[title][1]
    if not where.suffix:
        where.mkdir(exist_ok=True)
    store = await _class(title).open(where, SystemClock())
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def appending(title: str, folder: Path):
    """An engine as a medium for appenders; all that was acknowledged must be there at the end."""
    async with opened(title, folder) as store:
        epoch, total = await store.claim(), 0

        async def append(stream, version, event):
            nonlocal total
            await store.append(stream, [event], expected=version, epoch=epoch)
            total += 1

        yield append
        assert await store.verify() == total


async def fill(store: Any, streams: int, events: int, snapshot_at: int) -> None:
    """Give a new engine streams of equal length, interleaved, each with one snapshot."""
    epoch = await store.claim()
    places: dict[int, int] = {}
    for version in range(0, events, CHUNK):
        chunk = [EVENTS[number % len(EVENTS)] for number in range(version, version + CHUNK)]
        for numbers in batched(streams):
            appends = (store.append(stream_name(n), chunk, expected=version, epoch=epoch) for n in numbers)
            for number, records in zip(numbers, await asyncio.gather(*appends), strict=True):
                if version < snapshot_at <= version + CHUNK:
                    places[number] = records[snapshot_at - version - 1].position
    state = State()
    for number in range(snapshot_at):
        fold(state, EVENTS[number % len(EVENTS)])
    for numbers in batched(streams):
        snapshots = [_snapshot(n, snapshot_at, state, places[n]) for n in numbers]
        await asyncio.gather(*map(store.save_snapshot, snapshots))


def batched(streams: int) -> Iterator[range]:
    """Numbers of streams, a thousand at a time: as many as append at once."""
    for first in range(0, streams, 1000):
        yield range(first, min(first + 1000, streams))


async def replay(store: Any) -> int:
    """Read every event of the store as a typed record."""
    count = 0
    async for page in _pages(store):
        count += len(page)
    return count


async def recovered(store: Any, *, use_snapshots: bool) -> dict[str, State]:
    """The state of all streams as a start brings them back."""
    states: dict[str, State] = {}

    def restore(snapshot: Snapshot) -> State | None:
        return decode_disk(snapshot.state, State) if use_snapshots else None

    family = Family(
        streams="session:*",
        initial=lambda stream: State(),
        restore=restore,
        apply=lambda state, record: fold(state, record.event),
        done=lambda stream, state, version: states.__setitem__(stream, state),
    )
    found = await recover(store, [family])
    assert not found.failed
    return states


async def state_of(store: Any, stream: str) -> State:
    """The state of one stream, from its snapshot and what came after."""
    snapshot = await store.load_snapshot(stream)
    state, after = State(), 0
    if snapshot is not None and snapshot.schema == SCHEMA:
        state, after = decode_disk(snapshot.state, State), snapshot.version
    while page := await store.read(stream, after=after):
        for record in page:
            fold(state, record.event)
        after = page[-1].version
    return state


async def _pages(store: Any):
    after = 0
    while page := await store.read_all(after=after):
        yield page
        last: Record = page[-1]
        after = last.position


def _snapshot(number: int, version: int, state: State, position: int) -> Snapshot:
    now = SystemClock().now()
    return Snapshot(
        stream=stream_name(number),
        version=version,
        schema=SCHEMA,
        state=encode_disk(state),
        taken_at=now,
        position=position,
    )


def _class(title: str) -> Any:
    return getattr(mcp_persistence, ENGINES[title][0], None)
