"""How long to wait before the next attempt; pure but for the bytes handed in."""

from typing import Final

from mcp_interface.clock import Entropy

FIRST: Final = 0.05
LONGEST: Final = 30.0


def pause(failures: int, entropy: Entropy) -> float:
    """Seconds to wait after so many failures in a row: doubling from 50 ms to 30 s, each a quarter up or down.

    Args:
        failures: One or more.
        entropy: Where the jitter comes from, so that many servers do not come back in step.
    """
    nominal = min(LONGEST, FIRST * 2.0 ** min(failures - 1, 20))
    share = int.from_bytes(entropy.token(2)) / 0xFFFF
    return min(LONGEST, nominal * (0.75 + share / 2))
