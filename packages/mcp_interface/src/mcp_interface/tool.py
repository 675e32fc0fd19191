"""What a tool is: a described, validated action that names the rights it needs.

First-party tools (`mcp_core.tools`) need rights on the very thing they touch; a tool of an MCP server needs
`mcp://tool/execute/<server>/<tool>`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from mcp_interface.capability import Need, Verdict
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId


class ToolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as offered to people and models."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}
    """JSON Schema of the arguments."""
    required_capabilities: list[str] = []
    """Resource URI patterns; the concrete ones depend on the arguments."""
    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    output_schema: dict[str, Any] | None = None


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool gave back."""

    content: list[dict[str, Any]] = []
    """Content blocks in MCP's wire form: text, image, audio, resource, resource_link."""
    structured: Any = None
    is_error: bool = False

    @property
    def text(self) -> str:
        """The text blocks, joined by newlines; other blocks named in brackets."""
        return "\n".join(
            str(block.get("text", "")) if block.get("type") == "text" else f"[{block.get('type', 'unknown')}]"
            for block in self.content
        )


def text_result(text: str, *, is_error: bool = False) -> ToolResult:
    """Wrap plain text as a result."""
    return ToolResult(content=[{"type": "text", "text": text}], is_error=is_error)


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Under which circumstances a tool runs."""

    execution_id: ExecutionId
    principal_id: PrincipalId
    session_id: SessionId | None = None
    verdicts: list[Verdict] = []
    """The allow of each right from `Tool.needs`, in that order."""
    progress: Callable[[float, str], Awaitable[None]] | None = None
    """Report 0 to 100 and a message; never journaled."""


class Tool(Protocol):
    """Behaviour of a tool."""

    def info(self) -> ToolInfo:
        """Describe the tool."""
        ...

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check the arguments; always runs before `needs` and `execute`.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        ...

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The concrete rights that these arguments need; never empty."""
        ...

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Do it. A failure of the task itself is a result with `is_error`.

        Raises:
            UmbrellaError: The world broke or the caller was mistaken.
        """
        ...
