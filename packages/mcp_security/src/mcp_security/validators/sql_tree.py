"""Walks the tree of one statement: refuses what is not in `sql_grammar`, notes every table and makes names plain.

Knows the parser's nodes by their names only. Names are folded here, by the database's rule and for ASCII
alone, and then quoted, so that the database cannot fold them in another way; the same for the schema.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from mcp_interface.errors import CallerMistaken
from mcp_security.validators.sql_grammar import BUILT_IN, NAMED, NODES, TYPES, Dialect

MAX_POSTGRES_NAME: Final = 63
"""Bytes; PostgreSQL cuts longer names off, and would then mean another table."""

_WORDS: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9 ]{0,40}")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_NUMBER: Final = re.compile(r"\d*\.?\d*([eE][+-]?\d+)?")
_ACTION: Final = re.compile(
    r"(ON (DELETE|UPDATE) (CASCADE|RESTRICT|SET NULL|SET DEFAULT|NO ACTION)|(NOT )?DEFERRABLE|INITIALLY (DEFERRED|IMMEDIATE))",
    re.IGNORECASE,
)
_TEXTS: Final = frozenset(
    {"Identifier", "Literal", "HexString", "JSONPathKey", "JSONPathSubscript", "Anonymous", "Placeholder"}
)
"""Nodes whose text is data or is judged where they are met."""
_QUERIES: Final = frozenset({"Select", "Union", "Intersect", "Except", "Values", "Subquery"})
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_FOLD: Final = str.maketrans(_UPPER, _LOWER)

Names = frozenset[str]
"""CTE names that are visible."""


class Reader:
    """Reads one tree; afterwards the tree's names are plain and the findings are in the attributes.

    Args:
        dialect: How names are read.
        anew: Whether the text is of our own writing, with the placeholders that PostgreSQL takes.
    """

    def __init__(self, dialect: Dialect, *, anew: bool = False) -> None:
        self._dialect = dialect
        self._anew = anew
        self._default = "main" if dialect == "sqlite" else "public"
        self.accesses: set[tuple[str, str, str]] = set()
        """Operation, schema and table."""
        self.parameters: list[str] = []
        self.aliases: set[str] = set()

    def read(self, tree: Any) -> str:
        """Judge the whole tree; answers the kind of statement.

        Raises:
            CallerMistaken: Naming what is not allowed.
        """
        name = type(tree).__name__
        if name in _QUERIES:
            self._visit(tree, frozenset())
            return "select"
        statements: dict[str, Callable[[Any], str]] = {
            "Insert": self._insert,
            "Update": self._update,
            "Delete": self._delete,
            "Create": self._create,
            "Drop": self._drop,
            "Alter": self._alter,
            "TruncateTable": self._truncate,
        }
        if name not in statements:
            raise _refused(f"this kind of statement ({name})")
        self._check(tree)
        return statements[name](tree)

    # statements that change something; they stand at the top or nowhere

    def _insert(self, tree: Any) -> str:
        target = tree.this.this if type(tree.this).__name__ == "Schema" else tree.this
        self._touch("write", target)
        alternative = str(tree.args.get("alternative") or "").lower()
        if alternative not in {"", "replace", "ignore"}:
            raise _refused(f"INSERT OR {alternative.upper()}")
        if alternative == "replace":
            self._touch("delete", target)
        if tree.args.get("conflict") or tree.args.get("returning"):
            self._touch("read", target)
        conflict = tree.args.get("conflict")
        if conflict is not None and str(conflict.args["action"]).upper() not in {"DO UPDATE", "DO NOTHING"}:
            raise _refused("this ON CONFLICT")
        self._parts(tree, self._scope(tree, frozenset()), done=(target,))
        return "insert"

    def _update(self, tree: Any) -> str:
        self._touch("write", tree.this)
        new = [part.expression for part in tree.expressions if type(part).__name__ == "EQ"]
        if len(new) != len(tree.expressions):
            raise _refused("this SET")
        if _looks(*new, *(tree.args.get(key) for key in ("where", "from_", "returning"))):
            self._touch("read", tree.this)
        self._parts(tree, self._scope(tree, frozenset()), done=(tree.this,))
        return "update"

    def _delete(self, tree: Any) -> str:
        self._touch("delete", tree.this)
        using = tree.args.get("using") or []
        if _looks(*(tree.args.get(key) for key in ("where", "returning")), *using):
            self._touch("read", tree.this)
        self._parts(tree, self._scope(tree, frozenset()), done=(tree.this,))
        return "delete"

    def _create(self, tree: Any) -> str:
        kind = str(tree.args["kind"]).upper()
        made = tree.this
        if kind in {"TABLE", "VIEW"}:
            target = made.this if type(made).__name__ == "Schema" else made
        elif kind == "INDEX" and type(made).__name__ == "Index":
            target = made.args.get("table")
        else:
            raise _refused(f"CREATE {kind}")
        self._touch("execute", target)
        self._parts(tree, frozenset(), done=(target,))
        return "create"

    def _drop(self, tree: Any) -> str:
        kind = str(tree.args["kind"]).upper()
        if kind not in {"TABLE", "VIEW", "INDEX"}:
            raise _refused(f"DROP {kind}")
        for table in tree.args.get("tables") or []:
            self._touch("execute", table)
        return "drop"

    def _alter(self, tree: Any) -> str:
        if str(tree.args["kind"]).upper() != "TABLE":
            raise _refused(f"ALTER {tree.args['kind']}")
        done = [tree.this]
        self._touch("execute", tree.this)
        for action in tree.args.get("actions") or []:
            name = type(action).__name__
            if name == "AlterRename":
                self._touch("execute", action.this, qualify=False)
                self._touch("read", tree.this)  # its rows come under a name that may be readable
                done.append(action.this)
            elif name == "Drop" and str(action.args["kind"]).upper() not in {"COLUMN", "CONSTRAINT"}:
                raise _refused(f"ALTER TABLE … DROP {action.args['kind']}")
        self._parts(tree, frozenset(), done=tuple(done))
        return "alter"

    def _truncate(self, tree: Any) -> str:
        for table in tree.expressions:
            self._touch("delete", table)
        return "truncate"

    # the walk

    def _visit(self, node: Any, names: Names) -> None:
        self._check(node)
        kind = type(node).__name__
        if kind in {"Insert", "Update", "Delete", "Create", "Alter", "TruncateTable"}:
            raise CallerMistaken(
                f"{kind.upper()} inside of another statement is not allowed",
                "send it as a statement of its own",
            )
        if kind == "Table":
            self._table(node, names)
        elif kind == "Identifier":
            self._plain(node)
        elif kind == "Anonymous":
            self._function(node)
        elif kind == "Placeholder":
            self._parameter(node)
        elif kind == "Parameter":
            self._numbered(node)
        elif kind == "DataType" and getattr(node.this, "name", "") not in TYPES:
            raise _refused(f"the type {node.sql()[:60]}")
        elif kind == "Lateral" and type(node.this).__name__ != "Subquery":
            raise _refused("a function in place of a table")
        elif kind == "TableAlias" and node.this is not None:
            self.aliases.add(self._folded(node.this))
        self._parts(node, self._scope(node, names))

    def _parts(self, node: Any, names: Names, done: tuple[Any, ...] = ()) -> None:
        """Visit the parts, but for WITH, which `_scope` has visited, and what the caller has seen to."""
        for key, part in _children(node):
            if key != "with_" and not any(part is one for one in done):
                self._visit_seen(part, names, done)

    def _visit_seen(self, part: Any, names: Names, done: tuple[Any, ...]) -> None:
        """Visit a part, or look past a node that holds only what was seen to, such as the target's column list."""
        if any(child is one for _, child in _children(part) for one in done):
            self._check(part)
            self._parts(part, names, done)
        else:
            self._visit(part, names)

    def _scope(self, node: Any, names: Names) -> Names:
        """Visit the CTEs of a node; answers the names that are visible in the rest of it.

        Without RECURSIVE a CTE sees the ones before it only, and a table of its own name is the table; SQLite sees
        more, so that this asks for a right too many there, never for one too few.
        """
        clause = node.args.get("with_")
        if clause is None:
            return names
        self._check(clause)
        found = [self._folded(cte.args["alias"].this) for cte in clause.expressions]
        for name in found:
            self._refuse_system(
                self._default, name
            )  # it would be found there if we were wrong about its scope
        visible = names | frozenset(found) if clause.args.get("recursive") else names
        for cte, name in zip(clause.expressions, found, strict=True):
            self._visit(cte, visible)
            visible |= {name}
        return visible

    def _table(self, node: Any, names: Names) -> None:
        own = type(node.this).__name__ == "Identifier" and not node.args.get("db")
        if own and self._folded(node.this) in names:
            return
        self._touch("read", node)

    def _touch(self, operation: str, node: Any, *, qualify: bool = True) -> None:
        """Note a table, and write it under its full and folded name."""
        if type(node).__name__ != "Table" or type(node.this).__name__ != "Identifier":
            raise _refused("a function, text or file in place of a table")
        self._check(node)
        if operation != "read" and node.args.get("joins"):
            raise _refused("a join in place of a table")
        schema = node.args.get("db")
        table, place = self._folded(node.this), self._default if schema is None else self._folded(schema)
        self._refuse_system(place, table)
        self.accesses.add((operation, place, table))
        for part, name in ((node.this, table), (schema, place)):
            if part is not None:
                part.set("this", name)
                part.set("quoted", True)
                self._plain(part)
        alias = node.args.get("alias")
        if alias is not None:
            self._visit(alias, frozenset())
        if qualify and schema is None and self._dialect == "postgres":
            from sqlglot import exp

            node.set("db", exp.to_identifier(place, quoted=True))
        elif not qualify and schema is not None:
            raise _refused("a schema in the new name")

    def _refuse_system(self, schema: str, table: str) -> None:
        if self._dialect == "sqlite":
            system = schema != "main" or table in BUILT_IN or table.startswith(("sqlite_", "pragma_"))
        else:
            system = schema == "information_schema" or schema.startswith("pg_") or table.startswith("pg_")
        if system:
            raise CallerMistaken(
                f"{schema}.{table} is not a table of your data",
                "the tool list_tables tells tables and columns",
            )

    def _plain(self, node: Any) -> None:
        """Fold and quote a name, so that both sides read it in one way."""
        name = str(node.this)
        if self._dialect == "postgres":
            if not node.args.get("quoted"):
                name = name.translate(_FOLD)
            if len(name.encode()) > MAX_POSTGRES_NAME:
                raise CallerMistaken(f"name {name[:80]!r} is longer than 63 bytes", "shorten it")
            node.set("this", name)
            node.set("quoted", True)
        elif _PLAIN.fullmatch(name) is None:
            if not node.args.get("quoted") and _WORD.fullmatch(name) is None:
                raise _refused(f"the name {name[:60]!r} without quotes")  # it may be a placeholder to SQLite
            node.set("quoted", True)
        if not name:
            raise _refused("an empty name")

    def _folded(self, node: Any) -> str:
        """A name as the database compares it."""
        name = str(node.this)
        exact = self._dialect == "postgres" and node.args.get("quoted")
        return name if exact else name.translate(_FOLD)

    def _function(self, node: Any) -> None:
        name = node.this
        if not isinstance(name, str) or name.lower() not in NAMED[self._dialect]:
            text = str(name if isinstance(name, str) else name.name)
            raise CallerMistaken(
                f"function {text[:80]!r} is not allowed",
                "use ordinary scalar, aggregate and window functions",
            )

    def _parameter(self, node: Any) -> None:
        name = node.this
        if not isinstance(name, str) or _PLAIN.fullmatch(name) is None or node.args.keys() - {"this"}:
            raise CallerMistaken("only placeholders of the form :name are allowed", "name each parameter")
        if name not in self.parameters:
            self.parameters.append(name)
        if self._dialect == "postgres":
            from sqlglot import exp

            number = self.parameters.index(name) + 1
            node.replace(exp.Parameter(this=exp.Literal.number(number)))

    def _numbered(self, node: Any) -> None:
        """Take back a placeholder that `_parameter` has written."""
        number = str(node.this.this)
        if not self._anew or type(node.this).__name__ != "Literal" or not number.isdecimal():
            raise CallerMistaken("only placeholders of the form :name are allowed", "name each parameter")
        if number not in self.parameters:
            self.parameters.append(number)

    def _check(self, node: Any) -> None:
        """Judge one node by itself: its kind, its filled parts, and the bare words in it."""
        kind = type(node).__name__
        if kind not in NODES:
            raise _refused(_described(node, kind))
        allowed = NODES[kind]
        for key, value in node.args.items():
            if value is None or value is False or value == []:
                continue
            if allowed is not None and key not in allowed:
                raise _refused(f"{kind.upper()} with {key.strip('_').upper()}")
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str) and not (
                    kind in _TEXTS or _WORDS.fullmatch(word) or _ACTION.fullmatch(word)
                ):
                    raise _refused(f"{word[:60]!r}")
        if kind == "Literal" and not node.is_string and _NUMBER.fullmatch(str(node.this)) is None:
            raise _refused(f"the number {str(node.this)[:60]}")
        if kind == "HexString" and re.fullmatch(r"[0-9A-Fa-f]*", str(node.this)) is None:
            raise _refused("this hexadecimal text")


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    for key, value in list(node.args.items()):
        for part in value if isinstance(value, list) else [value]:
            if hasattr(part, "args"):
                yield key, part


def _looks(*nodes: Any) -> bool:
    """Whether any of the trees looks at a column."""
    return any(
        type(found).__name__ in {"Column", "Star"}
        for node in nodes
        if node is not None and node is not False
        for found in node.walk()
    )


def _described(node: Any, kind: str) -> str:
    return f"function {kind}" if hasattr(node, "sql_name") else kind


def _refused(what: str) -> CallerMistaken:
    return CallerMistaken(f"{what} is not allowed in a statement", "use plain SQL on the tables of your data")
