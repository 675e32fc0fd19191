"""Limits on what actions name: operations and methods, kinds of statements, tables, tools, ends of file names."""

import re
from typing import Final

from mcp_interface.address import OPERATIONS, resource
from mcp_interface.errors import CallerMistaken, InvalidAddress
from mcp_security.constraints.question import Check, Question
from mcp_security.constraints.sets import Patterns, Words
from mcp_security.constraints.values import listed
from mcp_security.patterns import Paths

_STATEMENT: Final = re.compile(r"[a-z][a-z_ ]{0,63}")
_ENDING: Final = re.compile(r"\.[^/*\x00-\x1f\x7f\ud800-\udfff]{1,63}")


class Endings(Words):
    """Ends of file names, as `.txt`; a directory has none."""

    def __init__(self, key: str) -> None:
        super().__init__(key, frozenset({"fs"}), _ending, lambda question: None)

    def check(self, value: list[str]) -> Check:
        """Judge the last segment of the path, to the letter."""
        endings, key = tuple(value), self._key

        def refuse(question: Question) -> str | None:
            paths = question.paths
            if not paths.subtree and paths.segments[-1].endswith(endings):
                return None
            return f"its name does not end as {key} {listed(endings)} ask"

        return refuse


def operations(key: str, *types: str) -> Words:
    """A set of what may be done, as resources name it; in either case, kept in lower case."""
    known = frozenset().union(*(OPERATIONS[each] for each in types or OPERATIONS))

    def word(text: str) -> str:
        if text.lower() not in known:
            raise CallerMistaken(f"{text[:100]!r} is no operation", f"use {', '.join(sorted(known))}")
        return text.lower()

    return Words(key, frozenset(types) or None, word, lambda question: question.resource.operation)


def statements(key: str) -> Words:
    """A set of kinds of SQL statements; in either case, kept in lower case."""

    def word(text: str) -> str:
        if _STATEMENT.fullmatch(text.lower()) is None:
            raise CallerMistaken(f"{text[:100]!r} is no kind of statement", "write select, insert, …")
        return text.lower()

    return Words(key, frozenset({"db"}), word, lambda question: question.facts.statement)


def tables(key: str) -> Patterns[Paths]:
    """Names or globs of tables, in any database that the resource covers; `-` is "no table at all"."""

    def parse(text: str) -> tuple[str, Paths]:
        return text, _segments("db", "read", text, 1)

    def named(question: Question) -> list[Paths]:
        paths = question.paths
        if paths.subtree or len(paths.segments) != 2:
            return []
        return [Paths(paths.segments[1:], False)]

    return Patterns(key, frozenset({"db"}), parse, named)


def tools(key: str) -> Patterns[Paths]:
    """Globs `server/tool`, both spelled as in the resource, that is percent-encoded."""

    def parse(text: str) -> tuple[str, Paths]:
        return text, _segments("tool", "execute", text, 2)

    return Patterns(key, frozenset({"tool"}), parse, lambda question: [question.paths])


def _segments(type: str, operation: str, text: str, count: int) -> Paths:
    try:
        paths = Paths.of(resource(type, operation, text).path)
    except InvalidAddress as error:
        raise CallerMistaken(f"{text[:100]!r} is not allowed: {error.message}", error.remedy) from error
    if paths.subtree or len(paths.segments) != count:
        raise CallerMistaken(
            f"{text[:100]!r} does not have {count} segments", "write '*' for any name within a segment"
        )
    return paths


def _ending(text: str) -> str:
    ending = text if text.startswith(".") else f".{text}"
    if _ENDING.fullmatch(ending) is None:
        raise CallerMistaken(f"{text[:100]!r} is no end of a file name", "write for example .txt")
    return ending
