import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcp_core.agents.turning import DELTA_S
from mcp_core.gateway.state import BROKE_OFF
from mcp_interface.budget import Budget, Spent
from mcp_interface.client import TextDelta
from mcp_interface.commands import CancelTurn, ChangeSession, CreateSession, ForkSession, PostMessage
from mcp_interface.conversing import GetUsage, RetryTurn
from mcp_interface.errors import ModelUnavailable, NotFound, WrongState
from mcp_interface.events import (
    AssistantMessage,
    ExecutionChanged,
    RetryAsked,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import AgentId, PrincipalId, TurnId, new_id
from mcp_interface.provider import (
    Chunk,
    Completion,
    Finished,
    ModelInfo,
    TextChunk,
    ToolUse,
    ToolUseChunk,
    Usage,
)
from mcp_interface.session import Limits
from mcp_interface.store import Record
from mcp_interface.testing import MemoryStore, SeededEntropy

STRANGER = PrincipalId(new_id("user", SeededEntropy(77)))


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
            window = (await house.sessions.state(session.id)).window
            assert window[-1].text == f"one moment\n\n\n{BROKE_OFF}"
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


class Breaking:
    """Says something, and then its endpoint fails; on the second try it is well again."""

    name = "breaking"

    def __init__(self, error: Exception) -> None:
        self.asked: list[Completion] = []
        self._error = error

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        self.asked.append(completion)
        if len(self.asked) == 1:
            yield TextChunk("The answer is forty-")
            raise self._error
        yield TextChunk("The answer is 42.")
        yield Finished(stop_reason="end", model="scripted")

    async def models(self) -> list[str]:
        return ["breaking"]


def cut(text: str) -> list[Chunk]:
    return [TextChunk(text), Finished(stop_reason="length", model="scripted", usage=Usage(output_tokens=9))]


def said(records: list[Record]) -> list[AssistantMessage]:
    return [record.event for record in records if isinstance(record.event, AssistantMessage)]


def test_an_answer_that_was_cut_is_continued_once(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(cut("one, two, "), says("three"))
            records = await _converse(house)
            assert ended(records).status == "completed"
            assert [(each.text, each.stop) for each in said(records)] == [
                ("one, two, ", "length"),
                ("three", "end"),
            ]
            asked = provider.asked[1].messages
            assert [each.role for each in asked] == ["user", "assistant", "user"]
            assert "Go on exactly where it ended" in asked[2].text
            state = await house.sessions.state(house.sessions.listed(house.owner, False)[0].id)
            assert [each.role for each in state.window] == ["user", "assistant", "assistant"]

    asyncio.run(scenario())


def test_an_answer_that_is_cut_again_ends_the_turn_with_a_remark(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(cut("one, "), cut("two, "), says("never"))
            end = ended(await _converse(house))
            assert end.status == "failed" and end.error is not None
            assert "not complete" in end.error.message and "go on" in end.error.remedy
            assert len(provider.asked) == 2

    asyncio.run(scenario())


def test_a_refusal_is_told(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.script([TextChunk("No."), Finished(stop_reason="refused")])
            records = await _converse(house)
            end = ended(records)
            assert end.status == "failed" and end.error is not None and "refuses" in end.error.message
            assert said(records)[0].stop == "refused"

    asyncio.run(scenario())


def test_a_call_that_may_have_lost_its_arguments_is_not_run(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            uses = [
                ToolUseChunk(ToolUse(id="whole", name="text__count_words", arguments={"text": "a b"})),
                ToolUseChunk(ToolUse(id="cut", name="text__count_words", arguments={})),
            ]
            provider = house.script([*uses, Finished(stop_reason="length")], says("done"))
            assert ended(await _converse(house)).status == "completed"
            outputs = {each.tool_use_id: each for each in provider.asked[1].messages[2].tool_outputs}
            assert outputs["whole"].text == "2"
            assert outputs["cut"].is_error and "allowed length" in outputs["cut"].text

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [ModelUnavailable("the line is dead", "try again"), ValueError("a bug")])
def test_what_was_read_before_a_failure_is_kept_marked_and_can_be_tried_again(
    open_house: Callable[..., Any], error: Exception
) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            house.provider = Breaking(error)
            session = await house.commands.create(house.owner, CreateSession())
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="what is it?"))
            records = await house.turn(session.id)
            assert ended(records).status == "failed"
            assert [(each.text, each.stop) for each in said(records)] == [
                ("The answer is forty-", "interrupted")
            ]
            assert said(records)[0].usage.output_tokens == 5  # estimated: nobody counted it
            window = (await house.sessions.state(session.id)).window
            assert BROKE_OFF in window[-1].text
            with pytest.raises(NotFound):
                await house.conversing.retry(STRANGER, RetryTurn(session_id=session.id))
        async with open_house(store) as house:  # a new process
            provider = house.provider = Breaking(error)
            provider.asked.append(Completion(model="earlier"))
            await house.conversing.retry(house.owner, RetryTurn(session_id=session.id))
            async with asyncio.timeout(5):
                while (await house.sessions.state(session.id)).unanswered or house.sessions.get(
                    session.id
                ).busy:
                    await asyncio.sleep(0.01)
            assert [each.text for each in provider.asked[1].messages] == ["what is it?"]
            window = (await house.sessions.state(session.id)).window
            assert [each.text for each in window] == ["what is it?", "The answer is 42."]
            with pytest.raises(WrongState, match="was not cut"):
                await house.conversing.retry(house.owner, RetryTurn(session_id=session.id))

    asyncio.run(scenario())


def test_a_retry_that_the_node_did_not_survive_is_taken_up(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            session = await house.sessions.create(house.owner, "", "careful", "", {})
            await house.sessions.post(session.id, house.owner, "what is it?")
            now, agent, turn = house.clock.now(), AgentId(new_id("agent", house.entropy)), TurnId("turn_1")
            await house.sessions.add(
                session.id,
                TurnStarted(timestamp=now, turn_id=turn, agent_id=agent),
                TurnEnded(timestamp=now, turn_id=turn, status="failed"),
            )
            await house.sessions.add(session.id, RetryAsked(timestamp=now, by=house.owner))
        async with open_house(store) as house:
            assert house.waiting == [session.id]
            assert (await house.sessions.state(session.id)).unanswered

    asyncio.run(scenario())


def test_an_answer_says_what_it_took_and_what_it_cost(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.info = ModelInfo(
                name="scripted:m", provider="vendor", input_price=1_000_000.0, output_price=500_000.0
            )
            house.script(says("hello"))
            records = await _converse(house)
            [message] = said(records)
            assert message.cost == 3 + 2 and message.provider == "vendor"
            assert 0 < message.first_token_s <= message.duration_s
            [session] = house.sessions.listed(house.owner, False)
            assert session.spent == Spent(answers=1, input_tokens=3, output_tokens=4, cost=5.0)
            [row] = await house.conversing.usage(house.owner, GetUsage(by="session"))
            assert (row.key, row.title, row.spent) == (session.id, "count, please", session.spent)
            assert await house.conversing.usage(STRANGER, GetUsage()) == []

    asyncio.run(scenario())


def test_a_budget_that_is_used_up_ends_the_turn_before_the_model_is_asked(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(
                wants(("one", "text__count_words", {"text": "a b"})), says("two"), says("more")
            )
            limits = Limits(budget=Budget(max_tokens=1))
            session = await house.commands.create(house.owner, CreateSession(limits=limits))
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            end = ended(await house.turn(session.id))
            assert end.status == "failed" and end.error is not None and end.error.code == "overloaded"
            assert "of the 1 tokens of its budget" in end.error.message
            assert len(provider.asked) == 1  # the first was allowed: nothing had been spent yet
            more = ChangeSession(session_id=session.id, budget=Budget())
            assert (await house.commands.change(house.owner, more)).limits.budget == Budget()
            await house.conversing.retry(house.owner, RetryTurn(session_id=session.id))
            async with asyncio.timeout(5):
                while len(provider.asked) < 2 or house.sessions.get(session.id).busy:
                    await asyncio.sleep(0.01)
            # what a tool did is done: only the words of the cut turn are gone
            assert [each.role for each in provider.asked[1].messages] == ["user", "assistant", "tool"]

    asyncio.run(scenario())


def test_what_a_session_is_told_beside_goes_to_the_model(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            provider = house.script(says("ja"), says("nein"))
            session = await house.commands.create(house.owner, CreateSession(system="Speak Dutch."))
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            await house.turn(session.id)
            change = ChangeSession(session_id=session.id, system="Speak German.", strategy="sliding")
            changed = await house.commands.change(house.owner, change)
            assert (changed.system, changed.strategy) == ("Speak German.", "sliding")
            fork = await house.commands.fork(house.owner, ForkSession(session_id=session.id))
            assert (fork.system, fork.strategy) == ("Speak German.", "sliding")
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="again"))
            async with asyncio.timeout(5):
                while len(provider.asked) < 2:
                    await asyncio.sleep(0.01)
            assert "Speak Dutch." in provider.asked[0].system
            assert "Speak German." in provider.asked[1].system
            assert provider.asked[0].max_tokens == 8192

    asyncio.run(scenario())


class Waiting:
    """Says one line at once, and the rest when it is let go."""

    name = "waiting"

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        yield TextChunk("one\n")
        await self.go.wait()
        yield TextChunk("two")
        yield Finished(stop_reason="end")

    async def models(self) -> list[str]:
        return ["waiting"]


def test_what_is_said_while_a_model_answers_stands_behind_that_answer(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            model = house.provider = Waiting()
            session = await house.commands.create(house.owner, CreateSession())
            follower = house.bus.follow(session.id)
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="count"))
            async with asyncio.timeout(5):
                async for notice in follower:
                    if isinstance(notice, TextDelta):
                        break
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="and again"))
            model.go.set()
            await house.turn(session.id)
            window = (await house.sessions.state(session.id)).window
            assert [each.text for each in window[:3]] == ["count", "one\ntwo", "and again"]

    asyncio.run(scenario())
