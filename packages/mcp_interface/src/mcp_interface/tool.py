"""What a tool is: a described, validated action that names the rights it needs.

First-party tools (`mcp_core.tools`) need rights on the very thing they touch; a tool of an MCP server needs
`mcp://tool/execute/<server>/<tool>`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from mcp_interface.capability import Need, Verdict
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId
from mcp_interface.question import Inquiry, InquiryKind, Response


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
    open_world: bool = True
    """Whether it deals with more than what is known beforehand, as a web search does."""
    output_schema: dict[str, Any] | None = None
    icons: list[dict[str, Any]] = []
    """In MCP's wire form."""
    meta: dict[str, Any] = {}
    """What its server says beside; nothing is decided by it."""
    task_support: Literal["", "forbidden", "optional", "required"] = ""
    """Whether a call may or has to go on as a task, by what its server says; empty: it says nothing."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool gave back."""

    content: list[dict[str, Any]] = []
    """Content blocks in MCP's wire form: text, image, audio, resource, resource_link."""
    structured: Any = None
    is_error: bool = False
    meta: dict[str, Any] = {}

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


class ToolLog(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a tool says while it runs, for whoever looks on."""

    level: str
    """debug, info, notice, warning, error, critical, alert or emergency."""
    data: Any = None
    logger: str = ""


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call that a process before this one had begun."""

    handle: str = ""
    """The last that `ToolContext.keep` or `ask` was given."""
    responses: dict[str, Response] = {}
    """To what was asked last, by key."""


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Under which circumstances a tool runs."""

    execution_id: ExecutionId
    principal_id: PrincipalId
    session_id: SessionId | None = None
    verdicts: list[Verdict] = []
    """The allow of each right from `Tool.needs`, in that order."""
    progress: Callable[[float, str], Awaitable[None]] | None = None
    """Report 0 to 100 and a message; never journaled."""
    log: Callable[[ToolLog], None] | None = None
    """Say something to whoever looks on; never journaled."""
    answers: frozenset[InquiryKind] = frozenset()
    """What `ask` may be asked: kinds that somebody behind this call can answer."""
    ask: Callable[[Sequence[Inquiry], str], Awaitable[dict[str, Response]]] | None = None
    """Ask whoever is behind the call, all at once, and wait, for hours if need be; the answers by key.

    The second argument is a handle with which the call can be resumed by another process; empty when the tool
    knows none. Both are durable before anybody is asked. Raises `CallerMistaken` for a kind nobody can answer.
    """
    keep: Callable[[str], Awaitable[None]] | None = None
    """Make a handle durable by which another process can resume this call, as a remote task's id."""
    resumption: Resumption | None = None
    """Given when a process before this one began the call."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a call would change."""

    summary: str
    """In one line."""
    diff: str = ""
    """Of text, in unified form; empty where there is none."""
    cut: int = 0
    """Lines of the diff that are left out."""


@runtime_checkable
class Previews(Protocol):
    """What a `Tool` may be able to do beside."""

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """Tell what a call would change, without changing anything; None where that cannot be told.

        Args:
            args: Checked.
            context: Of whoever is asked, who sees the preview: it shows only what that person may read.
        """
        ...


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
