"""Finding by words: all must occur somewhere, upper and lower case alike. Words are text, never a pattern. Pure."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from mcp_interface.errors import CallerMistaken

MAX_QUERY: Final = 1_000
"""Characters of a query."""


def plain(text: str) -> str:
    """A text as it is compared."""
    return unicodedata.normalize("NFC", text).casefold()


def words_of(query: str) -> list[str]:
    """The words of a query, each once.

    Raises:
        CallerMistaken: It is too long.
    """
    if len(query) > MAX_QUERY:
        raise CallerMistaken(
            f"a query of {len(query)} characters exceeds {MAX_QUERY}", "search for fewer words"
        )
    return list(dict.fromkeys(plain(query).split()))


def missing(words: Iterable[str], *texts: str) -> list[str]:
    """The words that occur in none of the texts, which are `plain`."""
    return [word for word in words if not any(word in text for text in texts)]
