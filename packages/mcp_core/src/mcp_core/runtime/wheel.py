"""A hierarchical timing wheel over whole ticks; knows neither a clock nor a scheduler.

Five rings of 256 slots: a slot of the first ring is one tick, a slot of each further ring is a turn of the ring
before. What is due in a later turn lies in a later ring and moves inwards when its slot begins, four times at
most; so adding and taking out cost the same whether one entry is kept or a million.

Source: G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.
"""

from typing import Final, Generic, TypeVar

BITS: Final = 8
RINGS: Final = 5
HORIZON: Final = 1 << BITS * RINGS
"""Ticks; nothing may be due this far from now."""

_MASK: Final = (1 << BITS) - 1
_NEVER: Final = 1 << 80
_SHIFT: Final = BITS.bit_length() - 1
"""Shifting by so much divides by `BITS`."""


class Entry:
    """What a wheel keeps; `slot` belongs to the wheel."""

    __slots__ = ("due", "slot")

    def __init__(self, due: int) -> None:
        self.due = due
        """The first tick at which it may be taken, times the wheel's `unit`; finer than ticks, for the order."""
        self.slot: dict[Entry, None] | None = None
        """Where it lies; None when it lies nowhere."""


E = TypeVar("E", bound=Entry)


class Wheel(Generic[E]):
    """Entries by when they are due.

    Two entries that are due at the same tick always lie in the same slot, in the order in which they were added.

    Args:
        unit: How many steps of `Entry.due` one tick has.
        tick: The present one.
    """

    def __init__(self, unit: int, tick: int = 0) -> None:
        self._unit = unit
        self._tick = tick
        self._slots: list[dict[int, dict[Entry, None]]] = [{} for _ in range(RINGS)]
        self._used = [0] * RINGS
        """One bit for each slot; an emptied slot keeps its bit until its time comes."""
        self._count = 0
        self.next = _NEVER
        """No slot begins before this tick; it may turn out that one has been emptied meanwhile."""

    def __len__(self) -> int:
        return self._count

    def add(self, entry: E, tick: int) -> None:
        """Keep an entry that lies nowhere.

        Args:
            entry: Due less than `HORIZON` ticks from now.
            tick: The present one. When slots have begun unseen it is passed over: the wheel stays behind.
        """
        if tick < self.next and tick > self._tick:
            self._tick = tick  # nothing began since, so every entry still lies where it belongs
        self._put(entry)
        self._count += 1

    def remove(self, entry: E) -> None:
        """Take an entry out that lies in this wheel."""
        slot, entry.slot = entry.slot, None
        if slot is not None:
            del slot[entry]
            self._count -= 1
            if not self._count:
                self.clear()

    def take(self, tick: int) -> list[E]:
        """Take out what is due up to this tick, in the order of due time, then of adding."""
        taken: list[E] = []
        while self.next <= tick:
            self._begin(taken)
        self._tick = max(self._tick, tick)
        taken.sort(key=_due)
        return taken

    def clear(self) -> list[E]:
        """Take everything out, in no order."""
        taken: list[E] = []
        for ring in self._slots:
            for slot in ring.values():
                self._hand_out(slot, taken)
            ring.clear()
        self._used = [0] * RINGS
        self.next = _NEVER
        return taken

    def _put(self, entry: Entry) -> None:
        due, now = -(-entry.due // self._unit), self._tick  # rounded up: never early
        tick = due if due > now else now  # `max` takes as long as all the rest of this line and the next
        ring = (tick ^ now | 1).bit_length() - 1 >> _SHIFT
        place = tick >> BITS * ring
        number = place & _MASK
        slots = self._slots[ring]
        slot = slots.get(number)
        if slot is None:
            slot = slots[number] = {}
            self._used[ring] |= 1 << number
            self.next = min(self.next, place << BITS * ring)
        slot[entry] = None
        entry.slot = slot

    def _begin(self, taken: list[E]) -> None:
        """Empty the slot that begins next: from the first ring for good, from the others further in."""
        self._tick = max(self._tick, self.next)
        ring = next(ring for ring in range(RINGS) if self._used[ring])
        lowest = self._used[ring] & -self._used[ring]
        self._used[ring] ^= lowest
        slot = self._slots[ring].pop(lowest.bit_length() - 1)
        if ring:
            for entry in slot:
                self._put(entry)
        else:
            self._hand_out(slot, taken)
        self.next = self._first()

    def _hand_out(self, slot: dict[Entry, None], taken: list[E]) -> None:
        for entry in slot:
            entry.slot = None
            taken.append(entry)  # type: ignore[arg-type]  # only E was ever added
        self._count -= len(slot)

    def _first(self) -> int:
        for ring, used in enumerate(self._used):
            if used:
                number = (used & -used).bit_length() - 1
                outer = self._tick >> BITS * (ring + 1) << BITS
                return (outer | number) << BITS * ring
        return _NEVER


def _due(entry: Entry) -> int:
    return entry.due
