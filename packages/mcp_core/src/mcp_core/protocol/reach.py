"""Words about servers and tools that cannot be reached; pure."""

from collections.abc import Iterable
from difflib import get_close_matches

from mcp_interface.errors import Interrupted, ServerUnavailable

_LONGEST = 500


class NotSent(ServerUnavailable):
    """The call certainly never reached the server, so that it may be sent again."""


class Relisted(NotSent):
    """The server refused a call before it began, because we knew an older form of its tool; now we know the new one."""


class Lost(Interrupted):
    """The server was lost under the call."""


class Forgotten(Interrupted):
    """The server no longer knows what it had asked, so that the call cannot go on from there."""


def first_reason(error: BaseException) -> str:
    """The first real error inside nested groups, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename!r} was not found"
    return (str(error) or type(error).__name__)[:_LONGEST]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A remedy that names what was probably meant, or else the first of what there is."""
    names = list(known)
    close = get_close_matches(wrong, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"there is {', '.join(map(repr, names[:10]))}{more}" if names else "there is none yet"
