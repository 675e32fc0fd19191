"""A whole conversation with two tool calls over either vendor's protocol, streamed to a follower."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from mcp_core import SocketClient
from mcp_interface.approval import Answer
from mcp_interface.client import TextDelta
from mcp_interface.commands import (
    AnswerApproval,
    ChangeSession,
    CreateSession,
    GetStatus,
    ListCapabilities,
    PostMessage,
    ShareVariables,
)
from mcp_interface.events import ApprovalAsked, AssistantMessage, ExecutionChanged, TurnEnded
from mcp_interface.session import Session
from mcp_interface.store import Record
from scripted_model import scripted_model


class Heard:
    """Everything of one turn."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.streamed: dict[str, str] = {}

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def say(client: SocketClient, session: Session, text: str, answer: Answer | None = None) -> Heard:
    posted = await client.request(PostMessage(session_id=session.id, text=text))
    heard = Heard()
    async with asyncio.timeout(30):
        async for notice in client.follow(session.id, after=posted.position):
            match notice:
                case TextDelta():
                    heard.streamed[notice.message_id] = (
                        heard.streamed.get(notice.message_id, "") + notice.text
                    )
                case Record():
                    heard.events.append(notice.event)
                    if isinstance(notice.event, ApprovalAsked) and answer is not None:
                        question = notice.event.approval
                        await client.request(AnswerApproval(approval_id=question.id, answer=answer))
                    if isinstance(notice.event, TurnEnded):
                        return heard
    raise AssertionError("the turn did not end")


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_conversation_with_two_tool_calls_streams(
    node_process: Callable[..., Any], tmp_path: Path, vendor: Literal["openai", "anthropic"]
) -> None:
    (tmp_path / "poem.txt").write_text("roses are red")
    script = [
        {
            "tool_calls": [
                {"name_contains": "read_file", "arguments": {"path": str(tmp_path / "poem.txt")}},
                {"name_contains": "list_directory", "arguments": {"path": str(tmp_path)}},
            ]
        },
        {"text": [f"line {number}\n" for number in range(20)], "chunk_delay": 0.01},
    ]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ(vendor))
            await node.start()
            client = await node.client()
            assert (await client.request(GetStatus())).model.ready
            session = await client.request(CreateSession(metadata={"cwd": str(tmp_path)}))
            heard = await say(client, session, "what is in the poem?")
            assert heard.of(TurnEnded)[0].status == "completed", heard.of(TurnEnded)
            assert sorted(event.status for event in heard.of(ExecutionChanged)) == (
                ["completed", "completed", "started", "started"]
            )
            final = heard.of(AssistantMessage)[-1]
            assert final.text == "".join(f"line {number}\n" for number in range(20))
            assert final.usage.output_tokens > 0
            assert heard.streamed[final.message_id] == final.text
            rights = await client.request(ListCapabilities(principal=session.agents[0]))
            assert {right.metadata["by"] for right in rights.items} == {"profile careful"}
            assert "roses are red" in str(model.requests()[1]["body"])
            await client.disconnect()

    asyncio.run(scenario())


@pytest.mark.parametrize("allow", [True, False])
def test_a_write_is_asked_about_and_the_answer_is_heard(
    node_process: Callable[..., Any], tmp_path: Path, allow: bool
) -> None:
    target = tmp_path / "new.txt"
    call = {"name_contains": "write_file", "arguments": {"path": str(target), "content": "hello"}}
    script = [{"tool_call": call}, {"text": "the tool said: {tool_output}"}]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession(metadata={"cwd": str(tmp_path)}))
            heard = await say(client, session, "write it", Answer(allow=allow, reason="wrong file"))
            assert target.exists() is allow
            final = heard.of(AssistantMessage)[-1].text
            assert ("wrong file" in final) is not allow
            await client.disconnect()

    asyncio.run(scenario())


def test_a_node_that_runs_already_learns_of_a_model(node_process: Callable[..., Any]) -> None:
    async def scenario() -> None:
        with scripted_model([{"text": "hello"}]) as model:
            node = node_process({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""})
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession())
            heard = await say(client, session, "anybody there?")
            end = heard.of(TurnEnded)[0]
            assert end.error.code == "model_unavailable" and "OPENAI_BASE_URL" in end.error.remedy
            assert (await client.request(ShareVariables(variables=model.environ("openai")))).ready
            heard = await say(client, session, "and now?")
            assert heard.of(AssistantMessage)[-1].text == "hello"
            log = node.place.log.read_text() + node.place.audit.read_text()
            assert model.environ("openai")["OPENAI_API_KEY"] not in log
            await client.disconnect()

    asyncio.run(scenario())


def test_a_locked_session_neither_runs_nor_asks(node_process: Callable[..., Any], tmp_path: Path) -> None:
    call = {"name_contains": "read_file", "arguments": {"path": str(tmp_path / "x")}}

    async def scenario() -> None:
        with scripted_model([{"tool_call": call}, {"text": "{tool_output}"}]) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession(metadata={"cwd": str(tmp_path)}))
            session = await client.request(ChangeSession(session_id=session.id, profile="locked"))
            heard = await say(client, session, "read it")
            assert not heard.of(ApprovalAsked)
            assert heard.of(ExecutionChanged)[0].error.code == "denied"
            assert "umbrella grant" in heard.of(AssistantMessage)[-1].text
            await client.disconnect()

    asyncio.run(scenario())
