"""The table of telemetry, and the fake that holds emitters to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import LEVELS, TABLE
from mcp_interface.testing import RecordingTelemetry
from mcp_interface.testing.telemetry import fault_of

UNBOUNDED = {"id", "to", "sender", "actor", "target", "where", "stream", "resource_uri", "supervisor"}


def row_of(name: str) -> tuple[dict[str, float], dict[str, Any]]:
    row = TABLE[name]
    return dict.fromkeys(row.measurements, 1.0), dict.fromkeys(row.metadata, "x")


def test_every_name_has_two_parts_below_ours_and_says_each_thing_once() -> None:
    for name, row in TABLE.items():
        assert name.startswith("mcp.") and name.count(".") == 2 and name == name.lower()
        said = [*row.measurements, *row.labels, *row.details]
        assert len(said) == len(set(said))


def test_no_label_can_take_any_number_of_values() -> None:
    for row in TABLE.values():
        for label in row.labels:
            assert label not in UNBOUNDED and not label.endswith("_id")


def test_an_event_takes_one_time_at_most_and_every_level_is_used() -> None:
    for row in TABLE.values():
        times = [key for key in row.measurements if key.endswith("_s")]
        assert len(times) <= 1 and not LEVELS & set(times)
    assert {key for row in TABLE.values() for key in row.measurements} >= LEVELS


@pytest.mark.parametrize("name", TABLE)
def test_the_fake_takes_what_a_row_says(name: str) -> None:
    telemetry = RecordingTelemetry()
    telemetry.emit(name, *row_of(name))
    telemetry.emitter(name).emit(*row_of(name))
    assert telemetry.names() == [name, name] and not telemetry.faults


@given(st.sampled_from(sorted(TABLE)), st.sampled_from(["more", "less", "other", "text"]), st.booleans())
def test_the_fake_finds_every_departure_from_a_row(name: str, how: str, in_metadata: bool) -> None:
    measurements, metadata = row_of(name)
    part: dict[str, Any] = metadata if in_metadata else measurements
    if how == "more":
        part["another"] = 1
    elif how == "text" and measurements:
        measurements[next(iter(measurements))] = "fast"  # type: ignore[assignment]
    elif part:
        value = part.pop(next(iter(part)))
        part |= {"another": value} if how == "other" else {}
    else:
        part["another"] = 1
    telemetry = RecordingTelemetry()
    with pytest.raises(AssertionError, match=name):
        telemetry.emit(name, measurements, metadata)
    assert len(telemetry.faults) == 1 and not telemetry.heard


def test_a_name_without_a_row_is_refused_and_told() -> None:
    with pytest.raises(CallerMistaken, match=r"mcp\.no\.such"):
        RecordingTelemetry().emit("mcp.no.such", {}, {})
    assert "no row" in fault_of("mcp.no.such", {}, {})
