"""A database, reached only with what a right covers: judged, written anew, and run with a second line behind it.

The gate reads every statement itself and trusts no judgement of its caller. The second line is the database's own:
for SQLite an authorizer that knows the very tables and functions of this statement (`sqlite`), for PostgreSQL the role
that the configuration names (`postgres`). A view, trigger or function that the owner of the database has made acts
with the owner's authority: a right to the view is a right to what it shows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_security.patterns import Paths
from mcp_security.validators.rows import Rows
from mcp_security.validators.sql_grammar import Dialect
from mcp_security.validators.statements import NO_TABLE, Statement, read_statement

MAX_ROWS: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_SECONDS: Final = 600.0
MAX_PARAMETERS: Final = 1_000

Value = None | bool | int | float | str
"""What a parameter may be."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SCHEMES: Final[Mapping[str, Dialect]] = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "postgres": "postgres",
}


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where one database is. A person says so, never a caller."""

    url: str
    """`sqlite:///absolute/path` or `postgresql://…`; may refer to variables, which the gate expands at each use."""
    role: str | None = None
    """PostgreSQL only: the role that statements run as, which should have the least rights that do."""

    def __repr__(self) -> str:
        return f"Database({self.url.partition(':')[0]}://…)"  # a URL may hold a password


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table or view, as it is told to those who may list."""

    name: str
    """As a statement would write it: with its schema unless that is the default one."""
    kind: str
    """table or view."""
    columns: list[str]
    """Each with its type: `id INTEGER`."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much one statement may give and take."""

    max_rows: int = 1_000
    max_bytes: int = 1024 * 1024
    """Of all rows, as JSON."""
    timeout_s: float = 30.0


class Engine(Protocol):
    """One kind of database."""

    async def run(self, statement: Statement, parameters: Mapping[str, Value], bounds: Bounds) -> Rows:
        """Run one statement in a transaction of its own; an error or the deadline leaves nothing behind."""
        ...

    async def tables(self, limit: int, timeout_s: float) -> list[Table]:
        """The first tables and views by name, without those of the system."""
        ...


class DatabaseGate:
    """Runs what a right covers, and nothing else. Opens a connection for each call; holds none.

    Args:
        databases: By name; small letters, digits, `_` and `-`.
        expand: Puts the values of variables into a URL, at each use; the URL itself by default.

    Raises:
        CallerMistaken: A name or a URL's scheme is not allowed.
    """

    def __init__(
        self, databases: Mapping[str, Database], expand: Callable[[str], str] = lambda url: url
    ) -> None:
        for name, found in databases.items():
            if _NAME.fullmatch(name) is None:
                raise CallerMistaken(
                    f"{name[:80]!r} cannot be the name of a database",
                    "use 1 to 63 small letters, digits, '_', '-', beginning with a letter or digit",
                )
            _dialect(name, found)
        self._databases = dict(databases)
        self._expand = expand

    def needs(self, database: str, sql: str, parameters: Mapping[str, Value] | None = None) -> list[Need]:
        """The rights that a statement needs: one for each operation on each table.

        They are named `mcp://db/<operation>/<database>/<table>`, see `Access.resource`; a statement that
        touches no table needs `mcp://db/query/<database>/-`. The size in their facts is that of the statement
        and, as JSON, of its parameters.

        Raises:
            CallerMistaken: As `read_statement`.
            NotFound: No such database.
        """
        statement = read_statement(sql, self.dialect(database))
        size = len(sql.encode()) + (len(msgspec.json.encode(parameters)) if parameters else 0)
        facts = Facts(statement=statement.kind, size=size)
        return [Need(one, facts) for one in statement.resources(database)]

    def reads_only(self, database: str, sql: str) -> bool:
        """Whether a statement changes nothing; raises as `needs`."""
        return read_statement(sql, self.dialect(database)).reads_only

    def dialect(self, database: str) -> Dialect:
        """How a database reads SQL.

        Raises:
            NotFound: No such database.
        """
        return _dialect(database, self._find(database))

    def listing(self, database: str) -> Resource:
        """The right to see the names of tables and columns: `mcp://db/list/<database>/-`; raises as `dialect`."""
        self._find(database)
        return resource("db", "list", f"{database}/{NO_TABLE}")

    async def run(
        self,
        coverings: Sequence[str],
        database: str,
        sql: str,
        parameters: Mapping[str, Value],
        *,
        max_rows: int = 1_000,
        max_bytes: int = 1024 * 1024,
        timeout_s: float = 30.0,
    ) -> Rows:
        """Run one statement; it takes effect whole or not at all.

        When the deadline passes or the caller gives up, the statement is stopped and rolled back.

        Args:
            coverings: Resource patterns of the rights that allowed it (`Verdict.covering`); each table must lie
                beneath one with the very operation.
            database: Its name.
            sql: One statement, see `read_statement`.
            parameters: A value for each placeholder `:name`, and no other.
            max_rows: 0 to 10,000.
            max_bytes: Of all rows as JSON, 0 to 4 MiB.
            timeout_s: Seconds, up to 600.

        Raises:
            CallerMistaken: As `read_statement`; a parameter is missing or left over, a bound is out of range, or the
                database finds a mistake in it.
            NotPermitted: A table is not covered, or the database's own line refuses.
            NotFound: No such database.
            DeadlineExceeded: It did not end in time.
            WorldBroken: The database cannot be reached, or the extra `database` is not installed.
        """
        bounds = _bounds(max_rows, max_bytes, timeout_s)
        statement = read_statement(sql, self.dialect(database))
        for wanted in statement.resources(database):
            _require(coverings, wanted)
        _check_parameters(statement, parameters)
        return await self._engine(database).run(statement, parameters, bounds)

    async def tables(
        self, coverings: Sequence[str], database: str, limit: int = 200, *, timeout_s: float = 30.0
    ) -> list[Table]:
        """Return the first tables and views by name with their columns; `limit` is 1 to 10,000.

        Raises:
            CallerMistaken: A bound is out of range.
            NotPermitted: `listing` is not covered.
            NotFound: No such database.
            DeadlineExceeded: It did not answer in time.
            WorldBroken: As `run`.
        """
        bounds = _bounds(limit, 0, timeout_s)
        _require(coverings, self.listing(database))
        return await self._engine(database).tables(bounds.max_rows, bounds.timeout_s)

    def _find(self, database: str) -> Database:
        found = self._databases.get(database)
        if found is None:
            known = ", ".join(sorted(self._databases)) or "none; name one in config.toml"
            raise NotFound(f"there is no database {database[:80]!r}", f"known are: {known}")
        return found

    def _engine(self, database: str) -> Engine:
        found = self._find(database)
        url = self._expand(found.url)
        if self.dialect(database) == "sqlite":
            from mcp_security.validators.sqlite import SqliteEngine

            return SqliteEngine(database, url)
        from mcp_security.validators.postgres import PostgresEngine

        return PostgresEngine(database, url, found.role)


def _dialect(name: str, found: Database) -> Dialect:
    scheme, separator, _ = found.url.partition("://")
    dialect = _SCHEMES.get(scheme)
    if dialect is None or not separator:
        raise CallerMistaken(
            f"the url of database {name!r} has no scheme that is known",
            "write sqlite:///absolute/path or postgresql://user@host/name; a variable may not hold the scheme",
        )
    return dialect


def _require(coverings: Sequence[str], wanted: Resource) -> None:
    inside = Paths(wanted.segments, False)
    for covering in coverings:
        pattern = parse_resource(covering)
        if (pattern.type, pattern.operation) == ("db", wanted.operation) and Paths.of(pattern.path).includes(
            inside
        ):
            return
    raise NotPermitted(
        f"the statement needs {wanted.uri}, which is not covered by {', '.join(coverings) or 'any right'}",
        f"ask for a grant of {wanted.uri}",
        {"reason": "path_not_allowed", "grant": wanted.uri},
    )


def _bounds(max_rows: int, max_bytes: int, timeout_s: float) -> Bounds:
    if not (0 <= max_rows <= MAX_ROWS and 0 <= max_bytes <= MAX_BYTES and 0 < timeout_s <= MAX_SECONDS):
        raise CallerMistaken(
            f"max_rows {max_rows}, max_bytes {max_bytes} or timeout_s {timeout_s} is out of bounds",
            f"at most {MAX_ROWS} rows, {MAX_BYTES} bytes and {MAX_SECONDS:g} seconds",
        )
    return Bounds(max_rows=max_rows, max_bytes=max_bytes, timeout_s=timeout_s)


def _check_parameters(statement: Statement, parameters: Mapping[str, Any]) -> None:
    if len(parameters) > MAX_PARAMETERS:
        raise CallerMistaken(f"{len(parameters)} parameters are more than {MAX_PARAMETERS}", "send fewer")
    wrong = set(statement.parameters) ^ set(parameters)
    if wrong:
        raise CallerMistaken(
            f"parameters and placeholders differ in {', '.join(sorted(map(repr, wrong)))[:200]}",
            "give a value for each :name in the statement, and no other",
        )
    for name, value in parameters.items():
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise CallerMistaken(
                f"parameter {name!r} is not text, a number, true, false or null", "change it"
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise CallerMistaken(f"parameter {name!r} does not fit into 64 bits", "send it as text")
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
            raise CallerMistaken(
                f"parameter {name!r} holds a NUL or half a surrogate pair", "send valid text without it"
            )
