"""A tool's form as fields, and what is typed as values; and the same line by line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.dialogue import Dialogue
from mcp_cli.forms import Field, Option, fields, filled, shown_default, value_of
from mcp_interface.errors import CallerMistaken
from mcp_interface.question import Inquiry, Response

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mail": {"type": "string", "title": "Mail", "format": "email", "minLength": 3},
        "size": {"type": "string", "enum": ["s", "l"], "enumNames": ["Small", "Large"]},
        "colour": {
            "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}],
            "default": "g",
        },
        "extras": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}, {"const": "b"}]}},
        "count": {"type": "integer", "minimum": 1, "default": 2},
        "share": {"type": "number"},
        "sure": {"type": "boolean", "default": True},
        "odd": {"type": "object"},
    },
    "required": ["mail", "colour"],
}
FORM = fields(SCHEMA)
BY_NAME = {field.name: field for field in FORM}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_each_kind_of_field_is_known_with_its_choices_and_rules() -> None:
    kinds = {field.name: field.kind for field in FORM}
    assert kinds == {
        "mail": "text", "size": "one of", "colour": "one of", "extras": "some of", "count": "integer",
        "share": "number", "sure": "yes or no", "odd": "json",
    }  # fmt: skip
    assert [field.name for field in FORM if field.required] == ["mail", "colour"]
    assert BY_NAME["size"].options == (Option("s", "Small"), Option("l", "Large"))
    assert BY_NAME["mail"].rules == "an e-mail address, at least 3 characters"
    assert [shown_default(BY_NAME[name]) for name in ("colour", "count", "sure", "mail")] == [
        "g",
        "2",
        "yes",
        "",
    ]


def test_what_is_typed_becomes_values_of_the_right_type() -> None:
    texts = {
        "mail": "a@b.c", "size": "Large", "colour": "1", "extras": "b, A", "count": "3", "share": "0.5",
        "sure": "no", "odd": '{"x": 1}',
    }  # fmt: skip
    assert filled(FORM, texts) == {
        "mail": "a@b.c", "size": "l", "colour": "r", "extras": ["b", "a"], "count": 3, "share": 0.5,
        "sure": False, "odd": {"x": 1},
    }  # fmt: skip
    assert filled(FORM, {"mail": "x"}) == {"mail": "x"}, "the node fills in defaults"


@pytest.mark.parametrize(
    ("name", "text"),
    [("count", "3.5"), ("share", "nan"), ("share", "inf"), ("sure", "maybe"), ("colour", "blue"), ("colour", "0"),
     ("extras", "a,z"), ("odd", "{"), ("mail", " "), ("nothing", "x")],
)  # fmt: skip
def test_what_cannot_be_read_names_its_field(name: str, text: str) -> None:
    with pytest.raises(CallerMistaken) as caught:
        filled(FORM, {"mail": "x", name: text})
    assert caught.value.details["field"] == name and caught.value.remedy


@given(JSON, st.dictionaries(st.text(), st.text()))
def test_any_schema_and_any_text_is_read_or_refused(part: Any, texts: dict[str, str]) -> None:
    form = fields(
        {"properties": {"x": part, "y": part}, "required": ["x"]}
        if texts
        else part
        if isinstance(part, dict)
        else {}
    )
    for field in form:
        assert isinstance(field, Field)
    try:
        assert set(filled(form, texts)) <= {field.name for field in form}
    except CallerMistaken as error:
        assert error.details["field"] in {*texts, *(field.name for field in form)}


@given(st.sampled_from(FORM), st.text())
def test_a_default_as_it_is_shown_is_read_back(field: Field, text: str) -> None:
    if shown_default(field):
        assert value_of(field, shown_default(field)) == field.default


def talk(inquiry: Inquiry, *lines: str) -> tuple[Dialogue, list[str]]:
    dialogue = Dialogue(inquiry)
    problems = [problem for line in lines if not dialogue.over and (problem := dialogue.take(line))]
    return dialogue, problems


TRIP = Inquiry(
    key="trip",
    kind="form",
    message="Where to?",
    schema={
        "properties": {
            "city": {"type": "string", "title": "City"},
            "seats": {"type": "integer", "default": 2},
        },
        "required": ["city"],
    },
)


def test_a_form_is_asked_field_by_field_and_confirmed() -> None:
    dialogue, problems = talk(TRIP, "", "Bergen\n", "", "what?", "yes")
    assert dialogue.response == Response(action="accept", content={"city": "Bergen", "seats": 2})
    assert len(problems) == 2 and "'city'" in problems[0] and problems[1] == "write yes or no"
    dialogue = Dialogue(TRIP)
    assert any("City *" in line for line in dialogue.prompt)


def test_a_form_is_refused_left_or_begun_anew_at_any_line() -> None:
    assert talk(TRIP, "!decline")[0].response == Response(action="decline")
    assert talk(TRIP, "Bergen", "1", "no")[0].response == Response(action="decline")
    later = talk(TRIP, "Bergen", "!later")[0]
    assert later.left and later.response is None
    assert talk(TRIP, "Oslo", "!back", "Bergen", "1", "y")[0].response == Response(
        action="accept", content={"city": "Bergen", "seats": 1}
    )


def test_what_the_node_refuses_is_asked_again_at_its_field() -> None:
    dialogue, _ = talk(TRIP, "X", "9", "yes")
    dialogue.refused(CallerMistaken("too many", "fewer", {"field": "seats"}).body())
    assert not dialogue.over and any("seats" in line for line in dialogue.prompt)
    dialogue.take("1")
    dialogue.take("yes")
    assert dialogue.response == Response(action="accept", content={"city": "X", "seats": 1})


def test_a_link_and_a_wish_for_words_take_a_yes_or_no() -> None:
    for kind in ("url", "sampling"):
        inquiry = Inquiry(key="k", kind=kind, url="https://example.org")
        assert talk(inquiry, "yes")[0].response == Response(action="accept")
        assert talk(inquiry, "n")[0].response == Response(action="decline")
