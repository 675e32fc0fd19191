"""Broken agents and tools that the exams find."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from broken_fakes import assert_found, opening
from mcp_interface.address import parse_resource
from mcp_interface.agent import Ok, Reply, Skill, Stop
from mcp_interface.capability import Need
from mcp_interface.envelope import Envelope
from mcp_interface.errors import (
    UmbrellaError,
)
from mcp_interface.provider import Chunk, Completion, Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.testing import (
    CountWords,
    DictRegistry,
    EchoAgent,
    ScriptedProvider,
    check_agent,
    check_provider,
    check_registry,
    check_tool,
)
from mcp_interface.testing.agents import EchoState
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult


class Declines(EchoAgent):
    async def init(self, args: Mapping[str, Any]) -> Stop[EchoState]:
        return Stop("no")


class ExportsObjects(EchoAgent):
    def export_state(self, state: EchoState) -> Mapping[str, Any]:
        return {**super().export_state(state), "when": (1, 2)}


class ForgetsItsCount(EchoAgent):
    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        return super().import_state({**data, "handled": 0})


class AcceptsGarbage(EchoAgent):
    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        try:
            return super().import_state(data)
        except UmbrellaError:
            return EchoState(greeting="", handled=0, rights=[])


class HasTwins(EchoAgent):
    def skills(self) -> list[Skill]:
        return super().skills() * 2


class RemembersOutsideItsState(EchoAgent):
    count = 0

    async def handle_message(self, envelope: Envelope, state: EchoState) -> Reply[EchoState]:
        RemembersOutsideItsState.count += 1
        return Reply(RemembersOutsideItsState.count, state)


class StopsAtNothing(EchoAgent):
    async def handle_message(self, envelope: Envelope, state: EchoState) -> Any:
        return Ok(state) if envelope.payload else Stop("nothing to say", state)


@pytest.mark.parametrize(
    "agent",
    [
        Declines,
        ExportsObjects,
        ForgetsItsCount,
        AcceptsGarbage,
        HasTwins,
        RemembersOutsideItsState,
        StopsAtNothing,
    ],
)
def test_check_agent_finds(agent: type[EchoAgent]) -> None:
    assert_found(check_agent, agent)


class OverwritesNames(DictRegistry[Any]):
    def register(self, name: str, ref: Any, metadata: Mapping[str, Any]) -> None:
        self.unregister(name)
        super().register(name, ref, metadata)


class MissesFalsyRefs(DictRegistry[Any]):
    def lookup(self, name: str) -> Any:
        found = super().lookup(name)
        return found if found and found.ref else None


class ListsByName(DictRegistry[Any]):
    def list_by_type(self, type: str) -> Sequence[Any]:
        return sorted(super().list_by_type(type), key=lambda entry: entry.name)


class ForgetsToForget(DictRegistry[Any]):
    def unregister(self, name: str) -> None:
        self._by_name.pop(name, None)


@pytest.mark.parametrize("registry", [OverwritesNames, MissesFalsyRefs, ListsByName, ForgetsToForget])
def test_check_registry_finds(registry: type[DictRegistry[Any]]) -> None:
    assert_found(check_registry, registry)


class AcceptsAnything(CountWords):
    def validate_args(self, args: dict[str, Any]) -> None:
        return None


class NeedsNothing(CountWords):
    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return []


class NeedsTooMuch(CountWords):
    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(parse_resource("mcp://tool/execute/**"))]


class EatsItsArguments(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        result = await super().execute(args, context)
        args.clear()
        return result


class OverdoesIt(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        if context.progress is not None:
            await context.progress(250.0, "more than done")
        return await super().execute(args, context)


class LooksHarmless(CountWords):
    def info(self) -> ToolInfo:
        return msgspec.structs.replace(super().info(), destructive=True)


class ReturnsPythonObjects(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(content=[{"type": "text", "text": "2"}], structured=(2,))


@pytest.mark.parametrize(
    "tool",
    [
        AcceptsAnything,
        NeedsNothing,
        NeedsTooMuch,
        EatsItsArguments,
        OverdoesIt,
        LooksHarmless,
        ReturnsPythonObjects,
    ],
)
def test_check_tool_finds(tool: type[CountWords]) -> None:
    assert_found(check_tool, tool, good={"text": "two words"}, bad=[{}])


END = Finished(stop_reason="end")
CALL = ToolUseChunk(ToolUse(id="1", name="count", arguments={}))


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [TextChunk("no end")],
        [END, END],
        [END, TextChunk("too late")],
        [TextChunk(""), END],
        [CALL, END],
        [CALL, CALL, Finished(stop_reason="tool_use")],
        [TextChunk("no call"), Finished(stop_reason="tool_use")],
    ],
)
def test_check_provider_finds_bad_answers(answer: list[Chunk]) -> None:
    assert_found(check_provider, lambda: ScriptedProvider([answer] * 6))


class OffersNothing(ScriptedProvider):
    async def models(self) -> list[str]:
        return []


class CannotBeLeft(ScriptedProvider):
    def stream(self, completion: Completion) -> Any:
        inner = super().stream(completion)

        class Endless:
            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> Chunk:
                return await anext(inner)

        return Endless()


@pytest.mark.parametrize("provider", [OffersNothing, CannotBeLeft])
def test_check_provider_finds(provider: type[ScriptedProvider]) -> None:
    assert_found(check_provider, lambda: provider([[TextChunk("hi"), END]] * 6))


def test_check_provider_finds_an_endpoint_that_is_not_broken() -> None:
    def fine() -> ScriptedProvider:
        return ScriptedProvider([[TextChunk("hi"), END]] * 6)

    assert_found(check_provider, fine, broken=opening(fine))
