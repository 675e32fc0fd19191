"""Every store passes the same exams."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mcp_interface.testing import ManualClock, check_journal, check_snapshots, check_store
from mcp_persistence import MemoryStore, SqliteStore


@asynccontextmanager
async def _sqlite() -> AsyncIterator[SqliteStore]:
    with TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "journal.db", ManualClock())
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def _reopened(store: SqliteStore) -> AsyncIterator[SqliteStore]:
    await store.close()
    again = await SqliteStore.open(store.path, ManualClock())
    try:
        yield again
    finally:
        await again.close()


async def _damage(store: SqliteStore, stream: str) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute(
            """UPDATE snapshots SET body = zeroblob(length(body)) WHERE stream = ?1
               AND version = (SELECT max(version) FROM snapshots WHERE stream = ?1)""",
            (stream,),
        )
    db.close()


@asynccontextmanager
async def _memory() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    yield store
    await store.close()


async def _damage_memory(store: MemoryStore, stream: str) -> None:
    store.damage_snapshot(stream)


def test_sqlite_passes_the_exam_of_journals() -> None:
    asyncio.run(check_journal(_sqlite, reopen=_reopened))


def test_sqlite_passes_the_exam_of_snapshots() -> None:
    asyncio.run(check_snapshots(_sqlite, reopen=_reopened, damage=_damage))


def test_sqlite_passes_the_exam_of_stores() -> None:
    asyncio.run(check_store(_sqlite, reopen=_reopened))


def test_memory_passes_the_exam_of_journals() -> None:
    asyncio.run(check_journal(_memory))


def test_memory_passes_the_exam_of_snapshots() -> None:
    asyncio.run(check_snapshots(_memory, damage=_damage_memory))


def test_memory_passes_the_exam_of_stores() -> None:
    asyncio.run(check_store(_memory))
