"""Tool calls that are not waited for, as a person or a script handles them, against a real node and a real server."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Json = Callable[..., Any]
Umbrella = Callable[..., Any]
SERVER = Path(__file__).parents[2] / "core" / "gateway" / "servers" / "slow.py"
LONG_S = 30.0


@pytest.fixture
def slow(umbrella: Umbrella) -> Iterator[None]:
    added = umbrella("mcp", "add", "slow", "--", sys.executable, str(SERVER))
    assert added.exit_code == 0, added.output
    yield
    assert umbrella("mcp", "remove", "slow").exit_code == 0


def detached(umbrella: Umbrella, mark: Path) -> str:
    result = umbrella("call", "slow", "wait", "--json", json.dumps({"mark": str(mark)}), "--detach")
    assert result.exit_code == 0, result.stderr
    key = str(result.stdout.strip())
    assert key.startswith("exec_") and "\n" not in key, "the id alone, for scripts"
    deadline = time.monotonic() + LONG_S
    while not mark.exists():
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)
    return key


def test_a_detached_call_is_listed_waited_for_and_its_result_is_fetched(
    slow: None, umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    key = detached(umbrella, tmp_path / "mark")
    early = umbrella("executions", "wait", key, "--timeout", "1s")
    assert early.exit_code == 124
    assert f"umbrella executions wait {key}" in early.stderr
    listed = umbrella_json("executions", "list", "--status", "running")["items"]
    assert [each["id"] for each in listed] == [key]
    shown = umbrella("executions", "show", key[:14]).stdout
    assert "running" in shown and "25 %" in shown and "a quarter" in shown
    (tmp_path / "mark.go").touch()
    waited = umbrella("executions", "wait", key)
    assert waited.exit_code == 0, waited.stderr
    assert waited.stdout.strip() == "waited for mark.go"
    again = umbrella_json("executions", "wait", key)
    assert again["status"] == "SUCCESS" and again["progress"] == 100.0
    assert "waited for mark.go" in umbrella("executions", "show", key).stdout
    assert umbrella_json("executions", "cancel", key)["status"] == "SUCCESS", "it is over"
    assert "slow.wait" in umbrella("executions", "list", "--limit", "1000").stdout


def test_a_cancelled_call_ends_its_waiter_as_a_cut_off_one(
    slow: None, umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    key = detached(umbrella, tmp_path / "mark")
    assert umbrella_json("executions", "cancel", key)["status"] == "CANCELLED"
    waited = umbrella("executions", "wait", key)
    assert waited.exit_code == 130
    assert waited.stdout == "" and "was cancelled" in waited.stderr
    shown = umbrella("executions", "show", key).stdout
    assert "cancelled" in shown and "it may have taken effect already" in shown


def test_a_failed_call_ends_its_waiter_as_it_would_have_ended_the_call(
    umbrella: Umbrella, umbrella_json: Json
) -> None:
    started = umbrella_json("call", "fs", "read_file", "--detach")
    assert umbrella("executions", "wait", started["id"]).exit_code == 2
    started = umbrella_json("call", "nowhere", "tool", "--detach")
    assert umbrella("executions", "wait", started["id"]).exit_code == 4


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["executions", "show", "exec_" + "0" * 32], 4),
        (["executions", "cancel", "nothing-like-this"], 4),
        (["executions", "wait", "exec_" + "0" * 32, "--timeout", "soon"], 2),
        (["executions", "list", "--session", "nothing-like-this"], 4),
        (["--embed", "call", "fs", "read_file", "--detach"], 2),
    ],
)
def test_a_mistake_is_told_with_its_remedy(umbrella: Umbrella, words: list[str], code: int) -> None:
    result = umbrella(*words)
    assert result.exit_code == code, result.output
    assert "remedy: " in result.stderr
