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
    """Tokens as the provider counts them; where it did not, as of an answer that was cut off, estimated."""

    input_tokens: int = 0
    """All that the model read, from a cache or not."""
    output_tokens: int = 0
    cached_tokens: int = 0
    """Those of the input that the provider had in its cache, and charges less for."""
    cache_written_tokens: int = 0
    """Those of the input that went into its cache, and that it charges more for."""


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
    provider: str = ""
    """Which one answered, where there is a choice of several."""


Chunk = TextChunk | ToolUseChunk | Finished


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model: from the owner's settings, else from a built-in table, else from its endpoint."""

    name: str
    """As a session's `model` names it, with its provider's prefix."""
    provider: str = ""
    context_tokens: int | None = None
    """Tokens that it reads and writes together; None: not known."""
    max_output_tokens: int | None = None
    """Most that one answer has; None: not known."""
    input_price: float | None = None
    """US dollars for a million tokens read; None: not known, which is not the same as nothing."""
    output_price: float | None = None
    cached_price: float | None = None
    """For tokens that come from the provider's cache; None: as `input_price`."""
    cache_write_price: float | None = None
    """For tokens that go into it; None: as `input_price`."""
    default: bool = False
    """Whether a session that names none gets this one."""


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
