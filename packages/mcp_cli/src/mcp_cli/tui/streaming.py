"""An answer while it grows: finished parts are drawn once, only the open end is drawn again.

Markdown is read line by line, and a part that is followed by another one never changes any more. So all parts but
the last are frozen as lines; of a list all items but the last, of an open code block all but its last lines.
What is drawn with each frame does not grow with the answer. Loaded with the first text, as `markup` is.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.segment import Segment
from textual.strip import Strip

from mcp_cli.tui.blocks import is_blank, without_gaps
from mcp_cli.untrusted import printable

Draw = Callable[[Sequence[Token]], list[Strip]]
LONG: Final = 2_000
"""Characters of an open part that cannot be divided, such as a table, from which on not every letter is drawn."""
SHARE: Final = 12
"""Such a part is drawn again when it has grown by this part of its length: the cost of a letter stays the same."""
CHUNK: Final = 30
"""Lines of an open code block that are frozen together."""
_LISTS: Final = frozenset({"bullet_list_open", "ordered_list_open"})
_CODE: Final = frozenset({"fence", "code_block"})
_FAR_REACHING: Final = re.compile("[\x1b\x80-\x9f]")
"""What may make `printable` take away more than the letter itself."""
_PARSER: Final = MarkdownIt().enable("strikethrough").enable("table")
_BLANK: Final = Strip([Segment("")])


class _Part(msgspec.Struct, frozen=True):
    """A part of the text on its outermost level."""

    tokens: list[Token]
    line: int
    """At which it begins."""

    @property
    def kind(self) -> str:
        return self.tokens[0].type


class _Fence:
    """A code block that has not ended yet."""

    def __init__(self, token: Token, opening: str, at: int) -> None:
        self.token = token
        self.indent = len(opening) - len(opening.lstrip(" "))
        self.at = at
        """Where the code goes on that was not looked at yet."""
        self.code: list[str] = []
        self.drawn = 0
        """Lines of code that are frozen."""
        self.strips: list[Strip] = []
        mark = re.escape(token.markup[:1])
        self._end = re.compile(rf" {{0,3}}{mark}{{{len(token.markup)},}} *$")

    def closes(self, line: str) -> bool:
        return self._end.match(line) is not None

    def inner(self, line: str) -> str:
        """Take away as many blanks as there are before the fence."""
        return line[min(self.indent, len(line) - len(line.lstrip(" "))) :]

    def part(self, lines: Sequence[str]) -> list[Token]:
        return [self.token.copy(content="".join(f"{line}\n" for line in lines))]


class Growing:
    """The lines of one answer.

    Args:
        draw: Draws tokens that belong together.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._raw = ""
        self._local = True
        """Whether each letter could be cleaned by itself so far."""
        self._begin("")

    def _begin(self, source: str) -> None:
        self._source = source
        self._at = 0
        """Where the open end begins."""
        self._seen = 0
        """Up to where whole lines were looked at."""
        self._strips: list[Strip] = []
        self._next: int | None = None
        """Number of the next item, when the open end goes on with a list."""
        self._fence: _Fence | None = None
        self._names: dict[str, Any] = {}
        """Link definitions."""
        self._tail: tuple[int, int, list[Strip]] = (-1, 0, [])
        self._whole = False

    def lines(self, text: str, *, whole: bool) -> list[Strip]:
        """Return all lines of the answer.

        Args:
            text: As it came, from its beginning.
            whole: Nothing more follows.
        """
        self._take(text)
        if whole and not self._whole:
            self._finish()
        if self._whole:
            return self._strips
        end = self._source.rfind("\n") + 1
        if end > self._seen and not self._may_wait(end - self._at, end - self._seen):
            self._seen = end
            self._freeze(end)
        return self._strips + self._open_end()

    def _take(self, text: str) -> None:
        """Clean the text; what was drawn is forgotten when it was not the beginning of it."""
        if text == self._raw:
            return
        fresh = text[len(self._raw) :] if text.startswith(self._raw) else None
        self._local = self._local and fresh is not None and not _FAR_REACHING.search(fresh)
        source = self._source + printable(fresh or "") if self._local else printable(text)
        self._raw = text
        if self._whole or not source.startswith(self._source[: self._seen]):
            self._begin(source)
        self._source = source

    def _finish(self) -> None:
        rest = self._parts(self._source[self._at :], self._names)
        if self._names:  # a name that was defined late may be meant by what was drawn before
            self._begin(self._source)
            rest = self._parts(self._source, self._names)
        self._fence = None
        for part in rest:
            self._place(self._drawn(part, self._next), joined=self._next is not None)
            self._next = None
        self._whole = True

    # -- what is finished -------------------------------------------------------------------------------------

    def _freeze(self, end: int) -> None:
        """Draw for good what no further line can change."""
        while True:
            if self._fence is not None and not self._read_code(self._fence, end):
                return
            tail = self._source[self._at : end]
            parts = self._parts(tail, self._names)
            for part in parts[:-1]:
                self._place(self._drawn(part, self._next), joined=self._next is not None)
                self._next = None
            if not parts:
                return
            last, starts = parts[-1], _starts(tail, self._at)
            self._at = starts[last.line]
            if last.kind == "fence":
                opening = self._source[self._at : starts[last.line + 1]]
                self._fence = _Fence(last.tokens[0], opening, starts[last.line + 1])
                continue
            if last.kind in _LISTS:
                self._freeze_items(last, starts)
            return

    def _freeze_items(self, part: _Part, starts: Sequence[int]) -> None:
        *finished, last = _items(part)
        if not finished:
            return
        number = _number(part, self._next)
        numbered = enumerate(finished, number)
        strips = [strip for place, item in numbered for strip in self._item(part, item, place)]
        self._place(strips, joined=self._next is not None)
        self._next = number + len(finished)
        self._at = starts[(last[0].map or [0])[0]]

    def _read_code(self, fence: _Fence, end: int) -> bool:
        """Take over lines of code; True when the code block has ended."""
        while fence.at < end:
            stop = self._source.index("\n", fence.at)
            line = self._source[fence.at : stop]
            fence.at = stop + 1
            if fence.closes(line):
                self._place(self._draw(fence.part(fence.code)), joined=False)  # once more, as one piece
                self._at, self._fence = fence.at, None
                return True
            fence.code.append(fence.inner(line))
            if len(fence.code) - fence.drawn >= CHUNK and line.strip():
                strips = self._draw(fence.part(fence.code[fence.drawn :]))
                fence.strips += strips[:-1] if not fence.drawn else strips[1:-1]
                fence.drawn = len(fence.code)
        return False

    def _place(self, strips: list[Strip], *, joined: bool) -> None:
        if strips and self._strips and not joined:
            self._strips.append(_BLANK)
        self._strips += strips

    # -- what is open -----------------------------------------------------------------------------------------

    def _may_wait(self, length: int, grown: int) -> bool:
        return self._fence is None and length > LONG and grown < length // SHARE

    def _open_end(self) -> list[Strip]:
        at, length, strips = self._tail
        if at == self._at and self._may_wait(len(self._source) - at, len(self._source) - at - length):
            return strips
        if self._fence is not None:
            partial = self._source[self._fence.at :]
            lines = self._fence.code[self._fence.drawn :]
            drawn = self._draw(self._fence.part([*lines, self._fence.inner(partial)] if partial else lines))
            strips = self._fence.strips + (drawn[1:] if self._fence.drawn else drawn)
        else:
            strips = self._open_parts()
        joined = not self._strips or not strips or self._next is not None
        strips = strips if joined else [_BLANK, *strips]
        self._tail = (self._at, len(self._source) - self._at, strips)
        return strips

    def _open_parts(self) -> list[Strip]:
        # what the unfinished line defines counts only when the line is whole
        known = {"references": dict(self._names.get("references", {}))}
        strips: list[Strip] = []
        goes_on = self._next
        for part in self._parts(self._source[self._at :], known):
            drawn = self._drawn(part, goes_on)
            strips += [_BLANK, *drawn] if strips and drawn else drawn
            goes_on = None
        return strips

    # -- parts ------------------------------------------------------------------------------------------------

    def _parts(self, text: str, names: dict[str, Any]) -> list[_Part]:
        parts: list[_Part] = []
        tokens: list[Token] = []
        for token in _PARSER.parse(text, names):
            tokens.append(token)
            if token.level == 0 and token.nesting <= 0:
                parts.append(_Part(tokens, (tokens[0].map or [0])[0]))
                tokens = []
        return parts

    def _drawn(self, part: _Part, goes_on: int | None) -> list[Strip]:
        if part.kind in _LISTS:
            number = _number(part, goes_on)
            numbered = enumerate(_items(part), number)
            return [strip for place, item in numbered for strip in self._item(part, item, place)]
        strips = self._draw(part.tokens)
        return strips if part.kind in _CODE else _trimmed(strips)

    def _item(self, part: _Part, item: list[Token], number: int) -> list[Strip]:
        """Draw one item as a list of its own."""
        opening = part.tokens[0].copy(attrs={"start": number})
        return _trimmed(self._draw([opening, *item, part.tokens[-1]]))


def _starts(text: str, at: int) -> list[int]:
    """Return where each line begins; `at` is where the text begins."""
    starts = [at]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts


def _items(part: _Part) -> list[list[Token]]:
    items: list[list[Token]] = []
    for token in part.tokens[1:-1]:
        if token.type == "list_item_open" and token.level == 1:
            items.append([])
        items[-1].append(token)
    return items


def _number(part: _Part, goes_on: int | None) -> int:
    start = part.tokens[0].attrs.get("start", 1)
    return goes_on if goes_on is not None else int(start)


def _trimmed(strips: list[Strip]) -> list[Strip]:
    strips = without_gaps(strips)
    return strips[1:] if strips and is_blank(strips[0]) else strips
