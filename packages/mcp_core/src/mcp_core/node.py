"""The composition root: builds one node out of its rooms, the only place that names concrete ones.

async with Node(Settings.load(path)) as node:
    client = node.client()
    await client.connect(ClientInfo(name="mine", token=node.owner_token))
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from types import TracebackType
from typing import Protocol, Self

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Assistant, Surroundings
from mcp_core.agents.tool_executor import Caller, Calls, Runner, ToolExecutor
from mcp_core.agents.worker import Worker
from mcp_core.daemon import DataDir, check_journal_is_there
from mcp_core.gateway.asking import Questions
from mcp_core.gateway.execution_index import ExecutionIndex
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.guard import Guard
from mcp_core.gateway.handlers.agents import AgentCommands
from mcp_core.gateway.handlers.executions import ExecutionCommands
from mcp_core.gateway.handlers.metrics import MetricsCommands
from mcp_core.gateway.handlers.node import Birth, NodeCommands
from mcp_core.gateway.handlers.runtime import RuntimeCommands
from mcp_core.gateway.handlers.security import AuditTrail, SecurityCommands
from mcp_core.gateway.handlers.servers import ServerCommands
from mcp_core.gateway.handlers.sessions import SessionCommands
from mcp_core.gateway.handlers.storage import StorageCommands
from mcp_core.gateway.handlers.tools import ToolCommands
from mcp_core.gateway.listener import Listener
from mcp_core.gateway.local import LocalClient
from mcp_core.gateway.logins import Logins
from mcp_core.gateway.passes import Passes
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import AuditNotes, Offered, ToolBook
from mcp_core.gateway.toolbox import Toolbox, speaks_against
from mcp_core.observe.commands import CommandWatch
from mcp_core.observe.exporters import Exporters
from mcp_core.observe.metrics import Gauge
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.protocol import Host
from mcp_core.protocol.expansion import expand
from mcp_core.providers.lender import Lender
from mcp_core.runtime.breaker import Policy
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.system import System
from mcp_core.settings import Settings, read_databases, read_telemetry
from mcp_core.tools.filesystem import FileGate, filesystem_tools
from mcp_interface.address import OPERATIONS, resource
from mcp_interface.agent import AgentRecord
from mcp_interface.approval import ApprovalDesk
from mcp_interface.capability import MAX_DEPTH, Ask, GrantOptions, SecurityKernel
from mcp_interface.client import ServerChanged
from mcp_interface.clock import Clock, Entropy, SystemClock, SystemEntropy
from mcp_interface.errors import NotFound
from mcp_interface.ids import AgentId, PrincipalId, SessionId, new_id
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.store import KeyValueStore, Store
from mcp_interface.tool import Tool

log = logging.getLogger(__name__)

OWNER_KEY = "owner"
ROOTS_KEY = "roots"
EXECUTOR = "tool-executor"


class Audit(AuditTrail, AuditNotes, Protocol):
    """What the rooms of the node need of the audit (`mcp_security.AuditLog`)."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The concrete rooms below, seen through their contracts."""

    place: DataDir
    exporters: Exporters
    store: Store
    bus: Bus
    journal: Journal
    audit: Audit
    kernel: SecurityKernel
    desk: ApprovalDesk
    gate: FileGate
    owner: PrincipalId


class Node:
    """One node over one data directory.

    Args:
        settings: Where and within which bounds.
        clock: Source of time.
        entropy: Source of randomness.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, entropy: Entropy | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._gateway: Gateway | None = None
        self.telemetry = LocalTelemetry()
        self.owner_token = ""

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            LostRace: Another node runs on this data directory.
            StorageUnavailable: The disk refused.
            StorageCorrupt: What is stored is not what was written; nothing is started.
        """
        async with AsyncExitStack() as stack:
            await self._build(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: the listener first, then agents, servers, and the store at last."""
        await self._stack.aclose()

    def client(self) -> LocalClient:
        """A new client in this process, not connected yet."""
        if self._gateway is None:
            raise NotFound("the node is not running", "enter it with: async with")
        return LocalClient(self._gateway)

    async def close(self) -> None:
        """As leaving the `async with` block."""
        await self._stack.aclose()

    async def stopped(self) -> None:
        """Wait until somebody asks the node to stop."""
        await self._stopping.wait()

    def stop(self) -> None:
        """Ask the node to stop."""
        self._stopping.set()

    async def _build(self, stack: AsyncExitStack) -> None:
        ground = await self._break_ground(stack)
        clock, entropy, settings = self._clock, self._entropy, self.settings
        models = Lender(settings.environ)
        system = await stack.enter_async_context(self._system())
        for_servers = system.branch("servers")
        for_sessions = system.branch("sessions", passive_after_s=settings.idle_s)
        for_agents = system.branch("agents", passive_after_s=settings.idle_s)
        sessions = Sessions(ground.journal, for_sessions, clock, entropy)
        directory = Directory(
            ground.journal,
            ground.store,
            ground.kernel,
            for_agents,
            system.names,
            system.groups,
            self.telemetry,
            clock,
            entropy,
        )
        host = Host(
            clock, entropy, ground.place.logs, self._server_changed(ground.bus), for_servers, models.variables
        )
        breakers = system.breakers(Policy(failed=speaks_against))
        toolbox = Toolbox(host, self._builtin(ground, models), breakers)
        book = ToolBook(ground.journal, ground.audit, clock)
        await book.load()
        executions = self._executions(ground, toolbox, book, sessions, directory)
        # At a stop the last comes first: agents end while there are sessions to journal it and servers to tell.
        stack.push_async_callback(ground.bus.close)
        stack.push_async_callback(host.close)
        stack.push_async_callback(for_sessions.close, settings.stop_timeout_s)
        stack.push_async_callback(directory.close)
        stack.push_async_callback(for_agents.close, settings.stop_timeout_s)
        router = Router(directory, Passes(ground.kernel), system.groups, system.letters, self.telemetry)
        offered = Offered(toolbox, book)
        caller = await self._people(directory, router, executions, sessions, offered, models, ground)
        recovered, waiting = await self._recover(sessions, ground.bus)
        conversations = SessionCommands(
            sessions, directory, router, caller, ground.kernel, ground.desk, ground.journal, clock, entropy
        )
        gateway = self._open_gateway(ground, sessions, directory, toolbox, book, models, recovered)
        stack.push_async_callback(conversations.close)
        gateway.serve(conversations.handlers())
        operating = RuntimeCommands(system, router, directory, sessions, ground.owner, clock, entropy)
        gateway.serve(operating.handlers())
        gateway.serve(MetricsCommands(ground.exporters).handlers())
        ground.exporters.add(*figures(ground, sessions, directory))
        stack.push_async_callback(executions.close)
        gateway.serve(ExecutionCommands(executions, sessions, directory, caller, ground.owner).handlers())
        servers = ServerCommands(toolbox, ground.journal, clock, ground.owner)
        gateway.serve(servers.handlers())
        self._gateway = gateway
        # an entry of an earlier release whose name is built in by now would be shadowed, not called
        wanted = {name: spec for name, spec in (await servers.load()).items() if name not in toolbox.builtin}
        stack.push_async_callback(give_up, connect_all(host, wanted))
        listener = Listener(gateway)
        stack.push_async_callback(listener.close)
        stack.callback(executions.stop)
        conversations.begin(waiting)
        await listener.open(ground.place.socket)
        await tell_storage(ground.store)
        log.info("the node is up at position %d, epoch %d", ground.bus.position, ground.journal.epoch)

    def _system(self) -> System:
        """What the actors share; a tree that has failed as a whole ends the node."""
        return System(
            self._clock,
            self._entropy,
            self.telemetry,
            stop_s=self.settings.stop_timeout_s,
            on_give_up=lambda error: self.stop(),
        )

    async def _recover(self, sessions: Sessions, bus: Bus) -> tuple[int, list[SessionId]]:
        began = self._clock.monotonic()
        found = await sessions.load()
        duration = self._clock.monotonic() - began
        self.telemetry.emit(
            "mcp.persistence.recovery_complete", {"events": bus.position, "duration_s": duration}, {}
        )
        return found

    def _builtin(self, ground: Ground, models: Lender) -> dict[str, Sequence[Tool]]:
        """The first-party tools by server; each acts only through a gate that judges once more."""
        from mcp_core.tools.database import database_tools
        from mcp_core.tools.http import http_tools
        from mcp_core.tools.shell import shell_tools
        from mcp_security.validators.api import ApiGate
        from mcp_security.validators.database import Database, DatabaseGate
        from mcp_security.validators.shell import ShellGate

        def expanded(url: str) -> str:
            return expand(ServerSpec(url=url), models.variables).spec.url or ""

        sources = self.settings.databases
        if sources is None:
            sources = read_databases(self.settings.data_dir)
        databases = {name: Database(url=source.url, role=source.role) for name, source in sources.items()}
        return {
            "fs": filesystem_tools(ground.gate),
            "http": http_tools(ApiGate()),
            "db": database_tools(DatabaseGate(databases, expanded)),
            "shell": shell_tools(ShellGate()),
        }

    def _executions(
        self, ground: Ground, toolbox: Toolbox, book: ToolBook, sessions: Sessions, directory: Directory
    ) -> Executions:
        """The tool calls of the node, and the guard through which each goes."""
        clock, entropy, settings = self._clock, self._entropy, self.settings
        executions = Executions(sessions, ExecutionIndex(ground.journal), ground.bus.pass_by, clock, entropy)
        questions = Questions(
            ground.desk, toolbox, sessions, book, clock, entropy, settings.approval_timeout_s
        )
        guard = Guard(
            ground.kernel,
            questions,
            toolbox,
            book,
            ground.audit,
            sessions,
            self.telemetry,
            clock,
            entropy,
            executions.pass_by,
            settings.call_timeout_s,
            directory.is_active,
        )
        executions.serve(guard)
        return executions

    async def _break_ground(self, stack: AsyncExitStack) -> Ground:
        """What everything stands on: the directory, the store, the audit, the kernel."""
        from mcp_persistence import open_journal
        from mcp_security import Approvals, AuditLog, FilesystemGate, Kernel

        clock, entropy = self._clock, self._entropy
        place = DataDir(self.settings.data_dir)
        stack.callback(place.lock().close)
        self.owner_token = place.make_token(entropy)
        check_journal_is_there(place)
        exporters = self._open_exporters()  # before what they shall hear of, and closed after it
        stack.push_async_callback(exporters.close)
        store = await open_journal(
            place.journal, clock, self.telemetry, entropy=entropy, before=place.old_journal
        )
        stack.push_async_callback(store.close)
        bus = Bus(store, await store.head())
        journal = Journal(store, await store.claim(), bus)
        audit = await AuditLog.open(place.audit, clock, entropy)
        stack.push_async_callback(audit.close)
        kernel = await Kernel.open(journal, journal.epoch, audit, clock, entropy, self.telemetry)
        stack.push_async_callback(kernel.close)
        return Ground(
            place=place,
            exporters=exporters,
            store=store,
            bus=bus,
            journal=journal,
            audit=audit,
            kernel=kernel,
            desk=Approvals(clock),
            gate=FilesystemGate(closed=[place.root]),
            owner=await self._owner(store, kernel),
        )

    def _open_exporters(self) -> Exporters:
        wanted = self.settings.telemetry
        if wanted is None:
            wanted = read_telemetry(self.settings.data_dir)
        return Exporters.open(wanted, self.telemetry, self._clock, version("mcp-umbrella-core"))

    async def _people(
        self,
        directory: Directory,
        router: Router,
        runner: Runner,
        sessions: Sessions,
        offered: Offered,
        models: Lender,
        ground: Ground,
    ) -> Caller:
        """Say how agents are made, bring back the list, and start the tool executor."""
        calls: Calls = {}
        directory.offer("tool_executor", lambda record: ToolExecutor(runner, calls))
        directory.offer("worker", lambda record: Worker())
        directory.on_restart = sessions.add
        await directory.load()
        executor = await self._executor(directory)
        caller = Caller(router, executor, self._clock, self._entropy)
        around = Surroundings(
            sessions=sessions,
            toolbox=offered,
            calls=caller,
            provider=models.provider,
            publish=ground.bus.pass_by,
            telemetry=self.telemetry,
            clock=self._clock,
            entropy=self._entropy,
            max_steps=self.settings.max_turn_steps,
        )
        directory.offer("llm", lambda record: Assistant(record, around))
        return caller

    def _open_gateway(
        self,
        ground: Ground,
        sessions: Sessions,
        directory: Directory,
        toolbox: Toolbox,
        book: ToolBook,
        models: Lender,
        recovered: int,
    ) -> Gateway:
        clock, entropy, release = self._clock, self._entropy, version("mcp-umbrella-core")
        logins = Logins(ground.store, clock, entropy, self.owner_token, ground.owner)
        watch = CommandWatch(self.telemetry, clock, entropy)
        gateway = Gateway(logins, sessions, ground.bus, release, watch)
        birth = Birth(
            version=release,
            pid=os.getpid(),
            data_dir=self.settings.data_dir,
            started_at=clock.now(),
            owner=ground.owner,
            recovered=recovered,
        )
        storage = StorageCommands(ground.store, ground.owner, ground.place.journal)
        node = NodeCommands(
            birth,
            ground.journal,
            storage,
            sessions,
            directory,
            toolbox,
            ground.desk,
            ground.audit,
            models,
            self.stop,
        )
        gateway.serve(node.handlers())
        gateway.serve(SecurityCommands(ground.audit, logins).handlers())
        gateway.serve(storage.handlers())
        agents = AgentCommands(directory, sessions, ground.kernel, toolbox, book, ground.owner)
        gateway.serve(agents.handlers())
        gateway.serve(ToolCommands(toolbox, book, ground.kernel, ground.owner).handlers())
        return gateway

    async def _owner(self, store: KeyValueStore, kernel: SecurityKernel) -> PrincipalId:
        """The person whose node this is, with the roots of all rights; made on the first start.

        A right is given once: what its owner takes back stays taken back.
        """
        try:
            owner = PrincipalId(str(await store.get(OWNER_KEY)))
        except NotFound:
            owner = PrincipalId(new_id("user", self._entropy))
            await store.put(OWNER_KEY, owner)
        given = set(await store.get(ROOTS_KEY)) if await store.list_keys(ROOTS_KEY) else set()
        roots = [resource(kind, each, "**") for kind in OPERATIONS for each in sorted(OPERATIONS[kind])]
        held = {capability.resource_uri for capability in kernel.held_by(owner)}
        options = GrantOptions(delegation_depth=MAX_DEPTH, metadata={"by": "first start"})
        missing = [Ask(resource=root, options=options) for root in roots if root.uri not in given | held]
        if missing:
            await kernel.request_all(owner, missing)
        # Last: after a crash on the way here, the next start gives what is missing.
        if given != {root.uri for root in roots}:
            await store.put(ROOTS_KEY, [root.uri for root in roots])
        return owner

    async def _executor(self, directory: Directory) -> AgentId:
        for agent in directory.listed():
            if agent.type == "tool_executor":
                return agent.id
        record: AgentRecord = await directory.spawn("tool_executor", EXECUTOR)
        return record.id

    def _server_changed(self, bus: Bus) -> Callable[[ServerStatus], None]:
        def changed(status: ServerStatus) -> None:
            self.telemetry.emit(
                "mcp.server.state",
                {"restarts": status.restarts},
                {"server": status.name, "state": status.state},
            )
            bus.pass_by(ServerChanged(name=status.name, state=status.state, error=status.error))

        return changed


def figures(ground: Ground, sessions: Sessions, directory: Directory) -> list[Gauge]:
    """What is so much now, for whoever looks at the metrics."""
    return [
        Gauge(name="mcp_journal_position", help="Events in the journal", read=lambda: ground.bus.position),
        Gauge(name="mcp_sessions_open", help="Sessions that have not ended", read=sessions.count),
        Gauge(name="mcp_agents_active", help="Agents that have not ended", read=directory.count),
        Gauge(name="mcp_actors_alive", help="Actors of this process", read=lambda: len(ROLL)),
    ]


async def tell_storage(store: Store) -> None:
    """Log how the journal was found, in one line."""
    report = await store.report()
    log.info("the journal: %s", report.found or f"{report.head} events")
    if report.state != "writable":
        log.warning("the journal is %s: %s", report.state, report.reason)


async def give_up(work: "asyncio.Future[list[None]]") -> None:
    """Cancel work and wait until it has let go."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def connect_all(host: Host, wanted: dict[str, ServerSpec]) -> "asyncio.Future[list[None]]":
    """Begin to connect the configured servers, side by side."""
    return asyncio.gather(*(connect(host, name, spec) for name, spec in wanted.items()))


async def connect(host: Host, name: str, spec: ServerSpec) -> None:
    """Connect one configured server at start; its failure is its status."""
    try:
        await host.add(name, spec)
    except Exception:
        log.exception("server %s could not be set up", name)
