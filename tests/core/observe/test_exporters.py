"""Exporters are off until they are asked for, and close in time whatever the collector does."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from core.observe.collector import collector
from mcp_core.observe.exporters import CLOSE_S, Exporters
from mcp_core.observe.metrics import Gauge
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.settings import CONFIG, Settings, TelemetrySettings, read_databases, read_telemetry
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.telemetry import TABLE
from mcp_interface.testing import ManualClock
from mcp_interface.trace import parse_traceparent, tracing

GIVEN = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
TOOL = {"server": "fs", "tool": "read_file", "principal_id": "system", "execution_id": "exec_1"}


def opened(**wanted: object) -> tuple[LocalTelemetry, Exporters]:
    telemetry = LocalTelemetry()
    return telemetry, Exporters.open(TelemetrySettings(**wanted), telemetry, ManualClock())  # type: ignore[arg-type]


def test_nothing_listens_until_it_is_asked_for() -> None:
    telemetry, exporters = opened()
    assert not any(telemetry.emitter(name).on for name in TABLE)
    exporters.add(Gauge(name="mcp_any", help="of nobody's interest", read=lambda: 1))
    with pytest.raises(NotFound) as caught:
        exporters.text()
    assert "metrics = true" in caught.value.remedy and CONFIG in caught.value.remedy
    asyncio.run(exporters.close())


def test_metrics_that_are_asked_for_hear_every_row() -> None:
    telemetry, exporters = opened(metrics=True)
    assert all(telemetry.emitter(name).on for name in TABLE)
    exporters.add(Gauge(name="mcp_any", help="of somebody's interest", read=lambda: 7))
    telemetry.emit("mcp.tool.stop", {"duration_s": 0.2}, TOOL)
    assert "mcp_any 7.0" in exporters.text()
    assert 'mcp_tool_stop_duration_seconds_count{server="fs",tool="read_file"} 1.0' in exporters.text()
    asyncio.run(exporters.close())
    assert not any(telemetry.emitter(name).on for name in TABLE)


def test_what_waits_is_sent_at_the_end() -> None:
    with collector() as collected:
        telemetry, exporters = opened(otel_endpoint=collected.endpoint)
        with tracing(GIVEN):
            telemetry.emit("mcp.tool.stop", {"duration_s": 0.2}, TOOL)
        asyncio.run(exporters.close())
    assert [span.name for span in collected.spans()] == ["tool fs/read_file"]


def test_a_collector_that_is_away_costs_the_spans_and_not_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    telemetry, exporters = opened(otel_endpoint="http://127.0.0.1:9")
    with tracing(GIVEN):
        telemetry.emit("mcp.tool.stop", {"duration_s": 0.2}, TOOL)
    began = time.monotonic()
    asyncio.run(exporters.close())
    assert time.monotonic() - began < CLOSE_S + 20  # far above what is promised: the machine may be busy
    assert caplog.records


def test_when_one_exporter_is_not_installed_the_other_does_not_listen_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    telemetry = LocalTelemetry()
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    wanted = TelemetrySettings(metrics=True, otel_endpoint="http://127.0.0.1:9")
    with pytest.raises(CallerMistaken, match="opentelemetry") as caught:
        Exporters.open(wanted, telemetry, ManualClock())
    assert "config.toml" in caught.value.remedy
    assert not any(telemetry.emitter(name).on for name in TABLE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", TelemetrySettings()),
        ("[telemetry]", TelemetrySettings()),
        ("[telemetry]\nmetrics = true", TelemetrySettings(metrics=True)),
        (
            '[telemetry]\notel_endpoint = "http://127.0.0.1:4318"',
            TelemetrySettings(otel_endpoint="http://127.0.0.1:4318"),
        ),
    ],
)
def test_a_persons_file_says_what_is_exported(tmp_path: Path, text: str, wanted: TelemetrySettings) -> None:
    assert read_telemetry(tmp_path) == TelemetrySettings()
    (tmp_path / CONFIG).write_text(text)
    assert read_telemetry(tmp_path) == wanted
    assert read_databases(tmp_path) == {}
    assert Settings.load(tmp_path, {}).telemetry is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("metrics = 1", "telemetry.metrics"),
        ("otel_endpoint = 'collector:4318'", "telemetry.otel_endpoint"),
        ("otel_endpoint = 'grpc://collector'", "telemetry.otel_endpoint"),
        ("prometheus = true", "prometheus"),
    ],
)
def test_a_key_that_breaks_a_rule_is_named(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / CONFIG).write_text(f"[telemetry]\n{line}")
    with pytest.raises(CallerMistaken, match=told) as caught:
        read_telemetry(tmp_path)
    assert "[telemetry]" in caught.value.remedy
