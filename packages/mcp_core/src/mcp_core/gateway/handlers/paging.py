"""Cutting lists into pages with an opaque cursor."""

from collections.abc import Sequence
from typing import Final, TypeVar

from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken

T = TypeVar("T")
LONGEST: Final = 18
"""Digits of a position; the journal counts in 64 bits."""


def page_of(items: Sequence[T], limit: int, cursor: str | None) -> Page[T]:
    """The page that begins where `cursor` says.

    Raises:
        CallerMistaken: The cursor is not one of ours.
    """
    start = position_of(cursor)
    return Page(
        items=list(items[start : start + limit]),
        cursor=str(start + limit) if start + limit < len(items) else None,
    )


def position_of(cursor: str | None) -> int:
    """The number in a cursor; none is zero.

    Raises:
        CallerMistaken: The cursor is not one of ours.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= LONGEST):
        raise CallerMistaken(
            f"cursor {cursor[:40]!r} is not one of ours", "pass a page's cursor back unchanged"
        )
    return int(cursor)
