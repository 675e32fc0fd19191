"""Actors killed, and sessions suspended, while something of theirs is on its way; messages that nobody may send."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from core.gateway.test_endings import Held, Slow, events, post, request, says, until, wants
from core.gateway.test_lifecycle import resume, run, suspend
from core.gateway.test_router import letter
from mcp_core.agents.tool_executor import EndCalls
from mcp_interface.commands import CreateSession, SpawnAgent
from mcp_interface.errors import CallerMistaken, NotPermitted, StorageUnavailable, UmbrellaError, WrongState
from mcp_interface.events import AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted, UserMessage
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.session import Limits
from mcp_interface.testing import MemoryStore, SeededEntropy

Houses = Callable[..., Any]


def executor(house: Any) -> Any:
    [agent] = [agent for agent in house.directory.listed() if agent.type == "tool_executor"]
    return agent


async def statuses(house: Any, session: Any) -> list[str]:
    return [event.status for event in await events(house, session, ExecutionChanged)]


async def recorded(house: Any, session: Any, wanted: list[str]) -> None:
    async with asyncio.timeout(5):
        while await statuses(house, session) != wanted:
            await asyncio.sleep(0.01)


class FullForEnds(MemoryStore):
    """Takes no end of a call while it is full."""

    full = False
    turned_away = 0

    async def append(self, stream: str, given: Any, **options: Any) -> Any:
        ends = any(isinstance(each, ExecutionChanged) and each.status == "completed" for each in given)
        if self.full and ends:
            self.turned_away += 1
            raise StorageUnavailable("the disk is full", "make room")
        return await super().append(stream, given, **options)


def test_an_end_that_is_owed_outlives_the_actor_of_its_session(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.session_actor.OWED_AGAIN_S", 0.01)

    async def scenario() -> None:
        tool, store = Slow(), FullForEnds()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            store.full = True
            tool.go.set()
            with pytest.raises(StorageUnavailable):
                await call
            house.session_actors.child(f"session:{session.id}").ref.kill()
            store.full = False
            await recorded(house, session, ["started", "completed"])
            assert not (await house.sessions.state(session.id)).running

    run(scenario)


def test_an_end_that_is_refused_while_its_session_goes_to_rest_is_recorded_later(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.session_actor.OWED_AGAIN_S", 0.01)

    async def scenario() -> None:
        tool, store = Slow(), FullForEnds()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            suspending = asyncio.create_task(suspend(house, session))
            await until(lambda: house.sessions.get(session.id).status == "suspended")
            store.full = True
            tool.go.set()
            with pytest.raises(StorageUnavailable):
                await call
            await suspending
            store.full = False
            await recorded(house, session, ["started", "completed"])

    run(scenario)


def test_a_session_killed_while_it_records_the_end_of_a_call_records_it(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.session_actor.OWED_AGAIN_S", 0.01)

    async def scenario(after: bool) -> None:
        tool, store = Slow(), Held()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            await tool.began.wait()
            store.kind, store.after = ExecutionChanged, after
            tool.go.set()
            await store.reached.wait()
            house.session_actors.child(f"session:{session.id}").ref.kill()
            store.go.set()
            assert (await call).result.text == "done"
            await recorded(house, session, ["started", "completed"])
            assert not (await house.sessions.state(session.id)).running

    for after in (False, True):
        run(lambda after=after: scenario(after))


def test_an_executor_killed_while_it_takes_a_call_neither_loses_nor_doubles_it(open_house: Houses) -> None:
    class SlowStates(MemoryStore):
        slow = False

        async def put(self, key: str, value: Any) -> None:
            if self.slow and key.startswith("agent-state:"):
                await asyncio.sleep(0.02)
            await super().put(key, value)

    async def scenario() -> None:
        tool, store = Slow(), SlowStates()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            tool.go.set()
            await house.caller.call(request(session, house.owner, n=1))
            tool.go.clear()
            tool.began.clear()
            store.slow = True
            call = asyncio.create_task(house.caller.call(request(session, house.owner, n=2)))
            await tool.began.wait()
            house.directory.ref(executor(house).id).kill()
            await asyncio.sleep(0.05)
            tool.go.set()
            assert (await call).result.text == "done"
            assert tool.runs == [{"n": 1}, {"n": 2}]

    run(scenario)


def test_who_listens_hears_again_when_its_session_is_resumed(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            command = SpawnAgent(session_id=session.id, metadata={"topics": ["news"]})
            await house.agents.spawn(house.owner, command)
            await suspend(house, session)
            await resume(house, session)
            assert await house.router.tell(letter("mcp://broadcast/news")) == 1

    run(scenario)


def test_an_assistant_killed_while_people_speak_gets_its_calls_answered_first(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            model = house.script(wants("a"), says("first"), says("second"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session, "one")
            await tool.began.wait()
            await post(house, session, "two")
            await post(house, session, "three")
            [assistant] = house.directory.listed(session.id)
            house.directory.ref(assistant.id).kill()
            await asyncio.sleep(0.05)
            assert len(model.asked) == 1  # it waits for the call
            tool.go.set()
            await house.turn(session.id)
            for completion in model.asked:
                asked = {use.id for said in completion.messages for use in said.tool_uses}
                assert asked == {out.tool_use_id for said in completion.messages for out in said.tool_outputs}

    run(scenario)


def test_a_turn_that_was_open_at_the_suspension_goes_on_at_the_resume(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        async with open_house(tools=[tool]) as house:
            house.script(wants("a"), says("done"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            await post(house, session)
            await tool.began.wait()
            suspending = asyncio.create_task(suspend(house, session))
            await until(lambda: house.sessions.get(session.id).status == "suspended")
            [assistant] = house.directory.listed(session.id)
            ref = house.directory.ref(assistant.id)
            tool.go.set()
            while not suspending.done():
                ref.kill()
                await asyncio.sleep(0)
            await suspending
            await resume(house, session)
            await house.turn(session.id)
            assert not house.sessions.get(session.id).busy

    run(scenario)


def test_an_agent_cannot_send_as_somebody_else_by_giving_its_address(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            sender, receiver = [await house.directory.spawn("worker") for _ in range(2)]
            for _ in range(2):
                with pytest.raises(NotPermitted):
                    await house.router.tell(letter(f"mcp://agent/{receiver.id}", f"mcp://agent/{sender.id}"))

    run(scenario)


def test_a_call_is_made_by_its_principal_and_ended_by_no_agent(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            worker = await house.directory.spawn("worker")
            for payload in (request(session, house.owner), EndCalls(session.id)):
                with pytest.raises(NotPermitted):
                    await (await house.caller._ask(payload, worker.id, session.id))
            assert not tool.runs

    run(scenario)


def test_nobody_without_rights_can_wear_the_executor_down(open_house: Houses) -> None:
    async def scenario() -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            worker = await house.directory.spawn("worker")
            for _ in range(20):
                with suppress(UmbrellaError):
                    await house.router.tell(letter(f"mcp://agent/{executor(house).id}", worker.id))
                await asyncio.sleep(0.005)
            assert executor(house).restarts == 0
            assert (await house.caller.call(request(session, house.owner))).result.text == "done"

    run(scenario)


def test_a_call_cancelled_before_its_start_was_taken_is_recorded_whole(open_house: Houses) -> None:
    async def scenario() -> None:
        tool, store = Slow(), Held()
        async with open_house(store, tools=[tool]) as house:
            session = await house.commands.create(house.owner, CreateSession())
            store.kind, store.after = UserMessage, False
            saying = asyncio.create_task(house.sessions.post(session.id, house.owner, "hello"))
            await store.reached.wait()
            call = asyncio.create_task(house.caller.call(request(session, house.owner)))
            for _ in range(20):
                await asyncio.sleep(0.001)
            call.cancel()
            await asyncio.sleep(0.01)
            store.go.set()
            await asyncio.gather(call, saying, return_exceptions=True)
            async with asyncio.timeout(5):
                while not (made := await events(house, session, ExecutionChanged)):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            made = await events(house, session, ExecutionChanged)
            assert made[0].call is not None and made[0].call.tool == "wait"

    run(scenario)


def test_a_session_does_not_fall_asleep_over_what_somebody_just_said(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            limits = Limits(idle_timeout_s=1.0)
            session = await house.commands.create(house.owner, CreateSession(limits=limits))
            lifecycle = house.commands._lifecycle
            said = asyncio.Event()
            plain = house.sessions.state

            async def state(session_id: Any) -> Any:
                found = await plain(session_id)
                if not said.is_set():
                    said.set()
                    await house.sessions.post(session_id, house.owner, "hello?")
                return found

            house.sessions.state = state
            with pytest.raises(WrongState):
                await lifecycle._suspend_idle(house.sessions.get(session.id))
            assert house.sessions.get(session.id).status == "active"

    run(scenario)


def test_an_agent_called_for_while_it_goes_to_rest_is_there(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            agent = await house.directory.spawn("worker")
            first = house.directory.ref(agent.id)
            resting = asyncio.create_task(house.directory.rest(agent.id))
            while (again := house.directory.ref(agent.id)) is first:
                await asyncio.sleep(0)
            await resting
            assert house.directory.ref(agent.id) is again
            assert (await house.router.ask(letter(f"mcp://agent/{agent.id}")))["messages"] == 1

    run(scenario)


@pytest.mark.parametrize("topics", [[""], ["x" * 201], ["a\nb"], "news", ["news"] * 101])
def test_who_wants_to_listen_to_what_is_no_topic_does_not_come_to_life(
    open_house: Houses, topics: Any
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            before = house.directory.listed()
            with pytest.raises(CallerMistaken, match="topic"):
                await house.agents.spawn(house.owner, SpawnAgent(metadata={"topics": topics}))
            assert house.directory.listed() == before

    run(scenario)


def test_an_agent_with_an_impossible_topic_does_not_keep_a_node_from_starting(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            monkeypatch.setattr("mcp_core.agents.directory.check_topics", lambda metadata: None)
            odd = await house.directory.spawn("worker", metadata={"topics": ["", "news"]})
        async with open_house(store) as house:
            assert await house.router.tell(letter("mcp://broadcast/news")) == 1
            assert house.directory.get(odd.id).state == "active"

    run(scenario)


def test_an_assistant_killed_at_any_moment_answers_once(open_house: Houses) -> None:
    async def scenario(moment: int) -> None:
        async with open_house(Leisurely()) as house:
            house.script(says("done"), says("done again"))
            session = await house.commands.create(house.owner, CreateSession())
            await post(house, session)
            for _ in range(moment):
                await asyncio.sleep(0)
            [assistant] = house.directory.listed(session.id)
            house.directory.ref(assistant.id).kill()
            await house.turn(session.id)
            happened = await events(house, session, TurnStarted, AssistantMessage, TurnEnded)
            assert [type(event) for event in happened] == [TurnStarted, AssistantMessage, TurnEnded]
            assert happened[-1].status == "completed"

    for moment in range(30):
        run(lambda moment=moment: scenario(moment))


class Leisurely(MemoryStore):
    """Takes its time before and after each append, as a disk does."""

    async def append(self, stream: str, given: Any, **options: Any) -> Any:
        async def written() -> Any:
            await asyncio.sleep(0)
            records = await super(Leisurely, self).append(stream, given, **options)
            await asyncio.sleep(0)
            return records

        return await asyncio.shield(asyncio.ensure_future(written()))  # who leaves stops no disk


def test_a_session_killed_at_any_moment_of_a_turn_loses_and_doubles_nothing(
    open_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(moment: int) -> None:
        tool = Slow()
        tool.go.set()
        async with open_house(Leisurely(), tools=[tool]) as house:
            house.script(wants("a"), says("done"))
            session = await house.commands.create(house.owner, CreateSession(profile="open"))
            posting = asyncio.create_task(post(house, session))
            for _ in range(moment):
                await asyncio.sleep(0)
            house.session_actors.child(f"session:{session.id}").ref.kill()
            await posting
            records = await house.turn(session.id)
            said = [type(record.event).__name__ for record in records]
            assert said.count("UserMessage") == said.count("TurnStarted") == 1
            assert records[-1].event.status == "completed", records[-1].event
            assert tool.runs == [{"n": "a"}]
            assert said.count("AssistantMessage") == 2
            assert await statuses(house, session) == ["started", "completed"]

    for moment in range(0, 150, 3):
        run(lambda moment=moment: scenario(moment))


def test_who_asks_a_session_that_goes_to_rest_between_two_incarnations_is_answered(
    open_house: Houses,
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            ref = house.session_actors.child(f"session:{session.id}").ref
            ref.kill()
            ref.kill()  # the second time it is brought back after a pause
            asking = asyncio.create_task(house.sessions.state(session.id))
            saying = asyncio.create_task(house.sessions.post(session.id, house.owner, "hello"))
            await asyncio.sleep(0)
            await house.sessions.rest(session.id)
            assert (await asking).session is not None
            assert (await saying).event.text == "hello"

    run(scenario)


def test_only_agents_of_the_owner_listen_to_the_topics_of_a_node(open_house: Houses) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            guest = PrincipalId(new_id("user", SeededEntropy(9)))
            session = await house.commands.create(guest, CreateSession())
            wish = SpawnAgent(session_id=session.id, metadata={"topics": ["news"]})
            with pytest.raises(NotPermitted):
                await house.agents.spawn(guest, wish)
            await house.agents.spawn(guest, SpawnAgent(session_id=session.id))
            await house.agents.spawn(house.owner, SpawnAgent(metadata={"topics": ["news"]}))
            assert await house.router.tell(letter("mcp://broadcast/news", house.owner)) == 1

    run(scenario)
