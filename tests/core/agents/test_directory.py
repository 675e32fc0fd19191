import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.agents.worker import Worker
from mcp_interface.address import parse_resource
from mcp_interface.agent import Ok
from mcp_interface.capability import GrantOptions
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import MessageId, PrincipalId
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
            assert house.directory.find("ann").id == agent.id
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
            assert house.directory.find(ann.id[:16]).id == ann.id
            with pytest.raises(NotFound):
                house.directory.find("agent_zzzzzzzz")
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
