"""A message of any kind as a short text, and how much memory it holds; both bounded, and neither ever raises.

A text of unknown length is never made whole to be cut afterwards: texts and containers are cut on the way, and of
an object whose class says nothing about it only the class is named.
"""

import dataclasses
import sys
from reprlib import Repr
from typing import Any, Final

import msgspec

from mcp_interface.envelope import Envelope

SHOWN: Final = 200
"""Characters of an outline."""
SORTED: Final = 100
"""Larger dictionaries and sets are shown by their size alone."""
PARTS: Final = 1000
"""Parts of a message that are weighed; one of more parts counts as too heavy for anything."""


class _Outline(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = 40
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 4

    def repr1(self, x: Any, level: int) -> str:
        kind = type(x)
        # by class and not, as the base does, by its name: `class str` of somebody else is no text
        if kind in _UNSORTED and len(x) > SORTED:
            return f"<{kind.__name__} of {len(x)}>"  # the base sorts all of it to show four
        if kind in _KNOWN:
            return super().repr1(x, level)
        if kind in (bytes, bytearray):
            return f"<{len(x)} bytes>"
        fields = _fields(x)
        if fields is None:
            return f"<{kind.__qualname__}>"
        if level <= 0:
            return f"{kind.__qualname__}(...)"
        shown = [f"{name}={self.repr1(getattr(x, name, None), level - 1)}" for name in fields[:6]]
        return f"{kind.__qualname__}({', '.join(shown)}{', ...' if len(fields) > 6 else ''})"


_UNSORTED: Final = {dict, set, frozenset}
_KNOWN: Final = {str, int, float, bool, type(None), list, tuple, *_UNSORTED}
_outline: Final = _Outline()


def _fields(value: Any) -> list[str] | None:
    """The fields that a class shows of its values; None when it does not say.

    A class that shows itself in its own way may have something to hide; only what others generated counts.
    """
    kind: Any = type(value)
    own = kind.__repr__
    if isinstance(value, msgspec.Struct):
        return list(kind.__struct_fields__) if own is msgspec.Struct.__repr__ else None
    if dataclasses.is_dataclass(kind) and hasattr(own, "__wrapped__"):
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    if isinstance(value, tuple) and getattr(own, "__module__", "") == "collections":
        return list(kind._fields)
    return None


def outline(message: Any) -> str:
    """A text of at most `SHOWN` characters that tells what a message is."""
    try:
        text = _outline.repr(message)
    except Exception:  # whatever its class did
        text = f"<{type(message).__qualname__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def content(message: Any) -> str:
    """The outline of what a message says: of an envelope its payload, because the rest of it is told elsewhere."""
    return outline(message.payload if isinstance(message, Envelope) else message)


def weigh(message: Any, most: int) -> int:
    """Bytes that a message holds in memory, about; more than `most` as soon as that is sure, or it has too many parts."""
    total = parts = 0
    seen: set[int] = set()
    waiting = [message]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        parts += 1
        total += sys.getsizeof(value, 64)
        inner = _inner(value)
        if total > most or parts + len(waiting) + len(inner) > PARTS:
            return most + 1
        waiting.extend(inner)
    return total


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()] if len(value) <= PARTS else range(PARTS + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name, None) for name in type(value).__struct_fields__]
    return list(getattr(value, "__dict__", {}).values()) if not isinstance(value, type) else ()
