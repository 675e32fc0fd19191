"""Finding the tool one needs among hundreds: full text over names, descriptions and schemas, ranked by BM25.

The ranking is SQLite's (FTS5), in memory and made anew for each search: tools come and go, and a thousand of them
are indexed in a tenth of a second, off the event loop if its caller is wise.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from mcp_interface.tool import ToolInfo

MAX_QUERY: Final = 500
"""Characters of a query that count."""
_SCHEMA: Final = (
    "CREATE VIRTUAL TABLE tools USING fts5(name, server, title, description, parameters, "
    "tokenize = 'porter unicode61 remove_diacritics 2')"
)
_WEIGHTS: Final = "8.0, 4.0, 4.0, 2.0, 1.0"
"""Of the columns, in their order: a word in the name says more than one in a schema."""
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
_DEEPEST: Final = 8


def search_tools(tools: Sequence[ToolInfo], query: str, limit: int) -> list[ToolInfo]:
    """The tools that match a query, the best first; those that match no word of it are left out.

    Args:
        tools: Among which to look.
        query: Words of any kind; parts of words at their beginning count, and so does any form of them in English.
        limit: At most so many.
    """
    words = _words(query[:MAX_QUERY])
    if not words:
        return []
    wanted = " OR ".join(f'"{word}"*' for word in dict.fromkeys(words))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(_SCHEMA)
        database.executemany(
            "INSERT INTO tools (rowid, name, server, title, description, parameters) VALUES (?, ?, ?, ?, ?, ?)",
            ((row, *_columns(tool)) for row, tool in enumerate(tools)),
        )
        found = database.execute(
            f"SELECT rowid FROM tools WHERE tools MATCH ? ORDER BY bm25(tools, {_WEIGHTS}), rowid LIMIT ?",  # noqa: S608  # a constant
            (wanted, limit),
        )
        return [tools[row] for (row,) in found]


def _columns(tool: ToolInfo) -> tuple[str, str, str, str, str]:
    return (
        _spread(tool.name),
        _spread(tool.server),
        _spread(tool.title),
        _spread(tool.description),
        _spread(" ".join(_said(tool.parameters, _DEEPEST))),
    )


def _spread(text: str) -> str:
    """Text whose words stand apart: `createPullRequest` and `create_pull_request` are three."""
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    text = text.encode("utf-8", "replace").decode()  # a server's JSON may hold what no database takes
    return [word.lower() for word in _WORD.findall(_HUMP.sub(" ", text))]


def _said(schema: Any, depth: int) -> Iterator[str]:
    """What a schema says in words: the names of its properties, descriptions and choices."""
    if not isinstance(schema, dict) or depth == 0:
        return
    for key, value in schema.items():
        if key in {"description", "title"} and isinstance(value, str):
            yield value
        elif key == "enum" and isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
        elif key == "properties" and isinstance(value, dict):
            for name, inner in value.items():
                yield str(name)
                yield from _said(inner, depth - 1)
        elif isinstance(value, dict):
            yield from _said(value, depth - 1)
        elif isinstance(value, list):
            for inner in value:
                yield from _said(inner, depth - 1)
