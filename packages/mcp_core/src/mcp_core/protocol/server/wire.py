"""Between our structs and MCP's wire form, server side. Pure; results are plain dictionaries, which the SDK checks."""

import base64
from collections.abc import Mapping
from typing import Any, Final, get_args

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
)

from mcp_interface.errors import CallerMistaken, ErrorBody, NotFound, UmbrellaError
from mcp_interface.offers import Contents, PromptInfo, PromptResult, ResourceInfo, ResourceTemplate
from mcp_interface.question import Inquiry, InquiryKind, Response
from mcp_interface.tool import ToolInfo, ToolResult

ERROR_META: Final = "umbrella/error"
"""Under which key of `_meta` a failed call says what of ours went wrong."""
_LONGEST: Final = 4_000


def tool(name: str, info: ToolInfo, *, modern: bool) -> dict[str, Any]:
    """A tool as listed."""
    shown: dict[str, Any] = {
        "name": name,
        "title": info.title or None,
        "description": info.description,
        "inputSchema": {"type": "object", **info.parameters},
        "icons": info.icons or None,
        "_meta": info.meta or None,
        "annotations": {
            "title": info.title or None,
            "readOnlyHint": info.read_only,
            "destructiveHint": info.destructive,
            "idempotentHint": info.idempotent,
            "openWorldHint": info.open_world,
        },
    }
    schema = info.output_schema
    if schema is not None and (modern or schema.get("type") == "object"):  # older clients take objects only
        shown["outputSchema"] = schema
    return _told(shown)


def tool_result(result: ToolResult) -> dict[str, Any]:
    """What a tool gave back."""
    return _told(
        {
            "content": result.content,
            "structuredContent": result.structured,
            "isError": result.is_error,
            "_meta": result.meta or None,
        }
    )


def tool_failure(error: ErrorBody) -> dict[str, Any]:
    """A call that came to no result: something its model can read, where it is not the protocol that was broken.

    Raises:
        MCPError: A capability of the client is missing, the tool does not exist, or its server refused the request.
    """
    missing = _missing(error)
    if missing is not None:
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, error.message, {"requiredCapabilities": missing})
    code = error.details.get("mcp_code")
    if isinstance(code, int):
        raise MCPError(code, error.message[:_LONGEST], error.details.get("mcp_data"))
    if error.code == NotFound.code:
        raise MCPError(INVALID_PARAMS, error.message)
    text = f"{error.message}\n{error.remedy}".strip()
    return {
        "content": [{"type": "text", "text": text[:_LONGEST]}],
        "isError": True,
        "_meta": {ERROR_META: {"code": error.code, "details": error.details}},
    }


def _missing(error: ErrorBody) -> dict[str, Any] | None:
    """The capability a client would have needed, when it is for that that a call failed."""
    kind: Any = error.details.get("kind")
    return needed([kind]) if kind in get_args(InquiryKind) else None


def needed(kinds: list[InquiryKind]) -> dict[str, Any]:
    """The capabilities of a client that can answer these."""
    wanted: dict[str, Any] = {}
    for kind in kinds:
        if kind in {"form", "url"}:
            wanted.setdefault("elicitation", {})[kind] = {}
        else:
            wanted[kind] = {}
    return wanted


def refused(error: UmbrellaError) -> MCPError:
    """What a command of the node answered to anything but a tool call."""
    code = INVALID_PARAMS if isinstance(error, CallerMistaken | NotFound) else INTERNAL_ERROR
    told = error.details.get("mcp_code")
    return MCPError(told if isinstance(told, int) else code, str(error)[:_LONGEST])


def resource(info: ResourceInfo, uri: str) -> dict[str, Any]:
    """A resource as listed."""
    return _told({**_described(info), "uri": uri, "size": info.size})


def template(info: ResourceTemplate) -> dict[str, Any]:
    """A template as listed."""
    return _told({**_described(info), "uriTemplate": info.uri_template})


def _described(info: ResourceInfo | ResourceTemplate) -> dict[str, Any]:
    return {
        "name": info.name,
        "title": info.title or None,
        "description": info.description or None,
        "mimeType": info.mime_type or None,
        "annotations": info.annotations or None,
        "icons": info.icons or None,
        "_meta": info.meta or None,
    }


def contents(part: Contents) -> dict[str, Any]:
    """One part of what a resource holds."""
    blob = None if part.blob is None else base64.b64encode(part.blob).decode()
    text = part.text if part.text is not None or blob is not None else ""
    return _told(
        {
            "uri": part.uri,
            "mimeType": part.mime_type or None,
            "text": text,
            "blob": blob,
            "_meta": part.meta or None,
        }
    )


def prompt(name: str, info: PromptInfo) -> dict[str, Any]:
    """A prompt as listed."""
    return _told(
        {
            "name": name,
            "title": info.title or None,
            "description": info.description or None,
            "icons": info.icons or None,
            "arguments": [
                _told(
                    {
                        "name": each.name,
                        "title": each.title or None,
                        "description": each.description or None,
                        "required": each.required,
                    }
                )
                for each in info.arguments
            ],
            "_meta": info.meta or None,
        }
    )


def prompt_result(result: PromptResult) -> dict[str, Any]:
    """A prompt with its values in place."""
    messages = [{"role": each.role, "content": each.content} for each in result.messages]
    return _told(
        {"description": result.description or None, "messages": messages, "_meta": result.meta or None}
    )


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not said; an absent field and a null one differ on the wire."""
    return {key: value for key, value in fields.items() if value is not None}


# -- what clients are asked --------------------------------------------------------------------------------


def answerable(capabilities: ClientCapabilities | None) -> list[InquiryKind]:
    """What a client says it can answer.

    Source: Model Context Protocol 2025-11-25, elicitation: an empty capability means forms.
    """
    kinds: list[InquiryKind] = []
    if capabilities is None:
        return kinds
    asked = capabilities.elicitation
    if asked is not None:
        if asked.form is not None or asked.url is None:
            kinds.append("form")
        if asked.url is not None:
            kinds.append("url")
    if capabilities.sampling is not None:
        kinds.append("sampling")
    if capabilities.roots is not None:
        kinds.append("roots")
    return kinds


def inquiry(asked: Inquiry, elicitation_id: str | None = None) -> dict[str, Any]:
    """An inquiry as the request that a client is sent.

    Args:
        asked: The inquiry.
        elicitation_id: Of a link, for clients of the handshake era; they need one.
    """
    match asked.kind:
        case "form":
            params = {"mode": "form", "message": asked.message, "requestedSchema": asked.schema}
            return {"method": "elicitation/create", "params": {**asked.params, **params}}
        case "url":
            params = {"mode": "url", "message": asked.message, "url": asked.url}
            if elicitation_id is not None:
                params["elicitationId"] = elicitation_id
            return {"method": "elicitation/create", "params": {**asked.params, **params}}
        case "sampling":
            return {"method": "sampling/createMessage", "params": asked.params}
        case "roots":
            return {"method": "roots/list", "params": asked.params}


def response(asked: Inquiry, result: Mapping[str, Any]) -> Response:
    """A client's result as the answer to an inquiry."""
    if asked.kind in {"form", "url"}:
        return Response(action=result["action"], content=result.get("content"))
    return Response(action="accept", content=dict(result))
