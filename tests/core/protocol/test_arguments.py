"""Arguments against a tool's schema."""

import pytest

from mcp_core.protocol.arguments import ArgumentCheck
from mcp_interface.errors import CallerMistaken

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "deep": {"type": "array", "items": {"type": "object", "properties": {"n": {"minimum": 1}}}},
    },
    "required": ["path"],
    "additionalProperties": False,
}


def test_arguments_that_fit_pass() -> None:
    ArgumentCheck("s", "t", SCHEMA)({"path": "x", "deep": [{"n": 1}]})


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({}, "path"),
        ({"path": 1}, "path"),
        ({"path": "x", "other": 1}, "other"),
        ({"path": "x", "deep": [{"n": 1}, {"n": 0}]}, "deep.1.n"),
    ],
)
def test_the_argument_that_does_not_fit_is_named(arguments, argument) -> None:
    with pytest.raises(CallerMistaken) as caught:
        ArgumentCheck("s", "t", SCHEMA)(arguments)
    assert caught.value.details == {"argument": argument, "tool": "s/t"}
    assert f"argument {argument!r} of s/t" in caught.value.message


def test_a_message_does_not_repeat_a_long_argument() -> None:
    with pytest.raises(CallerMistaken) as caught:
        ArgumentCheck("s", "t", SCHEMA)({"path": ["x" * 10_000]})
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"properties": 3},
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_the_judgement_to_the_server(schema) -> None:
    ArgumentCheck("s", "t", schema)({"anything": 1})
