"""The exam of telemetry: who hears what, and that a listener is never the emitter's problem."""

from collections.abc import Callable, Mapping
from typing import Any

from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import TABLE, Telemetry


async def check_telemetry(make: Callable[[], Telemetry]) -> None:
    """Examine an implementation of `Telemetry`.

    Args:
        make: Makes a fresh one.

    Raises:
        AssertionError: A promise is broken.
    """
    _check_listening(make())
    _check_order(make())
    _check_emitters(make())
    _check_raising(make())
    _check_detaching_while_told(make())
    _check_refusals(make())


def _tell(telemetry: Telemetry, name: str) -> None:
    row = TABLE[name]
    telemetry.emit(name, dict.fromkeys(row.measurements, 1.0), dict.fromkeys(row.metadata, "x"))


def _check_listening(telemetry: Telemetry) -> None:
    heard: list[tuple[str, Mapping[str, float], Mapping[str, Any]]] = []
    stop = telemetry.attach("mcp.tool.*", lambda *event: heard.append(event))
    _tell(telemetry, "mcp.agent.start")
    assert heard == [], "a listener hears only what its pattern matches"
    _tell(telemetry, "mcp.tool.stop")
    assert [event[0] for event in heard] == ["mcp.tool.stop"]
    assert heard[0][1] == {"duration_s": 1.0}, "measurements arrive as they were emitted"
    assert set(heard[0][2]) == set(TABLE["mcp.tool.stop"].metadata), "so does the metadata"
    stop()
    stop()
    _tell(telemetry, "mcp.tool.stop")
    assert len(heard) == 1, "who has stopped listening hears nothing, and may stop twice"


def _check_order(telemetry: Telemetry) -> None:
    order: list[int] = []
    telemetry.attach("*", lambda *_: order.append(1))
    stop = telemetry.attach("mcp.server.*", lambda *_: order.append(2))
    telemetry.attach("mcp.server.state", lambda *_: order.append(3))
    _tell(telemetry, "mcp.server.state")
    assert order == [1, 2, 3], "listeners are told in the order in which they came"
    stop()
    _tell(telemetry, "mcp.server.state")
    assert order == [1, 2, 3, 1, 3], "the others stay when one leaves"


def _check_emitters(telemetry: Telemetry) -> None:
    heard: list[str] = []
    emitter = telemetry.emitter("mcp.server.state")
    stop = telemetry.attach("mcp.server.*", lambda name, *_: heard.append(name))
    assert emitter.on, "an emitter that was bound before knows of listeners that came later"
    emitter.emit({"restarts": 1}, {"server": "a", "state": "ready"})
    assert heard == ["mcp.server.state"], "an emitter tells the listeners of its name"
    stop()
    emitter.emit({"restarts": 1}, {"server": "a", "state": "ready"})
    assert len(heard) == 1, "and not those who have left"


def _check_raising(telemetry: Telemetry) -> None:
    calls: list[str] = []

    def broken(name: str, *_: object) -> None:
        calls.append(name)
        raise RuntimeError("a broken listener")

    telemetry.attach("mcp.agent.*", broken)
    telemetry.attach("mcp.agent.*", lambda *_: calls.append("sound"))
    _tell(telemetry, "mcp.agent.start")
    assert calls == ["mcp.agent.start", "sound"], "a raising listener breaks neither emitter nor neighbour"
    _tell(telemetry, "mcp.agent.crash")
    assert calls[2:] == ["sound"], "it is detached from everything it listened to"


def _check_detaching_while_told(telemetry: Telemetry) -> None:
    calls: list[int] = []
    stops: list[Callable[[], None]] = []

    def leaving(*_: object) -> None:
        calls.append(1)
        stops[0]()

    stops.append(telemetry.attach("mcp.agent.start", leaving))
    telemetry.attach("mcp.agent.start", lambda *_: calls.append(2))
    _tell(telemetry, "mcp.agent.start")
    _tell(telemetry, "mcp.agent.start")
    assert calls == [1, 2, 2], "a listener may stop while it is told, and nobody is left out"


def _check_refusals(telemetry: Telemetry) -> None:
    for attempt in (
        lambda: telemetry.emit("mcp.no.such", {}, {}),
        lambda: telemetry.emitter("mcp.no.such"),
        lambda: telemetry.attach("mcp.no.*", lambda *_: None),
    ):
        try:
            attempt()
        except CallerMistaken:
            continue
        raise AssertionError("a name that is not in the table is refused")
