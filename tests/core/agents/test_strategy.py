"""When each of several tasks begins: laws of the three strategies, over any course of events."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.agents.strategy import FIRST, MOST, Strategy, step, width

STRATEGIES = st.sampled_from(get_args(Strategy))
COURSES = st.lists(st.booleans(), max_size=40)


def run(
    strategy: Strategy, total: int, outcomes: list[bool], picks: list[int]
) -> tuple[list[bool], int, list[int]]:
    """Play a whole course; answers the ends, how many were begun, and how many ran after each step."""
    begun, running, ended, widths = 0, 0, list[bool](), list[int]()
    for number in range(10_000):
        now = step(strategy, total, begun, ended)
        begun, running = begun + now.begin, running + now.begin
        widths.append(running)
        assert begun <= total
        if now.over:
            assert running == 0
            return ended, begun, widths
        assert running > 0, "it waits for nothing and is not over"
        for _ in range(min(running, 1 + picks[number % len(picks)])):
            ended.append(outcomes[len(ended) % len(outcomes)])
            running -= 1
    raise AssertionError("it never ends")


@given(
    STRATEGIES,
    st.integers(0, 40),
    st.lists(st.booleans(), min_size=1),
    st.lists(st.integers(0, 3), min_size=1),
)
def test_every_course_comes_to_its_end(
    strategy: Strategy, total: int, outcomes: list[bool], picks: list[int]
) -> None:
    ended, begun, widths = run(strategy, total, outcomes, picks)
    assert len(ended) == begun
    if strategy != "sequential":
        assert begun == total, "nothing is left out"
    elif begun < total:
        assert ended[-1] is False, "it stops behind a failure only"
    if strategy == "sequential":
        assert max(widths) <= 1
        assert all(ended[:-1]), "nothing begins behind a failure"
    if strategy == "adaptive":
        assert max(widths) <= MOST


@given(COURSES)
def test_adaptive_widens_with_each_success_and_narrows_with_each_failure(ended: list[bool]) -> None:
    before, after = width("adaptive", 99, ended), width("adaptive", 99, [*ended, True])
    assert after == min(MOST, before + 1)
    assert width("adaptive", 99, [*ended, False]) == max(1, before // 2)
    assert 1 <= before <= MOST


def test_adaptive_begins_with_two_and_parallel_with_all() -> None:
    assert step("adaptive", 9, 0, []).begin == FIRST == 2
    assert step("parallel", 9, 0, []).begin == 9
    assert step("sequential", 9, 0, []).begin == 1
    assert step("parallel", 0, 0, []).over
