"""`index.db` and `snapshots.db` missing, damaged, foreign or of another time: the journal has everything."""

import asyncio
import os
import random
import shutil
import sqlite3
from contextlib import asynccontextmanager, suppress

import pytest

from mcp_interface.errors import NotFound, StorageUnavailable
from mcp_interface.store import Append, Decision, Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.index.tables import IndexDamaged
from persistence.fixtures.contents import contents

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
INDEX, SNAPSHOTS = "index.db", "snapshots.db"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr("mcp_persistence.index.ledger.CHECKPOINT_EVENTS", 40)


@asynccontextmanager
async def opened(folder, **options):
    store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0, **options)
    try:
        yield store
    finally:
        await store.close()


def run(body):
    async def bounded():
        async with asyncio.timeout(120):
            return await body()

    return asyncio.run(bounded())


def a_snapshot(stream, version, state=b"x"):
    return Snapshot(stream=stream, version=version, schema="s/1", state=state, taken_at=START)


async def fill(store, seed=0, events=150):
    """Streams, keys, decisions, removed streams; gives the epoch."""
    chance = random.Random(seed)
    epoch = await store.claim()
    versions = {}
    for number in range(events):
        stream = f"s:{chance.randrange(12)}"
        version = versions.get(stream, 0)
        await store.commit(
            Decision(
                appends=[
                    Append(stream=stream, events=[a_message(number, f"{seed}.{number}")], expected=version)
                ],
                puts={f"key:{chance.randrange(30)}": [seed, number]},
                key=f"once:{number}" if number % 3 == 0 else None,
            ),
            epoch=epoch,
        )
        versions[stream] = version + 1
        if number % 37 == 36:
            await store.delete_stream(stream)
            versions[stream] = 0
        elif number % 5 == 0:
            await store.save_snapshot(a_snapshot(stream, version + 1, bytes(300)))
    return epoch


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A journal, what it holds, and a copy of its index from an earlier time."""
    folder = tmp_path_factory.mktemp("made") / "j"

    async def body():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mcp_persistence.index.ledger.CHECKPOINT_EVENTS", 40)
            async with opened(folder) as store:
                await fill(store)
            shutil.copytree(folder, folder.with_name("early"))
            async with opened(folder) as store:
                await fill_more(store)
                return await contents(store)

    return folder, run(body)


async def fill_more(store, text="more"):
    epoch = await store.claim()
    for number in range(100):
        await store.append("more", [a_message(number, text)], expected=number, epoch=epoch)
    await store.put("late", True)


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "j")
    return tmp_path / "j"


async def holds(folder, then, *, snapshots=True):
    """It holds what it held, reading stream by stream too, also after it was opened once more."""
    for _ in range(2):
        async with opened(folder) as store:
            now = await contents(store)
            if not snapshots:
                now = without_snapshots(now)
                then = without_snapshots(then)
            assert now == then
            found = store._medium.found
    return found


def without_snapshots(held):
    return {**held, "snapshots": [], "streams": [{**info, "snapshot_version": 0} for info in held["streams"]]}


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])


def overwrite(path):
    path.write_bytes(b"Dear diary. " * 1000)


def other_tables(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        for table in ("meta", "streams", "snapshots", "owner"):
            db.execute(f"CREATE TABLE {table} (odd)")
    db.close()


HARMS = [remove, empty, truncate, overwrite, other_tables]


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_index_is_made_anew_and_costs_no_snapshot(made, copy, harm):
    harm(copy / INDEX)
    run(lambda: holds(copy, made[1]))


@pytest.mark.parametrize("harm", HARMS)
def test_broken_snapshots_are_lost_alone(made, copy, harm):
    index = (copy / INDEX).read_bytes()
    harm(copy / SNAPSHOTS)
    found = run(lambda: holds(copy, made[1], snapshots=False))
    assert "anew" not in found and "again" not in found
    assert (copy / INDEX).read_bytes() == index

    async def body():
        async with opened(copy) as store:
            await store.save_snapshot(a_snapshot("more", 9))
            assert await store.load_snapshot("more") == a_snapshot("more", 9)

    run(body)


@pytest.mark.parametrize("name", [INDEX, SNAPSHOTS])
def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(made, copy, name):
    """One in every page and more; a journal that is read right is right, snapshots may be missing but not wrong."""
    content = (copy / name).read_bytes()
    index, others = (copy / INDEX).read_bytes(), (copy / SNAPSHOTS).read_bytes()
    chance = random.Random(3)
    offsets = [*range(0, 100, 5), *(page + chance.randrange(4096) for page in range(0, len(content), 4096))]
    offsets = offsets * 20 if NIGHTLY else chance.sample(offsets, 25)
    sound = {str(snapshot) for snapshot in made[1]["snapshots"]}

    async def body():
        for offset in offsets:
            (copy / INDEX).write_bytes(index)
            (copy / SNAPSHOTS).write_bytes(others)
            broken = bytearray(content)
            broken[min(offset, len(content) - 1)] ^= 1 << chance.randrange(8)
            (copy / name).write_bytes(broken)
            async with opened(copy) as store:
                now = await contents(without_missing(store))
                assert without_snapshots(now) == without_snapshots(made[1]), offset
                assert {str(snapshot) for snapshot in now["snapshots"]} <= sound or name == SNAPSHOTS
                await store.save_snapshot(a_snapshot("more", 100))
                assert (await store.load_snapshot("more")).version == 100

    run(body)


def without_missing(store):
    """For streams whose newest snapshot turns out to be damaged there may be none at all."""
    original = store.load_snapshot

    async def load(stream):
        return await original(stream) or {}

    store.load_snapshot = load
    return store


def test_an_index_that_breaks_while_it_is_used_is_made_anew(made, copy):
    """As a disk does it: behind SQLite's back, page after page."""

    async def body():
        for harm in (b"\xff", b"\0"):
            async with opened(copy) as store:
                db = sqlite3.connect(copy / INDEX)
                db.execute("UPDATE places SET body = body || x'00'")
                db.execute("UPDATE keys SET value = x'31' WHERE key < 'key:2'")
                db.commit()
                db.close()
                assert (await contents(store)) == made[1]
                db = sqlite3.connect(copy / INDEX)
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                db.close()
                size = (copy / INDEX).stat().st_size
                with (copy / INDEX).open("r+b") as file:
                    for page in range(4096, size, 4096):
                        file.seek(page)
                        file.write(harm * 4096)
                with suppress(IndexDamaged):  # when SQLite cannot even clear it: then the next opening does
                    assert (await contents(store)) == made[1]
            await holds(copy, made[1])

    run(body)


def test_snapshots_that_break_while_they_are_used_are_lost_and_new_ones_are_kept(made, copy):
    async def body():
        async with opened(copy) as store:
            await store.save_snapshot(a_snapshot("more", 50))
            db = sqlite3.connect(copy / SNAPSHOTS)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            with (copy / SNAPSHOTS).open("r+b") as file:
                size = file.seek(0, 2)
                file.seek(4096)
                file.write(b"\xff" * (size - 4096))
            for info in await store.streams():
                await store.load_snapshot(info.stream)
                await store.stream_info(info.stream)
            await store.load_snapshots()
            assert without_snapshots(await contents(without_missing(store))) == without_snapshots(made[1])
            await store.save_snapshot(a_snapshot("more", 60))
            assert (await store._medium.load_snapshot("more")).version == 60
            await store.put("late", True)
            assert (await store.report()).state == "writable"

    run(body)


def test_an_index_of_another_time_is_brought_up_to_date(made, copy):
    early = made[0].with_name("early")
    for name in (INDEX, SNAPSHOTS):
        shutil.copy(early / name, copy / name)
    run(lambda: holds(copy, made[1], snapshots=False))


def test_an_index_that_knows_more_than_the_log_is_made_anew(made, copy):
    """An older copy of the segments was put back, beside what is newer."""
    early = made[0].with_name("early")
    for file in copy.iterdir():
        if file.name not in (INDEX, SNAPSHOTS):
            file.unlink()
    for file in early.iterdir():
        if file.name not in (INDEX, SNAPSHOTS):
            shutil.copy(file, copy / file.name)

    async def body():
        async with opened(early) as store:
            then = await contents(store)
        await holds(copy, then, snapshots=False)
        async with opened(copy) as store:
            await fill_more(store, "different")
            assert await store.load_snapshot("more") is None
            assert {record.event.text for record in await store.read("more")} == {"different"}

    run(body)


def test_a_snapshot_of_a_future_that_was_taken_back_is_not_loaded(tmp_path):
    async def body():
        folder, older = tmp_path / "j", tmp_path / "older"
        async with opened(folder) as store:
            epoch = await store.claim()
            await store.append("s", [a_message(1)], expected=0, epoch=epoch)
        shutil.copytree(folder, older)
        async with opened(folder) as store:
            await store.append("s", [a_message(2, "then")], expected=1, epoch=epoch)
            await store.save_snapshot(a_snapshot("s", 2, b"then"))
        shutil.copy(folder / SNAPSHOTS, older / SNAPSHOTS)
        async with opened(older) as store:
            await store.append("s", [a_message(2, "now")] * 3, expected=1, epoch=epoch)
            assert await store.load_snapshot("s") is None
            assert (await store.stream_info("s")).snapshot_version == 0
            assert await store.load_snapshots() == []

    run(body)


@pytest.mark.parametrize("name", [INDEX, SNAPSHOTS])
def test_files_of_another_journal_do_not_count(tmp_path, name):
    async def body():
        held = {}
        for which in ("one", "other"):
            async with opened(tmp_path / which) as store:
                await fill(store, seed=len(which))
                held[which] = await contents(store)
        shutil.copy(tmp_path / "one" / name, tmp_path / "other" / name)
        await holds(tmp_path / "other", held["other"], snapshots=name == INDEX)
        if name == SNAPSHOTS:
            async with opened(tmp_path / "other") as store:
                assert await store.load_snapshots() == []

    run(body)


def test_a_removed_stream_leaves_no_snapshot_to_the_next_of_its_name(tmp_path, monkeypatch):
    """Also when the process ends, or the disk refuses, between removing the one and the other."""

    def refuse(db, stream):
        raise sqlite3.OperationalError("disk I/O error")

    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            await store.append("s", [a_message(1)] * 3, expected=0, epoch=epoch)
            await store.save_snapshot(a_snapshot("s", 3, b"old"))
            with monkeypatch.context() as patch:
                patch.setattr("mcp_persistence.index.snapshots.forget", refuse)
                await store.delete_stream("s")
            assert (await store.report()).state == "writable"
            await store.append("s", [a_message(2)] * 4, expected=0, epoch=epoch)
        async with opened(tmp_path / "j") as store:
            assert await store.load_snapshot("s") is None
            assert await store.load_snapshots() == []
            assert (await store.stream_info("s")).snapshot_version == 0
            assert [info.snapshot_version for info in await store.streams()] == [0]
            await store.save_snapshot(a_snapshot("s", 2, b"new"))
            assert (await store.load_snapshot("s")).state == b"new"

    run(body)


def test_a_snapshot_that_is_loaded_while_its_stream_is_removed_does_not_stay(tmp_path):
    async def body():
        store = await SegmentJournal.open(tmp_path / "j", ManualClock())
        for number in range(60):
            epoch = await store.claim()
            await store.append("s", [a_message(1)], expected=0, epoch=epoch)
            await store.save_snapshot(a_snapshot("s", 1, bytes([number])))
            store._hot.clear(await store.head())
            await asyncio.gather(
                store.load_snapshot("s"), store.delete_stream("s"), store.load_snapshot("s"), store.read_all()
            )
            assert await store.load_snapshot("s") is None
            assert await store.read_all() == []
        with pytest.raises(NotFound):
            await store.stream_info("s")
        await store.close()

    run(body)


def test_a_folder_in_place_of_the_index_is_a_typed_error(copy):
    (copy / INDEX).unlink()
    (copy / INDEX).mkdir()
    with pytest.raises(StorageUnavailable):
        run(lambda: holds(copy, None))
