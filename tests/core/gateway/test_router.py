import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.gateway.delegation import delegate_from_holdings
from mcp_interface.address import Resource, resource
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import Grant, GrantOptions
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, NotPermitted
from mcp_interface.ids import MessageId, PrincipalId
from mcp_interface.testing import START


def letter(to: str, sender: str = "system") -> Envelope:
    return Envelope(id=MessageId("msg_1"), to=to, sender=sender, payload="hello", timestamp=START)


async def give(house: Any, agent: str, needed: Resource, options: GrantOptions) -> Grant:
    """A right that a person holds and hands on."""
    user = house.owner
    await house.kernel.request(user, needed)
    return await delegate_from_holdings(house.kernel, user, PrincipalId(agent), needed, options)


def test_an_envelope_reaches_its_agent_and_telemetry_sees_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            heard: list[str] = []
            house.telemetry.attach("mcp.*message*", lambda name, measurements, metadata: heard.append(name))
            agent = await house.directory.spawn("worker")
            assert (await house.router.ask(letter(f"mcp://agent/{agent.id}")))["messages"] == 1
            assert heard == ["mcp.message.sent", "mcp.message.received", "mcp.agent.message_handled"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("to", "error"),
    [
        ("mcp://agent/agent_nobody", NotFound),
        ("mcp://broadcast/news", NotFound),
        ("mcp://fs/read/x", InvalidRecord),
    ],
)
def test_what_cannot_be_delivered_is_refused_and_counted(
    open_house: Callable[..., Any], to: str, error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            dropped: list[Any] = []
            house.telemetry.attach("mcp.message.dropped", lambda *event: dropped.append(event))
            with pytest.raises(error):
                await house.router.tell(letter(to))
            assert len(dropped) == 1
            assert [lost.to for lost in house.letters.page()] == [to]

    asyncio.run(scenario())


def test_everyone_who_listens_to_a_topic_hears_it_once(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            listening = {"topics": ["news"]}
            agents = [await house.directory.spawn("worker", metadata=listening) for _ in range(3)]
            await house.directory.spawn("worker")
            with pytest.raises(CallerMistaken):
                await house.router.ask(letter("mcp://broadcast/news"))
            assert await house.router.tell(letter("mcp://broadcast/news")) == 3
            for agent in agents:
                assert (await house.router.ask(letter(f"mcp://agent/{agent.id}")))["messages"] == 2
            await house.directory.stop(agents[0].id, "done")
            assert await house.router.tell(letter("mcp://broadcast/news")) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["agent", "broadcast/news"])
def test_an_agent_sends_only_where_it_has_the_right(open_house: Callable[..., Any], path: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            sender = await house.directory.spawn("worker")
            receiver = await house.directory.spawn("worker", metadata={"topics": ["news"]})
            to = f"mcp://agent/{receiver.id}" if path == "agent" else f"mcp://{path}"
            message = letter(to, sender.id)
            with pytest.raises(NotPermitted) as denied:
                await house.router.tell(message)
            assert denied.value.details["audit_seq"] is not None
            needed = resource("agent", "write", receiver.id if path == "agent" else path)
            assert denied.value.details["resource_uri"] == needed.uri
            grant = await give(house, sender.id, needed, GrantOptions())
            for _ in range(3):  # the second time it is remembered, and judged all the same
                assert await house.router.tell(message) == 1
            await house.kernel.revoke(grant.capability.id, PrincipalId(sender.id))
            with pytest.raises(NotPermitted):
                await house.router.tell(message)

    asyncio.run(scenario())


def test_a_right_with_a_count_is_counted(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            sender, receiver = [await house.directory.spawn("worker") for _ in range(2)]
            needed = resource("agent", "write", receiver.id)
            await give(house, sender.id, needed, GrantOptions(constraints={"max_uses": 2}))
            message = letter(f"mcp://agent/{receiver.id}", sender.id)
            assert [await house.router.tell(message) for _ in range(2)] == [1, 1]
            with pytest.raises(NotPermitted):
                await house.router.tell(message)

    asyncio.run(scenario())


def test_a_right_that_is_to_be_handed_on_carries_no_message(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            sender, other = [(await house.directory.spawn("worker")).id for _ in range(2)]
            needed = resource("agent", "write", other)
            marked = GrantOptions(delegation_depth=1, metadata={"for": HANDING_ON})
            await give(house, sender, needed, marked)
            with pytest.raises(NotPermitted):
                await house.router.ask(letter(f"mcp://agent/{other}", sender))
            await give(house, sender, needed, GrantOptions())
            assert (await house.router.ask(letter(f"mcp://agent/{other}", sender)))["messages"] == 1

    asyncio.run(scenario())
