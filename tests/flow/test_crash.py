"""kill -9 of the node at random moments under load: what was acknowledged is there, once."""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import SocketClient
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CreateSession,
    GetSession,
    GetStatus,
    ListSessions,
    PostMessage,
    ReadSession,
    VerifyAudit,
)
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import ExecutionChanged, TurnEnded, TurnStarted, UserMessage
from mcp_interface.ids import SessionId
from mcp_interface.server import ServerSpec
from mcp_interface.store import Record

ROUNDS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 10
WORKERS = 4
SLOW_SERVER = Path(__file__).parent / "slow_server.py"


class Acknowledged:
    """What clients were told, over all rounds."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[SessionId, str]] = {}
        self.executions: dict[str, SessionId] = {}
        self.seen: dict[int, Record] = {}


async def _work(
    client: SocketClient, folder: Path, told: Acknowledged, worker: int, entropy: random.Random
) -> None:
    session = await client.request(CreateSession(profile="open"))
    for number in range(10_000):
        text = f"{session.id}-{number}"
        match entropy.choice(("say", "write", "slow")):
            case "say":
                posted = await client.request(PostMessage(session_id=session.id, text=text))
                told.messages[posted.message_id] = (session.id, text)
            case "write":
                outcome = await client.request(
                    CallTool(
                        server="fs",
                        tool="write_file",
                        arguments={"path": str(folder / f"{worker}.txt"), "content": text},
                        session_id=session.id,
                    )
                )
                told.executions[outcome.execution_id] = session.id
            case "slow":
                outcome = await client.request(
                    CallTool(server="slow", tool="wait", arguments={"seconds": 0.05}, session_id=session.id)
                )
                told.executions[outcome.execution_id] = session.id


async def _watch(client: SocketClient, told: Acknowledged) -> None:
    async for notice in client.follow(after=max(told.seen, default=0)):
        if isinstance(notice, Record):
            told.seen[notice.position] = notice


async def _until_killed(work: Any) -> None:
    try:
        await work
    except UmbrellaError as error:
        assert error.code in ("node_unavailable", "interrupted"), error


async def _events(client: SocketClient, session_id: SessionId) -> list[Record]:
    records: list[Record] = []
    cursor: str | None = None
    while True:
        page = await client.request(ReadSession(session_id=session_id, cursor=cursor, limit=1000))
        records += page.items
        cursor = page.cursor
        if cursor is None:
            return records


def _unanswered(records: list[Record]) -> bool:
    """Whether a message waits for its turn, or a turn for its end."""
    waiting = False
    for record in records:
        if isinstance(record.event, UserMessage | TurnStarted):
            waiting = True
        elif isinstance(record.event, TurnEnded):
            waiting = False
    return waiting


def _settled(records: list[Record]) -> int:
    """Check that everything begun has ended exactly once; answers how many calls were interrupted."""
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    interrupted = 0
    for record in records:
        event = record.event
        match event:
            case TurnStarted():
                begun[event.turn_id] += 1
            case TurnEnded():
                ended[event.turn_id] += 1
            case ExecutionChanged(status="started"):
                begun[event.execution_id] += 1
            case ExecutionChanged():
                ended[event.execution_id] += 1
                interrupted += event.error is not None and event.error.code == "interrupted"
    assert set(begun) <= set(ended)
    assert set(begun.values()) | set(ended.values()) <= {1}
    return interrupted


async def _check(client: SocketClient, told: Acknowledged) -> int:
    sessions = []
    cursor: str | None = None
    while True:
        page = await client.request(ListSessions(limit=1000, cursor=cursor))
        sessions += page.items
        cursor = page.cursor
        if cursor is None:
            break
    async with asyncio.timeout(20):  # messages that nobody had taken up are worked on after the restart
        while True:
            histories = {session.id: await _events(client, session.id) for session in sessions}
            if not any(_unanswered(records) for records in histories.values()):
                break
            await asyncio.sleep(0.05)
    interrupted = sum(_settled(records) for records in histories.values())
    for message_id, (session_id, text) in told.messages.items():
        found = [
            record.event.text
            for record in histories[session_id]
            if isinstance(record.event, UserMessage) and record.event.message_id == message_id
        ]
        assert found == [text], f"acknowledged message {message_id}: {found}"
    for execution_id, session_id in told.executions.items():
        statuses = [
            record.event.status
            for record in histories[session_id]
            if isinstance(record.event, ExecutionChanged) and record.event.execution_id == execution_id
        ]
        assert statuses == ["started", "completed"], f"acknowledged call {execution_id}: {statuses}"
    everything = {record.position: record for records in histories.values() for record in records}
    for position, record in told.seen.items():
        if record.stream.startswith("session:"):
            assert everything[position] == record, f"position {position} changed"
    assert not any([(await client.request(GetSession(session_id=session.id))).busy for session in sessions])
    return interrupted


@pytest.mark.timeout(60 + ROUNDS * 20)
def test_kill_9_loses_nothing_acknowledged_and_repeats_nothing(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    async def scenario() -> None:
        entropy = random.Random(2026)
        node, told = node_process(), Acknowledged()
        recovered = interrupted = 0
        for round_number in range(ROUNDS):
            await node.start()
            clients = [await node.client() for _ in range(WORKERS + 1)]
            if round_number == 0:
                spec = ServerSpec(command=sys.executable, args=[str(SLOW_SERVER)])
                await clients[0].request(AddServer(name="slow", spec=spec))
            status = await clients[0].request(GetStatus())
            recovered += status.recovered
            interrupted = await _check(clients[0], told)
            assert (await clients[0].request(VerifyAudit())).ok
            # The first call connects the slow server, so that the kill comes upon calls and not upon waiting.
            await clients[0].request(CallTool(server="slow", tool="wait", arguments={"seconds": 0}))
            load = [
                asyncio.create_task(_until_killed(_work(client, tmp_path, told, worker, entropy)))
                for worker, client in enumerate(clients[1:])
            ]
            load.append(asyncio.create_task(_until_killed(_watch(clients[0], told))))
            await asyncio.sleep(0.05 + entropy.random() * 0.9)
            node.kill()
            await asyncio.gather(*load)
            for client in clients:
                await client.disconnect()
        await node.start()
        client = await node.client()
        interrupted = await _check(client, told)
        report = await client.request(VerifyAudit())
        assert report.ok, report.problem
        assert len(told.messages) + len(told.executions) > ROUNDS * 5
        assert recovered > 0 and interrupted > 0
        session_id, _ = next(iter(told.messages.values()))
        await client.request(PostMessage(session_id=session_id, text="we go on"))
        await client.disconnect()
        print(
            f"{ROUNDS} rounds: {len(told.messages)} messages and {len(told.executions)} calls acknowledged, "
            f"{len(told.seen)} records seen, {interrupted} calls interrupted, {report.entries} audit entries"
        )

    asyncio.run(scenario())
