"""Rows of a database as plain JSON data, within bounds. Pure."""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final

import msgspec

MAX_SAFE: Final = 2**53
"""Beyond it many JSON readers lose digits."""
_DEEPEST: Final = 32


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement gave back."""

    columns: list[str] = []
    rows: list[list[Any]] = []
    """JSON data: bytes are `{"base64": …}`; decimals, large integers, dates, NaN and what has no JSON form are text."""
    truncated: bool = False
    """Whether there were more rows than were asked for, or than fit."""
    changed: int | None = None
    """Rows that were inserted, updated or deleted; None for a read or where the database does not say."""


class Collector:
    """Takes rows until a bound is met.

    Args:
        columns: Names of the columns.
        max_rows: Most rows.
        max_bytes: Most bytes of all rows as JSON; the row that would exceed it is left out.
    """

    def __init__(self, columns: Sequence[str], max_rows: int, max_bytes: int) -> None:
        self._columns = list(columns)
        self._max_rows = max_rows
        self._left = max_bytes
        self._rows: list[list[Any]] = []
        self._truncated = False

    def take(self, row: Sequence[Any]) -> bool:
        """Keep a row; answers False when it is one too many and no more are wanted."""
        if len(self._rows) >= self._max_rows:
            self._truncated = True
            return False
        plain = [as_json(value) for value in row]
        self._left -= len(msgspec.json.encode(plain))
        if self._left < 0:
            self._truncated = True
            return False
        self._rows.append(plain)
        return True

    def rows(self, changed: int | None = None) -> Rows:
        """Everything that was kept."""
        return Rows(columns=self._columns, rows=self._rows, truncated=self._truncated, changed=changed)


def as_json(value: Any, depth: int = 0) -> Any:
    """Return a value of a database as JSON data; nothing is lost silently, see `Rows.rows`."""
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [as_json(one, depth + 1) for one in value]
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): as_json(one, depth + 1) for key, one in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value if _is_json(value) else str(value).encode("utf-8", "replace").decode()


def _is_json(value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) <= MAX_SAFE
    return isinstance(value, float) and math.isfinite(value)
