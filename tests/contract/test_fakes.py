"""Every exam over the fake that comes with it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp_interface.agent import Skill
from mcp_interface.capability import AuditEntry
from mcp_interface.client import Notice, ServerChanged
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import GetHealth
from mcp_interface.errors import NodeUnavailable, TooMuch
from mcp_interface.execution import StartExecution
from mcp_interface.ids import SessionId
from mcp_interface.provider import Chunk, Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.testing import (
    CountWords,
    DictRegistry,
    EchoAgent,
    FakeClient,
    FakeKernel,
    FakeNode,
    MemoryStore,
    ScriptedProvider,
    check_agent,
    check_client,
    check_journal,
    check_kernel,
    check_provider,
    check_registry,
    check_snapshots,
    check_store,
    check_tool,
)
from mcp_interface.testing.agents import EchoState
from mcp_interface.testing.samples import an_envelope

ANSWER: list[Chunk] = [TextChunk("Hel"), TextChunk("lo"), Finished(stop_reason="end")]
CALL: list[Chunk] = [
    ToolUseChunk(ToolUse(id="1", name="text__count_words", arguments={"text": "a b"})),
    Finished(stop_reason="tool_use"),
]


@asynccontextmanager
async def memory_store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    yield store
    await store.close()


@asynccontextmanager
async def kernel(clock: Clock, entropy: Entropy) -> AsyncIterator[FakeKernel]:
    yield FakeKernel(clock, entropy)


async def entries(kernel: FakeKernel) -> Sequence[AuditEntry]:
    return list(kernel.audit)


def break_records(kernel: FakeKernel) -> None:
    kernel.audit_broken = True


async def damage(store: MemoryStore, stream: str) -> None:
    store.damage_snapshot(stream)


@asynccontextmanager
async def echo_agent() -> AsyncIterator[EchoAgent]:
    yield EchoAgent()


@asynccontextmanager
async def registry() -> AsyncIterator[DictRegistry[object]]:
    yield DictRegistry()


@asynccontextmanager
async def count_words() -> AsyncIterator[CountWords]:
    yield CountWords()


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedProvider]:
    yield ScriptedProvider([ANSWER, CALL, ANSWER, ANSWER, CALL, ANSWER])


@asynccontextmanager
async def used_up() -> AsyncIterator[ScriptedProvider]:
    yield ScriptedProvider([])


@asynccontextmanager
async def again(old: Any) -> AsyncIterator[Any]:
    """A medium that lives in memory can only be opened again by not closing it."""
    yield old


class Stateless(EchoAgent):
    """An agent with nothing to remember, and a skill that needs a right."""

    def export_state(self, state: EchoState) -> Mapping[str, Any]:
        return {}

    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        return EchoState(greeting="", handled=0, rights=[])

    def skills(self) -> list[Skill]:
        return [Skill(name="search", required_permissions=["mcp://fs/read/home/**"])]


@asynccontextmanager
async def stateless() -> AsyncIterator[Stateless]:
    yield Stateless()


class CutsOffSlowReaders(FakeClient):
    """Ends a follow after a few records, as a full queue does, and lets something pass by in between."""

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        left = 7
        try:
            async for notice in super().follow(session_id, after):
                if left == 0:
                    raise TooMuch("too slow", "follow again from the last position")
                yield ServerChanged(name="fs", state="ready")
                yield notice
                left -= 1
        except NodeUnavailable:
            if left == 7:
                raise


class EntranceOfSlowReaders(FakeNode):
    def client(self) -> FakeClient:
        return CutsOffSlowReaders(self)


def test_the_memory_store_is_a_journal() -> None:
    asyncio.run(check_journal(memory_store))
    asyncio.run(check_journal(memory_store, reopen=again))


def test_the_memory_store_keeps_snapshots() -> None:
    asyncio.run(check_snapshots(memory_store))
    asyncio.run(check_snapshots(memory_store, damage=damage, reopen=again))


def test_the_memory_store_keeps_values() -> None:
    asyncio.run(check_store(memory_store))
    asyncio.run(check_store(memory_store, reopen=again))


def test_the_fake_kernel_is_a_security_kernel() -> None:
    asyncio.run(check_kernel(kernel))
    asyncio.run(check_kernel(kernel, reopen=again, entries=entries, break_records=break_records))


def test_the_echo_agent_is_an_agent() -> None:
    asyncio.run(check_agent(echo_agent, args={"greeting": "hello"}))
    asyncio.run(check_agent(echo_agent, envelopes=[an_envelope("only this")]))


def test_an_agent_may_have_no_state() -> None:
    asyncio.run(check_agent(stateless))


def test_the_dict_registry_is_a_registry() -> None:
    asyncio.run(check_registry(registry))
    asyncio.run(check_registry(registry, ref=lambda number: object()))


def test_the_word_counter_is_a_tool() -> None:
    bad: list[dict[str, object]] = [{}, {"text": 3}, {"text": "a", "lines": 1}]
    asyncio.run(check_tool(count_words, good={"text": "three small words"}, bad=bad))


def test_the_scripted_provider_is_a_provider() -> None:
    asyncio.run(check_provider(scripted))
    asyncio.run(check_provider(scripted, broken=used_up))


def test_the_fake_client_is_a_client() -> None:
    call = StartExecution(server="fake", tool="echo", arguments={"text": "hello"})
    asyncio.run(check_client(FakeNode, guarded=False, call=call))
    asyncio.run(check_client(lambda: FakeNode(stalled=(GetHealth,)), stalled=GetHealth()))


def test_a_client_may_cut_off_slow_readers() -> None:
    asyncio.run(check_client(EntranceOfSlowReaders))
