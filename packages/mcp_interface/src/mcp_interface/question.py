"""What a tool that is running wants to know, and from whom: forms, links to follow, a model's words, folders.

A tool asks with `ToolContext.ask`. The node makes each `Inquiry` a `Question`, journals it, and shows it to
everybody who may answer; it outlives the client that began the call, and the process. What an agent may do is
another matter, see `approval`.

Source: Model Context Protocol 2026-07-28, multi-round-trip requests (SEP-2322), and elicitation of 2025-11-25.
"""

from typing import Any, Literal

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.ids import ExecutionId, PrincipalId, QuestionId, SessionId

InquiryKind = Literal["form", "url", "sampling", "roots"]
"""form: fill in fields; url: open a page and do something there; sampling: let a model of yours say something;
roots: which folders may be worked in."""


class Inquiry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a tool wants to know."""

    key: str
    """By which the tool tells its inquiries apart."""
    kind: InquiryKind
    message: str = ""
    """For a person."""
    schema: dict[str, Any] = {}
    """JSON Schema of the fields of a form: a flat object of simple types."""
    url: str = ""
    """What a person is asked to open."""
    params: dict[str, Any] = {}
    """Of a wish for a model's words, in MCP's wire form."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one inquiry."""

    action: Literal["accept", "decline", "cancel"]
    """decline: asked and refused; cancel: not answered, as when time is up."""
    content: dict[str, Any] | None = None
    """With `accept`: the fields of the form; of a model's words or of folders, MCP's result in its wire form."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """An inquiry that is journaled and waits."""

    id: QuestionId
    session_id: SessionId
    execution_id: ExecutionId
    principal_id: PrincipalId
    """Who began the call, and may answer beside the owner of the session."""
    server: str
    tool: str
    inquiry: Inquiry
    asked_at: Instant
    expires_at: Instant
    """Unanswered by then means `cancel`."""
    again: bool = False
    """The tool that asked is gone, with whatever it had done by then; who accepts has the whole call sent again."""
