"""Where requests may go, and through what."""

import asyncio

import pytest

from mcp_core.providers.addresses import is_loopback
from mcp_core.providers.transport import http_client


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:11434/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost:1/v1", True),
        ("http://ollama.localhost/v1", True),
        ("http://192.168.0.2/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, here: bool) -> None:
    assert is_loopback(url) is here


def test_a_proxy_of_the_environment_is_used_for_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def proxies(url: str) -> bool:
        async with http_client(url) as http:
            return http.trust_env

    assert asyncio.run(proxies("http://example.org/v1"))
    assert not asyncio.run(proxies("http://127.0.0.1:1/v1"))
