import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mcp_cli.main import COMMANDS, cli

HEAVY = {
    "textual",
    "mcp",
    "litestar",
    "uvicorn",
    "openai",
    "anthropic",
    "aiosqlite",
    "rich",
    "websockets",
    "asyncio",
}


def loaded(*words: str) -> tuple[set[str], float]:
    """Run the command line in a fresh interpreter; return the packages it loaded and its CPU seconds."""
    program = (
        "import sys, time, json\n"
        "from mcp_cli.main import main\n"
        "sys.argv = ['umbrella', *sys.argv[1:]]\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "names = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "print('\\n' + json.dumps([names, time.process_time()]))\n"
    )
    # Coverage measures subprocesses too and would count as ours.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=clean, timeout=60
    )
    names, seconds = json.loads(done.stdout.splitlines()[-1])
    return set(names), seconds


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["nonsense"], ["mcp", "--help"], ["call", "--help"]]
)
def test_help_version_and_mistakes_load_nothing_heavy(words: list[str]) -> None:
    names, _ = loaded(*words)
    assert names & HEAVY == set()


def test_help_answers_within_the_start_up_budget() -> None:
    assert min(loaded("--help")[1] for _ in range(3)) < 0.3


def test_help_lists_every_command_and_each_explains_itself() -> None:
    text = CliRunner().invoke(cli, ["--help"]).stdout
    for name in COMMANDS:
        assert f"\n  {name}" in text
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.stdout


def test_a_typo_is_a_usage_error_that_names_what_was_meant() -> None:
    result = CliRunner().invoke(cli, ["sesions"])
    assert result.exit_code == 2
    assert "did you mean sessions" in result.stderr
    assert result.stdout == ""


def test_a_usage_error_follows_the_format() -> None:
    result = CliRunner().invoke(cli, ["--format", "json", "call", "only-one-word"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["code"] == "invalid_input"


def test_serve_names_the_package_to_install_when_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_cli.main._entry_points", dict)
    result = CliRunner().invoke(cli, ["serve", "--port", "1"])
    assert result.exit_code == 2
    assert "pip install mcp-umbrella-web" in result.stderr


def test_commands_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    @click.command()
    def extra() -> None:
        click.echo("here")

    class Point:
        value = "somewhere:extra"

        def load(self) -> click.Command:
            return extra

    monkeypatch.setattr("mcp_cli.main._entry_points", lambda: {"extra": Point()})
    assert CliRunner().invoke(cli, ["extra"]).stdout == "here\n"
    assert "extra" in CliRunner().invoke(cli, ["--help"]).stdout


def test_continue_and_resume_exclude_each_other() -> None:
    result = CliRunner().invoke(cli, ["--continue", "--resume", "x"])
    assert result.exit_code == 2


def test_version_names_all_packages() -> None:
    result = CliRunner().invoke(cli, ["--format", "json", "version"])
    assert json.loads(result.stdout)["mcp-umbrella-cli"]
