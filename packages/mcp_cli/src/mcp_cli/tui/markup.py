"""Draws parts of a Markdown text into lines. Loaded with the first text: rich's Markdown is slow to import."""

from collections.abc import Sequence
from typing import Final

from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Heading, ListElement, Markdown
from rich.padding import Padding
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from mcp_cli.tui.palette import Palette

NUMBERED: Final = 99
"""Numbers of lists are set for two digits, so that an item looks the same whatever comes behind it."""


class _PlainHeading(Heading):
    """A heading as a bold line; rich would draw a box around the first kind."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _List(ListElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = 1 if self.list_start is None else self.list_start
        last = max(NUMBERED, first + len(self.items) - 1)
        for number, item in enumerate(self.items, first):
            if self.list_type == "bullet_list_open":
                yield from item.render_bullet(console, options)
            else:
                yield from item.render_number(console, options, number, last)


class _Parsed(Markdown):
    """Markdown that somebody else has parsed."""

    elements = {
        **Markdown.elements,
        "heading_open": _PlainHeading,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
    }

    def __init__(self, tokens: Sequence[Token], palette: Palette) -> None:
        super().__init__("", code_theme=palette.code_theme, hyperlinks=False, style=palette.text)
        self.parsed = list(tokens)


class MarkupPainter:
    """Draws tokens of Markdown.

    Args:
        console: Draws, with the styles of Markdown as its theme.
        palette: The colours.
        width: Columns.
    """

    def __init__(self, console: Console, palette: Palette, width: int) -> None:
        self._console = console
        self._palette = palette
        self._options = console.options.update(width=width, height=None)

    def draw(self, tokens: Sequence[Token]) -> list[Strip]:
        """Return the lines of one part of a text; what rich cannot draw is shown as it was written."""
        try:
            return self._lines(_Parsed(tokens, self._palette))
        except (
            Exception
        ):  # a model can write what rich trips over, such as "</kbd>", and must not end the screen
            return self._lines(Text("\n".join(token.content for token in tokens if token.content)))

    def _lines(self, inner: RenderableType) -> list[Strip]:
        lines = self._console.render_lines(
            Padding(inner, (0, 2, 0, 2)), self._options, style=Style.parse(self._palette.text), pad=False
        )
        return [Strip(line) for line in lines]
