"""Sessions: one event-sourced actor each, and the list of them all.

The list is a projection kept up to date from the bus; an actor is started when somebody needs its session
and holds the whole state. What an earlier process left open is closed as interrupted when the actor loads;
what ended while the journal refused writes is recorded as soon as it takes them again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from mcp_core.gateway.forking import NODES_OWN, cut, fork_of
from mcp_core.gateway.state import SessionState, apply, check_allowed, ends, stream_of, summarize
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.commit import History, Journal
from mcp_core.runtime.exits import ActorGone
from mcp_core.runtime.light import Actor
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.approval import Answer
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.codec import encode_disk
from mcp_interface.errors import (
    CallerMistaken,
    ErrorBody,
    Interrupted,
    NotFound,
    StorageUnavailable,
    TooMuch,
    VersionConflict,
    WrongState,
)
from mcp_interface.events import (
    AgentJoined,
    ApprovalAnswered,
    ApprovalAsked,
    ExecutionChanged,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import SYSTEM, AgentId, MessageId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.session import Limits, Profile, Session
from mcp_interface.store import Record
from mcp_interface.trace import Trace, current_trace, tracing

SCHEMA = "session/3"
UNANSWERED = "unanswered"
CONSOLE = "command line"
"""Title of the session that records a person's single tool calls."""
OWED_AGAIN_S = 1.0
"""Seconds between attempts to record what could not be recorded when it ended."""
LEFT_S = 10.0
"""Seconds that a session waits for a commit that its killed actor had begun, before it reads its events."""
FORK_PAGE = 256
"""Events that are read at once for a fork; they may be large."""
MAX_FORK = 48 * 1024 * 1024
"""Bytes of the longest history that can be forked; it is written in one append."""


S = TypeVar("S", Session, Session | None)


class Add(msgspec.Struct):
    """Ask: commit these events; answers the records."""

    events: list[SessionEvent]
    trace: Trace | None = None
    """Of whoever asks."""
    work: asyncio.Task[list[Record]] | None = None
    """What does it, once it has begun: it comes to its end also when the actor is killed meanwhile."""


class GetState(msgspec.Struct, frozen=True):
    """Ask: a copy of the state as it is now."""


class Settle(msgspec.Struct, frozen=True):
    """Tell: try again to record what is owed."""


class Kept:
    """What outlives an incarnation of a session's actor that is killed or goes to rest."""

    def __init__(self) -> None:
        self.owed: list[SessionEvent] = []
        """What the journal has not taken yet."""
        self.work: asyncio.Task[list[Record]] | None = None
        """The latest commit."""


class SessionActor(Actor):
    """Owns one session's stream.

    The end of a turn, call or question has happened, whether the journal takes it or not: one that is refused
    is owed, and recorded before anything else once writing works again. A beginning that is refused has not
    happened.

    Args:
        session_id: Whose.
        journal: Where its stream lies.
        clock: Source of time.
        kept: What the incarnation before has left.
    """

    passivates = True
    interruptible = False  # what was decided is recorded, whoever still waits for it

    def __init__(
        self,
        session_id: SessionId,
        journal: Journal,
        clock: Clock,
        kept: Kept,
    ) -> None:
        super().__init__()
        self._journal = journal
        self._clock = clock
        self._history: History[SessionState] = History(
            journal,
            stream_of(session_id),
            initial=SessionState,
            apply=apply,
            clock=clock,
            schema=SCHEMA,
        )
        self._kept = kept
        self._owed = kept.owed
        self._reminder: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Load, and close what an earlier process or incarnation left open."""
        if self._kept.work is not None:
            await asyncio.wait([self._kept.work], timeout=LEFT_S)
        await self._history.load()
        if self._history.state.stale(self._journal.epoch):
            await self._interrupt()
        await self._try_to_settle()

    async def on_receive(self, message: Any) -> Any:
        """Answer the asks above."""
        match message:
            case Add():
                work = asyncio.get_running_loop().create_task(self._commit(message.events, message.trace))
                self._kept.work = message.work = work
                return await asyncio.shield(work)
            case Settle():
                await self._try_to_settle()
                return None
            case GetState():
                state = self._history.state
                return msgspec.structs.replace(
                    state, window=list(state.window), running=dict(state.running), asked=dict(state.asked)
                )
        raise CallerMistaken(f"a session takes no {type(message).__name__}", "send one of the asks above")

    async def on_stop(self) -> None:
        """Try nothing again."""
        if self._reminder is not None:
            self._reminder.cancel()
            await asyncio.gather(self._reminder, return_exceptions=True)

    def may_rest(self) -> bool:
        """Not while something is owed to the journal."""
        return not self._owed

    def on_leave(self) -> None:
        """Its successor has nothing to be reminded of."""
        if self._reminder is not None:
            self._reminder.cancel()

    async def _commit(self, events: Sequence[SessionEvent], trace: Trace | None) -> list[Record]:
        try:
            await self._settle()
            with tracing(trace):
                return await self._write(events)
        except StorageUnavailable:
            self._owed += [event for event in events if ends(self._history.state, event)]
            self._remind()
            raise

    async def _write(self, events: Sequence[SessionEvent]) -> list[Record]:
        def decide(state: SessionState) -> Sequence[SessionEvent]:
            check_allowed(state, events)
            return events

        # Nobody else writes here; but an append that was reported as refused may be in the journal after all.
        return await self._history.decide(decide)

    async def _settle(self) -> None:
        while self._owed:
            if ends(self._history.state, self._owed[0]):
                try:
                    await self._history.commit(self._owed[0])
                except VersionConflict:
                    continue  # read again: it may be in
            del self._owed[0]

    async def _try_to_settle(self) -> None:
        try:
            await self._settle()
        except StorageUnavailable:
            self._remind()

    def _remind(self) -> None:
        if self._owed and (self._reminder is None or self._reminder.done()):
            self._reminder = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        await self._clock.sleep(OWED_AGAIN_S)
        if self.actor_ref.is_alive():
            self.actor_ref.tell(Settle())

    async def _interrupt(self) -> None:
        state, now, epoch = self._history.state, self._clock.now(), self._journal.epoch
        session = state.session
        if session is None:
            return
        events: list[SessionEvent] = []
        for approval_id, asked in state.asked.items():
            if asked.epoch < epoch:
                answer = Answer(allow=False, reason="the node was restarted before anybody answered")
                events.append(
                    ApprovalAnswered(timestamp=now, approval_id=approval_id, answer=answer, by=SYSTEM)
                )
        for execution_id, running in state.running.items():
            if running.epoch < epoch:
                events.append(
                    ExecutionChanged(
                        timestamp=now,
                        execution_id=execution_id,
                        session_id=session.id,
                        principal_id=running.principal_id,
                        status="failed",
                        error=interruption(running.server, running.tool),
                    )
                )
        if state.turn is not None and state.turn.epoch < epoch:
            error = Interrupted(
                "the node stopped in the middle of this turn", "send a message to go on"
            ).body()
            events.append(TurnEnded(timestamp=now, turn_id=state.turn.id, status="interrupted", error=error))
        if events:
            await self._history.commit(*events)


def interruption(server: str, tool: str) -> ErrorBody:
    """The error of a tool call that the node did not survive."""
    return Interrupted(
        f"the node stopped while {server}/{tool} was running",
        "it may or may not have taken effect; look before calling it again",
        {"server": server, "tool": tool},
    ).body()


class Sessions:
    """Creates, finds, lists and ends sessions."""

    def __init__(self, journal: Journal, supervisor: Supervisor, clock: Clock, entropy: Entropy) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._clock = clock
        self._entropy = entropy
        self._list: dict[SessionId, Session] = {}
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

    async def load(self) -> tuple[int, list[SessionId]]:
        """Read the list and settle what an earlier process left open.

        Returns:
            How many sessions had something interrupted, and those in which a person still waits for a turn.
        """
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
        for session_id in unsettled:
            await self._ref(session_id).call(GetState())
        return len(unsettled), [
            session_id for session_id in waiting if self._list[session_id].status == "active"
        ]

    def _heard(self, record: Record) -> None:
        if record.stream.startswith("session:"):
            self._note(record)
            for watcher in self._watchers:
                watcher(record)

    def _note(self, record: Record) -> None:
        session_id = SessionId(record.stream.removeprefix("session:"))
        if record.version <= self._versions.get(session_id, 0):
            return
        self._versions[session_id] = record.version
        session = summarize(self._list.get(session_id), record)
        if session is not None:
            self._list[session_id] = session

    def get(self, session_id: SessionId, owner: PrincipalId | None = None) -> Session:
        """One session as listed.

        Raises:
            NotFound: There is none, or it belongs to somebody else.
        """
        session = self._seen(self._list.get(session_id))
        if session is None or (owner is not None and session.created_by != owner):
            raise NotFound(f"no session {session_id!r}", "list the sessions with: umbrella sessions list")
        return session

    def _seen(self, session: S) -> S:
        if session is not None and session.id in self._broken and session.status != "terminated":
            return msgspec.structs.replace(session, status="error")
        return session

    def count(self) -> int:
        """How many sessions have not ended."""
        return sum(session.status != "terminated" for session in self._list.values())

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
    ) -> Session:
        """Begin a session with a copy of another one's history; durable as a whole when it returns.

        Raises:
            CallerMistaken: The parent has no event there.
            TooMuch: There is more to copy than one append takes.
        """
        records = cut(await self._whole(parent.id), version, position)
        session_id = SessionId(new_id("session", self._entropy))
        now = self._clock.now()
        events = fork_of(records, session_id=session_id, by=owner, now=now, title=title)
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
        if task is None or (task.done() and (task.exception() or self._ended(task.result().id))):
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

    def _ended(self, session_id: SessionId) -> bool:
        return self._list[session_id].status == "terminated"

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

    async def change(
        self,
        session_id: SessionId,
        by: PrincipalId,
        profile: Profile | None,
        model: str | None,
        title: str | None,
    ) -> Session:
        """Change settings; nothing is recorded when nothing is asked."""
        if (profile, model, title) != (None, None, None):
            await self.add(
                session_id,
                SessionChanged(timestamp=self._clock.now(), profile=profile, model=model, title=title, by=by),
            )
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
        if self._list[session_id].status != "terminating":
            events.insert(0, SessionEnding(timestamp=self._clock.now(), by=SYSTEM, reason=reason))
        try:
            if not self._ended(session_id):
                await self.add(session_id, *events)
        except WrongState:
            if not self._ended(session_id):
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


def _track(open_work: dict[SessionId, set[str]], record: Record) -> None:
    """Note what begins and ends, to find the sessions that need settling after a crash."""
    work = open_work.setdefault(SessionId(record.stream.removeprefix("session:")), set())
    match record.event:
        case UserMessage():
            work.add(UNANSWERED)
        case TurnStarted(turn_id=key):
            work.discard(UNANSWERED)
            work.add(key)
        case TurnEnded(turn_id=key):
            work.discard(key)
        case ExecutionChanged(execution_id=key, status=status):
            (work.add if status in {"queued", "started"} else work.discard)(key)
        case ApprovalAsked(approval=approval):
            work.add(approval.id)
        case ApprovalAnswered(approval_id=key):
            work.discard(key)
