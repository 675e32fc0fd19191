"""The transcript on the screen: one scroll view over lines that were drawn once.

A widget for each message makes every key and every piece of streamed text slower with the length of the
session. Here an item is drawn to strips when it appears or changes, and only a window of the latest items is
drawn at all; scrolling to its top draws earlier ones.
"""

from collections.abc import Sequence
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from mcp_cli.transcript import Block
from mcp_cli.tui.blocks import Item, Painter

WINDOW: Final = 80
"""Items that are drawn when a session is opened or the width changes."""
MORE: Final = 60
"""Items that are added at the top when somebody scrolls there."""
MOST: Final = 600
"""Items kept drawn while following the end."""


class _Entry:
    __slots__ = ("item", "strips")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.strips: list[Strip] | None = None


class TranscriptPane(ScrollView, can_focus=True):
    """Shows blocks of the session and, between them, what commands showed."""

    ALLOW_SELECT = True
    DEFAULT_CSS = """
    TranscriptPane {
        background: $background;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-color: $panel;
        overflow-x: hidden;
        overflow-y: scroll;
    }
    """
    unfolded = reactive(False)

    def __init__(self, painter: Painter) -> None:
        super().__init__(id="transcript")
        self._painter = painter
        self._entries: list[_Entry] = []
        self._places: list[int] = []
        """Entry of each block, by the block's index."""
        self._first = 0
        """First entry that is drawn."""
        self._lines: list[Strip] = []
        self._starts: list[int] = []
        """Line at which each drawn entry begins."""
        self._width = 0
        self._follow = True
        """Whether new lines are followed: nobody has scrolled away from the end."""

    # -- content ------------------------------------------------------------------------------------------

    def sync(self, blocks: Sequence[Block]) -> None:
        """Take over the blocks of the session; only what changed is drawn again."""
        lowest = len(self._entries)
        for index, place in enumerate(self._places[: len(blocks)]):
            entry = self._entries[place]
            if entry.item is not blocks[index]:
                entry.item, entry.strips = blocks[index], None
                lowest = min(lowest, place)
        for block in blocks[len(self._places) :]:
            self._places.append(len(self._entries))
            self._entries.append(_Entry(block))
        self._lay_out(lowest)

    def add(self, item: Item) -> None:
        """Place something below everything."""
        self._entries.append(_Entry(item))
        self._lay_out(len(self._entries) - 1)

    def reset(self) -> None:
        """Begin with an empty screen; blocks are taken over anew."""
        self._entries, self._places, self._lines, self._starts, self._first = [], [], [], [], 0
        self._follow = True
        self._lay_out(0)

    def sweep(self) -> None:
        """Empty the screen; blocks that were on it do not come back."""
        kept = [_Entry(self._entries[place].item) for place in self._places]
        for entry in kept:
            entry.strips = []
        self._entries, self._places = kept, list(range(len(kept)))
        self._first = len(kept)
        self._lines, self._starts = [], []
        self._lay_out(len(kept))

    def repaint(self, painter: Painter | None = None) -> None:
        """Draw everything in the window again, as after a change of colours or width."""
        self._painter = painter or self._painter
        for entry in self._entries:
            if entry.strips:
                entry.strips = None
        if self._follow:
            self._first = max(self._first, len(self._entries) - WINDOW)
        self._lines, self._starts = [], []
        self._lay_out(self._first)

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to see."""
        return not self._lines

    def _lay_out(self, lowest: int) -> None:
        """Draw what is not drawn from entry `lowest` on, and take over the height."""
        if not self._width:
            return
        if self._follow and len(self._entries) - self._first > MOST:
            self._first, lowest = len(self._entries) - WINDOW, 0
        if len(self._entries) - max(self._first, lowest) > WINDOW:
            self._first, lowest = max(self._first, len(self._entries) - WINDOW), 0
        lowest = max(lowest, self._first)
        kept = lowest - self._first
        if lowest == self._first or kept > len(self._starts):
            lowest, kept = self._first, 0
        self._lines = self._lines[: self._starts[kept]] if kept < len(self._starts) else self._lines
        self._starts = self._starts[:kept]
        if not kept:
            self._lines = []
        for entry in self._entries[lowest:]:
            self._starts.append(len(self._lines))
            self._lines += self._drawn(entry)
        self.virtual_size = Size(self._width, len(self._lines))
        self.refresh()
        self._stay()

    def to_end(self) -> None:
        """Go to the last line and follow new ones."""
        self._follow = True
        self._stay()

    def _stay(self) -> None:
        if self._follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _drawn(self, entry: _Entry) -> list[Strip]:
        if entry.strips is None:
            entry.strips = self._painter.paint(entry.item, self._width, unfolded=self.unfolded)
        return entry.strips

    # -- behaviour ----------------------------------------------------------------------------------------

    def watch_unfolded(self) -> None:
        """Open or fold all tool results."""
        self.repaint()

    def on_resize(self, event: Resize) -> None:
        """Draw again when the width is another one."""
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.repaint()
        self.call_after_refresh(self._stay)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw earlier items when somebody comes to the top."""
        super().watch_scroll_y(old_value, new_value)
        self._follow = new_value >= self.max_scroll_y - 1
        if new_value <= 0 < old_value and self._first > 0:
            self.call_later(self._reach_back)

    def _reach_back(self) -> None:
        before = len(self._lines)
        self._first = max(0, self._first - MORE)
        self._lines, self._starts = [], []
        for entry in self._entries[self._first :]:
            self._starts.append(len(self._lines))
            self._lines += self._drawn(entry)
        self.virtual_size = Size(self._width, len(self._lines))
        self.scroll_to(y=len(self._lines) - before, animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line of the view."""
        place = self.scroll_offset.y + y
        ground = self.rich_style
        width = self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, ground)
        strip = self._lines[place].adjust_cell_length(width).apply_style(ground)
        selection = self.text_selection
        span = selection.get_span(place) if selection is not None else None
        if span is not None:
            strip = self._selected(strip, *span)
        return strip.apply_offsets(0, place)

    def _selected(self, strip: Strip, start: int, end: int) -> Strip:
        style = self.screen.get_component_rich_style("screen--selection")
        length = strip.cell_length
        end = length if end == -1 else min(end, length)
        start = min(start, end)
        parts = list(strip.divide([start, end, length]))
        if len(parts) > 1:
            parts[1] = Strip([Segment(text, (own or Style()) + style) for text, own, _ in parts[1]])
        return Strip.join(parts)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text, without the blanks that fill the lines."""
        return selection.extract("\n".join(strip.text.rstrip() for strip in self._lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the new selection."""
        self.refresh()
