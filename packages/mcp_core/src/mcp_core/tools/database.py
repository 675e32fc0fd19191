"""The built-in server `db`: query a database, change it, list its tables.

Which rights a statement needs only its gate can tell, because only the gate reads SQL: one for each operation on
each table, `mcp://db/<operation>/<database>/<table>`. The gate judges again when it runs the statement, beneath the
patterns of the rights that allowed it. Knows no SQL and no database of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from mcp_interface.address import Resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult, text_result

SERVER: Final = "db"
MAX_ROWS: Final = 1_000
MAX_TABLES: Final = 1_000
MAX_BYTES: Final = 1024 * 1024
"""Of all rows as JSON, unless the right allows less."""
MAX_SECONDS: Final = 600
_WIDEST_CELL: Final = 200
_LONGEST_TEXT: Final = 200_000

T = TypeVar("T", bound="_Args")

Value = None | bool | int | float | str
"""What a parameter may be."""


class RowsLike(Protocol):
    """What a statement gave back."""

    @property
    def columns(self) -> list[str]:
        """Their names."""
        ...

    @property
    def rows(self) -> list[list[Any]]:
        """JSON data."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether there was more."""
        ...

    @property
    def changed(self) -> int | None:
        """How many rows were changed; None when nobody counted."""
        ...


class TableLike(Protocol):
    """One table or view."""

    @property
    def name(self) -> str:
        """As a statement would write it."""
        ...

    @property
    def kind(self) -> str:
        """Table or view."""
        ...

    @property
    def columns(self) -> list[str]:
        """Each with its type."""
        ...


class QueryGate(Protocol):
    """Runs what rights cover and nothing else; the real one is `mcp_security`'s `DatabaseGate`."""

    def needs(self, database: str, sql: str, parameters: Mapping[str, Value]) -> Sequence[Need]:
        """The rights that a statement needs; never empty."""
        ...

    def reads_only(self, database: str, sql: str) -> bool:
        """Whether a statement changes nothing."""
        ...

    def listing(self, database: str) -> Resource:
        """The right to see the names of tables and columns."""
        ...

    async def run(
        self,
        coverings: Sequence[str],
        database: str,
        sql: str,
        parameters: Mapping[str, Value],
        *,
        max_rows: int,
        max_bytes: int,
        timeout_s: float,
    ) -> RowsLike:
        """Run one statement whole or not at all."""
        ...

    async def tables(
        self, coverings: Sequence[str], database: str, limit: int, *, timeout_s: float
    ) -> Sequence[TableLike]:
        """Return the first tables and views by name."""
        ...


_Database = Annotated[str, Meta(min_length=1, max_length=63, description="Name of a configured database.")]
_Timeout = Annotated[
    float, Meta(gt=0, le=MAX_SECONDS, description="Stop and roll back after so many seconds.")
]


class _Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    database: _Database


class _StatementArgs(_Args, frozen=True, forbid_unknown_fields=True):
    sql: Annotated[
        str,
        Meta(
            min_length=1, max_length=65_536, description="One statement; values as placeholders like :name."
        ),
    ]
    parameters: Annotated[
        dict[str, Value], Meta(max_length=1_000, description="A value for each placeholder, by name.")
    ] = {}
    max_rows: Annotated[int, Meta(ge=1, le=MAX_ROWS, description="Return at most so many rows.")] = 200
    timeout_s: _Timeout = 30.0


class _ListArgs(_Args, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_TABLES, description="Return at most so many tables.")] = 200
    timeout_s: _Timeout = 30.0


class _DatabaseTool(Generic[T]):
    """What the three tools share: arguments as a struct, rights as the gate tells them.

    Args:
        gate: The only way to a database.
    """

    _name: str
    _title: str
    _description: str
    _operations: tuple[str, ...]
    _args: type[T]

    def __init__(self, gate: QueryGate) -> None:
        self._gate = gate

    def info(self) -> ToolInfo:
        """Describe the tool."""
        reads = "write" not in self._operations
        return ToolInfo(
            server=SERVER,
            name=self._name,
            title=self._title,
            description=self._description,
            parameters=_schema(self._args),
            required_capabilities=[f"mcp://db/{operation}/**" for operation in self._operations],
            read_only=reads,
            destructive=not reads,
            idempotent=reads,
        )

    def _read(self, args: dict[str, Any]) -> T:
        try:
            return msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"arguments of db/{self._name}: {error}", "see its parameters") from error

    def _coverings(self, context: ToolContext) -> list[str]:
        coverings = [
            verdict.covering
            for verdict in context.verdicts
            if verdict.allowed and verdict.covering is not None
        ]
        if not coverings or len(coverings) != len(context.verdicts):
            raise NotPermitted(
                f"db/{self._name} was started without a right it needs", "call it through the node"
            )
        return coverings


class _StatementTool(_DatabaseTool[_StatementArgs]):
    _reads: bool
    _args = _StatementArgs

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types and limits, that the database is known, and that this is a statement for this tool.

        Raises:
            CallerMistaken: Naming the argument or what the statement holds, and the rule.
            NotFound: No such database.
        """
        given = self._read(args)
        if self._gate.reads_only(given.database, given.sql) != self._reads:
            raise CallerMistaken(
                f"db/{self._name} is for statements that {'only read' if self._reads else 'change something'}",
                f"use db/{'execute' if self._reads else 'query'}",
            )

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to each operation on each table."""
        given = self._read(args)
        needs = self._gate.needs(given.database, given.sql, given.parameters)
        return [Need(need.resource, msgspec.structs.replace(need.facts, arguments=args)) for need in needs]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run it; what comes back is a table in text and `columns`, `rows`, `truncated`, `changed` as data.

        Raises:
            UmbrellaError: As the gate.
        """
        self.validate_args(args)
        given = self._read(args)
        found = await self._gate.run(
            self._coverings(context),
            given.database,
            given.sql,
            given.parameters,
            max_rows=given.max_rows,
            max_bytes=_max_bytes(context),
            timeout_s=given.timeout_s,
        )
        structured = {
            "columns": found.columns,
            "rows": found.rows,
            "truncated": found.truncated,
            "changed": found.changed,
        }
        return msgspec.structs.replace(text_result(_table(found)), structured=structured)


class Query(_StatementTool):
    """Reads rows."""

    _name = "query"
    _title = "Query database"
    _description = "Read from a database with one SELECT. Values go as placeholders like :name."
    _operations = ("read", "query")
    _reads = True


class Execute(_StatementTool):
    """Changes rows or tables."""

    _name = "execute"
    _title = "Change database"
    _description = "Change a database with one INSERT, UPDATE, DELETE, TRUNCATE, CREATE, ALTER or DROP."
    _operations = ("write", "delete", "execute", "read")
    _reads = False


class ListTables(_DatabaseTool[_ListArgs]):
    """Lists tables and views with their columns."""

    _name = "list_tables"
    _title = "List tables"
    _description = "List the tables and views of a database with their columns."
    _operations = ("list",)
    _args = _ListArgs

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types and limits, and that the database is known.

        Raises:
            CallerMistaken: Naming the argument and the rule.
            NotFound: No such database.
        """
        self.needs(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to list this database."""
        return [Need(self._gate.listing(self._read(args).database), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return the first `limit` tables in order, one a line with its columns.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        coverings = self._coverings(context)
        found = await self._gate.tables(coverings, given.database, given.limit + 1, timeout_s=given.timeout_s)
        shown = found[: given.limit]
        lines = [f"{table.kind} {table.name} ({', '.join(table.columns)})" for table in shown]
        if len(found) > given.limit:
            lines.append(f"[more than {given.limit} tables; the rest is not shown]")
        tables = [{"name": table.name, "kind": table.kind, "columns": table.columns} for table in shown]
        return msgspec.structs.replace(
            text_result("\n".join(lines) or "the database has no tables"),
            structured={"tables": tables, "truncated": len(found) > given.limit},
        )


def database_tools(gate: QueryGate) -> list[Tool]:
    """All tools of the server `db`."""
    return [Query(gate), Execute(gate), ListTables(gate)]


def _max_bytes(context: ToolContext) -> int:
    """The least that any of the rights allows."""
    return min(
        [MAX_BYTES, *(int(verdict.limits.get("max_bytes", MAX_BYTES)) for verdict in context.verdicts)]
    )


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([kind])
    found = dict(parts[kind.__name__])
    found.pop("title", None)
    return found


def _table(found: RowsLike) -> str:
    """Rows as text: a line of names, a line for each row, what was left out and what was changed."""
    lines = [" | ".join(map(_cell, found.columns))] if found.columns else []
    lines += [" | ".join(map(_cell, row)) for row in found.rows]
    text = "\n".join(lines)
    notes = []
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT]
        notes.append("[the text is cut; the data is whole]")
    if found.truncated:
        notes.append(f"[more than these {len(found.rows)} rows; the rest is not shown]")
    if found.changed is not None:
        notes.append(f"[{found.changed} rows changed]")
    return "\n".join([*([text] if text else []), *notes]) or "done"


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("|", "\\|")
    return text if len(text) <= _WIDEST_CELL else f"{text[:_WIDEST_CELL]}…"
