"""Results that are too large to be journaled and handed on: set aside whole, and referred to.

The whole is kept under its hash; what goes on is a link to it and the first part of its text, so that nothing is
destroyed and a model is not drowned.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from mcp_interface.codec import encode_json
from mcp_interface.errors import TooMuch
from mcp_interface.tool import ToolResult

MAX_RESULT: Final = 4 * 1024 * 1024
"""Bytes of a result that are journaled and handed on; the frames that carry it hold 16 MiB."""
FIRST_PART: Final = 64 * 1024
"""Bytes of the text that are handed on of a result which is set aside."""

KeepWhole = Callable[[bytes, str], Awaitable[str]]
"""Keeps bytes of a media type for whom the result is for; answers with their URI. Durable when it returns."""


async def set_aside(result: ToolResult, keep: KeepWhole, name: str, limit: int = MAX_RESULT) -> ToolResult:
    """Keep a result that passes the limit, and put a reference in its place; any other stays as it is.

    The reference is a `resource_link` into the catalog. A result of text alone is kept as that
    text; any other as JSON in the form of MCP's tool result.

    Args:
        result: Of a tool.
        keep: Keeps it.
        name: Of the tool, for the link.
        limit: Bytes of the result as JSON.

    Raises:
        InvalidRecord: It is not data.
        StorageUnavailable: It cannot be kept.
    """
    size = len(encode_json(result))
    if size <= limit:
        return result
    plain = result.structured is None and not result.meta
    plain = plain and all(block.get("type") == "text" for block in result.content)
    whole = result.text.encode() if plain else json.dumps(_in_wire_form(result)).encode()
    mime_type = "text/plain" if plain else "application/json"
    first = result.text.encode()[:FIRST_PART].decode(errors="ignore")
    try:
        uri = await keep(whole, mime_type)
    except TooMuch as error:
        note = f"[the result has {size} bytes and could not be kept whole: {error.message}; this is how it begins]"
        return _shortened(result, [], note, first)
    link = {
        "type": "resource_link",
        "uri": uri,
        "name": f"{name} result",
        "description": f"The whole result, {len(whole)} bytes",
        "mimeType": mime_type,
        "size": len(whole),
    }
    note = f"[the result has {size} bytes and is kept whole as the resource {uri}; this is how it begins]"
    return _shortened(result, [link], note, first)


def _shortened(result: ToolResult, links: list[dict[str, object]], *texts: str) -> ToolResult:
    blocks = [{"type": "text", "text": text} for text in texts if text]
    kept = msgspec.structs.replace(result, content=[*links, *blocks], structured=None)
    if len(encode_json(kept.meta)) > FIRST_PART:
        kept = msgspec.structs.replace(kept, meta={})
    return kept


def _in_wire_form(result: ToolResult) -> dict[str, object]:
    told: dict[str, object] = {"content": result.content, "isError": result.is_error}
    if result.structured is not None:
        told["structuredContent"] = result.structured
    if result.meta:
        told["_meta"] = result.meta
    return told
