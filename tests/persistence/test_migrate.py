"""From one SQLite file to segments: everything, and at every moment one of the two is whole."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcp_interface.errors import StaleEpoch, StorageCorrupt, StorageUnavailable
from mcp_interface.store import Append, Decision, Snapshot
from mcp_interface.testing import START, ManualClock, SeededEntropy
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteJournal, open_journal
from mcp_persistence.segment.disk import SystemDisk, SystemFile
from persistence.fixtures.contents import contents, still_says

FIXTURE = Path(__file__).with_name("fixtures") / "sqlite-1"
HELD = json.loads((FIXTURE / "holds.json").read_text())
EACH = 1 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 6
EXTRAS = {"falsy": 0, "none": None, "empty": "", "list": [], "false": False}


@pytest.fixture
def old(tmp_path):
    """A copy of the file of format 1."""
    for name in ("journal.db", "journal.db.head"):
        shutil.copy(FIXTURE / name, tmp_path / name)
    return tmp_path / "journal.db"


async def moved(old):
    return await open_journal(old.with_name("journal"), ManualClock(), entropy=SeededEntropy(1), before=old)


def run(body):
    async def bounded():
        async with asyncio.timeout(60):
            return await body()

    return asyncio.run(bounded())


def names(old):
    return sorted(path.name for path in old.parent.iterdir())


DONE = ["journal", "journal.db.before-segments", "journal.db.before-segments.head"]


async def check(store):
    now = await contents(store)
    then = {key: HELD[key] for key in ("head", "records", "sealed", "streams", "snapshots", "keys")}
    assert still_says(now, then)
    assert set(now["keys"]) == set(then["keys"])
    assert await store.verify() == HELD["events"]


def test_everything_is_there_with_its_place_and_old_writers_are_not(old):
    async def body():
        for _ in range(3):  # a second time there is nothing to do
            store = await moved(old)
            try:
                await check(store)
            finally:
                await store.close()
            assert names(old) == DONE
        store = await moved(old)
        for epoch in range(HELD["claims"] + 1):
            with pytest.raises(StaleEpoch):
                await store.append("session:new", [a_message(1)], expected=0, epoch=epoch)
        epoch = await store.claim()
        (record,) = await store.append("session:new", [a_message(1)], expected=0, epoch=epoch)
        assert record.position == HELD["head"] + 1
        await store.rebuild()
        assert [each.position for each in await store.read_all()] == [
            *(each["position"] for each in HELD["records"]),
            record.position,
        ]
        await store.close()

    run(body)


def test_falsy_values_decisions_and_snapshots_of_a_present_file_move_too(tmp_path):
    old = tmp_path / "journal.db"
    decision = Decision(
        appends=[Append(stream="s", events=[a_message(1), a_message(2)], expected=0)], puts=EXTRAS, key="once"
    )

    async def body():
        store = await SqliteJournal.open(old, ManualClock())
        epoch = await store.claim()
        await store.append("gone", [a_message(9)] * 3, expected=0, epoch=epoch)
        made = await store.commit(decision, epoch=epoch)
        await store.append("gone", [a_message(9)] * 3, expected=3, epoch=epoch)
        await store.delete_stream("gone")
        snapshot = Snapshot(stream="s", version=2, schema="s/1", state=b"x", taken_at=START, position=5)
        await store.save_snapshot(snapshot)
        await store.close()
        store = await moved(old)
        assert {key: await store.get(key) for key in await store.list_keys()} == EXTRAS
        assert await store.load_snapshot("s") == snapshot
        epoch = await store.claim()
        assert await store.commit(decision, epoch=epoch) == made
        assert (await store.head(), await store.verify()) == (8, 2)
        await store.append("gone", [a_message(1)], expected=0, epoch=epoch)
        await store.close()

    run(body)


def test_large_contents_take_many_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.migrate.FRAME_BYTES", 2000)
    old = tmp_path / "journal.db"

    async def body():
        store = await SqliteJournal.open(old, ManualClock())
        epoch = await store.claim()
        for version in range(30):
            await store.append("s", [a_message(version, "x" * 300)], expected=version, epoch=epoch)
            epoch = await store.claim() if version % 7 == 0 else epoch
            await store.put(f"key:{version}", "y" * 300)
        before = await contents(store)
        await store.close()
        store = await moved(old)
        assert await contents(store) == before
        await store.close()

    run(body)


def test_an_empty_folder_in_its_place_does_not_hide_the_old_journal(old):
    old.with_name("journal").mkdir()

    async def body():
        store = await moved(old)
        await check(store)
        await store.close()
        assert names(old) == DONE

    run(body)


def test_a_damaged_old_file_is_refused_and_left_as_it_is(old):
    with sqlite3.connect(old) as db:
        db.execute("UPDATE events SET body = body || x'00' WHERE position = 3")
    db.close()

    async def body():
        for _ in range(2):
            with pytest.raises(StorageCorrupt):
                await moved(old)
            assert "journal" not in names(old) and "journal.db" in names(old)

    run(body)


@contextmanager
def every_change(step):
    """Call `step` before each operation that changes or syncs something outside SQLite."""

    def before(original):
        def wrapped(*args, **options):
            step()
            return original(*args, **options)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", before(os.fsync))
        patch.setattr(Path, "rename", before(Path.rename))
        for name in ("pwritev", "fdatasync", "fsync"):
            patch.setattr(SystemFile, name, before(getattr(SystemFile, name)))
        for name in ("rename", "create", "sync_folder"):
            patch.setattr(SystemDisk, name, before(getattr(SystemDisk, name)))
        yield


async def move(old):
    await (await moved(old)).close()


async def sound(old):
    store = await moved(old)
    try:
        await check(store)
    finally:
        await store.close()
    assert names(old) == DONE


def test_killed_at_any_moment_the_next_attempt_makes_it_good(old, tmp_path_factory):
    """What another process would find: a copy of the folder before each change."""
    copies = tmp_path_factory.mktemp("copies")
    moments = 0

    def step():
        nonlocal moments
        moments += 1
        shutil.copytree(old.parent, copies / str(moments))

    with every_change(step):
        run(lambda: move(old))
    assert moments > 20
    for moment in range(1, moments + 1, EACH):
        run(lambda moment=moment: sound(copies / str(moment) / old.name))


def test_a_disk_that_refuses_at_any_moment_is_named_and_the_next_attempt_makes_it_good(tmp_path):
    for moment in range(1, 200, EACH):
        folder = tmp_path / str(moment)
        shutil.copytree(FIXTURE, folder)
        old = folder / "journal.db"
        left = moment

        def step():
            nonlocal left
            left -= 1
            if left < 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        with every_change(step), contextlib.suppress(StorageUnavailable):
            run(lambda old=old: move(old))
        (folder / "holds.json").unlink()
        run(lambda old=old: sound(old))
        if left > 0:
            break
    assert moment > 20
