"""`umbrella mcp login` against a real node, a real server and a real authorization server; the test is the browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import pytest

from core.protocol.authorizing import ProtectedServer, running

Umbrella = Callable[..., Any]


@pytest.fixture
def docs(umbrella: Umbrella) -> Iterator[ProtectedServer]:
    """A server that wants a login, added to the node."""
    with running() as server:
        added = umbrella("mcp", "add", "docs", "--url", server.spec.url)
        assert added.exit_code == 1 and "umbrella mcp login docs" in added.output.replace("\n", " ")
        yield server
        umbrella("mcp", "remove", "docs")


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Opens what the command opens, as a browser does: follows the page back to the terminal."""
    opened: list[str] = []

    def launch(url: str) -> int:
        with urlopen(url, timeout=20) as answer:
            opened.extend([url, answer.read().decode()])
        return 0

    monkeypatch.setattr(click, "launch", launch)
    return opened


def test_a_person_logs_in_from_the_terminal(
    umbrella_json: Callable[..., Any], docs: ProtectedServer, browser: list[str], node_dir: Path
) -> None:
    status = umbrella_json("mcp", "login", "docs", "--open")
    assert status["state"] == "ready" and status["tools"] == 2
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A" in browser[0] and "close this page" in browser[1]
    called = umbrella_json("call", "docs", "add", "--json", json.dumps({"a": 1, "b": 2}))
    assert called["result"]["structured"] == {"result": 3}
    kept = b"".join(file.read_bytes() for file in node_dir.rglob("*") if file.is_file())
    assert docs.authority.given and not [one for one in docs.authority.given if one.encode() in kept]


def test_the_browser_may_be_elsewhere(umbrella: Umbrella, docs: ProtectedServer) -> None:
    refused = umbrella("mcp", "login", "docs", "--callback", "http://127.0.0.1:1/callback?code=a&state=b")
    assert refused.exit_code != 0 and "no login" in refused.output


def test_a_server_that_nobody_added_is_named(umbrella: Umbrella) -> None:
    refused = umbrella("mcp", "login", "nowhere")
    assert refused.exit_code != 0 and "umbrella mcp list" in refused.output.replace("\n", " ")
