"""Resources and prompts over HTTP against a real node: what is put in comes out, also after its server was killed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

pytestmark = pytest.mark.timeout(180)
WAIT_S = 60.0


def logged_in(server: Any) -> httpx.Client:
    (code,) = parse_qs(urlsplit(server.link).query)["code"]
    key = httpx.post(f"{server.url}/api/login", json={"code": code}, timeout=WAIT_S).json()["key"]
    return httpx.Client(base_url=server.url, timeout=WAIT_S, headers={"authorization": f"Bearer {key}"})


def test_an_upload_comes_back_byte_for_byte_after_kill_9(served: Callable[..., Any], tmp_path: Path) -> None:
    data = os.urandom(5 * 1024 * 1024)
    server = served(data_dir=tmp_path / "node")
    with logged_in(server) as http:
        file = {"file": ("ünï.bin", data, "application/x-own")}
        made = http.post("/api/resources/upload", files=file, data={"tags": "a,b"})
        assert made.status_code == 201, made.text
        item = made.json()
        assert item["uri"] == f"file:///{item['owner_id']}/%C3%BCn%C3%AF.bin"
        again = http.post("/api/resources/upload", files=file)
        assert (again.status_code, again.json()["code"]) == (409, "lost_race")
        too_big = http.post("/api/resources/upload", files={"file": ("b", data + b"x", "text/plain")})
        assert (too_big.status_code, too_big.json()["code"]) == (400, "invalid_input"), too_big.text
    server.process.kill()
    server.process.wait(30)
    with logged_in(served(data_dir=tmp_path / "node")) as http:
        path = quote(item["uri"], safe="")
        assert http.get(f"/api/resources/{path}").json() == item
        held = http.get(f"/api/resources/download/{path}")
        assert held.content == data
        assert held.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BCn%C3%AF.bin"
        assert http.get("/api/resources/stats/count?tags=a").json() == {"count": 1}
        assert http.delete(f"/api/resources/{path}").status_code == 204
        for gone in (f"/api/resources/{path}", f"/api/resources/download/{path}"):
            assert http.get(gone).status_code == 404


def test_texts_and_prompts_are_made_found_changed_and_rendered(served: Callable[..., Any]) -> None:
    with logged_in(served()) as http:
        body = {
            "kind": "text",
            "name": "List",
            "text": "milk\n<b>",
            "uri": "note:a//b?c#d",
            "mime_type": "text/html",
        }
        assert http.post("/api/resources", json=body).status_code == 201
        path = quote(body["uri"], safe="")
        assert http.put(f"/api/resources/{path}", json={"tags": ["x"]}).json()["tags"] == ["x"]
        found = http.get("/api/resources/search/milk%20list").json()["items"]
        assert [each["uri"] for each in found] == [body["uri"]]
        held = http.get(f"/api/resources/download/{path}")
        assert (held.text, held.headers["content-type"]) == ("milk\n<b>", "application/octet-stream")
        prompt = {"name": "p", "template": "Hi {{a}} {{b}}", "arguments": [{"name": "a", "required": True}]}
        made = http.post("/api/prompts", json=prompt)
        assert made.status_code == 201 and len(made.json()["warnings"]) == 1
        rendered = http.post("/api/prompts/p/render", json={"arguments": {"a": "{{b}}", "b": "no"}})
        assert rendered.json()["rendered"] == "Hi {{b}} {{b}}"
        assert http.post("/api/prompts/p/render", json={}).status_code == 400
        changed = http.put("/api/prompts/p", json={"template": "new", "expected_version": 1})
        assert changed.json()["version"] == 2
        stale = http.put("/api/prompts/p", json={"template": "newer", "expected_version": 1})
        assert stale.status_code == 409
        assert http.post("/api/prompts/p/revert", json={"version": 1}).json()["version"] == 3
        assert [each["version"] for each in http.get("/api/prompts/p/versions").json()["items"]] == [3, 2, 1]
        assert http.get("/api/prompts/p?version=2").json()["template"] == "new"
        assert http.delete("/api/prompts/p").status_code == 204
        assert http.get("/api/prompts/p").status_code == 404
