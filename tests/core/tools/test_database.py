"""The tools of the server `db`, through the real gate to a real file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_core.tools.database import MAX_BYTES, Execute, ListTables, Query, database_tools
from mcp_interface.capability import Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import new_id
from mcp_interface.testing.exams.tool import check_tool
from mcp_interface.tool import Tool, ToolContext, ToolResult
from mcp_security.validators.database import Database, DatabaseGate


@pytest.fixture
def gate(tmp_path: Path) -> DatabaseGate:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "create table customers (id integer primary key, name text);"
            "create view names as select name from customers;"
            "insert into customers values (1, 'Ann'), (2, null), (3, 'a|b' || char(10) || 'c');"
        )
    connection.close()
    return DatabaseGate({"shop": Database(url=f"sqlite://{path}")})


def use(
    tool: Any, args: dict[str, Any], *coverings: str | None, limits: dict[str, Any] | None = None
) -> ToolResult:
    """Run a tool with an allow of each pattern; by default of exactly what it needs."""
    patterns = coverings or [need.resource.uri for need in tool.needs(args)]
    verdicts = [
        Verdict(allowed=True, reason="allowed", message="", covering=pattern, limits=limits or {})
        for pattern in patterns
    ]
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=verdicts,
    )
    tool.validate_args(args)
    result: ToolResult = asyncio.run(tool.execute(args, context))
    return result


def ask(sql: str, **more: Any) -> dict[str, Any]:
    return {"database": "shop", "sql": sql, **more}


def test_each_tool_passes_the_exam(gate: DatabaseGate) -> None:
    def maker(kind: Any) -> Any:
        @asynccontextmanager
        async def made() -> AsyncIterator[Tool]:
            yield kind(gate)

        return made

    select = ask("select * from customers where id = :id", parameters={"id": 1})
    update = ask("update customers set name = 'x' where id = 1")
    bad = [
        {},
        {"database": "shop"},
        {"sql": "select 1"},
        ask("pragma user_version"),
        ask("select 1; select 2"),
        ask("select 1", more=1),
    ]
    asyncio.run(check_tool(maker(Query), good=select, bad=[*bad, update, ask("select 1", max_rows=0)]))
    asyncio.run(check_tool(maker(Execute), good=update, bad=[*bad, select]))
    lists = {"database": "shop"}
    asyncio.run(check_tool(maker(ListTables), good=lists, bad=[{}, {"database": ""}, {**lists, "limit": 0}]))


def test_only_what_reads_says_so(gate: DatabaseGate) -> None:
    infos = {tool.info().name: tool.info() for tool in database_tools(gate)}
    assert {name: (info.read_only, info.destructive) for name, info in infos.items()} == {
        "query": (True, False),
        "execute": (False, True),
        "list_tables": (True, False),
    }
    assert {info.server for info in infos.values()} == {"db"}


def test_the_rights_are_on_the_very_tables(gate: DatabaseGate) -> None:
    query, execute, tables = database_tools(gate)

    def named(tool: Tool, args: dict[str, Any]) -> list[tuple[str, str | None, int | None]]:
        assert all(need.facts.arguments == args for need in tool.needs(args))
        return [(need.resource.uri, need.facts.statement, need.facts.size) for need in tool.needs(args)]

    assert named(query, ask("select * from customers, Names")) == [
        ("mcp://db/read/shop/customers", "select", 30),
        ("mcp://db/read/shop/names", "select", 30),
    ]
    assert named(query, ask("select 1")) == [("mcp://db/query/shop/-", "select", 8)]
    assert named(execute, ask("drop table customers")) == [("mcp://db/execute/shop/customers", "drop", 20)]
    assert named(tables, {"database": "shop"}) == [("mcp://db/list/shop/-", None, None)]


def test_rows_come_as_text_and_as_data(gate: DatabaseGate) -> None:
    result = use(Query(gate), ask("select id, name from customers order by id", max_rows=3))
    assert result.text == "id | name\n1 | Ann\n2 | NULL\n3 | a\\|b\\nc"
    assert result.structured == {
        "columns": ["id", "name"],
        "rows": [[1, "Ann"], [2, None], [3, "a|b\nc"]],
        "truncated": False,
        "changed": None,
    }


def test_what_is_left_out_is_said(gate: DatabaseGate) -> None:
    result = use(Query(gate), ask("select id from customers order by id", max_rows=2))
    assert result.text.endswith("2\n[more than these 2 rows; the rest is not shown]")
    assert result.structured["truncated"]
    wide = use(Query(gate), ask("select :long as a", parameters={"long": "x" * 1_000}))
    assert wide.text == "a\n" + "x" * 200 + "…"
    assert wide.structured["rows"] == [["x" * 1_000]]


def test_the_limit_of_the_right_bounds_the_answer(gate: DatabaseGate) -> None:
    args = ask("select id from customers order by id")
    assert use(Query(gate), args, limits={"max_bytes": 6}).structured["rows"] == [[1], [2]]
    assert len(use(Query(gate), args, limits={"max_bytes": MAX_BYTES * 9}).structured["rows"]) == 3


def test_a_change_is_made_and_counted(gate: DatabaseGate) -> None:
    result = use(Execute(gate), ask("update customers set name = :n where id < 3", parameters={"n": "x"}))
    assert result.text == "[2 rows changed]" and result.structured["changed"] == 2
    made = use(Execute(gate), ask("create table notes (id integer primary key)"))
    assert made.text == "done"
    assert use(Query(gate), ask("select name from customers where id = 2")).structured["rows"] == [["x"]]


def test_tables_are_listed(gate: DatabaseGate) -> None:
    result = use(ListTables(gate), {"database": "shop"})
    assert result.text == "table customers (id INTEGER, name TEXT)\nview names (name TEXT)"
    assert result.structured["tables"][0] == {
        "name": "customers",
        "kind": "table",
        "columns": ["id INTEGER", "name TEXT"],
    }
    short = use(ListTables(gate), {"database": "shop", "limit": 1})
    assert short.structured["truncated"] and short.text.endswith(
        "[more than 1 tables; the rest is not shown]"
    )


def test_each_tool_is_for_its_own_statements(gate: DatabaseGate) -> None:
    with pytest.raises(CallerMistaken, match="use db/execute"):
        Query(gate).validate_args(ask("delete from customers"))
    with pytest.raises(CallerMistaken, match="use db/query"):
        Execute(gate).validate_args(ask("select 1"))


def test_nothing_is_done_without_every_right(gate: DatabaseGate) -> None:
    args = ask("select * from customers, names")
    for coverings in (
        ("mcp://db/read/shop/customers",),
        ("mcp://db/read/shop/customers", "mcp://db/read/other/names"),
        ("mcp://db/read/shop/customers", None),
    ):
        with pytest.raises(NotPermitted):
            use(Query(gate), args, *coverings)
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()), principal_id=new_id("agent", SystemEntropy())
    )
    for tool, given in ((Query(gate), args), (ListTables(gate), {"database": "shop"})):
        with pytest.raises(NotPermitted, match="without a right"):
            asyncio.run(tool.execute(given, context))


def test_other_arguments_than_those_that_were_judged_are_not_run(gate: DatabaseGate) -> None:
    """The right to one table is no right to another, whatever `needs` was asked before."""
    with pytest.raises(NotPermitted, match="mcp://db/read/shop/names"):
        use(Query(gate), ask("select * from names"), "mcp://db/read/shop/customers")
    with pytest.raises(CallerMistaken):
        use(Query(gate), ask("delete from customers"), "mcp://db/delete/shop/**")


def test_an_unknown_database_is_not_found(gate: DatabaseGate) -> None:
    for tool in (Query(gate), ListTables(gate)):
        args = {**(ask("select 1") if isinstance(tool, Query) else {}), "database": "other"}
        with pytest.raises(NotFound, match="shop"):
            tool.validate_args(args)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_rows": 1_001},
        {"timeout_s": 0},
        {"timeout_s": 601},
        {"parameters": [1]},
        {"parameters": {"a": {}}},
        {"sql": "x" * 65_537},
    ],
)
def test_the_wrong_argument_is_named(gate: DatabaseGate, wrong: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match=next(iter(wrong))):
        Query(gate).validate_args({**ask("select 1"), **wrong})
