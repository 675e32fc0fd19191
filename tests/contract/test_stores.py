"""Every store passes the same exams, whether it reads from its memory or from the disk."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mcp_interface.testing import ManualClock, check_journal, check_snapshots, check_store
from mcp_persistence import MemoryStore, SegmentJournal, SqliteJournal
from mcp_persistence.group_commit import MAX_WAITING

Maker = Callable[[], AbstractAsyncContextManager[Any]]
SMALL = 64 << 10
"""Bytes of a segment, so that exams cross from one to the next."""
KINDS: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "sqlite": (SqliteJournal.open, "journal.db", {}),
    "sqlite without hot tier": (SqliteJournal.open, "journal.db", {"hot_bytes": 0}),
    "segments": (SegmentJournal.open, "journal", {}),
    "small segments without hot tier": (
        SegmentJournal.open,
        "journal",
        {"hot_bytes": 0, "segment_bytes": SMALL},
    ),
}
COLD = [kind for kind in KINDS if "without hot tier" in kind]


@asynccontextmanager
async def _opened(kind: str, path: Path) -> AsyncIterator[Any]:
    opening, _, options = KINDS[kind]
    store = await opening(path, ManualClock(), **options)
    try:
        yield store
    finally:
        await store.close()


def _maker(kind: str) -> Maker:
    @asynccontextmanager
    async def fresh() -> AsyncIterator[Any]:
        with TemporaryDirectory() as folder:
            async with _opened(kind, Path(folder) / KINDS[kind][1]) as store:
                yield store

    return fresh


def _reopened(kind: str) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    @asynccontextmanager
    async def again(store: Any) -> AsyncIterator[Any]:
        await store.close()
        async with _opened(kind, store.path) as opened:
            yield opened

    return again


async def _damage(store: Any, stream: str) -> None:
    """Break a snapshot on the disk, in whatever database of the store holds it."""
    files = [store.path] if store.path.is_file() else sorted(store.path.glob("*.db"))
    broken = sum(_overwrite(file, stream) for file in files)
    assert broken == 1, f"one snapshot is broken, not {broken}"


def _overwrite(file: Path, stream: str) -> int:
    db = sqlite3.connect(file)
    try:
        with db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'snapshots'").fetchone():
                return 0
            return db.execute(
                """UPDATE snapshots SET body = zeroblob(length(body)) WHERE stream = ?1
                   AND version = (SELECT max(version) FROM snapshots WHERE stream = ?1)""",
                (stream,),
            ).rowcount
    finally:
        db.close()


@asynccontextmanager
async def _memory() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    yield store
    await store.close()


async def _damage_memory(store: MemoryStore, stream: str) -> None:
    store.damage_snapshot(stream)


@pytest.mark.parametrize("kind", KINDS)
def test_a_durable_store_passes_the_exam_of_journals(kind: str) -> None:
    asyncio.run(check_journal(_maker(kind), reopen=_reopened(kind), waiting=MAX_WAITING))


@pytest.mark.parametrize("kind", KINDS)
def test_a_durable_store_passes_the_exam_of_snapshots(kind: str) -> None:
    asyncio.run(check_snapshots(_maker(kind), reopen=_reopened(kind)))


@pytest.mark.parametrize("kind", COLD)
def test_a_durable_store_passes_over_snapshots_damaged_on_the_disk(kind: str) -> None:
    asyncio.run(check_snapshots(_maker(kind), damage=_damage))


@pytest.mark.parametrize("kind", KINDS)
def test_a_durable_store_passes_the_exam_of_stores(kind: str) -> None:
    asyncio.run(check_store(_maker(kind), reopen=_reopened(kind)))


def test_memory_passes_the_exam_of_journals() -> None:
    asyncio.run(check_journal(_memory))


def test_memory_passes_the_exam_of_snapshots() -> None:
    asyncio.run(check_snapshots(_memory, damage=_damage_memory))


def test_memory_passes_the_exam_of_stores() -> None:
    asyncio.run(check_store(_memory))
