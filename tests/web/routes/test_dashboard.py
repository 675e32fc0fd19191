"""The built pages are served from the wheel, and an unbuilt dashboard says how to build it."""

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from mcp_web import make_app
from mcp_web.routes.dashboard import Pages

BASE = "http://127.0.0.1:8420"
INDEX = "<!doctype html><title>here</title>"
SCRIPT = "let x = 1;\n" * 200


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dashboard"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "assets" / "app-1.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("hush")
    return folder


def ask(door: Any, folder: Path, path: str, method: str = "GET", **headers: str) -> Any:
    async def scenario() -> Any:
        async with AsyncTestClient(make_app(door, assets=folder), base_url=BASE) as http:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.request(method, path, headers={"accept-encoding": "identity", **given})

    return asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/sessions", "/sessions/session_1", "/agents/agent_1"])
def test_a_page_of_the_dashboard_can_be_opened_by_its_address(door: Any, built: Path, path: str) -> None:
    answer = ask(door, built, path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_a_hashed_file_is_kept_for_ever_and_packed(door: Any, built: Path) -> None:
    plain = ask(door, built, "/assets/app-1.js")
    assert plain.text == SCRIPT
    assert "immutable" in plain.headers["cache-control"]
    assert "javascript" in plain.headers["content-type"]
    packed = ask(door, built, "/assets/app-1.js", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == SCRIPT
    assert int(packed.headers["content-length"]) == len(gzip.compress(SCRIPT.encode(), mtime=0))


def test_what_the_browser_has_is_not_sent_again(door: Any, built: Path) -> None:
    etag = ask(door, built, "/").headers["etag"]
    again = ask(door, built, "/", if_none_match=etag)
    assert (again.status_code, again.content) == (304, b"")


def test_a_missing_file_is_missing_and_no_page(door: Any, built: Path) -> None:
    assert ask(door, built, "/assets/none.js").status_code == 404


@pytest.mark.parametrize("path", ["/../secret.txt", "/..%2fsecret.txt", "/assets/../../secret.txt"])
def test_nothing_outside_the_folder_is_served(door: Any, built: Path, path: str) -> None:
    assert "hush" not in ask(door, built, path).text
    assert Pages.load(built).find(path.lstrip("/")) is None


def test_head_answers_without_a_body(door: Any, built: Path) -> None:
    assert ask(door, built, "/", "HEAD").status_code == 200


def test_an_unbuilt_dashboard_says_how_to_build_it(door: Any, tmp_path: Path) -> None:
    answer = ask(door, tmp_path / "none", "/")
    assert answer.status_code == 503
    assert "uv sync --reinstall-package mcp-umbrella-web" in answer.text


def test_the_api_works_without_the_pages(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            assert (await http.get("/health")).status_code == 200

    asyncio.run(scenario())
