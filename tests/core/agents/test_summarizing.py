"""A conversation that outgrows its model goes on: by a summary, or without its oldest part."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcp_core.agents.summarizing import transcript
from mcp_interface.budget import Budget
from mcp_interface.commands import ChangeSession, CreateSession, ForkSession, PostMessage
from mcp_interface.conversing import CompactWindow, GetWindow
from mcp_interface.errors import ModelUnavailable, NotFound, TooMuch, WrongState
from mcp_interface.events import AssistantMessage, TurnEnded, WindowCompacted
from mcp_interface.ids import PrincipalId, SessionId, new_id
from mcp_interface.provider import (
    ChatMessage,
    Chunk,
    Completion,
    Finished,
    ModelInfo,
    TextChunk,
    ToolOutput,
    ToolUse,
    Usage,
)
from mcp_interface.testing import MemoryStore, SeededEntropy

STRANGER = PrincipalId(new_id("user", SeededEntropy(78)))


class Small:
    """A model that counts, refuses what is too long, and can summarise."""

    name = "small"

    def __init__(self, takes: int, *, summarises: bool = True) -> None:
        self.takes = takes
        self.asked: list[Completion] = []
        self.refused = 0
        self._summarises = summarises

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        size = len(completion.system) + sum(len(message.text) for message in completion.messages)
        if size // 4 + completion.max_tokens > self.takes:
            self.refused += 1
            raise ModelUnavailable("the prompt is too long", "say less", {"kind": "too_long"})
        self.asked.append(completion)
        usage = Usage(input_tokens=size // 4, output_tokens=5)
        if "older part of a conversation" in completion.system:
            if not self._summarises:
                raise ModelUnavailable("no summaries today", "try again")
            yield TextChunk(f"SUMMARY {len(self.asked)}")
        else:
            yield TextChunk(f"answer {len(self.asked)} " + "b" * 400)
        yield Finished(stop_reason="end", model="small", usage=usage)

    async def models(self) -> list[str]:
        return ["small"]

    @property
    def summaries(self) -> int:
        return sum("older part of a conversation" in each.system for each in self.asked)


async def talk(house: Any, session_id: SessionId, times: int) -> list[Any]:
    """Say something so often; the ends of the turns."""
    for number in range(times):
        before = await _ends(house, session_id)
        text = f"question {number} " + "q" * 800
        await house.commands.post(house.owner, PostMessage(session_id=session_id, text=text))
        async with asyncio.timeout(10):
            while len(await _ends(house, session_id)) == len(before):
                await asyncio.sleep(0.005)
    return await _ends(house, session_id)


async def _ends(house: Any, session_id: SessionId) -> list[Any]:
    return [each for each in await _events(house, session_id) if isinstance(each, TurnEnded)]


async def _events(house: Any, session_id: SessionId) -> list[Any]:
    return [record.event for record in await house.journal.read(f"session:{session_id}", limit=1000)]


def test_a_long_conversation_goes_on_with_summaries_and_its_window_stays_small(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            model = house.provider = Small(4_000)
            house.info = ModelInfo(name="small", context_tokens=4_000, max_output_tokens=500)
            session = await house.commands.create(house.owner, CreateSession())
            ends = await talk(house, session.id, 24)
            assert {each.status for each in ends} == {"completed"}, ends
            assert model.refused == 0
            events = await _events(house, session.id)
            compacted = [each for each in events if isinstance(each, WindowCompacted)]
            assert 1 <= len(compacted) == model.summaries < 12
            state = await house.sessions.state(session.id)
            assert len(state.window) < 24 and "SUMMARY" in state.window[0].text
            assert sum(isinstance(each, AssistantMessage) for each in events) == 24  # the journal has all
            last = model.asked[-1].messages
            assert "SUMMARY" in last[0].text and last[-1].text.startswith("question 23")
            seen = await house.conversing.window(house.owner, GetWindow(session_id=session.id))
            assert seen.context_tokens == 4_000 and 0 < seen.tokens < 4_000
            assert seen.messages == len(state.window)
            assert seen.left_out == state.left_out > 20
            fork = await house.commands.fork(house.owner, ForkSession(session_id=session.id))
            assert (await house.sessions.state(fork.id)).window == state.window
            assert [each.status for each in await talk(house, fork.id, 1)][-1] == "completed"
        async with open_house(store) as house:  # what a replay makes of it
            assert (await house.sessions.state(session.id)).window == state.window

    asyncio.run(scenario())


@pytest.mark.parametrize("strategy", ["sliding", "smart"])
def test_where_nothing_is_summarised_the_oldest_part_is_left_out(
    open_house: Callable[..., Any], strategy: Any
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            model = house.provider = Small(4_000, summarises=False)
            house.info = ModelInfo(name="small", context_tokens=4_000, max_output_tokens=500)
            session = await house.commands.create(house.owner, CreateSession())
            change = ChangeSession(session_id=session.id, strategy=strategy)
            await house.commands.change(house.owner, change)
            ends = await talk(house, session.id, 16)
            assert {each.status for each in ends} == {"completed"}
            assert len((await house.sessions.state(session.id)).window) == 32
            assert len(model.asked[-1].messages) < 20
            # each try reads all of it: again only when there is half as much more
            assert model.summaries in ((1, 2) if strategy == "smart" else (0,))
            seen = await house.conversing.window(house.owner, GetWindow(session_id=session.id))
            assert seen.left_out == 32 - seen.messages > 0

    asyncio.run(scenario())


def test_a_model_that_takes_less_than_was_thought_is_asked_again_with_less(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.provider = Small(10**9)
            session = await house.commands.create(house.owner, CreateSession())
            await talk(house, session.id, 12)
            model = house.provider = Small(3_000)  # and nobody says so: its card knows nothing
            ends = await talk(house, session.id, 2)
            assert {each.status for each in ends} == {"completed"}, ends[-1]
            assert 0 < model.refused <= 6
            refused = model.refused
            await talk(house, session.id, 1)
            assert model.refused == refused  # it was learned

    asyncio.run(scenario())


def test_the_older_part_is_summarised_on_demand(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.provider = Small(10**9)
            house.info = ModelInfo(name="small", input_price=1.0, output_price=1.0)
            session = await house.commands.create(house.owner, CreateSession())
            compact = CompactWindow(session_id=session.id)
            with pytest.raises(WrongState, match="nothing older"):
                await house.conversing.compact(house.owner, compact)
            await talk(house, session.id, 3)
            with pytest.raises(NotFound):
                await house.conversing.compact(STRANGER, compact)
            spent = house.sessions.get(session.id).spent
            await house.conversing.compact(house.owner, compact)
            state = await house.sessions.state(session.id)
            assert [each.role for each in state.window] == ["user", "user", "assistant"]
            assert state.window[1].text.startswith("question 2")
            after = house.sessions.get(session.id).spent
            assert after.answers == spent.answers + 1 and after.cost > spent.cost
            with pytest.raises(WrongState, match="nothing older"):
                await house.conversing.compact(house.owner, compact)
            await talk(house, session.id, 1)
            tight = ChangeSession(session_id=session.id, budget=Budget(max_cost=0.0))
            await house.commands.change(house.owner, tight)
            with pytest.raises(TooMuch, match="budget"):
                await house.conversing.compact(house.owner, compact)

    asyncio.run(scenario())


def test_a_transcript_is_plain_and_bounded() -> None:
    messages = [
        ChatMessage(role="user", text="look"),
        ChatMessage(
            role="assistant",
            text="I do",
            tool_uses=[ToolUse(id="1", name="fs__read", arguments={"path": "/a"})],
        ),
        ChatMessage(role="tool", tool_outputs=[ToolOutput(tool_use_id="1", text="z" * 9_000, is_error=True)]),
    ]
    told = transcript(messages, 10_000)
    assert told.startswith('Person: look\n\nAssistant: I do\n\nAssistant calls fs__read with {"path":"/a"}')
    assert "Tool fails: zzz" in told and "7,500 characters" in told
    assert len(transcript(messages * 100, 5_000)) < 5_100
