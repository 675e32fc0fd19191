"""Figures for Prometheus: every row by rule, nothing that grows without bound, nothing of anybody else."""

import importlib
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from mcp_core.observe.metrics import BUCKETS, MAX_SERIES, OTHER, Gauge, Metrics
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import LEVELS, TABLE

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(metrics: Metrics) -> Samples:
    """What a scraper reads, with the library's own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text())
        for sample in family.samples
    }


def at(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.fixture
def telemetry() -> LocalTelemetry:
    return LocalTelemetry()


@pytest.fixture
def metrics(telemetry: LocalTelemetry) -> Iterator[Metrics]:
    metrics = Metrics(telemetry)
    yield metrics
    metrics.close()


@pytest.mark.parametrize("name", TABLE)
def test_every_row_is_counted_by_its_labels_and_by_nothing_else(name: str) -> None:
    telemetry, row = LocalTelemetry(), TABLE[name]
    metrics = Metrics(telemetry)
    for number in range(3):
        metadata = {key: key for key in row.labels} | {key: f"{key}-{number}" for key in row.details}
        telemetry.emit(name, dict.fromkeys(row.measurements, 2.0), metadata)
    found, labels, plain = samples(metrics), {key: key for key in row.labels}, name.replace(".", "_")
    times = [key for key in row.measurements if key.endswith("_s")]
    for key in times:
        title = f"{plain}_{key[:-2]}_seconds"
        assert at(found, f"{title}_count", **labels) == 3
        assert at(found, f"{title}_sum", **labels) == 6
    if not times:
        assert at(found, f"{plain}_total", **labels) == 3
    for key in set(row.measurements) - set(times) - LEVELS:
        assert at(found, f"{plain}_{key}_total", **labels) == 6
    assert not any(level in name for level in LEVELS for name, _ in found if name.startswith(plain))
    metrics.close()


@given(st.lists(st.floats(min_value=0, max_value=10_000), min_size=1, max_size=30))
def test_a_histogram_counts_each_time_in_every_bucket_that_holds_it(times: list[float]) -> None:
    telemetry = LocalTelemetry()
    metrics = Metrics(telemetry)
    for seconds in times:
        telemetry.emit("mcp.ask.stop", {"duration_s": seconds}, {"to": "a", "sender": "b", "outcome": "ok"})
    found = samples(metrics)
    title = "mcp_ask_stop_duration_seconds"
    for bound in BUCKETS:
        within = sum(seconds <= bound for seconds in times)
        assert at(found, f"{title}_bucket", outcome="ok", le=str(bound)) == within
    assert at(found, f"{title}_bucket", outcome="ok", le="+Inf") == len(times)
    assert at(found, f"{title}_sum", outcome="ok") == pytest.approx(sum(times))


def test_label_sets_are_bounded_and_the_rest_is_counted_together(
    telemetry: LocalTelemetry, metrics: Metrics
) -> None:
    for number in range(MAX_SERIES + 7):
        telemetry.emit("mcp.message.dropped", {}, {"to": "a", "sender": "b", "reason": f"r{number}"})
        telemetry.emit("mcp.server.state", {"restarts": 0}, {"server": f"s{number}", "state": "ready"})
    found = samples(metrics)
    assert at(found, "mcp_message_dropped_total", reason="r0") == 1
    assert at(found, "mcp_message_dropped_total", reason=OTHER) == 7
    assert at(found, "mcp_server_state_total", server=OTHER, state=OTHER) == 7
    assert sum(name == "mcp_message_dropped_total" for name, _ in found) == MAX_SERIES + 1


def test_labels_may_hold_anything_and_the_text_stays_readable(
    telemetry: LocalTelemetry, metrics: Metrics
) -> None:
    odd = 'a"b\\c\nd é 日本'
    telemetry.emit("mcp.message.dropped", {}, {"to": "a", "sender": "b", "reason": odd})
    assert at(samples(metrics), "mcp_message_dropped_total", reason=odd) == 1


def test_threads_lose_no_event(telemetry: LocalTelemetry, metrics: Metrics) -> None:
    def emit() -> None:
        for _ in range(2_000):
            telemetry.emit("mcp.capability.revoked", {"count": 2}, {"capability_id": "cap"})

    threads = [threading.Thread(target=emit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = samples(metrics)
    assert at(found, "mcp_capability_revoked_total") == 8_000
    assert at(found, "mcp_capability_revoked_count_total") == 16_000


def test_gauges_are_asked_when_somebody_looks_and_a_broken_one_costs_only_itself(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = [3]
    metrics.add(Gauge(name="mcp_mail_waiting", help="Messages that wait", read=lambda: waiting[0]))
    metrics.add(Gauge(name="mcp_broken", help="Never there", read=lambda: 1 // 0))
    assert at(samples(metrics), "mcp_mail_waiting") == 3
    waiting[0] = 5
    found = samples(metrics)
    assert at(found, "mcp_mail_waiting") == 5 and ("mcp_broken", frozenset()) not in found
    assert "mcp_broken" in caplog.text
    with pytest.raises(CallerMistaken, match="mcp_mail_waiting"):
        metrics.add(Gauge(name="mcp_mail_waiting", help="again", read=lambda: 0))


def test_nothing_listens_after_the_end_and_nothing_is_left_in_the_librarys_own_registry(
    telemetry: LocalTelemetry, metrics: Metrics
) -> None:
    metrics.close()
    metrics.close()
    telemetry.emit("mcp.capability.revoked", {"count": 1}, {"capability_id": "cap"})
    assert ("mcp_capability_revoked_total", frozenset()) not in samples(metrics)
    assert not any(family.name.startswith("mcp_") for family in REGISTRY.collect())


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(CallerMistaken) as caught:
        Metrics(LocalTelemetry())
    assert "prometheus_client" in caught.value.message and "mcp-umbrella-core[metrics]" in caught.value.remedy
    monkeypatch.undo()
    assert importlib.import_module("prometheus_client")
