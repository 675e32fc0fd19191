from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.history import InputHistory


def test_stepping_back_and_forth_returns_to_what_was_being_typed() -> None:
    history = InputHistory()
    history.add("one")
    history.add("two")
    assert history.earlier("dra") == "two"
    assert history.earlier("two") == "one"
    assert history.earlier("one") is None
    assert history.later() == "two"
    assert history.later() == "dra"
    assert history.later() is None


def test_the_next_repl_knows_earlier_inputs_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    file = tmp_path / "history"
    InputHistory(file).add("two\nlines")
    file.write_bytes(file.read_bytes() + b'{ broken\n"\xff"\n')
    assert InputHistory(file).earlier("") == "two\nlines"
    assert file.stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    history = InputHistory(tmp_path / "missing" / "history")
    history.add("one")
    assert history.earlier("") == "one"


@given(st.lists(st.text(st.characters(codec=None))))
def test_any_inputs_can_be_remembered(inputs: list[str]) -> None:
    history = InputHistory()
    for text in inputs:
        history.add(text)
    kept = [text for text in inputs if text.strip()]
    if kept:
        assert history.earlier("") == kept[-1]
