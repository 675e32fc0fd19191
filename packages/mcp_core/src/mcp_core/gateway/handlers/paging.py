"""Cutting lists into pages with an opaque cursor."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from mcp_interface.clock import Instant
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken

T = TypeVar("T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Place: TypeAlias = tuple[int, str]
"""Where an item stands in its list: a number of at most 18 digits, and its id among those of one number."""
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


def page_behind(
    items: Iterable[T],
    place: Callable[[T], Place],
    limit: int,
    cursor: str | None,
    *,
    falling: bool = False,
) -> Page[T]:
    """The page of what stands behind the item that `cursor` names.

    That item may be gone meanwhile, and others may have come or gone before it: nothing is skipped or shown twice.

    Args:
        items: In the order of their places.
        place: Of an item; no two have the same.
        limit: Items on the page.
        cursor: From the page before.
        falling: The list begins with the highest place.

    Raises:
        CallerMistaken: The cursor is not one of ours.
    """
    mark = None if cursor is None else _place_of(cursor)

    def is_behind(item: T) -> bool:
        return mark is None or (place(item) < mark if falling else place(item) > mark)

    found = list(islice(filter(is_behind, items), limit + 1))
    more = len(found) > limit
    return Page(items=found[:limit], cursor="{}.{}".format(*place(found[limit - 1])) if more else None)


def place_at(moment: Instant, key: str) -> Place:
    """Where an item stands in a list that is ordered by time, then by id."""
    return (moment - _EPOCH) // timedelta(microseconds=1), key


def _place_of(cursor: str) -> Place:
    number, dot, key = cursor.partition(".")
    if not dot:
        number = ""
    return position_of(number), key


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
