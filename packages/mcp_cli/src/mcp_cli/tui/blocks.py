"""Draws one block, or one thing that a command shows, into lines for a given width. Knows no widget.

Everything here comes from others: it is cleaned by `untrusted` and put into `Text` objects, never markup.
"""

from typing import TYPE_CHECKING, Final

import msgspec
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from mcp_cli import terminal
from mcp_cli.passages import (
    Answered,
    Asked,
    Block,
    Permission,
    Remark,
    Said,
    ToolCard,
    break_mark,
    told,
    verdict,
)
from mcp_cli.sheet import Facts, Prose, Sheet, Shown
from mcp_cli.slashes import in_repl
from mcp_cli.tui.cards import UNFOLDED, Barred, CardPainter, cut, more_lines
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line, printable
from mcp_interface.errors import ErrorBody

if TYPE_CHECKING:
    from mcp_cli.tui.streaming import Growing

SAID: Final = 40
"""Lines of a message of a person that are shown while it is folded: a resource may be part of it."""
NARROWEST: Final = 20
CURSOR: Final = " ▍"


class Echo(msgspec.Struct, frozen=True):
    """A slash command as it was typed."""

    line: str


Item = Block | Shown | ErrorBody | Echo
"""Whatever has a place in the transcript."""


def folds(item: Item) -> bool:
    """Whether an item has more to show than it shows at first."""
    match item:
        case ToolCard():
            return True
        case Said():
            return item.text.count("\n") > SAID
        case Remark():
            return bool(item.more)
        case _:
            return False


class Painter:
    """Draws items.

    Args:
        palette: The colours.
    """

    def __init__(self, palette: Palette) -> None:
        self._palette = palette
        self._cards = CardPainter(palette)
        self._console = Console(
            width=80,
            color_system="truecolor",
            force_terminal=True,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            no_color=False,
            theme=_theme(palette),
        )

    def growing(self, width: int) -> "Growing":
        """Return what keeps the lines of one answer."""
        # late: rich's Markdown and what it needs are not wanted for the first frame
        from mcp_cli.tui.markup import MarkupPainter
        from mcp_cli.tui.streaming import Growing

        return Growing(MarkupPainter(self._console, self._palette, max(NARROWEST, width)).draw)

    def answered(self, block: Answered, growing: "Growing", width: int) -> list[Strip]:
        """Return the lines of an answer, of which `growing` keeps those that do not change any more."""
        strips = [Strip([Segment("")]), *growing.lines(block.text, whole=not block.open)]
        if block.open:
            last = strips[-1]
            written = last.crop(0, cell_len(last.text.rstrip()))
            strips[-1] = Strip([*written, Segment(CURSOR, Style.parse(self._palette.text))])
        mark = break_mark(block)
        if mark:
            strips += self._lines(Padding(Text(f"({mark})", f"italic {self._palette.warn}"), (0, 2)), width)
        return strips

    def paint(self, item: Item, width: int, *, unfolded: bool = False, marked: bool = False) -> list[Strip]:
        """Return the lines of an item, one blank line first where it begins something new."""
        if isinstance(item, Answered):
            return self.answered(item, self.growing(width), width)
        strips = without_gaps(self._lines(self._draw(item, unfolded), width))
        if marked and strips:
            strips[0] = strips[0].apply_style(Style.parse(f"on {self._palette.panel}"))
        return [Strip([Segment("")]), *strips] if _stands_alone(item) else strips

    def _lines(self, drawn: RenderableType, width: int) -> list[Strip]:
        options = self._console.options.update(width=max(NARROWEST, width), height=None)
        lines = self._console.render_lines(drawn, options, style=Style.parse(self._palette.text), pad=False)
        return [Strip(line) for line in lines]

    def _draw(self, item: Item, unfolded: bool) -> RenderableType:
        match item:
            case Said():
                return self._said(item, unfolded)
            case ToolCard():
                return self._cards.card(item, unfolded=unfolded)
            case Permission():
                return self._permission(item)
            case Asked():
                return self._asked(item)
            case Remark():
                return self._remark(item, unfolded)
            case _:
                return self._line(item)

    def _line(self, item: Shown | ErrorBody | Echo | Answered) -> RenderableType:
        colours = self._palette
        if isinstance(item, ErrorBody):
            return self._guide("✗", colours.bad, item.message, terminal.remedy(item))
        if isinstance(item, Echo):
            return Text(f"▸ {one_line(item.line)}", style=colours.dim)
        if isinstance(item, Sheet | Facts | Prose):
            return Padding(terminal.renderable(_for_repl(item), colours.tones), (0, 0, 0, 2))
        raise TypeError(f"{type(item).__name__} cannot be drawn")

    def _remark(self, item: Remark, unfolded: bool) -> RenderableType:
        colours = self._palette
        tone = {"dim": colours.dim, "warn": colours.warn, "bad": colours.bad}[item.tone]
        line = self._guide("!" if item.tone != "dim" else "·", tone, item.text, item.remedy)
        if not item.more:
            return line
        text = printable(item.more).rstrip("\n")
        bar = Style.parse(colours.dim)
        if unfolded:
            return Group(line, Barred(Text(cut(text, UNFOLDED)[0], style=colours.text), bar))
        hint = more_lines(text.count("\n") + 1, unfolded=False)
        return Group(line, Barred(Text(hint, style=f"italic {colours.dim}"), bar))

    def _guide(self, mark: str, tone: str, text: str, remedy: str) -> RenderableType:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_row(Text(mark, style=f"bold {tone}"), Text(printable(text), style=tone))
        if remedy:
            table.add_row(
                Text("→", style=self._palette.accent), Text(in_repl(remedy), style=self._palette.text)
            )
        return table

    def _said(self, block: Said, unfolded: bool) -> RenderableType:
        bar = Style.parse(f"bold {self._palette.primary} on {self._palette.panel}")
        ground = f"{self._palette.text} on {self._palette.panel}"
        shown, hidden = cut(printable(block.text), UNFOLDED if unfolded else SAID)
        text = Text(shown, style=ground)
        if hidden:
            text.append(
                f"\n{more_lines(hidden, unfolded=unfolded)}",
                style=f"italic {self._palette.dim} on {self._palette.panel}",
            )
        return Barred(text, bar, Style.parse(ground))

    def _asked(self, block: Asked) -> RenderableType:
        colours, question = self._palette, block.question
        name = f"{one_line(question.server)}.{one_line(question.tool)}"
        if block.response is None:
            line = Text(f"? {name} asks: ", style=f"bold {colours.warn}")
            line.append(one_line(question.inquiry.message, 200), style=colours.text)
            return line
        yes = block.response.action == "accept"
        line = Text("✓ " if yes else "✗ ", style=colours.ok if yes else colours.warn)
        line.append(f"{name}: {one_line(told(block), 200)}", style=colours.dim)
        return line

    def _permission(self, block: Permission) -> RenderableType:
        colours = self._palette
        name = f"{one_line(block.approval.server)}.{one_line(block.approval.tool)}"
        if block.answer is None:
            return Text(f"? {name} needs your answer", style=f"bold {colours.warn}")
        mark, tone = ("✓", colours.ok) if block.answer.allow else ("✗", colours.warn)
        line = Text(f"{mark} ", style=tone)
        line.append(f"{name} {one_line(verdict(block))}", style=colours.dim)
        if block.capability_id is not None and block.answer.remember != "once":
            line.append(f" (take it back: /caps revoke {one_line(block.capability_id)})", style=colours.dim)
        return line


def _theme(colours: Palette) -> Theme:
    return Theme(
        {
            "markdown.code": f"bold {colours.accent}",
            "markdown.h1": f"bold {colours.primary}",
            "markdown.h2": f"bold {colours.primary}",
            "markdown.h3": "bold",
            "markdown.item.bullet": colours.primary,
            "markdown.item.number": colours.primary,
            "markdown.block_quote": colours.dim,
            "markdown.link": colours.accent,
            "markdown.link_url": colours.dim,
            "markdown.table.header": f"bold {colours.dim}",
            "markdown.table.border": colours.dim,
        }
    )


def without_gaps(strips: list[Strip]) -> list[Strip]:
    """Leave one blank line where there are several, and none at the end; code keeps its own."""
    kept: list[Strip] = []
    for strip in strips:
        if kept and is_blank(kept[-1]) and is_blank(strip):
            continue
        kept.append(strip)
    while kept and is_blank(kept[-1]):
        kept.pop()
    return kept


def is_blank(strip: Strip) -> bool:
    """Whether there is nothing on a line, not even a ground."""
    return all(
        not text.strip() and (style is None or style.bgcolor is None or style.bgcolor.is_default)
        for text, style, _ in strip
    )


def _stands_alone(item: Item) -> bool:
    """Whether a blank line belongs before it; results stay close to what led to them."""
    match item:
        case Remark():
            return item.tone != "dim"
        case Sheet() | Facts():
            return bool(item.title)
        case Prose() | ErrorBody():
            return False
        case _:
            return True


def _for_repl(shown: Shown) -> Shown:
    match shown:
        case Sheet():
            return msgspec.structs.replace(shown, note=in_repl(shown.note), empty=in_repl(shown.empty))
        case Facts():
            return msgspec.structs.replace(shown, note=in_repl(shown.note))
        case Prose():
            return shown
