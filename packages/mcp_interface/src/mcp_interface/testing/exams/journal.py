"""The exam of an `EventStore`: order, atomicity, fencing, bounds; what is acknowledged stays.

Its parts about idempotency keys, subscriptions, cancelling and back-pressure have modules of their own.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeVar

from mcp_interface.errors import CallerMistaken, NotFound, StaleEpoch, VersionConflict
from mcp_interface.events import SessionCreated
from mcp_interface.ids import TraceId, new_id
from mcp_interface.store import NEW_STREAM, PAGE, EventStore, Record
from mcp_interface.testing.exams import cancelling, repeating, subscribing
from mcp_interface.testing.exams.appending import check_numbers, write
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.exams.crowding import bounds_its_queue
from mcp_interface.testing.samples import a_beginning, a_message
from mcp_interface.testing.time import SeededEntropy

J = TypeVar("J", bound=EventStore)


async def check_journal(
    maker: Callable[[], AbstractAsyncContextManager[J]],
    *,
    reopen: Callable[[J], AbstractAsyncContextManager[J]] | None = None,
    waiting: int | None = None,
) -> None:
    """Examine an event store.

    Args:
        maker: Opens a store over a fresh, empty medium and closes it.
        reopen: Closes the given store and opens its medium again. Declares that the store outlives its
            process; None leaves that unexamined.
        waiting: How many writes may wait at once; more are refused with `TooMuch`. None leaves that unexamined.

    Raises:
        AssertionError: Names the broken promise.
    """
    for part in (
        _appends_in_order,
        _reads_in_pages,
        _reads_across_appends,
        _refuses_wrong_versions,
        _refuses_bad_appends,
        _keeps_batches_whole,
        _fences_old_writers,
        _lets_one_of_many_win,
        _shows_positions_in_order,
        _filters_by_glob,
        _keeps_what_was_written,
        _keeps_what_led_to_it,
        _describes_streams,
        _deletes_streams,
        *repeating.PARTS,
        *subscribing.PARTS,
        *cancelling.PARTS,
    ):
        async with maker() as store:
            await within(part(store), f"check_journal.{part.__name__.strip('_')}")
    if waiting is not None:
        async with maker() as store:
            await within(bounds_its_queue(store, waiting), "check_journal.bounds_its_queue")
    if reopen is not None:
        async with maker() as store:
            await within(_outlives_its_process(store, reopen), "check_journal.outlives_its_process")


async def _appends_in_order(store: EventStore) -> None:
    assert await store.head() == 0, "an empty store has head zero"
    assert await store.read("session:a") == [], "an unknown stream is empty"
    assert await store.read_all() == [], "an empty store has no records"
    epoch = await store.claim()
    trace = TraceId(new_id("trace", SeededEntropy()))
    first = await store.append("session:a", [a_message(1)], expected=NEW_STREAM, epoch=epoch, trace_id=trace)
    assert [record.position for record in first] == [1], "positions count from one"
    assert first[0].trace_id == trace, "the trace id is kept"
    assert first[0].epoch == epoch, "a record knows the epoch of its writer"
    more = await write(store, "session:a", 3, epoch, expected=1)
    check_numbers(first + more, "session:a", 1)
    assert more[0].trace_id is None, "no trace id means none"
    assert await store.read("session:a") == first + more, "append returns what is stored"
    assert await store.head() == more[-1].position, "the head is the last position"


async def _reads_in_pages(store: EventStore) -> None:
    epoch = await store.claim()
    await write(store, "session:a", PAGE + 5, epoch)
    whole = await store.read("session:a", limit=PAGE * 5)
    assert len(whole) == PAGE, f"one read gives at most {PAGE}, gave {len(whole)}"
    assert len(await store.read_all(limit=PAGE * 5)) == PAGE, f"read_all gives at most {PAGE}"
    rest = await store.read("session:a", after=PAGE)
    check_numbers(whole + rest, "session:a", 1)
    assert len(rest) == 5, f"5 records are behind {PAGE}, got {len(rest)}"
    assert await store.read("session:a", after=PAGE + 5) == [], "nothing is behind the end"
    assert await store.read("session:a", after=10**9) == [], "nothing is far behind the end"
    assert [record.version for record in await store.read("session:a", after=2, limit=2)] == [3, 4]
    assert await store.read("session:a", limit=0) == [], "limit zero gives nothing"
    assert await store.read_all(limit=0) == [], "limit zero gives nothing"
    paged: list[Record] = []
    while page := await store.read_all(after=paged[-1].position if paged else 0, limit=400):
        paged += page
    check_numbers(paged, "session:a", 1)
    assert len(paged) == PAGE + 5, f"pages add up to {PAGE + 5}, got {len(paged)}"


async def _reads_across_appends(store: EventStore) -> None:
    epoch = await store.claim()
    whole: list[Record] = []
    for count in (1, 3, 1, 9, 2):
        whole += await write(store, "session:a", count, epoch, expected=len(whole))
    for after in range(len(whole) + 1):
        for limit in range(1, 6):
            expected = whole[after : after + limit]
            for found in (
                await store.read("session:a", after=after, limit=limit),
                await store.read_all(after=after, limit=limit),
                await store.read_all(after=after, limit=limit, streams="session:a"),
            ):
                got = [record.version for record in found]
                assert found == expected, f"behind {after}, {limit} at most: {got}, of {len(whole)}"


async def _refuses_wrong_versions(store: EventStore) -> None:
    epoch = await store.claim()
    for expected in (1, 7):
        with refuses(VersionConflict, what="expecting an unknown stream to exist") as caught:
            await write(store, "session:a", 1, epoch, expected=expected)
        assert caught.error.details.get("actual") == 0, "details['actual'] says where the stream is"
    await write(store, "session:a", 2, epoch)
    for expected in (0, 1, 3):
        with refuses(VersionConflict, what=f"expecting {expected} of a stream at 2") as caught:
            await write(store, "session:a", 1, epoch, expected=expected)
        assert caught.error.details.get("actual") == 2, "details['actual'] says where the stream is"
    assert len(await store.read("session:a")) == 2, "a refused append leaves no trace"
    check_numbers(await write(store, "session:a", 1, epoch, expected=2), "session:a", 3)


async def _refuses_bad_appends(store: EventStore) -> None:
    epoch = await store.claim()
    with refuses(CallerMistaken, what="appending no events"):
        await store.append("session:a", [], expected=0, epoch=epoch)
    for name in ("", "x" * 201, "session:\n", "a\x00b", "a\x7f"):
        with refuses(CallerMistaken, what=f"the stream name {name[:20]!r}"):
            await write(store, name, 1, epoch)
    assert await store.head() == 0, "a refused append takes no position"
    longest = "x" * 200
    check_numbers(await write(store, longest, 1, epoch), longest, 1)


async def _keeps_batches_whole(store: EventStore) -> None:
    epoch = await store.claim()
    await write(store, "session:a", 1, epoch)
    broken = a_beginning({"cannot be stored": object()})
    try:
        await store.append("session:a", [a_message(2), broken, a_message(3)], expected=1, epoch=epoch)
    except Exception:
        assert len(await store.read("session:a")) == 1, "a failed batch leaves nothing behind"
        assert len(await store.read_all()) == 1, "a failed batch leaves nothing behind"
    else:
        raise AssertionError("an event that cannot be encoded was accepted")
    check_numbers(await write(store, "session:a", 2, epoch, expected=1), "session:a", 2)


async def _fences_old_writers(store: EventStore) -> None:
    old = await store.claim()
    await write(store, "session:a", 1, old)
    new = await store.claim()
    assert new > old, f"epochs rise, {new} followed {old}"
    for stream, expected in (("session:a", 1), ("session:new", 0)):
        with refuses(StaleEpoch, what="writing with an old epoch"):
            await write(store, stream, 1, old, expected=expected)
    assert len(await store.read_all()) == 1, "a fenced writer leaves no trace"
    records = await write(store, "session:a", 1, new, expected=1)
    assert [record.epoch for record in records] == [new], "a record knows the epoch of its writer"
    assert (await store.read("session:a"))[0].epoch == old, "older records keep their epoch"


async def _lets_one_of_many_win(store: EventStore) -> None:
    epoch = await store.claim()
    tries = [store.append("session:a", [a_message(1)], expected=0, epoch=epoch) for _ in range(16)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    lost = [outcome for outcome in outcomes if isinstance(outcome, VersionConflict)]
    won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert (len(won), len(lost)) == (1, 15), f"one of 16 equal appends wins: {outcomes}"
    assert all(error.details.get("actual") == 1 for error in lost), "losers learn where the stream is"
    assert len(await store.read_all()) == 1, "the losers leave no trace"


async def _shows_positions_in_order(store: EventStore) -> None:
    epoch = await store.claim()

    async def work(stream: str) -> None:
        for version in range(10):
            await write(store, stream, 1, epoch, expected=version)
            await asyncio.sleep(0)

    async def tail() -> list[int]:
        seen: list[int] = []
        while len(seen) < 80:
            seen += [record.position for record in await store.read_all(after=seen[-1] if seen else 0)]
            await asyncio.sleep(0)
        return seen

    seen, *_ = await asyncio.gather(tail(), *(work(f"session:{number}") for number in range(8)))
    final = [record.position for record in await store.read_all()]
    assert seen == final, "a reader that goes on from the last position misses or repeats nothing"
    assert final == sorted(set(final)), "read_all is in order of position"


async def _filters_by_glob(store: EventStore) -> None:
    epoch = await store.claim()
    names = ["agent:a", "session:a", "session:b", "session:ba", "sessionXa", "a_c", "abc", "Session:a"]
    for name in names:
        await write(store, name, 1, epoch)
    for glob, expected in (
        ("*", names),
        ("session:*", ["session:a", "session:b", "session:ba"]),
        ("session:?", ["session:a", "session:b"]),
        ("session:[ab]", ["session:a", "session:b"]),
        ("session:a", ["session:a"]),
        ("a_c", ["a_c"]),
        ("%", []),
        ("session", []),
    ):
        found = [record.stream for record in await store.read_all(streams=glob)]
        assert found == expected, f"read_all over {glob!r}: {found}, expected {expected}"
        listed = [info.stream for info in await store.streams(glob)]
        assert listed == sorted(expected), f"streams over {glob!r}: {listed}, expected {sorted(expected)}"
    behind = await store.read_all(after=2, limit=1, streams="session:*")
    assert [record.stream for record in behind] == ["session:b"], "glob, after and limit work together"


async def _keeps_what_was_written(store: EventStore) -> None:
    epoch = await store.claim()
    facts: dict[str, Any] = {
        "none": None,
        "zero": 0,
        "no": False,
        "empty": "",
        "list": [],
        "map": {},
        "text": "ü\u2028\n🎉",
    }
    given = dict(facts)
    await store.append("session:a", [a_beginning(given)], expected=0, epoch=epoch)
    given["zero"] = 1
    for _ in range(2):
        event = (await store.read("session:a"))[0].event
        assert event == a_beginning(facts), "what is stored does not change with anybody's own objects"
        assert isinstance(event, SessionCreated), "what is stored keeps its type"
        kinds = [type(value) for value in event.metadata.values()]
        assert kinds == [type(value) for value in facts.values()], "falsy values keep their type"
        event.metadata["zero"] = 2


async def _keeps_what_led_to_it(store: EventStore) -> None:
    epoch = await store.claim()
    ids: dict[str, Any] = {
        "trace_id": TraceId(new_id("trace", SeededEntropy())),
        "causation_id": "msg ü",
        "correlation_id": "run 7",
    }
    both = await write(store, "session:a", 2, epoch, **ids)
    one = await write(store, "session:a", 1, epoch, expected=2, causation_id="msg 2")
    none = await write(store, "session:a", 1, epoch, expected=3)
    for records in (both + one + none, await store.read("session:a"), await store.read_all()):
        found = [(record.trace_id, record.causation_id, record.correlation_id) for record in records]
        expected = [tuple(ids.values())] * 2 + [(None, "msg 2", None), (None, None, None)]
        assert found == expected, f"a record keeps what it came from: {found}, expected {expected}"


async def _describes_streams(store: EventStore) -> None:
    epoch = await store.claim()
    with refuses(NotFound, what="stream_info of an unknown stream"):
        await store.stream_info("session:a")
    for name in ("session:c", "session:a", "session:b", "agent:a"):
        await write(store, name, 1, epoch)
    await write(store, "session:a", 2, epoch, expected=1)
    info = await store.stream_info("session:a")
    assert (info.stream, info.version, info.snapshot_version) == ("session:a", 3, 0), f"wrong: {info}"
    assert info.created_at <= info.updated_at, "a stream changes after it began"
    assert info.created_at.utcoffset() is not None, "times carry a time zone"
    assert info in await store.streams(), "streams and stream_info agree"
    names = [info.stream for info in await store.streams()]
    assert names == ["agent:a", "session:a", "session:b", "session:c"], f"streams come by name: {names}"
    first = [info.stream for info in await store.streams("session:*", limit=2)]
    rest = [info.stream for info in await store.streams("session:*", after=first[-1], limit=2)]
    assert first + rest == ["session:a", "session:b", "session:c"], f"pages do not add up: {first} {rest}"
    assert await store.streams(limit=0) == [], "limit zero gives nothing"


async def _deletes_streams(store: EventStore) -> None:
    epoch = await store.claim()
    await store.delete_stream("session:unknown")
    await write(store, "session:a", 2, epoch)
    last = (await write(store, "session:b", 2, epoch))[-1].position
    await store.delete_stream("session:b")
    await store.delete_stream("session:b")
    assert await store.read("session:b") == [], "a deleted stream is empty"
    assert [record.stream for record in await store.read_all()] == ["session:a"] * 2, "others stay"
    assert [info.stream for info in await store.streams()] == ["session:a"], "a deleted stream is not listed"
    with refuses(NotFound, what="stream_info of a deleted stream"):
        await store.stream_info("session:b")
    again = await write(store, "session:b", 1, epoch)
    check_numbers(again, "session:b", 1)
    assert again[0].position > last, "positions are not reused"


async def _outlives_its_process(store: J, reopen: Callable[[J], AbstractAsyncContextManager[J]]) -> None:
    old = await store.claim()
    written = await write(store, "session:a", 3, old, key="order 1", causation_id="msg", correlation_id="run")
    written += await write(store, "security", 1, old)
    last = (await write(store, "session:gone", 1, old))[0].position
    await store.delete_stream("session:gone")
    async with reopen(store) as again:
        assert await again.read_all() == written, "what was acknowledged is there after opening again"
        new = await again.claim()
        assert new > old, f"epochs rise across processes, {new} followed {old}"
        with refuses(StaleEpoch, what="writing with the epoch of an earlier process"):
            await write(again, "session:a", 1, old, expected=3)
        repeated = await write(again, "session:a", 3, new, key="order 1")
        assert repeated == written[:3], "idempotency keys are known after opening again"
        with refuses(CallerMistaken, what="a key of an earlier process with other events"):
            await write(again, "session:a", 1, new, expected=3, key="order 1")
        async with aclosing(again.subscribe(after=1)) as records:
            resumed = [await anext(records) for _ in written[1:]]
        assert resumed == written[1:], "a subscription is resumed after opening again"
        more = await write(again, "session:a", 1, new, expected=3)
        check_numbers(written[:3] + more, "session:a", 1)
        assert more[0].position > last, "positions are not reused across processes"
