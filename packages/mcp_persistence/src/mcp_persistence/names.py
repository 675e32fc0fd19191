"""What may be a name, and what a glob means.

The grammar of globs: `*` is any run of characters, empty too; `?` is exactly one; `[abc]`, `[a-c]` and `[!a]`
are one character of a set or outside of it; a bracket that never closes, and everything else, is itself.
Upper and lower case differ, no character is special as a separator, and the whole name must match. A
literal sign is written as a set: `[*]`, `[?]`, `[[]`.
"""

import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final

from mcp_interface.errors import CallerMistaken
from mcp_interface.store import PAGE

MAX_STREAM: Final = 200
"""Longest stream name, in characters."""
MAX_KEY: Final = 512
"""Longest key or glob, in characters."""
_BEYOND: Final = chr(sys.maxunicode)
"""Behind every printable sign."""
_LARGEST: Final = 2**63 - 1


def can_be_stream(name: str) -> bool:
    """Tell whether a text is 1 to `MAX_STREAM` printable characters."""
    return 0 < len(name) <= MAX_STREAM and name.isprintable()


def can_be_key(key: str) -> bool:
    """Tell whether a text is 1 to `MAX_KEY` printable characters."""
    return 0 < len(key) <= MAX_KEY and key.isprintable()


def check_stream(name: str) -> None:
    """Refuse what cannot name a stream.

    Raises:
        CallerMistaken: As `can_be_stream`.
    """
    if not (0 < len(name) <= MAX_STREAM and name.isprintable()):  # as `can_be_stream`, on the hottest path
        raise CallerMistaken(
            f"{name[:60]!r} cannot name a stream", f"use 1 to {MAX_STREAM} printable characters"
        )


def check_key(key: str) -> None:
    """Refuse what cannot be a key.

    Raises:
        CallerMistaken: As `can_be_key`.
    """
    if not can_be_key(key):
        raise CallerMistaken(f"{key[:60]!r} cannot be a key", f"use 1 to {MAX_KEY} printable characters")


def check_idempotency_key(key: str) -> None:
    """Refuse what cannot be an idempotency key.

    Raises:
        CallerMistaken: As `can_be_stream`.
    """
    if not can_be_stream(key):
        raise CallerMistaken(
            f"{key[:60]!r} cannot be an idempotency key", f"use 1 to {MAX_STREAM} printable characters"
        )


def check_glob(pattern: str) -> None:
    """Refuse a glob longer than any name.

    Raises:
        CallerMistaken: It is.
    """
    if len(pattern) > MAX_KEY:
        raise CallerMistaken(f"a glob of {len(pattern)} characters", f"use up to {MAX_KEY}")


def matches(name: str, pattern: str) -> bool:
    """Tell whether a whole name matches a glob; the time it takes does not explode with the number of stars."""
    return fnmatchcase(name, pattern)


def matcher(pattern: str) -> Callable[[str], bool]:
    """`matches` of one glob, for whoever asks for many names."""
    beginning = pattern[:-1]
    if pattern.endswith("*") and is_exact(beginning):
        return lambda name: name.startswith(beginning)
    return lambda name: fnmatchcase(name, pattern)


def span(pattern: str) -> tuple[str, str]:
    """Between which texts all names lie that match a glob: the first one included, the other not."""
    literal = pattern[: min((pattern.index(sign) for sign in "*?[" if sign in pattern), default=len(pattern))]
    return literal, literal + _BEYOND


def is_exact(pattern: str) -> bool:
    """Tell whether a glob can match only the name that it spells."""
    return not any(sign in pattern for sign in "*?[")


def page(limit: int) -> int:
    """How many rows a read may return."""
    return max(0, min(limit, PAGE))


def cursor(after: int) -> int:
    """A place to read from that SQLite can hold; before the first record is zero."""
    return max(0, min(after, _LARGEST))
