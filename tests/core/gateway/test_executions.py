"""Tool calls as things of their own, in a house where every step can be held."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosting import run
from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.commands import (
    CallTool,
    CreateSession,
    EndSession,
    ForkSession,
    SuspendSession,
)
from mcp_interface.errors import Interrupted, LostRace, NodeUnavailable, NotFound, StorageUnavailable, TooMuch
from mcp_interface.events import ExecutionChanged
from mcp_interface.execution import (
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    StartExecution,
    advance_execution,
)
from mcp_interface.ids import ExecutionId, PrincipalId, new_id
from mcp_interface.testing import MemoryStore, SeededEntropy
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

STRANGER = PrincipalId(new_id("user", SeededEntropy(8)))
UNKNOWN = ExecutionId(new_id("exec", SeededEntropy(8)))
LONG = 45.0
EXAMPLES = 300 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 15
DEEDS = st.tuples(st.sampled_from(["start", "start", "cancel", "release", "tick"]), st.integers(0, 9))


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(LONG):
        while not (found := await look()):
            await asyncio.sleep(0.01)
        return found


class Held:
    """A tool that waits until it is let go, says how far it is, and counts its runs."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.peak = 0
        self.stubborn = False
        self.read_only = True

    def info(self) -> ToolInfo:
        return ToolInfo(server="held", name="wait", parameters={"type": "object"}, read_only=self.read_only)

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(tool_resource("held", "wait"), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.began.append(args)
        self.peak = max(self.peak, len(self.began) - len(self.ended))
        if context.progress is not None:
            await context.progress(250.0, "more than all")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            await self.go.wait()
        finally:
            self.ended.append(args)
        return text_result(str(args))


class Refusing(MemoryStore):
    """Refuses to append while it is told to."""

    refuse = False

    async def append(self, *given: Any, **options: Any) -> Any:
        if self.refuse:
            raise StorageUnavailable("the disk is full", "free some space")
        return await super().append(*given, **options)


Ask = Callable[..., Awaitable[Any]]


def in_a_house(
    open_house: Callable[..., Any],
    work: Callable[[Any, Held, Ask], Awaitable[None]],
    store: MemoryStore | None = None,
) -> None:
    async def scenario() -> None:
        tool = Held()
        async with open_house(store, tools=[tool]) as house:
            handlers = {**house.calls.handlers(), **house.commands.handlers()}

            async def ask(command: Any, who: Any = None) -> Any:
                return await handlers[type(command)](who or house.owner, command)

            await work(house, tool, ask)

    run(scenario)


def held(number: int = 0, **options: Any) -> StartExecution:
    return StartExecution(server="held", tool="wait", arguments={"n": number}, **options)


async def all_left(house: Any) -> None:
    """Nothing is held for calls that are over."""
    await until(lambda: asyncio.sleep(0, not house.executions._live and not house.executions._lanes))


async def ended(ask: Ask, execution: Execution, who: Any = None) -> Execution:
    found: Execution = await ask(GetExecution(execution_id=execution.id, wait_s=LONG), who)
    return found


def test_only_its_person_or_who_began_it_knows_of_a_call(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        session = await ask(CreateSession())
        agent = await house.directory.spawn("worker", session_id=session.id)
        other = await house.directory.spawn("worker", session_id=session.id)
        mine = await ask(held(session_id=session.id))
        its = await ask(held(session_id=session.id, as_agent=agent.id))
        await until(lambda: asyncio.sleep(0, tool.began))
        tool.go.set()
        for execution in (mine, its):
            await ended(ask, execution)
            strangers = [STRANGER, other.id, *([agent.id] if execution is mine else [])]
            for stranger in strangers:
                for command in (
                    GetExecution(execution_id=execution.id, wait_s=LONG),
                    CancelExecution(execution_id=execution.id),
                ):
                    with pytest.raises(NotFound, match="no execution"):
                        await ask(command, stranger)
        assert (await ended(ask, its, agent.id)).principal_id == agent.id
        assert [each.id for each in (await ask(ListExecutions(), agent.id)).items] == [its.id]
        assert not (await ask(ListExecutions(), STRANGER)).items
        with pytest.raises(NotFound, match="no session"):
            await ask(ListExecutions(session_id=session.id), STRANGER)
        for command in (GetExecution(execution_id=UNKNOWN), CancelExecution(execution_id=UNKNOWN)):
            with pytest.raises(NotFound, match="umbrella executions list"):
                await ask(command)

    in_a_house(open_house, work)


def test_a_strangers_wait_is_refused_at_once_while_the_call_runs(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        started = await ask(held())
        for command in (
            GetExecution(execution_id=started.id, wait_s=300),
            CancelExecution(execution_id=started.id),
        ):
            with pytest.raises(NotFound):
                async with asyncio.timeout(10):
                    await ask(command, STRANGER)
        tool.go.set()
        assert (await ended(ask, started)).status == "SUCCESS"

    in_a_house(open_house, work)


def test_a_wait_ends_with_the_call_or_when_time_is_up(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        started = await ask(held())
        await until(lambda: asyncio.sleep(0, tool.began))
        seen = await ask(GetExecution(execution_id=started.id, wait_s=0.01))
        assert seen.status == "RUNNING" and seen.ended_at is None
        assert (seen.progress, seen.message) == (100.0, "more than all")
        waiting = [asyncio.create_task(ended(ask, started)) for _ in range(20)]
        tool.go.set()
        assert {each.status for each in await asyncio.gather(*waiting)} == {"SUCCESS"}
        await all_left(house)

    in_a_house(open_house, work)


def test_so_many_run_at_once_others_wait_in_order_and_beyond_the_bound_none_is_taken(
    open_house: Callable[..., Any],
) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._at_once, house.executions._admitted = 2, 5
        session = await ask(CreateSession())
        started = [await ask(held(number, session_id=session.id)) for number in range(5)]
        with pytest.raises(TooMuch, match="5 calls running or waiting"):
            await ask(held(5, session_id=session.id))
        with pytest.raises(TooMuch):
            await ask(CallTool(server="held", tool="wait", session_id=session.id))
        elsewhere = await ask(held(6))
        agent = await house.directory.spawn("worker", session_id=session.id)
        await ended(ask, await ask(held(7, session_id=session.id, as_agent=agent.id)))  # its own lane; denied
        await until(lambda: asyncio.sleep(0, len(tool.began) == 3))
        listed = (await ask(ListExecutions(session_id=session.id, status="PENDING"))).items
        assert [each.id for each in listed] == [each.id for each in reversed(started[2:])]
        third = await ask(CancelExecution(execution_id=started[2].id))
        assert third.status == "CANCELLED" and third.started_at is None
        assert third.error.message == "held/wait was cancelled before it began"
        tool.go.set()
        for each in (*started[:2], *started[3:], elsewhere):
            assert (await ended(ask, each)).status == "SUCCESS"
        assert [args["n"] for args in tool.began if args["n"] != 6] == [0, 1, 3, 4]
        assert tool.peak == 3
        again = await ask(held(8, session_id=session.id))
        assert (await ended(ask, again)).status == "SUCCESS"
        await all_left(house)

    in_a_house(open_house, work)


def test_a_refused_call_leaves_no_trace(open_house: Callable[..., Any]) -> None:
    store = Refusing()

    async def work(house: Any, tool: Held, ask: Ask) -> None:
        session = await ask(CreateSession())
        store.refuse = True
        with pytest.raises(StorageUnavailable):
            await ask(held(session_id=session.id))
        store.refuse = False
        assert not (await ask(ListExecutions())).items
        await ask(EndSession(session_id=session.id))
        with pytest.raises(LostRace):
            await ask(held(session_id=session.id))
        assert not (await ask(ListExecutions())).items
        assert not tool.began and not house.executions._live and not house.executions._lanes

    in_a_house(open_house, work, store)


def test_an_end_that_the_journal_refuses_is_known_when_it_takes_it(open_house: Callable[..., Any]) -> None:
    store = Refusing()

    async def work(house: Any, tool: Held, ask: Ask) -> None:
        started = await ask(held())
        await until(lambda: asyncio.sleep(0, tool.began))
        store.refuse = True
        tool.go.set()
        await until(lambda: asyncio.sleep(0, not house.executions._live))
        seen = await ask(GetExecution(execution_id=started.id))
        assert seen.status == "RUNNING", "what is not durable has not happened"
        store.refuse = False

        async def over() -> bool:
            return bool((await ask(GetExecution(execution_id=started.id))).over)

        await until(over)
        found = await ask(GetExecution(execution_id=started.id))
        assert found.status == "SUCCESS" and found.result.text == "{'n': 0}"

    in_a_house(open_house, work, store)


def test_the_end_of_a_session_ends_what_waits_and_what_runs_in_it(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._at_once = 1
        session = await ask(CreateSession())
        started = [await ask(held(number, session_id=session.id)) for number in range(3)]
        await until(lambda: asyncio.sleep(0, tool.began))
        await ask(EndSession(session_id=session.id))
        for each in started:
            assert (await ended(ask, each)).status == "CANCELLED"
        assert len(tool.began) == 1
        await all_left(house)

    in_a_house(open_house, work)


def test_what_waits_when_its_session_is_suspended_does_not_begin(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._at_once = 1
        session = await ask(CreateSession())
        running, waiting = [await ask(held(number, session_id=session.id)) for number in range(2)]
        await until(lambda: asyncio.sleep(0, tool.began))
        suspending = asyncio.create_task(ask(SuspendSession(session_id=session.id)))
        await until(lambda: asyncio.sleep(0, house.sessions.get(session.id).status == "suspended"))
        with pytest.raises(LostRace):
            await ask(held(2, session_id=session.id))
        tool.go.set()
        await suspending
        assert (await ended(ask, running)).status == "SUCCESS"
        found = await ended(ask, waiting)
        assert found.status == "FAILED" and found.started_at is None, found
        assert len(tool.began) == 1

    in_a_house(open_house, work)


def test_a_fork_copies_the_history_of_a_call_and_not_the_call(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        tool.go.set()
        session = await ask(CreateSession())
        started = await ask(held(session_id=session.id))
        over = await ended(ask, started)
        fork = await ask(ForkSession(session_id=session.id))
        assert [each.id for each in (await ask(ListExecutions())).items] == [started.id]
        assert not (await ask(ListExecutions(session_id=fork.id))).items
        assert await ended(ask, started) == over

    in_a_house(open_house, work)


def test_a_cancel_in_the_moment_of_the_end_loses_no_result(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        tool.go.set()
        for turns in range(60):
            started = await ask(held(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            await ask(CancelExecution(execution_id=started.id))
            found = await ended(ask, started)
            records = await house.journal.read(f"session:{started.session_id}")
            happened = [
                record.event.status
                for record in records
                if isinstance(record.event, ExecutionChanged) and record.event.execution_id == started.id
            ]
            assert happened[0] == "queued" and happened[-1] in {"completed", "failed"}
            assert len(happened) <= 3 and happened.count("started") == len(happened) - 2, happened
            assert found.status == ("SUCCESS" if happened[-1] == "completed" else "CANCELLED")
        await all_left(house)

    in_a_house(open_house, work)


def test_a_tool_that_does_not_let_go_is_running_until_it_does(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.executions.LET_GO_S", 0.01)

    async def work(house: Any, tool: Held, ask: Ask) -> None:
        tool.stubborn = True
        started = await ask(held())
        await until(lambda: asyncio.sleep(0, tool.began))
        assert (await ask(CancelExecution(execution_id=started.id))).status == "RUNNING"
        tool.go.set()
        assert (await ended(ask, started)).status == "SUCCESS", "it had its way"

    in_a_house(open_house, work)


@pytest.mark.parametrize("place", ["in the queue", "before an answer", "while it runs"])
def test_a_call_that_somebody_waits_for_can_be_cancelled_by_id(
    open_house: Callable[..., Any], place: str
) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._at_once = 1
        session = await ask(CreateSession(profile="ask"))
        agent = session.agents[0]
        request = ToolRequest(
            session_id=session.id,
            principal_id=agent if place == "before an answer" else house.owner,
            server="held",
            tool="wait",
            arguments={},
            may_ask=True,
        )
        calls = [asyncio.create_task(house.caller.call(request)) for _ in range(2)]
        wanted = "RUNNING" if place == "while it runs" else "PENDING"

        async def found() -> list[Execution]:
            if place == "before an answer" and not house.desk.pending():
                return []
            page = await ask(ListExecutions(session_id=session.id))
            return [each for each in page.items if each.status == wanted] if len(page.items) == 2 else []

        victim = (await until(found))[-1]
        stopped = await ask(CancelExecution(execution_id=victim.id))
        assert stopped.status == "CANCELLED", stopped
        assert (stopped.started_at is not None) == (place == "while it runs")
        tool.go.set()
        for each in (await ask(ListExecutions(session_id=session.id))).items:
            await ask(CancelExecution(execution_id=each.id))
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(each, Interrupted) for each in told), told
        await all_left(house)

    in_a_house(open_house, work)


def test_what_breaks_on_the_way_to_the_tool_is_journaled_and_holds_nothing(
    open_house: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        async def broken(request: Any) -> Any:
            raise RuntimeError("no way through")

        request = ToolRequest(
            session_id=(await ask(CreateSession())).id,
            principal_id=house.owner,
            server="held",
            tool="wait",
            arguments={},
        )
        started = await house.executions.start(request, broken)
        found = await ended(ask, started)
        assert found.status == "FAILED" and found.error.code == "internal"
        await all_left(house)

    in_a_house(open_house, work)


@pytest.mark.parametrize("harmless", [True, False])
def test_a_node_that_is_stopping_takes_no_call_and_leaves_what_goes_on_to_the_next(
    open_house: Callable[..., Any], harmless: bool
) -> None:
    async def scenario() -> None:
        store, tool = MemoryStore(), Held()
        tool.read_only = harmless
        async with open_house(store, tools=[tool]) as house:
            house.executions._at_once = 1
            ask = house.calls.handlers()
            started = [await ask[StartExecution](house.owner, held(number)) for number in range(2)]
            await until(lambda: asyncio.sleep(0, tool.began))
            await house.executions.close()
            with pytest.raises(NodeUnavailable):
                await ask[StartExecution](house.owner, held(2))
            await all_left(house)
            seen = [
                (await ask[GetExecution](house.owner, GetExecution(execution_id=each.id))).status
                for each in started
            ]
            assert seen == ["RUNNING" if harmless else "INTERRUPTED", "PENDING"]
        tool.go.set()
        async with open_house(store, tools=[tool]) as house:
            get = house.calls.handlers()[GetExecution]
            ends = [
                await get(house.owner, GetExecution(execution_id=each.id, wait_s=LONG)) for each in started
            ]
            assert [each.status for each in ends] == ["SUCCESS" if harmless else "INTERRUPTED", "SUCCESS"]
            if not harmless:
                assert "the node stopped" in ends[0].error.message
            runs = [args["n"] for args in tool.began]
            assert runs == ([0, 0, 1] if harmless else [0, 1])

    run(scenario)


@given(steps=st.lists(DEEDS, max_size=25))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_each_call_ends_once_and_within_the_bounds(
    open_house: Callable[..., Any], steps: list[tuple[str, int]]
) -> None:
    """The law: what was accepted ends exactly once, is then as the journal says, and no lane runs too many."""

    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._at_once, house.executions._admitted = 2, 4
        started: list[Execution] = []
        for deed, number in steps:
            if deed == "start":
                with suppress(TooMuch):
                    started.append(await ask(held(number)))
            elif deed == "cancel" and started:
                await ask(CancelExecution(execution_id=started[number % len(started)].id))
            elif deed == "release":
                tool.go.set()
            for _ in range(number if deed == "tick" else 0):
                await asyncio.sleep(0)
        tool.go.set()
        for each in started:
            found = await ended(ask, each)
            found.validate()
            assert found.status in {"SUCCESS", "CANCELLED"}
        await all_left(house)
        assert tool.peak <= 2
        events = [
            record.event
            for record in await house.journal.read_all()
            if isinstance(record.event, ExecutionChanged)
        ]
        for each in started:
            told = [event for event in events if event.execution_id == each.id]
            assert [event.status in {"completed", "failed"} for event in told].count(True) == 1
            replayed: Execution | None = None
            for event in told:
                replayed = advance_execution(replayed, event)
            assert replayed == await ask(GetExecution(execution_id=each.id))
        # a call that is cancelled while its start is written has one, and its tool has not begun
        count = Counter(event.status for event in events)
        assert count["completed"] <= len(tool.began) <= count["started"]

    in_a_house(open_house, work)


def test_only_so_many_summaries_are_held_and_the_rest_is_read_from_the_journal(
    open_house: Callable[..., Any],
) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        house.executions._index._kept = 3
        tool.go.set()
        started = []
        for number in range(6):
            started.append(await ask(held(number)))
            await ended(ask, started[-1])
        listed = (await ask(ListExecutions())).items
        assert [each.id for each in listed] == [each.id for each in reversed(started[3:])]
        for number, each in enumerate(started):
            found = await ended(ask, each)
            assert found.result.text == f"{{'n': {number}}}" and found.started_at is not None
        first = await ask(ListExecutions(limit=2))
        second = await ask(ListExecutions(limit=2, cursor=first.cursor))
        assert [each.id for each in first.items + second.items] == [each.id for each in listed]
        assert second.cursor is None

    in_a_house(open_house, work)


def test_a_plain_call_is_an_execution_too(open_house: Callable[..., Any]) -> None:
    async def work(house: Any, tool: Held, ask: Ask) -> None:
        calling = asyncio.create_task(ask(CallTool(server="held", tool="wait", arguments={"n": 1})))
        (seen,) = await until(lambda: listed(ask))
        tool.go.set()
        outcome = await calling
        assert outcome.execution_id == seen.id
        found = await ended(ask, seen)
        assert found.result == outcome.result
        records = await house.journal.read(f"session:{seen.session_id}")
        happened = [record.event.status for record in records if isinstance(record.event, ExecutionChanged)]
        assert happened == ["started", "completed"], "it is answered for at its end only"

    async def listed(ask: Ask) -> list[Execution]:
        return [each for each in (await ask(ListExecutions())).items if each.status == "RUNNING"]

    in_a_house(open_house, work)
