"""A disk that neither answers nor fails: nobody waits for ever, and nobody writes beside the write that hangs."""

import asyncio
import threading

import pytest

from mcp_interface.errors import StorageUnavailable
from mcp_interface.testing import ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.stores.deadline import LOOKS, Deadline
from persistence.broken_disk import BrokenDisk
from persistence.journals import everything, fill, opened, run, turned


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr("mcp_persistence.stores.segments.ANSWER", 0.1)
    monkeypatch.setattr("mcp_persistence.sqlite.connection.DEADLINE", 0.1)


def hanging(store, epoch):
    return asyncio.create_task(store.append("session:1", [a_message(9)], expected=5, epoch=epoch))


def test_a_write_that_hangs_is_given_up_and_the_journal_opened_anew_once_it_has_ended(tmp_path, soon):
    async def body():
        disk, clock = BrokenDisk(), ManualClock()
        async with opened(tmp_path / "j", clock, disk=disk) as store:
            epoch = await fill(store)
            disk.hold()
            write = hanging(store, epoch)
            await disk.reached()
            with pytest.raises(StorageUnavailable, match="did not answer"):
                await write
            assert len(await everything(store)) == 5, "reading goes on"
            for _ in range(20):
                disk.waits.clear()
                clock.advance(60)
                await asyncio.sleep(0.005)
                assert not disk.waits.is_set(), "nobody touches the disk beside the write that hangs"
            assert (await store.report()).state == "read_only"
            disk.gate.set()
            await turned(store, "writable", clock)
            there = await everything(store)
            assert [record.version for record in there] in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
            epoch = await store.claim()
            await store.append("session:1", [a_message(1)], expected=len(there), epoch=epoch)
            assert await store.verify() == len(there) + 1

    run(body)


def test_a_journal_that_is_closed_while_a_write_hangs_keeps_its_folder_from_everybody_else(tmp_path, soon):
    async def body():
        disk = BrokenDisk()
        store = await SegmentJournal.open(tmp_path / "j", ManualClock(), disk=disk)
        epoch = await fill(store)
        disk.hold()
        write = hanging(store, epoch)
        await disk.reached()
        await store.close()
        with pytest.raises(StorageUnavailable, match="did not answer"):
            await write
        assert (await store.report()).state == "closed"
        with pytest.raises(StorageUnavailable, match="open"):
            await SegmentJournal.open(tmp_path / "j", ManualClock(), disk=disk)
        disk.gate.set()
        while any("connection" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.005)

    run(body)


def test_making_the_index_anew_may_take_as_long_as_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.stores.segments.ANSWER", 0.1)

    async def body():
        disk = BrokenDisk()
        async with opened(tmp_path / "j", disk=disk) as store:
            epoch = await fill(store)
            ledger = store._medium._ledger
            rebuild = ledger.rebuild

            def slow():
                disk.step()
                rebuild()

            monkeypatch.setattr(ledger, "rebuild", slow)
            disk.hold()
            rebuilding = asyncio.create_task(store.rebuild())
            await disk.reached()
            write = hanging(store, epoch)
            await asyncio.sleep(0.4)
            assert not write.done()
            disk.gate.set()
            await rebuilding
            assert [record.version for record in await write] == [6]

    run(body)


def test_only_what_stays_open_for_all_looks_is_given_up():
    async def body():
        loop = asyncio.get_running_loop()
        given_up = []
        deadline = Deadline(0.04, given_up.append)
        for _ in range(2 * LOOKS):  # always another piece
            deadline.waits_for = loop.create_future()
            await asyncio.sleep(0.01)
        assert given_up == []
        deadline.waits_for.set_result(None)
        await asyncio.sleep(0.1)
        assert given_up == []
        deadline.waits_for = last = loop.create_future()
        for _ in range(1000):
            if given_up:
                break
            await asyncio.sleep(0.005)
        assert given_up == [last]
        deadline.cancel()

    run(body)
