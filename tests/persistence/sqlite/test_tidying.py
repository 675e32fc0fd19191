"""What is put off while writers wait is done soon after, and a write-ahead log does not grow without end."""

import asyncio

import pytest

from mcp_interface.testing.samples import a_message
from persistence.meddling import ask, fill

NOT_INDEXED = "SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM places)"


@pytest.fixture
def eager(monkeypatch):
    monkeypatch.setattr("mcp_persistence.sqlite.tidying.PAUSE", 0.01)
    monkeypatch.setattr("mcp_persistence.sqlite.tidying.EVENTS", 10)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_events_are_indexed_a_moment_after_they_came(opened, path, eager):
    async def body():
        async with opened(hot_bytes=0) as store:
            for streams in (3, 5):
                for name in range(streams):
                    await store.delete_stream(f"session:{name}")
                await fill(store, streams)
                await until(lambda: ask(path, NOT_INDEXED) == 0)
            assert len(await store.read("session:4")) == 10
            assert await store.verify() == 50

    asyncio.run(body())


def test_the_log_begins_again_at_its_start(opened, path, eager):
    log = path.with_name("journal.db-wal")

    async def body():
        async with opened() as store:
            epoch = await store.claim()
            sizes = []
            for round_ in range(40):
                events = [a_message(number, "x" * 5_000) for number in range(20)]
                await store.append("s", events, expected=20 * round_, epoch=epoch)
                await until(lambda: not store._medium._tidying._tasks)
                sizes.append(log.stat().st_size)
            assert sizes[-1] < 1_000_000 < 40 * 20 * 5_000
            assert await store.verify() == 800
        async with opened() as store:
            assert await store.verify() == 800

    asyncio.run(body())


def test_what_could_not_be_tidied_harms_nothing(opened, path, eager, monkeypatch, caplog):
    from mcp_interface.errors import StorageUnavailable
    from mcp_persistence.sqlite import tidying

    def refuse(db):
        raise StorageUnavailable("no room")

    async def body():
        monkeypatch.setattr(tidying, "_checkpoint", refuse)
        async with opened() as store:
            await fill(store)
            await until(lambda: "no room" in caplog.text)
            assert (await store.report()).state == "writable"
            assert await store.verify() == 30

    asyncio.run(body())
