import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcp_core.agents.llm import DELTA_S
from mcp_interface.client import TextDelta
from mcp_interface.commands import CancelTurn, CreateSession, PostMessage
from mcp_interface.events import AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted, UserMessage
from mcp_interface.provider import (
    Chunk,
    Completion,
    Finished,
    TextChunk,
    ToolUse,
    ToolUseChunk,
    Usage,
)
from mcp_interface.store import Record
from mcp_interface.testing import MemoryStore


def says(text: str) -> list[Chunk]:
    return [
        TextChunk(text),
        Finished(stop_reason="end", model="scripted", usage=Usage(input_tokens=3, output_tokens=4)),
    ]


def wants(*uses: tuple[str, str, dict[str, Any]], problem: str = "") -> list[Chunk]:
    chunks: list[Chunk] = [
        ToolUseChunk(ToolUse(id=use, name=name, arguments=arguments, problem=problem))
        for use, name, arguments in uses
    ]
    return [*chunks, Finished(stop_reason="tool_use", model="scripted")]


async def _converse(house: Any, text: str = "count, please") -> list[Record]:
    session = await house.commands.create(house.owner, CreateSession())
    await house.commands.post(house.owner, PostMessage(session_id=session.id, text=text))
    records: list[Record] = await house.turn(session.id)
    return records


def ended(records: list[Record]) -> TurnEnded:
    last = records[-1].event
    assert isinstance(last, TurnEnded)
    return last


def test_a_conversation_with_two_tool_calls_reaches_its_end(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(
                wants(
                    ("one", "text__count_words", {"text": "a b"}),
                    ("two", "text__count_words", {"text": "a b c"}),
                ),
                says("two and three"),
            )
            records = await _converse(house)
            assert ended(records).status == "completed"
            second = provider.asked[1].messages
            assert [message.role for message in second] == ["user", "assistant", "tool"]
            outputs = {output.tool_use_id: output.text for output in second[2].tool_outputs}
            assert outputs == {"one": "2", "two": "3"}
            final = [record.event for record in records if isinstance(record.event, AssistantMessage)][-1]
            assert final.text == "two and three" and final.usage.output_tokens == 4

    asyncio.run(scenario())


def test_among_hundreds_of_tools_the_model_searches_and_then_calls(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.agents.choice.FEW_BYTES", 10)  # so that the few of the house are too many

    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(
                wants(("one", "find_tools", {"query": "how many words"})),
                wants(("two", "text__count_words", {"text": "a b"})),
                says("two"),
            )
            records = await _converse(house)
            assert ended(records).status == "completed"
            offered = [[tool.name for tool in asked.tools] for asked in provider.asked]
            assert offered[0] == ["find_tools"]
            assert "text__count_words" in offered[1]
            outputs = [output.text for said in provider.asked[2].messages for output in said.tool_outputs]
            assert "text__count_words" in outputs[0]
            assert outputs[1] == "2"

    asyncio.run(scenario())


def test_without_a_model_the_turn_fails_with_what_to_set(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            end = ended(await _converse(house))
            assert end.status == "failed" and end.error is not None
            assert end.error.code == "model_unavailable" and "OPENAI_BASE_URL" in end.error.remedy

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "problem", "told"),
    [
        ("text__no_such_tool", "", "no tool is called"),
        ("text__count_words", "unexpected end", "cannot be read"),
        ("text__count_words", "", "string"),
    ],
)
def test_a_call_that_cannot_run_is_explained_to_the_model(
    open_house: Callable[..., Any], name: str, problem: str, told: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(wants(("one", name, {"text": 5}), problem=problem), says("sorry"))
            records = await _converse(house)
            assert ended(records).status == "completed"
            output = provider.asked[1].messages[2].tool_outputs[0]
            assert output.is_error and told in output.text
            failed = [record.event for record in records if isinstance(record.event, ExecutionChanged)]
            assert [event.status for event in failed] == ["failed"]

    asyncio.run(scenario())


def test_a_turn_that_never_ends_is_stopped(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.script(*[wants((f"{n}", "text__count_words", {"text": "x"})) for n in range(9)])
            end = ended(await _converse(house))
            assert end.status == "failed" and end.error is not None and "5 steps" in end.error.message

    asyncio.run(scenario())


class Slow:
    """Says two words and then nothing."""

    name = "slow"

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        yield TextChunk("one moment\n")
        await asyncio.sleep(60)

    async def models(self) -> list[str]:
        return ["slow"]


class WordByWord:
    """A model on a small machine: each word takes a while."""

    name = "word by word"

    def __init__(self) -> None:
        self.next = asyncio.Event()

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        for word in ("one ", "two ", "three"):
            await self.next.wait()
            self.next.clear()
            yield TextChunk(word)
        yield Finished(stop_reason="end")

    async def models(self) -> list[str]:
        return ["words"]


def test_a_slow_model_is_read_word_by_word(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            model = house.provider = WordByWord()
            session = await house.commands.create(house.owner, CreateSession())
            follower = house.bus.follow(session.id)
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="count"))
            read = []
            async with asyncio.timeout(5):
                async for notice in follower:
                    if isinstance(notice, TextDelta):
                        read.append(notice.text)
                        if len(read) == 3:
                            break
                    elif read or not isinstance(notice.event, TurnStarted):
                        continue
                    await asyncio.sleep(2 * DELTA_S)
                    model.next.set()
            assert read == ["one ", "two ", "three"]
            assert ended(await house.turn(session.id)).status == "completed"

    asyncio.run(scenario())


def test_cancelling_keeps_what_was_already_said(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.provider = Slow()
            session = await house.commands.create(house.owner, CreateSession())
            follower = house.bus.follow(session.id)
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            async with asyncio.timeout(5):
                async for notice in follower:
                    if isinstance(notice, TextDelta):
                        break
            assert await house.commands.cancel(house.owner, CancelTurn(session_id=session.id))
            records = await house.turn(session.id)
            assert ended(records).status == "cancelled"
            said = [record.event.text for record in records if isinstance(record.event, AssistantMessage)]
            assert said == ["one moment\n"]
            async with asyncio.timeout(5):
                while await house.commands.cancel(house.owner, CancelTurn(session_id=session.id)):
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_turn_that_the_stop_of_the_node_cuts_off_says_so(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            house.provider = Slow()
            session = await house.commands.create(house.owner, CreateSession())
            follower = house.bus.follow(session.id)
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            async with asyncio.timeout(5):
                async for notice in follower:
                    if isinstance(notice, TextDelta):
                        break
        async with open_house(store) as house:
            end = ended(await house.journal.read(f"session:{session.id}"))
            assert end.status == "interrupted" and end.error is not None
            assert end.error.message == "the node was stopped in the middle of this turn"

    asyncio.run(scenario())


def test_what_is_said_during_a_turn_is_answered_too(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.script(says("first"), says("second"), says("third"))
            session = await house.commands.create(house.owner, CreateSession())
            for text in ("a", "b", "c"):
                await house.commands.post(house.owner, PostMessage(session_id=session.id, text=text))
            async with asyncio.timeout(5):
                while (await house.sessions.state(session.id)).unanswered or house.sessions.get(
                    session.id
                ).busy:
                    await asyncio.sleep(0.01)
            events = [record.event for record in await house.journal.read(f"session:{session.id}")]
            last_said = max(index for index, event in enumerate(events) if isinstance(event, UserMessage))
            answered = [index for index, event in enumerate(events) if isinstance(event, AssistantMessage)]
            assert answered[-1] > last_said
            assert sum(isinstance(event, TurnStarted) for event in events) == sum(
                isinstance(event, TurnEnded) for event in events
            )

    asyncio.run(scenario())
