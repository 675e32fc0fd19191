"""The first moments of a node: its servers are connected, and what an earlier process has left goes on."""

import asyncio
import logging
from functools import partial
from typing import Protocol

from mcp_core.agents.tool_executor import Caller
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.handlers.sessions import SessionCommands
from mcp_core.gateway.plans.index import PlanIndex
from mcp_core.gateway.sessions import Found, Sessions
from mcp_core.gateway.spending import Spending
from mcp_core.gateway.task_index import TaskIndex
from mcp_core.runtime.commit import Journal
from mcp_interface.server import ServerSpec, ServerStatus

log = logging.getLogger(__name__)

Connecting = dict[str, asyncio.Task[None]]
"""The first attempt at each configured server, by its name."""


class Host(Protocol):
    """Where servers are connected (`mcp_core.protocol.Host`)."""

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        """Connect a server."""
        ...


def read_off(sessions: Sessions, journal: Journal) -> tuple[Spending, TaskIndex, PlanIndex]:
    """What is read off the events of all sessions, from the first on."""
    spending, tasks, plans = Spending(), TaskIndex(), PlanIndex(journal)
    for heard in (spending.heard, tasks.heard, plans.heard):
        sessions.watch(heard)
    return spending, tasks, plans


def connect_all(host: Host, wanted: dict[str, ServerSpec]) -> Connecting:
    """Begin to connect the configured servers, side by side; the failure of one is its status."""
    return {name: asyncio.create_task(_connect(host, name, spec)) for name, spec in wanted.items()}


def go_on(
    connecting: Connecting,
    executions: Executions,
    caller: Caller,
    conversations: SessionCommands,
    found: Found,
) -> "asyncio.Future[list[None]]":
    """Take up what an earlier process has left: a call when its server was tried, a turn when all were.

    Returns:
        All first attempts.
    """
    connected = asyncio.gather(*connecting.values())
    executions.go_on(caller.call, partial(_tried, connecting))
    conversations.begin(found.waiting)
    conversations.go_on(found.turns, connected)
    return connected


async def give_up(work: "asyncio.Future[list[None]]") -> None:
    """Cancel work and wait until it has let go."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _tried(connecting: Connecting, server: str) -> None:
    if server in connecting:
        await asyncio.wait([connecting[server]])


async def _connect(host: Host, name: str, spec: ServerSpec) -> None:
    try:
        await host.add(name, spec)
    except Exception:
        log.exception("server %s could not be set up", name)
