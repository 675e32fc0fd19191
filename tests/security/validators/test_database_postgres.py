"""The gate to a real PostgreSQL server: what is covered runs, and the role holds the second line."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mcp_interface.errors import CallerMistaken, DeadlineExceeded, NotPermitted, WorldBroken
from mcp_security.validators.database import Database, DatabaseGate
from mcp_security.validators.postgres import PostgresEngine
from mcp_security.validators.rows import Rows
from mcp_security.validators.statements import Statement
from security.corpora.sql import CANARY
from security.local_postgres import postgres_server

NAMES = ("shop", "owned", "nowhere", "wrong", "broken")
EVERYTHING = [
    f"mcp://db/{operation}/{name}/**"
    for operation in ("read", "write", "delete", "execute", "query", "list")
    for name in NAMES
]
LONG = "select count(*) from customers " + " ".join(f"cross join customers c{n}" for n in range(40))
SCHEMA = f"""
create table customers (id serial primary key, name text, "Mixed" text default 'm');
create table orders (id serial primary key, customer_id int references customers (id), total numeric(10, 2),
    placed timestamptz default '2026-01-02 03:04:05+00', doc jsonb, raw bytea, tags text[]);
create table secret (v text);
create view names as select name from customers;
create schema other;
create table other.things (a int);
create function public.lower(varchar) returns text language sql as $$ select v from secret $$;
create function names_of(customers) returns text language sql as $$ select v from secret $$;
insert into customers (name) values ('Ann'), ('Bob');
insert into orders (customer_id, total, doc, raw, tags) values (1, 9.50, '{{"a": [1, null]}}', '\\x00ff', '{{x,y}}');
insert into secret values ('{CANARY}');
create role agent;
grant usage on schema public to agent;
grant create on schema public to agent;
grant select, insert, update, delete on customers, orders to agent;
grant select on names to agent;
grant usage on all sequences in schema public to agent;
"""


class Shop:
    """A server and the gate to it: `shop` by a role of few rights, `owned` by the superuser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.gate = DatabaseGate(
            {
                "shop": Database(url=url, role="agent"),
                "owned": Database(url=url),
                "nowhere": Database(url="postgresql://user:hunter2@127.0.0.1:1/x"),
                "wrong": Database(url="postgresql://user:hun@ter2@nowhere.invalid/x?bad=1"),
                "broken": Database(url=url, role="nobody_like_this"),
            }
        )

    def run(
        self, sql: str, name: str = "shop", parameters: dict[str, Any] | None = None, **bounds: Any
    ) -> Rows:
        return asyncio.run(self.gate.run(EVERYTHING, name, sql, parameters or {}, **bounds))


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with postgres_server() as url:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        yield Shop(url)


def test_rows_come_back_as_plain_data(shop: Shop) -> None:
    found = shop.run(
        "select total, placed at time zone 'utc' as placed, doc, raw, tags from orders where id = 1"
    )
    assert found.columns == ["total", "placed", "doc", "raw", "tags"]
    assert found.rows == [["9.50", "2026-01-02T03:04:05", {"a": [1, None]}, {"base64": "AP8="}, ["x", "y"]]]
    assert shop.run("select 'NaN'::float8, interval '1 day', 9007199254740993, true").rows == [
        ["nan", "1 day, 0:00:00", "9007199254740993", True]
    ]
    assert shop.run("select name from customers where id = -1").columns == ["name"]


def test_values_go_beside_the_statement(shop: Shop) -> None:
    evil = "x' or 1=1; drop table customers --"
    assert shop.run("select name from customers where name = :n", parameters={"n": evil}).rows == []
    found = shop.run(
        "select :a::int + 1, :b::text, :c::text, '100%', '%(a)s', '$1'",
        parameters={"a": 1, "b": "é", "c": None},
    )
    assert found.rows == [[2, "é", None, "100%", "%(a)s", "$1"]]


def test_names_are_read_as_the_server_reads_them(shop: Shop) -> None:
    assert shop.run('select "Mixed" from CUSTOMERS limit 1').rows == [["m"]]
    with pytest.raises(CallerMistaken, match="mixed"):
        shop.run("select Mixed from customers")
    with pytest.raises(CallerMistaken, match="does not exist"):
        shop.run('select 1 from "Customers"')


def test_a_write_is_committed_and_counted_and_a_failed_one_is_not(shop: Shop) -> None:
    assert (
        shop.run("insert into customers (name) values ('C'), ('D') returning name", max_rows=1).changed == 2
    )
    assert shop.run("update customers set name = 'E' where name = 'C'").changed == 1
    assert shop.run("delete from customers where name in ('D', 'E')").changed == 2
    with pytest.raises(CallerMistaken, match="unique"):
        shop.run("insert into customers (id, name) values (77, 'x'), (1, 'y')")
    assert shop.run("select count(*) from customers").rows == [[2]]


def test_tables_can_be_made_changed_and_dropped(shop: Shop) -> None:
    for sql in (
        "create table mine (a int primary key, b text default 'x')",
        "create index mine_b on mine (b)",
        "alter table mine add column c int",
        "alter table mine rename to ours",
        "drop table ours",
    ):
        assert shop.run(sql) == Rows()


def test_the_role_is_the_second_line(shop: Shop) -> None:
    for sql in (
        "select * from secret",
        "select * from other.things",
        "drop table customers",
        "truncate table customers",
    ):
        with pytest.raises(NotPermitted, match="role refuses"):
            shop.run(sql)
    assert shop.run("select v from secret", "owned").rows == [[CANARY]]


def test_a_function_that_somebody_planted_is_not_called(shop: Shop) -> None:
    assert shop.run("select lower(name::varchar) from customers where id = 1", "owned").rows == [["ann"]]


def test_a_function_in_the_shape_of_a_column_is_not_called(shop: Shop) -> None:
    for sql in ("select ('/etc/hostname'::text).pg_read_file", "select (customers).names_of from customers"):
        with pytest.raises(CallerMistaken, match="not allowed"):
            shop.run(sql, "owned")
    with pytest.raises(CallerMistaken, match="names_of does not exist"):
        shop.run("select customers.names_of from customers", "owned")


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("insert into public.customers (name) values ('x')", CallerMistaken),
        ("select nextval('public.customers_id_seq')", NotPermitted),
        ("select set_config('transaction_read_only', 'off', true)", CallerMistaken),
        ("select 1; select 2", CallerMistaken),
        ("commit; drop table customers", CallerMistaken),
    ],
)
def test_had_the_first_line_been_blind_a_read_would_still_change_nothing(
    shop: Shop, sql: str, error: type[Exception]
) -> None:
    """The engine runs what it is given: here a text that no reader has seen."""
    from mcp_security.validators.database import Bounds

    engine = PostgresEngine("shop", shop.url, "agent")
    blind = Statement(kind="select", sql=sql, dialect="postgres", accesses=(), returns_rows=True)
    with pytest.raises(error):
        asyncio.run(engine.run(blind, {}, Bounds()))
    assert shop.run("select count(*) from customers").rows == [[2]]


def test_rows_are_bounded_and_a_long_answer_is_not_waited_for(shop: Shop) -> None:
    many = "select c0.id from " + ", ".join(f"customers c{n}" for n in range(40))
    found = shop.run(many, max_rows=3)
    assert len(found.rows) == 3 and found.truncated
    assert len(shop.run(many, max_bytes=10).rows) == 3


def test_the_deadline_stops_a_statement(shop: Shop) -> None:
    with pytest.raises(DeadlineExceeded, match="nothing was changed"):
        shop.run(LONG, timeout_s=0.3)


def test_who_gives_up_stops_the_statement(shop: Shop) -> None:
    import psycopg

    async def give_up() -> None:
        running = asyncio.create_task(shop.gate.run(EVERYTHING, "shop", LONG, {}))
        for _ in range(100):
            if busy():
                break
            await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        for _ in range(100):
            if not busy():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it still runs")

    def busy() -> bool:
        with psycopg.connect(shop.url) as connection:
            found = connection.execute(
                "select count(*) from pg_stat_activity where application_name = 'umbrella' and state = 'active'"
            ).fetchone()
        return bool(found and found[0])

    asyncio.run(give_up())


def test_what_cannot_be_reached_is_told_without_the_password(shop: Shop) -> None:
    for name in ("nowhere", "wrong"):
        with pytest.raises(WorldBroken, match="cannot be reached") as caught:
            shop.run("select 1", name, timeout_s=5)
        seen = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.details}"
        assert "hunter2" not in seen and "ter2" not in seen
    with pytest.raises(CallerMistaken, match="nobody_like_this"):
        shop.run("select 1", "broken")


def test_tables_are_listed_with_their_columns(shop: Shop) -> None:
    found = asyncio.run(shop.gate.tables(["mcp://db/list/shop/-"], "shop"))
    assert [(table.name, table.kind) for table in found] == [
        ("customers", "table"), ("names", "view"), ("orders", "table"), ("other.things", "table"), ("secret", "table"),
    ]  # fmt: skip
    assert found[0].columns == ["id integer", "name text", "Mixed text"]


def test_the_session_of_one_statement_is_gone_with_it(shop: Shop) -> None:
    assert shop.run("select count(*) from customers").rows == [[2]]
    assert shop.run("select count(*) from secret", "owned").rows == [[1]]
    with pytest.raises(NotPermitted):
        shop.run("select count(*) from secret")
