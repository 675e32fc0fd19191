"""Commands about conversations as such: finding, bringing in, trying again, and what they cost."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mcp_interface.budget import Spent
from mcp_interface.clock import Instant
from mcp_interface.commands import Command, Limit, Page
from mcp_interface.ids import SessionId
from mcp_interface.provider import ModelInfo
from mcp_interface.session import Session


class FoundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that fits a search."""

    session_id: SessionId
    title: str
    """Of the session."""
    version: int
    """Of the event in the session; a fork can begin there."""
    role: Literal["user", "assistant"]
    at: Instant
    snippet: str
    """The part that fits, with the words between U+0002 and U+0003."""


class SearchMessages(Command[Page[FoundMessage]], frozen=True, kw_only=True, tag="session.search"):
    """Search what was said in all sessions of the caller, best first."""

    text: str
    """Words that all have to be there; the last one may be a beginning."""
    session_id: SessionId | None = None
    """Only in this one."""
    limit: Limit = 20
    cursor: str | None = None


class ImportedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message from elsewhere."""

    role: Literal["user", "assistant"]
    content: str
    timestamp: Instant | None = None
    """None: now."""


class ImportSession(Command[Session], frozen=True, kw_only=True, tag="session.import"):
    """Begin a session with messages from elsewhere; it is the caller's, whoever said what is in it."""

    messages: Annotated[list[ImportedMessage], Meta(min_length=1, max_length=100_000)]
    title: str = ""
    metadata: dict[str, str] = {}


class RetryTurn(Command[None], frozen=True, kw_only=True, tag="session.retry"):
    """Let the assistant answer the last message once more, as its turn failed, was cancelled or cut off.

    What it had said by then stays in the history; the model does not see it again.
    """

    session_id: SessionId


class CompactWindow(Command[None], frozen=True, kw_only=True, tag="session.compact"):
    """Replace what the model sees of the older part of a conversation by a summary, now."""

    session_id: SessionId


class WindowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How full a model's window is with a conversation."""

    tokens: int
    """About so many would be sent with the next message."""
    context_tokens: int | None
    """So many the model takes; None: not known."""
    messages: int
    """That the model sees."""
    left_out: int
    """Older ones that it does not see any more, or only in a summary."""


class GetWindow(Command[WindowStatus], frozen=True, kw_only=True, tag="session.window"):
    """How full the window of a session is."""

    session_id: SessionId


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent under one name."""

    key: str
    """A session's id, a model's name, or a day as 2026-11-22 in UTC."""
    title: str = ""
    """Of the session."""
    spent: Spent


class GetUsage(Command[list[UsageRow]], frozen=True, kw_only=True, tag="usage.get"):
    """What the caller's sessions have spent on models, the most first; days the latest first."""

    by: Literal["session", "model", "day"] = "model"
    since: Instant | None = None
    session_id: SessionId | None = None


class ListModels(Command[list[ModelInfo]], frozen=True, kw_only=True, tag="model.list"):
    """Models that a session can choose now: of every endpoint that is configured or found on this machine."""
