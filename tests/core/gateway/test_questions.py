"""What tools ask people while they run: who may answer, what counts, and what waits meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from asking import Asker, form, heard, said

from hosting import run
from mcp_core.gateway.questions import MAX_ASKED
from mcp_interface.client import ToolSaid
from mcp_interface.commands import CallTool, CreateSession, EndSession, SuspendSession
from mcp_interface.errors import CallerMistaken, Interrupted, NotFound, StorageUnavailable, TooMuch
from mcp_interface.events import ExecutionChanged, QuestionAnswered, QuestionAsked
from mcp_interface.execution import (
    AnswerQuestion,
    CancelExecution,
    GetExecution,
    ListQuestions,
    StartExecution,
)
from mcp_interface.ids import SYSTEM, PrincipalId, QuestionId, new_id
from mcp_interface.provider import Finished, TextChunk
from mcp_interface.question import Question, Response
from mcp_interface.testing import MemoryStore, ScriptedProvider, SeededEntropy
from mcp_interface.tool import Tool, ToolContext, ToolLog, ToolResult, text_result

STRANGER = PrincipalId(new_id("user", SeededEntropy(8)))
LONG = 45.0
Ask = Callable[..., Awaitable[Any]]
Houses = Callable[..., Any]


def start(*rounds: Any, name: str = "ask", **options: Any) -> StartExecution:
    arguments = {"rounds": [each if isinstance(each, list) else [each] for each in rounds]}
    return StartExecution(server="asks", tool=name, arguments=arguments, **options)


def in_a_house(
    open_house: Houses,
    work: Callable[[Any, Asker, Ask], Awaitable[None]],
    store: Any = None,
    others: tuple[Tool, ...] = (),
) -> None:
    async def scenario() -> None:
        tool = Asker()
        async with open_house(store, tools=[tool, *others]) as house:
            await work(house, tool, asking(house))

    run(scenario)


def asking(house: Any) -> Ask:
    handlers = {**house.calls.handlers(), **house.commands.handlers()}

    async def ask(command: Any, who: Any = None) -> Any:
        return await handlers[type(command)](who or house.owner, command)

    return ask


async def opened(ask: Ask, execution: Any) -> list[Question]:
    """What a call asks, once it does."""
    found = await ask(GetExecution(execution_id=execution.id, wait_s=LONG))
    assert found.questions, found
    page = await ask(ListQuestions(execution_id=execution.id))
    assert {each.id for each in page.items} == set(found.questions)
    return list(page.items)


async def ended(ask: Ask, execution: Any) -> Any:
    async with asyncio.timeout(LONG):
        while not (found := await ask(GetExecution(execution_id=execution.id, wait_s=1))).over:
            await asyncio.sleep(0.01)
        return found


async def events(house: Any, execution: Any) -> list[Any]:
    records = await house.journal.read(f"session:{execution.session_id}", limit=1000)
    return [record.event for record in records if not hasattr(record.event, "created_by")]


def test_a_question_is_durable_seen_answered_once_and_the_call_goes_on(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        started = await ask(start(form()))
        (question,) = await opened(ask, started)
        assert (question.tool, question.inquiry.message, question.again) == ("ask", "a number?", False)
        assert (question.expires_at - question.asked_at).total_seconds() == 3600
        assert house.questions.count() == 1
        answers = [ask(AnswerQuestion(question_id=question.id, response=said(number))) for number in range(5)]
        told = await asyncio.gather(*answers, return_exceptions=True)
        assert told.count(None) == 1 and all(isinstance(each, NotFound) for each in told if each)
        found = await ended(ask, started)
        assert found.result.text == heard(told.index(None)) and not found.questions
        assert not (await ask(ListQuestions())).items
        happened = await events(house, started)
        kinds = [getattr(each, "status", type(each).__name__) for each in happened]
        assert kinds == ["queued", "started", "QuestionAsked", "QuestionAnswered", "completed"]
        assert happened[0].call.detached and happened[3].by == house.owner

    in_a_house(open_house, work)


def test_only_the_owner_and_whoever_began_the_call_see_and_answer(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        session = await ask(CreateSession())
        agent = await house.directory.spawn("worker", session_id=session.id)
        await house.kernel.delegate(
            house.kernel.handle_of(
                next(
                    each.id
                    for each in house.kernel.held_by(house.owner)
                    if "tool/execute" in each.resource_uri
                ),
                house.owner,
            ),
            house.owner,
            agent.id,
        )
        other = await house.directory.spawn("worker", session_id=session.id)
        started = await ask(start(form(), session_id=session.id, as_agent=agent.id))
        (question,) = await opened(ask, started)
        assert [each.id for each in (await ask(ListQuestions(), agent.id)).items] == [question.id]
        for stranger in (STRANGER, other.id):
            assert not (await ask(ListQuestions(), stranger)).items
            with pytest.raises(NotFound, match="no open question"):
                await ask(AnswerQuestion(question_id=question.id, response=said(1)), stranger)
        with pytest.raises(NotFound, match="no session"):
            await ask(ListQuestions(session_id=session.id), STRANGER)
        unknown = QuestionId(new_id("question", SeededEntropy(1)))
        with pytest.raises(NotFound, match="no open question"):
            await ask(AnswerQuestion(question_id=unknown, response=said(1)))
        await ask(AnswerQuestion(question_id=question.id, response=said(2)), agent.id)
        assert (await ended(ask, started)).result.text == heard(2)

    in_a_house(open_house, work)


def test_an_answer_that_does_not_fit_leaves_the_question_open(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        started = await ask(start(form()))
        (question,) = await opened(ask, started)
        with pytest.raises(CallerMistaken, match="'n'") as refused:
            wrong = Response(action="accept", content={"n": "seven"})
            await ask(AnswerQuestion(question_id=question.id, response=wrong))
        assert refused.value.details == {"field": "n", "rule": "type"}
        decline = Response(action="decline")
        await ask(AnswerQuestion(question_id=question.id, response=decline))
        assert (await ended(ask, started)).result.text == '[{"0": ["decline", null]}]'

    in_a_house(open_house, work)


def test_several_of_one_moment_share_it_and_each_is_answered_by_itself(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        session = await ask(CreateSession())
        link = {"key": "go", "kind": "url", "message": "sign in", "url": "https://example.org/in"}
        started = await ask(start([form("a"), link], session_id=session.id))
        both = {each.inquiry.key: each for each in await opened(ask, started)}
        await ask(AnswerQuestion(question_id=both["a"].id, response=said(1)))
        assert [each.id for each in (await ask(ListQuestions(limit=1))).items] == [both["go"].id]
        assert (await ask(GetExecution(execution_id=started.id, wait_s=LONG))).questions == [both["go"].id]
        with pytest.raises(CallerMistaken, match="followed or not"):
            await ask(AnswerQuestion(question_id=both["go"].id, response=said(1)))
        await ask(AnswerQuestion(question_id=both["go"].id, response=Response(action="accept")))
        assert '"go": ["accept", null]' in (await ended(ask, started)).result.text

    in_a_house(open_house, work)


@pytest.mark.parametrize(
    ("rounds", "options", "why"),
    [
        ([{"key": "r", "kind": "roots"}], {}, "can answer 'roots'"),
        ([{"key": "s", "kind": "sampling"}], {}, "can answer 'sampling'"),
        ([form()], {"answers": []}, "can answer 'form'"),
        ([form("")], {}, "without a key"),
        ([[form(), form()]], {}, "same key"),
        ([[]], {}, "nothing is asked"),
        ([[form(str(number)) for number in range(MAX_ASKED + 1)]], {}, "at once"),
        ([form(schema={"type": "array"})], {}, "JSON Schema of an object"),
        ([form(schema={"type": "object", "properties": {"a": {"type": "?"}}})], {}, "JSON Schema"),
        ([{"key": "u", "kind": "url", "url": "nowhere"}], {}, "whole URL|asks to open"),
    ],
)
def test_what_nobody_can_answer_is_refused_before_anybody_is_asked(
    open_house: Houses, rounds: Any, options: dict[str, Any], why: str
) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        found = await ended(ask, await ask(start(*rounds, **options)))
        assert found.status == "FAILED" and not found.questions
        with pytest.raises(AssertionError, match=why):
            raise AssertionError(found.error.message)
        assert not any(isinstance(each, QuestionAsked) for each in await events(house, found))

    in_a_house(open_house, work)


def test_a_client_that_answers_by_itself_says_what_it_can(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        started = await ask(start({"key": "r", "kind": "roots"}, answers=["roots"]))
        (question,) = await opened(ask, started)
        for content in (None, {"roots": "no"}, {"roots": [{"uri": "https://a"}]}):
            with pytest.raises(CallerMistaken, match="roots"):
                wrong = Response(action="accept", content=content)
                await ask(AnswerQuestion(question_id=question.id, response=wrong))
        folders = {"roots": [{"uri": "file:///home/x"}]}
        await ask(
            AnswerQuestion(question_id=question.id, response=Response(action="accept", content=folders))
        )
        assert "file:///home/x" in (await ended(ask, started)).result.text

    in_a_house(open_house, work)


def test_a_yes_to_a_models_words_lets_the_nodes_own_model_speak(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        from mcp_core.gateway.sampling import ModelSampler
        from mcp_core.providers.lender import Lent
        from mcp_interface.provider import ModelInfo

        model = ScriptedProvider([[TextChunk("forty"), TextChunk("-two"), Finished(stop_reason="end")]])

        async def lend(name: str) -> Lent:
            return Lent(provider=model, model="scripted", info=ModelInfo(name="scripted"))

        house.questions._sampler = ModelSampler(lend, lambda: True, house.sessions.get, house.speaking)
        params = {
            "messages": [{"role": "user", "content": {"type": "text", "text": "what is it?"}}],
            "systemPrompt": "be brief",
            "maxTokens": 10,
        }
        started = await ask(start({"key": "s", "kind": "sampling", "message": "may it?", "params": params}))
        (question,) = await opened(ask, started)
        assert question.inquiry.params == params
        await ask(AnswerQuestion(question_id=question.id, response=Response(action="accept")))
        text = (await ended(ask, started)).result.text
        assert "forty-two" in text and '"stopReason": "endTurn"' in text and '"model": "scripted"' in text
        (completion,) = model.asked
        assert (completion.system, completion.max_tokens) == ("be brief", 10)
        assert [(each.role, each.text) for each in completion.messages] == [("user", "what is it?")]

    in_a_house(open_house, work)


def test_the_nodes_own_model_speaks_for_a_stranger_by_a_right_only(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        from mcp_core.gateway.sampling import ModelSampler
        from mcp_core.providers.lender import Lent
        from mcp_interface.address import parse_resource
        from mcp_interface.capability import GrantOptions
        from mcp_interface.provider import ModelInfo

        model = ScriptedProvider([[TextChunk("yes"), Finished(stop_reason="end")]])

        async def lend(name: str) -> Lent:
            return Lent(provider=model, model="scripted", info=ModelInfo(name="scripted"))

        sampler = ModelSampler(lend, lambda: True, house.sessions.get, house.speaking)
        house.questions._sampler = sampler
        stranger = PrincipalId("user_" + "5" * 32)
        for need in tool.needs({}):
            await house.kernel.request(stranger, need.resource, GrantOptions())
        params = {"messages": [{"role": "user", "content": {"type": "text", "text": "spend"}}]}
        wish = {"key": "s", "kind": "sampling", "message": "may it?", "params": params}
        started = await house.calls.start(stranger, start(wish, answers=["sampling"]))
        async with asyncio.timeout(10):
            while not (found := (await house.calls.questions(stranger, ListQuestions())).items):
                await asyncio.sleep(0.01)
        yes = AnswerQuestion(question_id=found[0].id, response=Response(action="accept"))
        with pytest.raises(CallerMistaken, match="role"):
            await house.calls.answer(stranger, yes)
        assert not model.asked
        uri = "mcp://tool/execute/assistant/ask"
        assert not sampler.ready(started.session_id)
        await house.kernel.request(stranger, parse_resource(uri), GrantOptions(constraints={"max_uses": 1}))
        assert sampler.ready(started.session_id)
        await house.calls.answer(stranger, yes)
        ended_one = await house.calls.get(stranger, GetExecution(execution_id=started.id, wait_s=10))
        assert "yes" in ended_one.result.text and len(model.asked) == 1
        assert not sampler.ready(started.session_id), "its use is used up"
        judged = [each for each in house.audit.entries if each.resource_uri == uri]
        assert [each.decision for each in judged if each.kind == "access_allowed"] == ["allowed"]

    in_a_house(open_house, work)


def test_open_questions_and_calls_of_one_stranger_are_bounded(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp_core.gateway import executions, questions

    assert (executions.SHARE, questions.MAX_SHARE) == (64, 100)
    monkeypatch.setattr(executions, "SHARE", 3)
    monkeypatch.setattr(questions, "MAX_SHARE", 2)

    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        from mcp_interface.capability import GrantOptions

        stranger = PrincipalId("user_" + "5" * 32)
        for need in tool.needs({}):
            await house.kernel.request(stranger, need.resource, GrantOptions())
        calls = [await house.calls.start(stranger, start(form())) for _ in range(3)]
        with pytest.raises(TooMuch) as caught:
            await house.calls.start(stranger, start(form()))
        assert caught.value.details == {"bound": "calls", "most": 3}
        refused = []
        async with asyncio.timeout(10):
            while not refused:
                found = [
                    await house.calls.get(stranger, GetExecution(execution_id=each.id)) for each in calls
                ]
                refused = [each.error for each in found if each.error is not None]
                await asyncio.sleep(0.01)
        assert [each.details["bound"] for each in refused] == ["open_questions"]
        for _ in range(4):  # whose node it is has none of these bounds
            await ask(start(form()))

    in_a_house(open_house, work)


def test_an_unanswered_question_is_cancelled_when_its_time_is_over(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        from datetime import timedelta

        house.questions._timeout = timedelta(seconds=0.05)
        found = await ended(ask, await ask(start(form())))
        assert found.result.text == '[{"0": ["cancel", null]}]'
        (answered,) = [each for each in await events(house, found) if isinstance(each, QuestionAnswered)]
        assert answered.by == SYSTEM

    in_a_house(open_house, work)


def test_a_calls_time_does_not_run_while_somebody_thinks(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        started = await ask(start(form(), timeout_ms=300))
        (question,) = await opened(ask, started)
        await asyncio.sleep(0.5)
        await ask(AnswerQuestion(question_id=question.id, response=said(1)))
        assert (await ended(ask, started)).status == "SUCCESS"
        waits = StartExecution(
            server="asks", tool="ask", arguments={"rounds": [[form()]], "wait": True}, timeout_ms=300
        )
        started = await ask(waits)
        (question,) = await opened(ask, started)
        await ask(AnswerQuestion(question_id=question.id, response=said(1)))
        assert (await ended(ask, started)).status == "TIMEOUT", "and runs on behind the answer"

    in_a_house(open_house, work)


def test_a_call_that_waits_for_people_gives_its_turn_to_others(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        house.executions._at_once = 1
        waiting = [await ask(start(form())) for _ in range(4)]
        questions = [(await opened(ask, each))[0] for each in waiting]
        assert (await ended(ask, await ask(start()))).status == "SUCCESS"
        for number, question in enumerate(questions):
            await ask(AnswerQuestion(question_id=question.id, response=said(number)))
        texts = [(await ended(ask, each)).result.text for each in waiting]
        assert texts == [heard(number) for number in range(4)]
        async with asyncio.timeout(LONG):
            while house.executions._live or house.executions._lanes:
                await asyncio.sleep(0.01)

    in_a_house(open_house, work)


@pytest.mark.parametrize("how", ["cancel", "suspend", "end"])
def test_a_call_that_ends_withdraws_what_it_asked(open_house: Houses, how: str) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        session = await ask(CreateSession())
        started = await ask(start(form(), session_id=session.id))
        (question,) = await opened(ask, started)
        match how:
            case "cancel":
                assert (await ask(CancelExecution(execution_id=started.id))).status == "CANCELLED"
            case "suspend":
                await ask(SuspendSession(session_id=session.id))
            case "end":
                await ask(EndSession(session_id=session.id))
        found = await ended(ask, started)
        assert found.status == ("SUCCESS" if how == "suspend" else "CANCELLED") and not found.questions
        answers = [each for each in await events(house, started) if isinstance(each, QuestionAnswered)]
        assert [(each.question_id, each.response.action) for each in answers] == [(question.id, "cancel")]
        with pytest.raises(NotFound):
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))

    in_a_house(open_house, work)


def test_a_call_that_is_waited_for_asks_too_and_who_leaves_withdraws(open_house: Houses) -> None:
    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        call = CallTool(server="asks", tool="ask", arguments={"rounds": [[form()]]})
        for leaves in (False, True):
            waiting = asyncio.create_task(ask(call))
            async with asyncio.timeout(LONG):
                while not (page := await ask(ListQuestions())).items:
                    await asyncio.sleep(0.01)
            if leaves:
                waiting.cancel()
                with suppress(asyncio.CancelledError, Interrupted):
                    await waiting
            else:
                await ask(AnswerQuestion(question_id=page.items[0].id, response=said(3)))
                assert (await waiting).result.text == heard(3)
            assert not (await ask(ListQuestions())).items

    in_a_house(open_house, work)


def test_where_nothing_can_be_journaled_nobody_is_asked_and_no_answer_counts(open_house: Houses) -> None:
    class Refusing(MemoryStore):
        refused: type = type(None)

        async def append(self, stream: str, events: Any, **options: Any) -> Any:
            if any(isinstance(each, self.refused) for each in events):
                raise StorageUnavailable("the disk is full", "free some space")
            return await super().append(stream, events, **options)

    store = Refusing()

    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        store.refused = QuestionAsked
        found = await ended(ask, await ask(start(form())))
        assert found.error.code == "storage_unavailable" and not house.questions.count()
        store.refused = QuestionAnswered
        started = await ask(start(form()))
        (question,) = await opened(ask, started)
        with pytest.raises(StorageUnavailable):
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
        store.refused = type(None)
        await ask(AnswerQuestion(question_id=question.id, response=said(2)))
        assert (await ended(ask, started)).result.text == heard(2)
        answers = [each for each in await events(house, started) if isinstance(each, QuestionAnswered)]
        assert len(answers) == 1

    in_a_house(open_house, work, store)


def test_what_a_tool_says_passes_by_and_its_handle_is_kept(open_house: Houses) -> None:
    class Talkative(Asker):
        async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
            assert context.log is not None and context.keep is not None
            assert context.answers == {"form", "url"} and context.resumption is None
            context.log(ToolLog(level="info", data={"so": "far"}))
            await context.keep("task-1")
            return text_result("done")

    async def work(house: Any, tool: Asker, ask: Ask) -> None:
        session = await ask(CreateSession())
        follower = house.bus.follow(session.id)
        started = await ask(start(name="talk", session_id=session.id))
        seen: list[Any] = []
        async with asyncio.timeout(LONG):
            async for notice in follower:
                seen.append(getattr(notice, "event", notice))
                if getattr(seen[-1], "status", "") == "completed":
                    break
        assert [each.line.data for each in seen if isinstance(each, ToolSaid)] == [{"so": "far"}]
        kept = [each for each in seen if isinstance(each, ExecutionChanged) and each.status == "kept"]
        assert [each.handle for each in kept] == ["task-1"]
        assert (await ended(ask, started)).status == "SUCCESS"

    in_a_house(open_house, work, others=(Talkative("talk"),))
