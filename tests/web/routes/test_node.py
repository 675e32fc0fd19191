"""Health is measured, and strangers see that something is wrong but not what."""

import asyncio
from collections.abc import Callable
from typing import Any

from mcp_interface.commands import Check, GetHealth
from mcp_interface.testing import ManualClock
from mcp_web.routes.node import FRESH_S

BROKEN = Check(name="journal", status="error", detail="/data/journal is full", remedy="make room")


def test_a_failed_check_is_503_and_its_details_are_for_people_who_are_logged_in(
    browse: Callable[..., Any], door: Any
) -> None:
    async def scenario() -> None:
        door.checks.append(BROKEN)
        async with browse(None) as http:
            stranger = await http.get("/health")
            assert stranger.status_code == 503
            assert stranger.json() == {
                "status": "error",
                "checks": [{"name": "disk", "status": "ok"}, {"name": "journal", "status": "error"}],
            }
            known = await http.get("/health", headers={"authorization": "Bearer key-1"})
            assert known.json()["checks"][1]["detail"] == "/data/journal is full"

    asyncio.run(scenario())


def test_a_warning_is_told_and_is_no_failure(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.checks = [Check(name="model", status="warning", detail="not set")]
        async with browse(None) as http:
            answer = await http.get("/health")
            assert (answer.status_code, answer.json()["status"]) == (200, "warning")

    asyncio.run(scenario())


def test_many_strangers_cost_one_measurement_and_a_later_one_measures_again(
    browse: Callable[..., Any], door: Any, clock: ManualClock
) -> None:
    def measured() -> int:
        return sum(isinstance(command, GetHealth) for _, command in door.asked)

    async def scenario() -> None:
        async with browse(None) as http:
            await asyncio.gather(*(http.get("/health") for _ in range(10)))
            assert measured() == 1
            clock.advance(FRESH_S + 1)
            await http.get("/health")
            assert measured() == 2

    asyncio.run(scenario())
