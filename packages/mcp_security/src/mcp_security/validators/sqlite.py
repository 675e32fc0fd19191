"""SQLite: a connection for each statement, with an authorizer that knows what this statement may touch.

The authorizer is asked by SQLite itself, for each table, column and function, while it compiles. It does not know what
we have read out of the text; it knows the list that came of it, and refuses the rest: ATTACH, PRAGMA, temporary
tables, extensions, the schema tables.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote

import msgspec

from mcp_interface.errors import CallerMistaken, DeadlineExceeded, NotPermitted, UmbrellaError, WorldBroken
from mcp_security.validators.database import Bounds, Table, Value
from mcp_security.validators.rows import Collector, Rows
from mcp_security.validators.sql_grammar import SQLITE_FUNCTIONS
from mcp_security.validators.statements import MAX_LENGTH, Statement

T = TypeVar("T")

MAX_VALUE: Final = 16 * 1024 * 1024
"""Bytes of one value or row; what would grow beyond it is an error."""
_STEPS: Final = 1_000
"""Instructions of SQLite's machine between two looks at the deadline."""
_CAUGHT: Final = "not authorized"

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MAX_LENGTH,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_FOREIGN_KEYS: Final = """
    select lower(m.name), lower(f."from"), lower(f."table"), lower(f."to")
    from sqlite_master m join pragma_foreign_key_list(m.name) f where m.type = 'table'
"""
_TABLES: Final = """
    select m.name, m.type, (select group_concat(trim(name || ' ' || type), char(10)) from pragma_table_info(m.name))
    from sqlite_master m
    where m.type in ('table', 'view') and m.name not like 'sqlite\\_%' escape '\\' order by m.name limit ?
"""


class SqliteEngine:
    """One SQLite file.

    Args:
        name: Of the database, for messages.
        url: `sqlite:///absolute/path`; the file must exist.
    """

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        path = unquote(url.removeprefix("sqlite://"))
        if not path.startswith("/") or "?" in path or "\0" in path:
            raise CallerMistaken(
                f"the url of database {name!r} names no file", "write sqlite:///absolute/path"
            )
        self._path = path

    async def run(self, statement: Statement, parameters: Mapping[str, Value], bounds: Bounds) -> Rows:
        """Run one statement in a transaction of its own."""
        if statement.kind == "truncate":
            raise CallerMistaken("SQLite has no TRUNCATE", "write DELETE FROM the table")
        return await self._in_thread(
            lambda connection: _run(connection, statement, parameters, bounds),
            write=not statement.reads_only,
            timeout_s=bounds.timeout_s,
        )

    async def tables(self, limit: int, timeout_s: float) -> list[Table]:
        """The first tables and views by name."""

        def work(connection: sqlite3.Connection) -> list[Table]:
            return [
                Table(name=name, kind=kind, columns=(columns or "").splitlines())
                for name, kind, columns in connection.execute(_TABLES, [limit])
            ]

        return await self._in_thread(work, write=False, timeout_s=timeout_s)

    async def _in_thread(
        self, work: Callable[[sqlite3.Connection], T], *, write: bool, timeout_s: float
    ) -> T:
        """Work with a connection in a thread, a write in a transaction; whoever stops waiting stops that too."""
        stop = threading.Event()

        def whole() -> T:
            with closing(self._connect(write, timeout_s)) as connection:
                connection.set_progress_handler(stop.is_set, _STEPS)
                if not write:
                    return work(connection)
                connection.execute("begin immediate")
                result = work(connection)
                if stop.is_set():
                    raise sqlite3.OperationalError("interrupted")
                connection.execute("commit")
                return result

        running = asyncio.ensure_future(asyncio.to_thread(whole))
        # whoever was cancelled does not ask how it ended
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            done, _ = await asyncio.wait({running}, timeout=timeout_s)
        finally:
            stop.set()
        if not done:
            await asyncio.wait({running})
        try:
            return running.result()
        except sqlite3.Error as error:
            raise self._translated(error, bool(done), timeout_s) from error

    def _connect(self, write: bool, timeout_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file://{quote(self._path)}?mode={'rw' if write else 'ro'}",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        # views and triggers may then use nothing that reaches outside of the database
        connection.execute("pragma trusted_schema = off")
        connection.execute("pragma foreign_keys = on")
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return connection

    def _translated(self, error: sqlite3.Error, in_time: bool, timeout_s: float) -> UmbrellaError:
        text = f"database {self._name!r}: {str(error)[:500]}"
        if not in_time or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return DeadlineExceeded(
                f"database {self._name!r} did not end within {timeout_s:g} s; nothing was changed",
                "ask for less, or give it more time",
            )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PERM} or _CAUGHT in str(error):
            return NotPermitted(
                f"{text}: SQLite would touch what the statement does not name",
                "name every table, and no table of the system",
                {"reason": "path_not_allowed"},
            )
        if code in _BROKEN:
            return WorldBroken(text, "check the file and its disk")
        return CallerMistaken(text, "check the statement; list_tables tells tables and columns")


_BROKEN: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL,
    }
)  # fmt: skip


def _run(
    connection: sqlite3.Connection, statement: Statement, parameters: Mapping[str, Value], bounds: Bounds
) -> Rows:
    authorizer = Authorizer.of(connection, statement)
    connection.set_authorizer(authorizer.judge)
    try:
        cursor = connection.execute(statement.sql, dict(parameters))
        collector = Collector(
            [part[0] for part in cursor.description or ()], bounds.max_rows, bounds.max_bytes
        )
        wanted = True
        for row in cursor:  # a write with RETURNING is done whole, whatever is kept of it
            wanted = wanted and collector.take(row)
            if not wanted and statement.reads_only:
                break
        changed = cursor.rowcount if statement.kind in {"insert", "update", "delete"} else None
        cursor.close()
    finally:
        connection.set_authorizer(None)
    return collector.rows(changed)


class Authorizer(msgspec.Struct, frozen=True):
    """What SQLite asks about each thing that a statement would touch; what is not granted is denied."""

    allowed: frozenset[tuple[str, str]]
    """Operation and folded table."""
    kind: str
    definers: frozenset[str]
    """Views and triggers of the database, which act for its owner; less every name the statement itself gives."""
    counted: frozenset[str]
    """What may be read without any of its columns, as count(*) does: the statement's own queries, unless a real
    table has the name, and the tables under its views."""
    keys: frozenset[tuple[str, str]]
    """Table and column of foreign keys, which SQLite looks up at a write."""

    @classmethod
    def of(cls, connection: sqlite3.Connection, statement: Statement) -> "Authorizer":
        """Make one for a statement, with what the database says of itself."""
        made = dict(connection.execute("select lower(name), type from sqlite_master").fetchall())
        for access in statement.accesses:
            # or SQLite looks for it among the tables that are in itself, which tell about all others
            if access.operation != "execute" and access.table not in made:
                raise CallerMistaken(
                    f"there is no table {access.table!r}", "list_tables tells tables and columns"
                )
        definers = frozenset(name for name, kind in made.items() if kind in {"view", "trigger"})
        keys: set[tuple[str, str]] = set()
        if not statement.reads_only:
            for child, source, parent, target in connection.execute(_FOREIGN_KEYS):
                keys |= {(child, source), (parent, target or "")}
        return cls(
            frozenset((access.operation, access.table) for access in statement.accesses),
            statement.kind,
            definers - statement.aliases,
            (statement.aliases - made.keys()) | _under_views(connection, statement, made),
            frozenset(keys),
        )

    def judge(
        self, action: int, first: str | None, second: str | None, schema: str | None, source: str | None
    ) -> int:
        """Answer SQLITE_OK or SQLITE_DENY; an error here would deny too."""
        return (
            sqlite3.SQLITE_OK if self.allows(action, first, second, schema, source) else sqlite3.SQLITE_DENY
        )

    def allows(
        self, action: int, first: str | None, second: str | None, schema: str | None, source: str | None
    ) -> bool:
        """Whether one thing may be touched; the arguments are SQLite's."""
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}:
            return True
        if action == sqlite3.SQLITE_FUNCTION:
            return _fold(second) in SQLITE_FUNCTIONS or (self._changes_schema and _fold(second) in _RENAMING)
        if self._changes_schema and self._is_inner(action, _fold(first), _fold(second)):
            return True
        if schema not in {"main", None}:
            return False
        if source is not None and _fold(source) in self.definers:
            return action in _DATA and not _fold(first).startswith("sqlite_")
        return self._direct(action, _fold(first), _fold(second))

    def _is_inner(self, action: int, first: str, second: str) -> bool:
        """Whether it is what changing a table does inside of SQLite."""
        if action == sqlite3.SQLITE_ALTER_TABLE:  # names the schema first, and a column where the schema is
            return first == "main" and self._made(second)
        if first in _TEMPORARY:
            return action in {sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE}
        first_autoincrement = action == sqlite3.SQLITE_CREATE_TABLE and first == "sqlite_sequence"
        return first_autoincrement or action == sqlite3.SQLITE_REINDEX

    @property
    def _changes_schema(self) -> bool:
        return self.kind in {"create", "drop", "alter"}

    def _direct(self, action: int, table: str, column: str) -> bool:
        if action == sqlite3.SQLITE_READ and (
            (table, column) in self.keys or (not column and table in self.counted)
        ):
            return True
        if action in _DATA:
            operation = _DATA[action]
            if (operation, table) in self.allowed:
                return True
            # making a table, filling it and moving it is one thing
            return self._changes_schema and (self._made(table) or table in _SCHEMA_TABLES)
        if not self._changes_schema or action not in _SCHEMA:
            return False
        # the first name that goes with an index is its own, but for DROP INDEX, whose right is on that one
        return self._made(column if action == sqlite3.SQLITE_CREATE_INDEX else table)

    def _made(self, table: str) -> bool:
        return ("execute", table) in self.allowed


def _under_views(
    connection: sqlite3.Connection, statement: Statement, made: Mapping[str, str]
) -> frozenset[str]:
    """The tables that the statement's views read; SQLite says so when it compiles them."""
    found: set[str] = set()

    def note(action: int, first: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            found.add(_fold(first))
        return sqlite3.SQLITE_OK

    views = [access.table for access in statement.accesses if made.get(access.table) == "view"]
    connection.set_authorizer(note if views else None)
    for view in views:
        name = view.replace('"', '""')
        connection.execute(f'explain select * from "{name}"').close()  # noqa: S608 - quoted
    connection.set_authorizer(None)
    return frozenset(found)


_DATA: Final = {
    sqlite3.SQLITE_READ: "read",
    sqlite3.SQLITE_INSERT: "write",
    sqlite3.SQLITE_UPDATE: "write",
    sqlite3.SQLITE_DELETE: "delete",
}
_SCHEMA: Final = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_DROP_INDEX,
    }
)  # fmt: skip
_SCHEMA_TABLES: Final = frozenset({"sqlite_master", "sqlite_schema", "sqlite_sequence", "sqlite_stat1"})
_TEMPORARY: Final = frozenset({"sqlite_temp_master", "sqlite_temp_schema"})
"""Which ALTER TABLE also looks into; there is nothing in it."""
_RENAMING: Final = frozenset(
    {"sqlite_rename_column", "sqlite_rename_table", "sqlite_rename_test", "sqlite_drop_column",
     "sqlite_rename_quotefix", "sqlite_fail"}
)  # fmt: skip
"""What ALTER TABLE calls inside; a statement itself cannot name them."""
_ASCII: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _fold(name: Any) -> str:
    """A name as SQLite compares it: ASCII letters alone."""
    return str(name or "").translate(_ASCII)
