import pytest

from mcp_core.observe.telemetry import LocalTelemetry
from mcp_interface.errors import CallerMistaken


def test_listeners_hear_what_matches_until_they_stop() -> None:
    telemetry, heard = LocalTelemetry(), []
    stop = telemetry.attach("mcp.tool.*", lambda name, measurements, metadata: heard.append(name))
    telemetry.emit("mcp.tool.start", {}, {})
    telemetry.emit("mcp.agent.start", {}, {})
    stop()
    stop()
    telemetry.emit("mcp.tool.start", {}, {})
    assert heard == ["mcp.tool.start"]


def test_a_raising_listener_never_breaks_the_emitter_and_is_detached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry, calls = LocalTelemetry(), []

    def broken(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("broken listener")

    telemetry.attach("*", broken)
    telemetry.emit("mcp.tool.start", {}, {})
    telemetry.emit("mcp.tool.start", {}, {})
    assert calls == [1] and "detached" in caplog.text


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(CallerMistaken, match=r"mcp\.no\.such"):
        LocalTelemetry().emit("mcp.no.such", {}, {})
