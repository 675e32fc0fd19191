"""Draws one block, or one thing that a command shows, into lines for a given width. Knows no widget.

Everything here comes from others: it is cleaned by `untrusted` and put into `Text` objects, never markup.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import Heading, Markdown
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from mcp_cli import terminal
from mcp_cli.presenters import span
from mcp_cli.sheet import Facts, Prose, Sheet, Shown
from mcp_cli.slashes import in_repl
from mcp_cli.transcript import (
    Answered,
    Asked,
    Block,
    Permission,
    Remark,
    Said,
    ToolCard,
    told,
    verdict,
)
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import compact_json, one_line, printable, readable_arguments, readable_json
from mcp_interface.errors import ErrorBody

FOLDED: Final = 6
"""Lines of a tool's result that are shown while it is folded."""
SAID: Final = 40
"""Lines of a message of a person that are shown while it is folded: a resource may be part of it."""
UNFOLDED: Final = 500
"""Lines of a tool's result that are ever shown; the whole is in the export."""
NARROWEST: Final = 20


class Echo(msgspec.Struct, frozen=True):
    """A slash command as it was typed."""

    line: str


Item = Block | Shown | ErrorBody | Echo
"""Whatever has a place in the transcript."""


class _PlainHeading(Heading):
    """A heading as a bold line; rich would draw a box around the first kind."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Markdown(Markdown):
    elements = {**Markdown.elements, "heading_open": _PlainHeading}


class Painter:
    """Draws items.

    Args:
        palette: The colours.
    """

    def __init__(self, palette: Palette) -> None:
        self._palette = palette
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

    def paint(self, item: Item, width: int, *, unfolded: bool) -> list[Strip]:
        """Return the lines of an item, one blank line first where it begins something new."""
        width = max(NARROWEST, width)
        options = self._console.options.update(width=width, height=None)
        lines = self._console.render_lines(
            self._draw(item, unfolded), options, style=Style.parse(self._palette.text), pad=False
        )
        strips = _without_gaps([Strip(line) for line in lines])
        return [Strip([Segment("")]), *strips] if _stands_alone(item) else strips

    def _draw(self, item: Item, unfolded: bool) -> RenderableType:
        match item:
            case Said():
                return self._said(item, unfolded)
            case Answered():
                return self._answered(item)
            case ToolCard():
                return self._card(item, unfolded)
            case Permission():
                return self._permission(item)
            case Asked():
                return self._asked(item)
            case _:
                return self._line(item)

    def _line(self, item: Remark | Shown | ErrorBody | Echo | Block) -> RenderableType:
        colours = self._palette
        if isinstance(item, Remark):
            tone = {"dim": colours.dim, "warn": colours.warn, "bad": colours.bad}[item.tone]
            return self._guide("!" if item.tone != "dim" else "·", tone, item.text, item.remedy)
        if isinstance(item, ErrorBody):
            return self._guide("✗", colours.bad, item.message, terminal.remedy(item))
        if isinstance(item, Echo):
            return Text(f"▸ {one_line(item.line)}", style=colours.dim)
        if isinstance(item, Sheet | Facts | Prose):
            return Padding(terminal.renderable(_for_repl(item), colours.tones), (0, 0, 0, 2))
        raise TypeError(f"{type(item).__name__} cannot be drawn")

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
        shown, hidden = _cut(printable(block.text), UNFOLDED if unfolded else SAID)
        text = Text(shown, style=ground)
        if hidden:
            hint = "cut off; see /export" if unfolded else "Ctrl+O opens"
            text.append(
                f"\n… {hidden} more lines ({hint})",
                style=f"italic {self._palette.dim} on {self._palette.panel}",
            )
        return _Barred(text, bar, Style.parse(ground))

    def _answered(self, block: Answered) -> RenderableType:
        text = printable(block.text) + (" ▍" if block.open else "")
        body: list[RenderableType] = [
            _Markdown(text, code_theme=self._palette.code_theme, hyperlinks=False, style=self._palette.text)
        ]
        if block.cut:
            body.append(Text("(broke off here)", style=f"italic {self._palette.warn}"))
        return Padding(Group(*body), (0, 2, 0, 2))

    def _card(self, card: ToolCard, unfolded: bool) -> RenderableType:
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
        return Group(top, *self._card_body(card, unfolded))

    def _card_body(self, card: ToolCard, unfolded: bool) -> Iterable[RenderableType]:
        colours = self._palette
        bar = Style.parse(colours.dim)
        if card.state == "running" and card.message:
            yield _Barred(Text(one_line(card.message), style=colours.dim), bar)
        if unfolded and card.arguments:
            yield _Barred(
                Text(_cut(readable_arguments(card.arguments), UNFOLDED)[0], style=colours.accent), bar
            )
        if card.result is not None:
            text = printable(card.result.text) or (
                readable_json(card.result.structured) if card.result.structured is not None else ""
            )
            text, hidden = _cut(text.rstrip("\n"), UNFOLDED if unfolded else FOLDED)
            tone = colours.bad if card.result.is_error else colours.dim if not text else colours.text
            yield _Barred(Text(text or "(no output)", style=tone), bar)
            if hidden:
                hint = "cut off; see /export" if unfolded else "Ctrl+O opens"
                yield _Barred(Text(f"… {hidden} more lines ({hint})", style=f"italic {colours.dim}"), bar)
        if card.error is not None:
            yield _Barred(Text(printable(_brief(card.error)), style=colours.bad), bar)
            if card.error.remedy:
                yield _Barred(Text(f"→ {in_repl(card.error.remedy)}", style=colours.accent), bar)

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
        return line


class _Barred:
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


def _without_gaps(strips: list[Strip]) -> list[Strip]:
    """Leave one blank line where there are several, and none at the end; code keeps its own."""
    kept: list[Strip] = []
    for strip in strips:
        if kept and _blank(kept[-1]) and _blank(strip):
            continue
        kept.append(strip)
    while kept and _blank(kept[-1]):
        kept.pop()
    return kept


def _blank(strip: Strip) -> bool:
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


def _arguments(card: ToolCard) -> str:
    if len(card.arguments) == 1:
        [(name, value)] = card.arguments.items()
        if isinstance(value, str | int | float):
            return one_line(f"{name}: {value}", 200)
    return compact_json(card.arguments, 200) if card.arguments else ""


def _ending(card: ToolCard) -> str:
    if card.state == "running":
        return f"{card.progress:.0f} %" if card.progress else "running"
    if card.state == "done":
        failed = "failed, " if card.result is not None and card.result.is_error else ""
        return failed + span(card.seconds or 0.0)
    return card.state


def _brief(error: ErrorBody) -> str:
    """The message without the remedy that some repeat in it; the remedy has a line of its own."""
    return error.message.partition(" To allow it: ")[0]


def _cut(text: str, most: int) -> tuple[str, int]:
    lines = text.split("\n")
    # One line more than allowed is shown rather than announced.
    return (text, 0) if len(lines) <= most + 1 else ("\n".join(lines[:most]), len(lines) - most)


def _for_repl(shown: Shown) -> Shown:
    match shown:
        case Sheet():
            return msgspec.structs.replace(shown, note=in_repl(shown.note), empty=in_repl(shown.empty))
        case Facts():
            return msgspec.structs.replace(shown, note=in_repl(shown.note))
        case Prose():
            return shown
