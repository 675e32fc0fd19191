"""Tasks in one process: given or not at all, queued, bounded, timed, ended with what is above them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from core.gateway.teaming import Team, open_team_house
from mcp_core.gateway import tasks as module
from mcp_core.tools.team import Order
from mcp_interface.budget import Budget
from mcp_interface.commands import (
    CreateSession,
    EndSession,
    ForkSession,
    GrantCapability,
    ListSessions,
    PostMessage,
    SpawnAgent,
    Wish,
)
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    NotPermitted,
    StorageUnavailable,
    TooMuch,
    WrongState,
)
from mcp_interface.events import TaskGiven, TaskMoved, UserMessage
from mcp_interface.ids import PrincipalId
from mcp_interface.provider import Completion
from mcp_interface.session import Limits, Session
from mcp_interface.task import ENDED, Task
from mcp_interface.team import CancelTask, GiveTask, ListTasks
from mcp_interface.testing import MemoryStore
from mcp_interface.testing.exams.tool import check_tool
from mcp_interface.tool import Tool

READ = "mcp://fs/read/srv/docs/**"
STRANGER = PrincipalId("user_" + "5" * 32)
PATIENCE_S = 10.0


async def begun(team: Team, **fields: Any) -> Session:
    session: Session = await team.house.commands.create(team.house.owner, CreateSession(**fields))
    return session


async def give(team: Team, session: Session, goal: str = "say this", *rights: str, **fields: Any) -> Task:
    wishes = [Wish(resource_uri=uri) for uri in rights]
    command = GiveTask(session_id=session.id, goal=goal, grants=wishes, **fields)
    return await team.commands.give(team.house.owner, command)


async def ended(team: Team, *given: Task) -> list[Task]:
    async with asyncio.timeout(PATIENCE_S):
        return [await team.tasks.wait(task.id, PATIENCE_S) for task in given]


async def until(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted():
            await asyncio.sleep(0.005)


async def for_ever(completion: Completion) -> str:
    await asyncio.sleep(3600)
    raise AssertionError("for ever")


def test_a_task_is_worked_on_in_a_session_of_its_own_and_heard_of(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session = await begun(team, metadata={"cwd": "/srv", "other": 1}, model="best")
            task = await give(team, session, "say this", READ, name="parrot")
            (done,) = await ended(team, task)
            assert (done.status, done.result) == ("completed", "SAY THIS")
            child = house.sessions.get(done.child_id)
            assert child.status == "terminated" and child.lineage.by == house.owner
            assert (child.model, child.metadata["cwd"], child.profile) == ("best", "/srv", "locked")
            assert "other" not in child.metadata
            assert READ in team.model.asked[0].system, "it is told what it may use"
            assert not house.kernel.held_by(PrincipalId(done.agent_id))
            kinds = [
                type(record.event)
                for record in await house.journal.read(f"session:{session.id}")
                if isinstance(record.event, TaskGiven | TaskMoved)
            ]
            assert kinds == [TaskGiven, TaskMoved, TaskMoved]
            assert [each.id for each in (await house.commands.listed(house.owner, ListSessions(ended=True))).items] == [
                session.id
            ]  # fmt: skip
            assert (await team.commands.listed(house.owner, ListTasks())).items == [done]
            assert not (await team.commands.listed(STRANGER, ListTasks())).items
            with pytest.raises(NotFound):
                await team.commands.cancel(STRANGER, CancelTask(task_id=task.id))
            with pytest.raises(NotFound):
                await team.commands.give(STRANGER, GiveTask(session_id=session.id, goal="x"))

    asyncio.run(scenario())


def test_a_failed_turn_is_a_failed_task_with_its_reason(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            team.house.provider = None
            (done,) = await ended(team, await give(team, await begun(team)))
            assert done.status == "failed" and done.error is not None
            assert done.error.code == "model_unavailable" or "model" in done.error.message

    asyncio.run(scenario())


def test_what_cannot_be_given_leaves_nothing_behind(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session = await begun(team)
            giver = session.agents[0] if session.agents else house.sessions.get(session.id).agents[0]
            agents = house.directory.count()
            with pytest.raises(NotPermitted, match="cannot hand on"):
                await give(team, session, "x", READ, parent=giver)
            with pytest.raises(CallerMistaken):
                await give(team, session, "x", "fs/read/x")
            await house.agents.spawn(house.owner, SpawnAgent(name="taken"))
            with pytest.raises(CallerMistaken, match="is running"):
                await give(team, session, "x", READ, name="taken")
            real = house.sessions.add

            async def refuses(session_id: Any, *events: Any) -> Any:
                if any(isinstance(event, TaskGiven) for event in events):
                    raise StorageUnavailable("the disk is gone", "mend it")
                return await real(session_id, *events)

            house.sessions.add = refuses
            with pytest.raises(StorageUnavailable):
                await give(team, session, "x", READ)
            house.sessions.add = real
            assert not team.tasks.index.open() and not team.tasks.index.left()
            assert house.directory.count() == agents + 1, "the one with the name"
            held = {each.principal_id for each in house.kernel.capabilities()}
            assert held == {house.owner}
            assert team.tasks.pool.status(session.id).running == 0
            house.commands.lifecycle.team = None
            await house.commands.lifecycle.end(session.id, house.owner, "", "immediate")
            with pytest.raises(WrongState):
                await give(team, session)

    asyncio.run(scenario())


def test_three_run_and_the_others_wait_up_to_a_bound(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            held = asyncio.Event()

            async def answer(completion: Completion) -> str:
                await held.wait()
                return completion.messages[-1].text

            team.model.answers = answer
            session = await begun(team)
            given = [await give(team, session, f"number {number}") for number in range(35)]
            with pytest.raises(TooMuch, match="3 running tasks and 32 that wait"):
                await give(team, session)
            await until(lambda: len(team.model.asked) == 3)
            gone = await team.commands.cancel(team.house.owner, CancelTask(task_id=given[4].id))
            assert gone.status == "cancelled" and gone.started_at is None
            held.set()
            done = await ended(team, *given)
            assert [each.status for each in done].count("completed") == 34
            starts = sorted((each.started_at, each.given_at) for each in done if each.started_at)
            assert [given_at for _, given_at in starts] == sorted(given_at for _, given_at in starts)

    asyncio.run(scenario())


def test_waiting_and_working_have_their_time(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_S", 0.2)

    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            team.model.answers = for_ever
            waiting = await begun(team)
            given = [await give(team, waiting) for _ in range(4)]
            first, last = await ended(team, await give(team, await begun(team), timeout_s=0.2), given[3])
            assert (first.status, first.error.code) == ("failed", "timeout")
            assert (last.status, last.error.code) == ("failed", "timeout")
            assert "worked on" in first.error.message and "turn" in last.error.message
            assert team.house.sessions.get(first.child_id).status == "terminated"

    asyncio.run(scenario())


def test_an_agent_gives_through_its_tool_and_its_cancelled_turn_ends_what_it_waits_for(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        from mcp_interface.commands import CancelTurn
        from mcp_interface.provider import ToolUse, ToolUseChunk

        async def answer(completion: Completion) -> Any:
            said = completion.messages[-1]
            if said.role == "user" and said.text == "delegate":
                names = {tool.name for tool in completion.tools}
                name = next(each for each in names if each.endswith("delegate"))
                return ToolUseChunk(
                    tool_use=ToolUse(id="u1", name=name, arguments={"goal": "below", "wait": wait})
                )
            if said.text == "below":
                return await for_ever(completion)
            return "told"

        for wait in (True, False):
            async with open_team_house(open_house) as team:
                house, team.model.answers = team.house, answer
                session = await begun(team)
                giver = house.sessions.get(session.id).agents[0]
                right = GrantCapability(agent=giver, resource_uri="mcp://agent/execute/llm")
                await house.agents.grant(house.owner, right)
                await house.commands.post(house.owner, PostMessage(session_id=session.id, text="delegate"))
                await until(lambda: bool(team.tasks.index.open()) and len(team.model.asked) >= 2)
                (task,) = team.tasks.index.open()
                if wait:
                    assert await house.commands.cancel(house.owner, CancelTurn(session_id=session.id))
                    (done,) = await ended(team, task)
                    assert done.status == "cancelled" and "waited" in done.error.message
                else:
                    await house.turn(session.id)
                    assert team.tasks.find(task.id).status == "running", "nobody waits: it goes on by itself"

    asyncio.run(scenario())


@pytest.mark.parametrize("cleanup", ["graceful", "immediate", "force"])
def test_the_end_of_a_session_ends_what_was_given_in_it(open_house: Callable[..., Any], cleanup: Any) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house, team.model.answers = team.house, for_ever
            session = await begun(team)
            given = [await give(team, session, "x", READ) for _ in range(4)]
            await until(lambda: len(team.model.asked) == 3)
            await house.commands.end(house.owner, EndSession(session_id=session.id, cleanup=cleanup))
            done = await ended(team, *given)
            assert {each.status for each in done} == {"cancelled"}
            await until(lambda: all(house.sessions.is_over(each.child_id) for each in done))
            await until(lambda: not any(house.kernel.held_by(PrincipalId(each.agent_id)) for each in done))
            assert not team.tasks.index.left()

    asyncio.run(scenario())


def test_a_session_in_which_somebody_works_is_not_idle(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            team.model.answers = for_ever
            session = await begun(team)
            task = await give(team, session)
            lifecycle = team.house.commands.lifecycle
            limits = msgspec.structs.replace(session.limits, idle_timeout_s=0.001)
            idle = msgspec.structs.replace(team.house.sessions.get(session.id), limits=limits)
            await lifecycle._suspend_idle(idle)
            assert team.house.sessions.get(session.id).status == "active"
            await team.commands.cancel(team.house.owner, CancelTask(task_id=task.id))
            await lifecycle._suspend_idle(idle)
            assert team.house.sessions.get(session.id).status == "suspended"

    asyncio.run(scenario())


def test_tasks_are_not_given_too_far_below_a_person(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            team.model.answers = for_ever
            session = await begun(team)
            for _ in range(module.GENERATIONS):
                task = await give(team, session)
                session = team.house.sessions.get(task.child_id)
            with pytest.raises(CallerMistaken, match="below a person"):
                await give(team, session)

    asyncio.run(scenario())


def test_a_fork_has_neither_the_tasks_nor_the_lineage(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session = await begun(team)
            (done,) = await ended(team, await give(team, session, "say this", READ))
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="and so on"))
            await house.turn(session.id)
            above = await house.commands.fork(house.owner, ForkSession(session_id=session.id))
            assert [each.id for each in (await team.commands.listed(house.owner, ListTasks())).items] == [
                done.id
            ]
            copied = [type(record.event) for record in await house.journal.read(f"session:{above.id}")]
            assert UserMessage in copied and TaskGiven not in copied and TaskMoved not in copied
            below = await house.commands.fork(house.owner, ForkSession(session_id=done.child_id))
            assert below.lineage is None and below.profile == "locked"
            assert not team.tasks.index.left(), "it is a session of its own"
            for agent in house.directory.listed(below.id):
                assert not house.kernel.held_by(PrincipalId(agent.id))

    asyncio.run(scenario())


def test_an_order_under_one_id_is_given_once(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            session = await begun(team)
            order = Order(
                task_id=team.tasks.new_id(),
                session_id=session.id,
                by=team.house.owner,
                goal="once",
                grants=[],
            )
            first = await team.tasks.give(order)
            (done,) = await ended(team, first)
            again = await team.tasks.give(order)
            assert again == done and len(team.model.asked) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("step", ["TaskGiven", "running", "said"])
def test_whatever_the_last_step_was_the_next_process_goes_on_from_there(
    open_house: Callable[..., Any], step: str
) -> None:
    """The node dies right before a step is written: what was made for it is ended, or gone on with, once."""

    async def scenario() -> None:
        store = MemoryStore()
        async with open_team_house(open_house, store) as team:
            house = team.house
            session = await begun(team)
            real = house.sessions.add

            async def dies(session_id: Any, *events: Any) -> Any:
                event = events[0]
                if (
                    (step == "TaskGiven" and isinstance(event, TaskGiven))
                    or (step == "running" and isinstance(event, TaskMoved))
                    or (step == "said" and isinstance(event, UserMessage))
                ):
                    await asyncio.sleep(3600)
                return await real(session_id, *events)

            house.sessions.add = dies
            giving = asyncio.create_task(give(team, session, "say this", READ))
            async with asyncio.timeout(PATIENCE_S):
                if step == "TaskGiven":
                    while not team.tasks.index.left():
                        await asyncio.sleep(0.005)
                else:
                    await giving
                    while step == "said" and team.tasks.index.open()[0].status != "running":
                        await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            house.executions.stop()
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)
            await team.tasks.close()
            before = len(team.model.asked)
        assert before == 0
        async with open_team_house(open_house, store) as team:
            found = list(team.tasks.index.each())
            if step == "TaskGiven":
                assert not found, "it was never answered for"
            else:
                (done,) = await ended(team, *found)
                assert (done.status, done.result) == ("completed", "SAY THIS")
                assert len(team.model.asked) == 1
            await until(lambda: not team.tasks.index.left())
            lives = [each for each in team.house.directory.listed() if each.type == "llm"]
            assert [each.session_id for each in lives] == [session.id]
            assert {each.principal_id for each in team.house.kernel.capabilities()} == {team.house.owner}

    asyncio.run(scenario())


def test_what_is_spent_on_a_task_is_spent_by_the_session_above(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            limits = Limits(budget=Budget(max_tokens=1))
            session = await begun(team, limits=limits)
            (first,) = await ended(team, await give(team, session))
            assert first.status == "completed"
            spent = team.house.sessions.get(session.id).spent
            assert spent == team.house.sessions.get(first.child_id).spent and spent.answers == 1
            (second,) = await ended(team, await give(team, session))
            assert second.status == "failed" and second.error.code == "overloaded"
            assert session.id in second.error.message, "it is the budget above that is used up"
            poor = await give(team, await begun(team), "y", budget=Budget(max_tokens=0))
            (third,) = await ended(team, poor)
            assert third.status == "failed" and third.child_id in third.error.message
            assert len(team.model.asked) == 1

    asyncio.run(scenario())


def test_a_team_tool_passes_the_exam_of_tools(open_house: Callable[..., Any]) -> None:
    @asynccontextmanager
    async def made() -> AsyncIterator[Tool]:
        async with open_team_house(open_house) as team:
            yield await team.house.toolbox.find("team", "task_status", 1.0)

    asyncio.run(check_tool(made, good={}, bad=[{"task": "x"}, {"all": True}]))


def test_ends_are_counted_from_when_work_began(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            (done,) = await ended(team, await give(team, await begun(team)))
            assert done.started_at is not None and done.ended_at is not None
            assert timedelta(0) <= done.ended_at - done.started_at and done.given_at <= done.started_at
            assert done.status in ENDED

    asyncio.run(scenario())
