import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.untrusted import compact_json, one_line, printable, readable_arguments, revealed

ANYTHING = st.text(st.characters(codec=None))


@given(ANYTHING)
def test_nothing_that_moves_a_terminal_gets_through(text: str) -> None:
    shown = printable(text)
    assert all(letter == "\n" or unicodedata.category(letter) not in {"Cc", "Cs"} for letter in shown)
    assert printable(shown) == shown
    shown.encode()


@given(ANYTHING, st.integers(1, 50))
def test_one_line_is_one_line_of_the_width_asked_for(text: str, width: int) -> None:
    line = one_line(text, width)
    assert "\n" not in line
    assert len(line) <= width


def test_escape_sequences_vanish_whole() -> None:
    assert printable("\x1b[31mred\x1b[0m") == "red"
    assert printable("\x1b]0;title\x07after") == "after"
    assert printable("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert printable("a\u202eb") == "ab"
    assert printable("a\tb\r\nc") == "a    b\nc"


def test_a_text_of_several_lines_cannot_pose_as_another_argument() -> None:
    shown = readable_arguments({"content": "harmless\npath: /etc/passwd", "path": "/tmp/x"})
    assert shown.splitlines() == ["content:", "  │ harmless", "  │ path: /etc/passwd", "path: /tmp/x"]


@given(ANYTHING)
def test_nothing_that_a_person_answers_for_is_invisible(text: str) -> None:
    shown = revealed(text)
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert all(letter == "\n" or unicodedata.category(letter) not in hidden for letter in shown)
    assert revealed(shown) == shown


def test_hidden_characters_of_arguments_are_spelled_out() -> None:
    shown = readable_arguments({"a\u200b": "rm\u202e x", "b": ["\x1b[2J", "\u3164"], "c": "1\n\u2066"})
    assert shown.splitlines() == [
        "a\\u200b: rm\\u202e x",
        'b: ["\\u001b[2J","\\u3164"]',
        "c:",
        "  │ 1",
        "  │ \\u2066",
    ]


def test_values_that_are_not_text_are_shown_as_json() -> None:
    assert readable_arguments({"a": [1, {"b": None}], "c": False}) == 'a: [1,{"b":null}]\nc: false'
    assert readable_arguments({}) == "(no arguments)"
    assert compact_json({"a": "b" * 50}, 12) == '{"a":"bbbbb…'
