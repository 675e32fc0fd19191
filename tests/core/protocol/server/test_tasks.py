"""When a call becomes a task, and how a task looks to its client."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_types import ClientCapabilities

from mcp_core.protocol.server import tasks
from mcp_core.settings import McpSettings
from mcp_interface.errors import Interrupted, NotFound, WorldBroken
from mcp_interface.execution import Execution
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId
from mcp_interface.tool import ToolInfo, text_result

BEGAN = datetime(2026, 11, 22, tzinfo=UTC)
KEPT_S = 3_600.0


def context(version: str = "2026-07-28", *, declares: bool = True) -> Any:
    extensions: dict[str, dict[str, Any]] | None = {tasks.IDENTIFIER: {}} if declares else None
    session = SimpleNamespace(client_capabilities=ClientCapabilities(extensions=extensions))
    return SimpleNamespace(session=session, protocol_version=version)


def portal(now: datetime = BEGAN) -> Any:
    settings = McpSettings(task_wait_s=2.0, task_kept_s=KEPT_S)
    return SimpleNamespace(settings=settings, clock=SimpleNamespace(now=lambda: now))


def execution(**fields: Any) -> Execution:
    return Execution(
        id=ExecutionId("exec_" + "1" * 32),
        session_id=SessionId("session_1"),
        principal_id=PrincipalId("user_1"),
        server="s",
        tool="t",
        accepted_at=BEGAN,
        **fields,
    )


@pytest.mark.parametrize(
    ("support", "asked", "expected"),
    [
        ("", False, 2.0),
        ("", True, 2.0),
        ("optional", False, 0.0),
        ("optional", True, 0.0),
        ("required", False, 2.0),
        ("required", True, 0.0),
        ("forbidden", False, None),
    ],
)
def test_what_a_tool_says_of_itself_decides(support: Any, asked: bool, expected: float | None) -> None:
    tool = ToolInfo(server="s", name="t", task_support=support)
    assert tasks.patience(context(), tool, portal(), asked=asked) == expected


@pytest.mark.parametrize("ctx", [context(declares=False), context("2025-11-25")])
def test_a_client_that_cannot_wait_for_tasks_gets_none(ctx: Any) -> None:
    for support in ("", "optional", "forbidden"):
        tool = ToolInfo(server="s", name="t", task_support=support)
        assert tasks.patience(ctx, tool, portal(), asked=False) is None
    with pytest.raises(MCPError) as refused:
        tasks.patience(ctx, ToolInfo(server="s", name="t", task_support="required"), portal(), asked=False)
    assert refused.value.code == -32021
    assert refused.value.data == {"requiredCapabilities": {"extensions": {tasks.IDENTIFIER: {}}}}


def ended(**fields: Any) -> dict[str, Any]:
    over = execution(ended_at=BEGAN + timedelta(seconds=5), **fields)
    return tasks._ended(portal(), over)


def test_what_a_tool_says_of_its_failure_completes_the_task() -> None:
    task = ended(status="FAILED", result=text_result("boom", is_error=True))
    assert (task["status"], task["result"]["isError"]) == ("completed", True)


def test_a_broken_protocol_fails_it_and_our_own_errors_are_what_the_call_would_have_said() -> None:
    broken = ended(status="FAILED", error=WorldBroken("it broke", "", {"mcp_code": -32603}).body())
    assert (broken["status"], broken["error"]) == ("failed", {"code": -32603, "message": "it broke"})
    gone = ended(status="FAILED", error=NotFound("no such tool").body())
    assert (gone["status"], gone["error"]["code"]) == ("failed", -32602)
    lost = ended(status="INTERRUPTED", error=Interrupted("the node stopped", "look").body())
    assert lost["status"] == "completed" and lost["result"]["isError"]
    assert "the node stopped" in lost["result"]["content"][0]["text"]


def test_a_cancelled_one_is_cancelled_and_brings_nothing() -> None:
    task = ended(status="CANCELLED", error=Interrupted("cancelled").body())
    assert task["status"] == "cancelled"
    assert not {"result", "error", "inputRequests"} & set(task)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_the_time_to_live_never_promises_more_than_is_kept(span: timedelta) -> None:
    over = execution(status="SUCCESS", ended_at=BEGAN + span, result=text_result("x"))
    head = tasks._head(portal(BEGAN + span), over, "completed")
    promised = BEGAN + timedelta(milliseconds=head["ttlMs"])
    assert promised <= BEGAN + span + timedelta(seconds=KEPT_S) < promised + timedelta(milliseconds=1)
    assert tasks.SOONEST_MS <= head["pollIntervalMs"] <= tasks.LATEST_MS
    running = tasks._head(portal(BEGAN + span), execution(status="RUNNING", started_at=BEGAN), "working")
    assert running["ttlMs"] is None
    assert head["createdAt"] == "2026-11-22T00:00:00.000Z"
