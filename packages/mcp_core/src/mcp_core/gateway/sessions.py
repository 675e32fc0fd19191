"""Sessions: one event-sourced actor each (`mcp_core.gateway.session_actor`), and the list of them all.

The list is a projection kept up to date from the bus; an actor is started when somebody needs its session
and holds the whole state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mcp_core.agents.budgeting import with_answer
from mcp_core.gateway.forking import NODES_OWN, cut, fork_of, unanswered
from mcp_core.gateway.session_actor import Add, GetState, Kept, SessionActor
from mcp_core.gateway.state import Running, SessionState, stream_of, summarize
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.commit import Journal
from mcp_core.runtime.exits import ActorGone
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.codec import encode_disk
from mcp_interface.commands import ChangeSession
from mcp_interface.errors import NotFound, TooMuch, WrongState
from mcp_interface.events import (
    AgentJoined,
    ApprovalAnswered,
    ApprovalAsked,
    AssistantMessage,
    ExecutionChanged,
    RetryAsked,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    TurnEnded,
    TurnStarted,
    UserMessage,
    WindowCompacted,
)
from mcp_interface.ids import (
    SYSTEM,
    AgentId,
    ExecutionId,
    MessageId,
    PrincipalId,
    SessionId,
    is_id,
    new_id,
)
from mcp_interface.session import Limits, Profile, Session
from mcp_interface.store import Record
from mcp_interface.trace import current_trace

UNANSWERED = "unanswered"
CONSOLE = "command line"
"""Title of the session that records a person's single tool calls."""
ENDED = 1000
"""Sessions that have ended and are still listed, the latest to end; older ones are found by their ids."""
SETTINGS: Final = ("profile", "model", "title", "system", "strategy", "budget")
"""Fields of `ChangeSession` and of the event that it becomes."""
FORK_PAGE = 256
"""Events that are read at once for a fork; they may be large."""
MAX_FORK = 48 * 1024 * 1024
"""Bytes of the longest history that can be forked; it is written in one append."""


S = TypeVar("S", Session, Session | None)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier process has left."""

    settled: int
    """Sessions in which something was open."""
    waiting: list[SessionId]
    """Those in which a person still waits for a turn."""
    calls: dict[SessionId, dict[ExecutionId, Running]]
    """Tool calls that go on."""
    turns: list[SessionId]
    """Sessions whose turn goes on, as it waits for such a call."""


class Sessions:
    """Creates, finds, lists and ends sessions."""

    def __init__(self, journal: Journal, supervisor: Supervisor, clock: Clock, entropy: Entropy) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._clock = clock
        self._entropy = entropy
        self._list: dict[SessionId, Session] = {}
        """Those that have not ended, and those that ended or were looked for last."""
        self._over: dict[SessionId, None] = {}
        """Those of the list that have ended, the oldest first."""
        self._versions: dict[SessionId, int] = {}
        self._refs: dict[SessionId, Ref[Any]] = {}
        self._consoles: dict[PrincipalId, asyncio.Task[Session]] = {}
        self._kept: dict[SessionId, Kept] = {}
        """Of each session that has an actor, or something owed."""
        self._broken: set[SessionId] = set()
        """Those whose actor was given up; nothing is journaled about that, it is the journal that does not do."""
        self._watchers: list[Callable[[Record], None]] = []

    def watch(self, watcher: Callable[[Record], None]) -> None:
        """Show a projection every record of every session, in order: those that `load` reads, then what happens."""
        self._watchers.append(watcher)

    async def load(self) -> "Found":
        """Read the list and settle what an earlier process left open, but for what goes on."""
        after = 0
        open_work: dict[SessionId, set[str]] = {}
        while page := await self._journal.read_all(after=after, streams="session:*"):
            for record in page:
                self._heard(record)
                _track(open_work, record)
            after = page[-1].position
        self._journal.bus.listen(self._heard)
        waiting = [session_id for session_id, work in open_work.items() if UNANSWERED in work]
        unsettled = [session_id for session_id, work in open_work.items() if work - {UNANSWERED}]
        calls: dict[SessionId, dict[ExecutionId, Running]] = {}
        turns: list[SessionId] = []
        for session_id in unsettled:
            state: SessionState = await self._ref(session_id).call(GetState())
            if state.running:
                calls[session_id] = state.running
            if state.turn is not None:
                turns.append(session_id)
        listed = self._list
        return Found(
            settled=len(unsettled),
            waiting=[each for each in waiting if each in listed and listed[each].status == "active"],
            calls=calls,
            turns=turns,
        )

    def _heard(self, record: Record) -> None:
        if record.stream.startswith("session:"):
            self._note(record)
            for watcher in self._watchers:
                watcher(record)

    def _note(self, record: Record) -> None:
        session_id = SessionId(record.stream.removeprefix("session:"))
        if record.version <= self._versions.get(session_id, 0):
            return
        session = summarize(self._list.get(session_id), record)
        if session is not None:
            self._keep(session, record.version)
            self._charge_above(session, record)

    def _charge_above(self, session: Session, record: Record) -> None:
        """What models cost in a session about a task counts in each session above it."""
        event = record.event
        if not isinstance(event, AssistantMessage | WindowCompacted):
            return
        while session.lineage is not None and session.lineage.session_id in self._list:
            above = self._list[session.lineage.session_id]
            spent = with_answer(above.spent, event.usage, event.cost)
            self._list[above.id] = session = msgspec.structs.replace(above, spent=spent)

    def _keep(self, session: Session, version: int) -> None:
        self._list[session.id] = session
        self._versions[session.id] = version
        if session.status == "terminated":
            self._over[session.id] = None
            if len(self._over) > ENDED:
                oldest = next(iter(self._over))
                del self._over[oldest], self._list[oldest], self._versions[oldest]

    def get(self, session_id: SessionId, owner: PrincipalId | None = None) -> Session:
        """One session as listed.

        Raises:
            NotFound: There is none, or it belongs to somebody else.
        """
        session = self._seen(self._list.get(session_id))
        if session is None or (owner is not None and session.created_by != owner):
            raise NotFound(f"no session {session_id!r}", "list the sessions with: umbrella sessions list")
        return session

    async def find(self, session_id: SessionId, owner: PrincipalId) -> Session:
        """As `get`, also one that ended so long ago that only the journal knows it.

        Raises:
            NotFound: There is none, or it belongs to somebody else.
        """
        if not self.knows(session_id) and is_id("session", session_id):
            found: Session | None = None
            version = 0
            while page := await self._journal.read(stream_of(session_id), after=version):
                for record in page:
                    found = summarize(found, record)
                version = page[-1].version
            if found is not None and not self.knows(session_id):
                self._keep(found, version)
        return self.get(session_id, owner)

    def knows(self, session_id: SessionId) -> bool:
        """Whether a session is in the list."""
        return session_id in self._list

    def is_over(self, session_id: SessionId) -> bool:
        """Whether a session has ended, or there is none."""
        session = self._list.get(session_id)
        return session is None or session.status == "terminated"

    def _seen(self, session: S) -> S:
        if session is not None and session.id in self._broken and session.status != "terminated":
            return msgspec.structs.replace(session, status="error")
        return session

    def count(self) -> int:
        """How many sessions have not ended."""
        return len(self._list) - len(self._over)

    def count_of(self, owner: PrincipalId) -> int:
        """How many of somebody's sessions have not ended; those about tasks have a bound of their own."""
        return sum(
            session.created_by == owner and session.status != "terminated" and session.lineage is None
            for session in self._list.values()
        )

    def listed(self, owner: PrincipalId, ended: bool) -> list[Session]:
        """A person's sessions, latest activity first."""
        mine = [
            session
            for session in map(self._seen, self._list.values())
            if session.created_by == owner and (ended or session.status != "terminated")
        ]
        mine.sort(key=lambda session: (session.updated_at, session.id), reverse=True)
        return mine

    async def create(
        self,
        owner: PrincipalId,
        title: str,
        profile: Profile,
        model: str,
        metadata: dict[str, Any],
        limits: Limits | None = None,
        system: str = "",
    ) -> Session:
        """Begin a session; durable when it returns."""
        session_id = SessionId(new_id("session", self._entropy))
        event = SessionCreated(
            timestamp=self._clock.now(),
            session_id=session_id,
            created_by=owner,
            title=title,
            profile=profile,
            model=model,
            metadata=metadata,
            limits=limits or Limits(),
            system=system,
        )
        await self.add(session_id, event)
        return self.get(session_id)

    async def fork(
        self,
        parent: Session,
        owner: PrincipalId,
        version: int | None,
        position: int | None,
        title: str | None,
        answered: Callable[[Sequence[str]], Awaitable[None]],
    ) -> Session:
        """Begin a session with a copy of another one's history; durable as a whole when it returns.

        Args:
            parent: The other one.
            owner: Whose the new one is.
            version: As `forking.cut`.
            position: As `forking.cut`.
            title: As `forking.fork_of`.
            answered: Given what nobody has answered in it, before there is a session; what it raises, this raises.

        Raises:
            CallerMistaken: The parent has no event there.
            TooMuch: There is more to copy than one append takes.
        """
        records = cut(await self._whole(parent.id), version, position)
        session_id = SessionId(new_id("session", self._entropy))
        now = self._clock.now()
        events = fork_of(records, session_id=session_id, by=owner, now=now, title=title)
        await answered(unanswered(events))
        await self.add(session_id, *events)
        return self.get(session_id)

    async def _whole(self, session_id: SessionId) -> list[Record]:
        records: list[Record] = []
        size = 0
        while page := await self._journal.read(stream_of(session_id), after=len(records), limit=FORK_PAGE):
            records += page
            size += sum(len(encode_disk(record.event)) for record in page)
            if size > MAX_FORK:
                raise TooMuch(
                    f"the history of {session_id} is longer than {MAX_FORK} bytes, the most that can be forked",
                    "begin a new session",
                )
        return records

    async def console(self, owner: PrincipalId) -> Session:
        """The session that records a person's single tool calls; created on first use."""
        task = self._consoles.get(owner)
        if task is None or (task.done() and (task.exception() or self.is_over(task.result().id))):
            task = asyncio.get_running_loop().create_task(self._console(owner))
            self._consoles[owner] = task
        return await asyncio.shield(task)

    async def _console(self, owner: PrincipalId) -> Session:
        for session in self._list.values():
            if (
                session.created_by == owner
                and session.metadata.get(NODES_OWN) == "console"
                and session.status != "terminated"
            ):
                return session
        return await self.create(owner, CONSOLE, "careful", "", {NODES_OWN: "console"})

    async def add(self, session_id: SessionId, *events: SessionEvent) -> list[Record]:
        """Commit events to a session.

        Raises:
            LostRace: The session has ended.
        """
        add = Add(list(events), current_trace())
        records: list[Record]
        try:
            records = await self._ref(session_id).call(add)
        except ActorGone:
            if add.work is None:  # it went to rest in this moment: the next one is there
                records = await self._ref(session_id).call(add)
            else:  # it was killed, and what it had begun goes on
                records = await asyncio.shield(add.work)
        self._broken.discard(session_id)
        for record in records:  # who has committed need not wait for the bus to see it in the list
            self._note(record)
        return records

    async def post(self, session_id: SessionId, author: PrincipalId, text: str) -> Record:
        """Commit what a person said."""
        message_id = MessageId(new_id("msg", self._entropy))
        said = UserMessage(timestamp=self._clock.now(), message_id=message_id, author=author, text=text)
        return (await self.add(session_id, said))[0]

    async def state(self, session_id: SessionId) -> SessionState:
        """A copy of a session's state."""
        state: SessionState
        try:
            state = await self._ref(session_id).call(GetState())
        except ActorGone:  # it went to rest in this moment: the next one is there
            state = await self._ref(session_id).call(GetState())
        self._broken.discard(session_id)
        return state

    async def change(self, session_id: SessionId, by: PrincipalId, wanted: ChangeSession) -> Session:
        """Change settings; nothing is recorded when nothing is asked."""
        given = {name: getattr(wanted, name) for name in SETTINGS}
        if any(value is not None for value in given.values()):
            await self.add(session_id, SessionChanged(timestamp=self._clock.now(), by=by, **given))
        return self.get(session_id)

    async def join(self, session_id: SessionId, agent_id: AgentId) -> None:
        """Record that an agent belongs to the session."""
        await self.add(session_id, AgentJoined(timestamp=self._clock.now(), agent_id=agent_id))

    def idle(self, now: Instant) -> list[Session]:
        """Active sessions in which nothing has happened for as long as their limit says."""
        return [
            session
            for session in self._list.values()
            if session.status == "active"
            and not session.busy
            and session.limits.idle_timeout_s is not None
            and (now - session.updated_at).total_seconds() >= session.limits.idle_timeout_s
        ]

    def ending(self) -> list[Session]:
        """Sessions whose end has begun."""
        return [session for session in self._list.values() if session.status == "terminating"]

    async def end(self, session_id: SessionId, reason: str) -> None:
        """End a session and let its actor go; harmless when repeated."""
        events: list[SessionEvent] = [SessionEnded(timestamp=self._clock.now(), reason=reason)]
        listed = self._list.get(session_id)
        if listed is not None and listed.status != "terminating":
            events.insert(0, SessionEnding(timestamp=self._clock.now(), by=SYSTEM, reason=reason))
        try:
            if not self.is_over(session_id):
                await self.add(session_id, *events)
        except WrongState:
            if not self.is_over(session_id):
                raise  # and not what somebody else did in the same moment
        await self.rest(session_id)

    async def rest(self, session_id: SessionId) -> None:
        """Let a session's actor leave memory; the next that needs it brings it back."""
        if self._refs.pop(session_id, None) is None:
            return
        await self._supervisor.stop(stream_of(session_id))
        if session_id not in self._refs and not self._kept[session_id].owed:
            del self._kept[session_id]
        else:
            self._ref(session_id)  # it goes on trying, and rests like any other when it owes nothing

    def _ref(self, session_id: SessionId) -> Ref[Any]:
        ref = self._refs.get(session_id)
        if ref is None:
            if not is_id("session", session_id):
                raise NotFound(f"no session {session_id!r}", "list the sessions with: umbrella sessions list")
            kept = self._kept.setdefault(session_id, Kept())
            ref = self._supervisor.start(
                ChildSpec(
                    name=stream_of(session_id),
                    make=lambda: SessionActor(session_id, self._journal, self._clock, kept),
                    on_give_up=lambda _: self._forget(session_id),
                )
            )
            self._refs[session_id] = ref
        return ref

    def _forget(self, session_id: SessionId) -> None:
        self._refs.pop(session_id, None)
        self._broken.add(session_id)


def person_of(sessions: Sessions, owner: PrincipalId, session_id: SessionId | None) -> PrincipalId | None:
    """Whose a session is; the owner of the node has what is in none, and nobody one that ended long ago."""
    if session_id is None:
        return owner
    try:
        return sessions.get(session_id).created_by
    except NotFound:
        return None


def _track(open_work: dict[SessionId, set[str]], record: Record) -> None:
    """Note what begins and ends, to find the sessions that need settling after a crash."""
    work = open_work.setdefault(SessionId(record.stream.removeprefix("session:")), set())
    match record.event:
        case UserMessage() | RetryAsked():
            work.add(UNANSWERED)
        case TurnStarted(turn_id=key):
            work.discard(UNANSWERED)
            work.add(key)
        case TurnEnded(turn_id=key):
            work.discard(key)
        case ExecutionChanged(execution_id=key, status="queued" | "started"):
            work.add(key)
        case ExecutionChanged(execution_id=key, status="completed" | "failed"):
            work.discard(key)
        case ApprovalAsked(approval=approval):
            work.add(approval.id)
        case ApprovalAnswered(approval_id=key):
            work.discard(key)
