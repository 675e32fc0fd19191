"""Readers in their thread while the writer writes, removes, begins anew and checkpoints all the time."""

import asyncio
import os
import random
import sys
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, NotFound, StaleEpoch
from mcp_interface.store import Append, Decision
from mcp_interface.testing import ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.index.ledger import Ledger

LONG = os.environ.get("UMBRELLA_PROFILE") == "nightly"


@pytest.fixture(autouse=True, scope="module")
def busy():
    """Checkpoints after every few events, and threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcp_persistence.index.ledger.CHECKPOINT_EVENTS", 3)
        patch.setattr("mcp_persistence.index.ledger.CHECKPOINT_BYTES", 700)
        yield
    sys.setswitchinterval(before)


@pytest.fixture
def rebuilt(monkeypatch):
    """Counts how often the index was made anew: readers must not take a race for damage."""
    times = []
    original = Ledger.rebuild

    def rebuild(self):
        times.append(1)
        original(self)

    monkeypatch.setattr(Ledger, "rebuild", rebuild)
    return times


@asynccontextmanager
async def opened(folder, **options):
    store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0, segment_bytes=64 << 10, **options)
    try:
        yield store
    finally:
        await store.close()


def run(body):
    async def bounded():
        async with asyncio.timeout(120):
            await body()

    asyncio.run(bounded())


async def everything(store, glob="*"):
    found = []
    while page := await store.read_all(after=found[-1].position if found else 0, streams=glob):
        found += page
    return found


def test_nothing_is_missed_doubled_or_out_of_order_while_checkpoints_happen(tmp_path, rebuilt):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            acknowledged = {}
            done = asyncio.Event()

            async def write(stream):
                for version in range(600 if LONG else 150):
                    await store.append(stream, [a_message(version)], expected=version, epoch=epoch)
                    acknowledged[stream] = version + 1

            async def read(stream):
                while not done.is_set():
                    least = acknowledged.get(stream, 0)
                    after = max(0, least - random.Random(least).randrange(5))
                    found = await store.read(stream, after=after)
                    versions = [record.version for record in found]
                    assert versions == list(range(after + 1, after + 1 + len(found)))
                    assert after + len(found) >= least
                    assert (await store.stream_info(stream)).version >= least if least else True
                    for glob in (stream, "s*", "*[0-9]"):
                        place = max(0, await store.head() - 5)
                        page = [record.position for record in await store.read_all(after=place, streams=glob)]
                        assert page == sorted(set(page)) and (not page or page[0] > place)

            async def listen(glob, heard):
                async for record in store.subscribe(streams=glob):
                    heard.append(record)

            heard = {glob: [] for glob in ("*", "s:0", "s:3", "s*", "*:[12]")}
            listeners = [asyncio.create_task(listen(*each)) for each in heard.items()]
            readers = [asyncio.create_task(read(f"s:{number}")) for number in range(4)]
            await asyncio.gather(*(write(f"s:{number}") for number in range(4)))
            done.set()
            await asyncio.gather(*readers)
            there = await everything(store)
            assert [record.position for record in there] == list(range(1, len(there) + 1))
            for glob, records in heard.items():
                while len(records) < len(expected := await everything(store, glob)):
                    await asyncio.sleep(0.01)
                assert records == expected
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
        assert not rebuilt

    run(body)


@pytest.mark.parametrize("behind", [0, 1, 2, 5])
def test_a_log_that_is_ahead_of_what_is_known_is_neither_read_twice_nor_passed_over(tmp_path, behind):
    """For a moment a frame is durable that memory has not taken in: how far a search came must tell the truth."""

    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            for version in range(6):
                for stream in ("a", "b"):
                    await store.append(stream, [a_message(version)], expected=version, epoch=epoch)
            there = await everything(store)
            store._medium._ledger.state.position -= behind
            for glob in ("a", "b", "*", "[a]", "nobody"):
                wanted = [
                    record for record in there if record.stream == glob or glob in ("*", f"[{record.stream}]")
                ]
                for after in range(12 - behind):
                    found, reached = await store._medium.page(after, 100, glob)
                    assert found == [record for record in wanted if after < record.position <= reached]
                    assert reached > after

    run(body)


def test_streams_that_come_and_go_are_read_whole_or_not_at_all(tmp_path, rebuilt):
    """Each life of a stream writes its number in every event: no reading may mix two lives."""

    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            done = asyncio.Event()

            async def live():
                for life in range(200 if LONG else 40):
                    await store.append(
                        "s", [a_message(version, f"{life}") for version in range(4)], expected=0, epoch=epoch
                    )
                    await store.append("s", [a_message(9, f"{life}")], expected=4, epoch=epoch)
                    again = store.delete_stream("s")
                    if life % 2:
                        await again
                    else:  # gone, there and gone again within one batch
                        await asyncio.gather(
                            again,
                            store.append("s", [a_message(0, "short")] * 3, expected=0, epoch=epoch),
                            store.delete_stream("s"),
                            store.append("other", [a_message(0, "x")], expected=life // 2, epoch=epoch),
                        )

            async def read():
                while not done.is_set():
                    for after in (0, 2):
                        found = await store.read("s", after=after)
                        assert len({record.event.text for record in found}) <= 1
                        assert [record.version for record in found] == list(
                            range(after + 1, after + 1 + len(found))
                        )
                    for glob in ("s", "*"):
                        found = await store.read_all(after=max(0, await store.head() - 8), streams=glob)
                        positions = [record.position for record in found]
                        assert positions == sorted(set(positions))
                    await store.streams()

            readers = [asyncio.create_task(read()) for _ in range(3)]
            await live()
            done.set()
            await asyncio.gather(*readers)
            assert await store.read("s") == []
            assert {record.stream for record in await everything(store)} == {"other"}
        assert not rebuilt

    run(body)


def test_keys_are_read_as_they_were_at_some_moment_of_the_call(tmp_path, rebuilt):
    async def body():
        async with opened(tmp_path / "j") as store:
            epoch = await store.claim()
            done = asyncio.Event()
            low = 0

            async def write():
                nonlocal low
                for number in range(300 if LONG else 80):
                    puts = {"counter": number, f"key:{number}": None}
                    deletes = [f"key:{number - 3}"] if number >= 3 else []
                    await store.commit(Decision(puts=puts, deletes=deletes), epoch=epoch)
                    low = number

            async def read():
                while not done.is_set():
                    least = low
                    with_counter = await store.list_keys()
                    if least:
                        assert "counter" in with_counter
                        assert await store.get("counter") >= least
                    assert with_counter == sorted(set(with_counter))
                    after = "key:5"
                    assert all(name > after for name in await store.list_keys("key:*", after=after, limit=3))

            readers = [asyncio.create_task(read()) for _ in range(3)]
            await write()
            done.set()
            await asyncio.gather(*readers)
            last = low
            assert await store.list_keys() == sorted(
                ["counter", *(f"key:{last - back}" for back in range(3))]
            )
            with pytest.raises(NotFound):
                await store.get("key:0")
        assert not rebuilt

    run(body)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("abc"), st.integers(1, 4)),
        st.tuples(st.just("delete"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("unput"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("both"), st.sampled_from("abc"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["wait", "reopen", "rebuild", "look"]), st.just(""), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300 if LONG else 30, deadline=None)
def test_any_history_reads_the_same_from_memory_index_and_log(folders, steps):
    """Against a plain model; steps between waits are one batch."""

    async def body():
        folder = folders()
        store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0)
        epoch = await store.claim()
        model, keys, position, batch = {}, {}, 0, []
        for number, (step, name, count) in enumerate(steps):
            match step:
                case "append" | "both":
                    kept = model.setdefault(name, [])
                    texts = [f"{number}.{each}" for each in range(count)]
                    part = Append(
                        stream=name, events=[a_message(number, text) for text in texts], expected=len(kept)
                    )
                    puts = {name: texts} if step == "both" else {}
                    keys |= puts
                    batch.append(store.commit(Decision(appends=[part], puts=puts), epoch=epoch))
                    for text in texts:
                        position += 1
                        kept.append((position, text))
                case "delete":
                    model.pop(name, None)
                    batch.append(store.delete_stream(name))
                case "put":
                    keys[name] = count
                    batch.append(store.put(name, count))
                case "unput":
                    keys.pop(name, None)
                    batch.append(store.delete(name))
                case _:
                    await asyncio.gather(*batch)
                    batch = []
                    if step == "reopen":
                        await store.close()
                        store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0)
                    if step == "rebuild":
                        await store.rebuild()
                    if step != "wait":
                        await agree(store, model, keys, position)
        await asyncio.gather(*batch)
        await agree(store, model, keys, position)
        await store.close()

    run(body)


async def agree(store, model, keys, position):
    assert await store.head() == position
    there = sorted(
        (where, name, at + 1, text) for name in model for at, (where, text) in enumerate(model[name])
    )
    for glob in ("*", "a", "[ab]"):
        seen = [
            (each.position, each.stream, each.version, each.event.text)
            for each in await everything(store, glob)
        ]
        assert seen == [each for each in there if glob == "*" or each[1] in glob]
    for name in "abc":
        kept = model.get(name, [])
        for after in range(0, len(kept) + 1, 2):
            found = await store.read(name, after=after, limit=3)
            assert [(each.position, each.event.text) for each in found] == kept[after : after + 3]
        for after in range(0, position, 3):
            found = await store.read_all(after=after, streams=name, limit=2)
            assert [each.position for each in found] == [where for where, _ in kept if where > after][:2]
    assert {info.stream: info.version for info in await store.streams()} == {
        name: len(kept) for name, kept in model.items() if kept
    }
    assert await store.list_keys() == sorted(keys)
    assert {name: await store.get(name) for name in keys} == keys
    assert await store.verify() == len(there)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("history") / "j"


@given(st.lists(st.tuples(st.sampled_from("kl"), st.integers(0, 1), st.sampled_from("dr-")), max_size=12))
@settings(max_examples=150 if LONG else 20, deadline=None)
def test_a_decision_that_was_made_is_never_made_again(folders, steps):
    """Whatever happened since: other batches, removed streams, another epoch, another opening, a rebuild."""

    async def body():
        folder = folders()
        store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0)
        epoch = await store.claim()
        made = {}
        for key, variant, between in steps:
            decision = Decision(
                appends=[Append(stream=key, events=[a_message(variant)], expected=0)],
                puts={f"of:{key}": variant},
                key=key,
            )
            outcomes = await asyncio.gather(
                store.commit(decision, epoch=epoch),
                store.commit(decision, epoch=epoch),
                return_exceptions=True,
            )
            head = await store.head()
            if key not in made:
                assert outcomes[0] == outcomes[1] and len(outcomes[0]) == 1
                made[key] = (variant, outcomes[0], True)
            elif made[key][0] != variant:
                assert [type(each) for each in outcomes] == [CallerMistaken] * 2
            else:
                kept = made[key][1] if made[key][2] else []
                assert outcomes == [kept, kept]
            assert await store.head() == head == len(made)
            if between == "d":
                await store.delete_stream(key)
                made[key] = (*made[key][:2], False)
            if between == "r":
                await store.close()
                store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=0)
                stale, epoch = epoch, await store.claim()
                with pytest.raises(StaleEpoch):
                    await store.commit(decision, epoch=stale)
                await store.rebuild()
        await store.close()

    run(body)
