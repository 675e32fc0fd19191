"""What the SQLite journal promises beyond the exams: its file, its fences, its suspicion."""

import asyncio
import shutil
import sqlite3
import stat
import threading
from dataclasses import dataclass, field

import msgspec
import pytest

from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NotFound,
    StaleEpoch,
    StorageCorrupt,
    StorageUnavailable,
    VersionConflict,
)
from mcp_interface.store import Snapshot
from mcp_interface.telemetry import TABLE
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteJournal
from mcp_persistence.sqlite.integrity import digest
from persistence.meddling import change, fill


@dataclass
class Heard:
    """A telemetry that keeps what it is told and knows the table."""

    events: list = field(default_factory=list)

    def emit(self, name, measurements, metadata):
        assert set(measurements) == set(TABLE[name].measurements)
        assert set(metadata) == set(TABLE[name].metadata)
        self.events.append((name.removeprefix("mcp.persistence."), dict(measurements), dict(metadata)))

    def attach(self, pattern, handler):
        raise NotImplementedError


def test_only_the_owner_can_read_any_of_the_files(opened, path):
    async def body():
        async with opened() as store:
            await fill(store)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert set(modes) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.head"}
            assert set(modes.values()) == {0o600}

    asyncio.run(body())


def test_a_file_that_others_could_read_is_closed_to_them(opened, path):
    async def body():
        async with opened():
            pass
        path.chmod(0o644)
        async with opened():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    asyncio.run(body())


def test_a_missing_folder_is_named_with_what_to_do(tmp_path):
    with pytest.raises(StorageUnavailable, match=r"no folder .*make it first"):
        asyncio.run(SqliteJournal.open(tmp_path / "missing" / "journal.db", ManualClock()))


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(StorageUnavailable, match="not a regular file"):
        asyncio.run(SqliteJournal.open(tmp_path, ManualClock()))


def test_a_file_of_something_else_is_refused_and_left_as_it_is(path, fingerprint):
    path.write_bytes(b"Dear diary, today I was mistaken for a database. " * 100)
    before = fingerprint(path)
    with pytest.raises(StorageCorrupt):
        asyncio.run(SqliteJournal.open(path, ManualClock()))
    assert fingerprint(path) == before
    assert not path.with_name("journal.db.head").exists()


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path, fingerprint):
    change(path, "CREATE TABLE theirs (x)")
    before = fingerprint(path)
    with pytest.raises(StorageCorrupt, match=r"not a journal of Umbrella.*another path"):
        asyncio.run(SqliteJournal.open(path, ManualClock()))
    assert fingerprint(path) == before


def test_a_journal_of_a_newer_version_is_refused(opened, path):
    async def body():
        async with opened():
            pass
        change(path, "PRAGMA user_version = 99")
        with pytest.raises(StorageCorrupt, match="newer version"):
            await SqliteJournal.open(path, ManualClock())

    asyncio.run(body())


def test_a_crash_between_creating_the_file_and_its_tables_is_no_obstacle(opened, path):
    async def body():
        path.touch()
        async with opened() as store:
            await fill(store, 1, 1)
            assert await store.verify() == 1

    asyncio.run(body())


def test_a_log_that_lost_acknowledged_commits_is_refused_and_kept(opened, path, flip):
    """SQLite itself opens such a file without a word, and removes the rest of the log on closing."""

    async def body():
        whole = path.parent / "whole"
        async with opened() as store:
            await fill(store)
            whole.mkdir()
            for file in path.parent.glob("journal.db*"):
                shutil.copy(file, whole)
        log = whole / "journal.db-wal"
        bit = log.stat().st_size * 8 // 2
        flip(log, bit)
        for _ in range(2):
            with pytest.raises(StorageCorrupt, match=r"was acknowledged \(restore"):
                await SqliteJournal.open(whole / path.name, ManualClock())
        flip(log, bit)
        again = await SqliteJournal.open(whole / path.name, ManualClock())
        assert await again.verify() == 30
        await again.close()

    asyncio.run(body())


def test_an_older_copy_is_refused_until_its_owner_removes_the_mark(opened, path):
    async def body():
        async with opened() as store:
            await fill(store, 1)
        older = path.read_bytes()
        async with opened() as store:
            await fill(store, 0)
        path.write_bytes(older)
        with pytest.raises(StorageCorrupt, match="delete the file"):
            await SqliteJournal.open(path, ManualClock())
        path.with_name("journal.db.head").unlink()
        async with opened() as store:
            assert await store.verify() == 10

    asyncio.run(body())


def test_a_journal_that_vanished_is_not_silently_begun_anew(opened, path):
    async def body():
        async with opened() as store:
            await fill(store, 1)
        path.unlink()
        with pytest.raises(StorageCorrupt, match="acknowledged"):
            await SqliteJournal.open(path, ManualClock())

    asyncio.run(body())


def test_another_history_of_the_same_length_is_recognised(tmp_path):
    async def body():
        for name in ("one", "other"):
            store = await SqliteJournal.open(tmp_path / name, ManualClock())
            epoch = await store.claim()
            await store.append(name, [a_message(1)], expected=0, epoch=epoch)
            await store.close()
        shutil.copy(tmp_path / "other", tmp_path / "one")
        with pytest.raises(StorageCorrupt, match="not the one that was acknowledged"):
            await SqliteJournal.open(tmp_path / "one", ManualClock())

    asyncio.run(body())


def test_a_damaged_mark_is_refused_and_an_empty_one_is_none(opened, path, flip):
    async def body():
        async with opened() as store:
            await fill(store, 1)
        mark = path.with_name("journal.db.head")
        content = mark.read_bytes()
        for bit in range(0, len(content) * 8, 7):
            flip(mark, bit)
            with pytest.raises(StorageCorrupt):
                await SqliteJournal.open(path, ManualClock())
            mark.write_bytes(content)
        mark.write_bytes(bytes(200))
        async with opened() as store:
            assert await store.verify() == 10
            assert "no high-water mark" in (await store.report()).found
        async with opened() as store:
            assert (await store.report()).found.endswith("just as the high-water mark says")

    asyncio.run(body())


def test_a_second_store_on_the_file_is_refused_while_the_first_is_open(opened, path):
    async def body():
        async with opened() as store:
            await fill(store, 1)
            for _ in range(2):
                with pytest.raises(StorageUnavailable, match="another store"):
                    await SqliteJournal.open(path, ManualClock())
            assert await store.verify() == 10
        async with opened() as store:
            assert await store.verify() == 10

    asyncio.run(body())


def test_what_another_program_wrote_between_two_commits_is_seen_by_the_next(opened, path):
    async def body():
        async with opened() as store:
            epoch = await fill(store, 1, 3)
            change(path, "PRAGMA user_version = 2")  # any write will do
            await store.append("session:0", [a_message(4)], expected=3, epoch=epoch)
            with pytest.raises(VersionConflict):
                await store.append("session:0", [a_message(4)], expected=3, epoch=epoch)
            with pytest.raises(StaleEpoch):
                await store.append("session:0", [a_message(4)], expected=4, epoch=epoch + 1)
            assert await store.verify() == 4

    asyncio.run(body())


def test_readers_do_not_wait_for_the_writer(opened):
    async def body():
        async with opened() as store:
            await fill(store, 1)
            release, inside = threading.Event(), threading.Event()

            def slow(draft):
                draft.put("key", 1)
                inside.set()
                release.wait(20)

            writing = asyncio.create_task(store.transaction(slow))
            try:
                await asyncio.to_thread(inside.wait, 20)
                async with asyncio.timeout(10):
                    assert len(await store.read_all()) == 10
                    with pytest.raises(NotFound):
                        await store.get("key")
                assert not writing.done()
            finally:
                release.set()
            await writing
            assert await store.get("key") == 1

    asyncio.run(body())


def test_a_writer_that_stays_busy_elsewhere_stores_nothing_and_poisons_nothing(opened, path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.sqlite.connection.BUSY", 0.05)

    async def body():
        async with opened() as store:
            epoch = await fill(store, 1, 1)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="nothing was stored"):
                await store.append("session:0", [a_message(2)], expected=1, epoch=epoch)
            other.rollback()
            other.close()
            await store.append("session:0", [a_message(2)], expected=1, epoch=epoch)
            assert await store.verify() == 2

    asyncio.run(body())


def test_cancelling_appenders_neither_loses_nor_repeats_the_others(opened):
    async def body():
        async with opened() as store:
            epoch = await store.claim()
            tasks = [
                asyncio.create_task(
                    store.append(f"session:{number}", [a_message(number)], expected=0, epoch=epoch)
                )
                for number in range(200)
            ]
            for _ in range(3):
                await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            kept = {outcome[0].stream for outcome in outcomes if isinstance(outcome, list)}
            assert len(kept) >= 133
            there = [record.stream for record in await store.read_all()]
            assert len(there) == len(set(there))
            assert kept <= set(there)
            assert await store.verify() == len(there)

    asyncio.run(body())


def test_closing_finishes_what_is_queued(opened):
    async def body():
        async with opened() as store:
            epoch = await store.claim()
            tasks = [
                asyncio.create_task(store.append(f"s:{number}", [a_message(1)], expected=0, epoch=epoch))
                for number in range(50)
            ]
            await asyncio.sleep(0)
            await store.close()
            assert all(isinstance(task.result(), list) for task in tasks)
            with pytest.raises(StorageUnavailable, match="closed"):
                await store.append("s:x", [a_message(1)], expected=0, epoch=epoch)
            with pytest.raises(StorageUnavailable, match="closed"):
                await store.verify()
        async with opened() as store:
            assert await store.verify() == 50

    asyncio.run(body())


def test_a_store_that_nobody_closed_does_not_keep_the_process_alive(path):
    async def body():
        store = await SqliteJournal.open(path, ManualClock())
        await fill(store, 1)

    before = threading.active_count()
    asyncio.run(body())
    assert threading.active_count() == before


def test_an_event_that_could_not_be_read_back_is_refused_and_wedges_nothing(opened):
    async def body():
        async with opened() as store:
            epoch = await store.claim()
            for broken in (
                msgspec.structs.replace(a_message(1), text=5),
                msgspec.structs.replace(a_message(1), timestamp="yesterday"),
            ):
                with pytest.raises(InvalidRecord, match="could not be read back"):
                    await store.append("s", [broken], expected=0, epoch=epoch)
            for odd in ("\ud800", object()):
                with pytest.raises(CallerMistaken):
                    await store.append("s", [a_message(1)], expected=0, epoch=epoch, trace_id=odd)
                with pytest.raises(CallerMistaken):
                    await store.append(
                        "s", [msgspec.structs.replace(a_message(1), text=odd)], expected=0, epoch=epoch
                    )
            await store.append("s", [a_message(1)], expected=0, epoch=epoch)
            assert await store.verify() == 1

    asyncio.run(body())


def test_names_that_cannot_be_stored_are_unknown_to_readers_and_refused_to_writers(opened):
    async def body():
        async with opened() as store:
            for name in ("", "\ud800", "a\nb", "x" * 1000):
                assert await store.read(name) == []
                assert await store.load_snapshot(name) is None
                await store.delete_stream(name)
                await store.delete(name)
                await store.transaction(lambda draft, name=name: draft.delete(name))
                with pytest.raises(NotFound):
                    await store.get(name)
                with pytest.raises(NotFound):
                    await store.stream_info(name)
                with pytest.raises(NotFound):
                    await store.transaction(lambda draft, name=name: draft.get(name))
                with pytest.raises(CallerMistaken):
                    await store.put(name, 1)
                with pytest.raises(CallerMistaken):
                    await store.transaction(lambda draft, name=name: draft.put(name, 1))
                snapshot = Snapshot(stream=name, version=1, schema="", state=b"", taken_at=START)
                with pytest.raises(CallerMistaken):
                    await store.save_snapshot(snapshot)
            with pytest.raises(CallerMistaken):
                await store.list_keys("\ud800")
            with pytest.raises(CallerMistaken):
                await store.streams("*" * 1000)
            assert await store.list_keys("*" * 500) == []
            assert await store.read_all(after=2**70) == []
            await store.put("fine", 1)

    asyncio.run(body())


def test_whatever_the_work_of_a_transaction_raises_reaches_its_caller_only(opened):
    async def body():
        async with opened() as store:
            for kind in (ZeroDivisionError, KeyboardInterrupt):

                def work(draft, kind=kind):
                    draft.put("key", 1)
                    raise kind

                fine = asyncio.create_task(store.put("other", kind.__name__))
                with pytest.raises(kind):
                    await store.transaction(work)
                await fine
            assert await store.list_keys() == ["other"]

    asyncio.run(body())


def test_five_snapshots_are_kept_and_a_damaged_one_gives_way_to_the_one_before(opened, path):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store, 1)
            for version in range(1, 9):
                await store.save_snapshot(
                    Snapshot(stream="session:0", version=version, schema="1", state=b"x", taken_at=START)
                )
            for version in range(8, 3, -1):
                assert (await store.load_snapshot("session:0")).version == version
                change(path, "UPDATE snapshots SET body = body || x'00' WHERE version = ?", version)
            assert await store.load_snapshot("session:0") is None
            assert await store.verify() == 10

    asyncio.run(body())


def test_telemetry_hears_of_commits_snapshots_and_recovery(opened):
    async def body():
        heard = Heard()
        async with opened(heard) as store:
            await fill(store, 1, 2)
            snapshot = Snapshot(stream="session:0", version=2, schema="1", state=b"x", taken_at=START)
            await store.save_snapshot(snapshot)
            await store.load_snapshot("session:0")
        names = [name for name, _, _ in heard.events]
        assert names == [
            "recovery_complete",
            "journal_write",
            "journal_write",
            "snapshot_saved",
            "snapshot_loaded",
        ]
        assert heard.events[1] == ("journal_write", {"events": 1, "duration_s": 0}, {"stream": "session:0"})
        async with opened(heard):
            assert heard.events[-1] == ("recovery_complete", {"events": 2, "duration_s": 0}, {})

    asyncio.run(body())


def test_an_event_of_a_newer_version_is_named_not_guessed(opened, path):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store, 1, 1)
            strange = msgspec.msgpack.encode({"event": "from.the.future"})
            content = digest(1, "session:0", 1, 1, None, strange)
            change(path, "UPDATE events SET body = ?, digest = ?", strange, content)
            with pytest.raises(StorageCorrupt, match=r"position 1 .* unknown to this version"):
                await store.read("session:0")

    asyncio.run(body())


def test_the_ids_of_a_decision_are_kept_and_covered_by_the_digest(opened, path):
    async def body():
        ids = {"trace_id": "t", "causation_id": "c", "correlation_id": "r"}
        async with opened(hot_bytes=0) as store:
            epoch = await store.claim()
            for number, (name, value) in enumerate(ids.items()):
                await store.append(f"s:{number}", [a_message(1)], expected=0, epoch=epoch, **{name: value})
            for number, (name, value) in enumerate(ids.items()):
                (found,) = await store.read(f"s:{number}")
                assert {each: getattr(found, each) for each in ids} == dict.fromkeys(ids) | {name: value}
            assert await store.verify() == 3
            change(path, "UPDATE events SET causation = correlation, correlation = causation")
            with pytest.raises(StorageCorrupt):
                await store.verify()

    asyncio.run(body())


@pytest.mark.parametrize("key", [None, "once"])
def test_events_without_a_writer_are_refused(opened, key):
    async def body():
        async with opened() as store:
            await store.claim()
            with pytest.raises(StaleEpoch):
                await store.append("session:a", [a_message(1)], expected=0, epoch=None, key=key)
            assert await store.head() == 0

    asyncio.run(body())


def test_a_key_used_twice_in_one_batch_counts_once(opened):
    async def body():
        async with opened() as store:
            epoch = await store.claim()
            appends = [
                store.append("s", [a_message(1)], expected=0, epoch=epoch, key="once") for _ in range(20)
            ]
            answers = await asyncio.gather(*appends)
            assert all(answer == answers[0] for answer in answers)
            assert await store.verify() == 1
            with pytest.raises(StaleEpoch):  # who may not write learns nothing of keys
                await store.append("s", [a_message(2)], expected=0, epoch=epoch + 1, key="once")
            with pytest.raises(CallerMistaken, match="used for other events"):
                await store.append("s", [a_message(2)], expected=0, epoch=epoch, key="once")

    asyncio.run(body())
