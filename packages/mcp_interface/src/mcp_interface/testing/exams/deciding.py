"""The part of the store exam about decisions: events and keys at once, all of them or nothing."""

import asyncio
from typing import Any, Final

from mcp_interface.errors import CallerMistaken, NotFound, StaleEpoch, UmbrellaError, VersionConflict
from mcp_interface.ids import TraceId, new_id
from mcp_interface.store import Append, Decision, Store
from mcp_interface.testing.exams.appending import check_numbers, messages, read_everything, write
from mcp_interface.testing.exams.asserting import refuses, same
from mcp_interface.testing.exams.cancelling import MOMENTS, cancel_at
from mcp_interface.testing.samples import a_beginning
from mcp_interface.testing.time import SeededEntropy

KEY: Final = "order 7"


async def _writes_all_at_once(store: Store) -> None:
    epoch = await store.claim()
    await store.put("timer", "old")
    known = await write(store, "session:b", 2, epoch)
    trace = TraceId(new_id("trace", SeededEntropy()))
    records = await store.commit(
        Decision(
            appends=[_append("session:b", 2, expected=2), _append("agent:a", 1), _append("session:a", 3)],
            puts={"state": {"done": [0, None]}, "none": None},
            deletes=["timer", "unknown"],
            trace_id=trace,
            causation_id="msg 1",
            correlation_id="run 1",
        ),
        epoch=epoch,
    )
    check_numbers(records[:2], "session:b", 3)
    check_numbers(records[2:3], "agent:a", 1)
    check_numbers(records[3:], "session:a", 1)
    assert len(records) == 6, f"a decision gives all of its records, in order: {records}"
    assert await read_everything(store) == known + records, "commit returns what is stored, by position"
    for record in records:
        ids = (record.epoch, record.trace_id, record.causation_id, record.correlation_id)
        assert ids == (epoch, trace, "msg 1", "run 1"), f"a record keeps what it came from: {ids}"
    same(await store.get("state"), {"done": [0, None]}, "a key that was decided")
    same(await store.get("none"), None, "a key that was decided")
    assert await store.list_keys() == ["none", "state"], "a decision deletes keys"


async def _decides_about_a_part(store: Store) -> None:
    epoch = await store.claim()
    assert await store.commit(Decision(puts={"a": 1, "b": 0}), epoch=epoch) == [], "no events, no records"
    assert await store.commit(Decision(deletes=["a"]), epoch=epoch) == [], "no events, no records"
    assert await store.list_keys() == ["b"], "a decision about keys alone is made"
    assert await store.head() == 0, "keys take no position"
    records = await store.commit(Decision(appends=[_append("session:a", 2)]), epoch=epoch)
    check_numbers(records, "session:a", 1)
    assert await store.read("session:a") == records, "a decision about events alone is made"


async def _refuses_in_one_piece(store: Store) -> None:
    epoch = await store.claim()
    await store.put("kept", 1)
    known = await write(store, "session:b", 2, epoch)
    for appends in (
        [_append("session:a", 1), _append("session:b", 1, expected=1)],
        [_append("session:b", 1, expected=3), _append("session:a", 1)],
    ):
        decision = Decision(appends=appends, puts={"new": 1, "kept": 2}, key=KEY)
        with refuses(VersionConflict, what="a decision with a wrong version in one stream") as caught:
            await store.commit(decision, epoch=epoch)
        assert caught.error.details.get("actual") == 2, "details['actual'] says where the stream is"
    broken = Append(stream="session:b", events=[a_beginning({"bad": object()})], expected=2)
    for bad in (
        Decision(appends=[_append("session:a", 1), broken], puts={"kept": 2}),
        Decision(appends=[_append("session:a", 1)], deletes=["kept"], puts={"bad": object()}),
    ):
        with refuses(UmbrellaError, what="a decision with something that cannot be stored"):
            await store.commit(bad, epoch=epoch)
    assert await read_everything(store) == known, "a refused decision leaves no event"
    assert await store.list_keys() == ["kept"], "a refused decision leaves no key"
    same(await store.get("kept"), 1, "a key after a refused decision")
    with refuses(NotFound, what="a stream of a refused decision"):
        await store.stream_info("session:a")
    again = await store.commit(Decision(puts={"later": 1}, key=KEY), epoch=epoch)
    assert again == [], "a refused decision leaves its idempotency key free"


async def _refuses_what_is_no_decision(store: Store) -> None:
    epoch = await store.claim()
    await store.put("kept", 1)
    one = _append("session:a", 1)
    for decision, what in (
        (Decision(), "an empty decision"),
        (Decision(key=KEY), "a decision of nothing but an idempotency key"),
        (Decision(appends=[_append("session:a", 0)], puts={"kept": 2}), "an append of no events"),
        (Decision(appends=[one, _append("session:a", 1, expected=1)]), "a stream twice"),
        (Decision(appends=[one], puts={"kept": 2}, deletes=["kept"]), "a key put and deleted at once"),
        (Decision(appends=[one], deletes=["kept", "kept"]), "a key deleted twice"),
        (Decision(appends=[_append("session:\n", 1)], puts={"kept": 2}), "a bad stream name"),
        (Decision(appends=[one], key="x" * 201), "a bad idempotency key"),
        (Decision(appends=[one], key=""), "an empty idempotency key"),
    ):
        with refuses(CallerMistaken, what=what):
            await store.commit(decision, epoch=epoch)
    assert await store.head() == 0, "what was refused takes no position"
    same(await store.get("kept"), 1, "a key after a refused decision")


async def _fences_decisions(store: Store) -> None:
    old = await store.claim()
    made = Decision(appends=[_append("session:a", 1)], puts={"a": 1}, key=KEY)
    records = await store.commit(made, epoch=old)
    new = await store.claim()
    for decision in (
        made,
        Decision(puts={"a": 2}),
        Decision(deletes=["a"]),
        Decision(puts={"a": 2}, key=KEY),
    ):
        with refuses(StaleEpoch, what="deciding with an old epoch"):
            await store.commit(decision, epoch=old)
    same(await store.get("a"), 1, "a key after a decision with an old epoch")
    assert await store.commit(made, epoch=new) == records, "a key is known to the next writer too"


async def _decides_once(store: Store) -> None:
    epoch = await store.claim()
    decision = _decision()
    first = await store.commit(decision, epoch=epoch)
    between = await write(store, "session:b", 1, epoch, expected=1)
    await store.put("state", "later")
    for expected in (0, 2, 9):
        again = await store.commit(_decision(expected), epoch=epoch)
        assert again == first, f"a known key gives the records of the first time, gave {again}"
    same(await store.get("state"), "later", "a key that was set after the decision")
    for other, what in (
        (Decision(appends=decision.appends, puts={"state": 2}, deletes=["timer"], key=KEY), "another value"),
        (Decision(appends=decision.appends, puts={"state": 1}, key=KEY), "fewer keys"),
        (
            Decision(appends=decision.appends[:1], puts={"state": 1}, deletes=["timer"], key=KEY),
            "fewer events",
        ),
        (Decision(puts={"state": 1}, deletes=["timer"], key=KEY), "no events"),
    ):
        with refuses(CallerMistaken, what=f"a used key with {what}"):
            await store.commit(other, epoch=epoch)
    with refuses(CallerMistaken, what="a decision's key for an append"):
        await write(store, "session:c", 1, epoch, key=KEY)
    await write(store, "session:c", 1, epoch, key="an append's")
    with refuses(CallerMistaken, what="an append's key for a decision"):
        await store.commit(Decision(puts={"state": 1}, key="an append's"), epoch=epoch)
    assert (await read_everything(store))[:4] == first + between, "a known key writes nothing"
    nothing = Decision(puts={"count": 1}, key="without events")
    assert await store.commit(nothing, epoch=epoch) == [], "no events, no records"
    await store.delete("count")
    assert await store.commit(nothing, epoch=epoch) == [], "a known key gives the answer of the first time"
    with refuses(NotFound, what="a key that was deleted after the decision"):
        await store.get("count")


async def _lets_one_of_many_decide(store: Store) -> None:
    epoch = await store.claim()
    same_key = [store.commit(_decision(), epoch=epoch) for _ in range(8)]
    rivals = [
        store.commit(Decision(appends=[_append("session:z", 1)], puts={"winner": number}), epoch=epoch)
        for number in range(8)
    ]
    outcomes: list[Any] = await asyncio.gather(*same_key, *rivals, return_exceptions=True)
    assert all(outcome == outcomes[0] for outcome in outcomes[:8]), "equal keys get equal answers at once"
    won = [number for number, outcome in enumerate(outcomes[8:]) if isinstance(outcome, list)]
    assert len(won) == 1, f"one of eight rivals wins: {outcomes[8:]}"
    same(await store.get("winner"), won[0], "the key of the decision that won")
    assert len(await read_everything(store)) == len(outcomes[0]) + 1, "the losers leave no event"


async def _withdraws_in_one_piece(store: Store) -> None:
    epoch = await store.claim()
    for moment in range(MOMENTS):
        name = f"session:{moment}"
        decision = Decision(appends=[_append(name, 2)], puts={name: moment}, key=name)
        returned = await cancel_at(lambda made=decision: store.commit(made, epoch=epoch), moment)  # type: ignore[misc]
        await store.put("last", moment)  # whatever was queued is through now
        found, keys = await store.read(name), await store.list_keys(name)
        assert found == returned, f"cancelled, {name!r} holds {found}, returned was {returned}"
        assert keys == ([name] if returned else []), f"cancelled, events and keys differ: {found}, {keys}"
        again = await store.commit(decision, epoch=epoch)
        check_numbers(again, name, 1)
        assert await store.read(name) == again, "a cancelled decision is made once when it is tried again"


PARTS: Final = (
    _writes_all_at_once,
    _decides_about_a_part,
    _refuses_in_one_piece,
    _refuses_what_is_no_decision,
    _fences_decisions,
    _decides_once,
    _lets_one_of_many_decide,
    _withdraws_in_one_piece,
)
"""Each needs an empty store of its own."""


def _append(stream: str, count: int, expected: int = 0) -> Append:
    return Append(stream=stream, events=messages(count, expected + 1), expected=expected)


def _decision(expected: int = 0) -> Decision:
    return Decision(
        appends=[
            Append(stream="session:a", events=messages(2), expected=expected),
            Append(stream="session:b", events=messages(1), expected=expected),
        ],
        puts={"state": 1},
        deletes=["timer"],
        key=KEY,
    )
