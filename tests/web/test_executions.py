"""Tool calls over HTTP that nobody waits for, against a real node and a real server: accepted, polled, fetched, stopped."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

pytestmark = pytest.mark.timeout(180)

SERVER = Path(__file__).parents[1] / "core" / "gateway" / "servers" / "slow.py"
WAIT_S = 60.0


def key_from(server: Any) -> str:
    (code,) = parse_qs(urlsplit(server.link).query)["code"]
    return str(httpx.post(f"{server.url}/api/login", json={"code": code}, timeout=WAIT_S).json()["key"])


def client_of(server: Any, key: str) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=WAIT_S, headers={"authorization": f"Bearer {key}"})


def begun(mark: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not mark.exists():
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)


def test_a_call_is_accepted_and_its_result_fetched_over_another_connection(
    served: Callable[..., Any], tmp_path: Path
) -> None:
    server = served()
    key = key_from(server)
    mark = tmp_path / "mark"
    order = {"server": "slow", "tool": "wait", "arguments": {"mark": str(mark)}}
    with client_of(server, key) as http:
        spec = {"command": sys.executable, "args": [str(SERVER)]}
        added = http.post("/api/servers", json={"name": "slow", "spec": spec})
        assert added.json()["state"] == "ready", added.text
        accepted = http.post("/api/executions", json=order)
        assert accepted.status_code == 202, accepted.text
        path = f"/api/executions/{accepted.json()['id']}"
        begun(mark)
    with client_of(server, key) as http:
        seen = http.get(path, params={"wait": 0.01}).json()
        assert seen["status"] == "RUNNING" and seen["result"] is None
        (mark.parent / "mark.go").touch()
        ended = http.get(path, params={"wait": 60}).json()
        assert ended["status"] == "SUCCESS"
        assert ended["result"]["content"][0]["text"] == "waited for mark.go"
        assert http.get(path).json() == ended

        other = tmp_path / "other"
        order["arguments"] = {"mark": str(other)}
        second = f"/api/executions/{http.post('/api/executions', json=order).json()['id']}"
        begun(other)
        running = http.get("/api/executions", params={"status": "RUNNING"}).json()["items"]
        assert [f"/api/executions/{each['id']}" for each in running] == [second]
        stopped = http.post(f"{second}/cancel")
        assert stopped.status_code == 200 and stopped.json()["status"] == "CANCELLED", stopped.text
        page = http.get("/api/executions", params={"limit": 1}).json()
        rest = http.get("/api/executions", params={"limit": 1, "cursor": page["cursor"]}).json()
        assert [each["status"] for each in page["items"] + rest["items"]] == ["CANCELLED", "SUCCESS"]
        assert rest["cursor"] is None

        unknown = http.get("/api/executions/exec_" + "0" * 32)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        for wrong in (
            {"wait": 301},
            {"wait": -1},
            {"wait": "soon"},
        ):
            assert http.get(path, params=wrong).status_code == 400, wrong
        assert http.get("/api/executions", params={"status": "BORED"}).status_code == 400
    with client_of(server, "wrong") as http:
        assert http.get(path).status_code == 401
