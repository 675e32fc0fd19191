"""A list of lines with a cursor that stays on its line when the order changes."""

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

CURSOR = Style(reverse=True)
"""Seen without colours, too."""


class Rows(ScrollView, can_focus=True):
    """Draws the lines that can be seen, and nothing when nothing changed."""

    DEFAULT_CSS = """
    Rows { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]
    cursor = reactive(0, repaint=True)

    def __init__(self, *, id: str, follows: bool = False) -> None:
        super().__init__(id=id)
        self._rows: Sequence[tuple[str, Text]] = ()
        self._follows = follows
        """Whether the last line is shown, and there is no cursor."""

    @property
    def key(self) -> str:
        """Of the line under the cursor; empty when there is none."""
        return self._rows[self.cursor][0] if self.cursor < len(self._rows) else ""

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(text.plain for _, text in self._rows)

    def fill(self, rows: Sequence[tuple[str, Text]]) -> None:
        """Show these; each has a key by which the cursor finds it again."""
        if list(rows) == list(self._rows) and all(
            new.spans == old.spans for (_, new), (_, old) in zip(rows, self._rows, strict=True)
        ):
            return
        key = self.key
        self._rows = rows
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows))
        if self._follows:
            self.scroll_end(animate=False, immediate=True)
        else:
            place = next((at for at, (each, _) in enumerate(rows) if each == key), self.cursor)
            self.cursor = max(0, min(place, len(rows) - 1))
        self.refresh()

    def watch_cursor(self) -> None:
        """Keep it in sight."""
        height = self.scrollable_content_region.height
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif height and self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def action_move(self, step: int) -> None:
        """Move the cursor by so many lines."""
        self.cursor = max(0, min(self.cursor + step, len(self._rows) - 1))

    def action_page(self, step: int) -> None:
        """Move the cursor by so many pages."""
        self.action_move(step * max(1, self.scrollable_content_region.height - 1))

    def render_line(self, y: int) -> Strip:
        """Return one line of the view."""
        place = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        ground = self.rich_style
        if place >= len(self._rows):
            return Strip.blank(width, ground)
        text = self._rows[place][1].copy()
        text.truncate(width, overflow="ellipsis")
        strip = Strip(text.render(self.app.console)).extend_cell_length(width).apply_style(ground)
        if place == self.cursor and not self._follows:
            strip = Strip([segment._replace(style=(segment.style or Style()) + CURSOR) for segment in strip])
        return strip
