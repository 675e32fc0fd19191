"""/api/executions: tool calls that go on by themselves, and every tool call as it can be asked about."""

from typing import Annotated, Final

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from mcp_interface.commands import Page
from mcp_interface.execution import (
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    RunStatus,
    StartExecution,
)
from mcp_interface.ids import AgentId, ExecutionId, SessionId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit
from mcp_web.routes.tools import NewCall

GRACE_S: Final = 10.0
"""How much longer than the wait itself the node's answer may take."""
Wait = Annotated[
    float, QueryParameter(ge=0, le=300, description="Seconds to wait for the end; then it is given as it is.")
]


@get("/executions", responses=PROBLEMS, summary="List tool calls, latest first")
async def list_executions(
    caller: CallerDependency,
    session_id: FromQuery[str | None] = None,
    status: FromQuery[RunStatus | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Execution]:
    """Of one session or of all that are the caller's; without results."""
    within = SessionId(session_id) if session_id else None
    return await caller.ask(ListExecutions(session_id=within, status=status, limit=limit, cursor=cursor))


@post("/executions", status_code=202, responses=PROBLEMS, summary="Start a tool call")
async def start_execution(caller: CallerDependency, data: JSONBody[NewCall]) -> Execution:
    """Accepted means durable: it goes on when you leave, and `GET /executions/{id}` says what became of it."""
    command = StartExecution(
        server=data.server,
        tool=data.tool,
        arguments=data.arguments,
        as_agent=None if data.as_agent is None else AgentId(data.as_agent),
        session_id=None if data.session_id is None else SessionId(data.session_id),
        timeout_ms=data.timeout_ms,
    )
    return await caller.ask(command)


@get("/executions/{execution_id:str}", responses=PROBLEMS, summary="Show a tool call, perhaps after its end")
async def get_execution(caller: CallerDependency, execution_id: FromPath[str], wait: Wait = 0) -> Execution:
    """With its result once it has one; `wait` makes it a long poll."""
    command = GetExecution(execution_id=ExecutionId(execution_id), wait_s=wait)
    return await caller.ask(command, wait + GRACE_S)


@post(
    "/executions/{execution_id:str}/cancel", status_code=200, responses=PROBLEMS, summary="Stop a tool call"
)
async def cancel_execution(caller: CallerDependency, execution_id: FromPath[str]) -> Execution:
    """How it is then; harmless when it has ended. A tool that is slow to let go is still `RUNNING`."""
    return await caller.ask(CancelExecution(execution_id=ExecutionId(execution_id)))


ROUTES = [list_executions, start_execution, get_execution, cancel_execution]
