"""A small real tool: it counts words and touches nothing."""

from collections.abc import Sequence
from typing import Any

from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult


class CountWords:
    """Counts the words of a text, on the server `text`."""

    def info(self) -> ToolInfo:
        """Describe the tool."""
        return ToolInfo(
            server="text",
            name="count_words",
            title="Count words",
            description="Count the words of a text.",
            parameters={
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
                "additionalProperties": False,
            },
            required_capabilities=[tool_resource("text", "count_words").uri],
            read_only=True,
            destructive=False,
            idempotent=True,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check that there is exactly a text; see `Tool.validate_args`."""
        unknown = sorted(args.keys() - {"text"})
        if unknown:
            raise CallerMistaken(f"count_words knows no argument {unknown[0]!r}", "give only 'text'")
        if not isinstance(args.get("text"), str):
            raise CallerMistaken("count_words needs 'text' to be a string", "give the text to count")

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to run this tool with these arguments."""
        return [Need(tool_resource("text", "count_words"), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Count; an empty text has no words."""
        words = len(args["text"].split())
        if context.progress is not None:
            await context.progress(100.0, "counted")
        return ToolResult(content=[{"type": "text", "text": str(words)}], structured={"words": words})
