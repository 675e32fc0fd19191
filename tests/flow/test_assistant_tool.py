"""The assistant as a tool: a program asks it, and the answer comes also when the node dies in between."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import Node, Settings, SocketClient
from mcp_interface.client import Client, ClientInfo, ToolProgress
from mcp_interface.commands import (
    CallTool,
    CreateSession,
    GetSession,
    GrantCapability,
    ListSessions,
    ReadSession,
    SpawnAgent,
)
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.events import UserMessage
from mcp_interface.execution import Execution, GetExecution, StartExecution
from mcp_interface.ids import SessionId
from mcp_interface.tool import ToolResult
from scripted_model import scripted_model

SERVER = "assistant"


def with_node(folder: Path, script: list[dict[str, Any]], work: Callable[[Client], Any]) -> None:
    async def scenario() -> None:
        with scripted_model(script) as model:
            settings = Settings(data_dir=folder, environ=model.environ("openai"))
            async with asyncio.timeout(60), Node(settings) as node:
                client = node.client()
                await client.connect(ClientInfo(name="test", token=node.owner_token))
                await work(client)

    asyncio.run(scenario())


async def call(client: Client, tool: str, **arguments: Any) -> ToolResult:
    return (await client.request(CallTool(server=SERVER, tool=tool, arguments=arguments))).result


def test_it_answers_in_a_new_conversation_and_goes_on_in_it(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        first = await call(client, "ask", text="hello")
        assert first.text == "one" and not first.is_error
        conversation = first.structured["conversation"]
        again = await call(client, "ask", text="and then?", conversation=conversation)
        assert again.structured == {"conversation": conversation, "text": "two"}
        (listed,) = (await call(client, "list_conversations")).structured["conversations"]
        assert (listed["conversation"], listed["title"]) == (conversation, "hello")
        said = (await call(client, "read_conversation", conversation=conversation)).structured["messages"]
        assert [each["text"] for each in said] == ["hello", "one", "and then?", "two"]
        await call(client, "send_message", conversation=conversation, text="thanks")
        async with asyncio.timeout(20):
            while True:
                told = await call(client, "read_conversation", conversation=conversation)
                if len(told.structured["messages"]) == 6:
                    break
                await asyncio.sleep(0.05)

    with_node(tmp_path, [{"text": "one"}, {"text": "two"}, {"text": "three"}], work)


def test_it_tells_how_it_goes_on(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        shares: list[float] = []
        session = await client.request(CreateSession())

        async def watch() -> None:
            async for notice in client.follow(session.id):
                if isinstance(notice, ToolProgress):
                    shares.append(notice.progress)

        watching = asyncio.create_task(watch())
        ask = CallTool(server=SERVER, tool="ask", arguments={"text": "x"}, session_id=session.id)
        await client.request(ask)
        watching.cancel()
        assert shares and shares == sorted(shares) and shares[-1] < 100

    with_node(tmp_path, [{"text": ["a" * 50] * 10, "chunk_delay": 0.01}], work)


def test_a_turn_that_fails_is_told_as_a_failure(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        result = await call(client, "ask", text="hello")
        assert result.is_error and "failed" in result.text

    with_node(tmp_path, [{"status": 400}], work)


def test_conversations_of_others_do_not_exist_and_agents_are_kept_out(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        nowhere = "session_" + "1" * 32
        for tool, more in (
            ("ask", {"text": "x"}),
            ("read_conversation", {}),
            ("send_message", {"text": "x"}),
        ):
            with pytest.raises(NotFound):
                await call(client, tool, conversation=nowhere, **more)
            with pytest.raises(CallerMistaken, match=f"{SERVER}/{tool}"):
                await call(client, tool, conversation="mine", **more)
        ann = await client.request(SpawnAgent(name="ann"))
        right = GrantCapability(agent=ann.id, resource_uri=f"mcp://tool/execute/{SERVER}/**")
        await client.request(right)
        with pytest.raises(NotPermitted, match="no person"):
            await client.request(CallTool(server=SERVER, tool="list_conversations", as_agent=ann.id))

    with_node(tmp_path, [], work)


def test_a_question_outlives_the_node_and_is_asked_once(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    script = [{"text": ["slow "] * 200, "chunk_delay": 0.05}, {"text": "quick"}, {"text": "quick"}]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            begun = await client.request(
                StartExecution(server=SERVER, tool="ask", arguments={"text": "are you there?"})
            )
            session_id = await _asked(client)
            node.kill()
            await node.let_go()
            await node.start()
            client = await node.client()
            ended: Execution = await client.request(
                GetExecution(execution_id=begun.id, wait_s=60), timeout=70
            )
            assert ended.over and ended.result is not None, ended
            records = (await client.request(ReadSession(session_id=session_id))).items
            assert sum(isinstance(record.event, UserMessage) for record in records) == 1
            assert ended.result.structured["conversation"] == session_id
            await node.let_go()

    asyncio.run(scenario())


async def _asked(client: SocketClient) -> SessionId:
    """Wait until the assistant is at work on it."""
    async with asyncio.timeout(30):
        while True:
            for session in (await client.request(ListSessions())).items:
                if session.busy:
                    return (await client.request(GetSession(session_id=session.id))).id
            await asyncio.sleep(0.02)
