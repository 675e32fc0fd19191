"""A projection that shows every event that is lost or doubled, and the journals that it follows."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

from mcp_interface.clock import SystemClock
from mcp_interface.testing import MemoryStore
from mcp_persistence.projections.projector import Projector
from persistence.engines import ENGINES, open_journal, place

ALL_KINDS = ("memory", *ENGINES)
PATIENCE = 30.0


class Rows:
    """Each event as a row, which cannot be there twice, and each stream's count, which would grow."""

    name = "rows"

    def __init__(self, version=1):
        self.version = version

    def prepare(self, db):
        db.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, id TEXT)"
        )
        db.execute("CREATE TABLE counts (stream TEXT PRIMARY KEY, events INTEGER)")

    def apply(self, db, records):
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", [row_of(record) for record in records])
        db.executemany(
            "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET events = events + 1",
            [(record.stream,) for record in records],
        )

    def forget(self, db, streams):
        for table in ("events", "counts"):
            db.executemany(f"DELETE FROM {table} WHERE stream = ?", [(stream,) for stream in streams])


def row_of(record):
    return record.position, record.stream, record.version, record.event.message_id


def content(db):
    events = db.execute("SELECT * FROM events ORDER BY position").fetchall()
    return events, dict(db.execute("SELECT * FROM counts").fetchall())


def fold(records):
    """What the projection must hold after these records."""
    counts = {}
    for record in records:
        counts[record.stream] = counts.get(record.stream, 0) + 1
    return [row_of(record) for record in records], counts


async def everything(store):
    found = []
    while page := await store.read_all(after=found[-1].position if found else 0):
        found += page
    return found


def at_rest(path):
    """Read a projection's file as the last process left it: how far it says it is, and what it holds."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT position FROM progress").fetchone()[0], content(db)


async def open_store(kind, folder):
    return MemoryStore() if kind == "memory" else await open_journal(kind, place(kind, folder))


@asynccontextmanager
async def following(store, folder, projection=None, clock=None):
    projector = await Projector.open(projection or Rows(), store, folder, clock or SystemClock())
    try:
        yield projector
    finally:
        await projector.close()


def run(body, *arguments):
    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await body(*arguments)

    return asyncio.run(bounded())
