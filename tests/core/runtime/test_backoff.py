"""Pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.runtime.backoff import pause
from mcp_interface.testing.time import SeededEntropy


def test_the_first_retry_comes_at_once() -> None:
    assert 0.03 < pause(1, SeededEntropy()) < 0.07


@given(failures=st.integers(1, 10_000), seed=st.integers(0, 100))
def test_pauses_grow_to_thirty_seconds_and_no_further(failures: int, seed: int) -> None:
    now, later = pause(failures, SeededEntropy(seed)), pause(failures + 2, SeededEntropy(seed))
    assert 0.03 < now <= 30.0
    assert later >= now
    assert pause(failures + 20, SeededEntropy(seed)) >= 22.0


@given(
    failures=st.integers(1, 100),
    first=st.floats(0.001, 10.0),
    longest=st.floats(0.001, 1000.0),
    seed=st.integers(0, 100),
)
def test_bounds_of_ones_own_are_kept(failures: int, first: float, longest: float, seed: int) -> None:
    seconds = pause(failures, SeededEntropy(seed), first=first, longest=longest)
    nominal = min(longest, first * 2.0 ** (failures - 1))
    assert 0.75 * nominal <= seconds <= min(longest, 1.25 * nominal + 1e-9)


def test_two_servers_do_not_come_back_in_step() -> None:
    entropy = SeededEntropy()
    assert len({pause(8, entropy) for _ in range(10)}) == 10
