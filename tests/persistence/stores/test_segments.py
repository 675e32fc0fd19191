"""The journal in segments on a disk that fails, and what it leaves behind; its folder, its processes, its files."""

import asyncio
import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable, UmbrellaError
from mcp_interface.store import Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from persistence.broken_disk import BrokenDisk
from persistence.journals import everything, fill, opened, run, turned

OPENINGS = 400 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 60


def _descriptors():
    return len(os.listdir("/proc/self/fd"))


def assert_left_nothing(before):
    """Threads end a moment after they have said so."""
    for _ in range(500):
        if threading.active_count() <= before[0] and _descriptors() <= before[1]:
            return
        time.sleep(0.01)
    raise AssertionError(
        f"{before} threads and files before, {threading.active_count(), _descriptors()} after"
    )


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("hot_bytes", [0, 1 << 20])
def test_a_disk_that_fails_turns_the_store_read_only_until_it_is_well_again(tmp_path, error, hot_bytes):
    async def body():
        disk, clock, threads = BrokenDisk(), ManualClock(), threading.active_count()
        async with opened(tmp_path / "j", clock, disk=disk, hot_bytes=hot_bytes) as store:
            epoch = await fill(store)
            await store.put("key", "before")
            before = await everything(store)
            disk.error = error
            writes = [
                *(store.append(f"s:{n}", [a_message(n)], expected=0, epoch=epoch) for n in range(20)),
                store.put("key", "after"),
                store.delete_stream("session:1"),
                store.claim(),
                store.transaction(lambda draft: draft.put("other", 1)),
            ]
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
            report = await store.report()
            assert (report.state, report.head, report.streams) == ("read_only", 5, 1)
            assert report.reason
            snapshot = Snapshot(stream="session:1", version=1, schema="1", state=b"x", taken_at=START)
            for write in (store.put("key", 2), store.claim(), store.save_snapshot(snapshot)):
                with pytest.raises(StorageUnavailable):
                    await write
            for _ in range(3):  # looked at in vain
                assert await everything(store) == await store.read("session:1") == before
                assert [info.stream for info in await store.streams()] == ["session:1"]
                assert (await store.get("key"), await store.list_keys()) == ("before", ["key"])
                clock.advance(60)
                await asyncio.sleep(0.02)
            disk.error = None
            assert (await turned(store, "writable", clock)).reason == ""
            there = await everything(store)
            assert await store.head() == await store.verify() + 5 * (
                "session:1" not in {r.stream for r in there}
            )
            for info in await store.streams():
                records = await store.read(info.stream)
                assert [record.version for record in records] == list(range(1, info.version + 1))
            fresh = await store.claim()
            assert fresh in (epoch + 1, epoch + 2)
            await store.append("new", [a_message(1)], expected=0, epoch=fresh)
            assert threading.active_count() < threads + 6
        async with opened(tmp_path / "j", disk=disk) as store:
            assert [record.stream for record in await everything(store)][-1] == "new"

    run(body)


def test_the_epoch_outlives_a_failure_and_the_uncertain_event_is_there_or_not(tmp_path):
    async def body():
        seen = set()
        for seed in range(12):
            disk, clock = BrokenDisk(seed), ManualClock()
            async with opened(tmp_path / str(seed), clock, disk=disk, hot_bytes=seed % 2 << 20) as store:
                epoch = await fill(store)
                live = store.subscribe()
                heard = [await anext(live) for _ in range(5)]
                disk.fail(seed // 2 % 2, errno.EIO)  # writing, syncing
                with pytest.raises(StorageUnavailable):
                    for version in range(5, 8):
                        await store.append("session:1", [a_message(99)], expected=version, epoch=epoch)
                version = len(await store.read("session:1"))
                assert version == await store.head()
                await turned(store, "writable", clock)
                there = await store.read("session:1")
                seen.add(len(there) - version)
                assert (await store.stream_info("session:1")).version == len(there) == await store.head()
                await store.append("session:1", [a_message(1)], expected=len(there), epoch=epoch)
                heard += [await anext(live) for _ in range(len(there) - 4)]
                assert heard == await store.read("session:1")
                await live.aclose()
        assert seen == {0, 1}

    run(body)


def test_closing_while_it_is_unwell_ends_at_once(tmp_path):
    async def body():
        for looks in range(3):
            disk, clock = BrokenDisk(), ManualClock()
            store = await SegmentJournal.open(tmp_path / str(looks), clock, disk=disk)
            epoch = await fill(store)
            disk.error = errno.EIO
            with pytest.raises(StorageUnavailable):
                await store.append("s", [a_message(1)], expected=0, epoch=epoch)
            if looks == 1:
                clock.advance(1)
                await asyncio.sleep(0)
            if looks == 2:  # in the middle of opening it anew
                disk.error = None
                disk.hold()
                await asyncio.sleep(0)
                clock.advance(1)
                await disk.reached()
                asyncio.get_running_loop().call_later(0.1, disk.gate.set)
            await store.close()
            assert (await store.report()).state == "closed"
            assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("journal")]
            disk.error = None
            async with opened(tmp_path / str(looks), disk=disk) as store:
                assert await store.read("session:1") == await everything(store)

    before = threading.active_count(), _descriptors()
    run(body)
    assert_left_nothing(before)


def test_many_failures_leave_no_tasks_threads_or_files_behind(tmp_path):
    async def body():
        disk, clock = BrokenDisk(), ManualClock()
        async with opened(tmp_path / "j", clock, disk=disk) as store:
            await store.claim()
            threads = threading.active_count()
            counts = set()
            for number in range(10):
                disk.error = errno.EIO
                with pytest.raises(StorageUnavailable):
                    await store.put("key", number)
                disk.error = None
                await turned(store, "writable", clock)
                await store.put("key", number)
                for _ in range(200):  # the old medium is let go of a moment later
                    names = sorted(task.get_name() for task in asyncio.all_tasks())
                    if threading.active_count() <= threads and "journal healing" not in names:
                        break
                    await asyncio.sleep(0.01)
                counts.add((len(names), _descriptors()))
            assert len(counts) == 1

    before = threading.active_count(), _descriptors()
    run(body)
    assert_left_nothing(before)


def test_every_error_of_a_failing_disk_is_ours(tmp_path):
    """At whatever call it fails, openings included: typed errors, and then it goes on."""

    async def body():
        for after in range(40):
            disk, clock = BrokenDisk(), ManualClock()
            disk.fail(after, errno.EIO)
            acknowledged = 0
            try:
                async with opened(tmp_path / str(after), clock, disk=disk, segment_bytes=8192) as store:
                    epoch = await store.claim()
                    for version in range(12):
                        await store.append(
                            "s", [a_message(version, "x" * 900)], expected=version, epoch=epoch
                        )
                        acknowledged += 1
            except UmbrellaError as error:
                assert isinstance(error, StorageUnavailable)
            async with opened(tmp_path / str(after), disk=disk, segment_bytes=8192) as store:
                assert acknowledged <= await store.verify() <= acknowledged + 1

    run(body)


# --- the folder ----------------------------------------------------------------------------------------------


def test_a_folder_that_vanished_or_was_emptied_is_not_silently_begun_anew(tmp_path):
    async def body():
        for number, harm in enumerate(("gone", "replaced", "emptied")):
            folder, away = tmp_path / f"j{number}", tmp_path / f"away{number}"
            clock = ManualClock()
            async with opened(folder, clock) as store:
                epoch = await fill(store)
                if harm == "emptied":
                    away.mkdir()
                    for file in folder.iterdir():
                        if file.name != "lock":
                            shutil.move(file, away / file.name)
                else:
                    folder.rename(away)
                    if harm == "replaced":
                        async with opened(folder):
                            pass
                store._group._poison(StorageUnavailable("as if a write had failed"))
                for _ in range(10):
                    clock.advance(60)
                    await asyncio.sleep(0.02)
                report = await store.report()
                assert (report.state, report.head) == ("read_only", 5)
                assert harm != "emptied" or "5 was acknowledged" in report.reason
                if harm == "emptied":
                    for file in list(folder.iterdir()):
                        if file.name != "lock":
                            file.unlink()
                    for file in away.iterdir():
                        shutil.move(file, folder / file.name)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
                    away.rename(folder)
                await turned(store, "writable", clock)
                await store.append("session:1", [a_message(5)], expected=5, epoch=epoch)
                assert await store.verify() == 6

    run(body)


CHILD = """
import asyncio, sys
from mcp_interface.clock import SystemClock
from mcp_interface.errors import StorageUnavailable
from mcp_persistence import SegmentJournal
async def main():
    try:
        await SegmentJournal.open(sys.argv[1], SystemClock())
    except StorageUnavailable as error:
        print(error)
asyncio.run(main())
"""


def test_a_second_opening_is_refused_in_this_process_and_in_another(tmp_path):
    async def body():
        async with opened(tmp_path / "j") as store:
            with pytest.raises(StorageUnavailable, match="open"):
                await SegmentJournal.open(tmp_path / "j", ManualClock())
            command = [sys.executable, "-c", CHILD, str(tmp_path / "j")]
            child = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=30
            )
            assert "another process has the journal" in child.stdout
            await fill(store)
        async with opened(tmp_path / "j") as store:
            assert await store.verify() == 5

    run(body)


def test_bad_arguments_and_places_are_named(tmp_path):
    async def body():
        (tmp_path / "file").write_text("not a folder")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(StorageUnavailable):
                await SegmentJournal.open(folder, ManualClock())
        for odd in ({"hot_bytes": -1}, {"segment_bytes": 1}, {"segment_bytes": -1}):
            with pytest.raises(CallerMistaken):
                await SegmentJournal.open(tmp_path / "j", ManualClock(), **odd)
        (tmp_path / "k" / "index.db").mkdir(parents=True)
        with pytest.raises(UmbrellaError):
            await SegmentJournal.open(tmp_path / "k", ManualClock())

    before = threading.active_count(), _descriptors()
    run(body)
    assert_left_nothing(before)


def test_many_openings_leave_nothing_behind_also_when_they_fail(tmp_path):
    async def body():
        async with opened(tmp_path / "j") as store:
            await fill(store)
        gc.collect()  # errors hold on to files until their cycles are collected
        threads, files = threading.active_count(), _descriptors()
        (segment,) = (tmp_path / "j").glob("*.seg")
        whole = segment.read_bytes()
        for number in range(OPENINGS):
            segment.write_bytes(whole if number % 2 else whole[:4096])
            try:
                async with opened(tmp_path / "j"):
                    pass
            except StorageCorrupt:
                assert not number % 2
            else:
                assert number % 2
        for _ in range(300):
            if threading.active_count() <= threads:
                break
            await asyncio.sleep(0.01)
        gc.collect()
        assert (threading.active_count(), _descriptors()) == (threads, files)
        assert len(asyncio.all_tasks()) == 1

    run(body)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 30])
def test_an_opening_that_is_cancelled_leaves_the_folder_free(tmp_path, steps):
    async def body():
        task = asyncio.create_task(SegmentJournal.open(tmp_path / "j", ManualClock()))
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, SegmentJournal):
            await outcome.close()
        for _ in range(100):  # a thread may hold on for a moment
            try:
                store = await SegmentJournal.open(tmp_path / "j", ManualClock())
                break
            except StorageUnavailable:
                await asyncio.sleep(0.02)
        await fill(store)
        await store.close()

    before = threading.active_count(), _descriptors()
    run(body)
    assert_left_nothing(before)


def test_an_index_that_finds_no_room_stops_writers_before_memory_grows_and_heals(tmp_path, monkeypatch):
    """The disk of the log is well; SQLite's is full."""
    monkeypatch.setattr("mcp_persistence.index.ledger.CHECKPOINT_EVENTS", 20)

    async def body():
        clock = ManualClock()
        async with opened(tmp_path / "j", clock, hot_bytes=0) as store:
            epoch = await store.claim()
            version = 0
            await store._medium._writer.run(
                lambda db: db.execute("PRAGMA main.max_page_count = 1").fetchone()
            )
            with pytest.raises(StorageUnavailable):
                while version < 2000:
                    await store.append("s", [a_message(version, "x" * 900)], expected=version, epoch=epoch)
                    version += 1
            assert version < 2000
            assert store._medium._ledger.state.changes.events < 200
            assert (await store.report()).state == "read_only"
            assert [record.version for record in await store.read("s")] == list(range(1, version + 1))
            await turned(store, "writable", clock)
            await store.append("s", [a_message(version)], expected=version, epoch=epoch)
            assert await store.verify() == version + 1

    run(body)


def test_small_values_do_not_fill_the_memory_unseen(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.index.ledger.CHECKPOINT_BYTES", 20_000)

    async def body():
        async with opened(tmp_path / "j") as store:
            for number in range(600):
                await store.put(f"key:{number}", 1)
                await store.delete(f"key:{number - 1}")
            assert len(store._medium._ledger.state.changes.keys) < 150
            assert await store.list_keys() == ["key:599"]

    run(body)
