"""PostgreSQL: a connection and a transaction for each statement, bounds and names set for that transaction alone.

The real second line is the role: what the configured role may not do, no statement does, however it was read. So
configure one with the least rights (`role`, or the user of the URL), and not a superuser. Beside it, and weaker: a
read runs in a read-only transaction, names are resolved in `pg_catalog` only and every table is written with its
schema, and the statement goes by the extended protocol, which takes no second one.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    LostRace,
    NotPermitted,
    UmbrellaError,
    WorldBroken,
)
from mcp_security.validators.database import Bounds, Table, Value
from mcp_security.validators.rows import Collector, Rows
from mcp_security.validators.statements import Statement

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

_GRACE_S: Final = 5.0
"""What the server gets beyond the deadline to say itself that it stopped."""
_PART: Final = 50
"""Rows that are fetched at a time."""
_SETTINGS: Final = (
    "select set_config('search_path', 'pg_catalog, pg_temp', true),"
    " set_config('standard_conforming_strings', 'on', true),"
    " set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),"
    " set_config('idle_in_transaction_session_timeout', $1, true)"
)
_ROLE: Final = "select set_config('role', $1, true)"
_TABLES: Final = """
    select case n.nspname when 'public' then c.relname else n.nspname || '.' || c.relname end,
        case when c.relkind in ('v', 'm') then 'view' else 'table' end,
        array(select a.attname || ' ' || format_type(a.atttypid, a.atttypmod) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum)::text[]
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by 1 limit $1
"""


class PostgresEngine:
    """One PostgreSQL database.

    Args:
        name: Of the database, for messages.
        url: `postgresql://…`, as libpq reads it.
        role: Who statements run as; None is the user of the URL.

    Raises:
        WorldBroken: The extra `database` is not installed.
    """

    def __init__(self, name: str, url: str, role: str | None) -> None:
        try:
            import psycopg  # noqa: F401 - asked for here, so that what is missing is told before anything else
        except ImportError as error:
            raise WorldBroken(
                f"database {name!r} cannot be reached: psycopg is not installed",
                "install mcp-umbrella-security[database]",
            ) from error
        self._name = name
        self._url = url
        self._role = role

    async def run(self, statement: Statement, parameters: Mapping[str, Value], bounds: Bounds) -> Rows:
        """Run one statement in a transaction of its own."""
        values = [parameters[name] for name in statement.parameters]

        async def work(cursor: "psycopg.AsyncCursor[Any]") -> Rows:
            if statement.reads_only:
                return await _fetch(cursor.connection, statement, values, bounds)
            if statement.returns_rows:
                return await _returning(cursor, statement, values, bounds)
            # prepared, because only the extended protocol is sure to take one statement
            await cursor.execute(statement.sql.encode(), values, prepare=True)
            counted = statement.kind in {"insert", "update", "delete"}
            return Rows(changed=cursor.rowcount if counted else None)

        return await self._within(bounds.timeout_s, statement.reads_only, work)

    async def tables(self, limit: int, timeout_s: float) -> list[Table]:
        """The first tables and views by name."""

        async def work(cursor: "psycopg.AsyncCursor[Any]") -> list[Table]:
            await cursor.execute(_TABLES, [limit])
            found = await cursor.fetchall()
            return [Table(name=name, kind=kind, columns=columns) for name, kind, columns in found]

        return await self._within(timeout_s, True, work)

    async def _within(
        self,
        timeout_s: float,
        reads_only: bool,
        work: "Callable[[psycopg.AsyncCursor[Any]], Awaitable[T]]",
    ) -> T:
        """Work in one transaction: committed when it wrote and ended well, rolled back otherwise."""
        import psycopg

        try:
            async with asyncio.timeout(timeout_s + _GRACE_S):
                connection = await self._connect(timeout_s)
                try:
                    await connection.set_read_only(reads_only)
                    async with connection.cursor() as cursor:
                        await cursor.execute(_SETTINGS, [f"{max(1, round(timeout_s * 1000))}ms"])
                        if self._role is not None:
                            await cursor.execute(_ROLE, [self._role])
                        result = await work(cursor)
                    if not reads_only:
                        await connection.commit()
                finally:
                    await connection.close()
                return result
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"database {self._name!r} did not end within {timeout_s:g} s; a change may have taken effect",
                "look whether it did",
            ) from error
        except psycopg.Error as error:
            raise self._translated(error, timeout_s) from error

    async def _connect(self, timeout_s: float) -> "psycopg.AsyncConnection[Any]":
        import psycopg

        try:
            connection = await psycopg.AsyncConnection.connect(
                self._url,
                connect_timeout=max(2, round(timeout_s)),
                application_name="umbrella",
                client_encoding="utf8",
                cursor_factory=psycopg.AsyncRawCursor,
            )
            connection.server_cursor_factory = psycopg.AsyncRawServerCursor
            return connection
        except psycopg.Error as error:
            # libpq quotes the URL, which may hold a password; what the server said does not
            said = re.search(r"FATAL:\s+(.{1,200})", str(error))
            raise WorldBroken(
                f"database {self._name!r} cannot be reached: {said[1] if said else 'no server answers there'}",
                "check its url in config.toml, and that the server runs",
            ) from None

    def _translated(self, error: "psycopg.Error", timeout_s: float) -> UmbrellaError:
        from psycopg import errors

        text = f"database {self._name!r}: {(error.diag.message_primary or str(error))[:500]}"
        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
            return DeadlineExceeded(
                f"database {self._name!r} did not end within {timeout_s:g} s; nothing was changed",
                "ask for less, or give it more time",
            )
        if isinstance(error, errors.InsufficientPrivilege | errors.ReadOnlySqlTransaction):
            return NotPermitted(
                f"{text}: the database's own role refuses",
                "a person gives the role of this database what it needs",
                {"reason": "path_not_allowed"},
            )
        if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected):
            return LostRace(text, "try again")
        if isinstance(error, errors.OperationalError):
            return WorldBroken(text, "check the database server; a change may have taken effect")
        return CallerMistaken(text, "check the statement; list_tables tells tables and columns")


async def _fetch(
    connection: "psycopg.AsyncConnection[Any]", statement: Statement, values: list[Value], bounds: Bounds
) -> Rows:
    """Fetch rows in small parts, so that a long answer is neither worked out nor held whole."""
    async with connection.cursor("rows") as cursor:
        cursor.itersize = _PART
        await cursor.execute(statement.sql.encode(), values)
        collector = _collector(cursor, bounds)
        async for row in cursor:
            if not collector.take(row):
                break
    return collector.rows()


async def _returning(
    cursor: "psycopg.AsyncCursor[Any]", statement: Statement, values: list[Value], bounds: Bounds
) -> Rows:
    """Take the rows of a write as they come; it is done whole, whatever is kept of them."""
    collector = Collector([], 0, 0)
    changed = 0
    async for row in cursor.stream(statement.sql.encode(), values):
        if not changed:
            collector = _collector(cursor, bounds)
        changed += 1
        collector.take(row)
    return collector.rows(changed)


def _collector(cursor: "psycopg.AsyncCursor[Any]", bounds: Bounds) -> Collector:
    return Collector([part.name for part in cursor.description or ()], bounds.max_rows, bounds.max_bytes)
