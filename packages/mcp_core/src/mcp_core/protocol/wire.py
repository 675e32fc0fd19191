"""Between the SDK's types and ours: tools, results, errors. Imports the SDK's types; imported late."""

from typing import Any, Final, Literal

from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    SERVER_INFO_META_KEY,
    CallToolResult,
    Tool,
)
from pydantic import BaseModel, ValidationError

from mcp_core.protocol.errand import Errand
from mcp_interface.address import tool_resource
from mcp_interface.errors import CallerMistaken, InvalidAddress, NotFound, UmbrellaError, WorldBroken
from mcp_interface.tool import ToolInfo, ToolResult

MAX_DESCRIPTION: Final = 20_000
RESOURCE_NOT_FOUND: Final = -32002
"""What the older era says of a resource; the newer one says `INVALID_PARAMS`, with the URI beside it."""
_LONGEST: Final = 2_000


def wire(model: BaseModel) -> dict[str, Any]:
    """Data in the names of the wire, without what is not said."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def meta_of(meta: dict[str, Any] | None) -> dict[str, Any]:
    """What a server says beside a result, without its own name, which is not for whoever is behind us."""
    return {key: value for key, value in (meta or {}).items() if key != SERVER_INFO_META_KEY}


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
        open_world=not (hints is not None and hints.open_world_hint is False),
        output_schema=tool.output_schema,
        icons=[wire(icon) for icon in tool.icons or ()],
        meta=tool.meta or {},
        task_support=task_support(tool),
    )


def task_support(tool: Tool) -> Literal["", "forbidden", "optional", "required"]:
    """Whether a tool is to be called as a task: by the field of the older era, or beside it in the name of the extension.

    Source: Model Context Protocol 2025-11-25, `Tool.execution`; the newer era has no field for it.
    """
    if tool.execution is not None and tool.execution.task_support is not None:
        return tool.execution.task_support
    said: Any = (tool.meta or {}).get("io.modelcontextprotocol/tasks")
    match said:
        case {"taskSupport": "forbidden"}:
            return "forbidden"
        case {"taskSupport": "optional"}:
            return "optional"
        case {"taskSupport": "required"}:
            return "required"
    return ""


def tool_result(result: CallToolResult) -> ToolResult:
    """Translate a finished call; blocks keep the names of the wire."""
    return ToolResult(
        content=[wire(block) for block in result.content],
        structured=result.structured_content,
        is_error=bool(result.is_error),
        meta=meta_of(result.meta),
    )


def refusal(errand: Errand, error: Exception) -> UmbrellaError:
    """Translate an error that the server, or the SDK about the server's answer, gave to a request.

    What is quoted of it holds no secret of the server's entry: the error is journaled.
    """
    if isinstance(error, MCPError):
        return _refused(errand, error)
    rule = getattr(error.__cause__, "validator", None)
    if rule is not None:  # the SDK checked the structured content against the output schema
        where = ".".join(str(part) for part in getattr(error.__cause__, "absolute_path", ()))
        subject = f"structured content {where!r}" if where else "structured content"
        return WorldBroken(
            f"what server {errand.server!r} answered to {errand.what} breaks the tool's own output schema: "
            f"{subject} breaks the rule {rule!r}: "
            f"{errand.redact(str(getattr(error.__cause__, 'message', error)))[:_LONGEST]}",
            "it has taken effect; report it to the server's authors",
            {**errand.details, "rule": str(rule), "path": where},
        )
    what = "does not follow the protocol" if isinstance(error, ValidationError) else "cannot be used"
    return WorldBroken(
        f"what server {errand.server!r} answered to {errand.what} {what}: {errand.redact(str(error))[:_LONGEST]}",
        "report it to the server's authors",
        errand.details,
    )


def _refused(errand: Errand, error: MCPError) -> UmbrellaError:
    details: dict[str, Any] = {**errand.details, "mcp_code": error.code}
    told = f"server {errand.server!r} refused {errand.what} with {error.code}: {errand.redact(error.message)[:_LONGEST]}"
    if error.code == RESOURCE_NOT_FOUND or _means_absent(errand, error):
        return NotFound(told, f"list the {errand.kind}s of the server again", details)
    if error.code == INVALID_PARAMS:
        return CallerMistaken(told, f"see the {errand.kind}'s parameters", details)
    if error.code == METHOD_NOT_FOUND:
        return NotFound(told, f"list the server's {errand.kind}s again", details)
    if error.code == MISSING_REQUIRED_CLIENT_CAPABILITY:
        return CallerMistaken(told, "it needs somebody to ask; call it from a session with a person", details)
    return WorldBroken(told, "look into the server's log", details)


def _means_absent(errand: Errand, error: MCPError) -> bool:
    """The newer era has no code of its own for what does not exist."""
    if error.code != INVALID_PARAMS or errand.kind not in {"resource", "prompt"}:
        return False
    named = isinstance(error.data, dict) and "uri" in error.data
    told = error.message.lower()
    return (errand.kind == "resource" and named) or "not found" in told or "unknown" in told


def percent(errand: Errand) -> ProgressFnT:
    """Turn the SDK's progress into 0 to 100 and a message; without a total the share stays zero."""

    async def told(progress: float, total: float | None, message: str | None) -> None:
        if total is not None and total > 0:
            await errand.progressed(max(0.0, min(100.0, 100.0 * progress / total)), message or "")
        else:
            await errand.progressed(0.0, message or f"{progress:g}")

    return told
