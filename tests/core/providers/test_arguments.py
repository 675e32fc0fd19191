"""Arguments that a model wrote are read strictly, or become a problem that it is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.providers.arguments import MAX_ARGUMENTS, Draft, settle, unused_id

TEXT = st.text(alphabet='aé"\\{}[]:,\n工😀', max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def read(*pieces: str, cut: bool = False):
    draft = Draft("id", "tool")
    for piece in pieces:
        draft.add(piece)
    return draft.finish(cut=cut)


@given(st.dictionaries(TEXT, JSON, max_size=4), st.data())
def test_an_object_is_read_however_it_is_cut_into_pieces(
    value: dict[str, object], data: st.DataObject
) -> None:
    text = json.dumps(value)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert read(*pieces).arguments == value


def test_no_arguments_at_all_are_an_empty_object() -> None:
    assert read() == read("") == read("{}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": ', "not JSON"),
        ("[1]", "must be a JSON object, not list"),
        ('"text"', "must be a JSON object, not str"),
        ('{"a": NaN}', "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("x" * (MAX_ARGUMENTS + 1), "longer than"),
    ],
)
def test_what_cannot_be_read_becomes_a_problem(text: str, problem: str) -> None:
    use = read(text)
    assert problem in use.problem
    assert use.arguments == {}


def test_arguments_that_end_with_the_token_limit_say_so() -> None:
    assert "token limit" in read('{"path": "/ho', cut=True).problem


def test_an_id_is_never_given_twice() -> None:
    known = {"a"}
    assert [unused_id(wanted, known) for wanted in ("", "", "a", "a", "b")] == [
        "call",
        "call-2",
        "a-2",
        "a-3",
        "b",
    ]


@pytest.mark.parametrize(
    ("reason", "called", "settled", "kept"),
    [
        ("end", True, "tool_use", True),
        ("other", True, "tool_use", True),
        ("length", True, "length", True),
        ("refused", True, "refused", False),
        ("tool_use", False, "other", False),
        ("end", False, "end", False),
    ],
)
def test_the_end_of_an_answer_agrees_with_its_calls(reason, called: bool, settled: str, kept: bool) -> None:
    uses = [read("{}")] if called else []
    assert settle(reason, uses) == (settled, uses if kept else [])
