"""Whether a response fits what was asked: the fields of forms, links, a model's words, folders."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.responses import MAX_RESPONSE, check_inquiry, checked
from mcp_interface.errors import CallerMistaken
from mcp_interface.question import Inquiry, InquiryKind, Response

FIELDS: dict[str, Any] = {
    "mail": {"type": "string", "format": "email"},
    "page": {"type": "string", "format": "uri"},
    "day": {"type": "string", "format": "date"},
    "at": {"type": "string", "format": "date-time"},
    "size": {"type": "string", "enum": ["s", "m"]},
    "count": {"type": "integer", "minimum": 1, "maximum": 3},
    "share": {"type": "number"},
    "sure": {"type": "boolean", "default": False},
    "name": {"type": "string", "minLength": 2, "default": "you"},
    "some": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
}


def form(required: list[str] | None = None, **fields: Any) -> Inquiry:
    schema = {"type": "object", "properties": fields or FIELDS, "required": required or []}
    return Inquiry(key="k", kind="form", schema=schema)


def accept(**content: Any) -> Response:
    return Response(action="accept", content=content)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("mail", "nobody", "format"),
        ("mail", "a@b c", "format"),
        ("mail", 7, "type"),
        ("page", "example.org", "format"),
        ("page", "https://exa mple.org", "format"),
        ("page", "http://[", "format"),
        ("day", "2026-13-01", "format"),
        ("day", "20260101", "format"),
        ("at", "2026-01-01", "format"),
        ("at", "2026-01-01T10:00:00", "format"),
        ("at", "2026-01-01T25:00:00Z", "format"),
        ("size", "xl", "enum"),
        ("count", 4, "maximum"),
        ("count", 0, "minimum"),
        ("count", 1.5, "type"),
        ("count", True, "type"),
        ("share", "1", "type"),
        ("sure", "yes", "type"),
        ("sure", 1, "type"),
        ("name", "x", "minLength"),
        ("some", ["a", "b", "a"], "maxItems"),
        ("other", 1, "additionalProperties"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named_with_it(field: str, value: Any, rule: str) -> None:
    with pytest.raises(CallerMistaken) as refused:
        checked(form(), accept(**{field: value}), has_model=False)
    assert refused.value.details == {"field": field, "rule": rule}
    assert repr(field) in refused.value.message and refused.value.remedy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mail", "a@example.org"),
        ("page", "https://example.org/a?b#c"),
        ("page", "mailto:a@example.org"),
        ("day", "2026-02-28"),
        ("at", "2026-02-28T10:00:00Z"),
        ("at", "2026-02-28T10:00:00+02:00"),
        ("size", "m"),
        ("count", 3),
        ("share", 0.5),
        ("sure", True),
        ("some", ["a"]),
    ],
)
def test_a_field_that_fits_is_kept_and_defaults_are_filled_in(field: str, value: Any) -> None:
    told = checked(form(), accept(**{field: value}), has_model=False)
    assert told.content == {"sure": False, "name": "you", field: value}


def test_what_is_required_has_to_be_there_and_an_item_is_named_by_its_place() -> None:
    with pytest.raises(CallerMistaken) as refused:
        checked(form(["day", "mail"]), accept(day="2026-01-01"), has_model=False)
    assert refused.value.details == {"field": "mail", "rule": "required"}
    with pytest.raises(CallerMistaken) as refused:
        checked(form(), accept(some=["c"]), has_model=False)
    assert refused.value.details == {"field": "some.0", "rule": "enum"}
    nothing = Response(action="accept")
    assert checked(form(["name"]), nothing, has_model=False).content == {"sure": False, "name": "you"}


@given(
    st.sampled_from(["decline", "cancel"]),
    st.sampled_from(["form", "url", "sampling", "roots"]),
    st.none() | st.dictionaries(st.text(), st.integers()),
)
def test_who_does_not_accept_says_nothing_else(action: Any, kind: InquiryKind, content: Any) -> None:
    response = Response(action=action, content=content)
    inquiry = Inquiry(key="k", kind=kind)
    if content is None:
        assert checked(inquiry, response, has_model=False) == response
    else:
        with pytest.raises(CallerMistaken, match="without content"):
            checked(inquiry, response, has_model=False)


@given(st.dictionaries(st.sampled_from([*FIELDS, "x"]), st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=12), lambda inner: st.lists(inner, max_size=2), max_leaves=3), max_size=4))  # fmt: skip
def test_whatever_is_said_is_kept_whole_or_refused_by_name(content: dict[str, Any]) -> None:
    try:
        told = checked(form(), accept(**content), has_model=False)
    except CallerMistaken as error:
        assert error.details["rule"] and str(error.details["field"]).split(".")[0] in content
    else:
        assert told.content is not None and content.items() <= told.content.items()
        assert checked(form(), told, has_model=False) == told


def test_a_models_words_and_folders_come_as_the_protocol_writes_them() -> None:
    words = Inquiry(key="k", kind="sampling")
    said = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hi"}}
    assert checked(words, accept(**said), has_model=False).content == said
    several = {**said, "content": [said["content"], said["content"]]}
    assert checked(words, accept(**several), has_model=False).content == several
    assert checked(words, Response(action="accept"), has_model=True).content is None
    for wrong in ({}, {**said, "role": "system"}, {**said, "model": None}, {**said, "content": "hi"}):
        with pytest.raises(CallerMistaken, match="model's words"):
            checked(words, accept(**wrong), has_model=True)
    with pytest.raises(CallerMistaken, match="model's words"):
        checked(words, Response(action="accept"), has_model=False)
    folders = Inquiry(key="k", kind="roots")
    assert checked(folders, accept(roots=[]), has_model=False).content == {"roots": []}
    with pytest.raises(CallerMistaken, match="file://"):
        checked(folders, accept(roots=["file:///a"]), has_model=False)


def test_a_response_has_its_bound_and_a_form_that_refers_elsewhere_is_declined() -> None:
    with pytest.raises(CallerMistaken, match="at most"):
        checked(form(), accept(name="x" * MAX_RESPONSE), has_model=False)
    elsewhere = form(name={"$ref": "https://example.org/schema"})
    check_inquiry(elsewhere)
    with pytest.raises(CallerMistaken, match="cannot be checked"):
        checked(elsewhere, accept(name="x"), has_model=False)
