"""A small language of rules about JSON data, shaped like JSON Schema and made for saying no.

    {"type": "object", "required": ["path"], "additionalProperties": false,
     "properties": {"path": {"inside": ["/srv/notes/**"]}, "mode": {"enum": ["r", "w"]},
                    "lines": {"type": "integer", "minimum": 1, "maximum": 500}}}

It differs from JSON Schema where that would let something slip: a keyword refuses a value that it says
nothing about (`maximum` refuses a text), an unknown keyword denies, there are no regular expressions, `const`
and `enum` hold plain values only, and `not` refuses what its rule cannot judge. True is not 1; 1.0 is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.keywords import MAX_ENTRIES, PLAIN, Test, Unfit, fitting
from mcp_security.constraints.values import listed, shown, text, texts

MAX_DEPTH: Final = 16
"""Rules within rules."""
MAX_RULES: Final = 1000
"""Rules in one rule, itself included."""

Rule = dict[str, Any]


def read_rule(value: Any) -> Rule:
    """Return a rule in canonical form.

    Raises:
        CallerMistaken: Naming the keyword, and what it has to be; or the rule is too large.
    """
    return _Reader().rule(value, 0)


def compile_rule(rule: Rule) -> Test:
    """Prepare a canonical rule for judging; an empty one finds nothing wrong."""
    tests = [_test(word, rule) for word in rule]

    def judge(value: Any) -> str | None:
        first: str | None = None
        for test in tests:
            problem = test(value)
            if isinstance(problem, Unfit):
                return problem
            first = first or problem
        return first

    return judge


class _Reader:
    """Reads one rule, and counts what is in it."""

    def __init__(self) -> None:
        self._left = MAX_RULES
        self._words: dict[str, Callable[[Any, int], Any]] = {
            "properties": self._properties,
            "required": lambda names, depth: sorted(texts(names, MAX_ENTRIES, "names")),
            "additionalProperties": lambda inner, depth: inner is not False and self.rule(inner, depth),
            "items": self.rule,
            "not": self.rule,
        }

    def rule(self, value: Any, depth: int) -> Rule:
        if not isinstance(value, Mapping):
            raise CallerMistaken(f"{shown(value)} is not a rule", 'write for example {"type": "string"}')
        self._left -= 1
        if depth >= MAX_DEPTH or self._left < 0:
            raise CallerMistaken(
                f"more than {MAX_DEPTH} rules deep, or than {MAX_RULES} rules", "simplify it"
            )
        unknown = [word for word in value if word not in PLAIN and word not in self._words]
        if unknown:
            raise CallerMistaken(
                f"{shown(unknown[0])} is no keyword of a rule", f"use {', '.join([*PLAIN, *self._words])}"
            )
        return {word: self._setting(word, value[word], depth) for word in sorted(value)}

    def _setting(self, word: str, value: Any, depth: int) -> Any:
        try:
            return PLAIN[word].read(value) if word in PLAIN else self._words[word](value, depth + 1)
        except CallerMistaken as error:
            raise CallerMistaken(f"{word}: {error.message}"[:500], error.remedy) from error

    def _properties(self, value: Any, depth: int) -> dict[str, Rule]:
        if not isinstance(value, Mapping) or len(value) > MAX_ENTRIES:
            raise CallerMistaken(f"the value is not an object of at most {MAX_ENTRIES} rules")
        return {name: self.rule(value[name], depth) for name in sorted(text(name) for name in value)}


def _test(word: str, rule: Rule) -> Test:
    if word in PLAIN:
        return fitting(word, PLAIN[word].on, PLAIN[word].test(rule[word]))
    on, make = _NESTED[word]
    return fitting(word, on, make(rule))


def _worst(found: Iterable[tuple[str, str | None]]) -> str | None:
    """Return the first problem, said where it is; one that is no answer goes before those that are."""
    first: str | None = None
    for where, problem in found:
        if isinstance(problem, Unfit):
            return Unfit(f"{where}: {problem}")
        if problem is not None and first is None:
            first = f"{where}: {problem}"
    return first


def _test_properties(rule: Rule) -> Test:
    tests = {name: compile_rule(inner) for name, inner in rule["properties"].items()}
    return lambda value: _worst((name, tests[name](value[name])) for name in tests if name in value)


def _test_required(rule: Rule) -> Test:
    def judge(value: dict[Any, Any]) -> str | None:
        missing = [name for name in rule["required"] if name not in value]
        return f"{listed(missing)} is missing" if missing else None

    return judge


def _test_additional(rule: Rule) -> Test:
    named, inner = frozenset(rule.get("properties", {})), rule["additionalProperties"]
    if inner is False:

        def refuse(value: dict[Any, Any]) -> str | None:
            other = next((name for name in value if name not in named), None)
            return None if other is None else f"{shown(other)} is not among {listed(sorted(named))}"

        return refuse
    test = compile_rule(inner)
    return lambda value: _worst((shown(name), test(value[name])) for name in value if name not in named)


def _test_items(rule: Rule) -> Test:
    test = compile_rule(rule["items"])
    return lambda value: _worst((f"item {at}", test(item)) for at, item in enumerate(value))


def _test_not(rule: Rule) -> Test:
    test = compile_rule(rule["not"])

    def judge(value: Any) -> str | None:
        problem = test(value)
        if isinstance(problem, Unfit):
            return problem
        return "it is what 'not' excludes" if problem is None else None

    return judge


_OBJECT: Final = frozenset({"object"})
_NESTED: Final[dict[str, tuple[frozenset[str], Callable[[Rule], Test]]]] = {
    "additionalProperties": (_OBJECT, _test_additional),
    "items": (frozenset({"array"}), _test_items),
    "not": (frozenset(), _test_not),
    "properties": (_OBJECT, _test_properties),
    "required": (_OBJECT, _test_required),
}
"""Every keyword that holds rules or names, the types it speaks of, and its test in the light of the whole rule."""
