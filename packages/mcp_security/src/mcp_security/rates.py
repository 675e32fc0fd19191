"""How often a right may be used: a bucket that everything derived from the same right draws from.

Generic cell rate algorithm (ITU-T I.371): the bucket knows only the instant at which it will be full again.
"""

from typing import Final

from mcp_security.constraints import Rate

_HAIR: Final = 1e-9
"""Seconds that rounding may cost; without it the last of a full bucket would sometimes be refused."""


class Bucket:
    """`rate.count` uses at once, then one more every `rate.per_s / rate.count` seconds. Full at the beginning."""

    __slots__ = ("_full_at", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._full_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until a use is possible; zero when it is now.

        Args:
            now: Monotonic seconds.
        """
        step = self.rate.per_s / self.rate.count
        late = max(self._full_at, now) + step - self.rate.per_s - now
        return late if late > _HAIR else 0.0

    def take(self, now: float) -> None:
        """Use one."""
        self._full_at = max(self._full_at, now) + self.rate.per_s / self.rate.count
