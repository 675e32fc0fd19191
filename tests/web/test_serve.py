"""The command in a process of its own: the login link, attaching, stopping, and what it refuses."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect

from mcp_cli.main import cli
from mcp_core import Settings, open_door
from mcp_interface.client import ClientInfo
from mcp_interface.commands import ListSessions
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import ServerSpec
from mcp_web.serve import allowed_hosts, base_url, is_loopback, listen, serve


def test_the_link_it_prints_logs_in_once_and_the_api_works(served: Callable[..., Any]) -> None:
    server = served()
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/api/status").status_code == 401
        assert http.get(server.link).status_code == 303
        status = http.get("/api/status").json()
        assert status["pid"] == server.process.pid
        made = http.post("/api/sessions", json={"title": "first"}, headers={"x-umbrella": "1"})
        assert made.status_code == 201
        listed = http.get("/api/sessions").json()["items"]
        assert [session["id"] for session in listed] == [made.json()["id"]]
        assert http.get("/api/audit/verify").json()["ok"] is True
    with httpx.Client(base_url=server.url) as stranger:
        assert stranger.get(server.link).headers["location"] == "/?login=failed"
    assert server.stop() == 0


def test_it_ends_when_its_node_is_stopped(served: Callable[..., Any], tmp_path: Path) -> None:
    server = served()
    stopped = CliRunner().invoke(cli, ["--data-dir", str(tmp_path / "node"), "node", "stop"])
    assert stopped.exit_code == 0, stopped.output
    assert server.process.wait(10) == 0


def test_it_stops_within_five_seconds_with_open_streams(served: Callable[..., Any]) -> None:
    server = served()

    async def scenario() -> float:
        with httpx.Client(base_url=server.url) as http:
            code = server.link.rpartition("=")[2]
            key = http.post("/api/login", json={"code": code}).json()["key"]
        address = server.url.replace("http", "ws") + "api/ws"
        async with connect(address, max_queue=None) as line:
            hello = {"type": "hello", "client": {"name": "t", "token": key}, "protocol": 1}
            await line.send(json.dumps(hello))
            assert json.loads(await line.recv())["type"] == "welcome"
            await line.send(json.dumps({"type": "follow", "id": 1}))
            await line.recv()
            began = time.monotonic()
            assert await asyncio.to_thread(server.stop) == 0
            return time.monotonic() - began

    assert asyncio.run(scenario()) < 5


def test_an_impatient_second_signal_still_closes_the_node_properly(
    served: Callable[..., Any], tmp_path: Path
) -> None:
    server = served()
    server.process.terminate()
    server.process.terminate()
    assert server.process.wait(30) == 0
    again = served()
    with httpx.Client(base_url=again.url) as http:
        http.get(again.link)
        assert http.get("/api/status").json()["recovered"] == 0


def test_it_attaches_to_the_node_that_runs_and_leaves_it_running(
    served: Callable[..., Any], tmp_path: Path
) -> None:
    settings = Settings.load(tmp_path / "node")

    async def scenario() -> None:
        door = await open_door(settings, start=False, embed=True)
        try:
            server = await asyncio.to_thread(served)
            async with httpx.AsyncClient(base_url=server.url) as http:
                await http.get(server.link)
                assert (await http.get("/api/status")).json()["pid"] == os.getpid()
                await http.post("/api/sessions", json={}, headers={"x-umbrella": "1"})
            assert await asyncio.to_thread(server.stop) == 0
            client = door.client()
            await client.connect(ClientInfo(name="test", token=door.owner_token))
            assert len((await client.request(ListSessions())).items) == 1
            await client.disconnect()
        finally:
            await door.close()

    asyncio.run(scenario())


def test_a_server_that_we_did_not_write_is_added_called_denied_and_removed(
    served: Callable[..., Any], time_server: ServerSpec
) -> None:
    server = served()
    with httpx.Client(base_url=server.url, timeout=60, headers={"x-umbrella": "1"}) as http:
        http.get(server.link)
        added = http.post("/api/servers", json={"name": "time", "spec": {"command": time_server.command}})
        assert (added.status_code, added.json()["state"]) == (201, "ready"), added.text
        tools = http.get("/api/tools", params={"server": "time"}).json()["items"]
        assert "get_current_time" in {tool["name"] for tool in tools}
        call = {"server": "time", "tool": "get_current_time", "arguments": {"timezone": "UTC"}}
        mine = http.post("/api/tools/call", json=call)
        assert (mine.status_code, mine.json()["result"]["is_error"]) == (200, False), mine.text

        agent = http.post("/api/agents", json={"name": "scout"}).json()["id"]
        denied = http.post("/api/tools/call", json={**call, "as_agent": agent})
        assert (denied.status_code, denied.json()["code"]) == (403, "denied")
        grant = denied.json()["details"]["grant"].split()
        assert grant[:2] == ["umbrella", "grant"]
        granted = http.post("/api/capabilities", json={"agent": grant[2], "resource_uri": grant[3]})
        assert granted.status_code == 201
        assert http.post("/api/tools/call", json={**call, "as_agent": agent}).status_code == 200
        trail = http.get("/api/audit", params={"denied_only": True, "principal": agent}).json()["items"]
        assert [entry["resource_uri"] for entry in trail] == [grant[3]]

        assert http.delete("/api/servers/time").status_code == 204
        assert http.delete("/api/servers/time").status_code == 404
        assert http.get("/api/sessions/session_none").status_code == 404


def test_a_port_in_use_is_a_mistake_with_a_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CallerMistaken, match="--port") as mistake:
            listen("127.0.0.1", port)
        assert str(port) in mistake.value.message
        told = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "serve", "--port", str(port)])
        assert told.exit_code == 2
        assert "Traceback" not in told.output
        assert str(port) in told.output


def test_leaving_the_loopback_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_web.serve._run", lambda work: work.close())
    outside = CliRunner().invoke(serve, ["--host", "0.0.0.0", "--port", "0"])
    assert "TLS" in outside.stderr
    assert CliRunner().invoke(serve, ["--port", "0"]).stderr == ""


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)],
)
def test_what_only_this_machine_can_reach_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_printed_url_can_be_opened_whatever_was_bound() -> None:
    assert base_url("0.0.0.0", 1) == "http://127.0.0.1:1/"
    assert base_url("::", 1) == "http://[::1]:1/"
    assert base_url("box.lan", 1) == "http://box.lan:1/"


def test_a_server_on_all_addresses_answers_to_its_names_and_to_literal_addresses() -> None:
    assert allowed_hosts("127.0.0.1") == (frozenset({"127.0.0.1"}), False)
    names, any_address = allowed_hosts("0.0.0.0")
    assert any_address
    assert socket.gethostname() in names


def test_the_command_line_can_read_the_help_without_loading_a_web_server() -> None:
    program = (
        "import sys; from mcp_web.serve import serve; "
        "heavy = {'litestar', 'uvicorn', 'uvloop', 'mcp', 'mcp_core'} & set(sys.modules); "
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
