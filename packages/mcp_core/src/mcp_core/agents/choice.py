"""Which tools a model is shown: all while they are few, else a way to search them and those it has found.

Hundreds of definitions fill a model's window before anything was said. Beyond a bound it gets `find_tools`, whose
answers bring the definitions with them; what it has found or used in the conversation stays in reach. All of
it is read from what was said, so a restart changes nothing.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from mcp_core.providers.names import ToolNames
from mcp_core.tools.index import search_tools
from mcp_interface.codec import encode_json
from mcp_interface.errors import CallerMistaken
from mcp_interface.provider import ChatMessage, ToolSchema
from mcp_interface.tool import ToolInfo

FIND_TOOLS: Final = "find_tools"
"""No tool of a server can be called so: their names have two underscores or a digest."""
FEW_BYTES: Final = 48 * 1024
"""Definitions up to this size, about 12,000 tokens, are all shown."""
IN_REACH: Final = 64
"""Tools found or used before that are shown; the latest count."""
FOUND: Final = 8
"""Tools that one search brings."""
_SEARCH: Final = ToolSchema(
    name=FIND_TOOLS,
    description="Search the tools that are connected, by what they do. Not all are shown to you; what this finds "
    "can be called from your next step on.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words for what the tool should do, or its name"}
        },
        "required": ["query"],
    },
)


class Choice:
    """The tools of one moment, as a model sees them.

    Args:
        tools: All that are known.
    """

    def __init__(self, tools: Sequence[ToolInfo]) -> None:
        self.names = ToolNames(tools)
        self._tools = tools

    def shown(self, window: Sequence[ChatMessage]) -> list[ToolSchema]:
        """What goes to the model with what was said so far."""
        schemas = self.names.schemas()
        if sum(len(encode_json(schema)) for schema in schemas) <= FEW_BYTES:
            return schemas
        near = set(_in_reach(window))
        return [_SEARCH, *(schema for schema in schemas if schema.name in near)]

    def find(self, arguments: dict[str, Any]) -> str:
        """Answer a search, as JSON: names, servers and descriptions, the best first.

        Raises:
            CallerMistaken: There is no query.
        """
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            raise CallerMistaken(f"{FIND_TOOLS} needs a query of at least one word", 'give {"query": "…"}')
        found = search_tools(self._tools, query, FOUND)
        described = [
            {
                "name": self.names.name(tool.server, tool.name),
                "server": tool.server,
                "description": (tool.description or tool.title)[:500],
            }
            for tool in found
        ]
        return json.dumps({"tools": described, "of": len(self._tools)}, ensure_ascii=False)


def _in_reach(window: Sequence[ChatMessage]) -> list[str]:
    """Names that were found or used, the latest first, bounded."""
    searches = {use.id for said in window for use in said.tool_uses if use.name == FIND_TOOLS}
    names: dict[str, None] = {}
    for said in reversed(window):
        for use in said.tool_uses:
            names.setdefault(use.name)
        for output in said.tool_outputs:
            if output.tool_use_id in searches:
                for name in _found(output.text):
                    names.setdefault(name)
        if len(names) >= IN_REACH:
            break
    return list(names)[:IN_REACH]


def _found(text: str) -> list[str]:
    try:
        answer = json.loads(text)
        return [str(tool["name"]) for tool in answer["tools"]]
    except (ValueError, KeyError, TypeError):
        return []  # an error, or cut
