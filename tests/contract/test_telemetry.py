"""Every telemetry sits the same exam, and the exam finds those that break a promise."""

import asyncio
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

from mcp_core.observe.telemetry import LocalTelemetry
from mcp_interface.telemetry import Handler, Telemetry
from mcp_interface.testing import RecordingTelemetry, check_telemetry
from mcp_interface.testing.telemetry import RecordingEmitter


@pytest.mark.parametrize("make", [LocalTelemetry, RecordingTelemetry])
def test_it_keeps_its_promises(make: Callable[[], Telemetry]) -> None:
    asyncio.run(check_telemetry(make))


class LastComesFirst(RecordingTelemetry):
    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        stop = super().attach(pattern, handler)
        self._entries.insert(0, self._entries.pop())
        return stop


class NeverLetsGo(RecordingTelemetry):
    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        super().attach(pattern, handler)
        return lambda: None


class LetsErrorsThrough(RecordingTelemetry):
    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        for entry in list(self._entries):
            if name.startswith(entry[0].rstrip("*")):
                entry[1](name, measurements, metadata)


class KeepsTheBroken(RecordingTelemetry):
    def _detach(self, entry: tuple[str, Handler]) -> None:
        if entry[0] != "mcp.agent.*":
            super()._detach(entry)


class SkipsANeighbour(RecordingTelemetry):
    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        for entry in self._entries:
            if fnmatchcase(name, entry[0]):
                try:
                    entry[1](name, measurements, metadata)
                except RuntimeError:
                    self._entries = [each for each in self._entries if each is not entry]
                    return


class TakesAnyName(RecordingTelemetry):
    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        if name != "mcp.no.such":
            super().emit(name, measurements, metadata)


class DeafEmitter(RecordingEmitter):
    on = False


class BindsOnce(RecordingTelemetry):
    def emitter(self, name: str) -> RecordingEmitter:
        return DeafEmitter(self, name)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (LastComesFirst, "order in which they came"),
        (NeverLetsGo, "stopped listening"),
        (LetsErrorsThrough, "a broken listener"),
        (KeepsTheBroken, "detached from everything"),
        (SkipsANeighbour, "neither emitter nor neighbour"),
        (TakesAnyName, "refused"),
        (BindsOnce, "came later"),
    ],
)
def test_a_broken_promise_is_found(broken: type[RecordingTelemetry], told: str) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=told):
        asyncio.run(check_telemetry(broken))
