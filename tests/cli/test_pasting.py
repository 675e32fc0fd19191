"""Folded pastes: what is sent is what was pasted."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.grammar import Message, Order, parse
from mcp_cli.mentions import read
from mcp_cli.pasting import LINES, MOST, Folds

LINE = st.text(st.sampled_from("ab @!/#[]+1 Pasted"), max_size=12)
LONG = st.lists(LINE, min_size=LINES + 1, max_size=LINES + 6).map("\n".join)
PASTES = st.one_of(LONG, LINE, st.just("[Pasted #1 +9 lines]"), st.just("@notes.txt\n" * 20))
TYPED = st.text(st.sampled_from("abc .\n"), max_size=10)


@given(st.lists(st.tuples(TYPED, PASTES), max_size=6), TYPED)
def test_what_is_opened_again_is_what_was_pasted(parts: list[tuple[str, str]], end: str) -> None:
    folds, shown, meant = Folds(), "", ""
    for typed, pasted in parts:
        shown += typed
        shown += folds.fold(pasted, shown)
        meant += typed + pasted
    assert folds.unfold(shown + end) == meant + end


@given(st.lists(st.tuples(TYPED, LONG), min_size=1, max_size=4), TYPED)
def test_a_message_with_folds_is_read_as_it_was_pasted_and_mentions_nothing(
    parts: list[tuple[str, str]], end: str
) -> None:
    folds, shown, meant = Folds(), "", ""
    for typed, pasted in parts:
        shown += typed + folds.fold(pasted, shown)
        meant += typed + pasted
    parsed = parse(folds.sent(shown + end))
    if not (meant + end).strip():
        return
    assert isinstance(parsed, Message), "what nobody sees is never a command"
    said, mentions = read(parsed.text, {"server"}, lambda name: True)
    assert said == (meant + end).strip()
    assert mentions == []


def test_a_long_paste_is_one_word_and_a_short_one_is_itself() -> None:
    folds = Folds()
    assert folds.fold("one\ntwo") == "one\ntwo"
    assert folds.fold("x\n" * 39 + "x") == "[Pasted #1 +40 lines]"
    assert folds.fold("y" * 2000) == "[Pasted #2 +1 line]"
    assert folds.ending("see [Pasted #2 +1 line]") == "[Pasted #2 +1 line]"
    assert folds.ending("see [Pasted #7 +1 line]") == ""


def test_a_mark_that_was_typed_before_is_not_taken() -> None:
    folds = Folds()
    typed = "[Pasted #1 +40 lines]"
    mark = folds.fold("z\n" * 20, typed)
    assert mark == "[Pasted #2 +21 lines]"
    assert folds.unfold(typed + mark) == typed + "z\n" * 20


def test_an_order_keeps_what_was_pasted_behind_it_as_it_is() -> None:
    folds = Folds()
    mark = folds.fold("a @b\n" * 20)
    parsed = parse(folds.sent(f"/system {mark}"))
    assert isinstance(parsed, Order)
    assert parsed.words == (("a @b\n" * 20).strip(),)


def test_a_fold_that_somebody_changed_is_a_text_like_any_other() -> None:
    folds = Folds()
    mark = folds.fold("q\n" * 20)
    assert folds.unfold(mark[:-1]) == mark[:-1]


def test_old_folds_are_given_up() -> None:
    folds = Folds()
    marks = [folds.fold(f"{number}\n" * 20) for number in range(MOST + 5)]
    assert folds.unfold(marks[0]) == marks[0]
    assert re.fullmatch(rf"({MOST + 4}\n)+", folds.unfold(marks[-1]))
