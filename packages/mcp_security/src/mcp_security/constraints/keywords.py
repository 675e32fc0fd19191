"""The plain keywords of argument rules: what each may say, which values it speaks of, and what it refuses."""

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mcp_interface.errors import CallerMistaken, InvalidAddress
from mcp_security.constraints.paths import rooted
from mcp_security.constraints.values import (
    MAX_COUNT,
    MAX_TEXT,
    form,
    listed,
    number,
    shown,
    text,
    texts,
    unique,
    whole,
)
from mcp_security.patterns import Paths, glob_matches

MAX_ENTRIES: Final = 256
"""Most entries of one list in a rule."""
MAX_NESTED: Final = 32
"""How deep the one allowed value may be nested."""
MAX_DATA: Final = 1024 * 1024
"""Characters of one text in it."""

Test = Callable[[Any], str | None]
"""Says what is wrong with a value, or None. Never shows the value: it may be a secret."""

TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})


class Unfit(str):
    """A problem that is no answer: the rule says nothing about such a value. Under `not` it stays a problem."""

    __slots__ = ()


class Keyword(msgspec.Struct, frozen=True):
    """One word of the language."""

    on: frozenset[str]
    """Types of JSON values it speaks of; empty for all."""
    read: Callable[[Any], Any]
    """Canonical form of what it is set to; raises CallerMistaken."""
    test: Callable[[Any], Test]
    """What judges a value of those types, from the canonical form."""


def type_of(value: Any) -> str:
    """Return the JSON type of a value, `number` for whole ones too; empty for what JSON cannot hold."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return "number"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else ""


def fitting(word: str, on: frozenset[str], test: Test) -> Test:
    """Return a test for which a value of other types than `on` is unfit; empty is all that JSON has."""

    def judge(value: Any) -> str | None:
        type = type_of(value)
        if not type or (on and type not in on):
            return Unfit(f"{word} cannot judge {type or 'what is no JSON'}")
        return test(value)

    return judge


def _types(value: Any) -> list[str]:
    types = sorted(texts([value] if isinstance(value, str) else value, len(TYPES), "types"))
    if not types or not TYPES.issuperset(types):
        raise CallerMistaken(f"type is not some of {', '.join(sorted(TYPES))}")
    return types


def _test_type(types: list[str]) -> Test:
    allowed = frozenset(types)

    def judge(value: Any) -> str | None:
        type = type_of(value)
        if type in allowed or (type == "number" and "integer" in allowed and value == int(value)):
            return None
        return f"it is not of type {' or '.join(types)}"

    return judge


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int | float):
        return number(value)
    raise CallerMistaken(f"{shown(value)} is no plain value", "use properties and items for what is nested")


def _data(value: Any, depth: int = 0) -> Any:
    """Read any JSON value; a number without a fraction becomes whole, names are sorted."""
    if depth > MAX_NESTED:
        raise CallerMistaken(f"the value is nested more than {MAX_NESTED} deep", "use properties and items")
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {_data(name): _data(value[name], depth + 1) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_data(each, depth + 1) for each in value]
    if isinstance(value, str):
        return text(value, MAX_DATA) if value else value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64:
        return int(value)  # an argument may be an id of 64 bits, so the bound of limits is too tight here
    if isinstance(value, float) and math.isfinite(value):
        # beyond 64 bits there is one spelling only, and no whole number is let through to equal it
        return int(value) if value.is_integer() and -(2**63) <= value < 2**64 else value
    return _scalar(value)


def _test_const(wanted: Any) -> Test:
    only, kind = form(wanted), type_of(wanted)

    def judge(value: Any) -> str | None:
        if type_of(value) != kind:
            return Unfit("it is of another type than the one allowed value")
        try:
            return None if form(_data(value)) == only else "it is not the one allowed value"
        except CallerMistaken:
            return Unfit("it is no data that could be compared")

    return judge


def _scalars(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_ENTRIES:
        raise CallerMistaken(f"enum is not a list of 1 to {MAX_ENTRIES} plain values")
    return unique([_scalar(each) for each in value])


def _test_enum(values: list[Any]) -> Test:
    # the type belongs to the value: to Python, True equals 1
    allowed = {(type_of(each), each) for each in values}
    types = {type for type, _ in allowed}

    def judge(value: Any) -> str | None:
        type = type_of(value)
        if type not in types:
            return Unfit(f"it is of another type than {len(values)} allowed values")
        return None if (type, value) in allowed else "it is none of the allowed values"

    return judge


def _some_texts(value: Any) -> list[str]:
    found = sorted(texts([value] if isinstance(value, str) else value, MAX_ENTRIES, "patterns"))
    if not found:
        raise CallerMistaken("an empty list of patterns allows nothing", "leave the keyword out")
    return found


def _paths(value: Any) -> list[str]:
    paths = sorted({rooted(path) for path in _some_texts(value)})
    for path in paths:
        Paths.parse(path)
    return paths


def _test_inside(patterns: list[str]) -> Test:
    allowed = [Paths.parse(pattern) for pattern in patterns]

    def judge(value: str) -> str | None:
        # a server may expand `*`, and what a relative path means only the server knows
        if not value.startswith("/") or value.endswith("//") or "*" in value or len(value) > MAX_TEXT:
            return Unfit("it is not one plain absolute path")
        try:
            path = Paths.parse(value.removesuffix("/"))
        except InvalidAddress:
            return Unfit("it is not a path in canonical form")
        return None if any(one.includes(path) for one in allowed) else f"it is not inside {listed(patterns)}"

    return judge


def _test_glob(globs: list[str]) -> Test:
    def judge(value: str) -> str | None:
        return (
            None if any(glob_matches(one, value) for one in globs) else f"it does not match {listed(globs)}"
        )

    return judge


def _bound(problem: str, holds: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def make(limit: Any) -> Test:
        return lambda value: None if holds(value, limit) else problem.format(limit)

    return make


def _count(value: Any) -> int:
    return whole(value, 0, MAX_COUNT)


_NUMBER: Final = frozenset({"number"})
_TEXT: Final = frozenset({"string"})
_LIST: Final = frozenset({"array"})

PLAIN: Final[dict[str, Keyword]] = {
    "type": Keyword(frozenset(), _types, _test_type),
    "const": Keyword(frozenset(), _data, _test_const),
    "enum": Keyword(frozenset(), _scalars, _test_enum),
    "minimum": Keyword(_NUMBER, number, _bound("it is less than {}", lambda value, limit: value >= limit)),
    "maximum": Keyword(_NUMBER, number, _bound("it is more than {}", lambda value, limit: value <= limit)),
    "maxLength": Keyword(
        _TEXT, _count, _bound("it is longer than {} characters", lambda value, limit: len(value) <= limit)
    ),
    "maxItems": Keyword(
        _LIST, _count, _bound("it has more than {} items", lambda value, limit: len(value) <= limit)
    ),
    "glob": Keyword(_TEXT, _some_texts, _test_glob),
    "inside": Keyword(_TEXT, _paths, _test_inside),
}
"""Every keyword that holds no rule of its own."""
