"""Plans as a person or a script handles them, against a real node."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_cli import planning
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PlanId, PrincipalId, SessionId
from mcp_interface.plan import CommandStep, DryStep, MessageStep, Plan, PlanStep, ToolStep

Json = Callable[..., Any]
Umbrella = Callable[..., Any]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def written(folder: Path, *works: dict[str, Any]) -> str:
    file = folder / "plan.json"
    file.write_text(json.dumps({"title": "tidy up", "steps": [{"work": work} for work in works]}))
    return str(file)


def write(path: Path) -> dict[str, Any]:
    arguments = {"path": str(path), "content": "eggs"}
    return {"kind": "tool", "server": "fs", "tool": "write_file", "arguments": arguments}


def test_a_plan_is_drafted_looked_at_approved_and_waited_for(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    file = written(tmp_path, write(note), {"kind": "checkpoint", "question": "and now?"})
    plan = umbrella_json("plan", "draft", file)
    assert plan["status"] == "draft" and [step["risk"] for step in plan["steps"]] == ["dangerous", "safe"]
    assert plan["id"][:13] in umbrella("plan", "list").stdout
    looked = umbrella_json("plan", "dry-run", plan["id"])
    assert [step["allowed"] for step in looked] == [True, True] and not note.exists()
    shown = umbrella("plan", "show", plan["id"][:13]).stdout
    assert "fs.write_file" in shown and "content: eggs" in shown and "umbrella plan approve" in shown
    assert umbrella_json("plan", "approve", plan["id"])["status"] == "executing"
    assert umbrella_json("plan", "wait", plan["id"])["waits"] == "and now?"
    assert note.read_text() == "eggs"
    assert "umbrella plan go" in umbrella("plan", "show", plan["id"]).stdout
    assert umbrella("plan", "go", plan["id"], "2").exit_code == 0
    assert umbrella_json("plan", "wait", plan["id"])["status"] == "completed"
    refused = umbrella("plan", "go", plan["id"], "2")
    assert refused.exit_code != 0 and "waits for no answer" in refused.stderr


def test_a_plan_step_by_step_is_skipped_and_stopped(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    plan = umbrella_json("plan", "draft", written(tmp_path, write(one), write(two)))["id"]
    umbrella_json("plan", "approve", plan, "--stepwise")
    assert umbrella_json("plan", "wait", plan)["waits"].startswith("Step 1 of 2")
    assert umbrella_json("plan", "skip", plan, "1")["steps"][0]["status"] == "skipped"
    assert umbrella_json("plan", "wait", plan)["waits"].startswith("Step 2 of 2")
    assert umbrella_json("plan", "stop", plan)["status"] == "cancelled"
    assert umbrella("plan", "wait", plan).exit_code == 130
    assert not one.exists() and not two.exists()


def test_a_draft_is_replaced_and_cancelled_and_a_failed_plan_ends_its_waiter(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    plan = umbrella_json("plan", "draft", written(tmp_path, write(tmp_path / "one")))["id"]
    missing = {
        "kind": "tool",
        "server": "fs",
        "tool": "read_file",
        "arguments": {"path": str(tmp_path / "no")},
    }
    replaced = umbrella_json("plan", "draft", written(tmp_path, missing), "--replace", plan)
    assert replaced["id"] == plan and len(replaced["steps"]) == 1
    umbrella_json("plan", "approve", plan)
    waited = umbrella("plan", "wait", plan)
    assert waited.exit_code == 1 and "step 1 failed" in waited.stdout
    other = umbrella_json("plan", "draft", written(tmp_path, write(tmp_path / "one")))["id"]
    assert umbrella_json("plan", "cancel", other)["status"] == "cancelled"


def test_what_is_no_plan_is_refused_with_the_place(umbrella: Umbrella, tmp_path: Path) -> None:
    for text in ("", "[]", '{"title": "x"}', '{"title": "x", "steps": [{"work": {"kind": "dance"}}]}'):
        result = umbrella("plan", "draft", "-", stdin=text)
        assert result.exit_code == 2 and "this is no plan" in result.stderr, text
    result = umbrella("plan", "draft", written(tmp_path, {"kind": "command", "command": ["./ls"]}))
    assert result.exit_code == 2 and "step 1" in result.stderr
    with pytest.raises(CallerMistaken, match="more than"):
        planning.read_plan(" " * (planning.MAX_FILE + 1))


def test_nothing_of_a_step_is_hidden_and_no_text_looks_like_another_line() -> None:
    plan = Plan(
        id=PlanId("plan_" + "1" * 32),
        session_id=SessionId("session_" + "2" * 32),
        by=PrincipalId("user_" + "3" * 32),
        title="nice\u202e",
        created_at=NOW,
        steps=[
            PlanStep(title="a\nstep 9", work=MessageStep(text="hello\nneeds nothing"), risk="moderate"),
            PlanStep(title="b", work=CommandStep(command=["/bin/rm", "a] [b\u200b"])),
            PlanStep(
                title="c",
                work=ToolStep(server="fs", tool="x\x1b[2J", arguments={"path": "/a\u2066b"}),
                result="\x1b[31mred",
            ),
        ],
    )
    shown = {name: cell.text for name, cell in planning.plan(plan, NOW).pairs}
    assert shown["title"] == "nice\\u202e"
    assert shown["step 1"].splitlines()[0] == "[ ] a step 9 (moderate)"
    assert "\nneeds nothing" not in shown["step 1"] and "│ needs nothing" in shown["step 1"]
    assert "a] [b\\\\u200b" in shown["step 2"] or "a] [b\\u200b" in shown["step 2"]
    assert "\\u001b" in shown["step 3"] and "\\u2066" in shown["step 3"] and "\x1b" not in str(shown)
    listed = planning.plans(Page(items=[plan]), NOW)
    assert "0/3" in str(listed.rows)
    met = planning.dry_run(
        [DryStep(allowed=True), DryStep(allowed=False, why="no"), DryStep(allowed=True)], plan
    )
    assert [line[2].text for line in met.rows] == ["would run", "would not", "would run"]
