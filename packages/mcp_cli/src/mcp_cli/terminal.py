"""Prints what commands show: tables with rich for people, one JSON document for programs.

Standard output carries the result and nothing else, standard error the talk. Data is never markup. Without a
terminal, tables are plain lines that `grep` and `cut` can read, never wrapped.
"""

import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from mcp_cli.sheet import Cell, Facts, Prose, Sheet, Shown, Tone
from mcp_cli.untrusted import printable
from mcp_interface.codec import encode_json
from mcp_interface.errors import ErrorBody, StorageCorrupt

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "ok": "green",
    "warn": "yellow",
    "bad": "red",
    "accent": "cyan",
}
VERIFY: Final = "umbrella storage verify"
WIDE: Final = 10_000
"""Columns of an output that is not a terminal: nothing is cut or wrapped."""


def console(stream: IO[str] | None = None) -> "Console":
    """Make a rich console that never reads data as markup, emoji or something to highlight."""
    from rich.console import Console

    target = stream or sys.stdout
    width = None if target.isatty() else WIDE
    return Console(file=target, markup=False, emoji=False, highlight=False, width=width)


def renderable(shown: Shown, styles: dict[Tone, str] = STYLES) -> "RenderableType":
    """Turn something shown into what rich draws."""
    if isinstance(shown, Prose):
        return _text(Cell(shown.text, shown.tone), styles)
    return _sheet(shown, styles) if isinstance(shown, Sheet) else _facts(shown, styles)


def _text(cell: Cell, styles: dict[Tone, str]) -> "RenderableType":
    from rich.text import Text

    return Text(printable(cell.text), style=styles[cell.tone])


def _sheet(sheet: Sheet, styles: dict[Tone, str]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not sheet.rows:
        return Text(printable(sheet.empty), style=styles["dim"])
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style=styles["dim"],
        show_header=any(sheet.columns),
    )
    kept = [
        index
        for index, heading in enumerate(sheet.columns)
        if not heading or any(cells[index].text for cells in sheet.rows)
    ]
    for index in kept:
        heading = sheet.columns[index]
        number = heading.startswith("#")
        table.add_column(
            Text(heading.removeprefix("#")),
            justify="right" if number else "left",
            no_wrap=index < 2 or number,
            overflow="fold",
        )
    for cells in sheet.rows:
        table.add_row(*(_text(cells[index], styles) for index in kept))
    above = [Text(printable(sheet.title), style=styles["strong"])] if sheet.title else []
    below = [Text(printable(sheet.note), style=styles["dim"])] if sheet.note else []
    return Group(*above, table, *below)


def _facts(shown: Facts, styles: dict[Tone, str]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, cell in shown.pairs:
        table.add_row(Text(name, style=styles["dim"]), _text(cell, styles))
    above = [Text(printable(shown.title), style=styles["strong"])] if shown.title else []
    below = [Text(printable(shown.note), style=styles["dim"])] if shown.note else []
    return Group(*above, table, *below)


def show(shown: Shown) -> None:
    """Print for a person on standard output."""
    printer = console()
    if sys.stdout.isatty():
        printer.print(renderable(shown))
        return
    with printer.capture() as capture:  # the blanks that fill the columns are of no use to a program
        printer.print(renderable(shown))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
    sys.stdout.flush()


def json_document(value: Any) -> str:
    """Return one indented JSON document without sealed values."""
    return msgspec.json.format(encode_json(value), indent=2).decode()


def show_json(value: Any) -> None:
    """Print exactly one JSON document on standard output."""
    sys.stdout.write(json_document(value) + "\n")
    sys.stdout.flush()


def complain(error: ErrorBody, *, as_json: bool) -> None:
    """Say on standard error what went wrong and what to do about it."""
    if as_json:
        sys.stderr.write(json_document({"error": error}) + "\n")
        return
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    red, end = ("\x1b[31m", "\x1b[0m") if colour else ("", "")
    sys.stderr.write(f"{red}error:{end} {printable(error.message)}\n")
    if told := remedy(error):
        sys.stderr.write(f"remedy: {printable(told)}\n")


def remedy(error: ErrorBody) -> str:
    """What to do about an error; with damage, also the command that shows how far it goes."""
    if error.code != StorageCorrupt.code or VERIFY in error.message + error.remedy:
        return error.remedy
    return "; ".join(filter(None, [error.remedy, f"what is sound and what is not: {VERIFY}"]))


def say(text: str) -> None:
    """Tell a person something that is not the result."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
