"""The part of the journal exam about idempotency keys: what was done once is not done again."""

import asyncio
from typing import Final

from mcp_interface.errors import CallerMistaken, StaleEpoch, VersionConflict
from mcp_interface.store import EventStore
from mcp_interface.testing.exams.appending import check_numbers, messages, read_everything, write
from mcp_interface.testing.exams.asserting import refuses

KEY: Final = "order 7"


async def _repeats_the_answer(store: EventStore) -> None:
    epoch = await store.claim()
    first = await write(store, "session:a", 2, epoch, key=KEY)
    check_numbers(first, "session:a", 1)
    between = await write(store, "session:b", 1, epoch)
    for expected in (0, 1, 2, 9):
        again = await store.append("session:a", messages(2), expected=expected, epoch=epoch, key=KEY)
        assert again == first, f"a known key gives the records of the first time, gave {again}"
    assert await read_everything(store) == first + between, "a known key writes nothing"
    assert await store.head() == between[-1].position, "a known key takes no position"
    for key in (None, "order 8"):
        same = await store.append(
            "session:b", messages(1), expected=await _version(store), epoch=epoch, key=key
        )
        assert same[0].position > between[-1].position, "equal events without the key are written"


async def _version(store: EventStore) -> int:
    return (await store.stream_info("session:b")).version


async def _refuses_other_events(store: EventStore) -> None:
    epoch = await store.claim()
    first = await write(store, "session:a", 2, epoch, key=KEY)
    for stream, events, what in (
        ("session:a", messages(2, 2), "other events"),
        ("session:a", messages(1), "fewer events"),
        ("session:a", messages(3), "more events"),
        ("session:b", messages(2), "another stream"),
    ):
        for expected in (0, 2):
            with refuses(CallerMistaken, what=f"a used key with {what}"):
                await store.append(stream, events, expected=expected, epoch=epoch, key=KEY)
    assert await read_everything(store) == first, "a refused key leaves no trace"


async def _refuses_bad_keys(store: EventStore) -> None:
    epoch = await store.claim()
    for key in ("", "x" * 201, "a\n", "a\x00b"):
        with refuses(CallerMistaken, what=f"the idempotency key {key[:20]!r}"):
            await write(store, "session:a", 1, epoch, key=key)
    assert await store.head() == 0, "a refused append takes no position"
    longest = "ü" * 200
    first = await write(store, "session:a", 1, epoch, key=longest)
    assert await write(store, "session:a", 1, epoch, key=longest) == first, "200 characters are a key"


async def _looks_at_the_epoch_first(store: EventStore) -> None:
    old = await store.claim()
    first = await write(store, "session:a", 1, old, key=KEY)
    new = await store.claim()
    for key in (KEY, "order 8"):
        with refuses(StaleEpoch, what="a key with a stale epoch"):
            await write(store, "session:a", 1, old, key=key)
    with refuses(StaleEpoch, what="a used key with a stale epoch and other events"):
        await write(store, "session:a", 2, old, key=KEY)
    assert await write(store, "session:a", 1, new, key=KEY) == first, "a key is known to the next writer too"
    check_numbers(await write(store, "session:a", 1, new, expected=1, key="order 8"), "session:a", 2)


async def _takes_no_key_in_vain(store: EventStore) -> None:
    epoch = await store.claim()
    with refuses(VersionConflict, what="a new key at a wrong version"):
        await write(store, "session:a", 1, epoch, expected=3, key=KEY)
    records = await write(store, "session:b", 1, epoch, key=KEY)
    check_numbers(records, "session:b", 1)
    assert await read_everything(store) == records, "a refused append leaves its key free"


async def _writes_once_for_many(store: EventStore) -> None:
    epoch = await store.claim()
    tries = [write(store, "session:a", 2, epoch, key=KEY) for _ in range(16)]
    others = [write(store, f"session:{number}", 1, epoch, key=f"order {number}") for number in range(20, 36)]
    outcomes = await asyncio.gather(*tries, *others)
    check_numbers(outcomes[0], "session:a", 1)
    assert all(outcome == outcomes[0] for outcome in outcomes[:16]), "equal keys get equal answers at once"
    assert await store.read("session:a") == outcomes[0], "of equal appends with one key one is written"


PARTS: Final = (
    _repeats_the_answer,
    _refuses_other_events,
    _refuses_bad_keys,
    _looks_at_the_epoch_first,
    _takes_no_key_in_vain,
    _writes_once_for_many,
)
"""Each needs an empty store of its own."""
