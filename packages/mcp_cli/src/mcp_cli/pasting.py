"""Folds what is pasted into one word of the input, so that a long paste does not bury what is being written. Pure.

What is sent is what was pasted: a fold is opened again before anybody reads the input. A fold that somebody changes
is a text like any other.
"""

import re
from typing import Final

from mcp_cli.mentions import START

LINES: Final = 8
"""A paste of more lines than these is folded."""
LETTERS: Final = 1_000
"""Or of more characters."""
MOST: Final = 50
"""Folds that are kept; the oldest is given up first."""
_MARK: Final = re.compile(r"\[Pasted #([0-9]{1,9}) \+[0-9]{1,9} lines?\]")


class Folds:
    """The folds of one input."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._number = 0

    def fold(self, pasted: str, present: str = "") -> str:
        """Return what stands in the input for a paste: itself when it is short, else a mark.

        Args:
            pasted: As it came.
            present: What is in the input already; a mark that somebody typed there is not taken.
        """
        lines = pasted.count("\n") + 1
        # A short text that holds a mark would be opened as if it were one of ours.
        if lines <= LINES and len(pasted) <= LETTERS and not _MARK.search(pasted):
            return pasted
        taken = {int(number) for number in _MARK.findall(present)}
        self._number += 1
        while self._number in taken:
            self._number += 1
        mark = f"[Pasted #{self._number} +{lines} {'line' if lines == 1 else 'lines'}]"
        self._texts[mark] = pasted
        while len(self._texts) > MOST:
            del self._texts[next(iter(self._texts))]
        return mark

    def unfold(self, text: str) -> str:
        """Return a text with every fold opened; what is in a fold is never opened further."""
        return _MARK.sub(lambda mark: self._texts.get(mark[0], mark[0]), text)

    def sent(self, text: str) -> str:
        """Return what is to be read instead of the input: its folds opened, and nothing in them but text.

        A message is read for mentions, and for what it begins with. In a fold nobody sees those, so that they are
        escaped there, in the way in which a person would.
        """
        opened: list[str] = []
        spans: list[tuple[int, int]] = []
        end = length = 0
        for mark in _MARK.finditer(text):
            held = self._texts.get(mark[0])
            if held is None:
                continue
            opened += [text[end : mark.start()], held]
            length += mark.start() - end
            spans.append((length, length + len(held)))
            length += len(held)
            end = mark.end()
        whole = "".join([*opened, text[end:]])
        start = len(whole) - len(whole.lstrip())
        hidden = any(first <= start < last for first, last in spans)
        if (
            whole[start : start + 1] in {"/", "!"}
            and not hidden
            and whole[start : start + 2] not in {"//", "!!"}
        ):
            return whole  # an order, whose words are nobody's mentions
        safe = START.sub(
            lambda at: "@@" if any(first <= at.start() < last for first, last in spans) else "@", whole
        )
        return whole[start] + safe[start:] if hidden and whole[start] in "/!" else safe

    def ending(self, text: str) -> str:
        """The fold that a text ends with, or nothing."""
        return next((mark for mark in self._texts if text.endswith(mark)), "")
