"""Draws the card of a tool call: what was called, how far it is, what came of it, and by which right.

Everything here comes from others: it is cleaned by `untrusted` and put into `Text` objects, never markup.
"""

import re
from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from mcp_cli.diffing import preview_lines
from mcp_cli.passages import ToolCard, result_text
from mcp_cli.presenters import span
from mcp_cli.slashes import in_repl
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import compact_json, one_line, printable, readable_arguments
from mcp_interface.errors import ErrorBody
from mcp_interface.tool import Preview

FOLDED: Final = 6
"""Lines of a tool's result that are shown while it is folded."""
UNFOLDED: Final = 500
"""Lines of a tool's result that are ever shown; the whole is in the export."""
TALK: Final = 4
"""Lines of what a tool says that are shown while it runs and is folded."""
DIFF: Final = 12
"""Lines of a change that are shown while it is folded."""
_HUNK: Final = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)


class Barred:
    """Something with a bar at its left, filled to the right when it has a ground."""

    def __init__(self, inner: RenderableType, bar: Style, ground: Style | None = None) -> None:
        self._inner = inner
        self._bar = bar
        self._ground = ground

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        mark = "▌ " if self._ground is not None else "│ "
        inner = options.update(width=max(1, options.max_width - 3))
        for line in console.render_lines(
            self._inner, inner, style=self._ground, pad=self._ground is not None
        ):
            yield Segment(mark, self._bar)
            yield from line
            if self._ground is not None:
                yield Segment(" ", self._ground)
            yield Segment.line()


class CardPainter:
    """Draws cards.

    Args:
        palette: The colours.
    """

    def __init__(self, palette: Palette) -> None:
        self._palette = palette
        self._bar = Style.parse(palette.dim)

    def card(self, card: ToolCard, *, unfolded: bool) -> RenderableType:
        """Return a card: its head, and below what is to be seen of it."""
        return Group(self._head(card), *self._body(card, unfolded))

    def _head(self, card: ToolCard) -> RenderableType:
        colours = self._palette
        marks = {
            "running": ("◌", colours.warn),
            "done": ("●", colours.ok),
            "failed": ("●", colours.bad),
            "denied": ("⊘", colours.bad),
            "interrupted": ("◍", colours.warn),
        }
        mark, tone = marks[card.state]
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"{mark} ", style=tone)
        head.append(f"{one_line(card.server)}.", style=colours.dim)
        head.append(one_line(card.tool), style=f"bold {colours.text}")
        if not card.by_model and card.principal_id.startswith("agent_"):
            head.append(f" as {card.principal_id[:14]}", style=colours.accent)
        head.append(f"  {_arguments(card)}", style=colours.dim)
        top = Table.grid(expand=True, padding=(0, 1, 0, 0))
        top.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        top.add_column(justify="right", no_wrap=True)
        top.add_row(head, Text(_ending(card), style=tone if card.state != "done" else colours.dim))
        return top

    def _body(self, card: ToolCard, unfolded: bool) -> Iterable[RenderableType]:
        colours = self._palette
        if card.state == "running" and card.message:
            yield self._barred(one_line(card.message), colours.dim)
        if unfolded and card.capability_id is not None:
            yield self._barred(f"by the right {one_line(card.capability_id)}", colours.dim)
        if unfolded and card.arguments:
            yield self._barred(cut(readable_arguments(card.arguments), UNFOLDED)[0], colours.accent)
        yield from self._talk(card, unfolded)
        if card.preview is not None and card.preview.diff and card.state in {"running", "done"}:
            yield self._change(card.preview, unfolded)
        if card.result is not None:
            yield from self._result(card, unfolded)
        if card.error is not None:
            yield self._barred(printable(_brief(card.error)), colours.bad)
            if card.error.remedy:
                yield self._barred(f"→ {in_repl(card.error.remedy)}", colours.accent)

    def _talk(self, card: ToolCard, unfolded: bool) -> Iterable[RenderableType]:
        """What the tool said: its last lines while it runs; afterwards only when somebody wants to see them."""
        if not card.said or not (unfolded or card.state == "running"):
            return
        lines = card.said if unfolded else card.said[-TALK:]
        yield self._barred("\n".join(f"» {printable(line)}" for line in lines), self._palette.dim)

    def _change(self, preview: Preview, unfolded: bool) -> RenderableType:
        """What the call changes, as it was shown before it was allowed."""
        text = Text()
        for cell in preview_lines(preview, UNFOLDED if unfolded else DIFF):
            text.append("\n" if text else "").append(cell.text, style=self._palette.tones[cell.tone])
        return Barred(text, self._bar)

    def _result(self, card: ToolCard, unfolded: bool) -> Iterable[RenderableType]:
        colours, result = self._palette, card.result
        text = printable(result_text(result)) if result is not None else ""
        is_diff = _HUNK.search(text) is not None
        most = UNFOLDED if unfolded else DIFF if is_diff else FOLDED
        text, hidden = cut(text.rstrip("\n"), most)
        if result is not None and result.is_error:
            yield self._barred(text or "(no output)", colours.bad)
        elif is_diff:
            yield Barred(self._coloured(text), self._bar)
        else:
            yield self._barred(text or "(no output)", colours.text if text else colours.dim)
        if hidden:
            yield self._hint(hidden, unfolded)

    def _hint(self, hidden: int, unfolded: bool) -> RenderableType:
        return self._barred(more_lines(hidden, unfolded=unfolded), f"italic {self._palette.dim}")

    def _barred(self, text: str, style: str) -> RenderableType:
        return Barred(Text(text, style=style), self._bar)

    def _coloured(self, text: str) -> Text:
        """Colour the unified diffs in a text; whatever stands outside of their hunks stays as it is."""
        colours = self._palette
        shown = Text()
        inside = False
        for line in text.split("\n"):
            style = colours.text
            if _HUNK.match(line):
                inside, style = True, colours.accent
            elif line.startswith(("diff ", "index ", "--- ", "+++ ")):
                inside, style = (inside and not line.startswith(("diff ", "--- a/", "--- /"))), colours.dim
            elif inside and line.startswith("+"):
                style = colours.ok
            elif inside and line.startswith("-"):
                style = colours.bad
            elif inside and not line.startswith((" ", "\\")) and line:
                inside = False
            shown.append(line + "\n", style=style)
        shown.right_crop(1)
        return shown


def more_lines(hidden: int, *, unfolded: bool) -> str:
    """Say that there is more, and how to see it."""
    return f"… {hidden} more lines ({'cut off; see /export' if unfolded else 'click, or Ctrl+O opens all'})"


def _arguments(card: ToolCard) -> str:
    if len(card.arguments) == 1:
        [(name, value)] = card.arguments.items()
        if isinstance(value, str | int | float):
            return one_line(f"{name}: {value}", 200)
    return compact_json(card.arguments, 200) if card.arguments else ""


def _ending(card: ToolCard) -> str:
    if card.state == "running":
        return f"{_gauge(card.progress)} {card.progress:.0f} %" if card.progress else "running"
    if card.state == "done":
        failed = "failed, " if card.result is not None and card.result.is_error else ""
        return failed + span(card.seconds or 0.0)
    return card.state if card.seconds is None else f"{card.state}, {span(card.seconds)}"


def _gauge(progress: float) -> str:
    """A bar of ten cells."""
    full = min(10, max(0, round(progress / 10)))
    return "━" * full + "╌" * (10 - full)


def _brief(error: ErrorBody) -> str:
    """The message without the remedy that some repeat in it; the remedy has a line of its own."""
    return error.message.partition(" To allow it: ")[0]


def cut(text: str, most: int) -> tuple[str, int]:
    """Return the first lines, and how many are left out."""
    lines = text.split("\n")
    # One line more than allowed is shown rather than announced.
    return (text, 0) if len(lines) <= most + 1 else ("\n".join(lines[:most]), len(lines) - most)
