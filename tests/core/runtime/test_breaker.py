"""The circuit breaker, against a small model of its rules."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.breaker import Breaker, Breakers, Policy, failed
from mcp_interface.errors import (
    CallerMistaken,
    CircuitOpen,
    DeadlineExceeded,
    NotPermitted,
    ServerUnavailable,
    TooMuch,
    WorldBroken,
    error_from,
)
from mcp_interface.testing import ManualClock

BROKEN, FINE, MISTAKEN = ServerUnavailable("gone"), None, CallerMistaken("no such argument")


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(bounded())


async def ask(breaker: Breaker, error: BaseException | None) -> str:
    """What came of it: refused, passed or the error's code."""

    async def work() -> str:
        if error is not None:
            raise error
        return "passed"

    try:
        return await breaker.run(work)
    except CircuitOpen:
        return "refused"
    except (WorldBroken, CallerMistaken, TooMuch) as met:
        assert met is error
        return met.code


async def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        assert await ask(breaker, BROKEN) == "server_unavailable"


STEPS = st.lists(
    st.one_of(st.sampled_from([BROKEN, BROKEN, FINE, MISTAKEN]), st.integers(1, 100)), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_a_breaker_follows_its_rules(steps: list[Any]) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        failures: list[float] = []
        opened: float | None = None
        for step in steps:
            now = clock.monotonic()
            if isinstance(step, int):
                clock.advance(step)
                continue
            outcome = await ask(breaker, step)
            if opened is not None and now < opened + 60:
                assert outcome == "refused"
                assert breaker.state == "open"
            elif opened is not None:  # a probe
                assert outcome != "refused"
                if step is FINE:
                    opened, failures = None, []
                elif step is BROKEN:
                    opened = now
                assert breaker.state == {FINE: "closed", BROKEN: "open"}.get(step, "half_open")
            else:
                assert outcome != "refused"
                if step is FINE:
                    failures = []
                elif step is BROKEN:
                    failures = [*failures, now][-3:]
                    if len(failures) == 3 and now - failures[0] <= 60:
                        opened = now
                assert breaker.state == ("closed" if opened is None else "open")

    run(scenario())


def test_a_refusal_says_how_long_to_wait_also_on_the_wire() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("server 'git'", clock)
        await fail(breaker)
        clock.advance(20)
        asked = False

        async def work() -> None:
            nonlocal asked
            asked = True

        with pytest.raises(CircuitOpen, match=r"server 'git' has failed too often .* 40 s") as refused:
            await breaker.run(work)
        assert not asked
        travelled = error_from(refused.value.body())
        assert isinstance(travelled, CircuitOpen)
        assert travelled.details == {"target": "server 'git'", "seconds": 40.0}
        clock.advance(40)
        await breaker.run(work)
        assert asked and breaker.state == "closed"

    run(scenario())


def test_one_probe_goes_through_and_the_others_wait_for_it() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        await fail(breaker)
        clock.advance(60)
        answer = asyncio.get_running_loop().create_future()
        probe = asyncio.create_task(breaker.run(lambda: answer))
        await asyncio.sleep(0)
        assert breaker.state == "half_open"
        assert [await ask(breaker, FINE) for _ in range(5)] == ["refused"] * 5
        answer.set_result("well")
        assert await probe == "well"
        assert await ask(breaker, FINE) == "passed"

    run(scenario())


def test_a_probe_that_never_comes_back_is_given_up() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        await fail(breaker)
        clock.advance(60)
        never = asyncio.get_running_loop().create_future()
        probe = asyncio.create_task(breaker.run(lambda: never))
        await asyncio.sleep(0)
        clock.advance(59)
        assert await ask(breaker, FINE) == "refused"
        clock.advance(1)
        assert await ask(breaker, FINE) == "passed"
        never.set_exception(BROKEN)
        with pytest.raises(ServerUnavailable):
            await probe
        assert breaker.state == "closed", "the old probe says nothing about today"

    run(scenario())


def test_a_probe_that_was_given_up_does_not_speak_for_the_one_after_it() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        await fail(breaker)
        answers = [asyncio.get_running_loop().create_future() for _ in range(2)]
        probes = []
        for answer in answers:
            clock.advance(60)
            probes.append(asyncio.create_task(breaker.run(lambda a=answer: a)))
            await asyncio.sleep(0)
        answers[0].set_result("late")
        assert await probes[0] == "late"
        assert breaker.state == "half_open"
        answers[1].set_exception(BROKEN)
        await asyncio.gather(probes[1], return_exceptions=True)
        assert breaker.state == "open"

    run(scenario())


def test_a_cancelled_probe_proves_nothing_and_blocks_nobody() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        await fail(breaker)
        clock.advance(60)
        never = asyncio.get_running_loop().create_future()
        probe = asyncio.create_task(breaker.run(lambda: never))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert breaker.state == "half_open"
        assert await ask(breaker, BROKEN) == "server_unavailable"
        assert breaker.state == "open"

    run(scenario())


def test_what_began_before_a_change_says_nothing_about_what_is_now() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        breaker = Breaker("target", clock)
        loop = asyncio.get_running_loop()
        old = [loop.create_future() for _ in range(5)]
        tasks = [asyncio.create_task(breaker.run(lambda f=future: f)) for future in old]
        await asyncio.sleep(0)
        await fail(breaker)
        clock.advance(30)
        old[0].set_result("late")
        old[1].set_exception(BROKEN)
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        assert breaker.state == "open"
        clock.advance(30)
        probe = loop.create_future()
        probing = asyncio.create_task(breaker.run(lambda: probe))
        await asyncio.sleep(0)
        old[2].set_result("later still")
        old[3].set_exception(BROKEN)
        await asyncio.gather(*tasks[2:4], return_exceptions=True)
        assert breaker.state == "half_open"
        probe.set_result("well")
        await probing
        old[4].set_exception(BROKEN)
        await asyncio.gather(tasks[4], return_exceptions=True)
        await fail(breaker, 2)
        assert breaker.state == "closed", "two of this era are not three"

    run(scenario())


def test_listeners_hear_of_every_change_and_cannot_break_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        heard: list[tuple[str, str, str]] = []
        breaker = Breaker("target", clock)
        breaker.listen(lambda *change: 1 / 0)
        breaker.listen(lambda *change: heard.append(change))
        silent: list[Any] = []
        take_back = breaker.listen(lambda *change: silent.append(change))
        take_back()
        take_back()
        await fail(breaker)
        clock.advance(60)
        await ask(breaker, FINE)
        assert heard == [
            ("target", "closed", "open"),
            ("target", "open", "half_open"),
            ("target", "half_open", "closed"),
        ]
        assert not silent

    run(scenario())
    assert "a listener to the breaker of target raised" in caplog.text


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ServerUnavailable("x"), True),
        (DeadlineExceeded("x"), True),
        (TooMuch("x"), False),
        (CallerMistaken("x"), False),
        (NotPermitted("x"), False),
        (CircuitOpen("x"), False),
        (ValueError("x"), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_what_counts_as_a_failure(error: BaseException, counts: bool) -> None:
    assert failed(error) == counts


def test_what_counts_can_be_said_otherwise() -> None:
    async def scenario() -> None:
        policy = Policy(failures=1, failed=lambda error: isinstance(error, CallerMistaken))
        breaker = Breaker("target", ManualClock(), policy)
        await fail(breaker, 5)
        assert await ask(breaker, MISTAKEN) == "invalid_input"
        assert breaker.state == "open"

    run(scenario())


@pytest.mark.parametrize("options", [{"failures": 0}, {"window_s": 0.0}, {"rest_s": float("nan")}])
def test_a_policy_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match="cannot work"):
        Policy(**options)


def test_breakers_of_many_targets_are_apart_and_the_least_used_are_forgotten() -> None:
    async def scenario() -> None:
        heard: list[tuple[str, str, str]] = []
        breakers = Breakers(ManualClock(), most=2, on_change=lambda *change: heard.append(change))
        await fail(breakers.of("a"))
        assert await ask(breakers.of("b"), FINE) == "passed"
        assert breakers.of("a") is breakers.of("a")
        breakers.of("c")
        assert breakers.states() == {"a": "open", "c": "closed"}
        assert heard == [("a", "closed", "open")]
        assert len(breakers) == 2
        with pytest.raises(CallerMistaken):
            Breakers(ManualClock(), most=0)

    run(scenario())
