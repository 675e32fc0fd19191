"""A table on top of everything, to look things up in: what is shown is a `Sheet`, as every command shows it."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from mcp_cli.sheet import Sheet
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import printable
from mcp_interface.errors import UmbrellaError

T = TypeVar("T")


class Ledger(ModalScreen[None], Generic[T]):
    """Lists things of one kind; subclasses say which, and what else their keys do.

    Args:
        palette: Colours.
        read: Gives what there is, and how it looks, row by row.
    """

    DEFAULT_CSS = """
    Ledger { align: center middle; }
    Ledger #ledger { width: 96%; height: 90%; padding: 0 1; border: round $primary; background: $background; }
    Ledger DataTable { height: 1fr; background: $background; }
    Ledger Static { height: auto; max-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", priority=True, show=False),
        Binding("q", "back", show=False),
        Binding("f5", "reload", show=False),
    ]
    KEYS: ClassVar[str] = "F5 anew  Esc back"

    def __init__(self, palette: Palette, read: Callable[[], Awaitable[tuple[list[T], Sheet]]]) -> None:
        super().__init__()
        self._palette = palette
        self._read = read
        self.things: list[T] = []

    def compose(self) -> ComposeResult:
        """Title, table, what was said last, and keys."""
        with Vertical(id="ledger"):
            yield Static(id="ledger-title", markup=False)
            yield DataTable(cursor_type="row", zebra_stripes=False)
            yield Static(id="ledger-note", markup=False)
            yield Static(Text(self.KEYS, style=self._palette.dim), id="ledger-keys", markup=False)

    def on_mount(self) -> None:
        """Read what there is."""
        self.query_one(DataTable).focus()
        self.action_reload()

    @work(exclusive=True, group="ledger")
    async def action_reload(self) -> None:
        """Read it anew; the mark stays where it can."""
        try:
            self.things, sheet = await self._read()
        except UmbrellaError as error:
            self.note(f"{error.message}; {error.remedy}", self._palette.bad)
            return
        table = self.query_one(DataTable)
        place = table.cursor_row
        table.clear(columns=True)
        table.add_columns(*(Text(name.removeprefix("#")) for name in sheet.columns))
        tones = self._palette.tones
        for cells in sheet.rows:
            table.add_row(*(Text(printable(cell.text), style=tones[cell.tone]) for cell in cells))
        table.move_cursor(row=place)
        title = sheet.title if sheet.rows else sheet.empty
        self.query_one("#ledger-title", Static).update(Text(title, style=f"bold {self._palette.text}"))

    @property
    def marked(self) -> T | None:
        """What the mark is on."""
        row = self.query_one(DataTable).cursor_row
        return self.things[row] if 0 <= row < len(self.things) else None

    def note(self, text: str, style: str) -> None:
        """Say something below the table."""
        self.query_one("#ledger-note", Static).update(Text(printable(text), style=style))

    def action_back(self) -> None:
        """Go back to the conversation."""
        self.dismiss()
