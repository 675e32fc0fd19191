from typing import Any

import pytest

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.values import MAX_COUNT, MAX_TEXT, form, listed, number, shown, text, whole


@pytest.mark.parametrize(
    ("value", "picture"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (-7, "-7"),
        (10**30 - 1, "9" * 30),
        (10**30, "a int"),
        ("x" * 101, repr("x" * 100)),
        ([1], "a list"),
        ({"secret": 1}, "a dict"),
    ],
)
def test_a_picture_of_a_value_is_short(value: Any, picture: str) -> None:
    assert shown(value) == picture


def test_of_many_texts_the_first_eight_are_listed() -> None:
    assert listed(["a"]) == "a"
    assert listed("abcdefgh") == "a, b, c, d, e, f, g, h"
    assert listed("abcdefghi") == listed("abcdefghijkl") == "a, b, c, d, e, f, g, h, …"
    assert listed(["x" * 101]) == "x" * 100


def test_the_largest_values_are_inside_and_the_next_are_not() -> None:
    assert text("x" * MAX_TEXT) and whole(MAX_COUNT, 0, MAX_COUNT) == MAX_COUNT == number(MAX_COUNT)
    assert number(-MAX_COUNT) == -MAX_COUNT and whole(0, 0, 0) == 0
    for call in (
        lambda: text("x" * (MAX_TEXT + 1)),
        lambda: whole(MAX_COUNT + 1, 0, MAX_COUNT),
        lambda: whole(-1, 0, 9),
        lambda: number(MAX_COUNT + 1),
        lambda: number(-MAX_COUNT - 1),
    ):
        with pytest.raises(CallerMistaken):
            call()


def test_the_form_of_an_object_does_not_depend_on_its_order() -> None:
    assert form({"b": 1, "a": [{"d": 1, "c": 2}]}) == form({"a": [{"c": 2, "d": 1}], "b": 1})
    assert form(True) != form(1)
