"""Agents that hand work to agents below them, on real nodes that are killed, with a model that follows a script."""

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_core import SocketClient
from mcp_interface.approval import Answer
from mcp_interface.commands import (
    AnswerApproval,
    CreateSession,
    GetAgent,
    GetSession,
    GrantCapability,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListSessions,
    PostMessage,
    ReadSession,
    RevokeCapability,
    StopAgent,
    StopNode,
    SuspendSession,
    VerifyAudit,
    Wish,
)
from mcp_interface.errors import Interrupted, NodeUnavailable, NotPermitted
from mcp_interface.events import (
    ApprovalAsked,
    AssistantMessage,
    ExecutionChanged,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.task import ENDED, Task
from mcp_interface.team import CancelTask, GiveTask, ListTasks
from scripted_model import scripted_model

ROUNDS = 60 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 3
PATIENCE_S = 40.0
SLOW_S = 30.0
"""Longer than any test waits for it: an answer that never comes in time."""


async def events(client: SocketClient, session_id: Any, kind: type) -> list[Any]:
    page = await client.request(ReadSession(session_id=session_id, limit=1000))
    return [record.event for record in page.items if isinstance(record.event, kind)]


async def tasks(client: SocketClient, session: Session) -> list[Task]:
    return list(reversed((await client.request(ListTasks(session_id=session.id))).items))


async def until(client: SocketClient, session: Session, wanted: Callable[[list[Task]], bool]) -> list[Task]:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted(found := await tasks(client, session)):
            await asyncio.sleep(0.02)
    return found


async def over(client: SocketClient, task: Task) -> None:
    """Wait until the session in which a task was worked on has ended."""
    assert task.child_id is not None
    async with asyncio.timeout(PATIENCE_S):
        while (await client.request(GetSession(session_id=task.child_id))).status != "terminated":
            await asyncio.sleep(0.02)


def all_ended(found: list[Task]) -> bool:
    return bool(found) and all(task.status in ENDED for task in found)


async def turn(client: SocketClient, session: Session, text: str, answer: Answer) -> list[str]:
    """Say something; answers what was asked about until the turn ends, and tells which rights those were."""
    posted = await client.request(PostMessage(session_id=session.id, text=text))
    asked = []
    async with (
        asyncio.timeout(PATIENCE_S),
        aclosing(client.follow(session.id, after=posted.position)) as notices,  # type: ignore[type-var]
    ):
        async for notice in notices:
            event = notice.event if isinstance(notice, Record) else None
            if isinstance(event, ApprovalAsked):
                asked.append(event.approval.resource_uri)
                await client.request(AnswerApproval(approval_id=event.approval.id, answer=answer))
            if isinstance(event, TurnEnded):
                return asked
    raise AssertionError("the turn did not end")


def delegation(goal: str, *rights: str, **more: Any) -> dict[str, Any]:
    return {"name_contains": "delegate", "arguments": {"goal": goal, "rights": list(rights), **more}}


def reading(path: Path) -> dict[str, Any]:
    return {"name_contains": "read_file", "arguments": {"path": str(path)}}


def test_an_agent_hands_on_what_a_person_allowed_and_hears_the_result(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "poem.txt").write_text("roses are red")
    (tmp_path / "secret.txt").write_text("the safe is open")
    poem, folder = f"mcp://fs/read{tmp_path}/poem.txt", f"mcp://fs/read{tmp_path}/**"
    script = [
        {"when": "what is in it", "tool_call": delegation("read the poem", poem, name="reader")},
        {"when": "read the poem", "tool_call": reading(tmp_path / "secret.txt")},
        {"when": "umbrella grant", "tool_call": reading(tmp_path / "poem.txt")},
        {"when": "roses", "text": "It says: roses are red."},
        {"when": "It says", "text": "done: {tool_output}"},
    ]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession(metadata={"cwd": str(tmp_path)}))
            asked = await turn(client, session, "what is in it", Answer(allow=True, remember="once"))
            assert asked == ["mcp://agent/execute/llm", poem], "what is handed on is seen, right by right"
            said = await events(client, session.id, AssistantMessage)
            assert said[-1].text == "done: It says: roses are red."
            (task,) = await tasks(client, session)
            assert (task.status, task.result, task.name) == ("completed", "It says: roses are red.", "reader")
            assert task.by == session.agents[0] and task.started_at is not None
            # the child: locked, asked nobody, was refused what was not handed on, is over and can be read
            assert task.child_id is not None
            child = await client.request(GetSession(session_id=task.child_id))
            assert child.lineage is not None and child.lineage.task_id == task.id
            assert (child.profile, child.status, child.created_by) == (
                "locked", "terminated", session.created_by,
            )  # fmt: skip
            assert not await events(client, child.id, ApprovalAsked)
            calls = await events(client, child.id, ExecutionChanged)
            failed = [each for each in calls if each.status == "failed"]
            assert [each.error.code for each in failed] == ["denied"]
            assert "safe is open" not in str(model.requests())
            shown = (await client.request(ListSessions(ended=True))).items
            assert [each.id for each in shown] == [session.id], "sessions about tasks do not clutter the list"
            # nothing is left of what was allowed once
            for holder in (task.agent_id, session.agents[0]):
                held = (await client.request(ListCapabilities(principal=str(holder)))).items
                assert poem not in {each.resource_uri for each in held}
                assert folder not in {each.resource_uri for each in held}
            assert (await client.request(VerifyAudit())).ok
            await client.disconnect()

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_killed_node_goes_on_with_what_waited_and_repeats_nothing(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    """Three run and two wait when the node dies; those that ran are told as interrupted, those that waited run once."""
    slow = [{"when": f"work {number} ", "text": "too late", "delay": SLOW_S} for number in range(3)]
    script = [*slow, {"when": "work 3 ", "text": "three"}, {"when": "work 4 ", "text": "four"}]

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession())
            for number in range(5):
                await client.request(GiveTask(session_id=session.id, goal=f"work {number} of five"))
            found = await until(
                client, session, lambda now: [each.status for each in now].count("running") == 3
            )
            assert [each.status for each in found] == ["running"] * 3 + ["queued"] * 2, (
                "first come, first served"
            )
            async with asyncio.timeout(PATIENCE_S):
                while len(model.requests()) < 3:
                    await asyncio.sleep(0.02)
            node.kill()
            await node.start()
            client = await node.client()
            ended = await until(client, session, all_ended)
            assert [each.status for each in ended] == ["failed"] * 3 + ["completed"] * 2
            assert [each.result for each in ended[3:]] == ["three", "four"]
            assert {each.error.code for each in ended[:3] if each.error is not None} == {"interrupted"}
            assert [each.id for each in ended] == [each.id for each in found]
            for each in ended:
                assert each.child_id is not None
                assert len(await events(client, each.child_id, UserMessage)) == 1, "each goal was said once"
                assert len(await events(client, each.child_id, TurnStarted)) == 1
                await over(client, each)
            assert len(model.requests()) == 5
            assert not (await client.request(ListAgents())).items[2:], (
                "the assistant and the executor are left"
            )
            await node.let_go()

    asyncio.run(scenario())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("polite", [False, True])
def test_who_waits_for_a_task_goes_on_waiting_in_the_next_process(
    node_process: Callable[..., Any], tmp_path: Path, polite: bool
) -> None:
    """A coordinator waits for two tasks, one after the other; the node dies or is stopped in the second."""
    script = [
        {"when": "begin", "tool_call": {
            "name_contains": "delegate_all",
            "arguments": {"tasks": [{"goal": "first part"}, {"goal": "second part"}], "strategy": "sequential"},
        }},
        {"when": "first part", "text": "one"},
        {"when": "second part", "text": "never heard", "delay": SLOW_S},
        {"when": "in the middle", "text": "both told: {tool_output}"},
    ]  # fmt: skip

    async def scenario() -> None:
        with scripted_model(script) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession())
            grant = GrantCapability(agent=session.agents[0], resource_uri="mcp://agent/execute/llm")
            await client.request(grant)
            await client.request(PostMessage(session_id=session.id, text="begin"))
            async with asyncio.timeout(PATIENCE_S):
                while len(model.requests()) < 3:
                    await asyncio.sleep(0.02)
            if polite:
                await client.request(StopNode())
                await asyncio.to_thread(node.process.wait, PATIENCE_S)
            node.kill()
            await node.start()
            client = await node.client()
            async with asyncio.timeout(PATIENCE_S):
                while not (ends := await events(client, session.id, TurnEnded)):
                    await asyncio.sleep(0.02)
            assert [each.status for each in ends] == ["completed"], "the turn went on"
            said = (await events(client, session.id, AssistantMessage))[-1].text
            assert (
                "completed\none" in said and "failed\nThe task failed: the node stopped in the middle" in said
            )
            assert [each.status for each in await tasks(client, session)] == ["completed", "failed"]
            assert len(model.requests()) == 4, "nothing was given twice"
            await node.let_go()

    asyncio.run(scenario())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["cancel", "stop the giver", "suspend", "revoke", "stop the worker"])
def test_what_is_below_ends_with_what_is_above(
    node_process: Callable[..., Any], tmp_path: Path, how: str
) -> None:
    """A coordinator's child has given a task of its own; whatever ends it, the grandchild ends too, rights first."""
    right = f"mcp://fs/read{tmp_path}/**"
    script = [
        {"when": "top", "tool_call": delegation("lower", right, "mcp://agent/execute/llm")},
        {"when": "lower", "tool_call": delegation("lowest", right)},
        {"when": "lowest", "text": "never", "delay": SLOW_S},
    ]

    async def scenario() -> None:
        with scripted_model({"steps": script, "then": {"text": "over"}}) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession())
            giver = session.agents[0]
            rights = []
            for uri in (right, "mcp://agent/execute/llm"):
                rights.append(await client.request(GrantCapability(agent=giver, resource_uri=uri)))
            await client.request(PostMessage(session_id=session.id, text="top"))
            async with asyncio.timeout(PATIENCE_S):
                while len(model.requests()) < 3:
                    await asyncio.sleep(0.02)
            (lower,) = await tasks(client, session)
            assert lower.child_id is not None and lower.agent_id is not None
            below = await client.request(GetSession(session_id=lower.child_id))
            (lowest,) = await tasks(client, below)
            match how:
                case "cancel":
                    assert (await client.request(CancelTask(task_id=lower.id))).status == "cancelled"
                case "stop the giver":
                    await client.request(StopAgent(agent=giver))
                case "suspend":
                    await client.request(SuspendSession(session_id=session.id))
                case "revoke":
                    for each in rights:
                        await client.request(RevokeCapability(capability_id=each.id))
                case "stop the worker":
                    await client.request(StopAgent(agent=lower.agent_id))
            (ended,) = await until(client, session, all_ended)
            assert ended.status == "cancelled" and ended.error is not None
            for task in (lower, lowest):
                assert task.child_id is not None and task.agent_id is not None
                await over(client, task)
                assert (await client.request(GetAgent(agent=task.agent_id))).state == "terminated"
                assert not (await client.request(ListCapabilities(principal=task.agent_id))).items
                assert {each.status for each in await events(client, task.child_id, TurnEnded)} <= {
                    "cancelled"
                }
            (last,) = await tasks(client, below)
            assert last.status == "cancelled"
            await client.disconnect()

    asyncio.run(scenario())


def test_a_person_gives_a_task_and_hands_on_no_more_than_is_held(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    async def scenario() -> None:
        with scripted_model([{"text": "forty-two"}]) as model:
            node = node_process(model.environ("openai"))
            await node.start()
            client = await node.client()
            session = await client.request(CreateSession(profile="open"))
            wish = Wish(resource_uri=f"mcp://fs/read{tmp_path}/**")
            with pytest.raises(NotPermitted, match="cannot hand on"):
                await client.request(
                    GiveTask(session_id=session.id, goal="x", parent=session.agents[0], grants=[wish])
                )
            assert not await tasks(client, session), "all or nothing"
            task = await client.request(GiveTask(session_id=session.id, goal="think", grants=[wish]))
            assert task.status == "queued" and task.by == session.created_by
            held = (await client.request(ListCapabilities(principal=str(task.agent_id)))).items
            assert [each.resource_uri for each in held] == [wish.resource_uri]
            with pytest.raises(NotPermitted, match="is about a task"):
                more = GrantCapability(agent=str(task.agent_id), resource_uri="mcp://fs/read/etc/**")
                await client.request(more)
            (ended,) = await until(client, session, all_ended)
            assert (ended.status, ended.result) == ("completed", "forty-two")
            assert (await client.request(CancelTask(task_id=task.id))).status == "completed", "it is over"
            assert not (await client.request(ListApprovals())).items
            await client.disconnect()

    asyncio.run(scenario())


@pytest.mark.timeout(60 + ROUNDS * 30)
def test_kill_9_at_any_moment_loses_no_task_and_begins_none_twice(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    right = Wish(resource_uri=f"mcp://fs/read{tmp_path}/**")

    async def one_round(node: Any, model: Any, told: set[str], entropy: random.Random) -> None:
        await node.start()
        client = await node.client()
        session = await client.request(CreateSession())

        async def load() -> None:
            for number in range(8):
                order = GiveTask(session_id=session.id, goal=f"goal {number}", grants=[right])
                told.add((await client.request(order)).id)
                if number == 5:
                    await client.request(CancelTask(task_id=sorted(told)[0]))

        giving = asyncio.create_task(load())
        await asyncio.sleep(entropy.random() * 0.8)
        node.kill()
        with suppress(NodeUnavailable, Interrupted):
            await giving
        await node.let_go()
        await node.start()
        client = await node.client()
        if told:
            await until(client, session, lambda now: told <= {each.id for each in now} and all_ended(now))
        seen = await tasks(client, session)
        for each in seen:
            await over(client, each)
            assert each.child_id is not None
            assert len(await events(client, each.child_id, UserMessage)) <= 1
            assert len(await events(client, each.child_id, TurnStarted)) <= 1
            assert (each.status == "completed") is (each.result == "done"), each
            assert each.status != "failed" or (each.error is not None and each.error.code == "interrupted")
        async with asyncio.timeout(PATIENCE_S):  # what was made for a task that was never given ends too
            while True:
                living = (await client.request(ListAgents())).items
                if all(each.parent_id is None and each.session_id in {None, session.id} for each in living):
                    break
                await asyncio.sleep(0.02)
        held = (await client.request(ListCapabilities())).items
        assert not [each for each in held if each.resource_uri == right.resource_uri]
        assert (await client.request(VerifyAudit())).ok
        await node.let_go()
        node.kill()

    async def scenario() -> None:
        entropy, completed = random.Random(2026), 0
        with scripted_model({"steps": [], "then": {"text": "done", "delay": 0.05}}) as model:
            for number in range(ROUNDS):
                node = node_process(model.environ("openai"), tmp_path / f"node{number}")
                told: set[str] = set()
                await one_round(node, model, told, entropy)
                completed += len(told)
        print(f"{ROUNDS} rounds: {completed} tasks acknowledged")
        assert completed >= ROUNDS

    asyncio.run(scenario())
