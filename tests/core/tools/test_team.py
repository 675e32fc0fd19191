"""What the team tools ask for before they do anything: arguments, and exactly the rights that are handed on."""

from typing import Any

import pytest

from mcp_core.tools.team import END, LOOK, START, TeamTool, result_of, team_tools, told
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PrincipalId, SessionId, TaskId
from mcp_interface.task import Task
from mcp_interface.testing import START as NOW

READ, WRITE = "mcp://fs/read/srv/docs/**", "mcp://fs/write/srv/out/**"


def tool(name: str) -> TeamTool:
    return next(each for each in team_tools(lambda: None) if each.info().name == name)


def needed(name: str, args: dict[str, Any]) -> list[tuple[str, int]]:
    tool(name).validate_args(args)
    return [(need.resource.uri, need.depth) for need in tool(name).needs(args)]


def test_who_hands_on_a_right_has_to_hold_it_so_that_it_can_be_handed_on() -> None:
    assert needed("delegate", {"goal": "g", "rights": [READ, WRITE, READ]}) == [
        (START.uri, 0), (READ, 1), (WRITE, 1),
    ]  # fmt: skip
    several = {"tasks": [{"goal": "a", "rights": [READ]}, {"goal": "b", "rights": [WRITE, START.uri]}]}
    assert needed("delegate_all", several) == [(START.uri, 0), (READ, 1), (WRITE, 1), (START.uri, 1)]
    assert needed("delegate", {"goal": "think"}) == [(START.uri, 0)]


def test_looking_is_no_right_to_start_and_ending_is_one_of_its_own() -> None:
    one = {"task": "task_" + "1" * 32}
    assert needed("task_status", {}) == needed("wait_for", one) == [(LOOK.uri, 0)]
    assert needed("cancel", one) == [(END.uri, 0)]
    read_only = {each.info().name for each in team_tools(lambda: None) if each.info().read_only}
    assert read_only == {"task_status", "wait_for"}, "what a careful profile gives unasked starts nothing"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("delegate", {}),
        ("delegate", {"goal": ""}),
        ("delegate", {"goal": "x", "rights": ["fs/read"]}),
        ("delegate", {"goal": "x", "rights": ["mcp://fs/read/../etc"]}),
        ("delegate", {"goal": "x", "rights": "mcp://fs/read/x"}),
        ("delegate", {"goal": "x", "max_cost": -1}),
        ("delegate", {"goal": "x", "profile": "open"}),
        ("delegate_all", {"tasks": []}),
        ("delegate_all", {"tasks": [{"goal": "x"}] * 17}),
        ("delegate_all", {"tasks": [{"goal": "x"}], "strategy": "random"}),
        ("wait_for", {}),
        ("cancel", {"task": "session_" + "1" * 32}),
    ],
)
def test_arguments_that_do_not_fit_are_named(name: str, args: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken):
        tool(name).validate_args(args)


def test_schemas_stand_alone() -> None:
    for each in team_tools(lambda: None):
        assert "$ref" not in str(each.info().parameters)


def test_a_result_is_the_last_words_and_a_failure_says_why() -> None:
    task = Task(
        id=TaskId("task_" + "1" * 32),
        session_id=SessionId("session_" + "1" * 32),
        by=PrincipalId("user_" + "1" * 32),
        goal="g",
        status="completed",
        given_at=NOW,
        result="words",
    )
    assert result_of(task).text == "words" and not result_of(task).is_error
    error = CallerMistaken("it broke", "mend it").body()
    import msgspec

    failed = result_of(msgspec.structs.replace(task, status="failed", error=error))
    assert failed.is_error and failed.text == "The task failed: it broke. mend it"
    assert "completed" in told([task]).text and told([]).text == "You have given none."
