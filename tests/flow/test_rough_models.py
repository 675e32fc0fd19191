"""Whole conversations with a model that is cut off, busy, broken, slow, confused or too small, over both protocols."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flow.test_conversation import Heard, say

from mcp_core import SocketClient
from mcp_interface.budget import Budget
from mcp_interface.client import TextDelta
from mcp_interface.commands import (
    CancelTurn,
    ChangeSession,
    CreateSession,
    GetSession,
    PostMessage,
    ReadSession,
)
from mcp_interface.conversing import CompactWindow, GetUsage, GetWindow, RetryTurn
from mcp_interface.errors import WrongState
from mcp_interface.events import AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted
from mcp_interface.session import Session
from mcp_interface.store import Record
from scripted_model import ScriptedModel, scripted_model

VENDORS = ["openai", "anthropic"]
TOO_LONG = {"openai": "context_length_exceeded", "anthropic": "invalid_request_error"}


async def again(client: SocketClient, session: Session) -> Heard:
    """Try the last message again; what happened from the wish on."""
    known = await client.request(ReadSession(session_id=session.id))
    await client.request(RetryTurn(session_id=session.id))
    heard = Heard()
    async with asyncio.timeout(30):
        async for notice in client.follow(session.id, after=known.items[-1].position):
            if isinstance(notice, Record):
                heard.events.append(notice.event)
                if isinstance(notice.event, TurnEnded) and heard.of(TurnStarted):
                    return heard
    raise AssertionError("the turn did not end")


def told(model: ScriptedModel) -> str:
    """What the model was sent last."""
    return str(model.requests()[-1]["body"])


def rough(
    node_process: Callable[..., Any],
    tmp_path: Path,
    vendor: str,
    work: Callable[[SocketClient, Session, ScriptedModel], Any],
) -> None:
    async def scenario() -> None:
        with scripted_model([]) as model:
            node = node_process(model.environ(vendor))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession(metadata={"cwd": str(tmp_path)}))
            await work(client, session, model)
            await client.disconnect()

    asyncio.run(scenario())


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_endpoint_that_is_busy_broken_or_cut_off(
    node_process: Callable[..., Any], tmp_path: Path, vendor: str
) -> None:
    (tmp_path / "AGENTS.md").write_text("We use tabs here.")

    async def work(client: SocketClient, session: Session, model: ScriptedModel) -> None:
        model.add({"status": 429, "retry_after": 0}, {"status": 500}, {"text": "at last"})
        heard = await say(client, session, "hello")
        assert heard.of(TurnEnded)[0].status == "completed"
        [message] = heard.of(AssistantMessage)
        assert message.text == "at last" and message.stop == "end"
        assert 0 < message.first_token_s <= message.duration_s and message.provider == vendor
        assert "We use tabs here." in told(model) and str(tmp_path) in told(model)

        model.add({"text": ["The answer ", "is forty-", "two"], "cut_after": 2})
        heard = await say(client, session, "what is it?")
        end = heard.of(TurnEnded)[0]
        assert end.status == "failed" and end.error.code == "model_unavailable"
        [message] = heard.of(AssistantMessage)
        assert (message.text, message.stop) == ("The answer is forty-", "interrupted")
        model.add({"text": "It is 42."})
        heard = await again(client, session)
        assert heard.of(AssistantMessage)[-1].text == "It is 42."
        assert "forty" not in told(model) and told(model).count("what is it?") == 1
        with pytest.raises(WrongState, match="was not cut"):
            await client.request(RetryTurn(session_id=session.id))

        model.add({"text": ["Half ", "of it"], "error_after": 1})
        heard = await say(client, session, "and now?")
        assert heard.of(AssistantMessage)[-1].stop == "interrupted"
        model.add({"text": "go on"})
        heard = await say(client, session, "never mind")  # without a retry the cut words stay, with a mark
        assert "This answer broke off here" in told(model)

    rough(node_process, tmp_path, vendor, work)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_model_that_is_confused_cut_at_its_length_or_too_small(
    node_process: Callable[..., Any], tmp_path: Path, vendor: str
) -> None:
    async def work(client: SocketClient, session: Session, model: ScriptedModel) -> None:
        call = {"name_contains": "read_file", "raw_arguments": '{"path": "/etc/ho'}
        model.add({"tool_call": call}, {"text": "{tool_output}"})
        heard = await say(client, session, "read it")
        assert [each.status for each in heard.of(ExecutionChanged)] == ["failed"]
        assert "cannot be read" in heard.of(AssistantMessage)[-1].text

        model.add({"tool_call": call, "stop": "length"}, {"text": "{tool_output}"})
        heard = await say(client, session, "once more")
        assert [each.status for each in heard.of(ExecutionChanged)] == ["failed"]
        assert heard.of(TurnEnded)[0].status == "completed"

        model.add({"text": "one, two, ", "stop": "length"}, {"text": "three"})
        heard = await say(client, session, "count")
        assert [each.stop for each in heard.of(AssistantMessage)] == ["length", "end"]
        assert heard.of(TurnEnded)[0].status == "completed"
        assert "Go on exactly where it ended" in told(model)

        model.add({"text": "one, ", "stop": "length"}, {"text": "two, ", "stop": "length"})
        heard = await say(client, session, "count more")
        assert heard.of(TurnEnded)[0].error.code == "overloaded"

        model.add({"text": "No.", "stop": "refused"})
        heard = await say(client, session, "do harm")
        assert "refuses" in heard.of(TurnEnded)[0].error.message

        too_long = {
            "status": 400,
            "code": TOO_LONG[vendor],
            "error": "prompt is too long: 9 tokens > 5 maximum",
        }
        model.add(too_long, {"text": "that fits"})
        heard = await say(client, session, "now?")
        assert heard.of(AssistantMessage)[-1].text == "that fits"

        before = await client.request(GetWindow(session_id=session.id))
        model.add({"text": "They counted."})
        await client.request(CompactWindow(session_id=session.id))
        after = await client.request(GetWindow(session_id=session.id))
        assert after.messages < before.messages and after.left_out > before.left_out
        model.add({"text": "yes"})
        await say(client, session, "do you remember?")
        assert "They counted." in told(model) and "count more" not in told(model)

        [row] = await client.request(GetUsage(by="session"))
        spent = (await client.request(GetSession(session_id=session.id))).spent
        assert row.spent == spent and spent.input_tokens > 0
        tight = Budget(max_tokens=spent.input_tokens)
        await client.request(ChangeSession(session_id=session.id, budget=tight))
        asked = len(model.requests())
        heard = await say(client, session, "more?")
        assert "of its budget" in heard.of(TurnEnded)[0].error.message
        assert len(model.requests()) == asked

    rough(node_process, tmp_path, vendor, work)


@pytest.mark.parametrize("vendor", VENDORS)
def test_slow_words_are_cancelled_or_outlived_and_then_tried_again(
    node_process: Callable[..., Any], tmp_path: Path, vendor: str
) -> None:
    slow = {"text": ["first line\n"] * 600, "chunk_delay": 0.2}  # longer than anybody waits

    async def begin(client: SocketClient, session: Session) -> int:
        posted = await client.request(PostMessage(session_id=session.id, text="tell me"))
        async with asyncio.timeout(30):
            async for notice in client.follow(session.id, after=posted.position):
                if isinstance(notice, TextDelta):
                    break
        return posted.position

    async def scenario() -> None:
        with scripted_model([slow, {"text": "all of it"}, slow, {"text": "all again"}]) as model:
            node = node_process(model.environ(vendor))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession())
            await begin(client, session)
            assert await client.request(CancelTurn(session_id=session.id))
            async with asyncio.timeout(10):
                while (await client.request(GetSession(session_id=session.id))).busy:
                    await asyncio.sleep(0.02)
            heard = await again(client, session)
            assert heard.of(AssistantMessage)[-1].text == "all of it"
            assert "first line" not in told(model)

            await begin(client, session)
            node.kill()  # in the middle of a word
            await node.let_go()
            await node.start()
            client = await node.client()
            heard = await again(client, session)
            assert heard.of(AssistantMessage)[-1].text == "all again"
            assert heard.of(TurnEnded)[-1].status == "completed"
            await client.disconnect()

    asyncio.run(scenario())
