import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_interface.envelope import Envelope
from mcp_interface.errors import InvalidRecord, NotFound
from mcp_interface.ids import MessageId
from mcp_interface.testing import START


def letter(to: str) -> Envelope:
    return Envelope(id=MessageId("msg_1"), to=to, sender="system", payload="hello", timestamp=START)


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
                house.router.tell(letter(to))
            with pytest.raises(error):
                await house.router.ask(letter(to))
            assert len(dropped) == 2

    asyncio.run(scenario())
