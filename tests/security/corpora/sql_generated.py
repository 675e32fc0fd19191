"""Ordinary statements and attacks, changed a little and a lot."""

import random
import re
from collections.abc import Iterator

from security.corpora.sql import BY_DIALECT, EVERYWHERE
from security.corpora.sql_ordinary import ORDINARY

_COMMENTS = (
    "/**/",
    "/* x */",
    "-- x\n",
    "/*! x */",
    "/*!50000 */",
    "/* -- */",
    "/*/**/*/",
    "--\n",
    "/*'*/",
    '/*"*/',
    "#x\n",
    "/*;*/",
)
_SPACES = ("\t", "\n", "\r\n", "\x0c", "  ", "\u00a0", "\u2003", "\u200b", "\ufeff", "\x0b", "")
_QUOTES = (
    '"{}"',
    "[{}]",
    "`{}`",
    "'{}'",
    "main.{}",
    "public.{}",
    "temp.{}",
    'main."{}"',
    "({})",
    "{}()",
    'U&"{}"',
    "{} *",
    "only {}",
    "main.[{}]",
    '"{}',
    '{}"',
    "::{}",
)
_TAILS = (
    "; drop table secret",
    "; select * from secret",
    " union select v from secret",
    " union all select * from secret",
    ";",
    " -- ",
    " /*",
    " for update",
    " into outfile '/tmp/x'",
    " limit (select count(*) from secret)",
    ", secret",
    " join secret on true",
    " natural join secret",
    " where exists (select 1 from secret)",
    " or (select v from secret) is not null",
    " order by (select v from secret)",
    " returning *",
    " returning (select v from secret)",
    " \\",
    "'",
    '"',
    ")",
    " as secret",
    " secret",
    " in secret",
    " intersect select v from secret",
    " union select 1, (select v from secret)",
    "::regclass",
    " collate nocase",
    " tablesample system (100)",
    " window w as (order by 1)",
)
_HEADS = (
    "with secret as (select 1 as v) ",
    "with orders as (select * from secret) ",
    "with x as (select v from secret) ",
    "explain ",
    "(",
    "/* */ ",
    "with recursive orders as (select v from secret union all select v from orders) ",
    "select 1; ",
    "; ",
    "with x as (delete from orders returning *) ",
    "create table z as ",
    "create view z as ",
    "insert into orders (note) ",
    "select * from (",
    "select 1 in ",
    "with x as materialized (select * from vault) ",
)
_LIKE = {
    "s": "\u017f",
    "k": "\u212a",
    "e": "\uff45",
    "c": "\u0441",
    "o": "\u043e",
    "i": "\u0131",
    "S": "\u017f",
    "K": "\u212a",
}
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_LITTLE = (
    "secret",
    "vault",
    "orders",
    "customers",
    "select",
    "from",
    "(",
    ")",
    ",",
    ";",
    "'",
    '"',
    "--",
    "/*",
    "*/",
    "in",
    "as",
    "union",
    "with",
    "join",
    "*",
    ".",
    "where",
    "v",
    "k",
    "rowid",
    "||",
    "::",
    "->",
    "null",
    "not",
    "::text",
    "case",
    "end",
    "1",
)


def generated(count: int, seed: int, dialect: str) -> Iterator[str]:
    """Make so many statements, the same ones for the same seed."""
    made = random.Random(seed)
    sources = [*ORDINARY[dialect], *EVERYWHERE, *BY_DIALECT[dialect]]
    for _ in range(count):
        text = made.choice(sources)
        for _ in range(made.choice((1, 1, 1, 2, 2, 3, 5))):
            text = made.choice(_CHANGES)(text, made, sources)
        yield text[:2_000]


def _words(text: str) -> list[str]:
    return _WORD.findall(text) or [""]


def _comment(text: str, made: random.Random, _: list[str]) -> str:
    return "".join(word + (made.choice(_COMMENTS) if made.random() < 0.2 else "") for word in _words(text))


def _space(text: str, made: random.Random, _: list[str]) -> str:
    return "".join(
        made.choice(_SPACES) if word.isspace() and made.random() < 0.5 else word for word in _words(text)
    )


def _case(text: str, made: random.Random, _: list[str]) -> str:
    return "".join(made.choice((str.upper, str.lower))(sign) for sign in text)


def _other_table(text: str, made: random.Random, _: list[str]) -> str:
    return re.sub(
        r"\b(customers|orders|items|products)\b",
        lambda found: made.choice(("secret", "vault", found[0], found[0])),
        text,
    )


def _quote(text: str, made: random.Random, _: list[str]) -> str:
    return re.sub(
        r"\b(customers|orders|items|products|secret|vault)\b",
        lambda found: made.choice(_QUOTES).format(found[0]) if made.random() < 0.6 else found[0],
        text,
    )


def _unicode(text: str, made: random.Random, _: list[str]) -> str:
    return "".join(_LIKE.get(sign, sign) if made.random() < 0.1 else sign for sign in text)


def _tail(text: str, made: random.Random, _: list[str]) -> str:
    return text + made.choice(_TAILS)


def _head(text: str, made: random.Random, _: list[str]) -> str:
    return made.choice(_HEADS) + text


def _wrap(text: str, made: random.Random, _: list[str]) -> str:
    name = made.choice(("secret", "orders", "x", "vault"))
    return made.choice(
        (
            f"select * from ({text}) {name}", f"with {name} as ({text}) select * from {name}", f"({text})", f"select ({text})",
            f"with {name} as (select 1), y as ({text}) select * from y, {name}", f"select * from orders where id in ({text})",
            f"with {name} as (with {name} as ({text}) select * from {name}) select * from {name}", f"select exists({text})",
            f"insert into orders (note) {text}", f"create table z as {text}", f"{text} union {text}", f"select * from {name}, ({text}) z",
        )
    )  # fmt: skip


def _splice(text: str, made: random.Random, sources: list[str]) -> str:
    ours, theirs = _words(text), _words(made.choice(sources))
    return "".join(ours[: made.randrange(len(ours) + 1)] + theirs[made.randrange(len(theirs) + 1) :])


def _shake(text: str, made: random.Random, _: list[str]) -> str:
    """Leave out, double, swap or put in a word."""
    words = _words(text)
    for _ in range(made.randint(1, 3)):
        at = made.randrange(len(words))
        other = made.randrange(len(words))
        match made.randrange(4):
            case 0:
                words[at] = ""
            case 1:
                words[at] += f" {words[at]}"
            case 2:
                words[at], words[other] = words[other], words[at]
            case _:
                words[at] += f" {made.choice(_LITTLE)} "
    return "".join(words)


_CHANGES = (
    _comment,
    _space,
    _case,
    _other_table,
    _other_table,
    _quote,
    _unicode,
    _tail,
    _head,
    _wrap,
    _wrap,
    _splice,
    _shake,
    _shake,
)
