"""The laws of limits: a meet is never above either side, changes nothing the second time, and denies in doubt."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mcp_interface.address import OPERATIONS, Resource
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_security.constraints import KINDS, Question, compile_rules, meets, merge, read
from mcp_security.constraints.keywords import PLAIN
from mcp_security.constraints.schema import compile_rule, read_rule
from mcp_security.patterns import Paths

TIMES = 20 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 1
BEGIN = datetime(2026, 3, 28, tzinfo=UTC)


def some(values: list, most: int = 3) -> st.SearchStrategy[list]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


path_patterns = some(["/a/**", "/a/b/**", "/a/b", "/a/*", "/*/b", "/a*/**", "/**", "b/", "/a/b/c"])
plain_values = st.sampled_from([None, True, False, 0, 1, 2, 1.0, 0.5, "", "a", "b", "ab", "/a/b", "/a", "1"])
PLAIN_VALUES: dict[str, st.SearchStrategy] = {
    "type": some(["string", "number", "integer", "boolean", "null", "array", "object"]),
    "const": plain_values,
    "enum": st.lists(plain_values, min_size=1, max_size=3),
    "minimum": st.sampled_from([0, 1, 0.5]),
    "maximum": st.sampled_from([0, 1, 2]),
    "maxLength": st.integers(0, 2),
    "maxItems": st.integers(0, 2),
    "glob": some(["a*", "*b", "*", "/a/*"]),
    "inside": path_patterns,
    "required": st.lists(st.sampled_from("xy"), max_size=2),
}


@st.composite
def rules(draw: st.DrawFn, depth: int = 0) -> dict:
    """A few words, mostly plain ones; deeper down fewer."""
    words = draw(st.lists(st.sampled_from(sorted(PLAIN_VALUES)), max_size=2 - depth // 2, unique=True))
    rule = {word: draw(PLAIN_VALUES[word]) for word in words}
    match draw(st.integers(0, 7)) if depth < 3 else 0:
        case 1 | 2:
            names = draw(st.lists(st.sampled_from("xy"), max_size=2, unique=True))
            rule["properties"] = {name: draw(rules(depth + 1)) for name in names}
            if draw(st.booleans()):
                rule["additionalProperties"] = draw(st.just(False) | rules(depth + 1))
        case 3:
            rule["items"] = draw(rules(depth + 1))
        case 4 | 5:
            rule["not"] = draw(rules(depth + 1))
    return rule


json_values = st.recursive(
    plain_values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=4,
)
window = st.builds(
    lambda zone, days, begin, length: {
        "zone": zone,
        "days": days,
        "from": f"{begin:02}:00",
        "to": f"{(begin + length) % 24:02}:30",
    },
    st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns"]),
    some(["mon", "sat", "sun", "fri"], 4),
    st.integers(0, 23),
    st.integers(1, 22),
)


def in_common(windows: list) -> bool:
    try:
        return bool(read({"time_window": windows}))
    except InvalidRecord:
        return False


rate = st.builds(lambda count, per_s: {"count": count, "per_s": per_s}, st.integers(1, 3), st.integers(1, 2))
flags = st.dictionaries(st.sampled_from(["-a", "-b"]), st.just(False), max_size=2)
schema = st.builds(lambda known, most: {"flags": known, "operands": {"max": most}}, flags, st.integers(1, 2))

VALUES: dict[str, st.SearchStrategy] = {
    "allowed_extensions": some([".txt", ".md", "b"]),
    "allowed_hosts": some(
        [
            "x.com",
            "*.x.com",
            "a.x.com",
            "*.a.x.com",
            "x.com:*",
            "*:*",
            "*",
            "x.com:8",
            "127.0.0.1",
            "*.x.com:8",
        ]
    ),
    "allowed_methods": some(["get", "POST", "head"]),
    "allowed_paths": path_patterns,
    "allowed_statements": some(["select", "INSERT", "delete"]),
    "allowed_tables": some(["a", "ab", "a*", "*b", "*", "-"]),
    "allowed_tools": some(["a/b", "a/*", "*/b", "*/*", "a*/b*"]),
    "arguments": st.lists(rules(), min_size=1, max_size=2),
    "commands": st.dictionaries(st.sampled_from(["git", "/a/b", "b"]), schema, min_size=1, max_size=2),
    "denied_paths": some(["/a/b", "/**/b", "/a/*/c", "/b"]),
    "max_bytes": st.integers(0, 3),
    "max_delegation_depth": st.integers(0, 3),
    "max_file_size": st.integers(0, 3),
    "max_uses": st.integers(1, 3),
    "not_before": st.integers(0, 72).map(lambda hours: BEGIN + timedelta(hours=hours)),
    "operations": some(["read", "write", "get", "execute", "query"]),
    "rate_limit": rate | st.lists(rate, min_size=1, max_size=2),
    "time_window": window | st.lists(window, min_size=2, max_size=2).filter(in_common),
}
PLACES = {
    "fs": ["a", "a/b", "a/b/c", "a/b.txt", "ab/b", "b", "a/*", "a/", "**"],
    "shell": ["a/b", "a/git", "b"],
    "db": ["m/a", "m/ab", "m/b", "m/-", "m", "m/*"],
    "tool": ["a/b", "a/c", "ab/b", "a/*", "**"],
    "agent": ["a"],
    "api": [
        f"{scheme}/{host}/p"
        for scheme in ("http", "https")
        for host in (
            "x.com",
            "a.x.com",
            "b.a.x.com",
            "x.com:8",
            "a.x.com:8",
            "x.com:443",
            "127.0.0.1",
            "*.x.com",
        )
    ],
}


def biting(type: str) -> list[str]:
    return sorted(key for key in VALUES if KINDS[key].types is None or type in (KINDS[key].types or ()))


@st.composite
def limits(draw: st.DrawFn, type: str, onward: bool = True) -> dict:
    keys = draw(st.lists(st.sampled_from(biting(type)), max_size=3, unique=True))
    chosen = {key: draw(VALUES[key]) for key in keys}
    if onward and draw(st.integers(0, 3)) == 0:
        chosen["delegation_constraints"] = draw(limits(type, onward=False))
    return chosen


@st.composite
def questions(draw: st.DrawFn, type: str) -> Question:
    wanted = Resource(
        type, draw(st.sampled_from(sorted(OPERATIONS[type]))), draw(st.sampled_from(PLACES[type]))
    )
    facts = Facts(
        arguments=draw(st.none() | st.dictionaries(st.sampled_from("xyz"), json_values, max_size=2)),
        argv=draw(st.none() | st.lists(st.sampled_from(["-a", "-b", "x"]), max_size=3).map(tuple)),
        statement=draw(st.sampled_from([None, "select", "insert", "drop"])),
        size=draw(st.sampled_from([None, 0, 1, 2, 3])),
    )
    return Question(
        wanted, Paths.of(wanted.path), facts, BEGIN + timedelta(minutes=draw(st.integers(0, 4320)))
    )


types = st.sampled_from(sorted(OPERATIONS))


def met(parent: dict, asked: dict, type: str | None = None) -> dict | None:
    try:
        return merge(parent, asked, type)
    except (NotPermitted, InvalidRecord):
        return None


def allows(constraints: dict, question: Question, type: str | None = None) -> bool:
    return all(check(question) is None for check in compile_rules(constraints, type).checks)


@settings(max_examples=150 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), types)
def test_what_the_meet_allows_both_sides_allow(data: st.DataObject, type: str) -> None:
    parent, asked = data.draw(limits(type)), data.draw(limits(type))
    merged = met(parent, asked, type)
    assume(merged is not None)
    assert merged is not None
    for _ in range(4):
        question = data.draw(questions(type))
        if allows(merged, question, type):
            assert allows(parent, question, type), (parent, asked, merged)
            assert allows(asked, question, type), (parent, asked, merged)
            assert allows(parent.get("delegation_constraints", {}), question, type)
    onward = "delegation_constraints"
    for side in (parent, asked):
        assert meets(side.get(onward, {}), merged.get(onward, {})), "those below are bound by both as well"
    for key in ("max_uses", "max_delegation_depth"):
        for side in (parent, asked, parent.get("delegation_constraints", {})):
            assert merged.get(key, 0) <= side.get(key, merged.get(key, 0))
    assert {*compile_rules(merged).rates} >= {*compile_rules(parent).rates, *compile_rules(asked).rates}


def each_kind(law: Callable[[str, st.DataObject], None]) -> Callable[[], None]:
    @settings(max_examples=15 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test(data: st.DataObject) -> None:
        for key in VALUES:
            law(key, data)

    return test


def _narrowing(key: str, data: st.DataObject) -> None:
    type = data.draw(st.sampled_from(sorted(KINDS[key].types or OPERATIONS)))
    parent, asked = {key: data.draw(VALUES[key])}, {key: data.draw(VALUES[key])}
    merged = met(parent, asked, type)
    if merged is None:
        return
    assert met(parent, merged) == merged == met(merged, merged)
    assert meets(parent, merged), "a restart accepts what was minted"
    question = data.draw(questions(type))
    assert not allows(merged, question) or (allows(parent, question) and allows(asked, question))
    if key != "allowed_paths":
        assert met(asked, parent) == merged, "which side is whose makes no difference"
    assert json.loads(json.dumps(merged)) == merged == read(merged)


test_each_kind_alone_keeps_the_laws = each_kind(_narrowing)


@settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), types)
def test_a_chain_of_five_is_accepted_when_replayed(data: st.DataObject, type: str) -> None:
    chain = [read(data.draw(limits(type)), type)]
    for _ in range(5):
        child = met(chain[-1], data.draw(limits(type)), type)
        if child is not None:  # what is refused is not minted; somebody else asks
            chain.append(child)
    question = data.draw(questions(type))
    for parent, child in pairwise(chain):
        assert meets(parent, child), (parent, child)
        assert meets(json.loads(json.dumps(parent)), json.loads(json.dumps(child)))
        assert merge(parent, child) == child
        assert not allows(child, question) or allows(parent, question)
    assert not allows(chain[-1], question) or allows(chain[0], question)


@settings(max_examples=300 * TIMES, deadline=None)
@given(types.flatmap(limits))
def test_reading_twice_and_a_trip_through_json_change_nothing(constraints: dict) -> None:
    once = read(constraints)
    assert repr(read(once)) == repr(once)
    assert repr(read(json.loads(json.dumps(once)))) == repr(once)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from([*PLAIN, "zone", "count", "not"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400 * TIMES, deadline=None)
@given(st.sampled_from([*KINDS, "delegation_constraints"]), anything)
def test_anything_else_is_refused_with_a_typed_error_or_means_the_same_for_ever(key: str, value: Any) -> None:
    try:
        once = read({key: value})
    except (NotPermitted, InvalidRecord):
        return
    assert repr(read(once)) == repr(once)
    assert meets(once, merge(once, {}))


@settings(max_examples=100 * TIMES, deadline=None)
@given(
    types.flatmap(limits),
    st.text(max_size=12).filter(lambda key: key not in {*KINDS, "delegation_constraints"}),
)
def test_an_unknown_key_anywhere_denies(constraints: dict, key: str) -> None:
    strange = {**constraints, key: 1}
    for parent, child in ((strange, {}), ({}, strange), ({}, {"delegation_constraints": {key: 1}})):
        assert met(parent, child) is None
        assert not meets(parent, child)
    if key not in {*PLAIN, "properties", "required", "additionalProperties", "items", "not"}:
        for rule in ({key: 1}, {"not": {key: 1}}, {"properties": {"a": {"items": {key: 1}}}}):
            assert met({}, {"arguments": rule}) is None


def naive(rule: dict, value: Any) -> bool | None:
    """Say yes, no, or None for "it says nothing about that", straight from the words."""
    answers = [_naive_word(word, rule, value) for word in rule]
    return None if None in answers else all(answers)


def _every(answers: list[bool | None]) -> bool | None:
    return None if None in answers else all(answers)


def _naive_word(word: str, rule: dict, value: Any) -> bool | None:
    said, kind = rule[word], type(value)
    numeric = kind in (int, float)
    match word:
        case "type":
            names = {
                str: {"string"},
                bool: {"boolean"},
                dict: {"object"},
                list: {"array"},
                type(None): {"null"},
            }
            integer = {"integer"} if numeric and value % 1 == 0 else set()
            return bool(({"number"} | integer if numeric else names[kind]) & set(said))
        case "const" | "enum":
            options = [said] if word == "const" else said
            alike = [one for one in options if type(one) is kind or (numeric and type(one) in (int, float))]
            return any(one == value for one in alike) if alike else None
        case "minimum" | "maximum":
            return None if not numeric else value >= said if word == "minimum" else value <= said
        case "maxLength":
            return len(value) <= said if kind is str else None
        case "maxItems":
            return len(value) <= said if kind is list else None
        case "glob":
            known = {"a*": str.startswith, "*b": str.endswith, "*": str.startswith, "/a/*": str.startswith}
            return any(known[one](value, one.strip("*")) for one in said) if kind is str else None
        case "inside":
            if kind is not str or not value.startswith("/"):
                return None
            return any(Paths.parse(one).includes(Paths.parse(value)) for one in said)
        case "not":
            inner = naive(said, value)
            return None if inner is None else not inner
        case "items":
            return _every([naive(said, item) for item in value]) if kind is list else None
    if kind is not dict:
        return None
    if word == "required":
        return all(name in value for name in said)
    if word == "properties":
        return _every([naive(said[name], value[name]) for name in said if name in value])
    others = [value[name] for name in value if name not in rule.get("properties", {})]
    return not others if said is False else _every([naive(said, other) for other in others])


@settings(max_examples=300 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules(), st.lists(json_values, min_size=1, max_size=5))
def test_rules_for_arguments_agree_with_a_naive_reading(rule: dict, values: list) -> None:
    judge = compile_rule(read_rule(rule))
    for value in values:
        assert (judge(value) is None) is (naive(rule, value) is True), (rule, value, judge(value))


@settings(max_examples=200 * TIMES, deadline=None)
@given(rules(), json_values)
def test_a_rule_and_its_opposite_never_both_accept(rule: dict, value: Any) -> None:
    judge, opposite = (compile_rule(read_rule(each)) for each in (rule, {"not": rule}))
    assert judge(value) is not None or opposite(value) is not None


@settings(max_examples=300 * TIMES, deadline=None)
@given(anything)
def test_a_rule_is_read_or_refused_and_never_breaks(value: Any) -> None:
    try:
        rule = read_rule(value)
    except CallerMistaken:
        return
    assert compile_rule(rule)(value) is None or rule
