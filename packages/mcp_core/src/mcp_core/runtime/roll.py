"""pykka's registry in constant time, and names for actors that are made by the million.

pykka keeps its actors in a list: to take one out of 100,000 costs a millisecond. The list is replaced by a dict in
order of insertion that answers to the few list methods pykka uses, so every function of `pykka.ActorRegistry` keeps
its meaning. A URN is a valid UUID, written out only when somebody reads it.
"""

import os
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from pykka import ActorRef, ActorRegistry


class Roll(dict[Any, None]):
    """An ordered set of refs with the methods of a list; safe to read while other threads change it."""

    def append(self, ref: ActorRef[Any]) -> None:
        """Add a ref."""
        self[ref] = None

    def remove(self, ref: ActorRef[Any]) -> None:
        """Take a ref out.

        Raises:
            ValueError: It is not here.
        """
        try:
            del self[ref]
        except KeyError:
            raise ValueError(ref) from None

    def __getitem__(self, place: Any) -> Any:
        """What a list would have there."""
        return list(self)[place]

    def __iter__(self) -> Iterator[Any]:
        """The refs at one moment, the oldest first."""
        while True:
            try:
                return iter(list(self.keys()))
            except RuntimeError:  # another thread added or removed one meanwhile
                continue


def _install() -> Roll:
    with ActorRegistry._actor_refs_lock:
        present: Any = ActorRegistry._actor_refs
        if isinstance(present, Roll):
            return present
        roll = Roll(dict.fromkeys(present))
        ActorRegistry._actor_refs = roll  # type: ignore[assignment]  # it has the methods that are used
        return roll


ROLL: Final = _install()
"""Every running actor of the process, of whatever kind."""
enrol = ROLL.__setitem__
strike = ROLL.pop

_numbers = count(1)
_COUNTER_BITS = 48
_VERSION_4 = 4 << 76
_VARIANT = 2 << 62


def next_number() -> int:
    """A number that no other actor of this process has."""
    return next(_numbers)


def _random_part() -> int:
    bits = int.from_bytes(os.urandom(16), "big")
    bits = bits & ~(0xF << 76) | _VERSION_4
    bits = bits & ~(3 << 62) | _VARIANT
    return bits >> _COUNTER_BITS << _COUNTER_BITS


_BASE = _random_part()


def urn(number: int) -> str:
    """The URN of an actor by its number: random for each process, then counted."""
    text = f"{_BASE | number:032x}"
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
