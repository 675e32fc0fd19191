"""The gate to SQLite files: what is covered runs, and SQLite itself holds the second line."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    InvalidAddress,
    NotFound,
    NotPermitted,
    WorldBroken,
)
from mcp_security.validators.database import Database, DatabaseGate
from mcp_security.validators.rows import Rows
from mcp_security.validators.sqlite import Authorizer
from mcp_security.validators.statements import Access, Statement
from security.corpora.sql import BY_DIALECT, CANARY, EVERYWHERE

EVERYTHING = [
    f"mcp://db/{operation}/shop/**" for operation in ("read", "write", "delete", "execute", "query", "list")
]
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n)"
SCHEMA = f"""
create table customers (id integer primary key, name text);
create table orders (id integer primary key, customer_id integer references customers (id), total real, data blob);
create table secret (v text);
create table log (line text);
create view names as select name from customers;
create view revealed as select v from secret;
create view longer as select name || '!' as name from names;
create trigger logged after insert on customers begin insert into log select v from secret; end;
insert into customers values (1, 'Ann'), (2, 'Bob');
insert into orders values (1, 1, 9.5, x'00ff');
insert into secret values ('{CANARY}');
delete from log;
"""


class Shop:
    """One file and the gate to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.executescript(SCHEMA)
        connection.close()
        self.gate = DatabaseGate({"shop": Database(url=f"sqlite://{path}")})

    def run(self, sql: str, *coverings: str, parameters: dict[str, Any] | None = None, **bounds: Any) -> Rows:
        return asyncio.run(self.gate.run(coverings or EVERYTHING, "shop", sql, parameters or {}, **bounds))

    def there(self, sql: str) -> list[Any]:
        """What is really in the file."""
        with sqlite3.connect(self.path) as connection:
            found = connection.execute(sql).fetchall()
        connection.close()
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "my shop?#%.db".replace("?", "").replace("#", "").replace("%", ""))


def right(operation: str, table: str) -> str:
    return f"mcp://db/{operation}/shop/{table}"


def test_rows_come_back_as_plain_data(shop: Shop) -> None:
    found = shop.run(
        "select id, name, null as n, 1.5 as f, 9007199254740993 as big, 9e999 as inf from customers order by id"
    )
    assert found.columns == ["id", "name", "n", "f", "big", "inf"]
    assert found.rows[0] == [1, "Ann", None, 1.5, "9007199254740993", "inf"]
    assert shop.run("select data from orders").rows == [[{"base64": "AP8="}]]
    assert found.changed is None and not found.truncated


def test_values_go_beside_the_statement(shop: Shop) -> None:
    evil = "x' or 1=1; drop table customers --"
    assert shop.run("select name from customers where name = :n", parameters={"n": evil}).rows == []
    assert shop.run("insert into customers (name) values (:n)", parameters={"n": evil}).changed == 1
    assert shop.there("select name from customers where id = 3") == [(evil,)]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n": 1, "m": 2},
        {"m": 1},
        {"n": [1]},
        {"n": {}},
        {"n": 2**63},
        {"n": "a\0b"},
        {"n": "\ud800"},
        {"n": b"x"},
    ],
)
def test_parameters_that_do_not_fit_are_refused(shop: Shop, parameters: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match="parameter"):
        shop.run("select :n", parameters=parameters)


@pytest.mark.parametrize(
    ("sql", "coverings"),
    [
        ("select * from customers", [right("read", "customers")]),
        ("select * from customers", [right("read", "c*")]),
        ("select * from customers, orders", [right("read", "customers"), right("read", "orders")]),
        ("select 1", [right("query", "-")]),
        ("update customers set name = 'x'", [right("write", "customers")]),
        (
            "update customers set name = 'x' where id = 1",
            [right("write", "customers"), right("read", "customers")],
        ),
        ("delete from orders", [right("delete", "orders")]),
        ("create table new (id integer primary key autoincrement, a text unique)", [right("execute", "new")]),
        ("create index i on customers (name)", [right("execute", "customers")]),
        ("alter table orders rename column total to sum", [right("execute", "orders")]),
        ("select * from names", [right("read", "names")]),
        ("select count(*) from names", [right("read", "names")]),
        ("select * from longer", [right("read", "longer")]),
        ("select * from revealed", [right("read", "revealed")]),
        ("insert into customers (name) values ('c')", [right("write", "customers")]),
        ("insert into orders (customer_id) values (2)", [right("write", "orders")]),
    ],
)
def test_exactly_the_named_rights_are_needed(shop: Shop, sql: str, coverings: list[str]) -> None:
    assert {need.resource.operation for need in shop.gate.needs("shop", sql)} == {
        one.split("/")[3] for one in coverings
    }
    for left_out in range(len(coverings)):
        with pytest.raises(NotPermitted) as caught:
            shop.run(sql, right("read", "other"), *(coverings[:left_out] + coverings[left_out + 1 :]))
        assert caught.value.details["reason"] == "path_not_allowed"
        assert caught.value.details["grant"].startswith("mcp://db/")
    shop.run(sql, *coverings)


@pytest.mark.parametrize(
    "covering",
    [
        right("write", "customers"), right("read", "customers2"), right("read", "customer"), "mcp://db/read/shop2/customers",
        "mcp://db/read/sho/**", "mcp://fs/read/shop/customers", "mcp://db/query/shop/**", "mcp://db/read/shop/customers/**/".rstrip("/"),
    ],
)  # fmt: skip
def test_another_right_does_not_cover(shop: Shop, covering: str) -> None:
    if covering.endswith("customers/**"):
        shop.run("select * from customers", covering)  # a directory is part of its subtree
        return
    with pytest.raises(NotPermitted):
        shop.run("select * from customers", covering)


def test_a_covering_that_is_no_resource_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidAddress):
        shop.run("select 1", "everything")


def test_a_need_tells_kind_and_size(shop: Shop) -> None:
    [need] = shop.gate.needs("shop", "update customers set name = :n", {"n": "x" * 1_000})
    assert need.facts.size == 30 + 1_008
    [need] = shop.gate.needs("shop", "update customers set name = 'é'")
    assert (need.resource.uri, need.facts.statement, need.facts.size) == (
        right("write", "customers"),
        "update",
        32,
    )


def test_rows_and_bytes_are_bounded(shop: Shop) -> None:
    assert shop.run(f"{ENDLESS} select i from n", max_rows=3).rows == [[1], [2], [3]]
    found = shop.run(f"{ENDLESS} select i from n", max_bytes=20)
    assert found.truncated and len(found.rows) == 6
    assert shop.run("select 1", max_rows=1).truncated is False
    assert shop.run("select name from customers", max_bytes=0).rows == []


@pytest.mark.parametrize(
    "bounds",
    [{"max_rows": -1}, {"max_rows": 10_001}, {"max_bytes": 2**30}, {"timeout_s": 0}, {"timeout_s": 601}],
)
def test_bounds_out_of_range_are_refused(shop: Shop, bounds: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match="out of bounds"):
        shop.run("select 1", **bounds)


def test_a_write_with_returning_is_done_whole_whatever_is_shown(shop: Shop) -> None:
    found = shop.run("update customers set name = 'x' returning id", max_rows=1)
    assert found.rows == [[1]] and found.truncated
    assert shop.there("select name from customers") == [("x",), ("x",)]


def test_the_deadline_stops_a_read_and_takes_back_a_write(shop: Shop) -> None:
    for sql in (f"{ENDLESS} select count(*) from n", f"insert into log {ENDLESS} select i from n"):
        with pytest.raises(DeadlineExceeded, match="nothing was changed"):
            shop.run(sql, timeout_s=0.2)
    assert shop.there("select count(*) from log") == [(0,)]


def test_who_gives_up_stops_the_statement(shop: Shop) -> None:
    async def give_up() -> None:
        running = asyncio.create_task(
            shop.gate.run(EVERYTHING, "shop", f"insert into log {ENDLESS} select i from n", {})
        )
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(give_up())  # waits for the thread, which would not end
    assert shop.there("select count(*) from log") == [(0,)]


def test_one_value_cannot_grow_without_end(shop: Shop) -> None:
    doubled = "'aaaaaaaaaa'"
    for _ in range(9):
        doubled = f"replace({doubled}, 'a', 'aaaaaaaaaa')"
    with pytest.raises(CallerMistaken, match="too big"):
        shop.run(f"select length({doubled})")


def test_a_failed_write_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(CallerMistaken, match="UNIQUE"):
        shop.run("insert into customers (id, name) values (7, 'x'), (1, 'y')")
    with pytest.raises(CallerMistaken, match="FOREIGN KEY"):
        shop.run("insert into orders (customer_id) values (99)")
    assert shop.there("select count(*) from customers") == [(2,)]


def test_a_read_cannot_write_even_where_the_file_could_be(shop: Shop) -> None:
    before = shop.path.read_bytes()
    shop.run("select * from customers")
    assert shop.path.read_bytes() == before
    assert [file.name for file in shop.path.parent.iterdir()] == [shop.path.name]


def test_a_trigger_of_the_owner_acts_for_the_owner(shop: Shop) -> None:
    shop.run("insert into customers (name) values ('c')", right("write", "customers"))
    assert shop.there("select line from log") == [(CANARY,)]


def test_a_query_that_takes_the_name_of_a_view_gets_no_more_than_its_own_rights(shop: Shop) -> None:
    sql = "with revealed as (select v from secret) select * from revealed"
    with pytest.raises(NotPermitted):
        shop.run(sql, right("read", "revealed"))
    # nor would the second line let it through, had the first not seen the table
    blind = Statement(kind="select", sql=sql, dialect="sqlite", accesses=(), aliases=frozenset({"revealed"}))
    assert "prohibited" in second_line_says(shop, blind)


def second_line_says(shop: Shop, statement: Statement) -> str:
    """What SQLite answers to a statement that the first line was blind to."""
    connection = sqlite3.connect(shop.path, isolation_level=None)
    connection.set_authorizer(Authorizer.of(connection, statement).judge)
    try:
        return repr(connection.execute(statement.sql).fetchall())
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return str(error)
    finally:
        connection.close()


def test_the_second_line_alone_lets_no_attack_read_or_change_anything(tmp_path: Path) -> None:
    """Each attack as it came, with the rights of an ordinary query and none of what the first line knows."""
    shop = Shop(tmp_path / "shop.db")
    before = shop.path.read_bytes()
    for kind in ("select", "insert"):
        for sql in (*EVERYWHERE, *BY_DIALECT["sqlite"]):
            blind = Statement(
                kind=kind,
                sql=sql,
                dialect="sqlite",
                accesses=(Access("read", "main", "orders"), Access("write", "main", "orders")),
            )
            assert CANARY not in second_line_says(shop, blind), sql
    assert shop.there("select v from secret") == [(CANARY,)]
    with sqlite3.connect(":memory:") as original, sqlite3.connect(shop.path) as now:
        original.deserialize(before)
        assert [row for row in now.iterdump() if "orders" not in row] == [
            row for row in original.iterdump() if "orders" not in row
        ]
    original.close()
    now.close()


def test_tables_are_listed_with_their_columns(shop: Shop) -> None:
    found = asyncio.run(shop.gate.tables(["mcp://db/list/shop/*"], "shop", 2))
    assert [(table.name, table.kind, table.columns) for table in found] == [
        ("customers", "table", ["id INTEGER", "name TEXT"]),
        ("log", "table", ["line TEXT"]),
    ]
    with pytest.raises(NotPermitted):
        asyncio.run(shop.gate.tables([right("read", "**")], "shop"))


def test_a_database_that_nobody_named_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound, match="known are: shop"):
        asyncio.run(shop.gate.run(EVERYTHING, "other", "select 1", {}))


def test_a_file_that_is_missing_or_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    gate = DatabaseGate({name: Database(url=f"sqlite://{tmp_path}/{name}.db") for name in ("none", "text")})
    for name in ("none", "text"):
        for sql in ("select a from b", "create table b (a integer)"):
            with pytest.raises(WorldBroken, match=f"database '{name}'"):
                asyncio.run(
                    gate.run([f"mcp://db/{op}/{name}/**" for op in ("read", "execute")], name, sql, {})
                )
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    "url", ["", "shop.db", "sqlite:", "mysql://u:hunter2@h/d", "file:///x", "http://h", "${URL}"]
)
def test_a_url_of_another_kind_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(CallerMistaken) as caught:
        DatabaseGate({"shop": Database(url=url)})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["sqlite://shop.db", "sqlite:///", "sqlite:///a?mode=rwc", "sqlite:///a%3Fvfs=x", "sqlite:///a%00b"],
)
def test_a_url_that_names_no_plain_file_is_refused(url: str) -> None:
    gate = DatabaseGate({"shop": Database(url=url)})
    with pytest.raises((CallerMistaken, WorldBroken)):
        asyncio.run(gate.run(EVERYTHING, "shop", "select 1", {}))


def test_a_url_with_four_slashes_names_the_same_file(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db")
    gate = DatabaseGate({"shop": Database(url=f"sqlite:///{shop.path}")})
    assert asyncio.run(gate.run(EVERYTHING, "shop", "select name from customers", {})).rows[0] == ["Ann"]


@pytest.mark.parametrize("name", ["", "A", "a/b", "a b", "-a", "a.b", "a*", "x" * 64])
def test_a_name_that_is_no_plain_segment_is_refused(name: str) -> None:
    with pytest.raises(CallerMistaken, match="name of a database"):
        DatabaseGate({name: Database(url="sqlite:///x")})


def test_variables_are_put_in_at_each_use_and_never_shown(shop: Shop) -> None:
    asked: list[str] = []

    def expand(url: str) -> str:
        asked.append(url)
        return f"sqlite://{shop.path}"

    database = Database(url="sqlite:///${SHOP}", role="hunter2")
    gate = DatabaseGate({"shop": database}, expand)
    assert asked == []
    for _ in range(2):
        asyncio.run(gate.run(EVERYTHING, "shop", "select 1", {}))
    assert asked == ["sqlite:///${SHOP}"] * 2
    assert "SHOP" not in repr(database) and "hunter2" not in repr(database)


@pytest.mark.parametrize(("absent", "url"), [("sqlglot", "sqlite:///x"), ("psycopg", "postgresql://h/x")])
def test_a_missing_library_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, absent: str, url: str
) -> None:
    gate = DatabaseGate({"shop": Database(url=url)})
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(WorldBroken, match=r"install mcp-umbrella-security\[database\]"):
        asyncio.run(gate.run(EVERYTHING, "shop", f"select 1 as {absent}", {}))


def test_the_gate_is_imported_without_any_library() -> None:
    code = "import sys, mcp_security.validators.database; print(*{'sqlglot', 'psycopg', 'sqlite3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "")
