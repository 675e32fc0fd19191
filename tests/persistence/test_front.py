"""What every durable store promises at its front, shown over the segment journal: input, cancelling, healing."""

import asyncio
import enum
import os
import threading
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NotFound,
    StaleEpoch,
    StorageUnavailable,
    VersionConflict,
)
from mcp_interface.ids import TraceId
from mcp_interface.store import Append, Decision
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.upcast import EventCodec
from persistence.broken_disk import BrokenDisk
from persistence.journals import everything, fill, opened, run

# --- input ---------------------------------------------------------------------------------------------------


class Name(str):
    """Not exactly a text, and msgspec refuses to encode it."""


class Kind(enum.StrEnum):
    """A text that has a name."""

    LOG = "kind:log"


@pytest.mark.parametrize("name", [Name("kind:log"), Kind.LOG])
def test_texts_that_are_more_than_texts_are_taken_as_texts(tmp_path, name):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            decision = Decision(
                appends=[Append(stream=name, events=[a_message(1)], expected=0)],
                puts={name: 1},
                key=name,
                trace_id=TraceId(name),
                causation_id=name,
                correlation_id=name,
            )
            (record,) = await store.commit(decision, epoch=epoch)
            assert await store.commit(decision, epoch=epoch) == [record]
            await store.append(name, [a_message(2)], expected=1, epoch=epoch, key=Name("other"))
            await store.transaction(lambda draft: draft.put(name, draft.get(name) + 1))
            await store.put(Name("kind:put"), 3)
            await store.delete(Name("kind:put"))
            assert await store.get("kind:log") == 2
            assert (await store.report()).state == "writable"
        async with opened(tmp_path / "j") as store:
            first, second = await store.read("kind:log")
            assert first == record
            assert [type(text) for text in (first.stream, first.trace_id, first.causation_id)] == [str] * 3
            assert await store.list_keys() == ["kind:log"]
            assert second.version == 2
            await store.delete_stream(name)
            assert await store.read("kind:log") == []

    run(body)


@pytest.mark.parametrize("odd", [1.0, True, "1", None, 2**70])
def test_an_odd_expected_version_stores_nothing_that_could_not_be_read_back(tmp_path, odd):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await fill(store, events=1)
            with pytest.raises((CallerMistaken, VersionConflict)):
                await store.append("session:1", [a_message(2)], expected=odd, epoch=epoch)
            with pytest.raises((CallerMistaken, VersionConflict)):
                part = Append(stream="session:1", events=[a_message(2)], expected=odd)
                await store.commit(Decision(appends=[part]), epoch=epoch)
            assert (await store.report()).state == "writable"
            await store.append("session:1", [a_message(2)], expected=1, epoch=epoch)
        async with opened(tmp_path / "j", hot_bytes=0) as store:
            assert [record.version for record in await store.read("session:1")] == [1, 2]

    run(body)


@pytest.mark.parametrize("odd", [5, b"id", "\ud800", ["id"], "x" * 5000])
@pytest.mark.parametrize("which", ["trace_id", "causation_id", "correlation_id"])
def test_an_odd_id_is_refused_and_wedges_nothing(tmp_path, which, odd):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await fill(store, events=1)
            with pytest.raises(CallerMistaken):
                await store.append("session:1", [a_message(2)], expected=1, epoch=epoch, **{which: odd})
            with pytest.raises(CallerMistaken):
                part = Append(stream="session:1", events=[a_message(2)], expected=1)
                await store.commit(Decision(appends=[part], **{which: odd}), epoch=epoch)
            assert (await store.report()).state == "writable"
        async with opened(tmp_path / "j", hot_bytes=0) as store:
            assert len(await everything(store)) == 1

    run(body)


@pytest.mark.parametrize("odd", [None, 0, -1, 99, 2**70, "1"])
def test_only_the_claimed_epoch_writes_events(tmp_path, odd):
    async def body():
        async with opened(tmp_path / "j") as store:
            await fill(store, events=1)
            with pytest.raises(StaleEpoch):
                await store.append("session:1", [a_message(2)], expected=1, epoch=odd)
            with pytest.raises(StaleEpoch):
                await store.commit(Decision(puts={"key": 1}), epoch=odd)
            assert len(await everything(store)) == 1
            assert await store.list_keys() == []

    run(body)


def test_what_is_too_large_is_refused_and_stops_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.front.MAX_VALUE", 1000)
    monkeypatch.setattr("mcp_persistence.entry.MAX_VALUE", 1000)

    def too_much(draft):
        for number in range(10):
            draft.put(f"key{number}", "x" * 200)

    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await fill(store, events=1)
            with pytest.raises(CallerMistaken):
                await store.transaction(too_much)
            with pytest.raises(CallerMistaken):
                await store.put("key", "x" * 2000)
            with pytest.raises(CallerMistaken):
                await store.commit(Decision(puts={"a": "x" * 600, "b": "x" * 600}), epoch=epoch)
            with pytest.raises(CallerMistaken):
                await store.append("s", [a_message(1, "x" * 2000)], expected=0, epoch=epoch)
            assert await store.list_keys() == []
            assert (await store.report()).state == "writable"

    run(body)


@given(
    after=st.integers(-(2**70), 2**70),
    limit=st.integers(-(2**70), 2**70),
    text=st.one_of(
        st.text(st.characters(), max_size=20),
        st.text("*?[]!-az\\^", max_size=20),
        st.sampled_from(["", "\ud800", "x" * 600, "a\nb", "\0"]),
    ),
)
@settings(max_examples=60, deadline=None)
def test_readers_answer_or_refuse_whatever_they_are_asked(asked, after, limit, text):
    async def body(store):
        for look in (
            store.read(text, after=after, limit=limit),
            store.read_all(after=after, limit=limit, streams=text),
            store.streams(text, after=text, limit=limit),
            store.list_keys(text, after=text, limit=limit),
            store.load_snapshots(text, after=text, limit=limit),
            store.load_snapshot(text),
            store.delete_stream(text),
            store.delete(text),
            store.put(text, after),
            store.get(text),
            store.stream_info(text),
        ):
            with suppress(CallerMistaken, NotFound):
                await look

    asked(body)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """One journal for many examples; it must be writable at the end."""
    folder = tmp_path_factory.mktemp("asked") / "j"
    with asyncio.Runner() as runner:
        store = runner.run(SegmentJournal.open(folder, ManualClock(), hot_bytes=0))
        runner.run(fill(store))
        yield lambda body: runner.run(body(store))
        report = runner.run(store.report())
        runner.run(store.close())
    assert (report.state, report.head) == ("writable", 5)


class Tick(msgspec.Struct, tag="tick", tag_field="kind", frozen=True):
    """An event of somebody else's, without a time."""

    number: int


class Timed(msgspec.Struct, tag="timed", tag_field="kind", frozen=True):
    """One with a time that may lack its zone, or be no time at all."""

    timestamp: Any


def test_events_of_somebody_else_need_no_time(tmp_path):
    async def body():
        codec = EventCodec(Tick | Timed)
        known = {}
        for attempt in range(3):
            async with opened(tmp_path / "j", codec=codec, hot_bytes=0) as store:
                if not attempt:
                    epoch = await store.claim()
                    await store.append("ticks", [Tick(1), Tick(2)], expected=0, epoch=epoch)
                    for number, at in enumerate(
                        [START.replace(tzinfo=None), "yesterday", START, "2020-01-01T00:00:00Z"]
                    ):
                        await store.append(f"timed:{number}", [Timed(at)], expected=0, epoch=epoch)
                infos = sorted(await store.streams(), key=lambda info: (info.updated_at, info.stream))
                known[attempt] = infos
                assert [record.event for record in await store.read("ticks")] == [Tick(1), Tick(2)]
                if attempt:
                    await store.rebuild()
        assert known[0] == known[1] == known[2]

    run(body)


def test_an_event_that_cannot_be_stored_or_read_back_is_refused(tmp_path):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            for text, error in ((5, InvalidRecord), ("\ud800", CallerMistaken), (object(), CallerMistaken)):
                odd = msgspec.structs.replace(a_message(1), text=text)
                with pytest.raises(error):
                    await store.append("s", [a_message(0), odd], expected=0, epoch=epoch)
            with pytest.raises(CallerMistaken):
                await store.append("s", [], expected=0, epoch=epoch)
            assert await store.head() == 0

    run(body)


# --- transactions --------------------------------------------------------------------------------------------


def test_transactions_lose_no_update_and_see_one_state(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.index.ledger.CHECKPOINT_BYTES", 500)

    def move(draft):
        one, other = draft.get("one"), draft.get("other")
        assert one + other == 100
        draft.put("one", one - 1)
        draft.put("other", other + 1)
        draft.delete("gone")
        with pytest.raises(NotFound):
            draft.get("gone")
        return one

    async def body():
        async with opened(tmp_path / "j") as store:
            await store.commit(Decision(puts={"one": 100, "other": 0}), epoch=await store.claim())
            moves = [store.transaction(move) for _ in range(50)]
            noise = [store.put("gone", number) for number in range(50)]
            outcomes = await asyncio.gather(
                *[each for pair in zip(moves, noise, strict=True) for each in pair]
            )
            assert sorted(outcomes[::2]) == list(range(51, 101))
            assert (await store.get("one"), await store.get("other")) == (50, 50)

    run(body)


def test_whatever_a_transaction_raises_concerns_its_caller_alone(tmp_path):
    async def body():
        async with opened(tmp_path / "j") as store:
            for error in (ZeroDivisionError(), KeyboardInterrupt(), NotFound("x"), ValueError(), OSError()):

                def work(draft, error=error):
                    draft.put("key", 1)
                    raise error

                fine = asyncio.create_task(store.put("other", 1))
                with pytest.raises(type(error)):
                    await store.transaction(work)
                await fine
            assert await store.list_keys() == ["other"]
            assert (await store.report()).state == "writable"

    run(body)


# --- cancelling ----------------------------------------------------------------------------------------------


def test_a_time_limit_that_comes_too_late_neither_loses_the_write_nor_is_lost(tmp_path):
    async def body():
        disk = BrokenDisk()
        async with opened(tmp_path / "j", disk=disk) as store:
            epoch = await store.claim()
            disk.hold()
            said = []

            async def caller():
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        said.append(await store.append("s", [a_message(1)], expected=0, epoch=epoch))
                        await asyncio.sleep(30)
                async with asyncio.timeout(30):
                    await asyncio.sleep(0)
                    said.append(await store.append("s", [a_message(2)], expected=1, epoch=epoch))
                assert asyncio.current_task().cancelling() == 0

            task = asyncio.create_task(caller())
            await disk.reached()
            await asyncio.sleep(0.2)
            disk.gate.set()
            await task
            assert [record.version for (record,) in said] == [1, 2]

    run(body)


def test_a_time_limit_around_the_write_alone_passes_when_the_write_went_through(tmp_path):
    async def body():
        disk = BrokenDisk()
        async with opened(tmp_path / "j", disk=disk) as store:
            epoch = await store.claim()
            disk.hold()

            async def caller():
                async with asyncio.timeout(0.05):
                    found = await store.append("s", [a_message(1)], expected=0, epoch=epoch)
                for _ in range(5):
                    await asyncio.sleep(0)
                return found

            task = asyncio.create_task(caller())
            await disk.reached()
            await asyncio.sleep(0.2)
            disk.gate.set()
            (record,) = await task
            assert await store.read("s") == [record]

    run(body)


def test_a_task_group_that_fails_keeps_what_was_taken_and_withdraws_the_rest(tmp_path):
    async def body():
        disk = BrokenDisk()
        async with opened(tmp_path / "j", disk=disk) as store:
            epoch = await store.claim()
            disk.hold()
            returned = []

            async def append(number):
                found = await store.append(f"s:{number}", [a_message(1)], expected=0, epoch=epoch)
                returned.append(found[0].stream)
                await asyncio.sleep(0)
                returned.append("never")

            async def fail():
                await disk.reached()
                waiting = [asyncio.create_task(append(number)) for number in range(10, 15)]
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_later(0.1, disk.gate.set)
                for task in waiting:
                    task.cancel()
                raise ZeroDivisionError

            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    for number in range(5):
                        group.create_task(append(number))
                    group.create_task(fail())
            assert caught.group_contains(ZeroDivisionError)
            assert sorted(returned) == [f"s:{number}" for number in range(5)]
            assert sorted(record.stream for record in await everything(store)) == sorted(returned)

    run(body)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_who_returns_is_stored_and_who_raises_is_not(plan):
    """Writers cancelled at any moment, some of them twice."""
    from tempfile import TemporaryDirectory

    async def body():
        with TemporaryDirectory() as folder:
            async with opened(os.path.join(folder, "j")) as store:
                epoch = await store.claim()
                tasks = []
                for number, (steps, times) in enumerate(plan):
                    tasks.append(
                        asyncio.create_task(
                            store.append(f"s:{number}", [a_message(number)], expected=0, epoch=epoch)
                        )
                    )
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    for _ in range(times):
                        tasks[number // 2].cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                kept = [outcome[0].stream for outcome in outcomes if isinstance(outcome, list)]
                assert all(isinstance(each, list | asyncio.CancelledError) for each in outcomes)
                assert sorted(kept) == sorted(record.stream for record in await everything(store))

    run(body)


def test_a_loop_that_ends_with_writes_under_way_leaves_nothing_behind(tmp_path, caplog):
    async def body():
        store = await SegmentJournal.open(tmp_path / "j", ManualClock())
        epoch = await store.claim()
        for number in range(100):
            asyncio.create_task(store.append(f"s:{number}", [a_message(1)], expected=0, epoch=epoch))  # noqa: RUF006
        reading = store.subscribe()
        await anext(reading)
        asyncio.create_task(anext(reading))  # noqa: RUF006
        await asyncio.sleep(0)

    before = threading.active_count(), _descriptors()
    asyncio.run(body())
    assert_left_nothing(before)
    assert not caplog.records

    async def again():
        async with opened(tmp_path / "j") as store:
            assert await store.verify() == await store.head()

    run(again)


def test_closing_finishes_what_is_queued_and_ends_who_listens(tmp_path):
    async def body():
        store = await SegmentJournal.open(tmp_path / "j", ManualClock(), hot_bytes=0)
        epoch = await fill(store)
        heard = []

        async def listen(streams):
            async for record in store.subscribe(streams=streams):
                heard.append(record.position)

        listeners = [asyncio.create_task(listen(glob)) for glob in ("*", "session:1", "s*", "nobody")]
        tasks = [
            asyncio.create_task(store.append(f"s:{number}", [a_message(1)], expected=0, epoch=epoch))
            for number in range(50)
        ]
        await asyncio.sleep(0)
        one, two = asyncio.create_task(store.close()), asyncio.create_task(store.close())
        one.cancel()
        await asyncio.wait({one, two})
        assert [len(task.result()) for task in tasks] == [1] * 50
        await asyncio.gather(*listeners)
        with pytest.raises(StorageUnavailable, match="closed"):
            await store.put("key", 1)
        assert (await store.report()).state == "closed"
        async with opened(tmp_path / "j") as store:
            assert await store.verify() == 55

    run(body)


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
