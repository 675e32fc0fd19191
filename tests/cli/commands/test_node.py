import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mcp_cli.main import cli
from terminals import HEARS_CTRL_C

SERVER = Path(__file__).parents[2] / "core" / "gateway" / "servers" / "slow.py"


def run(place: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--data-dir", str(place), *words])


def test_a_stopped_node_is_unavailable_and_is_started_when_it_is_needed(tmp_path: Path) -> None:
    assert run(tmp_path, "node", "status").exit_code == 5
    assert run(tmp_path, "node", "stop").exit_code == 5
    listed = run(tmp_path, "mcp", "list")
    assert listed.exit_code == 0, listed.stderr
    status = run(tmp_path, "--format", "json", "node", "status")
    pid = json.loads(status.stdout)["pid"]
    assert json.loads(run(tmp_path, "--format", "json", "node", "start").stdout)["pid"] == pid
    stopped = run(tmp_path, "--format", "json", "node", "stop")
    assert json.loads(stopped.stdout) == {"stopped": pid}
    assert run(tmp_path, "node", "status").exit_code == 5
    missing: Any = run(tmp_path, "doctor")
    assert "no node runs" in missing.stdout


def test_an_embedded_node_keeps_what_it_did_for_the_next(tmp_path: Path) -> None:
    spawned = run(tmp_path, "--embed", "--format", "json", "agent", "spawn", "scout")
    assert spawned.exit_code == 0, spawned.stderr
    shown = run(tmp_path, "--embed", "--format", "json", "agent", "show", "scout")
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout)["agent"]["id"] == json.loads(spawned.stdout)["id"]
    assert run(tmp_path, "node", "status").exit_code == 5, "nothing was left running"


def test_a_call_whose_node_dies_ends_as_a_cut_off_one(tmp_path: Path) -> None:
    place, mark = tmp_path / "node", tmp_path / "mark"
    added = run(place, "mcp", "add", "slow", "--", sys.executable, str(SERVER))
    assert added.exit_code == 0, added.stderr
    pid = json.loads(run(place, "--format", "json", "node", "status").stdout)["pid"]

    def kill() -> None:
        for _ in range(3000):
            if mark.exists():
                break
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    called = run(place, "call", "slow", "wait", "--json", json.dumps({"mark": str(mark)}))
    killer.join()
    assert mark.exists() and called.exit_code == 130, called.stderr
    assert "can be run again, else it is interrupted" in called.stderr


def test_without_a_node_there_is_no_log(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing", "logs")
    assert result.exit_code == 4
    assert "umbrella node start" in result.stderr


def test_a_log_is_followed_until_ctrl_c(tmp_path: Path) -> None:
    assert run(tmp_path, "node", "start").exit_code == 0
    program = HEARS_CTRL_C + "from mcp_cli.main import main; main()"
    command = [sys.executable, "-c", program, "--data-dir", str(tmp_path), "logs", "-f", "-n", "1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
    ) as logs:
        try:
            assert logs.stdout is not None
            assert "the node is up" in logs.stdout.readline()
            with (tmp_path / "logs" / "node.log").open("a") as log:
                log.write("a new \x1b[31mline\n")
            assert logs.stdout.readline() == "a new line\n"
            logs.send_signal(signal.SIGINT)
            assert logs.wait(10) == 130
        finally:
            logs.kill()
    assert run(tmp_path, "node", "stop").exit_code == 0
