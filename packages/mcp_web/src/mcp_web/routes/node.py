"""/api/status for people who are logged in, /health for whoever watches the process."""

import asyncio
from typing import Any, Final, Literal

import msgspec
from litestar import Response, get

from mcp_interface.clock import Clock
from mcp_interface.commands import Check, GetHealth, GetStatus, NodeStatus
from mcp_interface.errors import LoginRequired, UmbrellaError
from mcp_web.auth import AnyRequest, CallerDependency, key_of
from mcp_web.clients import Clients
from mcp_web.routes.shape import PROBLEMS

Level = Literal["ok", "warning", "error"]
FRESH_S: Final = 2.0
"""A measurement is shared by everyone who asks within so many seconds; strangers may ask, too."""
HEALTH_S: Final = 30.0


class CheckName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check; its details are for people who are logged in."""

    name: str
    status: Level
    detail: str = ""
    remedy: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The worst of the checks, and each of them."""

    status: Level
    checks: list[CheckName]


class HealthCache:
    """Measures the node's health at most once at a time, and not more often than needed."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checks: list[Check] = []
        self._measured: float | None = None

    async def measure(self) -> list[Check]:
        """The node's own checks; a node that does not answer is a failed check."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._measured is None or now - self._measured >= FRESH_S:
                self._checks = await self._ask()
                self._measured = self._clock.monotonic()
            return self._checks

    async def _ask(self) -> list[Check]:
        try:
            return await self._clients.ask_owner(GetHealth(), HEALTH_S)
        except UmbrellaError as error:
            return [Check(name="node", status="error", detail=error.message, remedy=error.remedy)]


@get("/health", summary="Is it well")
async def health(request: AnyRequest) -> Response[Health]:
    """Measured, not claimed; 503 when a check fails. Details only for people who are logged in."""
    cache: HealthCache = request.app.state.health
    checks = await cache.measure()
    known = await _is_known(request)
    shown = [
        CheckName(name=check.name, status=check.status, detail=check.detail, remedy=check.remedy)
        if known
        else CheckName(name=check.name, status=check.status)
        for check in checks
    ]
    levels: list[Level] = ["error", "warning", "ok"]
    worst: Level = next((level for level in levels if any(check.status == level for check in checks)), "ok")
    headers = {"cache-control": "no-store"}
    return Response(
        Health(status=worst, checks=shown), status_code=503 if worst == "error" else 200, headers=headers
    )


async def _is_known(request: AnyRequest) -> bool:
    key = key_of(request)
    if key is None:
        return False
    clients: Clients = request.app.state.clients
    try:
        await clients.check(key)
    except LoginRequired:
        return False
    except UmbrellaError:
        return False  # the node is away: nobody can be recognised, and the checks say so
    return True


@get("/status", responses=PROBLEMS, summary="The node at a glance")
async def status(caller: CallerDependency) -> NodeStatus:
    """Counts, versions, and whether the assistant has a model."""
    return await caller.ask(GetStatus())


PRIVATE: list[Any] = [status]
PUBLIC: list[Any] = [health]
