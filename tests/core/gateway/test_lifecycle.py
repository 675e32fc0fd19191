"""Sessions come to rest, go on, end and are forked, in the middle of something else and over restarts."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.gateway.test_endings import Slow, events, post, request, says, until, wants
from mcp_core.gateway import lifecycle
from mcp_core.gateway.state import stream_of
from mcp_interface.commands import (
    ChangeSession,
    CreateSession,
    EndSession,
    ForkSession,
    PostMessage,
    ResumeSession,
    SpawnAgent,
    SuspendSession,
    Wish,
)
from mcp_interface.errors import Interrupted, StorageCorrupt, TooMuch, WrongState
from mcp_interface.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ExecutionChanged,
    SessionEnded,
    SessionEnding,
    SessionResumed,
    SessionSuspended,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.ids import SYSTEM
from mcp_interface.session import Limits
from mcp_interface.testing import MemoryStore

Houses = Callable[..., Any]


def in_memory(house: Any, session: Any) -> list[str]:
    """Actors of a session that are there now."""
    agents = house.sessions.get(session.id).agents
    return [
        key for key in (session.id, *agents) if key in house.sessions._refs or key in house.directory._awake
    ]


async def suspend(house: Any, session: Any) -> Any:
    return await house.commands.suspend(house.owner, SuspendSession(session_id=session.id))


async def resume(house: Any, session: Any) -> Any:
    return await house.commands.resume(house.owner, ResumeSession(session_id=session.id))


def run(scenario: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_a_tool_call_that_runs_is_finished_then_the_turn_stops_and_all_leaves_memory(
    open_house: Houses,
) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("never said"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session)
            await tool.began.wait()
            suspending = asyncio.create_task(suspend(house, session))
            await until(lambda: house.sessions.get(session.id).status == "suspended")
            assert not suspending.done()
            tool.go.set()
            resting = await suspending
            assert resting.status == "suspended" and not resting.busy
            assert tool.runs == [{"n": "a"}]
            happened = await events(house, session, SessionSuspended, ExecutionChanged, TurnEnded)
            kinds = [type(event) for event in happened]
            assert kinds == [ExecutionChanged, SessionSuspended, ExecutionChanged, TurnEnded]
            assert [happened[2].status, happened[3].status] == ["completed", "cancelled"]
            assert in_memory(house, session) == []
            assert len(house.directory.listed(session.id)) == 1  # it lives on, without memory

    run(scenario)


def test_a_tool_call_that_does_not_finish_in_time_is_cancelled(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "QUIET_S", 0.05)

    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            await suspend(house, session)
            with pytest.raises(Interrupted):
                await call
            assert [event.status for event in await events(house, session, ExecutionChanged)] == [
                "started",
                "failed",
            ]
            assert not tool.runs

    run(scenario)


def test_in_a_suspended_session_nothing_begins(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            worker = await house.agents.spawn(
                house.owner,
                SpawnAgent(
                    name="hand", session_id=session.id, grants=[Wish(resource_uri="mcp://tool/execute/**")]
                ),
            )
            await suspend(house, session)
            held = list(house.kernel.capabilities())
            beginnings = (
                house.caller.call(request(session, house.owner)),
                house.caller.call(request(session, worker.id)),
                house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello?")),
                house.agents.spawn(house.owner, SpawnAgent(session_id=session.id)),
            )
            for beginning in beginnings:
                with pytest.raises(WrongState, match=f"umbrella sessions resume {session.id}"):
                    await beginning
            assert not tool.runs
            assert list(house.kernel.capabilities()) == held  # a refused call gives nobody anything
            assert len(house.directory.listed(session.id)) == 2
            await resume(house, session)
            await house.caller.call(request(session, worker.id))
            assert len(tool.runs) == 1

    run(scenario)


def test_a_question_that_waits_is_withdrawn_and_a_late_yes_begins_nothing(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("x"))
            session = await house.commands.create(house.owner, CreateSession(profile="ask"))
            await post(house, session)
            await until(house.desk.pending)
            await suspend(house, session)
            assert not house.desk.pending() and not tool.runs and in_memory(house, session) == []
            (asked,) = await events(house, session, ApprovalAsked)
            (answered,) = await events(house, session, ApprovalAnswered)
            assert answered.approval_id == asked.approval.id and not answered.answer.allow
            assert (await house.sessions.state(session.id)).asked == {}

    run(scenario)


def test_what_nobody_had_answered_is_answered_after_the_resume(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("about both"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session, "first")
            await tool.began.wait()
            await post(house, session, "second")
            suspending = asyncio.create_task(suspend(house, session))
            await until(lambda: house.sessions.get(session.id).status == "suspended")
            tool.go.set()
            await suspending
            house.script(says("about both"))
            going = await resume(house, session)
            assert going.status == "active"
            await until(lambda: not house.sessions.get(session.id).busy)
            await house.until(
                session.id,
                lambda record: (
                    getattr(record.event, "status", "") == "completed" and isinstance(record.event, TurnEnded)
                ),
            )
            assert len(await events(house, session, TurnStarted)) == 2

    run(scenario)


def test_a_suspended_session_stays_so_over_a_restart_until_it_is_resumed(open_house: Houses) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            session = await house.commands.create(house.owner, CreateSession())
            house.script(says("one"))
            await post(house, session)
            await house.turn(session.id)
            await suspend(house, session)
        async with open_house(store) as house:
            house.script(says("two"))
            assert house.sessions.get(session.id).status == "suspended"
            assert house.waiting == [] and in_memory(house, session) == []
            with pytest.raises(WrongState):
                await post(house, session)
            await resume(house, session)
            await post(house, session)
        async with open_house(store) as house:
            assert house.sessions.get(session.id).status == "active"

    run(scenario)


def test_an_end_that_a_crash_cut_off_is_finished_at_the_next_start(open_house: Houses) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            session = await house.commands.create(house.owner, CreateSession())
            ending = SessionEnding(timestamp=house.clock.now(), by=house.owner, reason="enough")
            await house.sessions.add(session.id, ending)
        async with open_house(store) as house:
            assert house.sessions.get(session.id).status == "terminating"
            house.commands.begin(house.waiting)
            await until(lambda: house.sessions.get(session.id).status == "terminated")
            assert house.directory.listed(session.id) == []
            await house.commands.close()

    run(scenario)


def test_a_session_in_which_nothing_happens_is_suspended_after_its_own_time(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LOOK_S", 0.01)

    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            soon = CreateSession(limits=Limits(idle_timeout_s=0.02))
            idle = await house.commands.create(house.owner, soon)
            working = await house.commands.create(house.owner, soon)
            call = asyncio.create_task(house.caller.call(request(working, house.owner)))
            await tool.began.wait()
            patient = await house.commands.create(
                house.owner, CreateSession(limits=Limits(idle_timeout_s=3600))
            )
            house.commands.begin([])
            await until(lambda: house.sessions.get(idle.id).status == "suspended")
            (event,) = await events(house, idle, SessionSuspended)
            assert event.by == SYSTEM and "idle" in event.reason
            assert house.sessions.get(patient.id).status == "active"
            assert house.sessions.get(working.id).status == "active"
            tool.go.set()
            await call
            await until(lambda: house.sessions.get(working.id).status == "suspended")
            await house.commands.close()

    run(scenario)


def test_a_graceful_end_lets_tool_calls_finish(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            end = EndSession(session_id=session.id, cleanup="graceful")
            ending = asyncio.create_task(house.commands.end(house.owner, end))
            await until(lambda: house.sessions.get(session.id).status == "terminating")
            with pytest.raises(WrongState):
                await post(house, session)
            tool.go.set()
            await ending
            assert (await call).result.text == "done"
            happened = await events(house, session)
            assert isinstance(happened[-1], SessionEnded)
            assert house.directory.listed(session.id) == []

    run(scenario)


class Stubborn(Slow):
    """Does not let go when it is cancelled."""

    async def execute(self, args: dict[str, Any], context: Any) -> Any:
        self.began.set()
        while True:
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue
            raise asyncio.CancelledError


def test_a_forced_end_does_not_wait_for_what_does_not_let_go(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "FORCE_S", 0.05)

    async def scenario() -> None:
        tool = Stubborn()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            gentle = EndSession(session_id=session.id, cleanup="graceful")
            waiting = asyncio.create_task(house.commands.end(house.owner, gentle))
            await until(lambda: house.sessions.get(session.id).status == "terminating")
            force = EndSession(session_id=session.id, cleanup="force", reason="now")
            await house.commands.end(house.owner, force)
            assert house.sessions.get(session.id).status == "terminated"
            (ended,) = await events(house, session, SessionEnded)
            assert ended.reason == "now" and not call.done()
            tool.go.set()
            await asyncio.gather(call, waiting, return_exceptions=True)
            assert house.directory.listed(session.id) == []
            # what ran still came to its end in the journal
            assert [event.status for event in await events(house, session, ExecutionChanged)] == [
                "started",
                "failed",
            ]

    run(scenario)


def test_a_session_whose_history_cannot_be_read_is_in_error_until_it_can(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            await suspend(house, session)
            real = house.store.read

            async def broken(stream: str, **options: Any) -> Any:
                if stream == stream_of(session.id):
                    raise StorageCorrupt("the bytes are not what was written", "restore a backup")
                return await real(stream, **options)

            house.store.read = broken
            with pytest.raises(StorageCorrupt):
                await resume(house, session)
            assert house.sessions.get(session.id).status == "error"
            assert house.sessions.listed(house.owner, False)[0].status == "error"
            house.store.read = real
            assert (await resume(house, session)).status == "active"

    run(scenario)


def test_several_people_at_the_same_button_do_it_once(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            for step, kind in ((suspend, SessionSuspended), (resume, SessionResumed)):
                await asyncio.gather(*(step(house, session) for _ in range(5)))
                assert len(await events(house, session, kind)) == 1
            await asyncio.gather(suspend(house, session), resume(house, session), suspend(house, session))
            assert house.sessions.get(session.id).status in {"active", "suspended"}
            await resume(house, session)
            house.script(says("still here"))
            await post(house, session)
            assert (await house.turn(session.id))[-1].event.status == "completed"

    run(scenario)


def test_agents_that_a_forced_end_left_behind_are_ended_at_the_next_start(open_house: Houses) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            session = await house.commands.create(house.owner, CreateSession())
            await house.sessions.end(session.id, "the node dies before it comes to the agents")
        async with open_house(store) as house:
            assert len(house.directory.listed(session.id)) == 1
            house.commands.begin(house.waiting)
            await until(lambda: not house.directory.listed(session.id))
            await house.commands.close()

    run(scenario)


# -- forks -----------------------------------------------------------------------------------------------


async def fork(house: Any, session: Any, **options: Any) -> Any:
    return await house.commands.fork(house.owner, ForkSession(session_id=session.id, **options))


def test_a_fork_in_the_middle_of_a_turn_takes_the_words_and_leaves_the_work(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("done with it"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session)
            await tool.began.wait()
            made = await fork(house, session)
            mine, its = await house.sessions.state(session.id), await house.sessions.state(made.id)
            assert its.window == mine.window and mine.running
            assert (its.running, its.turn, its.asked) == ({}, None, {})
            assert not made.busy and made.status == "active"
            (assistant,) = house.directory.listed(made.id)
            assert assistant.id not in session.agents and not house.kernel.held_by(assistant.id)
            (other,) = house.directory.listed(session.id)
            assert house.kernel.held_by(other.id)  # what the profile gave to the one is its own
            tool.go.set()
            await house.turn(session.id)
            assert len(tool.runs) == 1
            house.script(says("on another way"))
            await post(house, made, "go on")
            assert (await house.turn(made.id))[-1].event.status == "completed"
            assert [message.text for message in (await house.sessions.state(session.id)).window][
                -1
            ] == "done with it"

    run(scenario)


def test_a_fork_at_a_message_that_nobody_answered_is_answered(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.script(says("one way"))
            session = await house.commands.create(house.owner, CreateSession())
            posted = await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            await house.turn(session.id)
            house.script(says("another way"))
            made = await fork(house, session, position=posted.position)
            await house.turn(made.id)
            window = (await house.sessions.state(made.id)).window
            assert [message.text for message in window] == ["hello", "another way"]

    run(scenario)


def test_a_fork_is_whole_without_its_parent_and_over_a_restart(open_house: Houses) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            house.script(says("one"))
            session = await house.commands.create(house.owner, CreateSession(profile="ask"))
            await post(house, session)
            await house.turn(session.id)
            await house.commands.change(house.owner, ChangeSession(session_id=session.id, profile="locked"))
            made = await fork(house, session)
            window = (await house.sessions.state(made.id)).window
            await house.commands.end(house.owner, EndSession(session_id=session.id))
            await house.journal.delete_stream(stream_of(session.id))
        async with open_house(store) as house:
            again = house.sessions.get(made.id)
            assert (again.profile, again.forked_from) == ("locked", made.forked_from)
            assert (await house.sessions.state(made.id)).window == window

    run(scenario)


def test_what_is_too_long_to_be_copied_at_once_is_not_copied_in_part(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.sessions.MAX_FORK", 100)

    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession(title="long" * 50))
            count = house.sessions.count()
            with pytest.raises(TooMuch, match="the most that can be forked"):
                await fork(house, session)
            assert house.sessions.count() == count

    run(scenario)


def test_somebody_elses_session_cannot_be_forked_or_suspended(open_house: Houses) -> None:
    async def scenario() -> None:
        from mcp_interface.errors import NotFound
        from mcp_interface.ids import PrincipalId, new_id

        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            stranger = PrincipalId(new_id("user", house.entropy))
            for handler, command in (
                (house.commands.fork, ForkSession(session_id=session.id)),
                (house.commands.suspend, SuspendSession(session_id=session.id)),
                (house.commands.resume, ResumeSession(session_id=session.id)),
            ):
                with pytest.raises(NotFound):
                    await handler(stranger, command)
            assert house.sessions.get(session.id).status == "active"

    run(scenario)
