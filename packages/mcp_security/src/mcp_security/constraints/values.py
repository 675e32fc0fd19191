"""Values as people write them, read into one canonical form each, within bounds. Knows no limit by name."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import msgspec

from mcp_interface.errors import CallerMistaken

MAX_TEXT: Final = 4096
"""Characters of one text."""
MAX_COUNT: Final = 2**53
"""Largest whole number; beyond it JSON readers lose digits."""


def form(value: Any) -> bytes:
    """Return the one text of a canonical value: equal exactly if the values are, and True is not 1."""
    return msgspec.json.encode(value, order="sorted")


def unique(values: list[Any]) -> list[Any]:
    """Return canonical values in the order of their text, each once."""
    by_form = {form(value): value for value in values}
    return [by_form[key] for key in sorted(by_form)]


def text(value: Any, most: int = MAX_TEXT) -> str:
    """Read one text.

    Raises:
        CallerMistaken: It is none, is empty, is too long, or holds half a character.
    """
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise CallerMistaken(f"{shown(value)} is not a text of 1 to {most} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise CallerMistaken(f"{shown(value)} holds half of a surrogate pair", "write plain text") from error
    return value


def texts(value: Any, most: int, what: str) -> list[str]:
    """Read a list of texts, each once, in the order given.

    Raises:
        CallerMistaken: It is no list of texts, or longer than `most`.
    """
    if not isinstance(value, list | tuple):
        raise CallerMistaken(f"the value is not a list of {what}")
    if len(value) > most:
        raise CallerMistaken(f"{len(value)} {what} exceed {most}", "use patterns")
    return list(dict.fromkeys(text(item) for item in value))


def whole(value: Any, low: int, high: int) -> int:
    """Read a whole number.

    Raises:
        CallerMistaken: It is none, or out of range.
    """
    # bool is an int to Python; True uses would be one use by accident
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CallerMistaken(f"{shown(value)} is not a whole number from {low} to {high}")
    return int(value)


def number(value: Any) -> int | float:
    """Read a number; one without a fraction becomes whole, so that 1.0 and 1 are one value.

    Raises:
        CallerMistaken: It is none, or beyond what every JSON reader keeps exactly.
    """
    # compared before anything else: to Python, nan is not below any bound, and a huge int is no float
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_COUNT:
        raise CallerMistaken(f"{shown(value)} is not a number from -{MAX_COUNT} to {MAX_COUNT}")
    return int(value) if value == int(value) else float(value)


def shown(value: Any) -> str:
    """Return a short picture of a value for a message."""
    if isinstance(value, str):
        return repr(value[:100])
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**30):
        return repr(value)
    return f"a {type(value).__name__}"


def listed(values: Iterable[str]) -> str:
    """Return the first few of many texts for a message."""
    few = [value[:100] for value in islice(values, 9)]
    return ", ".join(few[:8]) + (", …" if len(few) > 8 else "")
