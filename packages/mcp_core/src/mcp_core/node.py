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
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Self

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Assistant
from mcp_core.agents.notes import ProjectNotes
from mcp_core.agents.summarizing import Summarizing
from mcp_core.agents.surroundings import Surroundings
from mcp_core.agents.tool_executor import Caller, Calls, ToolExecutor
from mcp_core.agents.worker import Worker
from mcp_core.gateway.access import Access
from mcp_core.gateway.asking import Approving
from mcp_core.gateway.beginning import connect_all, give_up, go_on, read_off
from mcp_core.gateway.endowing import Endowing
from mcp_core.gateway.execution_index import ExecutionIndex
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.guard import Guard
from mcp_core.gateway.handlers.access import AccessCommands
from mcp_core.gateway.handlers.agents import AgentCommands
from mcp_core.gateway.handlers.archive import ArchiveCommands
from mcp_core.gateway.handlers.catalog import CatalogCommands
from mcp_core.gateway.handlers.conversing import ConversingCommands
from mcp_core.gateway.handlers.diagnosing import DiagnosisCommands
from mcp_core.gateway.handlers.executions import ExecutionCommands
from mcp_core.gateway.handlers.logging_in import LoginCommands, ready_to_log_in
from mcp_core.gateway.handlers.metrics import MetricsCommands, figures
from mcp_core.gateway.handlers.models import ModelCommands
from mcp_core.gateway.handlers.node import Birth, NodeCommands
from mcp_core.gateway.handlers.reading import ReadingCommands
from mcp_core.gateway.handlers.runtime import RuntimeCommands
from mcp_core.gateway.handlers.secrets import SecretCommands
from mcp_core.gateway.handlers.security import SecurityCommands
from mcp_core.gateway.handlers.servers import ServerCommands
from mcp_core.gateway.handlers.sessions import SessionCommands
from mcp_core.gateway.handlers.storage import StorageCommands
from mcp_core.gateway.handlers.team import TeamCommands
from mcp_core.gateway.handlers.tools import ToolCommands
from mcp_core.gateway.keys import Keys
from mcp_core.gateway.listener import Listener
from mcp_core.gateway.local import LocalClient
from mcp_core.gateway.logins import Logins
from mcp_core.gateway.passes import Passes
from mcp_core.gateway.plans.index import PlanIndex
from mcp_core.gateway.plans.planner import Planner
from mcp_core.gateway.publications import Publications
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.rights_news import RightsNews
from mcp_core.gateway.router import Router
from mcp_core.gateway.sampling import ModelSampler
from mcp_core.gateway.searching import Searching
from mcp_core.gateway.sessions import Found, Sessions, person_of
from mcp_core.gateway.showing import Showing, eyes
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.spending import Spending
from mcp_core.gateway.task_index import TaskIndex
from mcp_core.gateway.tasks import Tasks, open_team
from mcp_core.gateway.tool_book import Offered, ToolBook
from mcp_core.gateway.toolbox import Toolbox, speaks_against
from mcp_core.ground import Ground, break_ground, tell_storage
from mcp_core.observe.commands import CommandWatch
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.protocol import Host
from mcp_core.protocol.doctor import Doctor
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.expansion import expand
from mcp_core.protocol.oauth import OAuth
from mcp_core.providers.lender import Lender, open_lender
from mcp_core.runtime.breaker import Policy
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.system import System
from mcp_core.settings import Settings, read_databases
from mcp_core.tools import planning
from mcp_core.tools.assistant import SERVER as ASSISTANT
from mcp_core.tools.assistant import assistant_tools
from mcp_core.tools.filesystem import filesystem_tools
from mcp_core.tools.team import SERVER as TEAM
from mcp_core.tools.team import team_tools
from mcp_interface.capability import Verdict
from mcp_interface.client import ServerChanged
from mcp_interface.clock import Clock, Entropy, SystemClock, SystemEntropy
from mcp_interface.commands import Posted
from mcp_interface.errors import NodeUnavailable, NotFound
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.tool import Tool

log = logging.getLogger(__name__)

EXECUTOR = "tool-executor"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms that hold the rest."""

    system: System
    models: Lender
    sessions: Sessions
    directory: Directory
    oauth: OAuth
    host: Host
    toolbox: Toolbox
    book: ToolBook
    executions: Executions
    approving: Approving
    questions: OpenQuestions
    spending: Spending
    tasks: TaskIndex
    plans: PlanIndex


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
        self._speaker: SessionCommands | None = None
        self._planner: Planner | None = None
        self._team: Tasks | None = None
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
        self.owner_token = ground.token
        frame = await self._raise_frame(stack, ground)
        found = await self._recover(frame.sessions, frame.executions, ground.bus)
        router = Router(
            frame.directory, Passes(ground.kernel), frame.system.groups, frame.system.letters, self.telemetry
        )
        caller, around, summarizing = await self._people(router, frame, ground)
        access = Access(ground.journal, self._clock)
        await access.load()
        sight = Sight(ground.kernel, frame.toolbox, ground.owner)
        gateway = self._open_gateway(ground, frame, found.settled, access, sight)
        conversations = self._conversations(ground, frame, router, caller, sight)
        self._speaker = conversations
        stack.push_async_callback(conversations.close)
        tasks = self._team = open_team(
            frame.tasks,
            frame.sessions,
            frame.directory,
            ground.kernel,
            Endowing(ground.kernel, frame.directory, frame.toolbox, frame.book),
            conversations,
            ground.bus,
            lambda: frame.executions.stopping,
            self._clock,
            self._entropy,
        )
        stack.push_async_callback(tasks.close)
        gateway.serve(conversations.handlers())
        speaking = Speaking(ground.kernel, ground.owner)
        team = TeamCommands(tasks, frame.sessions, frame.directory, speaking, ground.owner)
        gateway.serve(team.handlers())
        conversing = ConversingCommands(
            frame.sessions, around, summarizing, frame.spending, speaking, conversations.wake
        )
        gateway.serve(conversing.handlers())
        gateway.serve(self._archive(ground, frame.sessions, conversations).handlers())
        plans = self._planner = Planner(frame, ground, caller, conversations, self._clock, self._entropy)
        stack.push_async_callback(plans.runs.close)
        gateway.serve(plans.commands.handlers())
        self._serve_operators(gateway, ground, frame, router)
        stack.push_async_callback(frame.executions.close)
        self._serve_callers(gateway, ground, frame, caller, sight)
        servers = self._serve_servers(gateway, ground, frame, sight)
        self._gateway = gateway
        # an entry of an earlier release whose name is built in by now would be shadowed, not called
        builtin = frame.toolbox.builtin
        wanted = {name: spec for name, spec in (await servers.load()).items() if name not in builtin}
        await tasks.begin()  # before anybody is woken: what has been cancelled says nothing more
        await plans.runs.settle()  # before any call goes on: some have lost their rights
        connecting = connect_all(frame.host, wanted)
        connected = go_on(connecting, frame.executions, caller, conversations, found)
        stack.push_async_callback(give_up, connected)
        plans.runs.go_on(connected)
        listener = Listener(gateway)
        stack.push_async_callback(listener.close)
        stack.callback(frame.executions.stop)
        await listener.open(ground.place.socket)
        await tell_storage(ground.store)
        log.info("the node is up at position %d, epoch %d", ground.bus.position, ground.journal.epoch)

    async def _break_ground(self, stack: AsyncExitStack) -> Ground:
        return await break_ground(self.settings, stack, self._clock, self._entropy, self.telemetry)

    async def _raise_frame(self, stack: AsyncExitStack, ground: Ground) -> Frame:
        """The rooms that hold the rest; `stack` closes them in the order in which they need each other."""
        clock, entropy, settings = self._clock, self._entropy, self.settings
        models = await open_lender(settings, ground.vault, clock)
        system = await stack.enter_async_context(self._system())
        for_servers = system.branch("servers")
        for_sessions = system.branch("sessions", passive_after_s=settings.idle_s)
        for_agents = system.branch("agents", passive_after_s=settings.idle_s)
        sessions = Sessions(ground.journal, for_sessions, clock, entropy)
        spending, tasks, plans = read_off(sessions, ground.journal)
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
            partial(person_of, sessions, ground.owner),
        )
        oauth = OAuth(ground.vault, clock)
        doors = Doors(
            auth=partial(oauth.auth_for, ground.owner),
            vault=ground.vault,
            stopping=lambda: executions.stopping,
            closed=(ground.place.root, ground.place.socket),
        )
        host = Host(
            clock,
            entropy,
            ground.place.logs,
            self._server_changed(ground.bus),
            for_servers,
            models.variables,
            on_news=ground.bus.pass_by,
            doors=doors,
        )
        breakers = system.breakers(Policy(failed=speaks_against))
        toolbox = Toolbox(host, self._builtin(ground, models), breakers, ground.owner)
        book = ToolBook(ground.journal, ground.audit, clock)
        await book.load()
        executions, approving, questions = self._executions(
            stack, ground, toolbox, book, sessions, directory, models
        )
        # At a stop the last comes first: agents end while there are sessions to journal it and servers to tell.
        for close in (ground.bus.close, host.close, oauth.close):
            stack.push_async_callback(close)
        stack.push_async_callback(for_sessions.close, settings.stop_timeout_s)
        stack.push_async_callback(directory.close)
        stack.push_async_callback(for_agents.close, settings.stop_timeout_s)
        return Frame(
            system=system,
            models=models,
            sessions=sessions,
            directory=directory,
            oauth=oauth,
            host=host,
            toolbox=toolbox,
            book=book,
            executions=executions,
            approving=approving,
            questions=questions,
            spending=spending,
            tasks=tasks,
            plans=plans,
        )

    def _conversations(
        self, ground: Ground, frame: Frame, router: Router, caller: Caller, sight: Sight
    ) -> SessionCommands:
        return SessionCommands(
            frame.sessions,
            frame.directory,
            router,
            caller,
            ground.kernel,
            ground.desk,
            frame.approving,
            frame.questions,
            ground.journal,
            self._clock,
            self._entropy,
            sight,
            Speaking(ground.kernel, ground.owner),
        )

    def _archive(self, ground: Ground, sessions: Sessions, conversations: SessionCommands) -> ArchiveCommands:
        return ArchiveCommands(
            Searching(ground.texts, sessions, ground.journal),
            conversations.create,
            conversations.end,
            sessions,
            Speaking(ground.kernel, ground.owner),
            self._clock,
            self._entropy,
        )

    def _serve_operators(self, gateway: Gateway, ground: Ground, frame: Frame, router: Router) -> None:
        """What shows how the node is doing."""
        operating = RuntimeCommands(
            frame.system, router, frame.directory, frame.sessions, ground.owner, self._clock, self._entropy
        )
        gateway.serve(operating.handlers())
        gateway.serve(MetricsCommands(ground.exporters, ground.owner).handlers())
        ground.exporters.add(*figures(ground.bus, frame.sessions, frame.directory))

    def _serve_callers(
        self, gateway: Gateway, ground: Ground, frame: Frame, caller: Caller, sight: Sight
    ) -> None:
        """What uses tools, resources and prompts."""
        calls = ExecutionCommands(
            frame.executions, frame.questions, frame.sessions, frame.directory, caller, ground.owner, sight
        )
        gateway.serve(calls.handlers())
        reading = ReadingCommands(frame.host, ground.kernel, ground.owner, ground.catalog.offering)
        gateway.serve(reading.handlers())

    def _serve_servers(self, gateway: Gateway, ground: Ground, frame: Frame, sight: Sight) -> ServerCommands:
        """What sets servers up; the answer knows which are wanted."""
        variables = frame.models.variables
        servers = ServerCommands(
            frame.toolbox, ground.journal, self._clock, ground.owner, sight, frame.oauth.forget
        )
        gateway.serve(servers.handlers())
        ready = partial(ready_to_log_in, variables, ground.vault)
        gateway.serve(LoginCommands(frame.oauth, frame.host, ready, ground.owner).handlers())
        doctor = Doctor(variables, frame.host.doors, self._entropy)
        gateway.serve(DiagnosisCommands(frame.toolbox, doctor, ground.owner).handlers())
        return servers

    def _system(self) -> System:
        """What the actors share; a tree that has failed as a whole ends the node."""

        def given_up(error: BaseException) -> None:
            names = {"supervisor": system.tree.name, "reason": repr(error)}
            self.telemetry.emit("mcp.supervisor.given_up", {}, names)
            self.stop()

        system = System(
            self._clock,
            self._entropy,
            self.telemetry,
            stop_s=self.settings.stop_timeout_s,
            on_give_up=given_up,
        )
        return system

    async def _recover(self, sessions: Sessions, executions: Executions, bus: Bus) -> Found:
        """Find what an earlier process has left, and let people answer what it asked them."""
        began = self._clock.monotonic()
        found = await sessions.load()
        for session_id, calls in found.calls.items():
            executions.take_up(session_id, calls)
        measured = {"events": bus.position, "duration_s": self._clock.monotonic() - began}
        self.telemetry.emit("mcp.persistence.recovery_complete", measured, {})
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
            "fs": filesystem_tools(ground.gate, eyes(ground.kernel)),
            "http": http_tools(ApiGate()),
            "db": database_tools(DatabaseGate(databases, expanded)),
            "shell": shell_tools(ShellGate()),
            ASSISTANT: assistant_tools(self._client_of, self._say),
            TEAM: team_tools(lambda: self._team),
            planning.SERVER: planning.planning_tools(lambda: self._planner),
        }

    def _client_of(self, principal: PrincipalId) -> LocalClient:
        """A client for tools that ask the node back, as whoever called them."""
        if self._gateway is None:
            raise NodeUnavailable("the node is not up yet", "try again in a moment")
        return LocalClient.of(self._gateway, principal)

    async def _say(
        self, who: PrincipalId, session_id: SessionId, text: str, verdicts: Sequence[Verdict]
    ) -> Posted:
        """For the same tools: what their call was allowed to say."""
        if self._speaker is None:
            raise NodeUnavailable("the node is not up yet", "try again in a moment")
        return await self._speaker.say(who, session_id, text, verdicts)

    def _executions(
        self,
        stack: AsyncExitStack,
        ground: Ground,
        toolbox: Toolbox,
        book: ToolBook,
        sessions: Sessions,
        directory: Directory,
        models: Lender,
    ) -> tuple[Executions, Approving, OpenQuestions]:
        """The tool calls of the node with the guard through which each goes, and who asks people for them."""
        clock, entropy, settings = self._clock, self._entropy, self.settings
        owner = ground.owner
        executions = Executions(
            sessions, ExecutionIndex(ground.journal), ground.bus.pass_by, clock, entropy, owner
        )
        showing = Showing(ground.kernel, sessions, directory.get)
        approving = Approving(
            ground.desk, toolbox, sessions, book, clock, entropy, settings.approval_timeout_s, showing
        )
        sampler = ModelSampler(
            models.lend_model, lambda: models.status().ready, sessions.get, Speaking(ground.kernel, owner)
        )
        questions = OpenQuestions(sessions, clock, entropy, settings.question_timeout_s, owner, sampler)
        guard = Guard(
            ground.kernel,
            approving,
            questions,
            toolbox,
            book,
            ground.audit,
            sessions,
            self.telemetry,
            clock,
            entropy,
            executions.pass_by,
            executions.aside,
            ground.catalog.resources.keep_result,
            settings.call_timeout_s,
            directory.is_active,
        )
        executions.serve(guard)
        stack.push_async_callback(approving.close)
        stack.push_async_callback(questions.close)
        return executions, approving, questions

    async def _people(
        self, router: Router, frame: Frame, ground: Ground
    ) -> tuple[Caller, Surroundings, Summarizing]:
        """Say how agents are made, bring back the list, and start the tool executor."""
        directory, executions, sessions = frame.directory, frame.executions, frame.sessions
        calls: Calls = {}
        directory.offer("tool_executor", lambda record: ToolExecutor(executions, calls))
        directory.offer("worker", lambda record: Worker())
        directory.on_restart = sessions.add
        await directory.load()
        find = partial(directory.only, "tool_executor", EXECUTOR)
        await find()
        caller = Caller(router, find, self._clock, self._entropy)
        around = Surroundings(
            sessions=sessions,
            toolbox=Offered(frame.toolbox, frame.book),
            calls=caller,
            model=frame.models.lend_model,
            publish=ground.bus.pass_by,
            telemetry=self.telemetry,
            clock=self._clock,
            entropy=self._entropy,
            max_steps=self.settings.max_turn_steps,
            stopping=lambda: executions.stopping,
            notes=ProjectNotes(ground.kernel, ground.gate).read,
        )
        summarizing = Summarizing(around)
        directory.offer("llm", lambda record: Assistant(record, around, summarizing))
        return caller, around, summarizing

    def _open_gateway(
        self,
        ground: Ground,
        frame: Frame,
        recovered: int,
        access: Access,
        sight: Sight,
    ) -> Gateway:
        """The door, and what can be asked of the node as a whole."""
        sessions, directory, toolbox, book = frame.sessions, frame.directory, frame.toolbox, frame.book
        clock, entropy, release = self._clock, self._entropy, version("mcp-umbrella-core")
        keys = Keys(access, clock, entropy)
        logins = Logins(ground.store, clock, entropy, self.owner_token, ground.owner, keys)
        watch = CommandWatch(self.telemetry, clock, entropy)
        ground.bus.listen(RightsNews(ground.kernel, ground.bus.pass_by, ground.owner).heard)
        gateway = Gateway(logins, sessions, ground.bus, release, watch, sight)
        opening = AccessCommands(
            keys, Publications(access, clock), ground.kernel, entropy, ground.owner, sight
        )
        gateway.serve(opening.handlers())
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
            frame.questions,
            ground.audit,
            frame.models,
            self.stop,
        )
        gateway.serve(node.handlers())
        gateway.serve(SecurityCommands(ground.audit, logins).handlers())
        gateway.serve(storage.handlers())
        gateway.serve(SecretCommands(ground.vault, ground.owner).handlers())
        gateway.serve(ModelCommands(frame.models, Speaking(ground.kernel, ground.owner)).handlers())
        gateway.serve(CatalogCommands(ground.catalog.resources, ground.catalog.prompts).handlers())
        agents = AgentCommands(directory, sessions, ground.kernel, toolbox, book, ground.owner)
        gateway.serve(agents.handlers())
        gateway.serve(ToolCommands(toolbox, book, ground.kernel, ground.owner).handlers())
        return gateway

    def _server_changed(self, bus: Bus) -> Callable[[ServerStatus], None]:
        def changed(status: ServerStatus) -> None:
            names = {"server": status.name, "state": status.state}
            self.telemetry.emit("mcp.server.state", {"restarts": status.restarts}, names)
            bus.pass_by(ServerChanged(name=status.name, state=status.state, error=status.error))

        return changed
