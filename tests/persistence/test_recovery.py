"""Recovery against a plain replay: the same states, however many snapshots there are and whatever is damaged."""

import asyncio
import logging
import sqlite3

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.errors import InvalidRecord, NotFound, StorageCorrupt
from mcp_interface.store import Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.recovery import Family, Found, Recovery, recover


class Sum(msgspec.Struct):
    """A state that depends on every event and on their order."""

    texts: list[str]


def apply(state, record):
    if record.event.text == "poison":
        raise InvalidRecord("malformed", "this event cannot be applied")
    state.texts.append(record.event.text)


def restore(snapshot):
    if snapshot.schema != "sum/1":
        return None
    if snapshot.state == b"bad":
        raise InvalidRecord("malformed", "this state is none")
    return Sum(decode_disk(snapshot.state, list[str]))


def family(streams="s:*", back=None, **changes):
    def done(stream, state, version):
        assert stream not in back, "told twice"
        back[stream] = (state.texts, version)

    back = {} if back is None else back
    made = Family(streams=streams, initial=lambda stream: Sum([]), restore=restore, apply=apply, done=done)
    return msgspec.structs.replace(made, **changes)


def snapshot_of(records, version, **changes):
    position = records[version - 1].position if version else 0
    state = encode_disk([record.event.text for record in records[:version]])
    made = Snapshot(
        stream=records[0].stream,
        version=version,
        schema="sum/1",
        state=state,
        taken_at=START,
        position=position,
    )
    return msgspec.structs.replace(made, **changes)


async def replayed(store, pattern="s:*"):
    """What every state is, by reading each stream from its beginning."""
    states = {}
    after = ""
    while infos := await store.streams(pattern, after=after):
        for info in infos:
            texts = []
            while page := await store.read(info.stream, after=len(texts)):
                texts += [record.event.text for record in page]
            if "poison" not in texts:
                states[info.stream] = (texts, info.version)
        after = infos[-1].stream
    return states


async def filled(folder, lengths, hot_bytes=0):
    store = await SegmentJournal.open(folder, ManualClock(), hot_bytes=hot_bytes)
    epoch = await store.claim()
    written = await asyncio.gather(
        *(
            store.append(
                f"s:{number:04}",
                [a_message(version, f"{number}.{version}") for version in range(length)],
                expected=0,
                epoch=epoch,
            )
            for number, length in enumerate(lengths)
            if length
        )
    )
    return store, epoch, {records[0].stream: records for records in written}


def run(body):
    async def bounded():
        async with asyncio.timeout(120):
            await body()

    asyncio.run(bounded())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("recovery") / "j"


STREAM = st.tuples(
    st.integers(1, 6),  # events
    st.integers(0, 6),  # version of its snapshot
    st.sampled_from(["", "", "bad", "schema", "no position"]),  # what is odd about that
    st.sampled_from(["", "", "", "deleted", "reborn", "poisoned", "longer"]),  # what came after it
)


@given(st.lists(STREAM, max_size=14), st.integers(0, 5), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_recovered_is_what_a_replay_gives(folders, streams, worth, far):
    async def body():
        store, epoch, written = await filled(folders(), [length for length, *_ in streams])
        poisoned = set()
        for number, (length, at, odd, later) in enumerate(streams):
            name = f"s:{number:04}"
            if at := min(at, length):
                changes = {
                    "bad": {"state": b"bad"},
                    "schema": {"schema": "sum/9"},
                    "no position": {"position": 0},
                }
                await store.save_snapshot(snapshot_of(written[name], at, **changes.get(odd, {})))
            if later in ("deleted", "reborn"):
                await store.delete_stream(name)
            if later == "reborn":
                fresh = [a_message(version, f"again {version}") for version in range(length)]
                await store.append(name, fresh, expected=0, epoch=epoch)
            if later == "longer":
                await store.append(name, [a_message(9, "later")] * 2, expected=length, epoch=epoch)
            if later == "poisoned":
                await store.append(name, [a_message(9, "poison"), a_message(9)], expected=length, epoch=epoch)
                poisoned.add(name)
        back, told = {}, []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mcp_persistence.recovery.WORTH_A_PASS", worth)
            patch.setattr("mcp_persistence.recovery.FAR", far)
            found = await recover(store, [family(back=back)], told.append)
        assert back == await replayed(store)
        assert set(found.failed) == poisoned
        assert found.streams == len(back)
        assert [each.streams for each in told] == sorted(each.streams for each in told)
        assert [each.events for each in told] == sorted(each.events for each in told)
        assert told[-1].streams == len(back) <= told[-1].of == len(back) + len(poisoned)
        assert told[-1].events == found.events
        for name, state in back.items():
            one, version = await Recovery(store, family(), Found(), told.append).one(name)
            assert (one.texts, version) == state
        await store.close()

    run(body)


def test_a_thousand_streams_come_back_with_and_without_their_snapshots(tmp_path):
    async def body():
        store, epoch, written = await filled(tmp_path / "j", [4] * 1000)
        expected = await replayed(store)
        for kept in (0, 500, 1000):
            for name in list(written)[:kept]:
                await store.save_snapshot(snapshot_of(written[name], 4))
            back = {}
            found = await recover(store, [family(back=back)])
            assert back == expected
            assert (found.streams, found.from_snapshots, found.events) == (1000, kept, 4 * (1000 - kept))
            assert "1,000 states back" in found.line()
        await store.append("s:0000", [a_message(5, "last")], expected=4, epoch=epoch)
        back = {}
        found = await recover(store, [family(back=back)])
        assert (found.events, back["s:0000"][1]) == (1, 5)
        await store.close()

    run(body)


def test_an_apply_that_fails_once_is_not_tried_on_the_same_state_again(tmp_path, monkeypatch, caplog):
    """It may have changed half of the state: a second attempt could pass, and be wrong in silence."""
    monkeypatch.setattr("mcp_persistence.recovery.WORTH_A_PASS", 2)
    caplog.set_level(logging.CRITICAL)

    async def body():
        store, _, _ = await filled(tmp_path / "j", [3] * 6)
        back, failed = {}, set()

        def fails_once(state, record):
            apply(state, record)
            if record.stream == "s:0003" and record.version == 2 and not failed:
                failed.add(record.stream)
                raise InvalidRecord("malformed", "half applied")

        found = await recover(store, [family(back=back, apply=fails_once)])
        assert set(found.failed) == failed == {"s:0003"}
        assert set(back) == {f"s:{number:04}" for number in range(6)} - failed
        assert found.streams == 5
        await store.close()

    run(body)


def test_one_event_that_cannot_be_read_costs_its_own_stream_only(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.recovery.WORTH_A_PASS", 2)

    class Unreadable:
        """The store, but for one stream, whose events are of another version."""

        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            return getattr(self._store, name)

        async def read(self, stream, **options):
            if stream == "s:0002":
                raise StorageCorrupt("an event of a newer version")
            return await self._store.read(stream, **options)

        async def read_all(self, **options):
            raise StorageCorrupt("an event of a newer version")

    async def body():
        store, _, _ = await filled(tmp_path / "j", [3] * 6)
        expected = await replayed(store)
        back = {}
        found = await recover(Unreadable(store), [family(back=back)])
        assert set(found.failed) == {"s:0002"}
        assert back == {name: state for name, state in expected.items() if name != "s:0002"}
        await store.close()

    run(body)


def test_more_damaged_snapshots_than_a_page_holds_do_not_hide_the_sound_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.names.PAGE", 10)

    async def body():
        store, _, written = await filled(tmp_path / "j", [2] * 40)
        for name in written:
            await store.save_snapshot(snapshot_of(written[name], 2))
        await store.close()
        with sqlite3.connect(tmp_path / "j" / "snapshots.db") as db:
            assert db.execute("UPDATE snapshots SET body = x'00' WHERE stream < 's:0025'").rowcount == 25
        db.close()
        store = await SegmentJournal.open(tmp_path / "j", ManualClock(), hot_bytes=0)
        expected = await replayed(store)
        back = {}
        found = await recover(store, [family(back=back)])
        assert (back, found.from_snapshots) == (expected, 15)
        await store.close()

    run(body)


def test_families_come_one_after_the_other_and_one_state_comes_alone(tmp_path):
    async def body():
        store, _, _ = await filled(tmp_path / "j", [2] * 5)
        order, told = [], []
        families = [
            family(glob, done=lambda stream, state, version: order.append(stream))
            for glob in ("s:*3", "s:*[14]")
        ]
        await recover(store, families, told.append)
        assert order[0] == "s:0003" and sorted(order[1:]) == ["s:0001", "s:0004"]
        assert [each.family for each in told] == sorted((each.family for each in told), reverse=True) or told
        with pytest.raises(NotFound):
            await Recovery(store, families[0], Found(), told.append).one("s:unknown")
        await store.close()

    run(body)
