"""What is changed behind the back of a journal is found, whether it is indexed yet or not; the index can be made anew."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from mcp_interface.errors import (
    StorageCorrupt,
)
from mcp_interface.store import Decision, Snapshot
from mcp_interface.testing import START
from mcp_interface.testing.samples import a_message
from mcp_persistence import MemoryStore
from persistence.meddling import ask, change, fill


@asynccontextmanager
async def opened_reference():
    store = MemoryStore()
    yield store
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = body || x'00' WHERE position = 17",
        "UPDATE events SET stream = 'session:x' WHERE position = 17",
        "UPDATE events SET epoch = 9 WHERE position = 17",
        "UPDATE events SET digest = zeroblob(32) WHERE position = 17",
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_changed_event_is_named_by_its_position(opened, path, statement, indexed):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store)
            if indexed:
                await store.rebuild()
            change(path, statement)
            for look in (
                store.verify,
                store.read_all,
                lambda: store.read_all(streams="sess*", after=15),
            ):
                with pytest.raises(StorageCorrupt, match="position 17") as caught:
                    await look()
                assert caught.value.details["position"] == 17
            with pytest.raises(StorageCorrupt):
                await store.read("session:1")
            assert len(await store.read("session:0")) == 10

    asyncio.run(body())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE position = 17",
        "DELETE FROM events WHERE position = 20",
        "DELETE FROM events WHERE position = 30",
        "DELETE FROM events WHERE stream = 'session:1'",
        "DELETE FROM streams WHERE stream = 'session:1'",
        "UPDATE streams SET version = 9 WHERE stream = 'session:1'",
        "UPDATE events SET chain = zeroblob(32) WHERE position = 17",
        "UPDATE meta SET head = 29",
        "INSERT INTO events SELECT 31, 'session:z', 1, epoch, trace, body, digest, chain, NULL, NULL FROM events"
        " LIMIT 1",
        "UPDATE events SET causation = 'another' WHERE position = 17",
        "DELETE FROM places WHERE stream = 'session:1' AND version = 4",
        "UPDATE places SET position = 16 WHERE stream = 'session:1' AND version = 7",
        "INSERT INTO places VALUES ('session:z', 1, 3)",
        "UPDATE meta SET indexed = 3",
        "DELETE FROM made",
        "UPDATE made SET before = 0",
        "UPDATE made SET key = 'another'",
        "DELETE FROM keys",
        "UPDATE keys SET value = 'false'",
        "DELETE FROM erased WHERE position = 32",
    ],
)
def test_what_is_removed_changed_or_added_behind_the_back_is_found(opened, path, statement):
    async def body():
        async with opened() as store:
            epoch = await fill(store)
            await store.put("key", True)
            await store.commit(Decision(puts={"key": True}, key="once"), epoch=epoch)
            for _ in range(3):
                await store.append("gone", [a_message(1)], expected=0, epoch=epoch)
                await store.delete_stream("gone")
            assert await store.verify() == 30
            if "31" in statement:
                change(path, "DELETE FROM erased WHERE position = 31")
            change(path, statement)
            with pytest.raises(StorageCorrupt):
                await store.verify()

    asyncio.run(body())


@pytest.mark.parametrize("indexed", [True, False])
def test_a_missing_event_is_missed_by_readers_too(opened, path, indexed):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store)
            if indexed:
                await store.rebuild()
            change(path, "DELETE FROM events WHERE position = 17")
            for look in (
                lambda: store.read("session:1"),
                lambda: store.read("session:1", after=6, limit=1),
                lambda: store.read_all(limit=20),
                lambda: store.read_all(streams="session:1"),
                lambda: store.read_all(streams="*:0"),
            ):
                with pytest.raises(StorageCorrupt):
                    await look()

    asyncio.run(body())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE position = 30",
        "UPDATE events SET stream = 'session:x' WHERE position = 30",
        "UPDATE events SET version = 11 WHERE position = 30",
    ],
)
def test_the_last_event_of_a_stream_cannot_be_hidden_before_it_is_indexed(opened, path, statement):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store)
            change(path, statement)
            for look in (
                lambda: store.read("session:2"),
                lambda: store.read("session:2", after=9),
                lambda: store.read_all(streams="session:2"),
                lambda: store.stream_info("session:2"),
            ):
                with pytest.raises(StorageCorrupt):
                    await look()

    asyncio.run(body())


def test_the_index_lags_behind_and_nobody_can_tell(opened, path, monkeypatch):
    monkeypatch.setattr("mcp_persistence.sqlite.ledger.LAG", 7)

    async def body():
        async with opened(hot_bytes=0) as store, opened_reference() as reference:
            epochs = [await each.claim() for each in (store, reference)]
            lags = set()
            for round_ in range(12):
                for name in range(4):
                    for each, epoch in zip((store, reference), epochs, strict=True):
                        events = [a_message(number) for number in range(1 + name % 2)]
                        expected = round_ * len(events)
                        await each.append(f"s:{name}", events, expected=expected, epoch=epoch)
                lags.add(ask(path, "SELECT (SELECT max(position) FROM events) - count(*) FROM places"))
                for after in (0, 3, round_, 2 * round_):
                    for question in (
                        lambda each, after=after: each.read("s:1", after=after, limit=5),
                        lambda each, after=after: each.read_all(after=4 * after, limit=9),
                        lambda each, after=after: each.read_all(after=after, streams="s:3"),
                        lambda each, after=after: each.read_all(after=after, streams="s:[13]", limit=7),
                        lambda each: each.streams("s:*", after="s:0", limit=2),
                        lambda each: each.stream_info("s:2"),
                    ):
                        assert await question(store) == await question(reference)
            assert max(lags) > 0
            assert min(lags) == 0
            assert (await store.report()).streams == 4
            assert await store.verify() == 72

    asyncio.run(body())


def test_a_damaged_index_is_made_anew_from_the_events(opened, path):
    async def body():
        async with opened(hot_bytes=0) as store:
            await fill(store)
            saved = Snapshot(stream="session:1", version=4, schema="1", state=b"x", taken_at=START)
            await store.save_snapshot(saved)
            before = await store.streams(), await store.read("session:1")
            change(path, "DELETE FROM streams WHERE stream = 'session:0'")
            change(path, "UPDATE places SET position = position + 1")
            with pytest.raises(StorageCorrupt, match="rebuild"):
                await store.verify()
            await store.rebuild()
            assert (await store.streams(), await store.read("session:1")) == before
            assert await store.verify() == 30
            change(path, "UPDATE streams SET version = 3, digest = zeroblob(32) WHERE stream = 'session:0'")
        async with opened(hot_bytes=0) as store:  # what is derived keeps no journal from opening
            assert "made anew" in (await store.report()).found
            assert (await store.streams(), await store.read("session:1")) == before
            assert await store.verify() == 30

    asyncio.run(body())
