"""What a REPL remembers between two runs."""

import stat
from pathlib import Path

from mcp_cli.remembering import MOST_SEEN, Kept, ReplState


def test_it_is_there_again_and_only_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "repl_state"
    state = ReplState(file)
    state.see("session_a", 7)
    state.change(theme="nord", notify=False)
    again = ReplState(file)
    assert again.seen("session_a") == 7
    assert (again.theme, again.mouse, again.notify) == ("nord", True, False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_never_becomes_less_and_nothing_is_no_place(tmp_path: Path) -> None:
    state = ReplState()
    state.see("session_a", 7)
    state.see("session_a", 3)
    state.see("session_b", 0)
    assert state.seen("session_a") == 7
    assert state.kept.seen == {"session_a": 7}


def test_two_repls_do_not_forget_for_each_other(tmp_path: Path) -> None:
    one, other = ReplState(tmp_path / "s"), ReplState(tmp_path / "s")
    one.see("session_a", 1)
    other.see("session_b", 2)
    one.change(theme="nord")
    assert ReplState(tmp_path / "s").kept == Kept(theme="nord", seen={"session_a": 1, "session_b": 2})


def test_what_was_chosen_counts_before_the_settings() -> None:
    state = ReplState(usual=Kept(theme="gruvbox", mouse=False, notify=True))
    assert (state.theme, state.mouse, state.notify) == ("gruvbox", False, True)
    state.change(mouse=True, theme="nord")
    assert (state.theme, state.mouse) == ("nord", True)


def test_sessions_are_bounded_and_the_longest_unseen_is_forgotten_first() -> None:
    state = ReplState()
    for number in range(MOST_SEEN + 2):
        state.see(f"session_{number}", 1)
        state.see("session_0", number + 1)
    assert len(state.kept.seen) == MOST_SEEN
    assert state.seen("session_0") == MOST_SEEN + 2
    assert state.seen("session_1") == 0


def test_a_broken_file_is_as_none_and_a_place_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "repl_state"
    for content in (b"", b"{", b"\xff", b'{"seen": 3}'):
        file.write_bytes(content)
        assert ReplState(file).kept == Kept()
    state = ReplState(tmp_path / "no" / "folder")
    state.see("session_a", 7)
    assert state.seen("session_a") == 7
