"""The part of the journal exam about subscriptions: what was, then what comes, no gap, no repeat."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from mcp_interface.store import PAGE, EventStore, Record, Store
from mcp_interface.testing.exams.appending import read_everything, write
from mcp_interface.testing.exams.asserting import within

LIVE: Final = 10.0
"""Seconds within which a subscriber hears of a durable record, however busy the machine is."""


async def _catches_up_then_lives(store: EventStore) -> None:
    epoch = await store.claim()
    known = await write(store, "session:a", 5, epoch)
    async with aclosing(store.subscribe(after=2)) as rest, aclosing(store.subscribe()) as whole:
        _check_same(await _take(rest, 3), known[2:])
        _check_same(await _take(whole, 5), known)
        news = asyncio.ensure_future(_take(rest, 2))
        await asyncio.sleep(0)
        written = await write(store, "session:b", 1, epoch)
        await store.delete_stream("session:a")
        written += await write(store, "session:b", 1, epoch, expected=1)
        _check_same(await news, written)
        _check_same(await _take(whole, 2), written)
    async with aclosing(store.subscribe()) as late:
        _check_same(await _take(late, 2), written)


async def _resumes(store: EventStore) -> None:
    epoch = await store.claim()
    known = await write(store, "session:a", 7, epoch)
    for cut in (0, 1, 4, 7):
        async with aclosing(store.subscribe()) as first:
            seen = await _take(first, cut)
        async with aclosing(store.subscribe(after=seen[-1].position if seen else 0)) as second:
            seen += await _take(second, len(known) - cut)
            known += await write(store, "session:a", 1, epoch, expected=len(known))
            seen += await _take(second, 1)
        _check_same(seen, known)


async def _keeps_up_with_many_writers(store: EventStore) -> None:
    epoch = await store.claim()
    total = 8 * 12

    async def work(stream: str) -> None:
        for version in range(12):
            await write(store, stream, 1, epoch, expected=version)
            await asyncio.sleep(0)

    async def follow(step: int) -> list[Record]:
        seen: list[Record] = []
        while len(seen) < total:
            async with aclosing(store.subscribe(after=seen[-1].position if seen else 0)) as records:
                seen += await _take(records, min(step, total - len(seen)))
        return seen

    followers = [asyncio.ensure_future(follow(step)) for step in (total, 1, 7)]
    await asyncio.gather(*(work(f"session:{number}") for number in range(8)))
    whole = await read_everything(store)
    for follower in followers:
        _check_same(await follower, whole)


async def _waits_for_slow_readers(store: EventStore) -> None:
    epoch = await store.claim()
    step, total = 250, 2 * PAGE + 250
    async with aclosing(store.subscribe()) as records:
        waiting = asyncio.ensure_future(_take(records, 1))
        for version in range(0, total, step):
            await write(store, "session:a", step, epoch, expected=version)
        seen = await waiting + await _take(records, total - 1)
    _check_same(seen, await read_everything(store))


async def _follows_what_matches(store: EventStore) -> None:
    epoch = await store.claim()
    for version in range(0, PAGE + 250, 250):
        await write(store, "agent:a", 250, epoch, expected=version)
    wanted = await write(store, "session:a", 1, epoch)
    async with (
        aclosing(store.subscribe(streams="session:?")) as some,
        aclosing(store.subscribe(streams="session:b")) as one,
    ):
        _check_same(await _take(some, 1), wanted)
        news = [asyncio.ensure_future(_take(some, 2)), asyncio.ensure_future(_take(one, 1))]
        for stream in ("session:ba", "sessionXa", "Session:a"):
            await write(store, stream, 1, epoch)
        new = await write(store, "session:b", 1, epoch)
        last = await write(store, "session:a", 1, epoch, expected=1)
        _check_same(await news[0], new + last)
        _check_same(await news[1], new)


async def _ends(store: EventStore) -> None:
    epoch = await store.claim()
    known = await write(store, "session:a", 2, epoch)
    left = store.subscribe()
    _check_same(await _take(left, 1), known[:1])
    await left.aclose()
    assert await within(_drain(left), "a subscription that was closed", LIVE) == [], "it gives nothing more"


PARTS: Final = (
    _catches_up_then_lives,
    _resumes,
    _keeps_up_with_many_writers,
    _waits_for_slow_readers,
    _follows_what_matches,
    _ends,
)
"""Each needs an empty store of its own."""


async def ends_with_its_store(store: Store) -> None:
    """Examine that closing a store ends whoever waits for its records."""
    epoch = await store.claim()
    known: list[Record] = []
    for version in range(0, 2 * PAGE + 250, 250):
        known += await write(store, "session:a", 250, epoch, expected=version)
    async with (
        aclosing(store.subscribe()) as one,
        aclosing(store.subscribe(after=known[-1].position)) as other,
        aclosing(store.subscribe(streams="agent:*")) as silent,
    ):
        _check_same(await _take(one, len(known)), known)
        waiting = [asyncio.ensure_future(_drain(records)) for records in (one, other, silent)]
        await asyncio.sleep(0.01)
        busy = []
        for glob in ("agent:*", "*", "session:*") * 4:
            busy.append(asyncio.ensure_future(_drain(store.subscribe(streams=glob))))
            await asyncio.sleep(0.001)
        await store.close()
        for rest in busy:
            seen = await within(rest, "a subscription whose store is closed", LIVE)
            _check_same(seen, known[: len(seen)])
        for rest in waiting:
            assert await within(rest, "a subscription of a closed store", LIVE) == [], "it gives nothing more"


async def _take(records: AsyncGenerator[Record], count: int) -> list[Record]:
    found: list[Record] = []
    while len(found) < count:
        found.append(await within(anext(records), f"waiting for record {len(found) + 1} of {count}", LIVE))
    return found


async def _drain(records: AsyncGenerator[Record]) -> list[Record]:
    return [record async for record in records]


def _check_same(seen: list[Record], expected: list[Record]) -> None:
    got, wanted = [record.position for record in seen], [record.position for record in expected]
    assert got == wanted, f"a subscription misses or repeats: {got}, expected {wanted}"
    assert seen == expected, "a subscription gives the records as they are read"
