"""The panel of keys: `?` on an empty line."""

from collections.abc import Mapping
from typing import ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mcp_cli.keymap import KEYS, Place
from mcp_cli.tui.palette import Palette

TITLES: Final[Mapping[Place, str]] = {
    "typing": "while you type",
    "reading": "what is shown",
    "sessions": "sessions and commands",
    "leaving": "leaving",
}


class KeysScreen(ModalScreen[None]):
    """Shows what the keys do, until one is pressed."""

    DEFAULT_CSS = """
    KeysScreen { align: center middle; }
    KeysScreen VerticalScroll {
        width: 90%; max-width: 84; height: auto; max-height: 100%;
        padding: 0 1; border: round $primary; background: $background;
    }
    KeysScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, "dismiss(None)", priority=True)
        for key in ("escape", "enter", "question_mark", "q", "ctrl+c")
    ]

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._palette = palette

    def compose(self) -> ComposeResult:
        """One table."""
        with VerticalScroll():
            yield Static(self._table())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for place, title in TITLES.items():
            table.add_row(Text(title, style=f"bold {self._palette.text}"), "")
            for key in KEYS:
                if key.place == place:
                    label = Text(f"  {key.label}", style=self._palette.primary)
                    table.add_row(label, Text(key.text, style=self._palette.text))
        table.add_row(Text("Esc closes this", style=self._palette.dim), "")
        return table
