"""Every provider takes the same exam: in memory, and over a real socket with the vendors' own SDKs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_core.providers import choose, make_provider
from mcp_interface.provider import (
    ChatMessage,
    Completion,
    Finished,
    Provider,
    TextChunk,
    ToolSchema,
    ToolUse,
    ToolUseChunk,
)
from mcp_interface.testing import ScriptedProvider, check_provider
from scripted_model import scripted_model

CALL = ToolUseChunk(ToolUse(id="a", name="fs__read_file", arguments={"path": "/a"}))
TOOL = ToolSchema(name="fs__read_file", description="Reads.", parameters={"type": "object", "properties": {}})
COMPLETION = Completion(model="", messages=[ChatMessage(role="user", text="Say something.")], tools=[TOOL])

SPOKEN: dict[str, Any] = {"text": "Something to say.", "chunk_delay": 0.02}
CALLED: dict[str, Any] = {
    "text": "Looking.",
    "tool_call": {"name_contains": "read", "arguments": {"path": "/a"}},
}
ASKED = [SPOKEN, CALLED, SPOKEN, CALLED, SPOKEN, CALLED]


def test_the_scripted_provider_passes_the_exam() -> None:
    spoken = [TextChunk("Something"), TextChunk(" to say."), Finished(stop_reason="end")]
    called = [TextChunk("Looking."), CALL, Finished(stop_reason="tool_use")]

    @asynccontextmanager
    async def maker() -> AsyncIterator[Provider]:
        yield ScriptedProvider([spoken, called] * 3)

    @asynccontextmanager
    async def broken() -> AsyncIterator[Provider]:
        yield ScriptedProvider([])

    asyncio.run(check_provider(maker, completion=COMPLETION, broken=broken))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_an_adapter_passes_the_exam(vendor: str) -> None:
    @asynccontextmanager
    async def opened(steps: list[dict[str, Any]]) -> AsyncIterator[Provider]:
        with scripted_model(steps) as model:
            yield make_provider(choose(model.environ(vendor)))

    asyncio.run(
        check_provider(
            lambda: opened(ASKED),
            completion=COMPLETION,
            broken=lambda: opened([{"status": 401}] * 2),
        )
    )
