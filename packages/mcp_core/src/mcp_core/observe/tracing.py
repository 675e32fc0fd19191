"""Spans for OpenTelemetry, made from the events that end something.

Each row of `SPANS` carries how long it took, so its span is made when it is over, backdated by that: nothing is
kept open, and what never ends leaves nothing behind. A span belongs to the `current_trace` of whoever emits;
what belongs to none, or to one whose caller does not record, makes no span. The span of a command has the id
that the gateway gave it, so everything that the command causes hangs below it, and it below the client's own.

Needs the extra `otel`. Spans wait in the SDK's bounded queue and are sent by its own thread; when it is full,
or nobody takes them, they are lost. Further settings, such as headers, are the SDK's own `OTEL_EXPORTER_OTLP_…`
variables.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core.observe.extras import required
from mcp_interface.clock import Clock
from mcp_interface.errors import InvalidRecord
from mcp_interface.telemetry import TABLE, Telemetry
from mcp_interface.trace import Trace, current_trace, format_traceparent

EXTRA: Final = "otel"
SERVICE: Final = "umbrella"
TRACES: Final = "/v1/traces"
"""Where a collector takes them, beneath its address."""
SEND_S: Final = 3.0
"""Seconds that one request to the collector may take; a stop waits for two at most."""
QUEUE: Final = 2048
"""Spans that may wait for the collector, and that one request may carry: what waits at a stop is one request."""


class SpanRule(msgspec.Struct, frozen=True, kw_only=True):
    """How an event becomes a span."""

    title: str
    """A format string over the event's metadata."""
    kind: str
    """One of the SDK's `SpanKind`."""
    failed: str = ""
    """The metadata that says what went wrong; empty when the event is not a failure."""


SPANS: Final[Mapping[str, SpanRule]] = {
    "mcp.command.stop": SpanRule(title="command {command}", kind="SERVER", failed="outcome"),
    "mcp.agent.message_handled": SpanRule(title="message {type}", kind="CONSUMER"),
    "mcp.tool.stop": SpanRule(title="tool {server}/{tool}", kind="CLIENT"),
    "mcp.tool.exception": SpanRule(title="tool {server}/{tool}", kind="CLIENT", failed="code"),
    "mcp.model.stop": SpanRule(title="model {model}", kind="CLIENT"),
}
COMMAND: Final = "mcp.command.stop"
OK: Final = "ok"


def open_otlp(endpoint: str) -> Any:
    """Make the SDK's exporter to a collector that speaks OTLP over HTTP.

    Args:
        endpoint: The collector's address, such as `http://127.0.0.1:4318`.

    Raises:
        CallerMistaken: The extra is not installed.
    """
    module = required("opentelemetry.exporter.otlp.proto.http.trace_exporter", EXTRA)
    return module.OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES, timeout=SEND_S)


class Spans:
    """Listens to the rows of `SPANS` and hands finished spans to an exporter.

    Args:
        telemetry: What to listen to.
        exporter: Any `SpanExporter` of the SDK; `open_otlp` makes the usual one.
        clock: When things end.
        version: Of the node's software, for the collector.

    Raises:
        CallerMistaken: The extra is not installed.
    """

    def __init__(self, telemetry: Telemetry, exporter: Any, clock: Clock, version: str = "") -> None:
        sdk = required("opentelemetry.sdk.trace", EXTRA)
        export = required("opentelemetry.sdk.trace.export", EXTRA)
        resources = required("opentelemetry.sdk.resources", EXTRA)
        self._api = required("opentelemetry.trace", EXTRA)
        self._clock = clock
        self._ids = _ids(required("opentelemetry.sdk.trace.id_generator", EXTRA))
        # not registered as the process's own provider, and not ended by the interpreter: both are the host's
        self._provider = sdk.TracerProvider(
            resource=resources.Resource.create({"service.name": SERVICE, "service.version": version}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            export.BatchSpanProcessor(exporter, max_queue_size=QUEUE, max_export_batch_size=QUEUE)
        )
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._stops = [telemetry.attach(name, self._heard) for name in SPANS]

    def flush(self) -> None:
        """Send what waits. Blocks for at most two requests; for a thread."""
        self._provider.force_flush(int(2 * SEND_S * 1000))

    def close(self) -> None:
        """Stop listening, then send what waits. Blocks for at most two requests; for a thread."""
        for stop in self._stops:
            stop()
        self._provider.shutdown()

    def _heard(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        trace = current_trace()
        if trace is None or not trace.sampled or not _is_w3c(trace):
            return
        rule = SPANS[name]
        end = int(self._clock.now().timestamp() * 1_000_000) * 1000
        own = name == COMMAND  # the span in which everything else of this trace hangs
        self._ids.tell(_number(trace.id), _number(trace.span) if own else None)
        span = self._tracer.start_span(
            rule.title.format_map(metadata),
            context=self._below(trace, trace.parent if own else trace.span),
            kind=self._api.SpanKind[rule.kind],
            start_time=end - int(measurements["duration_s"] * 1e9),
            attributes=_attributes(name, measurements, metadata),
        )
        if rule.failed and metadata[rule.failed] != OK:
            span.set_status(self._api.StatusCode.ERROR, str(metadata[rule.failed]))
        span.end(end)

    def _below(self, trace: Trace, span: str) -> Any:
        """The SDK's context of a parent; an empty one makes a root."""
        from opentelemetry.context import Context

        if not span:
            return Context()
        parent = self._api.SpanContext(
            trace_id=_number(trace.id),
            span_id=_number(span),
            is_remote=True,
            trace_flags=self._api.TraceFlags(self._api.TraceFlags.SAMPLED),
        )
        return self._api.set_span_in_context(self._api.NonRecordingSpan(parent), Context())


def _ids(module: Any) -> Any:
    """A generator of ids that gives out, once, what this thread was told to, and random ones otherwise."""

    class Ids(module.RandomIdGenerator):  # type: ignore[misc]  # the library is loaded late
        def __init__(self) -> None:
            self.told = threading.local()

        def tell(self, trace: int, span: int | None) -> None:
            self.told.trace, self.told.span = trace, span

        def generate_trace_id(self) -> int:
            return self.told.__dict__.pop("trace", None) or int(super().generate_trace_id())

        def generate_span_id(self) -> int:
            return self.told.__dict__.pop("span", None) or int(super().generate_span_id())

    return Ids()


def _attributes(
    name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]
) -> dict[str, str | float]:
    row = TABLE[name]
    about: dict[str, str | float] = {
        f"mcp.{key}": str(metadata[key]) for key in row.metadata if metadata[key] is not None
    }
    return about | {f"mcp.{key}": measurements[key] for key in row.measurements if key != "duration_s"}


def _is_w3c(trace: Trace) -> bool:
    try:
        format_traceparent(trace)
    except InvalidRecord:
        return False
    return True


def _number(digits: str) -> int:
    return int(digits.removeprefix("trace_"), 16)
