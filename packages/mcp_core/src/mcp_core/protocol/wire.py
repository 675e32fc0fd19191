"""Between the SDK's types and ours. Imports the SDK's types; imported late."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolResult, Tool
from pydantic import ValidationError

from mcp_interface.address import tool_resource
from mcp_interface.errors import CallerMistaken, InvalidAddress, NotFound, UmbrellaError, WorldBroken
from mcp_interface.tool import ToolInfo, ToolResult

MAX_DESCRIPTION: Final = 20_000
_LONGEST: Final = 2_000


def tool_info(server: str, tool: Tool) -> ToolInfo | None:
    """Describe a listed tool; None when its name cannot be named in a capability.

    What a server does not say is taken at its worst, as the protocol rules: it writes, it may destroy, and
    repeating it matters.
    """
    try:
        right = tool_resource(server, tool.name).uri
    except InvalidAddress:
        return None
    hints = tool.annotations
    read_only = hints is not None and hints.read_only_hint is True
    return ToolInfo(
        server=server,
        name=tool.name,
        title=(tool.title or (hints.title if hints is not None else None) or "")[:200],
        description=(tool.description or "")[:MAX_DESCRIPTION],
        parameters=tool.input_schema,
        required_capabilities=[right],
        read_only=read_only,
        destructive=not read_only and not (hints is not None and hints.destructive_hint is False),
        idempotent=read_only or (hints is not None and hints.idempotent_hint is True),
        output_schema=tool.output_schema,
    )


def tool_result(result: CallToolResult) -> ToolResult:
    """Translate a finished call; blocks keep the names of the wire."""
    return ToolResult(
        content=[block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content],
        structured=result.structured_content,
        is_error=bool(result.is_error),
    )


def refusal(server: str, tool: str, error: Exception) -> UmbrellaError:
    """Translate an error that the server, or the SDK about the server's answer, gave to a call."""
    if isinstance(error, MCPError):
        details: dict[str, Any] = {"server": server, "tool": tool, "mcp_code": error.code}
        told = f"server {server!r} refused {tool!r} with {error.code}: {error.message[:_LONGEST]}"
        if error.code == INVALID_PARAMS:
            return CallerMistaken(told, "see the tool's parameters", details)
        if error.code == METHOD_NOT_FOUND:
            return NotFound(told, "list the server's tools again", details)
        return WorldBroken(told, "look into the server's log", details)
    what = "does not follow the protocol" if isinstance(error, ValidationError) else "cannot be used"
    return WorldBroken(
        f"what server {server!r} answered to {tool!r} {what}: {str(error)[:_LONGEST]}",
        "report it to the server's authors",
        {"server": server, "tool": tool},
    )


def percent(report: Callable[[float, str], Awaitable[None]]) -> ProgressFnT:
    """Turn the SDK's progress into 0 to 100 and a message; without a total the share stays zero."""

    async def told(progress: float, total: float | None, message: str | None) -> None:
        if total is not None and total > 0:
            await report(max(0.0, min(100.0, 100.0 * progress / total)), message or "")
        else:
            await report(0.0, message or f"{progress:g}")

    return told
