"""Who lives on this node: spawns, lists, revives and stops agents.

An agent's life is its stream (`agent:<id>`); the list is a projection of those streams. When an agent ends,
its rights end with it, and everything derived from them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from mcp_core.agents.base import AgentActor
from mcp_core.agents.roster import Roster
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.commit import Journal
from mcp_core.runtime.exits import Ended
from mcp_core.runtime.groups import Groups, check_topic
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.agent import Agent, AgentRecord, AgentType
from mcp_interface.capability import SecurityKernel
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch, UmbrellaError, VersionConflict
from mcp_interface.events import AgentEvent, AgentRestarted, AgentStarted, AgentStopped
from mcp_interface.ids import SYSTEM, AgentId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.registry import Registry
from mcp_interface.store import KeyValueStore, Record
from mcp_interface.telemetry import Telemetry

log = logging.getLogger(__name__)

MAX_AGENTS = 100_000
"""Running agents of one node."""
MAX_SHARE = 64
"""Living agents of one person who is not the owner of the node, beside the assistants of their sessions."""
MAX_NAME = 64
MAX_TOPICS = 100
"""Topics that one agent may listen to."""

Maker = Callable[[AgentRecord], Agent[Any]]


class Directory:
    """The agents of one node."""

    def __init__(
        self,
        journal: Journal,
        states: KeyValueStore,
        kernel: SecurityKernel,
        supervisor: Supervisor,
        registry: Registry[Ref[Any]],
        groups: Groups,
        telemetry: Telemetry,
        clock: Clock,
        entropy: Entropy,
        person_of: Callable[[SessionId | None], PrincipalId | None],
    ) -> None:
        self._person_of = person_of
        self._journal = journal
        self._states = states
        self._kernel = kernel
        self._supervisor = supervisor
        self._registry = registry
        self._groups = groups
        self._telemetry = telemetry
        self._clock = clock
        self._entropy = entropy
        self._makers: dict[AgentType, Maker] = {}
        self.on_restart: Callable[[SessionId, AgentRestarted], Awaitable[Any]] | None = None
        """Told of each restart of an agent that belongs to a session."""
        self.on_stop: Callable[[AgentRecord, str], None] | None = None
        """Told of each agent that has ended, its rights with it."""
        self._list = Roster()
        self._awake: set[AgentId] = set()
        self._versions: dict[AgentId, int] = {}
        self._notes: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._spawning = asyncio.Lock()
        self._endings: dict[AgentId, asyncio.Task[None]] = {}
        self._only: dict[AgentType, AgentId] = {}
        self._replacing = asyncio.Lock()

    def offer(self, kind: AgentType, maker: Maker) -> None:
        """Say how agents of a type are made."""
        self._makers[kind] = maker

    async def load(self) -> None:
        """Read the list; end the rights of agents that did not survive, or never came to life."""
        after = 0
        while page := await self._journal.read_all(after=after, streams="agent:*"):
            for record in page:
                self._note(record)
            after = page[-1].position
        self.attend()
        holders = {capability.principal_id for capability in self._kernel.capabilities()}
        for principal in sorted(holders):
            if is_id("agent", principal) and not self._list.lives(principal):
                await self._kernel.revoke_all(principal, SYSTEM, "holder ended")

    def attend(self, session_id: SessionId | None = None) -> None:
        """Bring back who listens to a topic, of one session or of all: they have to be there when somebody speaks."""
        for agent in self._list.living(session_id):
            if topics_of(agent) and self.is_active(PrincipalId(agent.id)):
                self.ref(agent.id)

    async def spawn(
        self,
        kind: AgentType,
        name: str = "",
        session_id: SessionId | None = None,
        parent_id: AgentId | None = None,
        metadata: dict[str, Any] | None = None,
        most: int | None = None,
        endow: Callable[[AgentId], Awaitable[None]] | None = None,
    ) -> AgentRecord:
        """Start an agent that holds nothing but what `endow` gives; its birth is durable when this returns.

        Args:
            kind: One that was offered.
            name: Unique among the living of one person; may be empty.
            session_id: The session it lives and ends with.
            parent_id: The agent that wanted it.
            metadata: Given to its `init`.
            most: How many living agents its session may have, this one included.
            endow: Gives the agent its first rights, before it comes to life; when it raises, there is no agent.

        Raises:
            CallerMistaken: The type cannot be spawned, the name is taken or too long, what it wants to listen to
                are no topics, or session or node are full.
            TooMuch: Its person has as many as others than the owner of the node may have.
            UmbrellaError: What `endow` raised.
        """
        if kind not in self._makers:
            raise CallerMistaken(
                f"agents of type {kind!r} cannot be spawned here", f"use {', '.join(self._makers)}"
            )
        if len(name) > MAX_NAME or not name.isprintable() or name.startswith("agent_"):
            raise CallerMistaken(
                f"{name[:80]!r} is not a usable name", f"printable, up to {MAX_NAME} characters"
            )
        check_topics(metadata or {})
        started = AgentStarted(
            timestamp=self._clock.now(),
            agent_id=AgentId(new_id("agent", self._entropy)),
            type=kind,
            name=name,
            parent_id=parent_id,
            session_id=session_id,
            metadata=metadata or {},
        )
        # Shielded: a caller that is cancelled must not leave rights behind without their holder.
        return await asyncio.shield(asyncio.ensure_future(self._bear(started, most, endow)))

    async def _bear(
        self, started: AgentStarted, most: int | None, endow: Callable[[AgentId], Awaitable[None]] | None
    ) -> AgentRecord:
        agent_id = started.agent_id
        async with self._spawning:
            self._check_room(started.name, started.session_id, most)
            self._check_share(started.type, started.session_id)
            try:
                if endow is not None:
                    await endow(agent_id)
                await self._record(agent_id, started)
            except BaseException:
                if not self._list.lives(agent_id):
                    await self._disendow(PrincipalId(agent_id))
                raise
            self.ref(agent_id)
        return self.get(agent_id)

    async def _disendow(self, principal: PrincipalId) -> None:
        if self._kernel.held_by(principal):
            await self._kernel.revoke_all(principal, SYSTEM, "its holder did not come to life")

    def _check_room(self, name: str, session_id: SessionId | None, most: int | None) -> None:
        person = self._person_of(session_id)
        theirs = [agent for agent in self._list.named(name) if self._person_of(agent.session_id) == person]
        if any(self.is_active(PrincipalId(agent.id)) for agent in theirs):
            raise CallerMistaken(
                f"an agent named {name!r} is running", "choose another name or stop it first"
            )
        if most is not None and session_id is not None:
            beside = sum(self.is_active(PrincipalId(agent.id)) for agent in self._list.living(session_id))
            if beside >= most:
                raise CallerMistaken(f"{session_id} has {beside} agents, its limit", "stop one first")
        if len(self._awake) >= MAX_AGENTS:
            raise CallerMistaken(f"{MAX_AGENTS} agents are awake, the most there can be", "stop some first")

    def _check_share(self, kind: AgentType, session_id: SessionId | None) -> None:
        """An assistant comes with its session, and sessions have a bound of their own."""
        person = self._person_of(session_id)
        if kind == "llm" or person == self._person_of(None):
            return
        living = (agent for agent in self._list.living() if agent.type != "llm")
        theirs = sum(self._person_of(agent.session_id) == person for agent in living)
        if theirs >= MAX_SHARE:
            raise TooMuch(
                f"{person} has {theirs} living agents, the most that others than the node's owner have",
                "stop one: umbrella agent stop NAME",
                {"bound": "living_agents", "most": MAX_SHARE},
            )

    async def only(self, kind: AgentType, name: str) -> AgentId:
        """The living agent of a type of which the node has one; a new one when there is none, or the last was given up.

        Raises:
            UmbrellaError: As `spawn`.
        """
        async with self._replacing:
            known = self._only.get(kind)
            if known is None or not self.is_active(PrincipalId(known)):
                alive = [agent.id for agent in self._list.living() if agent.type == kind]
                known = next((each for each in alive if self.is_active(PrincipalId(each))), None)
                known = known or (await self.spawn(kind, name)).id
                self._only[kind] = known
            return known

    def ref(self, agent_id: AgentId) -> Ref[Any]:
        """Where to send to an agent; revives it when the node has been restarted since.

        Raises:
            NotFound: No such agent, or it has ended.
        """
        agent = self._list.get(agent_id)
        entry = self._registry.lookup(agent_id)
        if entry is not None and self.is_active(PrincipalId(agent_id)):
            return entry.ref
        if agent is None or not self.is_active(PrincipalId(agent_id)):
            raise NotFound(f"no running agent {agent_id}", "list the agents with: umbrella agent list")
        ref = self._supervisor.start(
            ChildSpec(
                name=agent_id,
                make=lambda: AgentActor(
                    agent,
                    self._makers[agent.type](agent),
                    self._states,
                    lambda reason: self._later(self.stop(agent_id, reason)),
                    self._telemetry,
                    self._clock,
                ),
                on_restart=lambda error, count: self._restarted(agent, error, count),
                on_give_up=lambda error: self._given_up(agent_id, error),
            )
        )
        self._registry.register(agent_id, ref, {"type": agent.type, "name": agent.name})
        for topic in topics_of(agent):
            try:
                self._groups.join(topic, ref)
            except UmbrellaError as error:  # whoever cannot listen lives all the same, and so does the node
                log.warning("%s does not listen to %.200r: %s", agent_id, topic, error)
        self._awake.add(agent_id)
        self._telemetry.emit(
            "mcp.agent.start", {}, {"agent_id": agent_id, "type": agent.type, "session_id": agent.session_id}
        )
        return ref

    def type_of(self, agent_id: AgentId) -> AgentType | None:
        """What kind of agent one is or was; None if there never was one, or it has ended long ago."""
        agent = self._list.get(agent_id)
        return None if agent is None else agent.type

    def find(self, name: str, among: Callable[[AgentRecord], bool]) -> AgentRecord:
        """An agent by id, by unique beginning of the id, or by name.

        Args:
            name: What it is called by.
            among: Which agents are looked at; the others are as if they were not there.

        Raises:
            NotFound: None fits.
            CallerMistaken: Several fit.
        """
        exact = self._list.get(name)
        if exact is not None and among(exact):
            return exact
        fits = [agent for agent in self._list.named(name) if among(agent)]
        if not fits and len(name) >= len("agent_") + 4:
            fits = [agent for agent in self._list.beginning(name) if among(agent)]
        if not fits:
            raise NotFound(f"no agent {name!r}", "list the agents with: umbrella agent list")
        if len(fits) > 1:
            raise CallerMistaken(f"{name!r} fits {len(fits)} agents", "use the whole id")
        return fits[0]

    def get(self, agent_id: AgentId) -> AgentRecord:
        """An agent by id, with its present rights and restarts.

        Raises:
            NotFound: No such agent.
        """
        agent = self._list.get(agent_id)
        if agent is None:
            raise NotFound(f"no agent {agent_id!r}", "list the agents with: umbrella agent list")
        held = [capability.id for capability in self._kernel.held_by(PrincipalId(agent_id))]
        return msgspec.structs.replace(agent, capabilities=held, restarts=self._supervisor.restarts(agent_id))

    def listed(self, session_id: SessionId | None = None, stopped: bool = False) -> list[AgentRecord]:
        """Those that have not ended, oldest first, without their present rights; `stopped` adds who ended lately."""
        return list(self.each(session_id, stopped=stopped))

    def each(self, session_id: SessionId | None = None, *, stopped: bool = False) -> Iterator[AgentRecord]:
        """As `listed`, one by one and to be used up at once."""
        return self._list.listed(session_id, ended=stopped)

    def place(self, agent: AgentRecord) -> tuple[int, str]:
        """Where a listed agent stands in the order of births."""
        return self._list.birth(agent), agent.id

    def is_active(self, principal: PrincipalId) -> bool:
        """Whether a principal may still act: not an agent that has ended, or is about to."""
        if not is_id("agent", principal):
            return True
        return self._list.lives(principal) and AgentId(principal) not in self._endings

    def count(self) -> int:
        """How many agents are running."""
        return len(self._list)

    async def stop(self, agent_id: AgentId, reason: str) -> None:
        """End an agent and its rights; harmless when repeated, and finished even if the caller is cancelled."""
        ending = self._begin_end(agent_id, reason)
        if ending is not None:
            await asyncio.shield(ending)

    def _begin_end(self, agent_id: AgentId, reason: str) -> asyncio.Task[None] | None:
        """From here on the agent is not active; None when it has ended."""
        if not self._list.lives(agent_id):
            return None
        if agent_id not in self._endings:
            self._endings[agent_id] = asyncio.get_running_loop().create_task(self._end(agent_id, reason))
        return self._endings[agent_id]

    def _given_up(self, agent_id: AgentId, error: BaseException) -> None:
        ending = self._begin_end(agent_id, f"given up: {error}")
        if ending is not None:
            self._see_to(ending)

    async def rest(self, agent_id: AgentId) -> None:
        """Let an agent leave memory; it lives on, with its rights and its state, and its next message brings it back."""
        if agent_id not in self._endings:
            await self._supervisor.stop(agent_id)
            if self._registry.lookup(agent_id) is None:  # else somebody has brought it back already
                self._awake.discard(agent_id)

    async def close(self) -> None:
        """Finish the notes that are still being written."""
        await asyncio.gather(*self._notes, return_exceptions=True)

    async def _end(self, agent_id: AgentId, reason: str) -> None:
        agent = self.get(agent_id)
        principal = PrincipalId(agent_id)
        try:
            # Rights first: whatever happens next, its authority is over. Once more when its actor has stopped,
            # for a grant that was on its way.
            await self._kernel.revoke_all(principal, SYSTEM, f"holder ended: {reason}")
            await self._supervisor.stop(agent_id)
            await self._kernel.revoke_all(principal, SYSTEM, f"holder ended: {reason}")
            event = AgentStopped(timestamp=self._clock.now(), agent_id=agent_id, reason=reason)
            await self._record(agent_id, event)
        finally:
            del self._endings[agent_id]
        self._registry.unregister(agent_id)
        self._awake.discard(agent_id)
        await self._states.delete(f"agent-state:{agent_id}")
        lifetime = (self._clock.now() - agent.started_at).total_seconds()
        self._telemetry.emit(
            "mcp.agent.stop",
            {"lifetime_s": lifetime},
            {"agent_id": agent_id, "type": agent.type, "reason": reason},
        )
        if self.on_stop is not None:
            self.on_stop(agent, reason)

    def _restarted(self, agent: AgentRecord, error: BaseException, count: int) -> None:
        self._telemetry.emit(
            "mcp.agent.crash",
            {"restarts": count},
            {"agent_id": agent.id, "type": agent.type, "reason": repr(error)},
        )
        # not what an exception says: that may be anything
        reason = str(error) if isinstance(error, Ended) else type(error).__name__
        event = AgentRestarted(timestamp=self._clock.now(), agent_id=agent.id, reason=reason, restarts=count)
        self._later(self._record(agent.id, event))
        if agent.session_id is not None and self.on_restart is not None:
            self._later(self.on_restart(agent.session_id, event))

    def _later(self, work: Any) -> None:
        self._see_to(asyncio.get_running_loop().create_task(work))

    def _see_to(self, task: asyncio.Task[None]) -> None:
        self._notes.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._notes.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a note about an agent could not be kept: %r", task.exception())

    async def _record(self, agent_id: AgentId, event: AgentEvent) -> None:
        # Shielded: a caller that is cancelled must not leave the list behind the journal.
        await asyncio.shield(asyncio.ensure_future(self._write(agent_id, event)))

    async def _write(self, agent_id: AgentId, event: AgentEvent) -> None:
        stream = f"agent:{agent_id}"
        async with self._writing:
            known = self._versions.get(agent_id, 0)
            try:
                records = await self._journal.append(
                    stream, [event], expected=known, epoch=self._journal.epoch
                )
            except VersionConflict:
                for record in await self._journal.read(stream, after=known):
                    self._note(record)
                raise
            for record in records:
                self._note(record)

    def _note(self, record: Record) -> None:
        event = record.event
        if isinstance(event, AgentStarted):
            agent = AgentRecord(
                id=event.agent_id,
                type=event.type,
                name=event.name,
                parent_id=event.parent_id,
                session_id=event.session_id,
                started_at=event.timestamp,
                metadata=event.metadata,
            )
            self._list.born(agent, record.position)
        self._versions[AgentId(record.stream.removeprefix("agent:"))] = record.version
        if isinstance(event, AgentStopped):
            forgotten = self._list.ended(event.agent_id)
            if forgotten is not None:
                del self._versions[forgotten]


def topics_of(agent: AgentRecord) -> list[str]:
    """What an agent listens to: `topics` of its metadata."""
    topics = agent.metadata.get("topics", [])
    return [str(topic) for topic in topics] if isinstance(topics, list) else []


def check_topics(metadata: dict[str, Any]) -> None:
    """Return if an agent with this metadata can listen to what it names.

    Raises:
        CallerMistaken: They are not some few names of topics.
    """
    topics = metadata.get("topics", [])
    if not isinstance(topics, list) or len(topics) > MAX_TOPICS:
        raise CallerMistaken(
            "metadata.topics is no list of topics", f"give a list of at most {MAX_TOPICS} names"
        )
    for topic in topics:
        check_topic(str(topic))
