"""What is read out of one statement, and what is written anew."""

import sqlite3
import string
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.address import parse_resource
from mcp_interface.errors import CallerMistaken
from mcp_security.patterns import Paths
from mcp_security.validators.sql_grammar import Dialect
from mcp_security.validators.statements import Access, read_statement
from security.corpora.sql_ordinary import ORDINARY

DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgres")
both = pytest.mark.parametrize("dialect", DIALECTS)


def touched(sql: str, dialect: Dialect = "postgres") -> set[str]:
    return {need.uri.removeprefix("mcp://db/") for need in read_statement(sql, dialect).resources("d")}


@both
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1", {"query/d/-"}),
        ("select * from a", {"read/d/a"}),
        ("select * from a, b join c on true", {"read/d/a", "read/d/b", "read/d/c"}),
        ("select (select max(x) from b) from a where exists (select 1 from c)", {"read/d/a", "read/d/b", "read/d/c"}),
        ("select 1 from a union select 2 from b", {"read/d/a", "read/d/b"}),
        ("with c as (select * from a) select * from c", {"read/d/a"}),
        ("with a as (select * from a) select * from a", {"read/d/a"}),
        ("with a as (select 1 as x), b as (select * from a) select * from b", {"query/d/-"}),
        ("with a as (select * from b), b as (select 1 as x) select * from a", {"read/d/b"}),
        ("with recursive a as (select * from b), b as (select 1 as x) select * from a", {"query/d/-"}),
        ("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n", {"query/d/-"}),
        ("select * from (with a as (select 1 as x) select * from a) t, a", {"read/d/a"}),
        ("(with a as (select 1 as x) select * from a) union select x from a", {"read/d/a"}),
        ("with a as (select 1 as x) select * from (with a as (select * from b) select * from a) t", {"read/d/b"}),
        ("insert into a (x) values (1)", {"write/d/a"}),
        ("insert into a (x) select x from b", {"write/d/a", "read/d/b"}),
        ("insert into a (x) values (1) returning x", {"write/d/a", "read/d/a"}),
        ("insert into a (x) values (1) on conflict do nothing", {"write/d/a", "read/d/a"}),
        ("with a as (select 1 as x) insert into a (x) select x from a", {"write/d/a"}),
        ("update a set x = 1", {"write/d/a"}),
        ("update a set x = :x", {"write/d/a"}),
        ("update a set x = x + 1", {"write/d/a", "read/d/a"}),
        ("update a set x = 1 where y = 2", {"write/d/a", "read/d/a"}),
        ("update a set x = 1 returning *", {"write/d/a", "read/d/a"}),
        ("update a set x = b.x from b", {"write/d/a", "read/d/a", "read/d/b"}),
        ("delete from a", {"delete/d/a"}),
        ("delete from a where x = 1", {"delete/d/a", "read/d/a"}),
        ("with b as (select x from c) delete from a where x in (select x from b)", {"delete/d/a", "read/d/a", "read/d/c"}),
        ("create table a (x integer)", {"execute/d/a"}),
        ("create table a (x integer references b (x))", {"execute/d/a", "read/d/b"}),
        ("create table a as select * from b", {"execute/d/a", "read/d/b"}),
        ("create view a as select * from b", {"execute/d/a", "read/d/b"}),
        ("create index i on a (x)", {"execute/d/a"}),
        ("alter table a add column x integer", {"execute/d/a"}),
        ("alter table a rename to b", {"execute/d/a", "execute/d/b", "read/d/a"}),
        ("drop table a, b", {"execute/d/a", "execute/d/b"}),
        ("drop index i", {"execute/d/i"}),
        ("truncate table a", {"delete/d/a"}),
    ],
)  # fmt: skip
def test_each_table_is_seen_with_what_is_done_to_it(dialect: Dialect, sql: str, expected: set[str]) -> None:
    assert touched(sql, dialect) == expected


def test_what_replaces_rows_deletes_them_too() -> None:
    assert touched("insert or replace into a values (1)", "sqlite") == {"write/d/a", "delete/d/a"}
    assert touched("insert or ignore into a values (1)", "sqlite") == {"write/d/a"}


@pytest.mark.parametrize(
    ("sql", "dialect", "name"),
    [
        ("select * from Orders", "sqlite", "orders"),
        ('select * from "Orders"', "sqlite", "orders"),
        ("select * from MAIN.Orders", "sqlite", "orders"),
        ("select * from [my orders]", "sqlite", "my%20orders"),
        ("select * from `orders`", "sqlite", "orders"),
        ("select * from Orders", "postgres", "orders"),
        ('select * from "Orders"', "postgres", "Orders"),
        ("select * from public.orders", "postgres", "orders"),
        ("select * from Sales.Orders", "postgres", "sales.orders"),
        ('select * from "sales.orders"', "postgres", "sales%2Eorders"),
        ('select * from "a*"', "postgres", "a%2A"),
        ('select * from "**"', "postgres", "%2A%2A"),
        ('select * from ".."', "postgres", "%2E%2E"),
        ('select * from "-"', "postgres", "%2D"),
        ('select * from "a/b"', "postgres", "a%2Fb"),
        ('select * from "a%2Fb"', "postgres", "a%252Fb"),
        ('select * from "\u00c9t\u00e9"', "postgres", "%C3%89t%C3%A9"),
        ("select * from \u212aelvin", "postgres", "%E2%84%AAelvin"),
        ("select * from \u00c9T\u00c9", "sqlite", "%C3%89t%C3%89"),
    ],
)
def test_a_table_has_one_name_as_a_resource(sql: str, dialect: Dialect, name: str) -> None:
    assert touched(sql, dialect) == {f"read/d/{name}"}


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=15)


@given(NAMES, NAMES)
def test_resources_of_different_tables_differ_and_never_stand_for_more_than_one(one: str, other: str) -> None:
    first, second = (Access("read", "public", name).resource("d", "postgres") for name in (one, other))
    elsewhere = Access("read", one, other).resource("d", "postgres")
    assert parse_resource(first.uri) == first
    assert not first.is_pattern
    assert (first == second) == (one == other)
    assert one == "public" or elsewhere not in {first, second}
    assert Paths.of(first.path).includes(Paths(second.segments, False)) == (one == other)


@given(NAMES)
def test_sqlite_reads_the_very_table_that_was_seen(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        statement = read_statement(f"select * from {quoted}", "sqlite")
    except CallerMistaken:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute(f"create table {quoted} (a)")
    read: set[str] = set()
    connection.set_authorizer(
        lambda action, first, *_: read.add(first) or 0 if action == sqlite3.SQLITE_READ else 0
    )
    connection.execute(statement.sql)
    connection.close()
    [access] = statement.accesses
    assert {one.translate(FOLD) for one in read} == {access.table} == {name.translate(FOLD)}


FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@both
def test_what_is_written_anew_says_the_same(dialect: Dialect) -> None:
    for sql in ORDINARY[dialect]:
        statement = read_statement(sql, dialect)
        if not statement.parameters:
            assert read_statement(statement.sql, dialect) == statement


@both
def test_comments_are_not_run(dialect: Dialect) -> None:
    for sql in ("select /*! load_file('/etc/passwd') */ 1", "select 1 -- x", "select /* x */ 1"):
        assert read_statement(sql, dialect).sql == "SELECT 1"


def test_postgres_gets_tables_and_names_in_full() -> None:
    statement = read_statement("select Id from Orders o where o.X = :x and y = :y and z = :x", "postgres")
    assert statement.sql == (
        'SELECT "id" FROM "public"."orders" AS "o" WHERE "o"."x" = $1 AND "y" = $2 AND "z" = $1'
    )
    assert statement.parameters == ("x", "y")


@both
@pytest.mark.parametrize(
    ("sql", "kind", "returns"),
    [
        ("select 1", "select", True),
        ("values (1)", "select", True),
        ("with a as (select 1 as x) select * from a", "select", True),
        ("insert into a values (1)", "insert", False),
        ("insert into a values (1) returning *", "insert", True),
        ("update a set x = 1", "update", False),
        ("delete from a", "delete", False),
        ("create table a (x int)", "create", False),
        ("alter table a drop column x", "alter", False),
        ("drop view a", "drop", False),
        ("truncate table a", "truncate", False),
    ],
)
def test_the_kind_is_told(dialect: Dialect, sql: str, kind: str, returns: bool) -> None:
    statement = read_statement(sql, dialect)
    assert (statement.kind, statement.returns_rows) == (kind, returns)
    assert statement.reads_only == (kind == "select")


def nested(open_: str, inner: str, close: str, depth: int) -> str:
    return open_ * depth + inner + close * depth


@both
@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("select '" + "x" * 70_000 + "'", "65536"),
        ("select 1" + ", 1" * 2_100, "4000"),
        ("select " + nested("(", "1", ")", 3_000), "4000"),
        ("select " + nested("(", "1", ")", 40), "nested deeper than 32"),
        ("select " + nested("case when 1 = 1 then ", "1", " end", 40), "nested deeper than 32"),
        ("select " + "1 + " * 150 + "1", "200 words"),
        ("select " + "not " * 190 + "true", "nested too deeply"),
        ("select * from t where " + " or ".join(f"a = {n}" for n in range(900)), "nested too deeply"),
        ("select 1; select 2", "2 statements"),
        ("", "begins with ''"),
        ("pragma user_version", "begins with 'pragma'"),
        ("select 'open", "open quote"),
        ("select from where", "is not"),
        ("select \0", "control character"),
        ("select pg_sleep(1)", "'pg_sleep'"),
        ("select * from f()", "a function, text or file in place of a table"),
        ("with d as (delete from a returning *) select * from d", "DELETE inside"),
        ("select 1 from t for update", "LOCKS"),
        ("select ?", ":name"),
        ("select cast(a as unknown_type) from t", "type"),
    ],
)
def test_a_refusal_names_the_rule(dialect: Dialect, sql: str, rule: str) -> None:
    with pytest.raises(CallerMistaken) as caught:
        read_statement(sql, dialect)
    assert rule.lower() in str(caught.value).lower()


def test_a_name_that_postgres_would_cut_off_is_refused() -> None:
    name = "s" * 63
    assert touched(f"select * from {name}") == {f"read/d/{name}"}
    with pytest.raises(CallerMistaken, match="63 bytes"):
        read_statement(f"select * from {name}x", "postgres")


def test_a_refused_statement_is_not_quoted_in_a_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for sql in (
        "create extension hunter2",
        "alter table t owner to hunter2",
        "alter system set x = 'hunter2'",
    ):
        with pytest.raises(CallerMistaken):
            read_statement(sql, "postgres")
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())


@given(st.sampled_from(DIALECTS), st.text(max_size=60))
def test_any_text_is_understood_or_refused(dialect: Dialect, text: str) -> None:
    for sql in (text, f"select {text}", f"select * from a where {text}"):
        try:
            read_statement(sql, dialect)
        except CallerMistaken:
            continue


LEAVES = st.sampled_from(("a", "b", "c", "x", "y"))


def _query(
    children: st.SearchStrategy[tuple[str, frozenset[str]]],
) -> st.SearchStrategy[tuple[str, frozenset[str]]]:
    """A query with the tables that it reads, worked out while it is built; names of CTEs are never tables here."""

    def joined(parts: Iterable[tuple[str, frozenset[str]]], shape: str) -> tuple[str, frozenset[str]]:
        texts, tables = zip(*parts, strict=True)
        return shape.format(*texts), frozenset().union(*tables)

    shapes = st.sampled_from(
        (
            "select * from ({0}) q, ({1}) r",
            "select 1 from ({0}) q where exists ({1})",
            "with k as ({0}) select * from k, ({1}) r",
            "with k as ({0}), l as (select * from k) select * from l where 1 in ({1})",
            "with recursive k as ({0}), l as ({1}) select * from k, l, k m",
            "select ({0}), case when 1 in ({1}) then 2 end",
            "select 1 from ({0}) q group by 1 having 1 in ({1}) order by 1",
        )
    )
    return st.builds(lambda one, two, shape: joined((one, two), shape), children, children, shapes)


QUERIES = st.recursive(
    LEAVES.map(lambda name: (f"select 1 from {name}", frozenset({name}))), _query, max_leaves=6
)


@given(st.sampled_from(DIALECTS), QUERIES)
def test_tables_are_found_in_any_nesting(dialect: Dialect, query: tuple[str, frozenset[str]]) -> None:
    sql, tables = query
    assert {access.table for access in read_statement(sql, dialect).accesses} == tables
