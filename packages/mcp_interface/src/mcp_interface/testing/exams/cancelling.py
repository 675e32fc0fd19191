"""The part of the journal exam about cancelling: a write is withdrawn, or it went through and says so.

How a store keeps the second promise: it swallows the cancellation, finishes, and cancels its caller's task anew
in the next turn of the loop, unless the task has taken the request back (`Task.uncancel`) meanwhile, as a timeout
does whose block ended in peace. Cancelling anew at once would strike outside of such a block.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mcp_interface.store import EventStore, Record
from mcp_interface.testing.exams.appending import check_numbers, write

MOMENTS: Final = 36
"""How many moments are tried, from before the write is taken until long after it is durable."""
REMEMBERED: Final = 5.0
"""Seconds within which a cancellation that came too late is delivered, however busy the machine is."""


async def _withdraws_or_goes_through(store: EventStore) -> None:
    await _at_every_moment(store, cancel_at)


async def _delivers_what_came_too_late(store: EventStore) -> None:
    await _at_every_moment(store, _cancelled_with_more_to_do)


async def _leaves_timeouts_usable(store: EventStore) -> None:
    await _at_every_moment(store, _timed_out)


async def _delivers_timeouts_that_came_too_late(store: EventStore) -> None:
    await _at_every_moment(store, _timed_out_with_more_to_do)


async def _survives_a_crowd(store: EventStore) -> None:
    epoch = await store.claim()
    crowd = [asyncio.ensure_future(write(store, f"session:{number}", 2, epoch)) for number in range(40)]
    for task in crowd[::6]:
        task.cancel()
    await _wait(7)
    for task in crowd[3::6]:
        task.cancel()
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    await write(store, "security", 1, epoch)
    for number, outcome in enumerate(outcomes):
        withdrawn = isinstance(outcome, asyncio.CancelledError) and number % 3 == 0
        assert withdrawn or isinstance(outcome, list), f"cancelling others broke append {number}: {outcome!r}"
        await _check_outcome(store, f"session:{number}", outcome if isinstance(outcome, list) else [])


PARTS: Final = (
    _withdraws_or_goes_through,
    _delivers_what_came_too_late,
    _leaves_timeouts_usable,
    _delivers_timeouts_that_came_too_late,
    _survives_a_crowd,
)
"""Each needs an empty store of its own."""

Append = Callable[[], Awaitable[list[Record]]]


async def cancel_at(append: Append, moment: int) -> list[Record]:
    """Cancel a write; what it returned all the same, nothing when it was withdrawn."""
    task = asyncio.ensure_future(append())
    await _wait(moment)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return []


async def _at_every_moment(
    store: EventStore, attempt: Callable[[Append, int], Awaitable[list[Record]]]
) -> None:
    """Break off a write at many moments, some of them behind a crowd; then its outcome has to be true."""
    epoch = await store.claim()
    for moment in range(MOMENTS):
        stream = f"session:{moment}"
        crowd = [
            asyncio.ensure_future(write(store, f"agent:{moment}:{number}", 1, epoch))
            for number in range(moment % 3)
        ]
        outcome = await attempt(lambda stream=stream: write(store, stream, 2, epoch), moment)  # type: ignore[misc]
        await asyncio.gather(*crowd)
        await write(store, f"agent:{moment}", 1, epoch)  # whatever was queued is through now
        await _check_outcome(store, stream, outcome)
        more = await write(store, stream, 1, epoch, expected=len(outcome))
        check_numbers(more, stream, len(outcome) + 1)


async def _check_outcome(store: EventStore, stream: str, outcome: list[Record]) -> None:
    found = await store.read(stream)
    if outcome:
        assert found == outcome, f"an append that returned is in: {found}, returned {outcome}"
    else:
        assert found == [], f"an append that raised CancelledError left the stream unchanged: {found}"


async def _cancelled_with_more_to_do(append: Append, moment: int) -> list[Record]:
    records: list[Record] = []

    async def work() -> None:
        records.extend(await append())
        await asyncio.sleep(REMEMBERED)

    task = asyncio.ensure_future(work())
    await _wait(moment)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "a cancellation that came too late is delivered at the next await"
    return records


async def _timed_out(append: Append, moment: int) -> list[Record]:
    records: list[Record] = []
    task = asyncio.current_task()
    assert task is not None, "an exam runs in a task"
    before = task.cancelling()
    try:
        async with asyncio.timeout(None) as scope:
            expiry = asyncio.ensure_future(_expire(scope, moment))
            records = await append()
    except TimeoutError:
        pass  # withdrawn; a block that ended in peace is no timeout
    expiry.cancel()
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        raise AssertionError("the cancellation of a timeout struck after its block had ended") from error
    assert task.cancelling() == before, "a timeout takes its cancellation back"
    return records


async def _timed_out_with_more_to_do(append: Append, moment: int) -> list[Record]:
    records: list[Record] = []
    try:
        async with asyncio.timeout(None) as scope:
            expiry = asyncio.ensure_future(_expire(scope, moment))
            records = await append()
            await expiry
            await asyncio.sleep(REMEMBERED)
    except TimeoutError:
        return records
    raise AssertionError("a timeout that came too late for a write is delivered at the next await")


async def _expire(scope: asyncio.Timeout, moment: int) -> None:
    await _wait(moment)
    scope.reschedule(0)


async def _wait(moment: int) -> None:
    """Let the loop turn a few times; later moments wait for the disk too."""
    for _ in range(moment):
        await asyncio.sleep(0)
    if moment > MOMENTS // 3:
        await asyncio.sleep((moment - MOMENTS // 3) * 0.0002)
