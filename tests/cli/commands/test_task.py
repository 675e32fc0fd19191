"""`umbrella task …` against a real node that has no model, and the tree of agents."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_cli import teamwork
from mcp_interface.agent import AgentRecord
from mcp_interface.commands import Page
from mcp_interface.ids import AgentId, PrincipalId, SessionId, TaskId
from mcp_interface.task import Task
from mcp_interface.testing import START

Umbrella = Callable[..., Any]
Json = Callable[..., Any]


def test_a_task_is_given_listed_shown_and_its_failure_told(umbrella: Umbrella, umbrella_json: Json) -> None:
    given = umbrella("task", "give", "think of a number", "--name", "thinker", "--wait")
    assert given.exit_code != 0
    assert "model" in given.stderr.lower()
    (task,) = [each for each in umbrella_json("task", "list")["items"] if each["name"] == "thinker"]
    assert task["status"] == "failed" and task["error"]["code"] == "model_unavailable"
    listed = umbrella("task", "list").stdout
    assert "thinker" in listed and "failed" in listed
    shown = umbrella("task", "show", "thinker").stdout
    assert "think of a number" in shown and "umbrella sessions show" in shown
    assert umbrella_json("task", "cancel", task["id"][:14])["status"] == "failed", "it is over"
    assert umbrella("task", "show", "task_ffff").exit_code == 4
    assert task["child_id"] not in umbrella("sessions", "list", "--all").stdout


def test_what_is_not_held_is_not_handed_on(umbrella: Umbrella) -> None:
    assert umbrella("agent", "spawn", "poor").exit_code == 0
    refused = umbrella("task", "give", "x", "--from", "poor", "--grant", "mcp://fs/read/etc/**")
    assert refused.exit_code == 3 and "cannot hand on" in refused.stderr
    assert umbrella("task", "give", "x", "--expires", "1h").exit_code == 2
    assert "poor" in umbrella("agent", "list").stdout
    assert umbrella("agent", "stop", "poor").exit_code == 0


def record(number: int, parent: int | None) -> AgentRecord:
    return AgentRecord(
        id=AgentId(f"agent_{number:032x}"),
        type="llm",
        parent_id=None if parent is None else AgentId(f"agent_{parent:032x}"),
        started_at=START,
    )


@given(st.lists(st.integers(-1, 12), max_size=12))
def test_the_tree_holds_every_agent_once_below_the_one_it_works_for(parents: list[int]) -> None:
    agents = [
        record(number, parent if 0 <= parent < number else None) for number, parent in enumerate(parents)
    ]
    shown = list(teamwork.descent(agents))
    assert sorted(agent.id for _, agent in shown) == sorted(agent.id for agent in agents)
    line: list[AgentRecord] = []
    for depth, agent in shown:
        line = [*line[:depth], agent]
        assert agent.parent_id == (line[depth - 1].id if depth else None)


def test_the_tree_says_what_everybody_works_on() -> None:
    task = Task(
        id=TaskId("task_" + "1" * 32),
        session_id=SessionId("session_" + "1" * 32),
        by=PrincipalId(record(1, None).id),
        goal="read\nall",
        status="running",
        given_at=START,
        started_at=START,
        agent_id=record(2, 1).id,
    )
    page = Page(items=[record(1, None), record(2, 1)])
    sheet = teamwork.tree(page, [task], START + timedelta(seconds=5))
    assert [cells[0].text for cells in sheet.rows] == ["agent_00000000", "└ agent_00000000"]
    assert [cells[5].text for cells in sheet.rows] == ["", "running: read all"]
    listed = teamwork.tasks(Page(items=[task]), START + timedelta(seconds=5)).rows[0]
    assert [cell.text for cell in listed][1:4] == ["read all", "running", "5.0 s"]
