"""Every trick with SQL that we know, and as many made up, judged by what the database itself says it touches."""

import asyncio
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import UmbrellaError
from mcp_security.validators.database import Database, DatabaseGate
from mcp_security.validators.statements import Statement, read_statement
from security.corpora.sql import BY_DIALECT, CANARY, EVERYWHERE, GRANTED, tables
from security.corpora.sql_generated import generated
from security.corpora.sql_ordinary import ORDINARY
from security.local_postgres import postgres_server

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
ON_SQLITE = 40_000 if NIGHTLY else 800
ON_POSTGRES = 15_000 if NIGHTLY else 300
WORKERS = 8
OPERATIONS = ("read", "write", "delete", "execute")
COVERINGS = [f"mcp://db/{operation}/shop/{table}" for operation in OPERATIONS for table in GRANTED]
MADE = [f"mcp://db/execute/shop/{name}" for name in ("z", "x", "v", "t2", "i")]
QUERY = "mcp://db/query/shop/-"

pytestmark = pytest.mark.timeout(7_200 if NIGHTLY else 120)

ORDINARY_FUNCTIONS = re.findall(
    r"\S+",
    """
    -> ->> abs avg ceil changes char coalesce count cume_dist date datetime dense_rank exp first_value floor format glob
    group_concat hex ifnull iif instr json json_array json_array_length json_extract json_group_array json_group_object
    json_object json_type json_valid julianday lag last_insert_rowid last_value lead length like ln lower ltrim max min
    nth_value ntile nullif percent_rank pow power printf quote random rank replace round row_number rtrim sqrt strftime
    substr substring sum time total trim typeof unicode unixepoch upper current_date current_time current_timestamp
    """,
)
"""The oracle's own list, on purpose not the validator's."""


def reads_as(sql: str, dialect: str) -> Statement | None:
    try:
        return read_statement(sql, dialect)  # type: ignore[arg-type]
    except UmbrellaError:
        return None


def granted(statement: Statement) -> bool:
    """Whether the rights to the four tables are enough."""
    home = "main" if statement.dialect == "sqlite" else "public"
    return all(one.schema == home and one.table in GRANTED for one in statement.accesses)


def values(statement: Statement) -> dict[str, Any]:
    return dict.fromkeys(statement.parameters, 77)


ENOUGH = 50
"""Thousands of instructions after which a statement has shown what it does."""


class Oracle:
    """SQLite itself: it runs a statement and tells what it touched. Allows everything, so hides nothing."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self.connection.executescript(tables("sqlite"))
        self.real = {name for (name,) in self.connection.execute("select name from sqlite_master")}
        pages = self.connection.execute("select rootpage, tbl_name from sqlite_master").fetchall()
        self.pages = {1: "sqlite_master"} | dict(pages)
        self.asked: list[tuple[Any, ...]] = []
        self.steps = 0

    def run(self, statement: Statement) -> list[Any]:
        """Run and take back again."""
        self.asked, self.steps = [], 0
        self.connection.execute("begin")
        self.connection.set_authorizer(self._note)
        self.connection.set_progress_handler(self._tired, 1_000)
        try:
            return self.connection.execute(statement.sql, values(statement)).fetchmany(100)
        except (sqlite3.Error, sqlite3.Warning, OverflowError):
            return []
        finally:
            self.connection.set_progress_handler(None, 0)
            self.connection.set_authorizer(None)
            stopped = self.steps > ENOUGH  # which takes a write back at once
            assert stopped or self.connection.in_transaction, f"it ended the transaction: {statement.sql}"
            if self.connection.in_transaction:
                self.connection.execute("rollback")

    def _note(self, *asked: Any) -> int:
        self.asked.append(asked)
        return sqlite3.SQLITE_OK

    def _tired(self) -> bool:
        self.steps += 1
        return self.steps > ENOUGH

    def opened(self, statement: Statement) -> set[str]:
        """The tables that the compiled program opens; names, and so CTEs, play no part in it."""
        try:
            program = self.connection.execute(f"explain {statement.sql}", values(statement)).fetchall()
        except (sqlite3.Error, sqlite3.Warning):
            return set()
        return {
            self.pages.get(page, f"page {page}")
            for _, operation, _, page, database, *_ in program
            if operation in {"OpenRead", "OpenWrite"} and database == 0
        }

    def check(self, statement: Statement) -> None:
        """Insist that it touched nothing that was not seen in it."""
        seen = {(one.operation, one.table) for one in statement.accesses}
        made = {table for operation, table in seen if operation == "execute"}
        changes_schema = statement.kind in {"create", "drop", "alter"}
        if not changes_schema:
            opened = self.opened(statement)
            assert opened <= {table for _, table in seen}, f"{statement.sql!r} opens {opened}"
        for action, first, second, schema, _ in self.asked:
            table = (first or "").lower()
            told = (
                f"{statement.sql!r} did {(action, first, second, schema)}, and was seen to do {sorted(seen)}"
            )
            counting = action == sqlite3.SQLITE_READ and not second and schema is None
            if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE} or counting:
                continue  # a count may be of a CTE with a table's name: what is opened tells them apart
            if action == sqlite3.SQLITE_FUNCTION:
                assert second.lower() in ORDINARY_FUNCTIONS or changes_schema, told
            elif action in TOUCHES:
                internal = changes_schema and (table.startswith("sqlite_") or table in made)
                assert table not in self.real or internal or (TOUCHES[action], table) in seen, told
                assert internal or not table.startswith("sqlite_"), told
            else:
                assert changes_schema and action in SCHEMA, told
                names = {(name or "").lower() for name in (first, second)}
                assert names & made or action == sqlite3.SQLITE_REINDEX or "sqlite_sequence" in names, told


TOUCHES = {
    sqlite3.SQLITE_READ: "read",
    sqlite3.SQLITE_INSERT: "write",
    sqlite3.SQLITE_UPDATE: "write",
    sqlite3.SQLITE_DELETE: "delete",
}
SCHEMA = {
    getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        "CREATE_TABLE", "CREATE_VIEW", "CREATE_INDEX", "DROP_TABLE", "DROP_VIEW", "DROP_INDEX", "ALTER_TABLE", "REINDEX",
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(tables("postgres").encode())
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def gate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, DatabaseGate]]:
    """The real gate; to PostgreSQL as a superuser, so that nothing but the first line stands in the way."""
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(tables("sqlite"))
        connection.close()
        yield "sqlite", DatabaseGate({"shop": Database(url=f"sqlite://{path}")})
    else:
        yield "postgres", DatabaseGate({"shop": Database(url=request.getfixturevalue("postgres"))})


async def contents(gate: DatabaseGate) -> list[Any]:
    """Everything that is in the database, tables included."""
    everything = ["mcp://db/read/shop/**", "mcp://db/list/shop/**"]
    found = await gate.tables(everything, "shop")
    return [
        (
            table.name,
            table.columns,
            (await gate.run(everything, "shop", f'select * from "{table.name}"', {})).rows,
        )
        for table in found
    ]


def test_no_attack_gets_through_and_nothing_is_changed(gate: tuple[str, DatabaseGate]) -> None:
    dialect, door = gate

    async def attack() -> list[str]:
        before = await contents(door)
        through = []
        for sql in (*EVERYWHERE, *BY_DIALECT[dialect]):
            try:
                rows = await door.run([*COVERINGS, QUERY], "shop", sql, {}, timeout_s=10)
            except UmbrellaError:
                continue
            through.append(f"{sql} -> {rows}")
        assert await contents(door) == before
        return through

    assert asyncio.run(attack()) == []


NAMES_ONLY = {"sqlite": {"select session_user"}, "postgres": {"select current_role", "select user"}}
"""Refused by the database: written anew they are names of columns, which there are none of."""


@pytest.mark.parametrize("dialect", BY_DIALECT)
def test_the_first_line_alone_stops_every_attack(dialect: str) -> None:
    through = {
        sql
        for sql in (*EVERYWHERE, *BY_DIALECT[dialect])
        if (statement := reads_as(sql, dialect)) is not None and granted(statement)
    }
    unreadable = {"select * from\u200bsecret"}  # one word, and so not what it looks like
    assert through - unreadable == NAMES_ONLY[dialect]


def test_ordinary_statements_are_understood() -> None:
    refused = {
        (dialect, sql) for dialect in ORDINARY for sql in ORDINARY[dialect] if reads_as(sql, dialect) is None
    }
    count = sum(map(len, ORDINARY.values()))
    assert count >= 300
    assert len(refused) <= count // 100, sorted(refused)


def test_ordinary_statements_run_with_the_rights_that_they_say_they_need(
    gate: tuple[str, DatabaseGate], tmp_path: Path
) -> None:
    dialect, door = gate
    failed: list[str] = []

    async def run_all() -> None:
        for number, sql in enumerate(ORDINARY[dialect]):
            one = door
            if dialect == "sqlite":  # each in a world of its own; PostgreSQL's are only explained, below
                path = tmp_path / f"{number}.db"
                path.write_bytes((tmp_path / "shop.db").read_bytes())
                one = DatabaseGate({"shop": Database(url=f"sqlite://{path}")})
            elif not re.match(r"(?i)\s*(select|with recursive|values)", sql):
                continue
            statement = read_statement(sql, dialect)  # type: ignore[arg-type]
            coverings = [need.resource.uri for need in one.needs("shop", sql)]
            try:
                await one.run(
                    coverings, "shop", sql, values(statement) if dialect == "sqlite" else texts(statement)
                )
            except UmbrellaError as error:
                failed.append(f"{sql}: {error}")

    asyncio.run(run_all())
    assert len(failed) <= len(ORDINARY[dialect]) // 100, failed


def texts(statement: Statement) -> dict[str, Any]:
    return dict.fromkeys(statement.parameters, "77")


@pytest.mark.parametrize("part", range(WORKERS))
def test_sqlite_touches_nothing_that_was_not_seen_in_the_statement(part: int) -> None:
    oracle = Oracle()
    understood = 0
    for sql in generated(ON_SQLITE // WORKERS, zlib.crc32(b"sqlite %d" % part), "sqlite"):
        statement = reads_as(sql, "sqlite")
        if statement is None:
            continue
        understood += 1
        rows = oracle.run(statement)
        oracle.check(statement)
        if granted(statement):
            assert CANARY not in repr(rows), f"{sql!r} became {statement.sql!r}"
    assert understood > ON_SQLITE // WORKERS // 10, "the corpus is no test when all of it is refused"


def test_postgres_touches_nothing_that_was_not_seen_in_the_statement(postgres: str) -> None:
    import psycopg

    understood = 0
    with psycopg.connect(postgres, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute("set search_path = pg_catalog")
        connection.execute("set statement_timeout = '2s'")
        connection.commit()
        for sql in generated(ON_POSTGRES, zlib.crc32(b"postgres"), "postgres"):
            statement = reads_as(sql, "postgres")
            if statement is None or statement.parameters or statement.kind in {"drop", "alter", "truncate"}:
                continue
            if statement.kind == "create" and "SELECT" not in statement.sql:
                continue
            understood += 1
            told, rows = explained(connection, statement)
            touched = {(one.schema, one.table) for one in statement.accesses}
            assert told <= touched, f"{sql!r} became {statement.sql!r}, which touches {told}"
            if granted(statement):
                assert CANARY not in repr(rows), f"{sql!r} became {statement.sql!r}"
    assert understood > ON_POSTGRES // 20, "the corpus is no test when all of it is refused"


def explained(connection: Any, statement: Statement) -> tuple[set[tuple[str, str]], list[Any]]:
    """What PostgreSQL's plan touches, and what comes back; everything is taken back."""
    import psycopg

    told: set[tuple[str, str]] = set()
    rows: list[Any] = []
    try:
        if not statement.sql.startswith(("CREATE INDEX", "CREATE UNIQUE", "CREATE VIEW")):
            plan = connection.execute(f"explain (verbose, format json) {statement.sql}".encode()).fetchone()[
                0
            ]
            told = set(relations(plan))
        cursor = connection.execute(statement.sql.encode())
        rows = cursor.fetchmany(100) if cursor.description else []
    except (psycopg.Error, ValueError):
        pass
    finally:
        connection.rollback()
    return told, rows


def relations(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for one in node:
            yield from relations(one)
    elif isinstance(node, dict):
        assert "Function Name" not in node, node
        if "Relation Name" in node:
            yield node["Schema"], node["Relation Name"]
        for one in node.values():
            yield from relations(one)
