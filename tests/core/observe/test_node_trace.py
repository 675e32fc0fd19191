"""One wish can be followed through a real node: from the client to every record, audit entry and span."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from core.observe.collector import collector
from mcp_core import Node, Settings, SocketClient
from mcp_core.daemon import DataDir
from mcp_core.settings import TelemetrySettings
from mcp_interface.client import ClientInfo
from mcp_interface.clock import SystemEntropy
from mcp_interface.commands import (
    CallTool,
    CreateSession,
    EndSession,
    GetMetrics,
    GetStatus,
    GrantCapability,
    ListSessions,
    PostMessage,
    ReadAudit,
    SpawnAgent,
    StopAgent,
)
from mcp_interface.errors import NotFound, NotPermitted
from mcp_interface.events import ExecutionChanged, TurnEnded
from mcp_interface.store import Record
from mcp_interface.testing.telemetry import fault_of
from mcp_interface.trace import begin_trace, parse_traceparent, tracing
from scripted_model import scripted_model

GIVEN = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
WAIT_S = 20.0

Work = Callable[[Node, Any], Coroutine[Any, Any, None]]


def with_node(place: Path, work: Work, environ: dict[str, str] | None = None, **wanted: Any) -> list[str]:
    """Run some work on a node and answer what was emitted there against its row."""
    faults: list[str] = []

    def check(*event: Any) -> None:
        fault = fault_of(*event)
        if fault:
            faults.append(fault)

    async def scenario() -> None:
        settings = Settings(
            data_dir=place, environ=environ or {}, databases={}, telemetry=TelemetrySettings(**wanted)
        )
        node = Node(settings)
        node.telemetry.attach("*", check)
        async with node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            await work(node, client)

    asyncio.run(scenario())
    return faults


async def records(client: Any, until: Callable[[Record], bool]) -> list[Record]:
    """Everything in the journal up to a record that fits."""
    found: list[Record] = []
    async with asyncio.timeout(WAIT_S):
        async for notice in client.follow():
            if isinstance(notice, Record):
                found.append(notice)
                if until(notice):
                    return found
    raise AssertionError("the stream ended")


def reading(folder: Path) -> CallTool:
    file = folder / "note.txt"
    file.write_text("read me")
    return CallTool(server="fs", tool="read_file", arguments={"path": str(file)})


@pytest.mark.parametrize("over_the_socket", [False, True])
def test_a_command_with_a_traceparent_leaves_that_trace_in_journal_and_audit(
    tmp_path: Path, over_the_socket: bool
) -> None:
    call = reading(tmp_path)

    async def work(node: Node, client: Any) -> None:
        before = (await client.request(GetStatus())).position
        asker: Any = client
        if over_the_socket:
            asker = SocketClient(DataDir(node.settings.data_dir).socket)
            await asker.connect(ClientInfo(name="far", token=node.owner_token))
        with tracing(GIVEN):
            outcome = await asker.request(call)
        after = (await client.request(GetStatus())).position
        assert after > before
        found = await records(client, lambda record: record.position == after)
        caused = [record for record in found if record.position > before]
        assert {record.trace_id for record in caused} == {GIVEN.id}, "session, call and rights alike"
        kinds = [record.event.status for record in caused if isinstance(record.event, ExecutionChanged)]
        assert kinds == ["started", "completed"]
        audited = (await client.request(ReadAudit(limit=1000))).items
        (judged,) = [
            entry for entry in audited if entry.trace_id == GIVEN.id and entry.kind == "access_allowed"
        ]
        assert judged.session_id == outcome.session_id
        if over_the_socket:
            await asker.disconnect()

    assert with_node(tmp_path / "node", work) == []


def test_each_of_many_commands_at_once_keeps_its_own_trace(tmp_path: Path) -> None:
    call = reading(tmp_path)

    async def work(node: Node, client: Any) -> None:
        entropy, expected = SystemEntropy(), {}

        async def one(number: int) -> None:
            trace = begin_trace(entropy) if number % 3 else None
            with tracing(trace):
                outcome = await client.request(call)
            expected[outcome.execution_id] = None if trace is None else trace.id

        await client.request(call)
        await asyncio.gather(*(one(number) for number in range(24)))
        after = (await client.request(GetStatus())).position
        seen: dict[str, set[Any]] = {}
        for record in await records(client, lambda record: record.position == after):
            if isinstance(record.event, ExecutionChanged):
                seen.setdefault(record.event.execution_id, set()).add(record.trace_id)
        own = set()
        for execution_id, trace_id in expected.items():
            (found,) = seen[execution_id]
            assert found == trace_id or (trace_id is None and found is not None)
            own.add(found)
        assert len(own) == len(expected), "a command without a trace begins one, and no two share it"

    assert with_node(tmp_path / "node", work) == []


def test_what_a_message_makes_the_assistant_do_belongs_to_the_messages_trace(tmp_path: Path) -> None:
    call = reading(tmp_path)
    step = {"tool_call": {"name_contains": "read_file", "arguments": call.arguments}}

    async def work(node: Node, client: Any) -> None:
        session = await client.request(CreateSession(profile="open"))
        with tracing(GIVEN):
            await client.request(PostMessage(session_id=session.id, text="read it"))
        found = await records(client, lambda record: isinstance(record.event, TurnEnded))
        said = next(record for record in found if record.trace_id == GIVEN.id)
        stream = [record for record in found if record.stream == f"session:{session.id}"]
        caused = [record for record in stream if record.version >= said.version]
        assert [type(record.event).__name__ for record in caused][:2] == ["UserMessage", "TurnStarted"]
        assert any(isinstance(record.event, ExecutionChanged) for record in caused)
        assert {record.trace_id for record in caused} == {GIVEN.id}

    with scripted_model([step, {"text": "done"}]) as model:
        assert with_node(tmp_path / "node", work, dict(model.environ("openai"))) == []


def test_the_spans_of_a_command_arrive_at_the_collector_in_the_clients_trace(tmp_path: Path) -> None:
    call = reading(tmp_path)

    async def work(node: Node, client: Any) -> None:
        with tracing(GIVEN):
            await client.request(call)

    with collector() as collected:
        assert with_node(tmp_path / "node", work, otel_endpoint=collected.endpoint) == []
    ours = [span for span in collected.spans() if f"trace_{span.trace_id.hex()}" == GIVEN.id]
    by_name = {span.name: span for span in ours}
    assert set(by_name) == {"command tool.call", "message tool_executor", "tool fs/read_file"}
    command = by_name.pop("command tool.call")
    assert command.parent_span_id.hex() == GIVEN.span
    assert {span.parent_span_id for span in by_name.values()} == {command.span_id}
    tool = by_name["tool fs/read_file"]
    assert command.start_time_unix_nano <= tool.start_time_unix_nano + 5_000_000
    assert tool.end_time_unix_nano <= command.end_time_unix_nano + 5_000_000


def test_a_client_that_does_not_record_is_followed_and_makes_no_spans(tmp_path: Path) -> None:
    call = reading(tmp_path)
    quiet = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")

    async def work(node: Node, client: Any) -> None:
        with tracing(quiet):
            await client.request(call)
        after = (await client.request(GetStatus())).position
        found = await records(client, lambda record: record.position == after)
        assert any(record.trace_id == quiet.id for record in found)

    with collector() as collected:
        with_node(tmp_path / "node", work, otel_endpoint=collected.endpoint)
    assert not any(f"trace_{span.trace_id.hex()}" == quiet.id for span in collected.spans())
    assert collected.spans(), "other commands of that client are recorded"


def test_the_figures_of_a_busy_node_are_read_by_a_command(tmp_path: Path) -> None:
    call = reading(tmp_path)

    async def work(node: Node, client: Any) -> None:
        session = await client.request(CreateSession())
        ann = await client.request(SpawnAgent(name="ann"))
        await client.request(GrantCapability(agent=ann.id, resource_uri="mcp://fs/read/tmp/**"))
        for _ in range(2):
            await client.request(call)
        refused = CallTool(
            server="fs", tool="read_file", arguments={"path": "/etc/hostname"}, as_agent=ann.id
        )
        with pytest.raises(NotPermitted):
            await client.request(refused)
        await client.request(StopAgent(agent=ann.id))
        await client.request(EndSession(session_id=session.id))
        text = await client.request(GetMetrics())
        assert 'mcp_tool_stop_duration_seconds_count{server="fs",tool="read_file"} 2.0' in text
        assert 'mcp_command_stop_duration_seconds_count{command="tool.call",outcome="ok"} 2.0' in text
        assert 'mcp_command_stop_duration_seconds_count{command="tool.call",outcome="denied"} 1.0' in text
        assert 'mcp_agent_start_total{type="worker"} 1.0' in text
        position = (await client.request(GetStatus())).position
        assert f"mcp_journal_position {float(position)}" in text and "mcp_actors_alive " in text
        assert ann.id not in text and session.id not in text and call.arguments["path"] not in text

    assert with_node(tmp_path / "node", work, metrics=True) == []


def test_a_node_that_was_not_asked_for_metrics_keeps_none(tmp_path: Path) -> None:
    async def work(node: Node, client: Any) -> None:
        with pytest.raises(NotFound, match="no metrics"):
            await client.request(GetMetrics())
        await client.request(ListSessions())

    assert with_node(tmp_path / "node", work) == []
