"""Messages over the official `anthropic` SDK: Anthropic itself and every compatible endpoint.

Imported late, by `selection.make_provider`. The format is in `anthropic_format`, the rest in `adapter`.
"""

from collections.abc import AsyncGenerator
from typing import Any, Final, cast

import anthropic
import httpx2
import msgspec
from anthropic.types import MessageDeltaUsage, RawMessageStreamEvent
from anthropic.types import Usage as MessageUsage

from mcp_core.providers import anthropic_format
from mcp_core.providers.adapter import MAX_MODELS, Adapter
from mcp_core.providers.arguments import MAX_TOOL_CALLS, Draft, settle, unused_id
from mcp_core.providers.cards import count_of
from mcp_core.providers.transport import TIMEOUT
from mcp_interface.clock import Clock
from mcp_interface.provider import Chunk, Completion, Finished, ModelInfo, TextChunk, ToolUseChunk, Usage

ANTHROPIC_URL: Final = "https://api.anthropic.com"
_PAGE: Final = 100


class AnthropicCompatible(Adapter):
    """A `Provider` that speaks messages.

    Args:
        base_url: Without `/v1`; empty is Anthropic itself.
        api_key: Empty for local servers.
        model: Empty takes the first of `/v1/models`.
        clock: Waits between attempts.
    """

    vendor = "anthropic"
    sdk_errors = (anthropic.AnthropicError,)

    def __init__(self, *, base_url: str = "", api_key: str = "", model: str = "", clock: Clock) -> None:
        super().__init__(base_url=base_url or ANTHROPIC_URL, api_key=api_key, model=model, clock=clock)

    def write(self, completion: Completion, model: str) -> dict[str, Any]:
        """Return the body of a request."""
        return anthropic_format.request(completion, model)

    async def offered(self, http: httpx2.AsyncClient) -> list[ModelInfo]:
        """List the endpoint's models."""
        found: list[ModelInfo] = []
        async for model in self._client(http).models.list(limit=_PAGE):
            told = ModelInfo(
                name=model.id,
                context_tokens=count_of(model.max_input_tokens),
                max_output_tokens=count_of(model.max_tokens),
            )
            found.append(told)
            if len(found) == MAX_MODELS:
                break
        return found

    async def answer(
        self, http: httpx2.AsyncClient, body: dict[str, Any], known: set[str]
    ) -> AsyncGenerator[Chunk, None]:
        """Send a body and read the answer; ends without `Finished` when the answer was cut off."""
        reading = _Reading(known)
        created = await self._client(http).messages.create(**body)
        async with cast("anthropic.AsyncStream[RawMessageStreamEvent]", created) as events:
            async for event in events:
                if text := reading.take(event):
                    yield TextChunk(text)
        for chunk in reading.finish():
            yield chunk

    def _client(self, http: httpx2.AsyncClient) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            api_key=self._api_key, base_url=self._base_url, http_client=http, timeout=TIMEOUT, max_retries=0
        )


class _Reading:
    """What has been read of one answer."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._drafts: dict[int, Draft] = {}
        self._reported = ""
        self._model = ""
        self._fresh = 0
        self._cached = 0
        self._written = 0
        self._output_tokens = 0

    def take(self, event: RawMessageStreamEvent) -> str:
        """Note one event and return the text in it."""
        if event.type == "message_start":
            self._model = event.message.model or ""
            self._count(event.message.usage)
        elif event.type == "content_block_start":
            block = event.content_block
            if block.type == "text":
                return block.text or ""
            if block.type == "tool_use" and len(self._drafts) < MAX_TOOL_CALLS:
                draft = self._drafts[event.index] = Draft(unused_id(block.id, self._known), block.name or "")
                if block.input:  # a compatible server that does not send the arguments in pieces
                    draft.add(msgspec.json.encode(block.input).decode())
        elif event.type == "content_block_delta":
            if event.delta.type == "text_delta":
                return event.delta.text or ""
            if event.delta.type == "input_json_delta" and event.index in self._drafts:
                self._drafts[event.index].add(event.delta.partial_json or "")
        elif event.type == "message_delta":
            self._reported = event.delta.stop_reason or self._reported
            self._count(event.usage)
        return ""

    def finish(self) -> list[Chunk]:
        """Return the tool calls and the end; nothing when no end was reported."""
        if not self._reported:
            return []
        cut = self._reported == "max_tokens"
        reason, uses = settle(
            anthropic_format.stop_reason(self._reported),
            [draft.finish(cut=cut) for _, draft in sorted(self._drafts.items())],
        )
        usage = Usage(
            input_tokens=self._fresh + self._cached + self._written,
            output_tokens=self._output_tokens,
            cached_tokens=self._cached,
            cache_written_tokens=self._written,
        )
        end = Finished(stop_reason=reason, model=self._model, usage=usage)
        return [*(ToolUseChunk(use) for use in uses), end]

    def _count(self, usage: MessageUsage | MessageDeltaUsage | None) -> None:
        # What is read from or written to the vendor's cache is not in its `input_tokens`. Later counts replace earlier
        # ones, and what a later one leaves out stays.
        if usage is None:
            return
        self._fresh = usage.input_tokens or self._fresh
        self._cached = usage.cache_read_input_tokens or self._cached
        self._written = usage.cache_creation_input_tokens or self._written
        self._output_tokens = usage.output_tokens or self._output_tokens
