"""Tasks of servers that answer a call with one: what travels. Imports the SDK; imported late.

The extension says that we can wait for tasks; waiting itself, over lost connections and restarts, is in `following`.

Source: Model Context Protocol extension `io.modelcontextprotocol/tasks` (SEP-2663).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    EmptyResult,
    ErrorData,
    InputRequest,
    Request,
    RequestParams,
    Result,
)

from mcp_core.protocol.errand import CURRENT, Errand
from mcp_core.protocol.following import Begun, RemoteTask
from mcp_core.protocol.wire import refusal, tool_result
from mcp_core.protocol.wire_questions import answer_kept, inquiry
from mcp_interface.errors import NotPermitted, OurBug
from mcp_interface.question import Response

TASKS: Final = "io.modelcontextprotocol/tasks"
_OURS: Final = 86_400.0
"""Seconds after which the SDK would give up a request; never, because our own deadlines come first."""


class CreatedTask(Result):
    """What a call is answered with instead of its result."""

    result_type: Literal["task"]
    task_id: str


class FoundTask(Result):
    """A task as it is."""

    task_id: str
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    status_message: str | None = None
    poll_interval_ms: int | None = None
    input_requests: dict[str, InputRequest] | None = None
    result: CallToolResult | None = None
    error: ErrorData | None = None


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class AnswerParams(TaskParams):
    """Names a task and answers what it wants to know."""

    input_responses: dict[str, Any]


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    """tasks/get."""

    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class UpdateTask(Request[AnswerParams, Literal["tasks/update"]]):
    """tasks/update."""

    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class CancelTask(Request[TaskParams, Literal["tasks/cancel"]]):
    """tasks/cancel."""

    method: Literal["tasks/cancel"] = "tasks/cancel"
    name_param = "taskId"


class TasksExtension(ClientExtension):
    """Says to a server that it may answer our calls with tasks."""

    identifier = TASKS

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """The one result that is ours to finish."""
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=_begun)]


async def _begun(created: CreatedTask, context: ClaimContext) -> CallToolResult:
    """Note down which task works for the call, and leave the connection: the task may outlive it.

    Raises:
        Begun: Always; whoever sent the call follows the task.
    """
    errand = CURRENT.get()
    if errand is None:
        raise OurBug(f"{context.tool_name!r} became a task of a call that nobody made", "report it")
    errand.task = created.task_id
    raise Begun(created.task_id)


async def poll(session: ClientSession, errand: Errand) -> RemoteTask:
    """Ask how a task is.

    Raises:
        MCPError: The server refused.
        Exception: What it answered cannot be used; as the SDK says.
    """
    found = await session.send_request(
        GetTask(params=TaskParams(task_id=errand.task)), FoundTask, request_read_timeout_seconds=_OURS
    )
    result = None
    if found.status == "completed":
        final = found.result or CallToolResult(content=[])
        if not final.is_error:
            await session.validate_tool_result(errand.name, final)
        result = tool_result(final)
    error = None
    if found.status == "failed":
        told = found.error or ErrorData(code=-32603, message=found.status_message or "it failed")
        error = refusal(errand, MCPError.from_error_data(told))
    wanted = (found.input_requests or {}) if found.status == "input_required" else {}
    return RemoteTask(
        status=found.status,
        message=found.status_message or "",
        poll_s=None if found.poll_interval_ms is None else found.poll_interval_ms / 1000,
        asked=[inquiry(errand.server, key, one) for key, one in wanted.items()],
        result=result,
        error=error,
    )


async def answer(session: ClientSession, errand: Errand, responses: Mapping[str, Response]) -> None:
    """Answer what a task wants to know.

    Raises:
        NotPermitted: A model's words were refused, for which there is no form.
        MCPError: The server refused.
    """
    told: dict[str, Any] = {}
    for key, response in responses.items():
        said = answer_kept(errand.kinds.get(key), response)
        if isinstance(said, ErrorData):
            raise NotPermitted(
                f"{errand.what} of server {errand.server!r} asked for {key!r}: {said.message}",
                "call it again, and answer",
                {**errand.details, "reason": "question_declined"},
            )
        told[key] = said.model_dump(mode="json", by_alias=True, exclude_none=True)
    params = AnswerParams(task_id=errand.task, input_responses=told)
    await session.send_request(UpdateTask(params=params), EmptyResult, request_read_timeout_seconds=_OURS)


async def cancel(session: ClientSession, errand: Errand) -> None:
    """Ask the server to stop a task.

    Raises:
        MCPError: The server refused.
    """
    params = TaskParams(task_id=errand.task)
    await session.send_request(CancelTask(params=params), EmptyResult, request_read_timeout_seconds=_OURS)
