"""A node's rooms over in-memory contracts, for tests that need no disk and no process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Assistant
from mcp_core.agents.summarizing import Summarizing
from mcp_core.agents.surroundings import Surroundings
from mcp_core.agents.tool_executor import Caller, Calls, ToolExecutor
from mcp_core.agents.worker import Worker
from mcp_core.gateway.asking import Approving
from mcp_core.gateway.execution_index import ExecutionIndex
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.guard import Guard
from mcp_core.gateway.handlers.agents import AgentCommands
from mcp_core.gateway.handlers.conversing import ConversingCommands
from mcp_core.gateway.handlers.executions import ExecutionCommands
from mcp_core.gateway.handlers.sessions import SessionCommands
from mcp_core.gateway.handlers.tools import ToolCommands
from mcp_core.gateway.passes import Passes
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions, person_of
from mcp_core.gateway.showing import Showing
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.spending import Spending
from mcp_core.gateway.tool_book import Offered, ToolBook
from mcp_core.gateway.toolbox import Toolbox, speaks_against
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.providers.lender import Lent
from mcp_core.runtime.breaker import Breakers, Policy
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_core.runtime.registry import LocalRegistry
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.address import OPERATIONS, resource
from mcp_interface.capability import Ask, AuditEntry, GrantOptions, SecurityKernel
from mcp_interface.clock import Clock, SystemClock, SystemEntropy
from mcp_interface.errors import ModelUnavailable, StorageUnavailable
from mcp_interface.events import TurnEnded
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.provider import Chunk, ModelInfo, Provider
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.store import Record
from mcp_interface.testing import CountWords, MemoryStore, ScriptedProvider, SeededEntropy
from mcp_interface.tool import Tool, ToolInfo, ToolResult


class NoServers:
    """A host without any MCP server."""

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        raise AssertionError("no server is added here")

    async def remove(self, name: str) -> None:
        raise AssertionError("no server is removed here")

    async def restart(self, name: str) -> ServerStatus:
        raise AssertionError("no server is restarted here")

    def statuses(self) -> list[ServerStatus]:
        return []

    def tools(self, server: str | None = None) -> list[ToolInfo]:
        return []

    async def find(self, server: str, tool: str, timeout: float) -> ToolInfo:
        raise AssertionError("no server has tools here")

    async def call(self, server: str, tool: str, arguments: dict[str, Any], **_: Any) -> ToolResult:
        raise AssertionError("no server is called here")


class AuditNotes:
    """An audit trail in memory; `broken`, it refuses to record anything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: list[AuditEntry] = []
        self.broken = False

    @property
    def head(self) -> tuple[int, str]:
        return len(self.entries), ""

    async def append(self, **fields: Any) -> AuditEntry:
        if self.broken:
            raise StorageUnavailable("the audit's disk is gone", "mend it")
        fields["details"] = fields.get("details") or {}
        self.entries.append(AuditEntry(seq=len(self.entries) + 1, time=self._clock.now(), **fields))
        return self.entries[-1]

    async def append_all(self, drafts: Sequence[Any]) -> list[AuditEntry]:
        return [await self.append(**msgspec.structs.asdict(draft)) for draft in drafts]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]


class House:
    """The rooms, wired as the node wires them, over the real kernel."""

    def __init__(
        self,
        store: MemoryStore,
        bus: Bus,
        journal: Journal,
        audit: AuditNotes,
        kernel: SecurityKernel,
        desk: Any,
        tools: Sequence[Tool],
        host: Any,
    ) -> None:
        self.clock, self.entropy = SystemClock(), SeededEntropy(journal.epoch)
        self.store, self.bus = store, bus
        self.journal = journal
        self.audit = audit
        self.kernel = kernel
        self.telemetry = LocalTelemetry()
        self.running_calls: Calls = {}
        self.letters = DeadLetters(self.clock, self.telemetry)
        self.groups = Groups(self.letters)
        self.session_actors = Supervisor(self.clock, self.entropy, name="sessions")
        self.agent_actors = Supervisor(self.clock, self.entropy, name="agents")
        self.sessions = Sessions(self.journal, self.session_actors, self.clock, self.entropy)
        self.owner = PrincipalId(new_id("user", SeededEntropy(7)))
        self.directory = Directory(
            self.journal,
            store,
            self.kernel,
            self.agent_actors,
            LocalRegistry(),
            self.groups,
            self.telemetry,
            self.clock,
            self.entropy,
            partial(person_of, self.sessions, self.owner),
        )
        by_server: dict[str, list[Tool]] = {}
        for tool in tools:
            by_server.setdefault(tool.info().server, []).append(tool)
        self.host = host
        self.toolbox = Toolbox(host, by_server, Breakers(self.clock, Policy(failed=speaks_against)))
        self.desk = desk
        self.book = ToolBook(self.journal, audit, self.clock)
        self.executions = Executions(
            self.sessions, ExecutionIndex(self.journal), bus.pass_by, self.clock, self.entropy, self.owner
        )
        self.showing = Showing(self.kernel, self.sessions, self.directory.get)
        self.approving = Approving(
            desk, self.toolbox, self.sessions, self.book, self.clock, self.entropy, 30.0, self.showing
        )
        self.questions = OpenQuestions(self.sessions, self.clock, self.entropy, 3600.0, self.owner)
        self.kept: dict[str, tuple[PrincipalId, str]] = {}
        self.guard = self._guard()
        self.executions.serve(self.guard)
        self.provider: Provider | None = None
        self.info = ModelInfo(name="scripted")
        self.spending = Spending()
        self.sessions.watch(self.spending.heard)
        self.sight = Sight(self.kernel, self.toolbox, self.owner)
        self.speaking = Speaking(self.kernel, self.owner)
        self.router = Router(self.directory, Passes(self.kernel), self.groups, self.letters, self.telemetry)

    def _guard(self) -> Guard:
        return Guard(
            self.kernel,
            self.approving,
            self.questions,
            self.toolbox,
            self.book,
            self.audit,
            self.sessions,
            self.telemetry,
            self.clock,
            self.entropy,
            self.executions.pass_by,
            self.executions.aside,
            self._keep_whole,
            5.0,
            self.directory.is_active,
        )

    async def _keep_whole(self, owner: PrincipalId, whole: bytes, mime_type: str) -> str:
        uri = f"blob:{len(self.kept)}"
        self.kept[uri] = (owner, whole.decode())
        return uri

    async def open(self) -> None:
        await self.book.load()
        if not self.kernel.held_by(self.owner):
            roots = [resource(kind, each, "**") for kind in OPERATIONS for each in sorted(OPERATIONS[kind])]
            options = GrantOptions(delegation_depth=10)
            await self.kernel.request_all(self.owner, [Ask(resource=root, options=options) for root in roots])
        self.directory.offer("worker", lambda record: Worker())
        self.directory.offer(
            "tool_executor", lambda record: ToolExecutor(self.executions, self.running_calls)
        )
        self.found = await self.sessions.load()
        self.recovered, self.waiting = self.found.settled, self.found.waiting
        for session_id, calls in self.found.calls.items():
            self.executions.take_up(session_id, calls)
        await self.directory.load()
        find = partial(self.directory.only, "tool_executor", "executor")
        await find()
        self.caller = Caller(self.router, find, self.clock, self.entropy)
        self.offered = Offered(self.toolbox, self.book)
        self.around = around = Surroundings(
            sessions=self.sessions,
            toolbox=self.offered,
            calls=self.caller,
            model=self._model,
            publish=self.bus.pass_by,
            telemetry=self.telemetry,
            clock=self.clock,
            entropy=self.entropy,
            max_steps=5,
            stopping=lambda: self.executions.stopping,
        )
        self.summarizing = Summarizing(around)
        self.directory.offer("llm", lambda record: Assistant(record, around, self.summarizing))
        self.agents = AgentCommands(
            self.directory, self.sessions, self.kernel, self.toolbox, self.book, self.owner
        )
        self.calls = ExecutionCommands(
            self.executions,
            self.questions,
            self.sessions,
            self.directory,
            self.caller,
            self.owner,
            self.sight,
        )
        self.tools = ToolCommands(self.toolbox, self.book, self.kernel, self.owner)
        self.executions.go_on(self.caller.call, self._connected)
        self.commands = SessionCommands(
            self.sessions,
            self.directory,
            self.router,
            self.caller,
            self.kernel,
            self.desk,
            self.approving,
            self.questions,
            self.journal,
            self.clock,
            self.entropy,
            self.sight,
            self.speaking,
        )
        self.conversing = ConversingCommands(
            self.sessions, around, self.summarizing, self.spending, self.speaking, self.commands.wake
        )

    async def close(self) -> None:
        await self.executions.close()
        await self.questions.close()
        await self.approving.close()
        await self.agent_actors.close(5.0)
        await self.session_actors.close(5.0)
        await self.directory.close()
        await self.bus.close()

    async def _connected(self, server: str) -> None:
        """Nothing has to be waited for: what is called here is built in, or a host of the test's own."""

    def script(self, *answers: Sequence[Chunk]) -> ScriptedProvider:
        self.provider = ScriptedProvider(answers)
        return self.provider

    async def _model(self, name: str) -> Lent:
        if self.provider is None:
            raise ModelUnavailable("no model is configured", "set OPENAI_BASE_URL")
        return Lent(provider=self.provider, model="scripted", info=self.info)

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
        store: MemoryStore | None = None, tools: Sequence[Tool] = (CountWords(),), host: Any = None
    ) -> AsyncIterator[House]:
        from mcp_security import Kernel

        store = store or MemoryStore()
        bus = Bus(store, await store.head())
        journal = Journal(store, await store.claim(), bus)
        clock = SystemClock()
        audit = AuditNotes(clock)
        kernel = await Kernel.open(journal, journal.epoch, audit, clock, SystemEntropy())
        house = House(store, bus, journal, audit, kernel, desk_maker(), tools, host or NoServers())
        await house.open()
        try:
            yield house
        finally:
            await house.close()
            audit.broken = False
            await kernel.close()

    return opened


@pytest.fixture
def desk_maker() -> Callable[[], Any]:
    def make() -> Any:
        from mcp_security import Approvals

        return Approvals(SystemClock())

    return make
