"""Every provider takes the same exam: in memory, and over a real socket with the vendors' own SDKs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_core.providers import choose, make_provider
from mcp_core.providers.fallback import FallbackProvider, Link
from mcp_interface.provider import (
    ChatMessage,
    Completion,
    Finished,
    ModelInfo,
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


@pytest.mark.parametrize("failing", [0, 2])
def test_a_chain_passes_the_exam_whichever_of_it_answers(failing: int) -> None:
    def link(provider: Provider, name: str) -> Link:
        return Link(provider=provider, model=name, info=ModelInfo(name=f"{name}:m", provider=name))

    @asynccontextmanager
    async def chain(last: list[dict[str, Any]], before: int = failing) -> AsyncIterator[Provider]:
        with scripted_model({"then": {"status": 401}}) as refusing, scripted_model(last) as answering:
            links = [link(make_provider(choose(refusing.environ("openai"))), "openai")] * before
            links.append(link(make_provider(choose(answering.environ("anthropic"))), "anthropic"))
            yield FallbackProvider(links)

    asyncio.run(
        check_provider(
            lambda: chain(ASKED),
            completion=COMPLETION,
            broken=lambda: chain([{"status": 401}] * 2),
        )
    )


def test_a_script_in_a_file_passes_the_exam(tmp_path: Path) -> None:
    call = {"tool": "read", "arguments": {"path": "/a"}}
    file = tmp_path / "exam.script.json"
    file.write_text(json.dumps({"answers": [{"text": "Let me see.", "calls": [call]}], "pause_s": 0.01}))

    @asynccontextmanager
    async def maker(path: Path) -> AsyncIterator[Provider]:
        yield make_provider(choose({}, f"scripted:{path}"))

    asyncio.run(
        check_provider(
            lambda: maker(file),
            completion=COMPLETION,
            broken=lambda: maker(tmp_path / "missing.script.json"),
        )
    )
