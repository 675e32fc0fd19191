"""What becomes of calls whose process is gone: begun, run again, resumed, asked about, or closed."""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asking import Asker, MortalStore, form, heard, said

from core.gateway.test_questions import asking, ended, events, opened, start
from hosting import run
from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.approval import Answer
from mcp_interface.capability import GrantOptions
from mcp_interface.commands import (
    AnswerApproval,
    CallTool,
    CancelTurn,
    CreateSession,
    EndSession,
    ListApprovals,
    PostMessage,
    SuspendSession,
)
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.events import ApprovalAsked, ExecutionChanged, QuestionAsked, TurnEnded, TurnStarted
from mcp_interface.execution import AnswerQuestion, CancelExecution, GetExecution, ListQuestions
from mcp_interface.provider import Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.question import Inquiry, Response
from mcp_interface.testing import MemoryStore
from mcp_interface.tool import Tool, ToolContext, ToolResult, text_result

LONG = 45.0
Houses = Callable[..., Any]


class Sender(Asker):
    """Keeps that its answer is sent, then works until it is let go."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(handles=True, read_only=read_only)
        self.working = asyncio.Event()

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.runs += 1
        assert context.ask is not None and context.keep is not None
        if context.resumption is None:
            await context.ask([Inquiry(**form())], '{"state": "one"}')
        await context.keep('{"state": "one", "sent": true}')
        self.working.set()
        await self.go.wait()
        return text_result("done")


class Lives:
    """One data directory and the processes that live on it, one after the other."""

    def __init__(self, open_house: Houses, *tools: Tool) -> None:
        self._journal = MemoryStore()
        self._open = open_house
        self._tools = tools

    @asynccontextmanager
    async def life(self, *, killed: bool = True) -> Any:
        """A process that is killed at the end, or stopped."""
        store = MortalStore(self._journal)
        async with self._open(store, tools=self._tools) as house:
            connected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connected.set_result(None)
            house.commands.begin(house.waiting)
            house.commands.go_on(house.found.turns, connected)
            try:
                yield house, asking(house)
            finally:
                store.dead = killed
                house.executions.stop()
                await house.commands.close()


def statuses(happened: list[Any]) -> list[str]:
    return [getattr(each, "status", type(each).__name__) for each in happened]


KILLED = pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])


@KILLED
def test_a_question_outlives_its_process_and_its_handle_resumes_the_call(
    open_house: Houses, killed: bool
) -> None:
    async def scenario() -> None:
        tool = Asker(handles=True)
        lives = Lives(open_house, tool)
        async with lives.life(killed=killed) as (_, ask):
            started = await ask(start(form(), form(message="and?")))
            (question,) = await opened(ask, started)
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
            async with asyncio.timeout(LONG):
                while (await opened(ask, started))[0].id == question.id:
                    await asyncio.sleep(0.01)
            (question,) = await opened(ask, started)
        for _ in range(3):
            async with lives.life(killed=killed) as (house, ask):
                assert (await ask(ListQuestions())).items == [question]
                assert house.questions.count() == 1
        async with lives.life() as (house, ask):
            await ask(AnswerQuestion(question_id=question.id, response=said(2)))
            assert (await ended(ask, started)).result.text == heard(1, 2)
            asked = ["QuestionAsked", "QuestionAnswered"]
            assert statuses(await events(house, started)) == [
                "queued", "started", *asked, *asked, "started", "completed",
            ]  # fmt: skip
        assert tool.runs == 2

    run(scenario)


@KILLED
def test_a_tool_without_handle_is_asked_about_again_and_sent_anew_with_what_it_heard(
    open_house: Houses, killed: bool
) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life(killed=killed) as (_, ask):
            started = await ask(start(form(), form(message="and?")))
            (first,) = await opened(ask, started)
            await ask(AnswerQuestion(question_id=first.id, response=said(1)))
            async with asyncio.timeout(LONG):
                while (await opened(ask, started))[0].id == first.id:
                    await asyncio.sleep(0.01)
        for _ in range(2):
            async with lives.life(killed=killed) as (house, ask):
                (second,) = await opened(ask, started)
                assert second.again and second.inquiry.message == "and?" and tool.runs == 1
        async with lives.life() as (house, ask):
            await ask(AnswerQuestion(question_id=second.id, response=said(2)))
            assert (await ended(ask, started)).result.text == heard(1, 2), "nobody is asked a third time"
            asked = [each for each in await events(house, started) if isinstance(each, QuestionAsked)]
            assert [each.question.again for each in asked] == [False, False, True]
        assert tool.runs == 2

    run(scenario)


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_who_does_not_want_it_sent_again_ends_it(open_house: Houses, action: Any) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life() as (_, ask):
            started = await ask(start([form("a"), form("b")]))
            await opened(ask, started)
        async with lives.life() as (_, ask):
            a, b = await opened(ask, started)
            await ask(AnswerQuestion(question_id=a.id, response=Response(action=action)))
            await ask(AnswerQuestion(question_id=b.id, response=said(1)))
            found = await ended(ask, started)
            assert found.status == "INTERRUPTED" and "nobody wants it sent again" in found.error.message
        assert tool.runs == 1

    run(scenario)


def test_a_yes_that_no_process_lived_to_follow_is_followed(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life() as (_, ask):
            started = await ask(start(form()))
            await opened(ask, started)
        async with lives.life() as (house, ask):
            (question,) = await opened(ask, started)

            async def nobody_runs_it(request: Any) -> Any:
                house.store.dead = True
                raise asyncio.CancelledError

            house.guard.run = nobody_runs_it
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
        async with lives.life() as (_, ask):
            assert (await ended(ask, started)).result.text == heard(1)
        assert tool.runs == 2

    run(scenario)


@pytest.mark.parametrize(("read_only", "end"), [(True, "SUCCESS"), (False, "INTERRUPTED")])
def test_what_had_begun_runs_again_only_where_that_is_harmless(
    open_house: Houses, read_only: bool, end: str
) -> None:
    async def scenario() -> None:
        tool = Asker(read_only=read_only)
        lives = Lives(open_house, tool)
        async with lives.life() as (_, ask):
            started = await ask(start().__class__(server="asks", tool="ask", arguments={"wait": True}))
            async with asyncio.timeout(LONG):
                while not tool.runs:
                    await asyncio.sleep(0.01)
        tool.go.set()
        async with lives.life() as (house, ask):
            assert (await ended(ask, started)).status == end
            again = ["started", "completed"] if read_only else ["failed"]
            assert statuses(await events(house, started)) == ["queued", "started", *again]
        assert tool.runs == 1 + read_only

    run(scenario)


def test_a_tool_that_is_harmless_no_more_is_not_run_again(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Asker(read_only=True)
        lives = Lives(open_house, tool)
        async with lives.life() as (_, ask):
            started = await ask(start().__class__(server="asks", tool="ask", arguments={"wait": True}))
            async with asyncio.timeout(LONG):
                while not tool.runs:
                    await asyncio.sleep(0.01)
        tool.read_only = False
        async with lives.life() as (_, ask):
            assert (await ended(ask, started)).status == "INTERRUPTED"
        assert tool.runs == 1

    run(scenario)


def test_what_somebody_waited_for_ends_with_its_process_unless_it_asks(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Asker(read_only=True)
        lives = Lives(open_house, tool)
        async with lives.life() as (_, ask):
            calls = [
                CallTool(server="asks", tool="ask", arguments=arguments)
                for arguments in ({"wait": True}, {"rounds": [[form()]]})
            ]
            waiting = [asyncio.create_task(ask(each)) for each in calls]
            async with asyncio.timeout(LONG):
                while not (await ask(ListQuestions())).items or tool.runs < 2:
                    await asyncio.sleep(0.01)
        assert all(
            isinstance(each, UmbrellaError) for each in await asyncio.gather(*waiting, return_exceptions=True)
        )
        async with lives.life() as (_, ask):
            (question,) = (await ask(ListQuestions())).items
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
            found = await ended(ask, await ask(GetExecution(execution_id=question.execution_id)))
            assert found.result.text == heard(1)
        assert tool.runs == 3

    run(scenario)


@KILLED
@pytest.mark.parametrize("harmless", ["never", "always", "no more"])
def test_a_call_whose_answers_were_sent_is_sent_again_only_where_that_is_harmless(
    open_house: Houses, killed: bool, harmless: str
) -> None:
    async def scenario() -> None:
        tool = Sender(read_only=harmless != "never")
        lives = Lives(open_house, tool)
        async with lives.life(killed=killed) as (_, ask):
            started = await ask(start())
            (question,) = await opened(ask, started)
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
            async with asyncio.timeout(LONG):
                await tool.working.wait()
        tool.go.set()
        tool.read_only = harmless == "always"
        async with lives.life() as (_, ask):
            found = await ended(ask, started)
            assert not (await ask(ListQuestions())).items
        if harmless == "always":
            assert found.result.text == "done" and tool.runs == 2
        else:
            assert found.status == "INTERRUPTED" and tool.runs == 1
            assert "may or may not have taken effect" in found.error.remedy

    run(scenario)


def test_rights_are_judged_anew_and_a_use_is_not_counted_twice(open_house: Houses) -> None:
    async def scenario(revoked: bool) -> None:
        tool = Asker(handles=True)
        lives = Lives(open_house, tool)
        async with lives.life() as (house, ask):
            session = await ask(CreateSession())
            agent = await house.directory.spawn("worker", session_id=session.id)
            root = next(
                each for each in house.kernel.held_by(house.owner) if "tool/execute" in each.resource_uri
            )
            grant = await house.kernel.delegate(
                house.kernel.handle_of(root.id, house.owner),
                house.owner,
                agent.id,
                options=GrantOptions(constraints={"max_uses": 1}),
            )
            started = await ask(start(form(), session_id=session.id, as_agent=agent.id))
            (question,) = await opened(ask, started)
        async with lives.life() as (house, ask):
            if revoked:
                await house.kernel.revoke(grant.capability.id, house.owner)
            await ask(AnswerQuestion(question_id=question.id, response=said(1)))
            found = await ended(ask, started)
            if revoked:
                assert found.status == "FAILED" and found.error.code == "denied"
            else:
                assert found.result.text == heard(1)
                (note,) = [each for each in house.audit.entries if each.details.get("taken_up")]
                assert note.decision == "allowed" and note.details["capability_id"] == grant.capability.id
                other = await ended(ask, await ask(start(session_id=session.id, as_agent=agent.id)))
                assert other.error.code == "denied", "its one use was had"
        assert tool.runs == 2 - revoked

    for revoked in (False, True):
        run(lambda revoked=revoked: scenario(revoked))


def test_what_is_taken_up_is_cancelled_like_any_other(open_house: Houses) -> None:
    async def scenario() -> None:
        lives = Lives(open_house, Asker())
        async with lives.life() as (_, ask):
            started = await ask(start(form()))
            await opened(ask, started)
        async with lives.life() as (house, ask):
            (question,) = await opened(ask, started)
            await ask(CancelExecution(execution_id=started.id))
            assert (await ended(ask, started)).status == "CANCELLED"
            with pytest.raises(NotFound):
                await ask(AnswerQuestion(question_id=question.id, response=said(1)))
            async with asyncio.timeout(LONG):
                while house.executions._live or house.questions.count():
                    await asyncio.sleep(0.01)

    run(scenario)


@pytest.mark.parametrize("how", [SuspendSession, EndSession])
def test_in_a_session_that_was_being_closed_nothing_goes_on(open_house: Houses, how: type) -> None:
    async def scenario() -> None:
        tool = Asker(handles=True)
        lives = Lives(open_house, tool)
        async with lives.life() as (house, ask):
            session = await ask(CreateSession())
            started = await ask(start(form(), session_id=session.id))
            await opened(ask, started)

            async def never(*given: Any, **options: Any) -> None:
                await asyncio.Event().wait()

            house.commands._lifecycle._quiet = house.commands._lifecycle._stop_all = never
            closing = asyncio.create_task(ask(how(session_id=session.id)))
            async with asyncio.timeout(LONG):
                while house.sessions.get(session.id).status == "active":
                    await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        async with lives.life() as (_, ask):
            assert (await ended(ask, started)).status == "INTERRUPTED"
            assert not (await ask(ListQuestions())).items
        assert tool.runs == 1

    run(scenario)


def test_a_question_whose_time_was_over_meanwhile_is_cancelled(open_house: Houses) -> None:
    async def scenario() -> None:
        lives = Lives(open_house, Asker(handles=True))
        async with lives.life() as (house, ask):
            house.questions._timeout = timedelta(seconds=0.2)
            started = await ask(start(form()))
            await opened(ask, started)
        await asyncio.sleep(0.3)
        async with lives.life() as (_, ask):
            assert (await ended(ask, started)).result.text == '[{"0": ["cancel", null]}]'

    run(scenario)


def uses(*arguments: dict[str, Any]) -> list[Any]:
    chunks = [
        ToolUseChunk(ToolUse(id=f"use_{number}", name="asks__ask", arguments=each))
        for number, each in enumerate(arguments)
    ]
    return [*chunks, Finished(stop_reason="tool_use")]


def says(text: str) -> list[Any]:
    return [TextChunk(text), Finished(stop_reason="end")]


async def asked_for_rights(ask: Any, number: int = 1) -> list[Any]:
    async with asyncio.timeout(LONG):
        while len(found := (await ask(ListApprovals())).items) < number:
            await asyncio.sleep(0.01)
    return list(found)


async def turn_over(house: Any, session: Any) -> list[Any]:
    async with asyncio.timeout(LONG):
        while True:
            records = await house.journal.read(f"session:{session.id}", limit=1000)
            happened = [record.event for record in records]
            ends = [index for index, each in enumerate(happened) if isinstance(each, TurnEnded)]
            if ends:
                return happened[: ends[0] + 1]
            await asyncio.sleep(0.01)


@KILLED
def test_an_approval_outlives_its_process_and_so_does_the_turn(open_house: Houses, killed: bool) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life(killed=killed) as (house, ask):
            house.script(uses({"n": 1}, {"n": 2}))
            session = await ask(CreateSession(profile="careful"))
            await ask(PostMessage(session_id=session.id, text="do it"))
            before = await asked_for_rights(ask, 2)
        for _ in range(2):
            async with lives.life(killed=killed) as (_, ask):
                assert sorted(each.id for each in await asked_for_rights(ask, 2)) == sorted(
                    each.id for each in before
                )
        async with lives.life() as (house, ask):
            model = house.script(says("done"))
            for each in before:
                await ask(AnswerApproval(approval_id=each.id, answer=Answer(allow=True)))
            happened = await turn_over(house, session)
            assert happened[-1].status == "completed"
            asked = [each for each in happened if isinstance(each, ApprovalAsked)]
            assert len(asked) == 2 and sum(isinstance(each, TurnStarted) for each in happened) == 1
            calls = [each for each in happened if isinstance(each, ExecutionChanged)]
            assert {each.execution_id for each in calls} == {each.execution_id for each in before}
            assert (
                sorted(each.status for each in calls) == ["completed"] * 2 + ["queued"] * 2 + ["started"] * 2
            )
            (completion,) = model.asked
            assert [output.is_error for output in completion.messages[-1].tool_outputs] == [False, False]
        assert tool.runs == 2

    run(scenario)


def test_a_turn_goes_on_when_one_of_its_calls_waits_and_hears_that_the_other_was_cut_off(
    open_house: Houses,
) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life() as (house, ask):
            house.script(uses({"wait": True}, {"rounds": [[form()]]}))
            session = await ask(CreateSession(profile="open"))
            await ask(PostMessage(session_id=session.id, text="do it"))
            async with asyncio.timeout(LONG):
                while not (await ask(ListQuestions())).items or tool.runs < 2:
                    await asyncio.sleep(0.01)
        async with lives.life() as (house, ask):
            model = house.script(says("done"))
            (question,) = (await ask(ListQuestions())).items
            assert question.again
            await ask(AnswerQuestion(question_id=question.id, response=said(7)))
            happened = await turn_over(house, session)
            assert happened[-1].status == "completed"
            (completion,) = model.asked
            outputs = {each.tool_use_id: each for each in completion.messages[-1].tool_outputs}
            assert outputs["use_0"].is_error and "the node stopped" in outputs["use_0"].text
            assert outputs["use_1"].text == heard(7)
        assert tool.runs == 3

    run(scenario)


def test_a_turn_that_goes_on_is_cancelled_like_any_other(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life() as (house, ask):
            house.script(uses({}))
            session = await ask(CreateSession(profile="careful"))
            await ask(PostMessage(session_id=session.id, text="do it"))
            (approval,) = await asked_for_rights(ask)
        async with lives.life() as (house, ask):
            async with asyncio.timeout(LONG):
                while not await ask(CancelTurn(session_id=session.id)):
                    await asyncio.sleep(0.01)
            happened = await turn_over(house, session)
            assert happened[-1].status == "cancelled"
            async with asyncio.timeout(LONG):
                while (await ask(ListApprovals())).items or house.executions._live:
                    await asyncio.sleep(0.01)
            with pytest.raises(NotFound):
                await ask(AnswerApproval(approval_id=approval.id, answer=Answer(allow=True)))
        assert tool.runs == 0

    run(scenario)


def test_an_answer_about_a_right_is_durable_before_it_is_acknowledged_and_serves_the_same_call(
    open_house: Houses,
) -> None:
    """The process dies between the yes and the start of the call: the person is not asked a second time."""

    async def scenario() -> None:
        tool = Asker()
        lives = Lives(open_house, tool)
        async with lives.life() as (house, ask):
            house.script(uses({}))
            session = await ask(CreateSession(profile="careful"))
            await ask(PostMessage(session_id=session.id, text="do it"))
            (approval,) = await asked_for_rights(ask)

            async def dies(*given: Any, **options: Any) -> Any:
                house.store.dead = True
                await asyncio.Event().wait()

            house.guard._rights._grant = dies
            await ask(AnswerApproval(approval_id=approval.id, answer=Answer(allow=True)))
        async with lives.life() as (house, ask):
            house.script(says("done"))
            happened = await turn_over(house, session)
            assert sum(isinstance(each, ApprovalAsked) for each in happened) == 1
        assert tool.runs == 1

    run(scenario)


def test_a_call_whose_right_was_asked_for_is_known_by_its_id(open_house: Houses) -> None:
    async def scenario() -> None:
        lives = Lives(open_house, Asker())
        async with lives.life() as (house, ask):
            session = await ask(CreateSession(profile="careful"))
            agent = await house.directory.spawn("worker", session_id=session.id)
            request = ToolRequest(
                session_id=session.id,
                principal_id=agent.id,
                server="asks",
                tool="ask",
                arguments={},
                may_ask=True,
            )
            calling = asyncio.create_task(house.caller.call(request))
            (approval,) = await asked_for_rights(ask)
            found = await ask(GetExecution(execution_id=approval.execution_id))
            assert found.status == "PENDING"
        await asyncio.gather(calling, return_exceptions=True)
        async with lives.life() as (house, ask):
            deny = Answer(allow=False, reason="not today")
            await ask(AnswerApproval(approval_id=approval.id, answer=deny))
            found = await ended(ask, found)
            assert found.error.code == "denied" and "not today" in json.dumps(found.error.message)

    run(scenario)
