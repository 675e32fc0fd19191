"""Values in place, in one pass: laws of rendering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.catalog import rendering
from mcp_core.catalog.rendering import placeholders, render, values, warnings
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import PromptArgument

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,5}", fullmatch=True)
TEXTS = st.text(st.sampled_from("{} a1_-\n$\\é"), max_size=12)
NASTY = st.one_of(TEXTS, NAMES.map(lambda name: f"{{{{{name}}}}}"), NAMES.map(lambda name: f"\\g<{name}>"))
PLAIN = st.text(st.sampled_from("ab \n$\\é}"), max_size=12)


@st.composite
def prompts(draw):
    """A template put together from texts without braces and places, its arguments, and values."""
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=5))
    parts = draw(st.lists(st.one_of(PLAIN, st.sampled_from(names).map(lambda name: (name,))), max_size=10))
    arguments = [PromptArgument(name=name, default=draw(st.none() | NASTY)) for name in names]
    given_ = draw(st.dictionaries(st.one_of(st.sampled_from(names), NAMES), NASTY))
    return parts, arguments, given_


@given(prompts())
def test_each_place_holds_its_value_and_nothing_is_expanded_again(case) -> None:
    parts, arguments, given_ = case
    template = "".join(part if isinstance(part, str) else f"{{{{{part[0]}}}}}" for part in parts)
    before = dict(given_)
    stands = {each.name: given_.get(each.name, each.default or "") for each in arguments}
    expected = "".join(part if isinstance(part, str) else stands[part[0]] for part in parts)
    assert render(template, arguments, given_) == expected
    assert given_ == before, "the caller's values stay the caller's"


@given(st.lists(st.one_of(TEXTS, NASTY), max_size=8).map("".join), st.dictionaries(NAMES, NASTY))
def test_without_arguments_a_template_is_its_own_text_whatever_is_given(template, given_) -> None:
    assert render(template, [], given_) == template


@given(st.lists(NASTY, max_size=8).map("".join), st.lists(NAMES, unique=True, max_size=5))
def test_warnings_name_exactly_what_is_not_declared_or_not_used(template, names) -> None:
    found = warnings(template, [PromptArgument(name=name) for name in names])
    used = placeholders(template)
    expected = [f"{{{{{name}}}}}" for name in used if name not in names]
    expected += [repr(name) for name in names if name not in used]
    assert len(found) == len(expected)
    assert all(name in told for name, told in zip(expected, found, strict=True))


def test_braces_may_stand_off_by_one_blank_and_nothing_else_is_a_place() -> None:
    arguments = [PromptArgument(name="a", default="X")]
    for place in ("{{a}}", "{{ a }}", "{{ a}}"):
        assert render(place, arguments, {}) == "X"
    for text in ("{a}", "{{  a}}", "{{a.b}}", "{{}}", "{{a|upper}}", "{{\na}}", "{{a", "{{-a}}"):
        assert render(text, arguments, {}) == text
    assert render("{{{a}}}", arguments, {}) == "{X}"


def test_a_missing_required_value_is_named_unless_there_is_a_default() -> None:
    arguments = [
        PromptArgument(name="a", required=True),
        PromptArgument(name="b", required=True, default="B"),
        PromptArgument(name="c", required=True),
        PromptArgument(name="d"),
    ]
    with pytest.raises(CallerMistaken, match="missing: a, c") as caught:
        render("{{a}}{{b}}{{c}}{{d}}", arguments, {"z": "z"})
    assert caught.value.details == {"missing": ["a", "c"]}
    assert render("{{a}}{{b}}{{c}}{{d}}", arguments, {"a": "", "c": "C"}) == "BC"
    assert values(arguments, {"a": "1", "c": "2", "x": "3"}) == {"a": "1", "b": "B", "c": "2", "d": ""}


def test_few_words_in_many_places_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [PromptArgument(name="a")]
    with pytest.raises(CallerMistaken, match="characters"):
        render("{{a}}" * 40_000, arguments, {"a": "x" * 1_000_000})
    monkeypatch.setattr(rendering, "MAX_RENDERED", 10)
    assert render("{{a}}56789", arguments, {"a": "01234"}) == "0123456789"
    with pytest.raises(CallerMistaken):
        render("{{a}}56789!", arguments, {"a": "01234"})


@pytest.mark.parametrize("template", ["", " \n\t"])
def test_an_empty_template_is_refused(template: str) -> None:
    with pytest.raises(CallerMistaken, match="empty"):
        rendering.check(template, [])


@pytest.mark.parametrize("names", [["a b"], [""], ["-a"], ["é"], ["a\n"], ["a" * 101], ["a", "b", "a"]])
def test_names_that_no_placeholder_can_have_are_refused(names: list[str]) -> None:
    with pytest.raises(CallerMistaken, match="argument"):
        rendering.check("text", [PromptArgument(name=name) for name in names])
