"""What a language model is to us: a request in, chunks out. Adapters: `mcp_core.providers`."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """The model wants a tool to run."""

    id: str
    """The model's own call id; the result must carry it."""
    name: str
    arguments: dict[str, Any]
    problem: str = ""
    """Why the arguments could not be read; the model is told instead of the tool being run."""


class ToolOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one `ToolUse`, for the model to read."""

    tool_use_id: str
    text: str
    is_error: bool = False


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of what the model sees."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    tool_uses: list[ToolUse] = []
    tool_outputs: list[ToolOutput] = []


class ToolSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the model sees it; the name fits `[A-Za-z0-9_-]{1,64}`."""

    name: str
    description: str
    parameters: dict[str, Any]


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model."""

    model: str
    """Empty: the provider's default."""
    system: str = ""
    messages: Sequence[ChatMessage] = ()
    tools: Sequence[ToolSchema] = ()
    max_tokens: int = 4096


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens that were counted by the provider."""

    input_tokens: int = 0
    output_tokens: int = 0


class TextChunk(msgspec.Struct, frozen=True, tag="text"):
    """A piece of the answer's text."""

    text: str


class ToolUseChunk(msgspec.Struct, frozen=True, tag="tool_use"):
    """A whole tool call, once its arguments are complete."""

    tool_use: ToolUse


StopReason = Literal["end", "tool_use", "length", "refused", "other"]
"""Why an answer ended."""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """Always the last chunk."""

    stop_reason: StopReason
    model: str = ""
    usage: Usage = Usage()


Chunk = TextChunk | ToolUseChunk | Finished


class Provider(Protocol):
    """A source of completions."""

    name: str

    def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        """Stream one answer; ends with exactly one `Finished`. Closing the iterator cancels the request.

        Raises:
            ModelUnavailable: The endpoint refused or cannot be reached; the message says what to set.
        """
        ...

    async def models(self) -> list[str]:
        """Names that the endpoint offers, the default first.

        Raises:
            ModelUnavailable: As `stream`.
        """
        ...
