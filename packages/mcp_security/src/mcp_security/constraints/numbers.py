"""Limits that are numbers: uses, depth, sizes and rates."""

from typing import Any, Final

import msgspec

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Check, Question
from mcp_security.constraints.values import MAX_COUNT, unique, whole

MAX_RATES: Final = 16
MAX_PERIOD: Final = 366 * 86_400
"""Seconds; the longest period of a rate."""


class Number:
    """A whole number; the meet is the smaller one. Kept elsewhere.

    Args:
        low: The least it can be.
        high: The most.
    """

    types: frozenset[str] | None = None

    def __init__(self, low: int, high: int = MAX_COUNT) -> None:
        self._low = low
        self._high = high

    def read(self, value: Any) -> int:
        """Read a whole number in range."""
        return whole(value, self._low, self._high)

    def meet(self, parent: int, child: int) -> int:
        """Return the smaller one."""
        return min(parent, child)

    def check(self, value: int) -> Check | None:
        """Nothing to see in the action itself."""
        return None


class Size(Number):
    """Most bytes of one action: what it says it will move is judged, what comes back the doer cuts off.

    Args:
        key: Name of the limit, for messages.
        types: Resource types whose actions have a size.
    """

    def __init__(self, key: str, types: frozenset[str]) -> None:
        super().__init__(0)
        self._key = key
        self.types: frozenset[str] = types

    def check(self, value: int) -> Check:
        """Judge `Facts.size`."""
        key = self._key

        def refuse(question: Question) -> str | None:
            size = question.facts.size
            if size is None:
                return f"{key} limits the size, and it is not stated"
            return None if 0 <= size <= value else f"{size} bytes are not within {key} {value}"

        return refuse


class Rate(msgspec.Struct, frozen=True):
    """How often: `count` uses in `per_s` seconds."""

    count: int
    per_s: int


class Rates:
    """A list of rates, all of which are kept, by the kernel, with buckets that siblings share; meet: union."""

    types: frozenset[str] | None = None

    def read(self, value: Any) -> list[dict[str, int]]:
        """Read one rate or a list of them."""
        rates = [value] if isinstance(value, dict) else value
        if not isinstance(rates, list | tuple) or not 0 < len(rates) <= MAX_RATES:
            raise CallerMistaken(
                f"the value is not a list of 1 to {MAX_RATES} rates", 'write {"count": 10, "per_s": 60}'
            )
        return unique([self._rate(rate) for rate in rates])

    def meet(self, parent: list[dict[str, int]], child: list[dict[str, int]]) -> list[dict[str, int]]:
        """Return all rates of both."""
        return self.read(unique([*parent, *child]))

    def check(self, value: list[dict[str, int]]) -> Check | None:
        """Nothing to see in the action itself."""
        return None

    def _rate(self, rate: Any) -> dict[str, int]:
        if not isinstance(rate, dict) or rate.keys() != {"count", "per_s"}:
            raise CallerMistaken("a rate has exactly count and per_s", 'write {"count": 10, "per_s": 60}')
        return {"count": whole(rate["count"], 1, MAX_COUNT), "per_s": whole(rate["per_s"], 1, MAX_PERIOD)}
