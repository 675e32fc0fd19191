"""Chat completions over the official `openai` SDK: OpenAI itself, Ollama, vLLM, llama.cpp and all compatibles.

Imported late, by `selection.make_provider`. The format is in `openai_format`, the rest in `adapter`.
"""

from collections.abc import AsyncGenerator
from typing import Any, Final, cast

import httpx2
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from mcp_core.providers import openai_format
from mcp_core.providers.adapter import MAX_MODELS, Adapter
from mcp_core.providers.addresses import is_official
from mcp_core.providers.arguments import settle
from mcp_core.providers.cards import count_of
from mcp_core.providers.transport import TIMEOUT
from mcp_interface.clock import Clock
from mcp_interface.provider import Chunk, Completion, Finished, ModelInfo, TextChunk, ToolUseChunk, Usage

OPENAI_URL: Final = "https://api.openai.com/v1"


class OpenAICompatible(Adapter):
    """A `Provider` that speaks chat completions.

    Args:
        base_url: Usually ends in `/v1`; empty is OpenAI itself.
        api_key: Empty for local servers.
        model: Empty takes the first of `/v1/models`, except at OpenAI itself, which lists far more than
            chat models and charges for each.
        clock: Waits between attempts.
    """

    vendor = "openai"
    sdk_errors = (openai.OpenAIError,)

    def __init__(self, *, base_url: str = "", api_key: str = "", model: str = "", clock: Clock) -> None:
        super().__init__(base_url=base_url or OPENAI_URL, api_key=api_key, model=model, clock=clock)
        self._official = is_official(self.vendor, self._base_url)

    def write(self, completion: Completion, model: str) -> dict[str, Any]:
        """Return the body of a request."""
        return openai_format.request(completion, model, modern=self._official)

    def pick(self, offered: list[str]) -> str:
        """Take the first, but none at OpenAI itself."""
        return "" if self._official else super().pick(offered)

    async def offered(self, http: httpx2.AsyncClient) -> list[ModelInfo]:
        """List the endpoint's models; some compatible servers say how much each reads, under names of their own."""
        found: list[ModelInfo] = []
        async for model in self._client(http).models.list():
            if self._official and openai_format.speaks_otherwise(model.id):
                continue
            more = model.model_extra or {}
            context = count_of(more.get("context_length")) or count_of(more.get("max_model_len"))
            found.append(ModelInfo(name=model.id, context_tokens=context))
            if len(found) == MAX_MODELS:
                break
        return found

    async def answer(
        self, http: httpx2.AsyncClient, body: dict[str, Any], known: set[str]
    ) -> AsyncGenerator[Chunk, None]:
        """Send a body and read the answer; ends without `Finished` when the answer was cut off."""
        reading = _Reading(known)
        created = await self._client(http).chat.completions.create(**body)
        async with cast("openai.AsyncStream[ChatCompletionChunk]", created) as events:
            async for event in events:
                if text := reading.take(event):
                    yield TextChunk(text)
        for chunk in reading.finish():
            yield chunk

    def _client(self, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key=self._api_key, base_url=self._base_url, http_client=http, timeout=TIMEOUT, max_retries=0
        )


class _Reading:
    """What has been read of one answer."""

    def __init__(self, known: set[str]) -> None:
        self._calls = openai_format.Calls(known)
        self._reported = ""
        self._refusal = False
        self._model = ""
        self._usage = Usage()

    def take(self, event: ChatCompletionChunk) -> str:
        """Note one event and return the text in it."""
        self._model = event.model or self._model
        if event.usage is not None:
            self._usage = _usage(event.usage)
        text = ""
        for choice in (event.choices or [])[:1]:
            self._reported = choice.finish_reason or self._reported
            delta = choice.delta
            text = delta.content or ""
            if delta.refusal:
                self._refusal = True
                text += delta.refusal
            for call in delta.tool_calls or []:
                function = call.function
                self._calls.add(
                    call.index,
                    call.id or "",
                    (function.name if function else "") or "",
                    (function.arguments if function else "") or "",
                )
        return text

    def finish(self) -> list[Chunk]:
        """Return the tool calls and the end; nothing when no end was reported."""
        if not self._reported:
            return []
        reason, uses = settle(
            openai_format.stop_reason(self._reported, refusal=self._refusal),
            self._calls.finish(cut=self._reported == "length"),
        )
        end = Finished(stop_reason=reason, model=self._model, usage=self._usage)
        return [*(ToolUseChunk(use) for use in uses), end]


def _usage(counted: CompletionUsage) -> Usage:
    """What was counted; the parts are bounded by the whole, which not every server keeps to."""
    details = counted.prompt_tokens_details
    whole = counted.prompt_tokens or 0
    cached = min(whole, (details.cached_tokens or 0) if details else 0)
    written = min(whole - cached, (details.cache_write_tokens or 0) if details else 0)
    return Usage(
        input_tokens=whole,
        output_tokens=counted.completion_tokens or 0,
        cached_tokens=cached,
        cache_written_tokens=written,
    )
