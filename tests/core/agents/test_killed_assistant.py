"""Whoever kills an agent in a running session is not noticed by the person, but for a line that says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcp_core.runtime import Ref
from mcp_interface.client import TextDelta
from mcp_interface.commands import CreateSession, PostMessage
from mcp_interface.events import AgentRestarted, AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted
from mcp_interface.provider import Chunk, Completion, Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.store import Record
from mcp_interface.testing import CountWords
from mcp_interface.tool import ToolContext, ToolResult


class Dawdling(CountWords):
    """Counts words when it is let go; knows how often it was called."""

    def __init__(self) -> None:
        self.called = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def execute(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        self.called += 1
        self.begun.set()
        await self.go.wait()
        return await super().execute(arguments, context)


class Model:
    """Wants one tool, then speaks; stops in the middle of its first answer until it is asked again."""

    name = "model"

    def __init__(self, *, tool: bool, halt: bool) -> None:
        self.asked = 0
        self._tool, self._halt = tool, halt

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        self.asked += 1
        if self._tool and not any(message.tool_outputs for message in completion.messages):
            yield ToolUseChunk(ToolUse(id="one", name="text__count_words", arguments={"text": "a b"}))
            yield Finished(stop_reason="tool_use", model="scripted")
            return
        yield TextChunk("two\n")
        if self._halt and self.asked == 1:
            await asyncio.sleep(60)
        yield Finished(stop_reason="end", model="scripted")

    async def models(self) -> list[str]:
        return ["model"]


async def _begin(house: Any) -> tuple[Any, AsyncIterator[Any]]:
    session = await house.commands.create(house.owner, CreateSession())
    follower = house.bus.follow(session.id)
    await house.commands.post(house.owner, PostMessage(session_id=session.id, text="count, please"))
    return session, follower


def _assistant(house: Any, session: Any) -> Ref[Any]:
    [agent] = house.directory.listed(session.id)
    ref: Ref[Any] = house.directory.ref(agent.id)
    return ref


def _check(records: list[Record], restarts: int) -> None:
    """One turn, one end, one answer, and a line for each restart."""
    events = [record.event for record in records]
    assert sum(isinstance(event, TurnStarted) for event in events) == 1
    [ended] = [event for event in events if isinstance(event, TurnEnded)]
    assert ended.status == "completed"
    assert [event.text for event in events if isinstance(event, AssistantMessage)][-1] == "two\n"
    told = [event.reason for event in events if isinstance(event, AgentRestarted)]
    assert told == ["killed"] * restarts


def test_killed_while_the_model_speaks_it_asks_the_model_again(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.directory.on_restart = house.sessions.add
            house.provider = model = Model(tool=False, halt=True)
            session, follower = await _begin(house)
            async with asyncio.timeout(5):
                async for notice in follower:
                    if isinstance(notice, TextDelta):
                        break
            _assistant(house, session).kill()
            records = await house.turn(session.id)
            _check(records, 1)
            assert model.asked == 2
            assert sum(isinstance(record.event, AssistantMessage) for record in records) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "victims", [["assistant"], ["executor"], ["assistant", "executor"], ["executor", "assistant"]]
)
def test_killed_while_a_tool_runs_it_gets_the_result_and_the_tool_runs_once(
    open_house: Callable[..., Any], victims: list[str]
) -> None:
    async def scenario() -> None:
        tool = Dawdling()
        async with open_house(tools=[tool]) as house:
            house.directory.on_restart = house.sessions.add
            house.provider = Model(tool=True, halt=False)
            session, _ = await _begin(house)
            async with asyncio.timeout(5):
                await tool.begun.wait()
            for victim in victims:
                if victim == "assistant":
                    _assistant(house, session).kill()
                else:
                    [agent] = [agent for agent in house.directory.listed() if agent.type == "tool_executor"]
                    house.directory.ref(agent.id).kill()
                await asyncio.sleep(0.05)
            tool.go.set()
            records = await house.turn(session.id)
            _check(records, victims.count("assistant"))
            assert tool.called == 1
            ends = [record.event for record in records if isinstance(record.event, ExecutionChanged)]
            assert [event.status for event in ends][-1] == "completed"

    asyncio.run(scenario())


def test_killed_at_any_moment_the_turn_comes_to_its_end_and_no_tool_runs_twice(
    open_house: Callable[..., Any],
) -> None:
    async def scenario(moment: int) -> None:
        tool = Dawdling()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            house.provider = Model(tool=True, halt=False)
            session, _ = await _begin(house)
            for _ in range(moment):
                await asyncio.sleep(0)
            _assistant(house, session).kill()
            records = await house.turn(session.id)
            _check(records, 0)
            assert tool.called == 1

    for moment in range(0, 120, 3):
        asyncio.run(scenario(moment))
