"""An answer that streams looks at its end as if it had come at once, and costs no more the longer it is."""

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from textual.strip import Strip

from mcp_cli.passages import Answered
from mcp_cli.tui.blocks import Painter
from mcp_cli.tui.palette import DARK, palette
from mcp_cli.tui.streaming import Growing
from mcp_interface.ids import MessageId, TurnId

PAINTER = Painter(palette(DARK))
WIDTH = 60

LINES = st.sampled_from(
    [
        "",
        "",
        "Some words of prose, with `code` and **more**.",
        "and a second line",
        "# A heading",
        "=====",
        "---",
        "- one",
        "- two",
        "  - inner",
        "  goes on",
        "* other list",
        "1. first",
        "1. second",
        "12) far",
        "> quoted",
        "lazy",
        "```python",
        "~~~",
        "```",
        "  ```",
        "````",
        '    x = """text',
        "def f():  # code",
        "| a | b |",
        "|---|---|",
        "| 1 | two |",
        "[name]: https://example.org",
        "see [name] and [other][name]",
        "<div>",
        "</kbd> <kbd>",
        "![picture](x.png)",
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title",
        "\ttab",
        "-",
        "#",
        "#tag",
        "1.",
        "<!-- hidden",
        "-->",
    ]
)
TEXTS = st.lists(LINES, max_size=14).map("\n".join)


def texts(strips: Sequence[Strip]) -> list[str]:
    return [strip.text.rstrip() for strip in strips]


def growing() -> Growing:
    return PAINTER.growing(WIDTH)


def streamed(text: str, cuts: Sequence[int]) -> list[str]:
    answer = growing()
    for cut in sorted(cuts):
        answer.lines(text[:cut], whole=False)
    return texts(answer.lines(text, whole=True))


@given(TEXTS, st.lists(st.integers(0, 300), max_size=12))
@example("a\n#tag", [3])
@example("1. a\n1. b\n\n   more\n1. c\n\npara", [4, 9, 12, 20, 24])
@example("see [name]\n\nmore\n\n[name]: /url\n", [12, 18])
@example("```python\n" + "x = 1\n\n" * 70 + "```\nend", list(range(0, 480, 7)))
@example("  ```\n  a\n b\n```", [3, 8, 12])
def test_what_was_frozen_and_the_open_end_are_the_whole(text: str, cuts: list[int]) -> None:
    assert streamed(text, cuts) == texts(growing().lines(text, whole=True))


@given(TEXTS)
def test_letter_by_letter_is_the_same_too(text: str) -> None:
    assert streamed(text, range(len(text))) == texts(growing().lines(text, whole=True))


@given(TEXTS, st.integers(0, 200))
def test_while_it_is_open_nothing_of_it_is_missing(text: str, cut: int) -> None:
    """Each line that is frozen stays as it is until the end, unless a link is defined later."""
    answer = growing()
    answer.lines(text[:cut], whole=False)
    frozen = texts(answer._strips)
    if "]:" not in text and "\x1b" not in text:
        assert texts(answer.lines(text, whole=True))[: len(frozen)] == frozen
    shown = " ".join(texts(answer.lines("words " * cut, whole=False)))
    assert shown.count("words") == cut


def test_the_work_of_a_frame_does_not_grow_with_the_answer() -> None:
    """Counted in tokens that are drawn, which no busy machine changes."""
    paragraph = "Some **words** of prose that fill a line.\n\n- one\n- two\n\n```python\nx = 1\n```\n\n"
    code = "```python\n" + "value = compute(1, 'two')\n" * 400
    items = "- an item with some words in it\n" * 400
    for text in (paragraph * 60, code, items):
        drawn: list[int] = []
        counted = 0

        def draw(tokens: Sequence[object]) -> list[Strip]:
            nonlocal counted
            counted += sum(1 + len(getattr(token, "content", "")) for token in tokens)
            return []

        answer = Growing(draw)
        for end in range(0, len(text), 40):
            counted = 0
            answer.lines(text[:end], whole=False)
            drawn.append(counted)
        assert max(drawn[len(drawn) // 2 :]) <= max(drawn[: len(drawn) // 2]) + 80, "no more than early on"


def test_a_long_table_is_not_drawn_anew_for_each_letter() -> None:
    row = "| some words | and a number 12345 |\n"
    text = "| a | b |\n|---|---|\n" + row * 200
    times = 0

    def draw(tokens: Sequence[object]) -> list[Strip]:
        nonlocal times
        times += 1
        return []

    answer = Growing(draw)
    for end in range(len(text)):
        answer.lines(text[:end], whole=False)
    assert times < 2_600, "2,000 letters one by one, then each time a twelfth is new"


def test_an_answer_that_turns_out_different_is_drawn_anew() -> None:
    answer = growing()
    assert texts(answer.lines("one\n\ntwo\n\nthree", whole=False)) == ["  one", "", "  two", "", "  three"]
    assert texts(answer.lines("another", whole=True)) == ["  another"]


def test_numbers_of_a_list_go_on_over_what_is_frozen() -> None:
    text = "1. a\n1. b\n1. c\n"
    answer = growing()
    for end in range(len(text)):
        answer.lines(text[:end], whole=False)
    assert [line.split() for line in texts(answer.lines(text, whole=True))] == [
        ["1", "a"],
        ["2", "b"],
        ["3", "c"],
    ]


def test_an_answer_says_that_it_broke_off_and_how_to_go_on() -> None:
    def shown(**more: object) -> str:
        block = Answered(message_id=MessageId("m"), turn_id=TurnId("t"), text="I beg", **more)  # type: ignore[arg-type]
        return "\n".join(texts(PAINTER.paint(block, WIDTH)))

    assert "(broke off here; /retry answers once more)" in shown(cut=True)
    assert "/retry" not in shown(cut=True, retried=True)
    assert "the model may not write more in one answer" in shown(stop="length")
    assert "(" not in shown()
