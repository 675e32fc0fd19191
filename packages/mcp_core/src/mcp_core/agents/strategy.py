"""How many of several tasks are begun when. Pure: what has ended goes in, what begins now comes out.

`parallel` begins all at once. `sequential` begins one when the one before it has completed, and nothing behind one
that failed. `adaptive` begins with two, has one more beside them after each that completes, and half as many after
each that fails; it never stops on its own.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Strategy = Literal["parallel", "sequential", "adaptive"]
FIRST: Final = 2
"""Tasks with which `adaptive` begins."""
MOST: Final = 8
"""Tasks that `adaptive` has at once at most."""


class Step(NamedTuple):
    """What to do now."""

    begin: int
    """How many of those that wait begin, in their order."""
    over: bool
    """Whether nothing begins any more and nothing is waited for."""


def step(strategy: Strategy, total: int, begun: int, ended: Sequence[bool]) -> Step:
    """Say what to do with tasks of which some have begun and some of those have ended.

    Args:
        strategy: Which.
        total: How many there are.
        begun: How many have begun, those that ended included.
        ended: Of each that ended, in the order of the ends, whether it completed.
    """
    running, waiting = begun - len(ended), total - begun
    stopped = strategy == "sequential" and not all(ended)
    begin = 0 if stopped else max(0, min(waiting, width(strategy, total, ended) - running))
    return Step(begin, over=running == 0 and begin == 0)


def width(strategy: Strategy, total: int, ended: Sequence[bool]) -> int:
    """How many may run at once, after what has ended so far."""
    match strategy:
        case "parallel":
            return total
        case "sequential":
            return 1
        case "adaptive":
            wide = FIRST
            for completed in ended:
                wide = min(MOST, wide + 1) if completed else max(1, wide // 2)
            return wide
