"""One node over a real data directory: what survives a restart, and who may come in."""

import asyncio
import contextlib
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import DataDir, Node, Settings, SocketClient, open_door
from mcp_interface.capability import Capability
from mcp_interface.client import ClientInfo
from mcp_interface.clock import SystemClock
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CheckLogin,
    CreateLogin,
    CreateSession,
    EndSession,
    ExplainAccess,
    GetAgent,
    GetHealth,
    GetSession,
    GetStatus,
    GrantCapability,
    ListAgents,
    ListCapabilities,
    ListServers,
    ListSessions,
    PostMessage,
    ReadAudit,
    ReadSession,
    RedeemLogin,
    RemoveServer,
    RevokeCapability,
    SpawnAgent,
    StopAgent,
    StopNode,
    VerifyAudit,
)
from mcp_interface.errors import (
    CallerMistaken,
    Interrupted,
    InvalidRecord,
    LoginRequired,
    LostRace,
    NodeUnavailable,
    NotFound,
    NotPermitted,
    StorageUnavailable,
)
from mcp_interface.events import ExecutionChanged, TurnEnded, UserMessage
from mcp_interface.ids import MessageId
from mcp_interface.server import ServerSpec
from mcp_interface.store import Record
from scripted_model import ScriptedModel, scripted_model


def with_node(place: Path, work: Callable[[Node, Any], Any]) -> Any:
    async def scenario() -> Any:
        async with Node(Settings.load(place, {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            return await work(node, client)

    return asyncio.run(scenario())


def test_owner_agents_rights_and_sessions_survive_a_restart(tmp_path: Path) -> None:
    async def before(node: Node, client: Any) -> Any:
        session = await client.request(CreateSession(title="kept"))
        await client.request(SpawnAgent(name="ann"))
        right = await client.request(
            GrantCapability(agent="ann", resource_uri="mcp://fs/read/etc/**", max_uses=2)
        )
        await client.request(
            CallTool(server="fs", tool="read_file", arguments={"path": "/etc/passwd"}, as_agent="ann")
        )
        return (await client.request(GetStatus())).owner, session, right

    async def after(node: Node, client: Any) -> None:
        status = await client.request(GetStatus())
        assert (status.owner, status.epoch) == (owner, 2)
        assert (await client.request(GetSession(session_id=session.id))).title == "kept"
        held: list[Capability] = (await client.request(ListCapabilities(principal="ann"))).items
        assert [capability.id for capability in held] == [right.id]
        call = CallTool(server="fs", tool="read_file", arguments={"path": "/etc/passwd"}, as_agent="ann")
        await client.request(call)
        with pytest.raises(NotPermitted) as used_up:
            await client.request(call)
        assert used_up.value.details["reason"] == "uses_exhausted"
        assert (await client.request(VerifyAudit())).ok

    owner, session, right = with_node(tmp_path, before)
    with_node(tmp_path, after)


def test_a_message_that_nobody_took_up_is_worked_on_after_the_restart(tmp_path: Path) -> None:
    async def before(node: Node, client: Any) -> Any:
        session = await client.request(CreateSession())
        said = UserMessage(
            timestamp=session.created_at,
            message_id=MessageId("msg_" + "0" * 32),
            author=session.created_by,
            text="hello",
        )
        return session, said

    async def after(node: Node, client: Any) -> None:
        async with asyncio.timeout(10):
            async for notice in client.follow(session.id):
                if isinstance(notice, Record) and isinstance(notice.event, TurnEnded):
                    break

    session, said = with_node(tmp_path, before)

    async def as_if_killed_right_after_the_acknowledgement() -> None:
        from mcp_persistence import SegmentJournal

        store = await SegmentJournal.open(DataDir(tmp_path).journal, SystemClock())
        stream = f"session:{session.id}"
        expected = (await store.stream_info(stream)).version
        await store.append(stream, [said], expected=expected, epoch=await store.claim())
        await store.close()

    asyncio.run(as_if_killed_right_after_the_acknowledgement())
    with_node(tmp_path, after)


def test_revoking_and_stopping_end_rights_at_once_and_are_explained(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        ann = await client.request(SpawnAgent(name="ann"))
        call = CallTool(server="fs", tool="list_directory", arguments={"path": "/etc"}, as_agent="ann")
        right = await client.request(GrantCapability(agent="ann", resource_uri="mcp://fs/list/etc/"))
        await client.request(call)
        ended = await client.request(RevokeCapability(capability_id=right.id, reason="test"))
        assert ended == [right.id]
        with pytest.raises(NotPermitted):
            await client.request(call)
        explained = await client.request(ExplainAccess(principal="ann", resource_uri="mcp://fs/list/etc"))
        assert not explained.verdict.allowed
        denied = await client.request(ReadAudit(principal=ann.id, denied_only=True))
        assert denied.items and all(entry.decision == "denied" for entry in denied.items)
        await client.request(StopAgent(agent="ann"))
        assert (await client.request(GetAgent(agent=ann.id))).state == "terminated"
        with pytest.raises(NotFound):
            await client.request(call)
        assert ann.id not in [agent.id for agent in (await client.request(ListAgents())).items]

    with_node(tmp_path, work)


def test_nobody_grants_what_is_not_a_right(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        await client.request(SpawnAgent(name="ann"))
        for uri in ("mcp://fs/read/a/../b", "mcp://fs/fly/a", "nonsense"):
            with pytest.raises(CallerMistaken):
                await client.request(GrantCapability(agent="ann", resource_uri=uri))

    with_node(tmp_path, work)


def test_ending_a_session_ends_its_agents_and_their_rights(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        session = await client.request(CreateSession())
        (assistant,) = session.agents
        await client.request(GrantCapability(agent=assistant, resource_uri="mcp://fs/read/etc/**"))
        await client.request(EndSession(session_id=session.id))
        await client.request(EndSession(session_id=session.id))
        assert not (await client.request(ListCapabilities(principal=assistant))).items
        assert (await client.request(GetSession(session_id=session.id))).status == "terminated"
        assert not (await client.request(ListSessions())).items
        with pytest.raises(LostRace):
            await client.request(
                CallTool(
                    server="fs", tool="read_file", arguments={"path": "/etc/passwd"}, session_id=session.id
                )
            )

    with_node(tmp_path, work)


def test_servers_are_remembered_with_their_references_unexpanded(tmp_path: Path) -> None:
    spec = ServerSpec(command="no-such-command", env={"TOKEN": "${A_SECRET}"})

    async def before(node: Node, client: Any) -> None:
        status = await client.request(AddServer(name="gone", spec=spec))
        assert status.state != "ready" and status.error
        with pytest.raises(InvalidRecord):
            await client.request(AddServer(name="fs", spec=spec))
        with pytest.raises(NotFound, match="gon"):
            await client.request(RemoveServer(name="gon"))

    async def after(node: Node, client: Any) -> None:
        servers = {status.name: status for status in (await client.request(ListServers())).items}
        assert servers["gone"].spec == spec and servers["fs"].protocol == "built-in"
        checks = {check.name: check.status for check in await client.request(GetHealth())}
        assert checks["server gone"] == "warning" and checks["audit"] == checks["journal"] == "ok"
        await client.request(RemoveServer(name="gone"))

    async def last(node: Node, client: Any) -> None:
        assert [status.name for status in (await client.request(ListServers())).items] == [
            "fs",
            "http",
            "db",
            "shell",
            "assistant",
            "team",
            "plan",
        ]

    for work in (before, after, last):
        with_node(tmp_path, work)


def test_a_data_directory_has_one_node_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        place = DataDir(tmp_path)
        with pytest.raises(LostRace, match="already running"):
            async with Node(Settings.load(tmp_path, {})):
                pass
        assert stat.S_IMODE(place.journal.stat().st_mode) == 0o700
        for file in (place.socket, place.token, place.audit, *place.journal.iterdir()):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert place.is_locked()

    with_node(tmp_path, work)
    assert not DataDir(tmp_path).is_locked()


def test_a_data_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable, match="--data-dir"):
        with_node(tmp_path / "file" / "node", lambda node, client: None)


def test_a_long_path_keeps_its_socket_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 120)

    async def work(node: Node, client: Any) -> None:
        outside = SocketClient(DataDir(place).socket)
        await outside.connect(ClientInfo(name="test", token=node.owner_token))
        assert (await outside.request(GetStatus())).data_dir == str(place)
        await outside.disconnect()

    with_node(place, work)


def test_a_wrong_token_and_a_login_key_over_the_socket(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        socket = DataDir(tmp_path).socket
        with pytest.raises(LoginRequired):
            await SocketClient(socket).connect(ClientInfo(name="test", token="wrong"))
        key = await client.request(RedeemLogin(code=(await client.request(CreateLogin())).code))
        outside = SocketClient(socket)
        welcome = await outside.connect(ClientInfo(name="test", token=key.key))
        assert welcome.principal_id == key.login.principal_id
        assert (await outside.request(CheckLogin(key=key.key))).principal_id == welcome.principal_id
        await outside.disconnect()

    with_node(tmp_path, work)


def test_a_door_starts_a_node_that_outlives_it_and_others_attach(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = Settings.load(tmp_path, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
        with pytest.raises(NodeUnavailable, match="no node runs"):
            await open_door(settings, start=False)
        first = await open_door(settings)
        await first.close()
        second = await open_door(settings, start=False)
        client = second.client()
        await client.connect(ClientInfo(name="test", token=second.owner_token))
        assert (await client.request(GetStatus())).model.ready
        await client.request(StopNode())
        async with asyncio.timeout(20):
            while DataDir(tmp_path).is_locked():
                await asyncio.sleep(0.02)
        with pytest.raises(NodeUnavailable):
            await client.request(GetStatus())
        await client.disconnect()

    asyncio.run(scenario())


def test_an_embedded_node_ends_with_its_door(tmp_path: Path) -> None:
    async def scenario() -> None:
        door = await open_door(Settings.load(tmp_path, {}), embed=True)
        client = door.client()
        await client.connect(ClientInfo(name="test", token=door.owner_token))
        await client.request(GetStatus())
        await door.close()
        assert not DataDir(tmp_path).is_locked()

    asyncio.run(scenario())


STUBBORN = """
import json, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tool = {"name": "wait", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
for line in sys.stdin:
    message = json.loads(line)
    answers = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stubborn", "version": "1"},
        },
        "tools/list": {"tools": [tool]},
    }
    if "id" in message and message["method"] != "tools/call":
        known = answers.get(message["method"])
        answer = {"result": known} if known else {"error": {"code": -32601, "message": "unknown"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
time.sleep(600)
"""
"""A server that answers no call, ignores SIGTERM, and stays when its input ends."""


def _alive(script: Path) -> list[str]:
    commands = [entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = []
    for command in commands:
        with contextlib.suppress(OSError):
            found.append(command.read_bytes().decode(errors="replace"))
    return [command for command in found if str(script) in command]


def test_a_stop_journals_the_end_of_what_runs_and_leaves_no_process(tmp_path: Path) -> None:
    script, place = tmp_path / "stubborn.py", tmp_path / "node"
    script.write_text(STUBBORN)
    spec = ServerSpec(command=sys.executable, args=[str(script)])

    async def scenario(model: ScriptedModel) -> None:
        async with Node(Settings.load(place, dict(model.environ("openai")))) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            names = [f"s{number}" for number in range(4)]
            added = await asyncio.gather(*(client.request(AddServer(name=name, spec=spec)) for name in names))
            assert [status.state for status in added] == ["ready"] * 4
            session = await client.request(CreateSession(profile="open"))
            await client.request(PostMessage(session_id=session.id, text="wait"))
            calling = asyncio.create_task(client.request(CallTool(server="s1", tool="wait")))
            running = set()
            async with asyncio.timeout(20):
                async for notice in client.follow():
                    if isinstance(notice, Record) and isinstance(notice.event, ExecutionChanged):
                        running.add(notice.stream)
                    if len(running) == 2:
                        break
            began = time.monotonic()
        # Each takes four seconds of persuasion; together hardly more.
        assert time.monotonic() - began < 10
        assert not _alive(script)
        with pytest.raises(Interrupted):
            await calling

    with scripted_model([{"tool_call": {"name_contains": "s0"}}]) as model:
        asyncio.run(scenario(model))

    async def after(node: Node, client: Any) -> None:
        assert (await client.request(GetStatus())).recovered == 0
        ends = []
        for session in (await client.request(ListSessions())).items:
            records = (await client.request(ReadSession(session_id=session.id))).items
            assert {record.epoch for record in records} == {1}
            ends += [record.event for record in records]
        failed = [event for event in ends if isinstance(event, ExecutionChanged) and event.status == "failed"]
        assert [event.error.code for event in failed if event.error] == ["interrupted", "interrupted"]
        assert len([event for event in ends if isinstance(event, TurnEnded)]) == 1

    script.unlink()
    with_node(place, after)


def test_a_tree_of_actors_that_gives_up_is_told_and_ends_the_node(tmp_path: Path) -> None:
    async def work() -> None:
        node, told = Node(Settings.load(tmp_path, {})), []
        node.telemetry.attach("mcp.supervisor.given_up", lambda name, numbers, names: told.append(names))
        async with node._system() as system:
            system.tree.give_up(RuntimeError("boom"))
            async with asyncio.timeout(5):
                await node.stopped()
        assert told == [{"supervisor": "node", "reason": "RuntimeError('boom')"}]

    asyncio.run(work())
