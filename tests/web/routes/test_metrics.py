"""/metrics gives a scraper with a login what the node says, and nobody else anything."""

import asyncio
from collections.abc import Callable
from typing import Any

from mcp_interface.commands import GetMetrics
from mcp_interface.errors import NotFound

TEXT = "# TYPE mcp_agents_active gauge\nmcp_agents_active 3.0\n"


def test_a_scraper_with_a_login_key_reads_the_figures(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[GetMetrics] = TEXT
        async with browse() as http:
            answer = await http.get("/metrics")
            assert (answer.status_code, answer.text) == (200, TEXT)
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"

    asyncio.run(scenario())


def test_without_a_login_there_is_nothing_to_read(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[GetMetrics] = TEXT
        for key in (None, "key-2"):
            async with browse(key) as http:
                answer = await http.get("/metrics")
                assert answer.status_code == 401 and "mcp_agents" not in answer.text
        assert not any(isinstance(command, GetMetrics) for _, command in door.asked)

    asyncio.run(scenario())


def test_a_node_that_keeps_none_says_how_to_switch_them_on(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[GetMetrics] = NotFound("this node keeps no metrics", "write metrics = true")
        async with browse() as http:
            answer = await http.get("/metrics")
            assert answer.status_code == 404 and answer.json()["remedy"] == "write metrics = true"

    asyncio.run(scenario())
