"""The exam of a `Provider`: chunks in order, one end, refusals that say what to set."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from mcp_interface.codec import decode_json, encode_json
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import ChatMessage, Chunk, Completion, Finished, Provider, TextChunk, ToolUseChunk
from mcp_interface.testing.exams.asserting import refuses, within

COMPLETIONS: Final = 6
"""How many completions the exam asks for."""
QUESTION: Final = Completion(model="", messages=[ChatMessage(role="user", text="Say something.")])


async def check_provider(
    maker: Callable[[], AbstractAsyncContextManager[Provider]],
    *,
    completion: Completion = QUESTION,
    broken: Callable[[], AbstractAsyncContextManager[Provider]] | None = None,
) -> None:
    """Examine a provider.

    Args:
        maker: Opens a provider that can answer `COMPLETIONS` times.
        completion: What to ask.
        broken: Opens a provider whose endpoint refuses; None leaves refusals unexamined.

    Raises:
        AssertionError: Names the broken promise.
    """
    async with maker() as provider:
        assert provider.name, "a provider has a name"
        await within(_offers_models(provider), "check_provider.offers_models")
        for _ in range(2):
            await within(_answers(provider, completion), "check_provider.answers")
        await within(_can_be_left(provider, completion), "check_provider.can_be_left")
        await within(_answers_at_once(provider, completion), "check_provider.answers_at_once")
    if broken is not None:
        async with broken() as provider:
            await within(_says_what_to_set(provider, completion), "check_provider.says_what_to_set")


async def _offers_models(provider: Provider) -> None:
    models = await provider.models()
    assert models and all(models), f"it offers at least one model by name: {models}"
    assert len(set(models)) == len(models), f"it offers no model twice: {models}"


async def _answers(provider: Provider, completion: Completion) -> None:
    chunks = [chunk async for chunk in provider.stream(completion)]
    _check_chunks(chunks)


def _check_chunks(chunks: list[Chunk]) -> None:
    assert chunks and isinstance(chunks[-1], Finished), f"Finished is the last chunk: {chunks}"
    end, body = chunks[-1], chunks[:-1]
    assert not any(isinstance(chunk, Finished) for chunk in body), "there is exactly one Finished"
    for chunk in chunks:
        assert decode_json(encode_json(chunk), Chunk) == chunk, f"a chunk survives the wire: {chunk}"
    assert all(chunk.text for chunk in body if isinstance(chunk, TextChunk)), "no piece of text is empty"
    uses = [chunk.tool_use for chunk in body if isinstance(chunk, ToolUseChunk)]
    assert all(use.id and use.name for use in uses), f"a tool call has an id and a name: {uses}"
    assert len({use.id for use in uses}) == len(uses), f"every tool call has its own id: {uses}"
    if uses:
        assert end.stop_reason in {"tool_use", "length"}, f"tool calls end with {end.stop_reason!r}"
    else:
        assert end.stop_reason != "tool_use", "it stopped for a tool that it did not call"
    assert min(end.usage.input_tokens, end.usage.output_tokens) >= 0, f"tokens are counted: {end.usage}"


async def _can_be_left(provider: Provider, completion: Completion) -> None:
    stream = provider.stream(completion)
    await anext(stream)
    close = getattr(stream, "aclose", None)
    assert close is not None, "a stream can be closed, which cancels the request"
    await close()
    left = [chunk async for chunk in stream]
    assert left == [], "a closed stream gives nothing more"
    await _answers(provider, completion)


async def _answers_at_once(provider: Provider, completion: Completion) -> None:
    await asyncio.gather(_answers(provider, completion), _answers(provider, completion))


async def _says_what_to_set(provider: Provider, completion: Completion) -> None:
    for _ in range(2):
        with refuses(ModelUnavailable, what="asking an endpoint that refuses") as caught:
            await _answers(provider, completion)
        assert caught.error.remedy, "ModelUnavailable says what to set"
