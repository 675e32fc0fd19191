"""Timers on a clock that the test moves, and once on the machine's."""

import asyncio
import gc
import math
import time
import tracemalloc
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.timers import BATCH, LONGEST, RESOLUTION, Timer, Timers
from mcp_interface.clock import SystemClock
from mcp_interface.errors import CallerMistaken
from mcp_interface.testing import ManualClock


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(bounded())


async def settle(turns: int = 8) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def advance(clock: ManualClock, seconds: float) -> None:
    """Move the clock as a real one moves: whoever slept is awake before anything else happens."""
    await settle()
    clock.advance(seconds)
    await settle()


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("after"), st.integers(0, 5_000)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("advance"), st.integers(1, 3_000)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(moves=MOVES)
def test_timers_go_off_once_in_order_never_early_and_ten_milliseconds_late_at_most(
    moves: list[tuple[str, int]],
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        armed: list[tuple[float, int, Timer]] = []
        gone: list[int] = []
        numbers: dict[int, float] = {}
        for number, (move, value) in enumerate(moves):
            if move == "after":
                due = clock.monotonic() + value / 1000
                numbers[number] = due
                armed.append((due, number, timers.after(value / 1000, lambda n=number: gone.append(n))))
            elif move == "cancel" and armed:
                _, cancelled, timer = armed[value % len(armed)]
                assert timer.cancel()
                assert not timer.cancel()
                armed = [each for each in armed if each[1] != cancelled]
            else:
                before = len(gone)
                await advance(clock, value / 1000)
                now = clock.monotonic()
                assert all(numbers[each] <= now + 1e-9 for each in gone[before:]), "never early"
                went = [each for each in armed if each[1] in gone[before:]]
                assert [each[1] for each in sorted(went, key=lambda e: (round(e[0], 6), e[1]))] == gone[
                    before:
                ]
                armed = [each for each in armed if each[1] not in gone]
                assert all(due > now - RESOLUTION for due, _, _ in armed), "a tick late at most"
        assert len(set(gone)) == len(gone)
        assert len(timers) == len(armed)
        await advance(clock, 10)
        assert len(timers) == 0
        await settle()
        assert clock.sleepers == 0
        await timers.close()

    run(scenario())


@settings(max_examples=60, deadline=None)
@given(period=st.integers(10, 2_000), steps=st.lists(st.integers(1, 5_000), min_size=1, max_size=20))
def test_a_periodic_timer_does_not_drift_and_makes_up_for_one_of_those_it_missed(
    period: int, steps: list[int]
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        times: list[float] = []
        timer = timers.every(period / 1000, lambda: times.append(clock.monotonic()))
        elapsed = expected = 0
        turn = 1
        for step in steps:
            elapsed += step
            await advance(clock, step / 1000)
            if _tick(turn * period) <= elapsed:
                expected += 1
                turn = elapsed // period + 1
            assert len(times) == expected
        assert timer.cancel()
        await advance(clock, 100)
        assert len(times) == expected
        await timers.close()

    run(scenario())


def _tick(milliseconds: int) -> int:
    return -(-milliseconds // 10) * 10


def test_nothing_sleeps_while_nothing_is_armed() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        await settle()
        assert clock.sleepers == 0
        armed = [timers.after(5 + number, print) for number in range(1000)]
        await settle()
        assert clock.sleepers == 1, "one for all"
        for timer in armed:
            timer.cancel()
        await settle()
        assert clock.sleepers == 0
        assert len(asyncio.all_tasks()) == 1
        await timers.close()

    run(scenario())


def test_a_timer_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        done: list[str] = []

        def cancelled() -> None:
            raise asyncio.CancelledError

        timers.after(1, lambda: 1 / 0)
        timers.after(1, cancelled)
        again = timers.every(1, lambda: done.append("again") or 1 / 0)
        timers.after(1, lambda: done.append("once"))
        await advance(clock, 1)
        await advance(clock, 1)
        assert done == ["again", "once", "again"]
        again.cancel()
        await timers.close()

    run(scenario())
    assert caplog.text.count("a timer raised") == 4


def test_one_that_goes_off_may_cancel_another_of_the_same_tick_and_itself() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        gone: list[str] = []
        every: list[Timer] = []
        timers.after(1, lambda: victims.pop().cancel())
        victim = timers.after(1, lambda: gone.append("victim"))
        victims = [victim]
        every.append(timers.every(1, lambda: (gone.append("every"), every[0].cancel())))
        await advance(clock, 1)
        await advance(clock, 5)
        assert gone == ["every"]
        assert not victim.armed
        await settle()
        assert clock.sleepers == 0
        await timers.close()

    run(scenario())


def test_many_timers_of_one_tick_leave_others_their_turn() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        gone: list[int] = []
        for number in range(3 * BATCH):
            timers.after(1, lambda n=number: gone.append(n))
        await settle()
        clock.advance(1)
        seen: set[int] = set()
        while len(gone) < 3 * BATCH:
            await asyncio.sleep(0)
            seen.add(len(gone))
        assert {BATCH, 2 * BATCH} <= seen
        assert gone == list(range(3 * BATCH))
        await timers.close()

    run(scenario())


def test_an_earlier_timer_wakes_the_sleeper_for_itself() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        gone: list[int] = []
        for seconds in (3600, 60, 1):
            timers.after(seconds, lambda s=seconds: gone.append(s))
            await settle()
        await advance(clock, 1)
        assert gone == [1]
        await advance(clock, 59)
        assert gone == [1, 60]
        await advance(clock, 3540)
        assert gone == [1, 60, 3600]
        await timers.close()

    run(scenario())


def test_who_ended_before_its_message_gets_a_dead_letter(sink: Any) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        letters = DeadLetters(clock)
        timers = Timers(clock, letters)
        lives, dies = sink("lives"), sink("dies")
        for target in (lives, dies):
            timers.send_after(target, 1, "hello")
        taken_back = timers.send_after(lives, 1, "never")
        dies.end()
        taken_back.cancel()
        await advance(clock, 1)
        assert lives.got == ["hello"]
        [letter] = letters.page()
        assert (letter.to, letter.reason) == ("dies", "not_found")
        await timers.close()

    run(scenario())


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf, LONGEST * 1.1])
def test_a_time_that_makes_no_sense_is_refused(seconds: float) -> None:
    async def scenario() -> None:
        timers = Timers(ManualClock())
        with pytest.raises(CallerMistaken, match="a timer cannot wait"):
            timers.after(seconds, print)
        with pytest.raises(CallerMistaken, match="a timer cannot wait"):
            timers.every(seconds, print)
        with pytest.raises(CallerMistaken, match=r"give 0\.01 to"):
            timers.every(RESOLUTION / 2, print)

    run(scenario())


def test_closing_forgets_everything() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        timers = Timers(clock)
        gone: list[int] = []
        timer = timers.after(1, lambda: gone.append(1))
        await settle()
        await timers.close()
        await advance(clock, 5)
        assert not gone and not timer.armed and not timer.cancel()
        assert clock.sleepers == 0
        timers.after(1, lambda: gone.append(2))
        await advance(clock, 1)
        assert gone == [2], "it can be used again"
        await timers.close()

    run(scenario())


def test_thirty_thousand_timers_are_one_task_and_little_memory() -> None:
    async def scenario() -> None:
        timers = Timers(ManualClock())
        gc.collect()
        tracemalloc.start()
        armed = [timers.after(number * 0.0137, print) for number in range(30_000)]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size / len(armed) < 220, "bytes for each, the list of this test included"
        await settle()
        assert len(asyncio.all_tasks()) == 2
        loop: Any = asyncio.get_running_loop()
        assert len(loop._scheduled) <= 1, "none is a handle of the loop; the one there is bounds this test"
        await timers.close()

    run(scenario())


def test_on_the_clock_of_the_machine() -> None:
    async def scenario() -> None:
        timers = Timers(SystemClock())
        began = time.monotonic()
        times: list[float] = []
        ended = asyncio.Event()
        timers.after(0.03, lambda: times.append(time.monotonic() - began))
        ticking = timers.every(0.02, lambda: len(times) > 0 and ended.set())
        await ended.wait()
        assert times[0] >= 0.03
        ticking.cancel()
        await settle()
        assert len(asyncio.all_tasks()) == 1
        await timers.close()

    run(scenario())
