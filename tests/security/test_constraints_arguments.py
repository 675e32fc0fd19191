"""The rules for arguments of tools: each keyword, and values that try to be something else."""

import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_security.constraints import Question, compile_rules, merge, read
from mcp_security.constraints.keywords import MAX_DATA
from mcp_security.constraints.schema import compile_rule, read_rule
from mcp_security.constraints.values import MAX_TEXT
from mcp_security.patterns import Paths

TOOL = tool_resource("files", "read")
NAN, INF = float("nan"), float("inf")


def problem(rules: Any, arguments: Any) -> str | None:
    question = Question(
        TOOL, Paths.of(TOOL.path), Facts(arguments=arguments), datetime(2026, 6, 15, tzinfo=UTC)
    )
    (check,) = compile_rules({"arguments": rules}, "tool").checks
    return check(question)


def fits(rule: Any, value: Any) -> bool:
    """Whether a rule accepts one argument."""
    return problem({"properties": {"x": rule}, "required": ["x"]}, {"x": value}) is None


EVERYTHING = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    0.5,
    -3,
    "",
    "1",
    "a",
    "true",
    "null",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
]
STRANGE = [NAN, INF, -INF, b"a", ("a",), {"a"}, object()]


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        ({"type": "string"}, ["", "1", "a", "true", "null"]),
        ({"type": "integer"}, [0, 1, 1.0, -3]),
        ({"type": "number"}, [0, 1, 1.0, 0.5, -3]),
        ({"type": "boolean"}, [True, False]),
        ({"type": "null"}, [None]),
        ({"type": "array"}, [[], [1], ["a"]]),
        ({"type": "object"}, [{}, {"a": 1}]),
        ({"type": ["null", "string"]}, [None, "", "1", "a", "true", "null"]),
        ({"const": 1}, [1, 1.0]),
        ({"const": True}, [True]),
        ({"const": 0}, [0]),
        ({"const": None}, [None]),
        ({"const": ""}, [""]),
        ({"enum": ["1", 1, None]}, [None, 1, 1.0, "1"]),
        ({"minimum": 1}, [1, 1.0]),
        ({"maximum": 0}, [0, -3]),
        ({"minimum": 0, "maximum": 0.5}, [0, 0.5]),
        ({"maxLength": 1}, ["", "1", "a"]),
        ({"maxItems": 0}, [[]]),
        ({"glob": "*"}, ["", "1", "a", "true", "null"]),
        ({"glob": ["a", "t*e"]}, ["a", "true"]),
        ({"inside": ["/a"]}, []),
        ({"items": {"type": "string"}}, [[], ["a"]]),
        ({"required": ["a"]}, [{"a": 1}]),
        ({"properties": {"a": {"const": 2}}}, [{}]),
        ({"additionalProperties": False}, [{}]),
        ({"additionalProperties": {"type": "string"}}, [{}]),
        ({"not": {"type": ["string", "number", "array", "object"]}}, [None, True, False]),
        ({"not": {"const": "a"}}, ["", "1", "true", "null"]),
        ({"not": {"const": 1}}, [0, 0.5, -3]),
        ({"not": {"enum": ["a", 1]}}, [0, 0.5, -3, "", "1", "true", "null"]),
        ({"not": {"glob": "*u*"}}, ["", "1", "a"]),
        ({"not": {"minimum": 0}}, [-3]),
        ({"not": {"not": {"glob": "a"}}}, ["a"]),
        ({"not": {"items": {"const": "a"}}}, []),
        ({"not": {"required": ["a"]}}, [{}]),
        ({}, EVERYTHING),
        ({"not": {}}, []),
    ],
)
def test_a_keyword_accepts_exactly_what_it_says(rule: dict, accepted: list) -> None:
    found = [value for value in EVERYTHING if fits(rule, value)]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in accepted]
    if rule:
        for value in STRANGE:
            assert not fits(rule, value), "what JSON cannot hold is never accepted"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/srv/notes/a", True),
        ("/srv/notes", True),
        ("/srv/notes/", True),
        ("/srv/notes/a/", True),
        ("/srv/notes/.../a", True),
        ("/srv/notesx/a", False),
        ("/srv/notes/../x", False),
        ("/srv/notes/./a", False),
        ("/srv/notes//a", False),
        ("//srv/notes/a", False),
        ("/srv/notes/a//", False),
        ("srv/notes/a", False),
        ("~/notes", False),
        ("file:///srv/notes/a", False),
        ("/srv/notes/a\x00", False),
        ("/srv/notes/a\n", False),
        ("/srv/notes/*", False),
        ("/srv/notes/**", False),
        ("/", False),
        ("", False),
        ("/srv/notes/" + "a" * 5000, False),
        ("\ud800", False),
    ],
)
def test_a_path_among_arguments_lies_inside_in_one_spelling_only(path: str, inside: bool) -> None:
    assert fits({"inside": "/srv/notes/**"}, path) is inside


@pytest.mark.parametrize(
    "path",
    ["/etc/../etc/passwd", "/etc/*", "/e*", "etc/passwd", "//etc/passwd", "/", 5, None, ["/etc/passwd"]],
)
def test_not_refuses_what_its_rule_cannot_judge(path: Any) -> None:
    assert fits({"not": {"inside": "/etc/**"}}, "/srv/a")
    assert not fits({"not": {"inside": "/etc/**"}}, path)
    assert not fits({"not": {"glob": "/etc/*", "maxLength": 3}}, [path])
    assert not fits({"not": {"maxLength": 3, "inside": "/etc/**"}}, path), "in whatever order"


def test_nested_rules_say_where_it_fails_and_never_show_the_value() -> None:
    rule = {"properties": {"to": {"items": {"properties": {"mail": {"glob": "*@example.com"}}}}}}
    found = problem(rule, {"to": [{"mail": "me@example.com"}, {"mail": "hunter2@evil.com"}]})
    assert found is not None
    assert "to: item 1: mail: it does not match *@example.com" in found
    assert "hunter2" not in found


def test_an_argument_that_is_not_listed_is_refused() -> None:
    rule = {"properties": {"a": {}}, "additionalProperties": False}
    assert problem(rule, {"a": [1]}) is None
    assert "'b\\x1b'" in (problem(rule, {"a": 1, "b\x1b": 2}) or "")
    assert problem(rule, {"A": 1})
    assert problem({"additionalProperties": {"maximum": 3}}, {"a": 3}) is None
    assert problem({"additionalProperties": {"maximum": 3}}, {"a": "3"})
    assert problem(rule, {1: 2})


def test_arguments_that_are_not_stated_deny() -> None:
    assert problem({}, None) == "it limits arguments, and they are not stated"
    assert problem({}, {}) is None
    for no_object in ([], "x", 1):
        assert problem({"required": []}, no_object)


def test_all_rules_of_parent_and_child_hold() -> None:
    parent = {"arguments": {"properties": {"n": {"maximum": 10}}}}
    child = {"arguments": {"properties": {"n": {"minimum": 5, "maximum": 100}}}}
    merged = merge(parent, child)["arguments"]
    assert [problem(merged, {"n": n}) is None for n in (4, 5, 10, 11)] == [False, True, True, False]
    assert merge(parent, parent) == read(parent), "the same rule twice is one rule"


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": "a+"}, {"type": "text"}, {"type": []}, {"type": [True]},
        {"const": NAN}, {"const": 2**64}, {"const": {"a": NAN}}, {"enum": []}, {"enum": [[1]]}, {"enum": "abc"},
            {"minimum": "1"},
        {"minimum": True}, {"minimum": INF}, {"maxLength": -1}, {"maxLength": 1.0}, {"maxItems": True}, {"glob": []},
        {"glob": 1}, {"glob": ""}, {"inside": []}, {"inside": "../a"}, {"inside": "/a/./b"}, {"properties": []},
        {"properties": {"a": 1}}, {"properties": {"a": {"regex": ".*"}}}, {"properties": {1: {}}},
        {"required": "a"}, {"required": [1]}, {"additionalProperties": True}, {"additionalProperties": None},
        {"items": [{}]}, {"items": {"moon": 1}}, {"not": False}, {"not": {"$ref": "#"}}, {"anyOf": [{}]}, {1: 2},
        {"const": "\ud800"}, {"enum": list(range(257))}, [{}] * 33, {"const": "x" * 1_100_000},
        {"properties": {f"a{n}": {} for n in range(257)}},
        [{"enum": [f"{n}{'x' * 4090}" for n in range(256)]}, {"const": "y" * 9_000}],
    ],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read({"arguments": wrong})
    assert refused.value.rule == "invalid_constraint"


def test_rules_are_bounded_in_depth_and_number() -> None:
    deep: dict = {}
    for _ in range(15):
        deep = {"not": deep}
    read({"arguments": deep})
    with pytest.raises(InvalidRecord, match="deep"):
        read({"arguments": {"not": deep}})
    wide = {"properties": {f"a{n}": {} for n in range(200)}}
    with pytest.raises(InvalidRecord):
        read({"arguments": {"properties": {f"b{n}": wide for n in range(6)}}})


def test_exactly_a_thousand_rules_fit_in_one() -> None:
    def of(*sizes: int) -> dict:
        wide = {f"p{at}": {"properties": {f"a{n}": {} for n in range(size)}} for at, size in enumerate(sizes)}
        return {"arguments": {"properties": wide}}

    read(of(256, 256, 256, 227))
    for wrong in (of(256, 256, 256, 228), of(257)):
        with pytest.raises(InvalidRecord):
            read(wrong)
    thirty_two = [{"required": [f"a{at}"]} for at in range(32)]
    assert len(read({"arguments": thirty_two})["arguments"]) == 32


def test_what_cannot_be_judged_outweighs_what_is_merely_wrong_under_not() -> None:
    both = compile_rule(read_rule({"not": {"glob": ["b"], "maximum": 3}}))
    assert both("a") is not None and both("b") is not None


def test_a_rule_for_additional_names_leaves_the_named_alone() -> None:
    test = compile_rule(
        read_rule({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}})
    )
    assert test({"a": "x", "b": 1}) is None
    assert test({"a": "x", "b": "y"}) is not None


def test_one_value_has_one_form() -> None:
    rule = {"enum": [2, 1.0, 1, True], "type": "number", "glob": "b", "required": ["z", "a"], "const": -0.0}
    (canonical,) = read({"arguments": rule})["arguments"]
    assert list(canonical) == sorted(rule)
    assert repr(canonical["enum"]) == "[1, 2, True]"
    assert (canonical["type"], canonical["glob"], canonical["required"]) == (["number"], ["b"], ["a", "z"])
    assert repr(canonical["const"]) == "0"


def test_a_hostile_glob_and_a_hostile_value_stay_quick() -> None:
    began = time.perf_counter()
    assert not fits({"glob": "*a" * 1000 + "b"}, "a" * 100_000)
    nested: Any = "x"
    for _ in range(50_000):
        nested = [nested]
    assert fits({"type": "array", "maxItems": 1}, nested)
    assert time.perf_counter() - began < 5


def test_the_one_allowed_value_may_be_any_data_and_is_compared_as_data() -> None:
    wanted = {"to": ["a@b"], "id": 2**63 + 1, "deep": {"x": [None, True, 1]}, "text": ""}
    only = {"const": wanted}
    same = {"text": "", "deep": {"x": [None, True, 1.0]}, "id": 2**63 + 1, "to": ["a@b"]}
    assert problem(only, same) is None
    changes = (
        {"to": ["a@b", "c@d"]},
        {"id": 2**63},
        {"deep": {"x": [None, 1, 1]}},
        {"text": "\ud800"},
        {"more": 1},
    )
    for change in changes:
        assert problem(only, {**same, **change}) is not None
    assert problem(only, {}) is not None


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_the_one_allowed_value_is_bounded_in_depth(wrap: Any) -> None:
    assert compile_rule(read_rule({"const": nested(32, wrap)}))(nested(32, wrap)) is None
    for depth in (33, 100_000):
        with pytest.raises(CallerMistaken):
            read_rule({"const": nested(depth, wrap)})


@pytest.mark.parametrize(
    ("rule", "readable"),
    [
        ({"const": 2**64 - 1}, True),
        ({"const": 2**64}, False),
        ({"const": -(2**63)}, True),
        ({"const": -(2**63) - 1}, False),
        ({"const": {1: 2, "a": 3}}, False),
        ({"const": ""}, True),
        ({"enum": sorted(range(256), key=str)}, True),
        ({"enum": [""]}, True),
        ({"inside": ["/a", "/b/../c"]}, False),
    ],
)
def test_the_edges_of_what_a_keyword_holds(rule: dict, readable: bool) -> None:
    if readable:
        assert read_rule(rule) == rule
    else:
        with pytest.raises(CallerMistaken):
            read_rule(rule)


def test_lists_of_a_keyword_are_kept_in_one_order() -> None:
    for word, values in (("type", ["null", "array"]), ("glob", ["b", "a"]), ("inside", ["/b", "/a"])):
        assert read_rule({word: values}) == {word: sorted(values)}
    assert list(read_rule({"const": {"b": 1, "a": 2}})["const"]) == ["a", "b"]


def test_any_of_several_places_and_a_directory_with_its_slash_is_inside() -> None:
    judge = compile_rule(read_rule({"inside": ["/a/**", "/b/**"]}))
    for path in ("/a/x", "/b/x", "/b/x/", "/b/" + "/".join(["x" * 99] * 40) + "/" + "y" * 92):
        assert judge(path) is None, path
    assert judge("/c/x") is not None


def test_a_path_of_the_greatest_length_is_inside_and_a_longer_one_is_not() -> None:
    judge = compile_rule(read_rule({"inside": "/a/**"}))
    longest = "/a/" + "x" * (MAX_TEXT - 3)
    assert judge(longest) is None
    assert judge(f"{longest}x") is not None


@pytest.mark.parametrize("pattern", ["/etc/passwd", "/etc/pass*"])
def test_a_slash_at_the_end_makes_no_other_path_of_it(pattern: str) -> None:
    assert fits({"inside": pattern}, "/etc/passwd/")
    assert not fits({"not": {"inside": pattern}}, "/etc/passwd/"), "nor a way around"


@pytest.mark.parametrize("value", [-(2.0**63), 2.0**63, math.nextafter(2.0**64, 0.0), 2.0**53 + 2, -0.0])
def test_a_number_without_a_fraction_is_one_value_in_either_spelling(value: float) -> None:
    for wanted in (value, int(value)):
        judge = compile_rule(read_rule({"const": wanted}))
        assert judge(value) is None and judge(int(value)) is None
        assert judge(value + 4096) is not None


@pytest.mark.parametrize("value", [2.0**64, math.nextafter(-(2.0**63), -INF), -(2.0**64), 1e300, -1e300])
def test_a_number_beyond_64_bits_has_one_spelling_and_no_whole_number_equals_it(value: float) -> None:
    rule = read_rule({"const": value})
    assert repr(rule) == repr({"const": value}) and read_rule(rule) == rule
    judge = compile_rule(rule)
    assert judge(value) is None
    for other in (int(value), int(value) - 1, math.nextafter(value, 0.0)):
        assert judge(other) is not None
    assert compile_rule(read_rule({"not": rule}))(int(value)) is not None, "it cannot be judged"


@pytest.mark.parametrize("length", [0, MAX_TEXT + 1, MAX_DATA])
def test_the_one_allowed_value_may_be_a_text_as_long_as_a_document_or_empty(length: int) -> None:
    for wrap in (lambda text: text, lambda text: [text], lambda text: {"body": text}):
        judge = compile_rule(read_rule({"const": wrap("x" * length)}))
        assert judge(wrap("x" * length)) is None
        assert judge(wrap("x" * length + "y")) is not None
    with pytest.raises(CallerMistaken):
        read_rule({"const": "x" * (MAX_DATA + 1)})
