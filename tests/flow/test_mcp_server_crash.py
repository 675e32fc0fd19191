"""An MCP client of ours does not notice that the node behind its server was killed, but for the time that it takes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult, TextContent

from mcp_core import Portal, SocketClient, open_seal
from mcp_core.protocol.server.server import make_server
from mcp_interface.client import ClientInfo, Welcome
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.commands import AddServer, ListServers, ListSessions
from mcp_interface.server import ServerSpec
from scripted_model import scripted_model

FIXTURES = Path(__file__).parents[1] / "conformance" / "fixtures_server.py"
SECONDS = 100.0


@asynccontextmanager
async def mcp_client(node: Any, **asked: Any) -> AsyncIterator[Client]:
    """A client of our server, which is in this process and outlives the node."""

    async def connect() -> tuple[SocketClient, Welcome]:
        client = SocketClient(node.place.socket)
        return client, await client.connect(ClientInfo(name="mcp", token=node.place.read_token()))

    portal = Portal(connect, "crash", None, SystemClock())
    server = make_server(lambda _: portal, open_seal(node.place.root, SystemEntropy()))
    try:
        async with Client(server, cache=None, read_timeout_seconds=SECONDS, **asked) as client:
            yield client
    finally:
        await portal.close()


def test_a_call_that_is_waited_for_ends_although_the_node_was_killed(
    node_process: Callable[..., Any],
) -> None:
    script = [{"text": ["slow "] * 200, "chunk_delay": 0.05}, {"text": "here I am"}, {"text": "here I am"}]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            watching = await node.client()
            async with mcp_client(node) as client:
                call = asyncio.create_task(client.call_tool("assistant__ask", {"text": "are you there?"}))
                async with asyncio.timeout(SECONDS):
                    while not any(each.busy for each in (await watching.request(ListSessions())).items):
                        await asyncio.sleep(0.02)
                node.kill()
                await node.let_go()
                await node.start()
                result = await call
                assert isinstance(result, CallToolResult) and result.content
                assert len((await client.list_tools()).tools) > 5

    asyncio.run(asyncio.wait_for(scenario(), SECONDS))


def test_a_question_handed_to_a_client_is_answered_after_the_node_was_killed(
    node_process: Callable[..., Any],
) -> None:
    tool = "fx__test_input_required_result_request_state"
    answers: Any = {"confirm": ElicitResult(action="accept", content={"ok": True})}

    async def never(context: Any, params: Any) -> ElicitResult:
        raise AssertionError("the raw result is wanted")

    async def scenario() -> None:
        node = node_process({})
        await node.start()
        owner = await node.client()
        spec = ServerSpec(command=sys.executable, args=[str(FIXTURES)])
        await owner.request(AddServer(name="fx", spec=spec), timeout=SECONDS)
        await _ready(owner)
        async with mcp_client(node, elicitation_callback=never) as client:
            first = await client.session.call_tool(tool, {}, allow_input_required=True)
            assert isinstance(first, InputRequiredResult)
        node.kill()
        await node.let_go()
        await node.start()
        await _ready(await node.client())
        async with mcp_client(node, elicitation_callback=never) as client:
            last = await client.session.call_tool(
                tool, {}, input_responses=answers, request_state=first.request_state
            )
            assert isinstance(last, CallToolResult) and isinstance(last.content[0], TextContent)
            assert last.content[0].text == "state-ok", last
        await node.let_go()

    asyncio.run(asyncio.wait_for(scenario(), SECONDS))


async def _ready(owner: SocketClient) -> None:
    async with asyncio.timeout(SECONDS):
        while not any(
            s.name == "fx" and s.state == "ready" for s in (await owner.request(ListServers())).items
        ):
            await asyncio.sleep(0.05)
