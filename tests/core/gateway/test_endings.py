"""How things come to their end: sessions, agents, turns and calls, in the middle of something else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import tool_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import Facts, Need
from mcp_interface.commands import CancelTurn, ChangeSession, CreateSession, EndSession, PostMessage
from mcp_interface.errors import CallerMistaken, Interrupted, StorageUnavailable, WorldBroken
from mcp_interface.events import (
    AgentStopped,
    ApprovalAsked,
    ExecutionChanged,
    SessionEnded,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.provider import Chunk, Completion, Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.testing import MemoryStore
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

Houses = Callable[..., Any]


class Held(MemoryStore):
    """Holds back the append of one kind of event, before or after it is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.kind: type | None = None
        self.after = True
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def append(self, stream: str, events: Sequence[Any], **options: Any) -> Any:
        held = self.kind is not None and any(isinstance(event, self.kind) for event in events)
        if held:
            self.kind = None
        if held and not self.after:
            await self._wait()
        records = await super().append(stream, events, **options)
        if held and self.after:
            await self._wait()
        return records

    async def _wait(self) -> None:
        self.reached.set()
        await self.go.wait()


class Slow:
    """A tool that waits until it is let go."""

    def __init__(self, result: str = "done") -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.runs: list[Any] = []
        self.result = result

    def info(self) -> ToolInfo:
        return ToolInfo(server="slow", name="wait", parameters={"type": "object"}, read_only=True)

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(tool_resource("slow", "wait"), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.began.set()
        await self.go.wait()
        self.runs.append(args)
        return text_result(self.result)


def says(text: str) -> list[Chunk]:
    return [TextChunk(text), Finished(stop_reason="end", model="scripted")]


def wants(*uses: str) -> list[Chunk]:
    calls: list[Chunk] = [
        ToolUseChunk(ToolUse(id=use, name="slow__wait", arguments={"n": use})) for use in uses
    ]
    return [*calls, Finished(stop_reason="tool_use", model="scripted")]


async def events(house: Any, session: Any, *kinds: type) -> list[Any]:
    records = await house.journal.read(f"session:{session.id}")
    return [record.event for record in records if not kinds or isinstance(record.event, kinds)]


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def request(session: Any, principal: Any, **arguments: Any) -> ToolRequest:
    return ToolRequest(
        session_id=session.id, principal_id=principal, server="slow", tool="wait", arguments=arguments
    )


async def post(house: Any, session: Any, text: str = "hello") -> None:
    await house.commands.post(house.owner, PostMessage(session_id=session.id, text=text))


def test_what_runs_when_its_session_ends_is_journaled_to_its_end(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("x"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            own = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await asyncio.wait_for(tool.began.wait(), 5)
            await post(house, session)
            async with asyncio.timeout(5):
                while len(await events(house, session, ExecutionChanged)) < 2:
                    await asyncio.sleep(0.005)
            await house.commands.end(house.owner, EndSession(session_id=session.id))
            with pytest.raises(Interrupted):
                await own
            happened = await events(house, session)
            assert isinstance(happened[-1], SessionEnded)
            statuses = sorted(event.status for event in happened if isinstance(event, ExecutionChanged))
            assert statuses == ["failed", "failed", "started", "started"]
            # the model may still have the time to say its last words about the call that failed
            (ended,) = [event.status for event in happened if isinstance(event, TurnEnded)]
            assert ended in {"cancelled", "completed"}
            assert not tool.runs

    asyncio.run(scenario())


def test_ending_a_session_twice_at_once_ends_it_once(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            end = EndSession(session_id=session.id)
            await asyncio.gather(*(house.commands.end(house.owner, end) for _ in range(3)))
            records = await house.journal.read(f"agent:{session.agents[0]}")
            assert sum(isinstance(record.event, AgentStopped) for record in records) == 1
            assert len(await events(house, session, SessionEnded)) == 1

    asyncio.run(scenario())


def test_ended_sessions_hold_no_threads(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            before = threading.active_count()
            for _ in range(20):
                session = await house.commands.create(house.owner, CreateSession())
                await house.commands.end(house.owner, EndSession(session_id=session.id))
            await until(lambda: threading.active_count() - before < 3)

    asyncio.run(scenario())


def test_an_agent_that_is_being_stopped_gets_no_new_rights(open_house: Houses) -> None:
    async def scenario() -> None:
        store, tool = Held(), Slow()
        tool.go.set()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            agent = await house.directory.spawn("worker", session_id=session.id)
            store.kind, store.after = AgentStopped, False
            stopping = asyncio.create_task(house.directory.stop(agent.id, "enough"))
            await asyncio.wait_for(store.reached.wait(), 5)
            call = ToolRequest(
                session_id=session.id,
                principal_id=agent.id,
                server="slow",
                tool="wait",
                arguments={},
                may_ask=True,
            )
            outcome = await asyncio.gather(house.caller.call(call), return_exceptions=True)
            store.go.set()
            await stopping
            assert isinstance(outcome[0], Exception) and not tool.runs
            assert not house.kernel.held_by(agent.id)

    asyncio.run(scenario())


def test_a_cancelled_stop_keeps_the_list_true(open_house: Houses) -> None:
    async def scenario() -> None:
        store = Held()
        async with open_house(store) as house:
            agent = await house.directory.spawn("worker")
            store.kind = AgentStopped
            stopping = asyncio.create_task(house.directory.stop(agent.id, "enough"))
            await asyncio.wait_for(store.reached.wait(), 5)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            store.go.set()
            await until(lambda: house.directory.get(agent.id).state == "terminated")
            await until(lambda: not store_keys(store, agent.id))

    def store_keys(store: MemoryStore, agent_id: str) -> bool:
        return f"agent-state:{agent_id}" in str(vars(store))

    asyncio.run(scenario())


def test_a_tighter_profile_takes_back_what_the_looser_one_gave(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("x"), wants("b"), says("y"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session)
            await house.turn(session.id)
            await house.commands.change(house.owner, ChangeSession(session_id=session.id, profile="locked"))
            assert not house.kernel.held_by(session.agents[0])
            await post(house, session)
            async with asyncio.timeout(5):
                while len(await events(house, session, TurnEnded)) < 2:
                    await asyncio.sleep(0.005)
            assert len(tool.runs) == 1

    asyncio.run(scenario())


def test_a_message_during_a_turn_is_answered_once(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            provider = house.script(wants("a"), says("heard both"), says("once too often"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session, "one")
            await asyncio.wait_for(tool.began.wait(), 5)
            await post(house, session, "two")
            tool.go.set()
            await house.turn(session.id)
            await until(lambda: not house.sessions.get(session.id).busy)
            await asyncio.sleep(0.1)  # long enough for a second turn to begin, were there one
            assert len(await events(house, session, TurnStarted)) == 1
            assert [message.text for message in provider.asked[1].messages if message.role == "user"] == [
                "one",
                "two",
            ]

    asyncio.run(scenario())


class Lingering:
    """A model whose stream takes a moment to close."""

    name = "lingering"

    def __init__(self) -> None:
        self.asked = 0
        self.closed = asyncio.Event()

    async def stream(self, completion: Completion) -> AsyncIterator[Chunk]:
        self.asked += 1
        if self.asked > 1:
            for chunk in says("again"):
                yield chunk
            return
        yield TextChunk("one moment\n")
        try:
            await asyncio.sleep(60)
        finally:
            await self.closed.wait()

    async def models(self) -> list[str]:
        return []


def test_a_message_right_after_a_cancel_is_worked_on(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.provider = Lingering()
            session = await house.commands.create(house.owner, CreateSession())
            await post(house, session, "one")
            await until(lambda: house.provider.asked == 1)
            await asyncio.sleep(0.02)
            assert await house.commands.cancel(house.owner, CancelTurn(session_id=session.id))
            await post(house, session, "two")
            house.provider.closed.set()
            async with asyncio.timeout(5):
                while len(await events(house, session, TurnEnded)) < 2:
                    await asyncio.sleep(0.005)
            ended = await events(house, session, TurnEnded)
            assert [event.status for event in ended] == ["cancelled", "completed"]

    asyncio.run(scenario())


def test_a_cancel_while_a_turn_begins_leaves_no_open_turn(open_house: Houses) -> None:
    async def scenario() -> None:
        store = Held()
        async with open_house(store) as house:
            house.script(says("x"))
            session = await house.commands.create(house.owner, CreateSession())
            store.kind = TurnStarted
            await post(house, session)
            await asyncio.wait_for(store.reached.wait(), 5)
            await house.commands.cancel(house.owner, CancelTurn(session_id=session.id))
            store.go.set()
            async with asyncio.timeout(5):
                while not await events(house, session, TurnEnded):
                    await asyncio.sleep(0.005)
            assert not house.sessions.get(session.id).busy

    asyncio.run(scenario())


def test_many_posts_to_a_session_without_assistant_hire_one(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.script(*(says(str(number)) for number in range(6)))
            session = await house.commands.create(house.owner, CreateSession())
            await house.directory.stop(session.agents[0], "enough")
            await asyncio.gather(*(post(house, session, str(number)) for number in range(4)))
            await until(lambda: house.directory.listed(session.id))
            await house.turn(session.id)
            assert len(house.directory.listed(session.id)) == 1

    asyncio.run(scenario())


def test_names_and_limits_hold_when_many_spawn_at_once(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            named = await asyncio.gather(
                *(house.directory.spawn("worker", "bob") for _ in range(3)), return_exceptions=True
            )
            assert sum(not isinstance(outcome, Exception) for outcome in named) == 1
            spawned = await asyncio.gather(
                *(house.directory.spawn("worker", session_id=session.id, most=5) for _ in range(9)),
                return_exceptions=True,
            )
            assert sum(isinstance(outcome, CallerMistaken) for outcome in spawned) == 5
            first = next(agent for agent in house.directory.listed(session.id) if agent.type == "worker")
            await house.directory.stop(first.id, "make room")
            await house.directory.spawn("worker", session_id=session.id, most=5)

    asyncio.run(scenario())


def test_a_question_that_could_not_be_journaled_is_closed(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("x"))
            session = await house.commands.create(house.owner, CreateSession(profile="ask"))
            honest = house.sessions.add

            async def full(session_id: Any, *added: Any) -> Any:
                if any(isinstance(event, ApprovalAsked) for event in added):
                    raise StorageUnavailable("the disk is full", "free some space")
                return await honest(session_id, *added)

            house.sessions.add = full
            await post(house, session)
            await house.turn(session.id)
            assert not house.desk.pending()

    asyncio.run(scenario())


def test_calls_refused_before_they_are_journaled_still_reach_the_model(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.agents.tool_executor.MAX_CALLS", 1)

    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            provider = house.script(wants("a", "b"), says("x"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session)
            await asyncio.wait_for(tool.began.wait(), 5)
            tool.go.set()
            await house.turn(session.id)
            outputs = provider.asked[1].messages[-1].tool_outputs
            assert sorted(output.is_error for output in outputs) == [False, True]

    asyncio.run(scenario())


def test_a_result_that_is_no_data_ends_as_failed(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow("bad \udcff")
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            with pytest.raises(WorldBroken, match="not data"):
                await house.caller.call(request(session, house.owner))
            statuses = [event.status for event in await events(house, session, ExecutionChanged)]
            assert statuses == ["started", "failed"]

    asyncio.run(scenario())


def test_a_result_that_is_too_large_is_kept_whole_and_referred_to(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow("ü" * 3_000_000)
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            outcome = await house.caller.call(request(session, house.owner))
            link, note, first = outcome.result.content
            assert link["uri"] in note["text"] and first["text"].startswith("ü")
            assert house.kept == {link["uri"]: (house.owner, "ü" * 3_000_000)}
            (_, completed) = await events(house, session, ExecutionChanged)
            assert completed.result == outcome.result

    asyncio.run(scenario())


def test_an_answer_for_one_call_is_not_used_up_by_another(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession(profile="ask"))
            agent = session.agents[0]
            honest = house.kernel.delegate

            async def leisurely(*given: Any, **options: Any) -> Any:
                grant = await honest(*given, **options)
                await asyncio.sleep(0.05)
                return grant

            house.kernel.delegate = leisurely

            def call(name: str, **options: Any) -> Any:
                wish = ToolRequest(
                    session_id=session.id,
                    principal_id=agent,
                    server="slow",
                    tool="wait",
                    arguments={"n": name},
                    **options,
                )
                return asyncio.create_task(house.caller.call(wish))

            asked = call("approved", may_ask=True)
            await until(house.desk.pending)
            house.desk.answer(house.desk.pending()[0].id, Answer(allow=True), house.owner)
            await asyncio.sleep(0.02)
            beside = call("never shown to anybody")
            await asyncio.gather(asked, beside, return_exceptions=True)
            assert tool.runs == [{"n": "approved"}]

    asyncio.run(scenario())
