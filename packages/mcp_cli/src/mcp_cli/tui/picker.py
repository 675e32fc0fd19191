"""A list on top of everything, to choose from by typing some letters: inputs, messages, sessions."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mcp_cli.completing import Completion
from mcp_cli.finding import best
from mcp_cli.staging import Pick
from mcp_cli.tui.palette import Palette
from mcp_cli.tui.popup import Popup
from mcp_cli.untrusted import one_line

MOST: Final = 500
"""Entries that are shown at most."""
ROWS: Final = 14
LABEL: Final = 90
AROUND: Final = 8
"""Rows that title, input, keys and borders take."""


class Picker(ModalScreen[str | None]):
    """Gives the key of what was chosen, or None.

    Args:
        palette: Colours.
        title: What the list is for.
        picks: What there is, in the order in which it is shown while nothing is typed.
        keys: What the keys do, beside Enter and Esc.
    """

    DEFAULT_CSS = """
    Picker { align: center bottom; }
    Picker #picker { height: auto; max-height: 100%; padding: 0 1; border: round $primary; background: $background; }
    Picker #picker-title { height: auto; max-height: 2; }
    Picker #picker-input { border: none; height: 1; padding: 0 1; background: $panel; }
    Picker #picker-list { background: $background; padding: 0; }
    Picker #picker-note { height: auto; max-height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", priority=True),
        Binding("ctrl+c", "leave", priority=True),
        Binding("up", "move(-1)", priority=True),
        Binding("down", "move(1)", priority=True),
        Binding("pageup", "move(-10)", priority=True),
        Binding("pagedown", "move(10)", priority=True),
        Binding("enter", "take", priority=True),
    ]

    def __init__(self, palette: Palette, title: str, picks: Sequence[Pick], keys: str = "") -> None:
        super().__init__()
        self._palette = palette
        self._title = title
        self._picks = list(picks)[:MOST]
        self._keys = keys
        self._note: tuple[str, str] = ("", palette.dim)

    def compose(self) -> ComposeResult:
        """Title, input, list and keys."""
        with Vertical(id="picker"):
            yield Static(Text(self._title, style=f"bold {self._palette.text}"), id="picker-title")
            yield Input(placeholder="type to find", id="picker-input")
            yield Popup(self._palette, id="picker-list", rows=ROWS, label=LABEL, beside=AROUND)
            yield Static(id="picker-note")

    def on_mount(self) -> None:
        """Show everything."""
        self.query_one(Input).focus()
        self.offer(self._picks)

    def offer(self, picks: Sequence[Pick]) -> None:
        """Take over what there is; what is typed stays, and so does the mark where it can."""
        self._picks = list(picks)[:MOST]
        self._filter()

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Say something below the list, until something else is done."""
        self._note = (text, self._palette.bad if bad else self._palette.warn)
        self._draw_note()

    @property
    def list(self) -> Popup:
        """What is shown of it."""
        return self.query_one("#picker-list", Popup)

    @property
    def marked(self) -> str | None:
        """Key of what Enter would take."""
        marked = self.list.marked
        return None if marked is None else marked.line

    def _filter(self) -> None:
        typed = self.query_one(Input).value
        by_text = {f"{pick.label} {pick.detail} {pick.key}": pick for pick in self._picks}
        found = best(typed, by_text, MOST) if typed.strip() else list(by_text)
        picks = [by_text[text] for text in found]
        self.list.offer([Completion(pick.key, pick.label, pick.detail) for pick in picks])
        self._draw_note()

    def _draw_note(self) -> None:
        said, style = self._note
        text = Text(one_line(said), style=style)
        if said:
            text.append("\n")
        if not self.list.choices:
            text.append("nothing fits   ", style=self._palette.dim)
        text.append(f"Enter take   Esc leave   {self._keys}".rstrip(), style=self._palette.dim)
        self.query_one("#picker-note", Static).update(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits."""
        self._note = ("", self._palette.dim)
        self._filter()

    def action_move(self, step: int) -> None:
        """Mark another one."""
        self.list.move(step)

    def action_take(self) -> None:
        """Choose what is marked."""
        if self.marked is not None:
            self.dismiss(self.marked)

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)
