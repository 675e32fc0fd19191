"""A telemetry that keeps what it hears and accepts no event that its row does not describe."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import TABLE, Handler


class Heard(msgspec.Struct, frozen=True):
    """One event as it was emitted."""

    name: str
    measurements: dict[str, float]
    metadata: dict[str, Any]


def fault_of(name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> str:
    """Say in which way an event is not what its row says; empty when it is."""
    row = TABLE.get(name)
    if row is None:
        return f"{name} has no row in the table"
    if set(measurements) != set(row.measurements):
        return f"{name} measures {sorted(measurements)}, its row says {sorted(row.measurements)}"
    if set(metadata) != set(row.metadata):
        return f"{name} names {sorted(metadata)}, its row says {sorted(row.metadata)}"
    odd = [key for key, value in measurements.items() if not isinstance(value, int | float)]
    return f"{name}: {odd} are not numbers" if odd else ""


class RecordingTelemetry:
    """A `Telemetry` for tests: keeps every event, whoever listens.

    An event that breaks its row is an `AssertionError` where it is emitted. `faults` keeps it too, for code
    that takes errors of its work as part of the day.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.faults: list[str] = []
        self._entries: list[tuple[str, Handler]] = []

    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Keep the event and tell the listeners; a raising one is detached."""
        _check_name(name)
        fault = fault_of(name, measurements, metadata)
        if fault:
            self.faults.append(fault)
            raise AssertionError(fault)
        self.heard.append(Heard(name, dict(measurements), dict(metadata)))
        for entry in list(self._entries):
            if fnmatchcase(name, entry[0]):
                try:
                    entry[1](name, measurements, metadata)
                except Exception:
                    self._detach(entry)

    def emitter(self, name: str) -> "RecordingEmitter":
        """Bind a name."""
        _check_name(name)
        return RecordingEmitter(self, name)

    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        """Listen to names that match a glob; returns the function that stops listening."""
        if not any(fnmatchcase(name, pattern) for name in TABLE):
            raise CallerMistaken(f"no telemetry event matches {pattern!r}", "see the table for the names")
        entry = (pattern, handler)
        self._entries.append(entry)
        return lambda: self._detach(entry)

    def names(self) -> list[str]:
        """The names heard so far, in order."""
        return [event.name for event in self.heard]

    def _detach(self, entry: tuple[str, Handler]) -> None:
        self._entries = [each for each in self._entries if each is not entry]


class RecordingEmitter:
    """One name of a `RecordingTelemetry`, which always listens."""

    on = True

    def __init__(self, telemetry: RecordingTelemetry, name: str) -> None:
        self._telemetry = telemetry
        self._name = name

    def emit(self, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """As `RecordingTelemetry.emit`."""
        self._telemetry.emit(self._name, measurements, metadata)


def _check_name(name: str) -> None:
    if name not in TABLE:
        raise CallerMistaken(f"{name!r} is not a telemetry event", "add a row to the table")
