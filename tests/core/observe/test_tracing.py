"""Spans: in the right trace, below the right parent, as long as what they show, and never more than was asked."""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from core.observe.collector import collector
from mcp_core.observe.commands import CommandWatch
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.observe.tracing import SPANS, Spans, open_otlp
from mcp_interface.commands import GetStatus
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import SYSTEM, TraceId
from mcp_interface.telemetry import TABLE
from mcp_interface.testing import START, ManualClock, SeededEntropy
from mcp_interface.trace import Trace, begin_trace, current_trace, parse_traceparent, tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
TOOL = {"server": "fs", "tool": "read_file", "principal_id": "system", "execution_id": "exec_1"}


class Room:
    """Telemetry whose spans can be looked at."""

    def __init__(self) -> None:
        self.telemetry, self.clock, self.entropy = LocalTelemetry(), ManualClock(), SeededEntropy()
        self.exporter = InMemorySpanExporter()
        self.spans = Spans(self.telemetry, self.exporter, self.clock, "1.2.3")
        self.watch = CommandWatch(self.telemetry, self.clock, self.entropy)

    def finished(self) -> dict[str, Any]:
        self.spans.flush()
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def tool(self, seconds: float = 0.25) -> None:
        self.telemetry.emit("mcp.tool.stop", {"duration_s": seconds}, TOOL)


@pytest.fixture
def room() -> Any:
    room = Room()
    yield room
    room.spans.close()


def nanoseconds(seconds: float) -> int:
    return int((START + timedelta(seconds=seconds)).timestamp() * 1_000_000) * 1000


def test_what_a_command_causes_hangs_below_it_and_it_below_the_clients_own_span(room: Room) -> None:
    with tracing(GIVEN), room.watch.over(SYSTEM, GetStatus()):
        room.tool()
        inside = current_trace()
    found = room.finished()
    command, tool = found["command node.status"], found["tool fs/read_file"]
    assert {f"{span.context.trace_id:032x}" for span in (command, tool)} == {TRACE}
    assert f"{command.parent.span_id:016x}" == SPAN and command.parent.is_remote
    assert inside is not None and f"{command.context.span_id:016x}" == inside.span
    assert tool.parent.span_id == command.context.span_id
    assert (command.kind, tool.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert tool.attributes == {f"mcp.{key}": value for key, value in TOOL.items()}
    assert command.resource.attributes["service.name"] == "umbrella"
    assert command.resource.attributes["service.version"] == "1.2.3"


def test_a_command_without_a_trace_is_the_root_of_its_own(room: Room) -> None:
    with room.watch.over(SYSTEM, GetStatus()):
        own = current_trace()
        room.tool()
    found = room.finished()
    command, tool = found["command node.status"], found["tool fs/read_file"]
    assert command.parent is None and own is not None
    assert f"trace_{command.context.trace_id:032x}" == own.id == f"trace_{tool.context.trace_id:032x}"
    assert tool.parent.span_id == command.context.span_id


def test_two_commands_make_two_traces(room: Room) -> None:
    for _ in range(2):
        with room.watch.over(SYSTEM, GetStatus()):
            pass
    room.spans.flush()
    spans = room.exporter.get_finished_spans()
    assert (
        len({span.context.trace_id for span in spans}) == len({span.context.span_id for span in spans}) == 2
    )


def test_a_span_ends_now_and_began_as_long_ago_as_was_measured(room: Room) -> None:
    room.clock.advance(100)
    with tracing(GIVEN):
        room.tool(0.25)
    span = room.finished()["tool fs/read_file"]
    assert (span.start_time, span.end_time) == (nanoseconds(99.75), nanoseconds(100))


def test_a_failure_says_which(room: Room) -> None:
    with tracing(GIVEN):
        room.telemetry.emit("mcp.tool.exception", {"duration_s": 1.0}, TOOL | {"code": "denied"})
    with pytest.raises(NotFound), room.watch.over(SYSTEM, GetStatus()):
        raise NotFound("no such thing")
    found = room.finished()
    for name, code in {"tool fs/read_file": "denied", "command node.status": "not_found"}.items():
        assert found[name].status.status_code is StatusCode.ERROR
        assert found[name].status.description == code


@pytest.mark.parametrize(
    "trace",
    [
        None,
        msgspec.structs.replace(GIVEN, sampled=False),
        Trace(id=TraceId("trace_456789"), span=SPAN),
        Trace(id=GIVEN.id, span=""),
    ],
    ids=["none", "not recorded by its caller", "not W3C's", "no span is known"],
)
def test_what_belongs_to_no_recorded_trace_makes_no_span(room: Room, trace: Trace | None) -> None:
    with tracing(trace):
        room.tool()
    assert room.finished() == {}


@pytest.mark.parametrize("name", SPANS)
def test_every_rule_fits_its_row(room: Room, name: str) -> None:
    row, rule = TABLE[name], SPANS[name]
    with tracing(begin_trace(room.entropy, GIVEN)):
        room.telemetry.emit(name, dict.fromkeys(row.measurements, 2.0), {key: key for key in row.metadata})
    (span,) = room.finished().values()
    assert span.name == rule.title.format_map({key: key for key in row.metadata})
    assert bool(rule.failed) == (span.status.status_code is StatusCode.ERROR)
    assert set(span.attributes) == {
        f"mcp.{key}" for key in {*row.measurements, *row.metadata} - {"duration_s"}
    }


def test_nothing_of_the_process_is_touched_and_nothing_is_heard_after_the_end(room: Room) -> None:
    with tracing(GIVEN):
        room.tool()
        assert not get_current_span().get_span_context().is_valid, "the host's own tracing is left alone"
        room.spans.close()
        room.tool()
    assert len(room.exporter.get_finished_spans()) == 1


def test_a_collector_gets_the_spans_over_http() -> None:
    telemetry, clock = LocalTelemetry(), ManualClock()
    with collector() as collected:
        spans = Spans(telemetry, open_otlp(collected.endpoint + "/"), clock, "1.2.3")
        with tracing(GIVEN):
            telemetry.emit("mcp.tool.stop", {"duration_s": 0.5}, TOOL)
        spans.close()
    (span,) = collected.spans()
    assert collected.paths == ["/v1/traces"] and collected.services() == {"umbrella"}
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, SPAN, "tool fs/read_file")
    assert span.end_time_unix_nano - span.start_time_unix_nano == 500_000_000


@pytest.mark.parametrize(
    ("module", "make"),
    [
        ("opentelemetry.sdk.trace", lambda: Spans(LocalTelemetry(), InMemorySpanExporter(), ManualClock())),
        ("opentelemetry.exporter.otlp.proto.http.trace_exporter", lambda: open_otlp("http://127.0.0.1:1")),
    ],
)
def test_without_the_library_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, make: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CallerMistaken) as caught:
        make()
    assert "mcp-umbrella-core[otel]" in caught.value.remedy
