"""What the local telemetry does beyond the exam (`tests/contract/test_telemetry.py`): logs, threads, cost."""

import logging
import threading

import pytest

from mcp_core.observe.telemetry import LocalTelemetry
from mcp_interface.errors import CallerMistaken

START = {"server": "fs", "tool": "read_file", "principal_id": "system", "execution_id": "exec_1"}


def test_a_raising_listener_is_detached_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    telemetry, calls = LocalTelemetry(), []

    def broken(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("broken listener")

    telemetry.attach("*", broken)
    telemetry.attach("mcp.tool.*", broken)
    telemetry.emit("mcp.tool.start", {}, START)
    telemetry.emit("mcp.tool.start", {}, START)
    assert calls == [1, 1], "it was attached twice and told of one event"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "mcp.tool.start" in caplog.text and "broken listener" in caplog.text


def test_an_emitter_is_off_until_somebody_listens_and_off_again_when_the_last_has_left() -> None:
    telemetry = LocalTelemetry()
    emitter = telemetry.emitter("mcp.tool.start")
    assert emitter is telemetry.emitter("mcp.tool.start") and not emitter.on
    elsewhere = telemetry.attach("mcp.agent.*", lambda *_: None)
    assert not emitter.on
    stops = [telemetry.attach(pattern, lambda *_: None) for pattern in ("mcp.tool.*", "*")]
    assert emitter.on
    stops[0]()
    assert emitter.on
    stops[1]()
    elsewhere()
    assert not emitter.on


def test_a_pattern_that_matches_nothing_is_a_mistake_and_not_a_deaf_listener() -> None:
    with pytest.raises(CallerMistaken, match=r"mcp\.tools\.\*") as caught:
        LocalTelemetry().attach("mcp.tools.*", lambda *_: None)
    assert "TABLE" in caught.value.remedy


def test_listeners_come_and_go_while_threads_emit_and_one_that_stays_hears_everything() -> None:
    telemetry, heard, each = LocalTelemetry(), [], 2_000
    telemetry.attach("mcp.tool.start", lambda *_: heard.append(1))
    started = threading.Barrier(3)

    def emit() -> None:
        started.wait(10)
        for _ in range(each):
            telemetry.emit("mcp.tool.start", {}, START)

    threads = [threading.Thread(target=emit) for _ in range(2)]
    for thread in threads:
        thread.start()
    started.wait(10)
    while any(thread.is_alive() for thread in threads):
        telemetry.attach("mcp.*", lambda *_: None)()
    for thread in threads:
        thread.join(10)
    assert len(heard) == 2 * each
