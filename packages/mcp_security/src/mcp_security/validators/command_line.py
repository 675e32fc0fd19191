"""One typed line as words, for people; no shell ever reads it. Pure, and linear in its length.

Words are separated by spaces. Single quotes keep everything, double quotes everything but `$`, a backquote and
a backslash; outside quotes a backslash stands before the one character that it makes plain. That is all: where
a shell would do more than that (expand, redirect, join, comment), the line is refused with the reason. It is
never repaired, so that nobody gets less, or more, than what the line says to a reader.
"""

import re
from typing import Final

from mcp_interface.errors import CallerMistaken

MAX_LINE: Final = 8_192
"""Characters."""

_META: Final = "|&;<>()$`*?[]{}~!#"
_PART: Final = re.compile(
    rf"""(?P<space>[ ]+)
    |(?P<plain>[^ '"\\{re.escape(_META)}]+)
    |'(?P<single>[^']*)'
    |"(?P<double>[^"$`\\]*)"
    |\\(?P<escaped>[ '"\\{re.escape(_META)}])
    """,
    re.VERBOSE,
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


def parse_line(text: str) -> tuple[str, ...]:
    """Split a line into a program and its arguments.

    Raises:
        CallerMistaken: Naming the character and its position, counted from one.
    """
    if len(text) > MAX_LINE:
        raise CallerMistaken(f"the line has {len(text)} characters; {MAX_LINE} are allowed", "shorten it")
    if not text.isprintable():
        at = next(at for at, sign in enumerate(text) if not sign.isprintable())
        raise _refused(text, at, "is a control character, or one that cannot be seen", "leave it out")
    if _ASSIGNMENT.match(text.lstrip(" ")):
        raise CallerMistaken("the line begins with an assignment", "begin it with the program")
    words = _words(text)
    if not words:
        raise CallerMistaken("the line is empty", "write the absolute path of a program and its arguments")
    return tuple(words)


def _words(text: str) -> list[str]:
    words: list[str] = []
    parts: list[str] = []
    at, inside = 0, False
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise _refusal(text, at)
        kind = match.lastgroup or ""
        if kind != "space":
            parts.append(match[kind])
            inside = True  # also an empty pair of quotes is a word
        elif inside:
            words.append("".join(parts))
            parts, inside = [], False
        at = match.end()
    return [*words, "".join(parts)] if inside else words


def _refusal(text: str, at: int) -> CallerMistaken:
    sign = text[at]
    if sign == "'":
        return _refused(text, at, "opens a quotation that does not end", "close it")
    if sign == '"':
        end = next((end for end in range(at + 1, len(text)) if text[end] in '"$`\\'), None)
        if end is None or text[end] == '"':
            return _refused(text, at, "opens a quotation that does not end", "close it")
        return _refused(text, end, "means something to a shell between double quotes", "use single quotes")
    if sign == "\\":
        why = "stands before a character that is plain without it, or before nothing"
        return _refused(text, at, why, "leave it out, or put the word in single quotes")
    why = "means something to a shell, and here no shell reads the line"
    return _refused(text, at, why, "put the word in single quotes if it is meant as it stands")


def _refused(text: str, at: int, why: str, remedy: str) -> CallerMistaken:
    return CallerMistaken(f"{text[at]!r} at character {at + 1} {why}", remedy)
