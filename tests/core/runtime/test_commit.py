import asyncio
from typing import Any

import msgspec
import pytest

from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import History, Journal
from mcp_interface.clock import SystemClock
from mcp_interface.errors import StaleEpoch, VersionConflict
from mcp_interface.events import UserMessage
from mcp_interface.ids import MessageId, PrincipalId
from mcp_interface.store import Record, Snapshot
from mcp_interface.testing import START, MemoryStore


class Texts(msgspec.Struct):
    texts: list[str] = []


def apply(state: Texts, record: Record) -> None:
    if isinstance(record.event, UserMessage):
        state.texts.append(record.event.text)


def said(text: str) -> UserMessage:
    return UserMessage(
        timestamp=START, message_id=MessageId("msg_1"), author=PrincipalId("system"), text=text
    )


def history(journal: Journal, schema: str = "texts/1") -> History[Texts]:
    return History(journal, "texts", initial=Texts, apply=apply, clock=SystemClock(), schema=schema)


async def _journal(store: MemoryStore) -> Journal:
    return Journal(store, await store.claim(), Bus(store, await store.head()))


def test_replay_equals_live_state_with_and_without_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.runtime.commit.SNAPSHOT_EVERY", 7)

    async def scenario() -> None:
        store = MemoryStore()
        live = history(await _journal(store))
        for number in range(25):
            await live.commit(said(str(number)))
        snapshot = await store.load_snapshot("texts")
        assert snapshot is not None and snapshot.version == 21
        for schema in ("texts/1", "texts/2"):  # a snapshot of another shape is passed over
            replayed = history(await _journal(store), schema)
            await replayed.load()
            assert (replayed.state, replayed.version) == (live.state, 25)

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
        broken = Snapshot(stream="texts", version=2, schema="texts/1", state=b"\xc1", taken_at=START)
        await store.save_snapshot(broken)
        replayed = history(await _journal(store))
        await replayed.load()
        assert (replayed.state.texts, replayed.version) == (["a", "b"], 2)

    asyncio.run(scenario())
    assert "passed over" in caplog.text
