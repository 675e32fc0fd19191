"""How long to wait before the next attempt; pure but for the bytes handed in."""

from typing import Final

from mcp_interface.clock import Entropy

FIRST: Final = 0.05
LONGEST: Final = 30.0


def pause(failures: int, entropy: Entropy, *, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds to wait after so many failures in a row: doubling, each a quarter up or down.

    Args:
        failures: One or more.
        entropy: Where the jitter comes from, so that many who failed together do not come back in step.
        first: Seconds after the first failure, about.
        longest: Seconds, never more.
    """
    nominal = min(longest, first * 2.0 ** min(failures - 1, 60))
    share = int.from_bytes(entropy.token(2)) / 0xFFFF
    return min(longest, nominal * (0.75 + share / 2))
