"""A SQLite journal over a disk that fails for a while: read-only, whole, and writable again by itself."""

import asyncio
import sqlite3
import threading

import pytest

from mcp_interface.errors import (
    StorageUnavailable,
)
from mcp_interface.store import Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteJournal
from mcp_persistence.sqlite.ledger import Ledger
from persistence.meddling import fill


class Broken:
    """A connection whose commits fail like a dying disk while `disk.sick` is set."""

    def __init__(self, db, disk):
        self._db = db
        self._disk = disk

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *parameters):
        if statement == "COMMIT" and self._disk.sick:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._db.execute(statement, *parameters)


class Disk:
    sick = False


@pytest.fixture
def disk(monkeypatch):
    found = Disk()
    whole = Ledger.__init__

    def begin(self, db, *others):
        whole(self, Broken(db, found), *others)

    monkeypatch.setattr(Ledger, "__init__", begin)
    return found


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("hot_bytes", [0, 1 << 20])
def test_a_journal_whose_commit_failed_is_read_only_until_the_disk_has_healed(path, disk, hot_bytes):
    async def body():
        clock = ManualClock()
        store = await SqliteJournal.open(path, clock, hot_bytes=hot_bytes)
        epoch = await fill(store, 2, 5)
        disk.sick = True
        tries = [
            store.append(f"session:{name}", [a_message(9)], expected=5, epoch=epoch) for name in range(2)
        ]
        for outcome in await asyncio.gather(*tries, return_exceptions=True):
            assert type(outcome) is StorageUnavailable
        with pytest.raises(StorageUnavailable, match="read-only"):
            await store.put("key", 1)
        saved = Snapshot(stream="session:0", version=5, schema="1", state=b"x", taken_at=START)
        with pytest.raises(StorageUnavailable, match="read-only"):
            await store.save_snapshot(saved)
        for _ in range(3):  # it looks again, and the disk is still sick
            await asyncio.sleep(0.02)
            clock.advance(60)
        report = await store.report()
        assert (report.state, report.head) == ("read_only", 10)
        assert "disk" in report.reason
        assert [record.version for record in await store.read("session:0")] == [1, 2, 3, 4, 5]
        assert len(await store.read_all()) == 10
        disk.sick = False

        async def is_writable():
            clock.advance(60)
            return (await store.report()).state == "writable"

        await until(is_writable)
        await store.append("session:0", [a_message(9)], expected=5, epoch=epoch)
        await store.save_snapshot(saved)
        assert await store.verify() == 11
        await store.close()
        again = await SqliteJournal.open(path, clock)
        assert await again.verify() == 11
        await again.close()

    threads = threading.active_count()
    asyncio.run(body())
    assert threading.active_count() == threads


def test_a_snapshot_that_the_disk_refused_harms_nothing(path, disk):
    async def body():
        store = await SqliteJournal.open(path, ManualClock(), hot_bytes=0)
        epoch = await fill(store, 1, 3)
        disk.sick = True
        saved = Snapshot(stream="session:0", version=3, schema="1", state=b"x", taken_at=START)
        with pytest.raises(StorageUnavailable, match="disk refused"):
            await store.save_snapshot(saved)
        disk.sick = False
        await store.append("session:0", [a_message(9)], expected=3, epoch=epoch)
        assert await store.load_snapshot("session:0") is None
        await store.save_snapshot(saved)
        assert await store.load_snapshot("session:0") == saved
        assert await store.verify() == 4
        await store.close()

    asyncio.run(body())
