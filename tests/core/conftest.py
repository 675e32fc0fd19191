"""A node's rooms over in-memory contracts, for tests that need no disk and no process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Assistant, Surroundings
from mcp_core.agents.tool_executor import Caller, ToolExecutor
from mcp_core.agents.worker import Worker
from mcp_core.gateway.guard import Guard
from mcp_core.gateway.handlers.sessions import SessionCommands
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_core.runtime.registry import LocalRegistry
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.address import OPERATIONS, resource
from mcp_interface.capability import GrantOptions
from mcp_interface.clock import SystemClock
from mcp_interface.errors import ModelUnavailable
from mcp_interface.events import TurnEnded
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.provider import Chunk, Provider
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.store import Record
from mcp_interface.testing import CountWords, FakeKernel, MemoryStore, ScriptedProvider, SeededEntropy
from mcp_interface.tool import Tool, ToolInfo, ToolResult


class NoServers:
    """A host without any MCP server."""

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        raise AssertionError("no server is added here")

    async def remove(self, name: str) -> None:
        raise AssertionError("no server is removed here")

    def statuses(self) -> list[ServerStatus]:
        return []

    def tools(self, server: str | None = None) -> list[ToolInfo]:
        return []

    async def find(self, server: str, tool: str, timeout: float) -> ToolInfo:
        raise AssertionError("no server has tools here")

    async def call(self, server: str, tool: str, arguments: dict[str, Any], **_: Any) -> ToolResult:
        raise AssertionError("no server is called here")


class House:
    """The rooms, wired as the node wires them."""

    def __init__(self, store: MemoryStore, bus: Bus, epoch: int, desk: Any, tools: Sequence[Tool]) -> None:
        self.clock, self.entropy = SystemClock(), SeededEntropy(epoch)
        self.store, self.bus = store, bus
        self.journal = Journal(store, epoch, bus)
        self.kernel = FakeKernel(self.clock, self.entropy)
        self.telemetry = LocalTelemetry()
        self.supervisor = Supervisor(self.clock, self.entropy)
        self.sessions = Sessions(self.journal, self.supervisor, self.clock, self.entropy)
        self.directory = Directory(
            self.journal,
            store,
            self.kernel,
            self.supervisor,
            LocalRegistry(),
            self.telemetry,
            self.clock,
            self.entropy,
        )
        by_server: dict[str, list[Tool]] = {}
        for tool in tools:
            by_server.setdefault(tool.info().server, []).append(tool)
        self.toolbox = Toolbox(NoServers(), by_server)
        self.desk = desk
        self.guard = Guard(
            self.kernel,
            desk,
            self.toolbox,
            self.sessions,
            self.telemetry,
            self.clock,
            self.entropy,
            bus.pass_by,
            30.0,
            5.0,
            self.directory.is_active,
        )
        self.provider: Provider | None = None
        self.owner = PrincipalId(new_id("user", SeededEntropy(7)))
        self.router = Router(self.directory, self.telemetry)

    async def open(self) -> None:
        for kind, operations in OPERATIONS.items():
            for operation in operations:
                await self.kernel.request(
                    self.owner, resource(kind, operation, "**"), GrantOptions(delegation_depth=10)
                )
        self.directory.offer("worker", lambda record: Worker())
        self.directory.offer("tool_executor", lambda record: ToolExecutor(self.guard))
        await self.directory.load()
        executor = await self.directory.spawn("tool_executor", f"executor-{self.journal.epoch}")
        self.caller = Caller(self.router, executor.id, self.clock, self.entropy)
        around = Surroundings(
            sessions=self.sessions,
            toolbox=self.toolbox,
            calls=self.caller,
            provider=self._model,
            publish=self.bus.pass_by,
            telemetry=self.telemetry,
            clock=self.clock,
            entropy=self.entropy,
            max_steps=5,
        )
        self.directory.offer("llm", lambda record: Assistant(record, around))
        self.recovered, self.waiting = await self.sessions.load()
        self.commands = SessionCommands(
            self.sessions,
            self.directory,
            self.router,
            self.caller,
            self.kernel,
            self.desk,
            self.journal,
            self.clock,
            self.entropy,
        )

    async def close(self) -> None:
        for group in ("agent_", "session:", ""):
            await self.supervisor.close(5.0, group)
        await self.directory.close()
        await self.bus.close()

    def script(self, *answers: Sequence[Chunk]) -> ScriptedProvider:
        self.provider = ScriptedProvider(answers)
        return self.provider

    async def _model(self, name: str) -> tuple[Provider, str]:
        if self.provider is None:
            raise ModelUnavailable("no model is configured", "set OPENAI_BASE_URL")
        return self.provider, "scripted"

    async def until(self, session_id: Any, wanted: Callable[[Record], bool]) -> list[Record]:
        """All records of a session up to the first that is wanted."""
        seen = []
        async with asyncio.timeout(10):
            async for notice in self.bus.follow(session_id):
                if isinstance(notice, Record):
                    seen.append(notice)
                    if wanted(notice):
                        break
        return seen

    async def turn(self, session_id: Any) -> list[Record]:
        return await self.until(session_id, lambda record: isinstance(record.event, TurnEnded))


@pytest.fixture
def open_house(desk_maker: Callable[[], Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(
        store: MemoryStore | None = None, tools: Sequence[Tool] = (CountWords(),)
    ) -> AsyncIterator[House]:
        store = store or MemoryStore()
        bus = Bus(store, await store.head())
        house = House(store, bus, await store.claim(), desk_maker(), tools)
        await house.open()
        try:
            yield house
        finally:
            await house.close()

    return opened


@pytest.fixture
def desk_maker() -> Callable[[], Any]:
    def make() -> Any:
        from mcp_security import Approvals

        return Approvals(SystemClock())

    return make
