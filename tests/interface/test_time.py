import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mcp_interface import CallerMistaken, Clock, SystemClock, SystemEntropy
from mcp_interface.testing import START, ManualClock, SeededEntropy


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    for _ in range(10):
        clock.advance(0.1)
    assert clock.now() == START + timedelta(seconds=1)
    assert clock.monotonic() == 1.0
    clock.advance(0)
    with pytest.raises(CallerMistaken, match="cannot go back"):
        clock.advance(-1)


def test_a_manual_clock_speaks_utc() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert ManualClock(noon).now().isoformat() == "2026-06-01T10:00:00+00:00"


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def scenario() -> None:
        clock, woken = ManualClock(), []

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2, 9, 0)]
        await asyncio.sleep(0)
        assert clock.sleepers == 4
        tasks[1].cancel()
        await asyncio.gather(tasks[1], tasks[4], return_exceptions=True)
        assert (woken, clock.sleepers) == ([0], 3)
        clock.advance(1.999)
        await asyncio.sleep(0)
        assert woken == [0]
        clock.advance(1.001)
        await asyncio.gather(tasks[0], tasks[2])
        assert (woken, clock.sleepers) == ([0, 2, 3], 1)
        tasks[3].cancel()
        await asyncio.gather(tasks[3], return_exceptions=True)
        assert clock.sleepers == 0

    asyncio.run(scenario())


def test_a_sleeper_that_is_cancelled_while_it_wakes_stays_cancelled() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        task = asyncio.create_task(clock.sleep(1))
        await asyncio.sleep(0)
        clock.advance(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_a_sleeper_on_another_thread_is_woken_on_its_own_loop() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, clock.sleep(5)))
        async with asyncio.timeout(10):
            while not clock.sleepers:
                await asyncio.sleep(0)
            clock.advance(5)
            await elsewhere

    asyncio.run(scenario())


def test_seeded_entropy_repeats_itself() -> None:
    one, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    first = [one.token(16) for _ in range(3)]
    assert [same.token(16) for _ in range(3)] == first
    assert len(set(first) | {other.token(16)}) == 4
    assert one.token(0) == b""


def test_the_machines_own_clock_runs_in_utc() -> None:
    clock: Clock = SystemClock()
    before, tick = clock.now(), clock.monotonic()
    asyncio.run(clock.sleep(0))
    assert before.tzinfo is UTC
    assert clock.now() >= before
    assert clock.monotonic() >= tick


def test_the_machines_entropy_does_not_repeat_itself() -> None:
    entropy = SystemEntropy()
    assert len({entropy.token(16) for _ in range(10)}) == 10
    assert len(entropy.token(5)) == 5
