"""What an event costs its emitter: nobody listens, somebody does, Prometheus does, spans are made.

Run alone: `python tests/benchmarks/bench_telemetry.py`, after `uv sync --all-packages`. One JSON object per
line. Peers of the same run: a logger's `debug` that is switched off, for an event that nobody wants; the
OpenTelemetry SDK's `counter.add` and `histogram.record` with one attribute, for one that is counted; the SDK's
own `start_as_current_span` with the same exporter, for a span. Values are nanoseconds, so a ratio below one is
quicker than the peer.
"""

import json
import logging
from collections.abc import Callable, Mapping
from timeit import Timer
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from mcp_core.observe.metrics import Metrics
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.observe.tracing import Spans
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.trace import begin_trace, tracing

ROUNDS = 9
COUNT = 100_000
HANDLED = "mcp.agent.message_handled"
ENTROPY = SystemEntropy()
BY_NAME = f"telemetry.emit({HANDLED!r}, {{'duration_s': 0.003}}, {{'agent_id': agent, 'type': 'worker'}})"
BOUND = "if handled.on: handled.emit({'duration_s': 0.003}, {'agent_id': agent, 'type': 'worker'})"
MESSAGE = """
if sent.on: sent.emit({}, {'to': agent, 'sender': agent, 'session_id': None})
if received.on: received.emit({}, {'to': agent, 'sender': agent, 'session_id': None})
if handled.on: handled.emit({'duration_s': 0.003}, {'agent_id': agent, 'type': 'worker'})
"""


class Nowhere(SpanExporter):
    """Takes spans and keeps none, so that only making them is measured."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def report(name: str, value: float, peer: str, peer_value: float) -> None:
    line = {"name": name, "value": round(value, 1), "unit": "ns", "peer": peer}
    print(
        json.dumps({**line, "peer_value": round(peer_value, 1), "ratio": round(value / peer_value, 2)}),
        flush=True,
    )


def cost(statement: str, count: int = COUNT, **names: Any) -> float:
    """Nanoseconds of one run, the best of some rounds."""
    return min(Timer(statement, globals=names).repeat(ROUNDS, count)) / count * 1e9


def ours(
    statement: str, listen: Callable[[LocalTelemetry], Any] = lambda _: None, count: int = COUNT
) -> float:
    telemetry = LocalTelemetry()
    kept = listen(telemetry)
    names = {name: telemetry.emitter(f"mcp.message.{name}") for name in ("sent", "received")}
    agent = "agent_" + "0" * 32
    found = cost(
        statement, count, telemetry=telemetry, handled=telemetry.emitter(HANDLED), agent=agent, **names
    )
    del kept
    return found


def nothing(name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
    """Listen and do nothing."""


def counting() -> None:
    """Events that nobody wants, that somebody wants, and that are counted."""
    logger = logging.getLogger("bench")
    off = cost("logger.debug('handled by %s in %s', agent, 0.003)", logger=logger, agent="agent")
    report("event, no listener, bound emitter", ours(BOUND), "logging.debug, off", off)
    report("event, no listener, by name", ours(BY_NAME), "logging.debug, off", off)
    meter = MeterProvider(metric_readers=[InMemoryMetricReader()]).get_meter("bench")
    counter, histogram = meter.create_counter("messages"), meter.create_histogram("seconds")
    add = cost("counter.add(1, {'type': 'worker'})", counter=counter)
    record = cost("histogram.record(0.003, {'type': 'worker'})", histogram=histogram)
    one = ours(BOUND, lambda telemetry: telemetry.attach("*", nothing))
    report("event, one listener, bound emitter", one, "OpenTelemetry counter.add", add)
    one = ours(BY_NAME, lambda telemetry: telemetry.attach("*", nothing))
    report("event, one listener, by name", one, "OpenTelemetry counter.add", add)
    report(
        "event with a duration, Prometheus", ours(BOUND, Metrics), "OpenTelemetry histogram.record", record
    )
    whole = 2 * add + record
    report("message (3 events), Prometheus", ours(MESSAGE, Metrics), "OpenTelemetry, 2 add + record", whole)


def spanning() -> None:
    """One span, made and handed to the queue; most are dropped there, which is the same for both."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer, count = provider.get_tracer("bench"), 5_000
    peer = cost("with tracer.start_as_current_span('message'): pass", count, tracer=tracer)
    kept: list[Spans] = []

    def listen(telemetry: LocalTelemetry) -> None:
        kept.append(Spans(telemetry, Nowhere(), SystemClock()))

    with tracing(begin_trace(ENTROPY)):
        value = ours(BOUND, listen, count)
    report("event in a recorded trace, OpenTelemetry", value, "SDK start_as_current_span", peer)
    without = ours(BOUND, listen, count)
    report("event outside of any trace, OpenTelemetry", without, "SDK start_as_current_span", peer)
    for spans in kept:
        spans.close()
    provider.shutdown()


if __name__ == "__main__":
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a full queue is meant here
    counting()
    spanning()
