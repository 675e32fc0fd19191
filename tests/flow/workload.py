"""Clients at work on a node that may end at any moment, and the check that what they were told has come true."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from mcp_core import SocketClient
from mcp_interface.capability import AuditEntry, Capability
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CreateSession,
    GetSession,
    GrantCapability,
    ListCapabilities,
    ListSessions,
    PostMessage,
    ReadAudit,
    ReadSession,
    SpawnAgent,
)
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import ExecutionChanged, TurnEnded, TurnStarted, UserMessage
from mcp_interface.execution import StartExecution
from mcp_interface.ids import SessionId
from mcp_interface.server import ServerSpec
from mcp_interface.store import Record

SLOW_SERVER = Path(__file__).parent / "slow_server.py"
PAGE = 1000
PATIENCE = 20.0
"""Seconds for what was left unanswered to be worked on after a restart."""


class Acknowledged:
    """What clients were told, over all lives of the node."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[SessionId, str]] = {}
        self.executions: dict[str, SessionId] = {}
        self.started: dict[str, SessionId] = {}
        """Calls that were accepted; whether they ended is not told."""
        self.grants: dict[str, Capability] = {}
        self.seen: dict[int, Record] = {}

    @property
    def total(self) -> int:
        """Without what was only watched."""
        return len(self.messages) + len(self.executions) + len(self.started) + len(self.grants)

    def copy(self) -> "Acknowledged":
        """What was told up to now."""
        now = Acknowledged()
        now.messages, now.executions = dict(self.messages), dict(self.executions)
        now.started, now.grants, now.seen = dict(self.started), dict(self.grants), dict(self.seen)
        return now


async def add_slow_server(client: SocketClient) -> None:
    """Give the node a server whose calls take long enough to be interrupted."""
    await client.request(
        AddServer(name="slow", spec=ServerSpec(command=sys.executable, args=[str(SLOW_SERVER)]))
    )


async def connect_slow_server(client: SocketClient) -> None:
    """The first call of a life connects it, so that its end comes upon calls and not upon waiting."""
    await client.request(CallTool(server="slow", tool="wait", arguments={"seconds": 0}))


async def work(client: SocketClient, folder: Path, told: Acknowledged, entropy: random.Random) -> None:
    """Say something, write a file, call what is slow, hand out a right: at random, without end."""
    session = await client.request(CreateSession(profile="open"))
    agent = await client.request(SpawnAgent(name=f"holder-{session.id}"))
    for number in range(10_000):
        text = f"{session.id}-{number}"
        match entropy.choice(("say", "write", "slow", "start", "grant")):
            case "say":
                posted = await client.request(PostMessage(session_id=session.id, text=text))
                told.messages[posted.message_id] = (session.id, text)
            case "write":
                arguments: dict[str, Any] = {"path": str(folder / f"{session.id}.txt"), "content": text}
                outcome = await client.request(
                    CallTool(server="fs", tool="write_file", arguments=arguments, session_id=session.id)
                )
                told.executions[outcome.execution_id] = session.id
            case "slow":
                outcome = await client.request(
                    CallTool(server="slow", tool="wait", arguments={"seconds": 0.02}, session_id=session.id)
                )
                told.executions[outcome.execution_id] = session.id
            case "start":
                started = await client.request(
                    StartExecution(
                        server="slow", tool="wait", arguments={"seconds": 0.05}, session_id=session.id
                    )
                )
                told.started[started.id] = session.id
            case "grant":
                right = await client.request(
                    GrantCapability(agent=agent.id, resource_uri=f"mcp://fs/read{folder}/{text}")
                )
                told.grants[right.id] = right


async def watch(client: SocketClient, told: Acknowledged) -> None:
    """Follow the journal without end."""
    async for notice in client.follow(after=max(told.seen, default=0)):
        if isinstance(notice, Record):
            told.seen[notice.position] = notice


async def until_refused(task: Any, codes: frozenset[str]) -> str:
    """Wait until a client is refused with one of these codes; gives the code, none when it ended by itself."""
    try:
        await task
    except UmbrellaError as error:
        assert error.code in codes, error
        return error.code
    return ""


async def check(client: SocketClient, told: Acknowledged) -> int:
    """Compare what the node knows with what was told; answers how many calls were interrupted."""
    sessions = await _every(client, ListSessions(limit=PAGE))
    async with asyncio.timeout(
        PATIENCE
    ):  # messages and calls that nobody had taken up are worked on after the restart
        while True:
            histories = {session.id: await _history(client, session.id) for session in sessions}
            if not any(_unanswered(records) or _under_way(records) for records in histories.values()):
                break
            await asyncio.sleep(0.05)
    interrupted = sum(_settled(records) for records in histories.values())
    _check_told(histories, told)
    await _check_rights(client, told)
    assert not any([(await client.request(GetSession(session_id=session.id))).busy for session in sessions])
    return interrupted


def _check_told(histories: dict[SessionId, list[Record]], told: Acknowledged) -> None:
    for message_id, (session_id, text) in told.messages.items():
        found = [
            record.event.text
            for record in histories.get(session_id, [])
            if isinstance(record.event, UserMessage) and record.event.message_id == message_id
        ]
        assert found == [text], f"acknowledged message {message_id}: {found}"
    for execution_id, session_id in told.executions.items():
        statuses = [
            record.event.status
            for record in histories.get(session_id, [])
            if isinstance(record.event, ExecutionChanged) and record.event.execution_id == execution_id
        ]
        assert statuses == ["started", "completed"], f"acknowledged call {execution_id}: {statuses}"
    for execution_id, session_id in told.started.items():
        statuses = [
            record.event.status
            for record in histories.get(session_id, [])
            if isinstance(record.event, ExecutionChanged) and record.event.execution_id == execution_id
        ]
        assert statuses[:1] == ["queued"], f"accepted call {execution_id}: {statuses}"
    everything = {record.position: record for records in histories.values() for record in records}
    for position, record in told.seen.items():
        if record.stream.startswith("session:"):
            assert everything.get(position) == record, f"position {position} changed"


async def _check_rights(client: SocketClient, told: Acknowledged) -> None:
    """Each acknowledged right is held, once, and the audit says once that it was handed out."""
    held: list[Capability] = await _every(client, ListCapabilities(limit=PAGE))
    entries: list[AuditEntry] = await _every(client, ReadAudit(limit=PAGE))
    granted = Counter(entry.capability_id for entry in entries if entry.decision == "granted")
    assert len({right.id for right in held}) == len(held)
    rights = {right.id: right for right in held}
    for right in told.grants.values():
        assert rights.get(right.id) == right, f"acknowledged right {right.id}: {rights.get(right.id)}"
        assert granted[right.id] == 1, f"the audit names right {right.id} {granted[right.id]} times"


async def _every(client: SocketClient, command: Any) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await client.request(command)
        found += page.items
        if page.cursor is None:
            return found
        command = msgspec.structs.replace(command, cursor=page.cursor)


async def _history(client: SocketClient, session_id: SessionId) -> list[Record]:
    return await _every(client, ReadSession(session_id=session_id, limit=PAGE))


def _unanswered(records: list[Record]) -> bool:
    """Whether a message waits for its turn, or a turn for its end."""
    waiting = False
    for record in records:
        if isinstance(record.event, UserMessage | TurnStarted):
            waiting = True
        elif isinstance(record.event, TurnEnded):
            waiting = False
    return waiting


def _under_way(records: list[Record]) -> bool:
    """Whether a call that was accepted or begun has not ended."""
    open_calls: set[str] = set()
    for record in records:
        if isinstance(event := record.event, ExecutionChanged):
            if event.status in {"queued", "started"}:
                open_calls.add(event.execution_id)
            else:
                open_calls.discard(event.execution_id)
    return bool(open_calls)


def _settled(records: list[Record]) -> int:
    """Check that everything begun has ended exactly once; answers how many calls were interrupted."""
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    accepted: set[str] = set()
    interrupted = 0
    for record in records:
        event = record.event
        match event:
            case TurnStarted():
                begun[event.turn_id] += 1
            case TurnEnded():
                ended[event.turn_id] += 1
            case ExecutionChanged(status="queued"):
                accepted.add(event.execution_id)
            case ExecutionChanged(status="started"):
                begun[event.execution_id] += 1
            case ExecutionChanged():
                ended[event.execution_id] += 1
                interrupted += event.error is not None and event.error.code == "interrupted"
    assert accepted | set(begun) <= set(ended)
    assert set(begun.values()) | set(ended.values()) <= {1}
    return interrupted
