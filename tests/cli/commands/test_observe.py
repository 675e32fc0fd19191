"""`umbrella observe` without a screen, and `umbrella agent send`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcp_cli.main import cli

Run = Callable[..., Result]
Json = Callable[..., Any]


def test_the_tree_is_printed_once_as_text_and_as_json(umbrella: Run, umbrella_json: Json) -> None:
    umbrella("agent", "spawn", "looker")
    printed = umbrella("observe", "--once", "--sort", "name")
    assert printed.exit_code == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert " actors · " in lines[0]
    assert [line.strip().split(" (")[0] for line in lines if "(dynamic" in line] == [
        "servers",
        "sessions",
        "agents",
    ]
    (line,) = [line for line in lines if "worker looker" in line]
    assert "idle" in line
    assert "\x1b" not in printed.stdout
    status = umbrella_json("observe")
    assert status["tree"]["name"] == "node"
    assert json.loads(umbrella("observe", "--json").stdout)["tree"]["branches"] != []


def test_without_a_terminal_it_prints_and_leaves_and_a_filter_narrows_it(umbrella: Run) -> None:
    umbrella("agent", "spawn", "narrow")
    printed = umbrella("observe", "--filter", "worker narrow")
    assert "worker narrow" in printed.stdout
    assert "tool_executor" not in printed.stdout


def test_no_node_is_started_for_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "observe", "--once"])
    assert result.exit_code == 5
    assert "umbrella node start" in result.stderr
    assert not (tmp_path / "journal").exists()


def test_a_message_is_sent_to_an_agent_as_json_or_text_and_to_all_who_listen(
    umbrella: Run, umbrella_json: Json
) -> None:
    agent = umbrella_json("agent", "spawn", "reader")["id"]
    assert umbrella_json("agent", "send", "reader", '{"look": "here"}') == {
        "to": f"mcp://agent/{agent}",
        "got_it": 1,
    }
    assert f"sent to mcp://agent/{agent}" in umbrella("agent", "send", agent[:12], "42", "--text").stdout
    nobody = umbrella("agent", "send", "mcp://broadcast/harbor", "open")
    assert nobody.exit_code == 4
    assert "nobody listens" in nobody.stderr
    assert umbrella_json("observe")["dead_letters"] >= 1
    assert umbrella("agent", "spawn", "harbormaster", "--topic", "harbor").exit_code == 0
    assert umbrella_json("agent", "send", "mcp://broadcast/harbor", "open")["got_it"] == 1
    assert umbrella("agent", "spawn", "--topic", "").exit_code == 2


@pytest.mark.parametrize(
    "words", [["observe", "--sort", "size"], ["observe", "--limit", "0"], ["agent", "send", "x"]]
)
def test_mistakes_are_usage_errors(umbrella: Run, words: list[str]) -> None:
    assert umbrella(*words).exit_code == 2
