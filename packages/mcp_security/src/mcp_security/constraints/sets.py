"""Limits that are sets: of plain words, or of patterns for names; an empty one is refused, never "no limit"."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Check, Question, too_wide
from mcp_security.constraints.values import listed, texts

MAX_NAMES: Final = 256
"""Most entries of one list of names."""


class Words:
    """A set of words; the meet is what both have in common.

    Args:
        key: Name of the limit, for messages.
        types: Resource types on which it bites.
        word: Canonical spelling of a word; raises CallerMistaken for none.
        stated: The word that an action states, or None.
    """

    def __init__(
        self,
        key: str,
        types: frozenset[str] | None,
        word: Callable[[str], str],
        stated: Callable[[Question], str | None],
    ) -> None:
        self.types = types
        self._key = key
        self._word = word
        self._stated = stated

    def read(self, value: Any) -> list[str]:
        """Read a list of words."""
        words = sorted({self._word(word) for word in texts(value, MAX_NAMES, self._key)})
        if not words:
            raise CallerMistaken("an empty list allows nothing", "leave the key out")
        return words

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        """Return the words of both."""
        both = sorted({*parent} & {*child})
        if not both:
            raise too_wide(f"{self._key} {listed(child)} have nothing in common with {listed(parent)}")
        return both

    def check(self, value: list[str]) -> Check:
        """Judge the word that the action states."""
        allowed, key, stated = frozenset(value), self._key, self._stated

        def refuse(question: Question) -> str | None:
            word = stated(question)
            if word in allowed:
                return None
            if word is None:
                return f"{key} limits what is not stated"
            return f"{word[:100]!r} is not one of {key} {listed(value)}"

        return refuse


class Pattern(Protocol):
    """A set of names of which it can be told exactly whether it lies inside another."""

    def includes(self, inner: Self, /) -> bool:
        """Tell whether everything in `inner` is in this one."""
        ...


P = TypeVar("P", bound=Pattern)


class Patterns(Generic[P]):
    """A set of patterns; the meet is the narrower of each pair that lies one inside the other.

    Two patterns that merely overlap (`a*` and `*b`) have no pattern in common, and count as disjoint.

    Args:
        key: Name of the limit, for messages.
        types: Resource types on which it bites.
        parse: Reads a pattern into its canonical text and what it means; raises CallerMistaken.
        named: What an action names, in each way that it can be named; empty if that cannot be told.
    """

    def __init__(
        self,
        key: str,
        types: frozenset[str],
        parse: Callable[[str], tuple[str, P]],
        named: Callable[[Question], Sequence[P]],
    ) -> None:
        self.types: frozenset[str] | None = types
        self._key = key
        self._parse = parse
        self._named = named

    def read(self, value: Any) -> list[str]:
        """Read a list of patterns."""
        patterns = sorted({self._parse(each)[0] for each in texts(value, MAX_NAMES, self._key)})
        if not patterns:
            raise CallerMistaken("an empty list allows nothing", "leave the key out")
        return patterns

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        """Return what is inside one of the other side's, from both sides."""
        both = sorted({*self._inside(child, parent), *self._inside(parent, child)})
        if not both:
            raise too_wide(f"{self._key} {listed(child)} have nothing in common with {listed(parent)}")
        return self.read(both)

    def check(self, value: list[str]) -> Check:
        """Judge that all of what the action names lies inside one pattern."""
        allowed = [self._parse(each)[1] for each in value]
        key, named = self._key, self._named

        def refuse(question: Question) -> str | None:
            for name in named(question):
                for one in allowed:
                    if one.includes(name):
                        return None
            return f"it is not inside {key} {listed(value)}"

        return refuse

    def _inside(self, inner: list[str], outer: list[str]) -> list[str]:
        known = set(outer)
        sets = [self._parse(each)[1] for each in outer]
        return [
            each for each in inner if each in known or any(one.includes(self._parse(each)[1]) for one in sets)
        ]
