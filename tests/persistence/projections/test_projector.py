import asyncio
import logging
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, OurBug, StorageCorrupt, StorageUnavailable
from mcp_interface.store import PAGE
from mcp_interface.testing import ManualClock, MemoryStore
from mcp_interface.testing.samples import a_message
from mcp_persistence.projections.projector import FIRST_LOOK, Projector
from persistence.projections.rows import (
    ALL_KINDS,
    Rows,
    at_rest,
    everything,
    fold,
    following,
    open_store,
    run,
)


async def append(store, stream, *numbers):
    epoch = await store.claim()
    version = next((info.version for info in await store.streams(stream)), 0)
    return await store.append(
        stream, [a_message(number) for number in numbers], expected=version, epoch=epoch
    )


async def caught_up(projector, store):
    await projector.wait_for(await store.head())
    assert await projector.lag() == 0
    return at_rest(projector.path)[1]


@pytest.fixture(params=ALL_KINDS)
def with_store(request, tmp_path):
    """Runs a test over each kind of journal."""

    def with_it(body):
        async def opened():
            store = await open_store(request.param, tmp_path)
            try:
                return await body(store, tmp_path)
            finally:
                await store.close()

        return run(opened)

    return with_it


def test_it_takes_in_what_was_there_and_what_comes(with_store):
    async def body(store, folder):
        await append(store, "session:a", *range(3))
        async with following(store, folder) as projector:
            assert await caught_up(projector, store) == fold(await everything(store))
            await append(store, "session:b", *range(2 * PAGE + 5))
            assert await caught_up(projector, store) == fold(await everything(store))

    with_store(body)


def test_it_says_how_far_behind_it_is(with_store):
    async def body(store, folder):
        await append(store, "session:a", *range(7))
        async with following(store, folder) as projector:
            assert await projector.lag() == 7
            await projector.wait_for(7)
            assert (projector.position, await projector.lag()) == (7, 0)

    with_store(body)


def test_a_deleted_stream_leaves_with_a_sweep_and_at_the_next_opening(with_store):
    async def body(store, folder):
        await append(store, "session:a", 1, 2)
        await append(store, "session:b", 3)
        await append(store, "session:c", 4)
        async with following(store, folder) as projector:
            await caught_up(projector, store)
            await store.delete_stream("session:c")
            assert await projector.sweep() == 1
            assert await projector.sweep() == 0
            assert at_rest(projector.path)[1] == fold(await everything(store))
        await store.delete_stream("session:a")
        async with following(store, folder) as projector:
            assert "1 streams were deleted" in projector.found
            assert at_rest(projector.path)[1] == fold(await everything(store))

    with_store(body)


def test_a_stream_that_begins_anew_takes_the_place_of_the_deleted_one(with_store):
    async def body(store, folder):
        await append(store, "session:a", 1, 2)
        async with following(store, folder) as projector:
            await caught_up(projector, store)
            await store.delete_stream("session:a")
            await append(store, "session:b", 9)
            await append(store, "session:a", 3, 4, 5)
            assert await caught_up(projector, store) == fold(await everything(store))
            assert projector.found == "at position 0"

    with_store(body)


def test_deleting_the_end_of_the_journal_leaves_no_lag(with_store):
    async def body(store, folder):
        await append(store, "session:a", 1)
        await append(store, "session:b", 2, 3)
        await store.delete_stream("session:b")
        async with following(store, folder) as projector:
            assert await caught_up(projector, store) == fold(await everything(store))
            assert projector.position == 3

    with_store(body)


def test_a_projection_of_another_version_is_made_anew(with_store):
    async def body(store, folder):
        await append(store, "session:a", 1, 2)
        async with following(store, folder) as projector:
            await caught_up(projector, store)
        async with following(store, folder, Rows(version=2)) as projector:
            assert "version" in projector.found
            assert await caught_up(projector, store) == fold(await everything(store))

    with_store(body)


def test_a_rebuild_gives_the_same_rows(with_store):
    async def body(store, folder):
        await append(store, "session:a", *range(PAGE + 3))
        async with following(store, folder) as projector:
            before = await caught_up(projector, store)
            with closing(sqlite3.connect(projector.path)) as db:
                db.execute("DELETE FROM events WHERE version % 2")
                db.commit()
            await projector.rebuild()
            assert await caught_up(projector, store) == before

    with_store(body)


@pytest.mark.parametrize("before, after", [(3, 2), (2, 2), (2, 3)], ids=["shorter", "as long", "longer"])
def test_a_projection_of_another_journal_is_made_anew(before, after, tmp_path):
    async def body():
        for beginning, count in ((0, before), (100, after)):
            store = MemoryStore()
            await append(store, "session:a", *range(beginning, beginning + count))
            async with following(store, tmp_path) as projector:
                assert await caught_up(projector, store) == fold(await everything(store))
        assert projector.found.startswith("made anew")

    run(body)


def test_when_nothing_is_left_to_know_the_journal_by_it_is_made_anew(tmp_path):
    async def body():
        store = MemoryStore()
        await append(store, "session:a", 1)
        async with following(store, tmp_path) as projector:
            await projector.wait_for(1)
            await store.delete_stream("session:a")
            await projector.sweep()
        async with following(store, tmp_path) as projector:
            assert projector.found.startswith("made anew")
            await projector.wait_for(1)
        assert at_rest(projector.path)[1] == ([], {})

    run(body)


def cut_off(path):
    with path.open("r+b") as file:
        file.truncate(5000)


def scramble(path):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * (size - 4096))


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(b"no database" * 1000), cut_off, scramble],
    ids=["overwritten", "cut off", "pages"],
)
def test_a_damaged_file_is_made_anew(damage, tmp_path):
    async def body():
        store = MemoryStore()
        await append(store, "session:a", *range(300))
        async with following(store, tmp_path) as projector:
            await projector.wait_for(300)
        damage(projector.path)
        async with following(store, tmp_path) as projector:
            await append(store, "session:a", 300)
            assert await caught_up(projector, store) == fold(await everything(store))

    run(body)


def test_damage_that_only_a_reader_meets_is_mended_too(tmp_path):
    async def body():
        store = MemoryStore()
        await append(store, "session:a", *range(3000))
        async with following(store, tmp_path) as projector:
            await projector.wait_for(3000)
        with closing(sqlite3.connect(projector.path)) as db:
            root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'counts'").fetchone()[0]
        content = bytearray(projector.path.read_bytes())
        content[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
        projector.path.write_bytes(content)
        async with following(store, tmp_path) as projector:
            with pytest.raises(StorageUnavailable, match="made anew"):
                await projector.read(lambda db: db.execute("SELECT * FROM counts").fetchall())
            await asyncio.sleep(0)
            await append(store, "session:a", 3000)
            while projector.found.startswith("at"):
                await asyncio.sleep(0.01)
            assert await caught_up(projector, store) == fold(await everything(store))

    run(body)


def test_a_reader_s_own_mistake_makes_nothing_anew(tmp_path):
    async def body():
        async with following(MemoryStore(), tmp_path) as projector:
            with pytest.raises(StorageCorrupt):
                await projector.read(lambda db: db.execute("SELECT * FROM nowhere").fetchall())
            assert projector.found == "at position 0"

    run(body)


def test_a_file_of_somebody_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "rows.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (value TEXT)")
        db.commit()
    before = path.read_bytes()

    async def body():
        with pytest.raises(CallerMistaken, match="not a projection"):
            await Projector.open(Rows(), MemoryStore(), tmp_path, ManualClock())

    run(body)
    assert path.read_bytes() == before


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    projection = Rows()
    projection.name = "../rows"

    async def body():
        with pytest.raises(CallerMistaken, match="cannot name a projection"):
            await Projector.open(projection, MemoryStore(), tmp_path, ManualClock())

    run(body)


def test_a_missing_folder_is_said(tmp_path):
    async def body():
        with pytest.raises(StorageUnavailable):
            await Projector.open(Rows(), MemoryStore(), tmp_path / "missing", ManualClock())

    run(body)


class Failing(Rows):
    """Cannot take in the second event."""

    error = ValueError("not mine")

    def apply(self, db, records):
        super().apply(db, records)
        if any(record.position == 2 for record in records):
            raise self.error


def test_a_projection_that_fails_stops_and_says_so_and_keeps_what_it_had(tmp_path, caplog):
    async def body():
        store = MemoryStore()
        await append(store, "session:a", 1)
        projection = Failing()
        async with following(store, tmp_path, projection) as projector:
            await projector.wait_for(1)
            await append(store, "session:a", 2)
            with pytest.raises(OurBug, match="not mine"):
                await projector.wait_for(2)
            assert at_rest(projector.path)[0] == 1
            projection.apply = super(Failing, projection).apply
            await projector.rebuild()
            assert await caught_up(projector, store) == fold(await everything(store))

    with caplog.at_level(logging.CRITICAL):
        run(body)


def test_damage_that_comes_back_is_not_mended_for_ever(tmp_path, caplog):
    async def body():
        store = MemoryStore()
        await append(store, "session:a", 1, 2)
        projection = Failing()
        projection.error = StorageCorrupt("always")
        async with following(store, tmp_path, projection) as projector:
            with pytest.raises(StorageCorrupt, match="always"):
                await projector.wait_for(2)

    with caplog.at_level(logging.CRITICAL):
        run(body)


class Cramped(Rows):
    """Has a disk of so many pages."""

    pages = 12

    def apply(self, db, records):
        db.execute(f"PRAGMA max_page_count = {self.pages}")
        super().apply(db, records)


def test_a_full_disk_is_waited_for(tmp_path, caplog):
    async def body():
        store, clock, projection = MemoryStore(), ManualClock(), Cramped()
        async with following(store, tmp_path, projection, clock) as projector:
            await append(store, "session:a", *range(900))
            while not clock.sleepers:
                await asyncio.sleep(0.001)
            assert await projector.lag() == 900
            projection.pages = 10_000
            clock.advance(FIRST_LOOK)
            assert await caught_up(projector, store) == fold(await everything(store))

    with caplog.at_level(logging.CRITICAL):
        run(body)


def test_closing_ends_whoever_waits_and_may_be_repeated(with_store):
    async def body(store, folder):
        projector = await Projector.open(Rows(), store, folder, ManualClock())
        waiting = asyncio.create_task(projector.wait_for(1))
        await asyncio.sleep(0)
        await projector.close()
        await projector.close()
        with pytest.raises(StorageUnavailable, match="closed"):
            await waiting
        with pytest.raises(StorageUnavailable, match="closed"):
            await projector.sweep()

    with_store(body)


def test_a_store_that_is_closed_first_is_no_disaster(with_store, caplog):
    async def body(store, folder):
        async with following(store, folder) as projector:
            await append(store, "session:a", 1)
            await projector.wait_for(1)
            await store.close()
            with pytest.raises(StorageUnavailable, match="closed"):
                await projector.wait_for(2)

    with caplog.at_level(logging.CRITICAL):
        with_store(body)


STREAMS = st.sampled_from(["session:a", "session:b", "agent:c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), STREAMS, st.integers(1, 5)),
        st.tuples(st.just("delete"), STREAMS),
        st.tuples(
            st.sampled_from(["reopen", "crash", "other version", "rebuild", "sweep", "catch up", "yield"])
        ),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_a_projection_is_the_fold_of_the_journal(kind, steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("journal")
    run(_live_through, kind, folder, steps)


async def _live_through(kind, folder, steps):
    store = await open_store(kind, folder)
    version = 1
    projector = await Projector.open(Rows(version), store, folder, ManualClock())
    number = 0
    for step, *arguments in steps:
        match step:
            case "append":
                number += 10
                await append(store, arguments[0], *range(number, number + arguments[1]))
            case "delete":
                await store.delete_stream(arguments[0])
            case "reopen" | "crash" | "other version":
                if step == "crash":  # in the middle of whatever it does
                    projector._task.cancel()
                version += step == "other version"
                await projector.close()
                projector = await Projector.open(Rows(version), store, folder, ManualClock())
            case "rebuild":
                await projector.rebuild()
            case "sweep":
                await projector.sweep()
            case "catch up":
                await projector.wait_for(await store.head())
            case "yield":
                await asyncio.sleep(0)
    await projector.wait_for(await store.head())
    await projector.sweep()
    await projector.close()
    assert at_rest(projector.path)[1] == fold(await everything(store))
    await store.close()
