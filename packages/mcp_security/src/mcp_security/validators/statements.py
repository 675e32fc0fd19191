"""One SQL statement, read before it is run: what kind it is, which tables it touches, how. Pure.

Never the text received is run, only `Statement.sql`, which is written anew from the tree that was judged: without
comments, each table under its full name. That text is read and judged a second time and must say the same, so
that nothing slips in between reading and writing. What is not in `sql_grammar` is refused, whatever it means.

Source: PostgreSQL 18 manual, 4.1 (identifiers) and 7.8 (WITH); SQLite "with" and "Quirks".
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from mcp_interface.address import Resource, resource
from mcp_interface.errors import CallerMistaken, WorldBroken
from mcp_security.validators.sql_grammar import STARTS, Dialect

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

MAX_LENGTH: Final = 65_536
"""Characters of a statement; longer values are parameters."""
MAX_TOKENS: Final = 4_000
MAX_NESTING: Final = 32
"""Parentheses and CASE within one another."""
MAX_CHAIN: Final = 200
"""Operators without a parenthesis or comma between them, which the parser also stacks up."""
NO_TABLE: Final = "-"
"""Stands in a resource where a statement touches no table; a table of that name is written %2D."""

_DEFAULT_SCHEMA: Final[dict[Dialect, str]] = {"sqlite": "main", "postgres": "public"}
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Access(msgspec.Struct, frozen=True, order=True):
    """One operation on one table."""

    operation: str
    """read, write, delete or execute, which is to make, change or drop the table itself."""
    schema: str
    table: str
    """As the database compares it: folded."""

    def resource(self, database: str, dialect: Dialect) -> Resource:
        """The right it needs: `mcp://db/<operation>/<database>/<table>`.

        The table of another than the default schema (`main`, `public`) is written `schema.table`; in both
        names everything but letters, digits and `_` is percent-encoded.
        """
        place = "" if self.schema == _DEFAULT_SCHEMA[dialect] else f"{_segment(self.schema)}."
        return resource("db", self.operation, f"{database}/{place}{_segment(self.table)}")


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that was understood whole."""

    kind: str
    """select, insert, update, delete, create, drop, alter or truncate."""
    sql: str
    """The text to run, and the only one: the tree written down anew. Placeholders are `:name` for SQLite and
    `$1`, `$2`, … in the order of `parameters` for PostgreSQL."""
    dialect: Dialect
    accesses: tuple[Access, ...]
    """In order of name; empty when no table is touched."""
    parameters: tuple[str, ...] = ()
    """Names of its placeholders, in order of first use."""
    aliases: frozenset[str] = frozenset()
    """Names that it gives to its own queries, folded."""
    returns_rows: bool = False
    """Whether it is a query, or has RETURNING."""

    @property
    def reads_only(self) -> bool:
        """Whether it changes nothing."""
        return self.kind == "select"

    def resources(self, database: str) -> list[Resource]:
        """The rights it needs; `mcp://db/query/<database>/-` when it touches no table."""
        if not self.accesses:
            return [resource("db", "query", f"{database}/{NO_TABLE}")]
        return [access.resource(database, self.dialect) for access in self.accesses]


@lru_cache(
    maxsize=32
)  # a call is judged more than once on its way; the answer is a value and depends on nothing else
def read_statement(sql: str, dialect: Dialect) -> Statement:
    """Understand exactly one statement.

    Reading is asked of each table that a query, join, subquery or CTE takes rows from; as in the SQL standard also
    of the target of an UPDATE or DELETE whose condition, new values or RETURNING look at columns, and of an
    INSERT with ON CONFLICT or RETURNING. INSERT OR REPLACE also deletes, TRUNCATE deletes, and
    a new name for a table reads it. A name that a CTE has given is
    no table.

    Args:
        sql: The statement; values only by placeholders `:name`, which are the same in both dialects.
        dialect: How the database reads names and functions.

    Raises:
        CallerMistaken: Not one statement, too long or too deep, or something in it that is not allowed; the
            message names what.
        WorldBroken: The extra `database` is not installed.
    """
    judged = _read(sql, dialect)
    again = _read(judged.sql, dialect, anew=True)
    if msgspec.structs.replace(again, parameters=judged.parameters) != judged:
        raise CallerMistaken(
            "the statement does not read the same when written anew", "write it more plainly"
        )
    return judged


def _read(sql: str, dialect: Dialect, *, anew: bool = False) -> Statement:
    from mcp_security.validators.sql_tree import Reader

    tokens = _tokens(sql, dialect)
    _check_size(tokens)
    try:
        tree = _tree(sql, tokens, dialect)
        reader = Reader(dialect, anew=anew)
        kind = reader.read(tree)
        text = _write(tree, dialect)
    except RecursionError as error:
        raise CallerMistaken("the statement is nested too deeply", "split it") from error
    return Statement(
        kind=kind,
        sql=text,
        dialect=dialect,
        accesses=tuple(Access(*found) for found in sorted(reader.accesses)),
        parameters=tuple(reader.parameters),
        aliases=frozenset(reader.aliases),
        returns_rows=kind == "select" or bool(tree.args.get("returning")),
    )


def _tokens(sql: str, dialect: Dialect) -> "list[Token]":
    if len(sql) > MAX_LENGTH:
        raise CallerMistaken(
            f"the statement has {len(sql)} characters, more than {MAX_LENGTH}",
            "hand long values over as parameters",
        )
    if _UNPRINTABLE.search(sql):
        raise CallerMistaken("the statement holds a control character or half a surrogate pair", "remove it")
    try:
        from sqlglot import tokenize
        from sqlglot.errors import TokenError
    except ImportError as error:
        raise WorldBroken(
            "statements cannot be read: sqlglot is not installed", "install mcp-umbrella-security[database]"
        ) from error
    try:
        tokens: list[Token] = tokenize(sql, read=dialect)
    except TokenError as error:
        raise CallerMistaken("the statement has an open quote or comment", "close it") from error
    if not tokens or tokens[0].text.lower() not in STARTS:
        word = tokens[0].text[:40] if tokens else ""
        raise CallerMistaken(
            f"a statement that begins with {word!r} is not allowed",
            "use SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP or TRUNCATE",
        )
    return tokens


def _check_size(tokens: "list[Token]") -> None:
    """Bound what the parser, which calls itself, is about to do."""
    if len(tokens) > MAX_TOKENS:
        raise CallerMistaken(
            f"the statement has {len(tokens)} words and signs, more than {MAX_TOKENS}", "split it"
        )
    depth = chain = 0
    for token in tokens:
        text = token.text.lower()
        if text in {"(", "[", "case"}:
            depth, chain = depth + 1, 0
        elif text in {")", "]", "end"}:
            depth = max(0, depth - 1)
        elif text in {",", "select", "when", "and", "or", "union", "join"}:
            chain = 0
        else:
            chain += 1
        if depth > MAX_NESTING or chain > MAX_CHAIN:
            raise CallerMistaken(
                f"the statement is nested deeper than {MAX_NESTING}, or chains more than {MAX_CHAIN} words",
                "split it, or use IN or a join",
            )


def _tree(sql: str, tokens: "list[Token]", dialect: Dialect) -> Any:
    import logging

    from sqlglot import Dialect as Language
    from sqlglot.errors import SqlglotError

    # it warns about what it cannot read, and quotes the statement, which may hold values that nobody may log
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        found = Language.get_or_raise(dialect).parser().parse(tokens, sql)
    except SqlglotError as error:
        raise CallerMistaken(f"the statement is not {dialect} SQL: {_said(error)}", "check it") from error
    trees = [tree for tree in found if tree is not None and type(tree).__name__ != "Semicolon"]
    if len(trees) != 1:
        raise CallerMistaken(f"{len(trees)} statements were given", "send exactly one at a time")
    return trees[0]


def _write(tree: Any, dialect: Dialect) -> str:
    from sqlglot import ErrorLevel
    from sqlglot.errors import SqlglotError

    try:
        return str(
            tree.sql(dialect=dialect, comments=False, pretty=False, unsupported_level=ErrorLevel.RAISE)
        )
    except (SqlglotError, ValueError) as error:
        raise CallerMistaken(
            f"the statement cannot be written down for {dialect}: {_said(error)}", "write it more plainly"
        ) from error


def _said(error: Exception) -> str:
    """The parser's own words in one short line, without the marks it sets for terminals."""
    return re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()[0][:200]


def _segment(name: str) -> str:
    # quote() leaves these three alone; a dot parts schema and table, and "-" alone is no table
    return quote(name, safe="").replace(".", "%2E").replace("-", "%2D").replace("~", "%7E")
