"""Commands of the REPL itself, in a REPL of lines: the same ones, with a remedy where they need a screen."""

from pathlib import Path

from click.testing import CliRunner

from mcp_cli.main import cli
from mcp_cli.slashes import SLASHES


def repl(node_dir: Path, *lines: str) -> str:
    done = CliRunner().invoke(
        cli, ["--data-dir", str(node_dir), "--plain"], input="\n".join(lines) + "\n", catch_exceptions=False
    )
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_what_needs_a_screen_says_what_to_do_instead(node_dir: Path) -> None:
    text = repl(node_dir, "/theme", "/mouse off", "hello", "/copy 1", "/rewind")
    for name in ("/theme", "/mouse", "/copy", "a list of your messages"):
        assert f"{name} needs the full screen" in text
    assert "count back: /rewind 1" in text


def test_keys_and_all_commands_are_told_in_lines_too(node_dir: Path) -> None:
    text = repl(node_dir, "/keys", "/help", "/help strategy")
    assert "Ctrl+R" in text
    for slash in SLASHES:
        assert f"/{slash.name}" in text
    assert "its older part is left out" in text


def test_going_back_by_number_makes_a_copy_without_the_message(node_dir: Path) -> None:
    text = repl(node_dir, "one apple", "two pears", "/rewind 1", "/history", "/rewind 9", "/rewind x")
    assert "you had said:\ntwo pears" in text
    said = text.split("you had said:")[1]
    assert "> one apple" in said
    assert "> two pears" not in said
    assert "9 messages back, but there are 1" in said
    assert "'x' is not a number" in said


def test_what_comes_through_a_pipe_runs_nothing(node_dir: Path, tmp_path: Path) -> None:
    text = repl(node_dir, f"!touch {tmp_path}/made")
    assert f"> !touch {tmp_path}/made" in text
    assert not (tmp_path / "made").exists()


def test_mistakes_of_the_new_commands_name_the_rule(node_dir: Path) -> None:
    text = repl(
        node_dir,
        "/retry",
        "/compact",
        "/context",
        "/rename x",
        "/strategy cleverest",
        "/budget much",
        "/notify perhaps",
        "/notify off",
    )
    assert text.count("there is no session yet") == 4
    assert "use one of smart, sliding" in text
    assert "write for example 2.50" in text
    assert "'perhaps' is neither on nor off" in text
    assert "the bell does not ring" in text
