import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.agents.worker import Worker
from mcp_interface.address import parse_resource
from mcp_interface.agent import Ok
from mcp_interface.capability import GrantOptions
from mcp_interface.commands import CreateSession, PostMessage
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import MessageId, PrincipalId
from mcp_interface.provider import Finished, TextChunk
from mcp_interface.testing import START, EchoAgent, MemoryStore


class Fragile(Worker):
    """A worker that breaks when it is told to."""

    async def handle_message(self, envelope: Envelope, state: Any) -> Any:
        if envelope.payload == "break":
            raise RuntimeError("broken")
        return await super().handle_message(envelope, state)


def letter(to: str, payload: Any = "hello") -> Envelope:
    return Envelope(
        id=MessageId("msg_1"), to=f"mcp://agent/{to}", sender="system", payload=payload, timestamp=START
    )


def everyone(agent: Any) -> bool:
    return True


def test_a_crashed_agent_comes_back_under_its_id_with_its_state(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.directory.offer("worker", lambda record: Fragile())
            agent = await house.directory.spawn("worker", "ann")
            ref = house.directory.ref(agent.id)
            assert (await ref.call(letter(agent.id)))["messages"] == 1
            ref.tell(letter(agent.id, "break"))
            async with asyncio.timeout(10):
                while house.directory.get(agent.id).restarts == 0:
                    await asyncio.sleep(0.005)
            assert (await ref.call(letter(agent.id)))["messages"] == 2
            events = [record.event for record in await house.journal.read(f"agent:{agent.id}")]
            assert [type(event).__name__ for event in events] == ["AgentStarted", "AgentRestarted"]

    asyncio.run(scenario())


def test_agents_survive_the_node_and_are_revived_when_needed(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            agent = await house.directory.spawn("worker", "ann")
            await house.directory.ref(agent.id).call(letter(agent.id))
        async with open_house(store) as house:
            assert house.directory.find("ann", everyone).id == agent.id
            assert (await house.directory.ref(agent.id).call(letter(agent.id)))["messages"] == 2

    asyncio.run(scenario())


def test_a_stopped_agent_is_gone_with_everything_derived_from_its_rights(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            ann = await house.directory.spawn("worker", "ann")
            bob = await house.directory.spawn("worker", "bob")
            root = house.kernel.held_by(house.owner)[0]
            handle = house.kernel.handle_of(root.id, house.owner)
            options = GrantOptions(delegation_depth=2)
            first = await house.kernel.delegate(handle, house.owner, PrincipalId(ann.id), None, options)
            await house.kernel.delegate(first.handle, PrincipalId(ann.id), PrincipalId(bob.id))
            assert house.kernel.held_by(PrincipalId(bob.id))
            await house.directory.stop(ann.id, "enough")
            await house.directory.stop(ann.id, "enough")
            assert not house.kernel.held_by(PrincipalId(bob.id))
            with pytest.raises(NotFound):
                house.directory.ref(ann.id)
            assert [agent.name for agent in house.directory.listed() if agent.type == "worker"] == ["bob"]
            assert house.directory.get(ann.id).state == "terminated"

    asyncio.run(scenario())


def test_an_agent_may_end_itself(open_house: Callable[..., Any]) -> None:
    class Mayfly(Worker):
        async def handle_message(self, envelope: Envelope, state: Any) -> Any:
            from mcp_interface.agent import Stop

            return Stop("done", state)

    async def scenario() -> None:
        async with open_house() as house:
            house.directory.offer("worker", lambda record: Mayfly())
            agent = await house.directory.spawn("worker")
            await house.directory.ref(agent.id).call(letter(agent.id))
            async with asyncio.timeout(5):
                while house.directory.get(agent.id).state == "active":
                    await asyncio.sleep(0.005)

    asyncio.run(scenario())


def test_an_agent_learns_of_its_rights(open_house: Callable[..., Any]) -> None:
    from mcp_core.agents.base import Learn

    async def scenario() -> None:
        async with open_house() as house:
            agent = await house.directory.spawn("worker")
            ref = house.directory.ref(agent.id)
            ref.tell(Learn(house.kernel.held_by(house.owner)[0]))
            rights = (await ref.call(letter(agent.id)))["rights"]
            assert [parse_resource(uri).path for uri in rights] == ["**"]

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["x" * 65, "agent_x", "tab\there"])
def test_bad_names_are_refused(open_house: Callable[..., Any], name: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            with pytest.raises(CallerMistaken):
                await house.directory.spawn("worker", name)

    asyncio.run(scenario())


def test_names_are_unique_among_the_living_and_found_by_beginning(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            ann = await house.directory.spawn("worker", "ann")
            with pytest.raises(CallerMistaken, match="is running"):
                await house.directory.spawn("worker", "ann")
            assert house.directory.find(ann.id[:16], everyone).id == ann.id
            with pytest.raises(NotFound):
                house.directory.find("agent_zzzzzzzz", everyone)
            await house.directory.stop(ann.id, "enough")
            await house.directory.spawn("worker", "ann")

    asyncio.run(scenario())


def test_any_agent_can_be_hosted(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.directory.offer("export", lambda record: EchoAgent())
            agent = await house.directory.spawn("export")
            assert isinstance(await EchoAgent().init({}), Ok)
            assert await house.directory.ref(agent.id).call(letter(agent.id, "echo")) is not None

    asyncio.run(scenario())


def test_whoever_tells_an_agent_nonsense_does_not_end_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.commands.create(house.owner, CreateSession())
            assistant = house.directory.listed(session.id)[0]
            ref = house.directory.ref(assistant.id)
            for nonsense in (letter(assistant.id, {"shape": "unknown"}), "no envelope at all"):
                ref.tell(nonsense)
            with pytest.raises(CallerMistaken, match="Begin and Cancel"):
                await house.router.ask(msgspec.structs.replace(letter(assistant.id), sender=house.owner))
            assert house.directory.get(assistant.id).restarts == 0
            house.script([TextChunk("still here"), Finished(stop_reason="end")])
            await house.commands.post(house.owner, PostMessage(session_id=session.id, text="hello"))
            assert any(
                getattr(each.event, "text", "") == "still here" for each in await house.turn(session.id)
            )

    asyncio.run(scenario())


def test_an_executor_that_was_given_up_is_replaced_at_the_next_call(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            first = next(agent for agent in house.directory.listed() if agent.type == "tool_executor")
            ref = house.directory.ref(first.id)
            while house.directory.is_active(PrincipalId(first.id)):  # until its supervisor has had enough
                ref.kill()
                await asyncio.sleep(0)
            session = await house.commands.create(house.owner, CreateSession())
            calls = [
                ToolRequest(
                    session_id=session.id,
                    principal_id=house.owner,
                    server="text",
                    tool="count_words",
                    arguments={"text": "one two"},
                    may_ask=True,
                )
                for _ in range(3)
            ]
            outcomes = await asyncio.gather(*map(house.caller.call, calls))
            assert [outcome.result.text for outcome in outcomes] == ["2"] * 3
            alive = [agent.id for agent in house.directory.listed() if agent.type == "tool_executor"]
            assert len(alive) == 1 and alive != [first.id]

    asyncio.run(scenario())
