"""Deadlines that begin anew with progress."""

from hypothesis import given
from hypothesis import strategies as st

from hosting import Behind, run
from mcp_core.protocol.deadline import LONGEST, Deadline
from mcp_interface.errors import DeadlineExceeded
from mcp_interface.testing.time import ManualClock

STEPS = st.lists(st.tuples(st.sampled_from(["wait", "renew", "ask"]), st.floats(0.0, 2_000.0)), max_size=30)


@given(st.floats(0.1, 1_000.0), STEPS)
def test_whatever_happens_it_never_gives_more_than_its_seconds_and_ends_at_last(seconds, steps) -> None:
    clock = ManualClock()
    deadline = Deadline(seconds, clock)
    began = clock.monotonic()
    asked = 0.0
    for what, duration in steps:
        if what == "renew":
            deadline.renew()
        elif what == "ask":
            with deadline.paused():
                clock.advance(duration)
                assert deadline.left() == seconds  # it stands still
            asked += duration
        else:
            clock.advance(duration)
        assert deadline.left() <= seconds + 0.001
        if clock.monotonic() - began - asked > max(LONGEST, 10 * seconds) + 0.001:
            assert deadline.left() <= 0.001


def test_progress_gives_all_the_seconds_again_and_silence_does_not() -> None:
    clock = ManualClock()
    deadline = Deadline(10.0, clock)
    clock.advance(9.0)
    assert round(deadline.left()) == 1
    deadline.renew()
    assert round(deadline.left()) == 10
    clock.advance(11.0)
    assert deadline.left() < 0


def test_questions_that_overlap_stop_it_until_the_last_is_answered() -> None:
    clock = ManualClock()
    deadline = Deadline(10.0, clock)
    with deadline.paused():
        with deadline.paused():
            clock.advance(100_000.0)
        clock.advance(100_000.0)
        assert deadline.left() == 10.0
    clock.advance(9.0)
    assert round(deadline.left()) == 1


def test_a_call_that_reports_progress_outlives_its_timeout_and_one_that_does_not_is_ended(
    open_host, asking
) -> None:
    behind = Behind()

    async def work() -> None:
        async with open_host(ask=asking) as host:
            steps = {"steps": 12, "every": 0.1}
            result = await host.call("ask", "slow", steps, timeout=0.8, context=behind.context())
            assert result.text == "slow but done"
            result = await host.call("ask", "slow", steps, timeout=0.8)  # also when nobody looks on
            assert result.text == "slow but done"
            try:
                await host.call("ask", "slow", {"steps": 1, "every": 5.0}, timeout=0.5)
            except DeadlineExceeded as error:
                assert error.details == {"server": "ask", "tool": "slow"}
            else:
                raise AssertionError("it did not end")

    run(work)
    assert len(behind.progress) == 12
