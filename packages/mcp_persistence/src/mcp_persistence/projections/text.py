r"""Full-text search over what was said, with SQLite's FTS5.

Words are compared without case and accents (`unicode61`); text without spaces between its words, such as
Chinese, is found by whole runs and their beginnings only. The best match comes first (bm25).

What somebody types is never FTS5's own language: words, "phrases" and beginnings* are read, all of which must
occur, and each is handed over as a quoted text, in which nothing has a meaning. A hit is shown only when its
event still exists, so that what was deleted cannot be found, even before its rows are swept away.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, StorageUnavailable
from mcp_interface.events import AssistantMessage, UserMessage
from mcp_interface.store import Record, Store
from mcp_persistence.names import check_glob, is_exact, page
from mcp_persistence.projections.projector import Projector

Texts = Mapping[type, Callable[[Any], str]]
MESSAGES: Final[Texts] = {UserMessage: lambda event: event.text, AssistantMessage: lambda event: event.text}
"""Where Umbrella's own events have text."""
LONGEST: Final = 1000
"""Characters of a query."""
MOST_TERMS: Final = 32
"""Words, phrases and beginnings of a query."""
AROUND: Final = 16
"""Words of a snippet."""

RANKED: Final = 5000
"""Events that are compared with one another. Judging how well one fits costs ten times as much as finding it."""

_MODULE = "fts5"
_TERM: Final = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """An event in which the words occur."""

    position: int
    stream: str
    version: int
    snippet: str
    """The words around the first place that fits best, as plain text."""
    rank: float
    """How well it fits: the lower, the better. Comparable within one query only."""


class TextProjection:
    """The words of events, by position; a `Projection`.

    Args:
        texts: Which events have text, and how to get it.
        version: Raise it when `texts` changes.
    """

    name = "text"

    def __init__(self, texts: Texts = MESSAGES, version: int = 1) -> None:
        self.version = version
        self._texts = dict(texts)

    def prepare(self, db: sqlite3.Connection) -> None:
        """Make the index.

        Raises:
            StorageUnavailable: This SQLite has no FTS5.
        """
        if not db.execute("SELECT 1 FROM pragma_module_list WHERE name = ?", (_MODULE,)).fetchone():
            raise StorageUnavailable(
                f"the SQLite {sqlite3.sqlite_version} of this Python has no full-text search (FTS5)",
                "use a Python whose sqlite3 was built with it, or go without the text index",
            )
        db.execute(
            f"CREATE VIRTUAL TABLE words USING {_MODULE} (text, tokenize = 'unicode61 remove_diacritics 2')"
        )
        db.execute(
            "CREATE TABLE messages (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL)"
        )
        db.execute("CREATE INDEX messages_by_stream ON messages (stream)")

    def apply(self, db: sqlite3.Connection, records: Sequence[Record]) -> None:
        """Take the texts of some events in."""
        found: list[tuple[Record, str]] = []
        for record in records:
            text = self._texts.get(type(record.event))
            if text is not None and (words := text(record.event)):
                found.append((record, words))
        db.executemany(
            "INSERT INTO words (rowid, text) VALUES (?, ?)",
            [(record.position, words) for record, words in found],
        )
        db.executemany(
            "INSERT INTO messages VALUES (?, ?, ?)",
            [(record.position, record.stream, record.version) for record, _ in found],
        )

    def forget(self, db: sqlite3.Connection, streams: Sequence[str]) -> None:
        """Remove the texts of some streams, and their words from the index."""
        gone = 0
        for stream in streams:
            db.execute(
                "DELETE FROM words WHERE rowid IN (SELECT position FROM messages WHERE stream = ?)", (stream,)
            )
            gone += db.execute("DELETE FROM messages WHERE stream = ?", (stream,)).rowcount
        if gone:
            # FTS5 only marks words as deleted; merging everything is what takes them out of the file
            db.execute("INSERT INTO words (words) VALUES ('optimize')")


class TextIndex:
    """Finds messages by their words. Made by `open`, ended by `close`.

    Attributes:
        projector: Says how far behind the index is; sweeps and rebuilds it.
    """

    def __init__(self, store: Store, projector: Projector) -> None:
        self.projector = projector
        self._store = store

    @classmethod
    async def open(
        cls, store: Store, folder: Path, clock: Clock, texts: Texts = MESSAGES, version: int = 1
    ) -> Self:
        """Open the index in `<folder>/text.db`, or begin it; arguments as `Projector` and `TextProjection`.

        Raises:
            StorageUnavailable: The disk refused, or this SQLite has no FTS5.
            CallerMistaken: The file is somebody else's.
        """
        return cls(store, await Projector.open(TextProjection(texts, version), store, folder, clock))

    async def search(
        self, query: str, *, streams: str = "*", limit: int = 20, after: Hit | None = None
    ) -> list[Hit]:
        """Events that hold all the words, best first, those that fit equally by position.

        When more than `RANKED` hold them, the newest so many are what is found; more words narrow it down.

        Args:
            query: Words, "phrases" and beginnings*; every other sign separates words.
            streams: Glob of the streams that are asked for.
            limit: Most hits; up to `PAGE`.
            after: The last hit of the page before. What is indexed between two pages shifts ranks a little.

        Raises:
            CallerMistaken: The query has no word, or too many.
            StorageUnavailable: The index is closed, or is being made anew.
        """
        expression = parse(query)
        check_glob(streams)
        most = page(limit)
        found: list[Hit] = []
        while len(found) < most:
            cursor = after
            hits = await self.projector.read(lambda db: _find(db, expression, streams, most, cursor))  # noqa: B023
            # what the index knows of a stream is of one piece: deleted as a whole, or not
            exist = {hit.stream: hit for hit in hits}
            gone = {stream for stream, hit in exist.items() if not await self._exists(hit)}
            found += [hit for hit in hits if hit.stream not in gone][: most - len(found)]
            if len(hits) < most:
                break
            after = hits[-1]
        return found

    async def close(self) -> None:
        """Release the file; harmless when repeated."""
        await self.projector.close()

    async def _exists(self, hit: Hit) -> bool:
        records = await self._store.read(hit.stream, after=hit.version - 1, limit=1)
        return bool(records) and records[0].position == hit.position


def parse(query: str) -> str:
    """Turn what somebody typed into an expression that FTS5 cannot misunderstand.

    Raises:
        CallerMistaken: It has no word, is too long, or has too many terms.
    """
    if len(query) > LONGEST:
        raise CallerMistaken(f"a query of {len(query)} characters", f"use up to {LONGEST}")
    terms: list[str] = []
    for phrase, star, word in _TERM.findall(query.replace("\0", " ")):
        text = phrase or word.rstrip("*")
        if any(map(str.isalnum, text)):
            terms.append(f'"{text}"{"*" if star or word.endswith("*") else ""}')
    if not terms:
        raise CallerMistaken(
            f"the query {query[:60]!r} has no word", 'give a word, a "phrase" or a beginning*'
        )
    if len(terms) > MOST_TERMS:
        raise CallerMistaken(f"a query of {len(terms)} terms", f"use up to {MOST_TERMS}")
    return " ".join(terms)


def _find(db: sqlite3.Connection, expression: str, streams: str, limit: int, after: Hit | None) -> list[Hit]:
    source, values = "words", [expression]
    if streams != "*":
        test = "stream = ?" if is_exact(streams) else "matches(stream, ?)"
        # CROSS: the words lead, newest first, so that it ends as soon as there are enough
        source = f"words CROSS JOIN (SELECT * FROM messages WHERE {test}) ON position = words.rowid"  # noqa: S608
        values = [streams, expression]
    place = (float("-inf"), 0) if after is None else (after.rank, after.position)
    rows = db.execute(
        f"""SELECT position, stream, version, rank
            FROM (SELECT words.rowid AS place, rank FROM {source} WHERE words MATCH ?
                  ORDER BY words.rowid DESC LIMIT {RANKED})
            JOIN messages ON position = place WHERE (rank, place) > (?, ?)
            ORDER BY rank, place LIMIT ?""",  # noqa: S608
        (*values, *place, limit),
    ).fetchall()
    snippets = _snippets(db, expression, [row[0] for row in rows])
    return [
        Hit(position=row[0], stream=row[1], version=row[2], rank=row[3], snippet=snippets[row[0]])
        for row in rows
    ]


def _snippets(db: sqlite3.Connection, expression: str, positions: Sequence[int]) -> dict[int, str]:
    """Cut the words around the match, of these events only: it costs more than finding all of them."""
    if not positions:
        return {}
    # the sign + keeps FTS5 from searching anew for each position
    rows = db.execute(
        f"""SELECT rowid, snippet(words, 0, '', '', '…', {AROUND}) FROM words
            WHERE words MATCH ? AND rowid >= ? AND rowid <= ?
            AND +rowid IN ({", ".join("?" * len(positions))})""",  # noqa: S608
        (expression, min(positions), max(positions), *positions),
    )
    return dict(rows.fetchall())
