"""The Tasks extension: a call that takes long is answered with a handle, which is the execution's id.

Nothing of a task lives here. It is made by `StartExecution`, which is durable before the handle goes out; asked about,
answered and cancelled by the node's own commands, from any process, after any restart; and what somebody may know of it
is judged by the node. Here it is only put into MCP's form, and forgotten for MCP's clients some time after its end.

Which calls become tasks the tool says, where it says something (`ToolInfo.task_support`): "required", at once when it has
not asked first; "optional", at once; "forbidden", never. Others become one when they have not ended within a moment, and
any whose own server has made it one.

Source: Model Context Protocol extension `io.modelcontextprotocol/tasks` (SEP-2663).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.server import wire
from mcp_core.protocol.server.portal import Portal
from mcp_interface.clock import Instant
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.execution import AnswerQuestion, CancelExecution, Execution, GetExecution, ListQuestions
from mcp_interface.ids import ExecutionId
from mcp_interface.question import Question
from mcp_interface.tool import ToolInfo

IDENTIFIER: Final = "io.modelcontextprotocol/tasks"
SETTINGS: Final[dict[str, Any]] = {}
SOONEST_MS: Final = 250
LATEST_MS: Final = 5_000
"""Between two polls: at first, and of what has been going on for long."""
MOST: Final = 1_000
"""Open questions of one task."""

Context = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class AnswerParams(TaskParams):
    """Names a task and answers what it wants to know."""

    input_responses: dict[str, Any]


# -- when a call becomes one ---------------------------------------------------------------------------------


def patience(ctx: Context, tool: ToolInfo, portal: Portal, *, asked: bool) -> float | None:
    """For how many seconds a call is waited for before it is handed over as a task; None: to its end.

    Args:
        ctx: Of the request.
        tool: Which is called.
        portal: Of whoever calls.
        asked: Whether the client has come back with the answers to what the call wanted to know first.

    Raises:
        MCPError: The tool is for clients that can wait for tasks, and this one cannot.
    """
    support = tool.task_support
    if not declares(ctx):
        if support == "required":
            raise missing()
        return None
    if support == "forbidden":
        return None
    if support == "optional" or (support == "required" and asked):
        return 0.0
    return portal.settings.task_wait_s


def declares(ctx: Context) -> bool:
    """Whether the client of a request says that it can wait for tasks."""
    known = ctx.session.client_capabilities
    extensions = {} if known is None else known.extensions or {}
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and IDENTIFIER in extensions


def missing() -> MCPError:
    """The error of a client that does not say so."""
    needed: dict[str, Any] = {"extensions": {IDENTIFIER: {}}}
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"this needs a client that declares {IDENTIFIER}",
        {"requiredCapabilities": needed},
    )


async def created(portal: Portal, execution_id: ExecutionId) -> dict[str, Any]:
    """The handle of a call that goes on as a task."""
    execution = await portal.line.look(GetExecution(execution_id=execution_id))
    whole = await described(portal, execution)
    later = {"result", "error", "inputRequests"}  # for `tasks/get` to say
    return {"resultType": "task", **{key: value for key, value in whole.items() if key not in later}}


# -- what can be done with it --------------------------------------------------------------------------------


async def get_task(ctx: Context, params: TaskParams, portal: Portal) -> dict[str, Any]:
    """tasks/get."""
    execution = await _find(ctx, params, portal)
    return await described(portal, execution)


async def update_task(ctx: Context, params: AnswerParams, portal: Portal) -> dict[str, Any]:
    """tasks/update: every answer that fits what is open is taken; whatever is not open is passed over.

    Raises:
        MCPError: An answer does not fit what was asked; that question stays open.
    """
    execution = await _find(ctx, params, portal)
    refused: CallerMistaken | None = None
    for question in await _open(portal, execution):
        given = params.input_responses.get(question.id)
        if given is None:
            continue
        try:
            response = _response(question, given)
            await portal.line.ask(AnswerQuestion(question_id=question.id, response=response))
        except CallerMistaken as error:
            refused = refused or error
        except NotFound:
            continue  # somebody else was quicker
    if refused is not None:
        raise MCPError(INVALID_PARAMS, refused.message, refused.details or None)
    return {}


async def cancel_task(ctx: Context, params: TaskParams, portal: Portal) -> dict[str, Any]:
    """tasks/cancel; of one that has ended it changes nothing."""
    execution = await _find(ctx, params, portal)
    if not execution.over:
        await portal.line.ask(CancelExecution(execution_id=execution.id))
    return {}


async def described(portal: Portal, execution: Execution) -> dict[str, Any]:
    """A task with all that its status brings along."""
    if execution.over:
        return _ended(portal, execution)
    asked = await _open(portal, execution) if execution.questions else []
    if not asked:
        return _head(portal, execution, "working")
    head = _head(portal, execution, "input_required", max(each.asked_at for each in asked))
    return {**head, "inputRequests": {each.id: wire.inquiry(each.inquiry) for each in asked}}


async def find(portal: Portal, task_id: str) -> Execution:
    """An execution that its client may still ask about.

    Raises:
        MCPError: There is none; the same for one that is somebody else's, of another virtual server, or expired.
    """
    unknown = MCPError(INVALID_PARAMS, "Failed to retrieve task: Task not found")
    try:
        execution = await portal.line.look(GetExecution(execution_id=ExecutionId(task_id)))
    except (NotFound, CallerMistaken) as error:
        raise unknown from error
    offered = (await portal.catalogue.selection()).tool(execution.server, execution.tool)
    ended = execution.ended_at
    kept = timedelta(seconds=portal.settings.task_kept_s)
    if not offered or (ended is not None and portal.clock.now() >= ended + kept):
        raise unknown
    return execution


async def _find(ctx: Context, params: TaskParams, portal: Portal) -> Execution:
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    if not declares(ctx):
        raise missing()
    headers = None if ctx.request is None else ctx.request.headers
    if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != params.task_id:
        raise MCPError(
            HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match the request body's 'taskId'"
        )
    return await find(portal, params.task_id)


async def _open(portal: Portal, execution: Execution) -> list[Question]:
    """What it wants to know and nobody has answered."""
    page = await portal.line.look(ListQuestions(execution_id=execution.id, limit=MOST))
    return page.items


def _response(question: Question, given: Any) -> Any:
    """An answer, as far as it is one.

    Raises:
        CallerMistaken: It is none.
    """
    try:
        if not isinstance(given, Mapping):
            raise TypeError("it is no object")
        return wire.response(question.inquiry, given)
    except (KeyError, TypeError, ValueError) as error:
        raise CallerMistaken(
            f"the answer to {question.id} is not one: {error}", "see inputRequests", {"key": question.id}
        ) from error


# -- its form ------------------------------------------------------------------------------------------------


def _ended(portal: Portal, execution: Execution) -> dict[str, Any]:
    """What it ended with is exactly what the call would have been answered with."""
    if execution.status == "CANCELLED":
        return _head(portal, execution, "cancelled")
    try:
        if execution.result is not None:
            result = wire.tool_result(execution.result)
        elif execution.error is not None:
            result = wire.tool_failure(execution.error)
        else:
            result = {"content": []}
    except MCPError as error:
        told = {"code": error.code, "message": error.message}
        if error.data is not None:
            told["data"] = error.data
        return {**_head(portal, execution, "failed"), "statusMessage": error.message, "error": told}
    return {**_head(portal, execution, "completed"), "result": result}


def _head(
    portal: Portal, execution: Execution, status: str, changed: Instant | None = None
) -> dict[str, Any]:
    began, ended = execution.accepted_at, execution.ended_at
    changed = ended or changed or execution.started_at or began
    head: dict[str, Any] = {
        "taskId": execution.id,
        "status": status,
        "createdAt": _moment(began),
        "lastUpdatedAt": _moment(changed),
        # for as long as it has not ended it is kept; when it has, it is known until when
        "ttlMs": None if ended is None else _ms(ended - began) + int(portal.settings.task_kept_s * 1000),
        "pollIntervalMs": max(SOONEST_MS, min(LATEST_MS, _ms(portal.clock.now() - began) // 10)),
    }
    if execution.message:
        head["statusMessage"] = execution.message
    return head


def _ms(span: timedelta) -> int:
    return max(0, span // timedelta(milliseconds=1))


def _moment(at: Instant) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


METHODS: Final = [
    ("tasks/get", TaskParams, get_task),
    ("tasks/update", AnswerParams, update_task),
    ("tasks/cancel", TaskParams, cancel_task),
]
