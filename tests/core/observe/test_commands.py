"""What is seen of a command: its end, its outcome, its trace; and nothing of it when nobody looks."""

import asyncio

import pytest

from mcp_core.observe.commands import CommandWatch
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_interface.commands import GetStatus
from mcp_interface.errors import NotFound
from mcp_interface.ids import SYSTEM
from mcp_interface.testing import ManualClock, RecordingTelemetry, SeededEntropy
from mcp_interface.trace import current_trace, parse_traceparent, tracing

GIVEN = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (None, "ok"),
        (NotFound("no such thing"), "not_found"),
        (asyncio.CancelledError(), "cancelled"),
        (RuntimeError("a bug"), "failed"),
    ],
)
def test_each_end_has_its_outcome_and_reaches_the_caller(end: BaseException | None, outcome: str) -> None:
    telemetry, clock = RecordingTelemetry(), ManualClock()
    watch = CommandWatch(telemetry, clock, SeededEntropy())

    def run() -> None:
        with watch.over(SYSTEM, GetStatus()):
            clock.advance(2.5)
            if end is not None:
                raise end

    if end is None:
        run()
    else:
        with pytest.raises(type(end)):
            run()
    (heard,) = telemetry.heard
    assert heard.measurements == {"duration_s": 2.5}
    assert heard.metadata == {"command": "node.status", "outcome": outcome, "principal_id": SYSTEM}


def test_it_stays_in_the_callers_trace_and_leaves_it_as_it_was() -> None:
    watch = CommandWatch(LocalTelemetry(), ManualClock(), SeededEntropy())
    with tracing(GIVEN):
        with watch.over(None, GetStatus()):
            inside = current_trace()
        assert current_trace() == GIVEN
    assert inside is not None
    assert (inside.id, inside.parent, inside.sampled) == (GIVEN.id, GIVEN.span, False)
    with watch.over(None, GetStatus()):
        first = current_trace()
    with watch.over(None, GetStatus()):
        second = current_trace()
    assert first is not None and second is not None and first.id != second.id
    assert current_trace() is None
