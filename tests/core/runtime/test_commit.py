import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import USUAL, History, Journal
from mcp_interface.codec import decode_disk, encode_disk, fingerprint
from mcp_interface.errors import StaleEpoch, StorageUnavailable, VersionConflict
from mcp_interface.events import UserMessage
from mcp_interface.ids import MessageId, PrincipalId, TraceId
from mcp_interface.store import Record, Snapshot, SnapshotPolicy
from mcp_interface.testing import START, ManualClock, MemoryStore, check_journal


class Texts(msgspec.Struct):
    texts: list[str] = []


def apply(state: Texts, record: Record) -> None:
    if isinstance(record.event, UserMessage):
        state.texts.append(record.event.text)


def said(text: str) -> UserMessage:
    return UserMessage(
        timestamp=START, message_id=MessageId("msg_1"), author=PrincipalId("system"), text=text
    )


def history(
    journal: Journal,
    schema: str = "texts/1",
    *,
    initial: Any = Texts,
    clock: ManualClock | None = None,
    policy: SnapshotPolicy = USUAL,
) -> History[Any]:
    return History(
        journal,
        "texts",
        initial=initial,
        apply=apply,
        clock=clock or ManualClock(),
        schema=schema,
        policy=policy,
    )


async def _journal(store: MemoryStore) -> Journal:
    return Journal(store, await store.claim(), Bus(store, await store.head()))


def test_replay_equals_live_state_with_and_without_snapshots() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        live = history(await _journal(store), policy=SnapshotPolicy(events=7))
        for number in range(25):
            await live.commit(said(str(number)))
        snapshot = await store.load_snapshot("texts")
        assert snapshot is not None and snapshot.version == 21
        assert (snapshot.schema, snapshot.fingerprint) == ("texts/1", fingerprint(Texts))
        for schema in ("texts/1", "texts/2"):  # a snapshot of another version is passed over
            replayed = history(await _journal(store), schema)
            await replayed.load()
            assert (replayed.state, replayed.version) == (live.state, 25)

    asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 100)), max_size=15),
    st.integers(1, 8),
    st.integers(1, 200),
)
def test_a_snapshot_is_taken_exactly_when_the_policy_says_so(
    steps: list[tuple[int, int]], events: int, seconds: int
) -> None:
    async def scenario() -> None:
        store, clock = MemoryStore(), ManualClock()
        policy = SnapshotPolicy(events=events, seconds=seconds)
        live = history(await _journal(store), clock=clock, policy=policy)
        kept, kept_at = 0, 0.0
        for count, pause in steps:
            clock.advance(pause)
            await live.commit(*(said("x") for _ in range(count)))
            if live.version - kept >= events or clock.monotonic() - kept_at >= seconds:
                kept, kept_at = live.version, clock.monotonic()
            snapshot = await store.load_snapshot("texts")
            assert (0 if snapshot is None else snapshot.version) == kept
            if snapshot is not None:
                assert snapshot.taken_at <= clock.now()

    asyncio.run(scenario())


def test_a_wall_clock_set_anew_brings_no_snapshot_about() -> None:
    async def scenario() -> None:
        store, clock = MemoryStore(), ManualClock()
        live = history(await _journal(store), clock=clock, policy=SnapshotPolicy(seconds=60))
        clock.now = lambda: START + timedelta(days=365)  # type: ignore[method-assign]
        await live.commit(said("a"))
        assert await store.load_snapshot("texts") is None
        clock.advance(60)
        await live.commit(said("b"))
        assert await store.load_snapshot("texts") is not None

    asyncio.run(scenario())


class Counted(msgspec.Struct):
    """As `Texts`, by a version that counts besides; it reads the older state, but as zero."""

    texts: list[str] = []
    count: int = 0


def test_a_state_that_got_a_field_is_replayed_although_the_older_snapshot_could_be_read() -> None:
    def count(state: Counted, record: Record) -> None:
        state.count += 1

    async def scenario() -> None:
        store = MemoryStore()
        old = history(await _journal(store), policy=SnapshotPolicy(events=1))
        await old.commit(said("a"), said("b"))
        snapshot = await store.load_snapshot("texts")
        assert snapshot is not None and decode_disk(snapshot.state, Counted).count == 0
        new: History[Counted] = History(
            await _journal(store),
            "texts",
            initial=Counted,
            apply=count,
            clock=ManualClock(),
            schema="texts/1",
            policy=SnapshotPolicy(events=1),
        )
        await new.load()
        assert (new.state.count, new.version) == (2, 2)
        await new.commit(said("c"))
        snapshot = await store.load_snapshot("texts")
        assert snapshot is not None and snapshot.fingerprint == fingerprint(Counted)

    asyncio.run(scenario())


def test_a_snapshot_without_a_stamp_is_passed_over() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await history(await _journal(store)).commit(said("a"))
        unstamped = Snapshot(
            stream="texts",
            version=1,
            schema="texts/1",
            state=encode_disk(Texts(["invented"])),
            taken_at=START,
        )
        stamped = msgspec.structs.replace(unstamped, fingerprint=fingerprint(Texts))
        for snapshot, texts in ((unstamped, ["a"]), (stamped, ["invented"])):
            await store.save_snapshot(snapshot)
            replayed = history(await _journal(store))
            await replayed.load()
            assert (replayed.state.texts, replayed.version) == (texts, 1)

    asyncio.run(scenario())


def test_a_snapshot_that_cannot_be_kept_stops_nothing_and_is_tried_again_later() -> None:
    class Refusing(MemoryStore):
        asked: list[int] = []

        async def save_snapshot(self, snapshot: Snapshot) -> None:
            self.asked.append(snapshot.version)
            raise StorageUnavailable("no room")

    async def scenario() -> None:
        store = Refusing()
        live = history(await _journal(store), policy=SnapshotPolicy(events=3))
        for number in range(7):
            await live.commit(said(str(number)))
        assert (live.version, store.asked) == (7, [3, 6])

    asyncio.run(scenario())


def test_the_journal_is_an_event_store_that_passes_the_exam() -> None:
    @asynccontextmanager
    async def over_memory() -> AsyncIterator[Journal]:
        yield await _journal(MemoryStore())

    asyncio.run(check_journal(over_memory))


def test_what_the_store_takes_with_an_append_passes_through_the_journal() -> None:
    async def scenario() -> None:
        journal = await _journal(MemoryStore())
        heard: list[Record] = []
        journal.bus.listen(heard.append)
        ids = {"trace_id": TraceId("trace_1"), "causation_id": "msg_1", "correlation_id": "turn_1"}
        for _ in range(2):  # the second time it is the same decision
            (record,) = await journal.append(
                "texts",
                [said("a")],
                expected=0,
                epoch=journal.epoch,
                key="once",
                **ids,  # type: ignore[arg-type]
            )
            assert (record.version, record.trace_id) == (1, "trace_1")
            assert (record.causation_id, record.correlation_id) == ("msg_1", "turn_1")
        assert heard == [record]
        following = journal.subscribe(after=0, streams="texts")
        assert await anext(following) == record
        await following.aclose()

    asyncio.run(scenario())


def test_a_lost_race_leaves_the_state_as_the_winner_made_it() -> None:
    async def scenario() -> None:
        journal = await _journal(MemoryStore())
        first, second = history(journal), history(journal)
        await first.commit(said("first"))
        with pytest.raises(VersionConflict):
            await second.commit(said("second"))
        assert second.state.texts == ["first"]
        await second.commit(said("second"))
        assert second.state.texts == ["first", "second"]

    asyncio.run(scenario())


def test_a_writer_that_was_taken_over_is_refused() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        old, new = await _journal(store), None
        new = await _journal(store)
        with pytest.raises(StaleEpoch):
            await history(old).commit(said("from the past"))
        await history(new).commit(said("from the present"))

    asyncio.run(scenario())


def test_what_is_committed_is_published() -> None:
    async def scenario() -> None:
        journal = await _journal(MemoryStore())
        heard: list[Any] = []
        journal.bus.listen(heard.append)
        await history(journal).commit(said("a"), said("b"))
        assert [record.position for record in heard] == [1, 2]

    asyncio.run(scenario())


def test_a_snapshot_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await history(await _journal(store)).commit(said("a"), said("b"))
        broken = Snapshot(
            stream="texts",
            version=2,
            schema="texts/1",
            state=b"\xc1",
            taken_at=START,
            fingerprint=fingerprint(Texts),
        )
        await store.save_snapshot(broken)
        replayed = history(await _journal(store))
        await replayed.load()
        assert (replayed.state.texts, replayed.version) == (["a", "b"], 2)

    asyncio.run(scenario())
    assert "passed over" in caplog.text
