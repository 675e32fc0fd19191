"""The transcript on the screen: one scroll view over lines that were drawn once.

A widget for each message makes every key and every piece of streamed text slower with the length of the
session. Here an item is drawn to strips when it appears or changes, and only a window of the latest items is
drawn at all; scrolling to its top draws earlier ones. What grows out of sight is drawn when it comes into sight.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.binding import Binding, BindingType
from textual.events import Blur, Click, Resize
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from mcp_cli.passages import Answered, Block, may_change
from mcp_cli.tui.blocks import Item, Painter, folds, is_blank

if TYPE_CHECKING:
    from mcp_cli.tui.streaming import Growing

WINDOW: Final = 80
"""Items that are drawn when a session is opened or the width changes."""
MORE: Final = 60
"""Items that are added at the top when somebody scrolls there."""
MOST: Final = 600
"""Items kept drawn while following the end."""
LOAD_S: Final = 0.5
"""Seconds after the first frame in which nothing more is loaded."""


class _Entry:
    __slots__ = ("growing", "item", "strips", "unfolded")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.strips: list[Strip] | None = None
        self.growing: Growing | None = None
        """Of an answer: its lines so far."""
        self.unfolded: bool | None = None
        """Opened or folded by itself; None as all others."""


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
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,p", "mark(-1)", "the card above", show=False),
        Binding("j,n", "mark(1)", "the card below", show=False),
        Binding("enter,space", "open", "open or fold it", show=False),
    ]
    unfolded = reactive(False)

    def __init__(self, painter: Painter) -> None:
        super().__init__(id="transcript")
        self._painter = painter
        self._entries: list[_Entry] = []
        self._places: list[int] = []
        """Entry of each block, by the block's index."""
        self._unsettled: list[int] = []
        """Indexes of the blocks that may change."""
        self._late: set[int] = set()
        """Entries out of sight that have grown since they were drawn."""
        self._marked: _Entry | None = None
        """The card that the keys are for."""
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
        lowest = end = len(self._entries)
        for index in [index for index in self._unsettled if index < len(blocks)]:
            place, block = self._places[index], blocks[index]
            entry = self._entries[place]
            if entry.item is block:
                continue
            entry.item = block
            if self._above_sight(place) and may_change(block):
                self._late.add(place)
                continue
            entry.strips = [] if entry.strips == [] else None  # what was swept away stays away
            lowest = min(lowest, place)
        looked_at = len(self._places)
        for block in blocks[looked_at:]:
            self._places.append(len(self._entries))
            self._entries.append(_Entry(block))
        candidates = chain(self._unsettled, range(looked_at, len(blocks)))
        self._unsettled = [index for index in candidates if index < len(blocks) and may_change(blocks[index])]
        if lowest < end or len(self._entries) > end:
            self._lay_out(lowest)

    def add(self, item: Item) -> None:
        """Place something below everything."""
        self._entries.append(_Entry(item))
        self._lay_out(len(self._entries) - 1)

    def reset(self) -> None:
        """Begin with an empty screen; blocks are taken over anew."""
        self._entries, self._places, self._lines, self._starts, self._first = [], [], [], [], 0
        self._unsettled, self._late, self._marked = [], set(), None
        self._follow = True
        self._lay_out(0)

    def sweep(self) -> None:
        """Empty the screen; blocks that were on it do not come back."""
        kept = [_Entry(self._entries[place].item) for place in self._places]
        for entry in kept:
            entry.strips = []
        self._entries, self._places = kept, list(range(len(kept)))
        self._first = len(kept)
        self._late, self._marked = set(), None
        self._lines, self._starts = [], []
        self._lay_out(len(kept))

    def repaint(self, painter: Painter | None = None) -> None:
        """Draw everything in the window again, as after a change of colours or width."""
        self._painter = painter or self._painter
        for entry in self._entries:
            entry.growing = None
            if entry.strips:
                entry.strips = None
        self._late.clear()
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
        seen = self._in_sight()
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
        size = Size(self._width, len(self._lines))
        if size == self.virtual_size:
            self._refresh_changed(seen)
            return
        self.virtual_size = size
        self.refresh()
        self._stay()

    def _in_sight(self) -> list[Strip]:
        top = self.scroll_offset.y
        return self._lines[top : top + self.size.height]

    def _refresh_changed(self, seen: Sequence[Strip]) -> None:
        """Draw only the lines on the screen that are others than before: most text comes into one line."""
        now = self._in_sight()
        changed = [row for row, (old, new) in enumerate(zip(seen, now, strict=False)) if old != new]
        if len(seen) != len(now):
            self.refresh()
        elif changed:
            self.refresh_lines(self.scroll_offset.y + changed[0], changed[-1] - changed[0] + 1)

    def to_end(self) -> None:
        """Go to the last line and follow new ones."""
        self._follow = True
        self._stay()

    def _stay(self) -> None:
        if self._follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _drawn(self, entry: _Entry) -> list[Strip]:
        if entry.strips is None:
            entry.strips = self._paint(entry)
        return entry.strips

    def _paint(self, entry: _Entry) -> list[Strip]:
        item = entry.item
        if isinstance(item, Answered):
            entry.growing = entry.growing or self._painter.growing(self._width)
            strips = self._painter.answered(item, entry.growing, self._width)
            if not may_change(item):
                entry.growing = None  # its lines are all that is needed from now on
            return strips
        unfolded = self.unfolded if entry.unfolded is None else entry.unfolded
        return self._painter.paint(item, self._width, unfolded=unfolded, marked=entry is self._marked)

    def _above_sight(self, place: int) -> bool:
        """Whether an entry that is drawn ends above the first line that is seen."""
        behind = place + 1 - self._first
        drawn = 0 < behind < len(self._starts) and bool(self._entries[place].strips)
        return drawn and self._starts[behind] < self.scroll_offset.y

    def _catch_up(self) -> None:
        """Draw what has grown out of sight, now that somebody looks there; what is seen stays where it is."""
        if not self._late or not self._starts:
            return
        seen = max(0, bisect_right(self._starts, self.scroll_offset.y) - 1)
        before = self._starts[seen]
        lowest = min(self._late)
        for place in self._late:
            self._entries[place].strips = None
        self._late.clear()
        self._lay_out(lowest)
        if seen < len(self._starts):
            self.scroll_relative(y=self._starts[seen] - before, animate=False, immediate=True)

    # -- one card ---------------------------------------------------------------------------------------------

    def _draw_anew(self, *entries: _Entry | None) -> None:
        places = [place for place, entry in enumerate(self._entries) if entry in entries and entry.strips]
        for place in places:
            self._entries[place].strips = None
        if places:
            self._follow = False
            self._lay_out(min(places))
            self._follow = self.scroll_offset.y >= self.max_scroll_y - 1

    def _toggle(self, entry: _Entry) -> None:
        """Open or fold one entry and leave the view where it is."""
        entry.unfolded = not (self.unfolded if entry.unfolded is None else entry.unfolded)
        self._draw_anew(entry)

    def action_mark(self, step: int) -> None:
        """Go to the next card that folds, above or below."""
        cards = [entry for entry in self._entries[self._first :] if folds(entry.item) and entry.strips]
        if not cards:
            return
        before, marked = self._marked, self._marked
        place = cards.index(marked) + step if marked in cards else -1 if step < 0 else 0
        self._marked = cards[max(0, min(len(cards) - 1, place)) if place >= 0 or marked in cards else -1]
        self._draw_anew(before, self._marked)
        self._show_marked()

    def _show_marked(self) -> None:
        place = next(index for index, entry in enumerate(self._entries) if entry is self._marked)
        line = self._starts[place - self._first]
        if not self.scroll_offset.y <= line < self.scroll_offset.y + self.size.height - 2:
            self.scroll_to(y=max(0, line - 2), animate=False, immediate=True)

    def action_open(self) -> None:
        """Open or fold the marked card."""
        if self._marked is not None:
            self._toggle(self._marked)

    def on_click(self, event: Click) -> None:
        """Open or fold the card whose first line, or whose line that tells of more, was clicked."""
        line = self.scroll_offset.y + event.get_content_offset_capture(self).y
        if self.text_selection is not None or not 0 <= line < len(self._lines):
            return
        place = bisect_right(self._starts, line) - 1
        entry = self._entries[self._first + place]
        start = self._starts[place] + (1 if is_blank(self._lines[self._starts[place]]) else 0)
        if folds(entry.item) and (line == start or "… " in self._lines[line].text):
            self._toggle(entry)

    def on_blur(self, event: Blur) -> None:
        """Mark nothing when the keys go elsewhere."""
        before, self._marked = self._marked, None
        self._draw_anew(before)

    # -- behaviour ----------------------------------------------------------------------------------------

    def watch_unfolded(self) -> None:
        """Open or fold all tool results."""
        for entry in self._entries:
            entry.unfolded = None
        self.repaint()

    def on_mount(self) -> None:
        """Load what draws answers, once the first frame is on the screen."""
        self.set_timer(LOAD_S, self._load)

    @work(thread=True, group="load")
    def _load(self) -> None:
        import mcp_cli.tui.markup
        import mcp_cli.tui.streaming  # noqa: F401  # so that the first answer does not wait for it

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
        if self._late and not self._follow:
            self.call_later(self._catch_up)

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
