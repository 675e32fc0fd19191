"""Words about servers and tools that cannot be reached; pure."""

from collections.abc import Iterable
from difflib import get_close_matches

from mcp_interface.errors import ServerUnavailable

_LONGEST = 500


class NotSent(ServerUnavailable):
    """The call certainly never reached the server, so that it may be sent again."""


def first_reason(error: BaseException) -> str:
    """The first real error inside nested groups, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename!r} was not found"
    return (str(error) or type(error).__name__)[:_LONGEST]


def close_names(wanted: str, known: Iterable[str]) -> str:
    """Up to three names that come close, quoted; empty when none does."""
    return ", ".join(repr(name) for name in get_close_matches(wanted, list(known), n=3, cutoff=0.5))
