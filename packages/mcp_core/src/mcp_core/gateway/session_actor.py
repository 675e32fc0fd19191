"""The actor of one session: event-sourced, the only writer of its stream, in memory while it is needed.

What an earlier process left open is closed as interrupted when the actor loads, but for the calls that go on
(`mcp_core.agents.left`); what ended while the journal refused writes is recorded as soon as it takes them again. Who has an actor, and when, is the affair of
`mcp_core.gateway.sessions`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from mcp_core.gateway.state import SessionState, apply, check_allowed, ends, stream_of
from mcp_core.runtime.commit import History, Journal
from mcp_core.runtime.light import Actor
from mcp_interface.approval import Answer
from mcp_interface.clock import Clock, Instant
from mcp_interface.errors import CallerMistaken, ErrorBody, Interrupted, StorageUnavailable, VersionConflict
from mcp_interface.events import (
    ApprovalAnswered,
    ExecutionChanged,
    QuestionAnswered,
    QuestionAsked,
    SessionEvent,
    TurnEnded,
)
from mcp_interface.ids import SYSTEM, SessionId
from mcp_interface.question import Response
from mcp_interface.store import Record
from mcp_interface.trace import Trace, tracing

SCHEMA = "session/5"
OWED_AGAIN_S = 1.0
"""Seconds between attempts to record what could not be recorded when it ended."""
LEFT_S = 10.0
"""Seconds that a session waits for a commit that its killed actor had begun, before it reads its events."""


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
        events = close_left(self._history.state, self._clock.now(), self._journal.epoch)
        if events:
            await self._history.commit(*events)


def close_left(state: SessionState, now: Instant, epoch: int) -> list[SessionEvent]:
    """What ends of that which earlier processes left open, and what is asked again. Pure."""
    session = state.session
    if session is None:
        return []
    events: list[SessionEvent] = []
    left = {key: running for key, running in state.running.items() if running.epoch < epoch}
    ended = {key: running for key, running in left.items() if not (state.takes_up and running.goes_on)}
    for approval_id, asked in state.asked.items():
        call = asked.approval.execution_id
        if asked.epoch < epoch and (call in ended or call not in state.running):
            answer = Answer(allow=False, reason="the node was restarted before anybody answered")
            events.append(ApprovalAnswered(timestamp=now, approval_id=approval_id, answer=answer, by=SYSTEM))
    for execution_id, running in left.items():
        call_left = running.left
        if execution_id in ended:
            cancel = Response(action="cancel")
            events += [
                QuestionAnswered(timestamp=now, question_id=each.id, response=cancel, by=SYSTEM)
                for each in call_left.open
            ]
            events.append(
                ExecutionChanged(
                    timestamp=now,
                    execution_id=execution_id,
                    session_id=session.id,
                    principal_id=running.principal_id,
                    status="failed",
                    error=interruption(running.call.server, running.call.tool),
                )
            )
        elif not call_left.handle:  # who asked is gone: an answer would send the call anew
            events += [
                QuestionAsked(timestamp=now, question=msgspec.structs.replace(each, again=True))
                for each in call_left.open
                if not each.again
            ]
    if state.turn is not None and state.turn.epoch < epoch and not state.turn_goes_on:
        error = Interrupted("the node stopped in the middle of this turn", "send a message to go on").body()
        events.append(TurnEnded(timestamp=now, turn_id=state.turn.id, status="interrupted", error=error))
    return events


def interruption(server: str, tool: str) -> ErrorBody:
    """The error of a tool call that the node did not survive."""
    return Interrupted(
        f"the node stopped while {server}/{tool} was running",
        "it may or may not have taken effect; look before calling it again",
        {"server": server, "tool": tool},
    ).body()
