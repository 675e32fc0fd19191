"""/api/tools: what the connected servers offer, what of it is not what it was, and single calls of it."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from mcp_interface.commands import (
    AcceptTool,
    CallOutcome,
    CallTool,
    ListToolChanges,
    ListTools,
    Page,
    ToolChange,
)
from mcp_interface.ids import AgentId, SessionId
from mcp_interface.tool import ToolInfo
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

CALL_S = 300.0
"""Seconds that a call without its own deadline may keep its request open."""


class NewCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool call."""

    server: str
    tool: str
    arguments: dict[str, Any] = {}
    as_agent: str | None = None
    """Act with what this agent holds."""
    session_id: str | None = None
    """Where it is recorded."""
    timeout_ms: Annotated[int, Meta(ge=1, le=3_600_000)] | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A changed tool that somebody has looked at."""

    server: str
    tool: str
    fingerprint: str
    """Of the definition that was looked at."""


Words = Annotated[
    str,
    QueryParameter(
        name="q", max_length=500, description="What the tool should do; the best match comes first."
    ),
]


@get("/tools", responses=PROBLEMS, summary="List tools")
async def list_tools(
    caller: CallerDependency,
    server: FromQuery[str | None] = None,
    words: Words = "",
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Page[ToolInfo]:
    """Of one server, or of all that are connected; with a query those that match it, the best first."""
    return await caller.ask(ListTools(server=server, query=words, limit=limit, cursor=cursor))


@post("/tools/call", status_code=200, responses=PROBLEMS, summary="Call a tool")
async def call_tool(caller: CallerDependency, data: JSONBody[NewCall]) -> CallOutcome:
    """Judged, journaled, run, journaled; a failure of the task itself is a result with `is_error`."""
    command = CallTool(
        server=data.server,
        tool=data.tool,
        arguments=data.arguments,
        as_agent=None if data.as_agent is None else AgentId(data.as_agent),
        session_id=None if data.session_id is None else SessionId(data.session_id),
        timeout_ms=data.timeout_ms,
    )
    return await caller.ask(command, CALL_S if data.timeout_ms is None else data.timeout_ms / 1000 + 10)


@get("/tools/changes", responses=PROBLEMS, summary="List tools that are not what they were")
async def list_tool_changes(
    caller: CallerDependency, limit: Limit = 50, cursor: Cursor = None
) -> Page[ToolChange]:
    """Their calls are refused until the change is accepted; the diff is text in which nothing is invisible."""
    return await caller.ask(ListToolChanges(limit=limit, cursor=cursor))


@post("/tools/accept", status_code=200, responses=PROBLEMS, summary="Accept a changed tool as it is now")
async def accept_tool(caller: CallerDependency, data: JSONBody[Accepted]) -> ToolInfo:
    """Refused with 409 when it has changed again since it was looked at."""
    return await caller.ask(AcceptTool(server=data.server, tool=data.tool, fingerprint=data.fingerprint))


ROUTES = [list_tools, call_tool, list_tool_changes, accept_tool]
