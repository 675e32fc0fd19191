"""What a command shows to a person, before anybody decides how: a table, a list of facts, or text.

Headless commands print it with rich, the REPL places it between the messages. Cells are plain data with a
tone; nothing in them is ever read as markup.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

Tone = Literal["plain", "strong", "dim", "ok", "warn", "bad", "accent"]


class Cell(msgspec.Struct, frozen=True):
    """One value in a table; `tone` says what it means, not what colour it has."""

    text: str
    tone: Tone = "plain"


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A table."""

    columns: tuple[str, ...]
    """Headings; one that begins with `#` is a number and set to the right."""
    rows: Sequence[tuple[Cell, ...]]
    title: str = ""
    empty: str = "nothing here yet"
    """Shown instead of a table without rows; says what to do next."""
    note: str = ""
    """A line below."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Named values, one per line."""

    pairs: Sequence[tuple[str, Cell]]
    title: str = ""
    note: str = ""


class Prose(msgspec.Struct, frozen=True):
    """Plain lines."""

    text: str
    tone: Tone = "plain"


Shown = Sheet | Facts | Prose


def row(*cells: Cell | str) -> tuple[Cell, ...]:
    """Make a table row; strings become plain cells."""
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def facts(*pairs: tuple[str, Cell | str], title: str = "", note: str = "") -> Facts:
    """Make a list of facts; strings become plain cells, empty values are left out."""
    kept = [(name, Cell(value) if isinstance(value, str) else value) for name, value in pairs]
    return Facts(pairs=[(name, cell) for name, cell in kept if cell.text], title=title, note=note)
