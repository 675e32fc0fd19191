"""How a session comes to rest, goes on, and ends: each step journaled first, then carried out.

What is journaled decides. Once a session is suspended or ending, its stream takes no beginning any more, so
whatever races with that loses; and a node that dies on the way finds in the journal what it has to finish.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from typing import Final, Protocol

from mcp_core.agents.directory import Directory
from mcp_core.agents.tool_executor import Caller
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.sessions import Sessions
from mcp_interface.approval import Answer, ApprovalDesk
from mcp_interface.clock import Clock
from mcp_interface.errors import UmbrellaError, WrongState
from mcp_interface.events import SessionEnding, SessionEvent, SessionResumed, SessionSuspended
from mcp_interface.ids import SYSTEM, PrincipalId, SessionId
from mcp_interface.session import Cleanup, Session, SessionStatus

log = logging.getLogger(__name__)

QUIET_S: Final = 30.0
"""Seconds in which tool calls that run may finish before they are cancelled."""
FORCE_S: Final = 2.0
"""Seconds that a forced end waits for what it has cancelled."""
LOOK_S: Final = 15.0
"""Seconds between looks for idle sessions."""


class Team(Protocol):
    """The tasks of the node (`mcp_core.gateway.tasks`)."""

    def is_at_work(self, session_id: SessionId) -> bool:
        """Whether somebody works on what was given in a session."""
        ...

    async def close_session(self, session_id: SessionId, why: str) -> None:
        """End what was given in a session, and the task that it is itself about."""
        ...


class Lifecycle:
    """Suspends, resumes and ends the sessions of one node."""

    def __init__(
        self,
        sessions: Sessions,
        directory: Directory,
        caller: Caller,
        desk: ApprovalDesk,
        questions: OpenQuestions,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._caller = caller
        self._desk = desk
        self._questions = questions
        self._clock = clock
        self.team: Team | None = None
        """Ends what was given in a session that closes; None where there are no tasks."""
        self._locks: dict[SessionId, asyncio.Lock] = {}
        self._work: set[asyncio.Task[None]] = set()

    def lock(self, session_id: SessionId) -> asyncio.Lock:
        """Held while the agents of a session come or go."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    async def suspend(self, session_id: SessionId, by: PrincipalId, reason: str) -> None:
        """Let nothing begin any more, wait for what runs, then stop the turn and let all actors leave memory.

        A tool call that runs is finished, not cancelled: what a tool has half done helps nobody. After `QUIET_S`
        it is cancelled all the same. Words that the model has said so far are kept. Tasks that were given in it are cancelled. Calls that wait for a
        person's answer to a right have not begun; they are told no. What tools ask is cancelled. Harmless when repeated.

        Raises:
            WrongState: It is ending or has ended.
        """
        event = SessionSuspended(timestamp=self._clock.now(), by=by, reason=reason)
        await self._step(session_id, event, {"suspended"})
        await self._end_tasks(session_id, "its session was suspended")
        await self._quiet(session_id, by, "the session was suspended")
        async with self.lock(session_id):
            if self._sessions.get(session_id).status != "suspended":
                return  # somebody resumed it meanwhile
            for agent in self._directory.listed(session_id):
                await self._directory.rest(agent.id)
            await self._sessions.rest(session_id)

    async def resume(self, session_id: SessionId, by: PrincipalId) -> bool:
        """Let things begin again; harmless for an active session. One that could not be read is read again.

        Returns:
            Whether a person has said something that nobody has answered, or a turn is open.

        Raises:
            WrongState: It is ending or has ended.
        """
        async with self.lock(session_id):
            state = await self._sessions.state(session_id)
            event = SessionResumed(timestamp=self._clock.now(), by=by)
            await self._step(session_id, event, {"active", "initializing"})
            self._directory.attend(session_id)
        return state.unanswered or state.turn is not None

    async def end(self, session_id: SessionId, by: PrincipalId, reason: str, cleanup: Cleanup) -> None:
        """End a session with its agents and their rights, and the tasks given in it; harmless when repeated.

        Args:
            session_id: Which.
            by: Who wants it.
            reason: Kept with its end.
            cleanup: `graceful` lets tool calls that run finish, within `QUIET_S`; `immediate` cancels them and
                waits until their ends are in the journal; `force` ends the session first and waits `FORCE_S`.
        """
        if self._sessions.get(session_id).status == "terminated":
            return
        event = SessionEnding(timestamp=self._clock.now(), by=by, reason=reason, cleanup=cleanup)
        await self._step(session_id, event, {"terminating", "terminated"})
        if cleanup == "force":
            await self._sessions.end(session_id, reason)
            work = asyncio.get_running_loop().create_task(self._stop_all(session_id, by, reason))
            self._work.add(work)
            work.add_done_callback(self._worked)
            await asyncio.wait({work}, timeout=FORCE_S)
            return
        await self._end_tasks(session_id, "its session is ending")
        if cleanup == "graceful":
            await self._quiet(session_id, by, "the session is ending")
        async with self.lock(session_id):
            # What runs comes to its end first, so that the journal has it before the session's.
            await self._stop_all(session_id, by, reason)
            await self._sessions.end(session_id, reason)
            await self._stop_all(session_id, by, reason)  # who joined meanwhile
        self._locks.pop(session_id, None)

    async def watch(self) -> None:
        """Finish the ends that an earlier process began, then suspend what is idle; until cancelled."""
        for session in self._sessions.ending():
            await tried(self.end(session.id, SYSTEM, "the node stopped while it was ending", "immediate"))
        for agent in self._directory.listed():  # of a forced end
            if agent.session_id is not None and self._sessions.is_over(agent.session_id):
                await tried(self._directory.stop(agent.id, "its session has ended"))
        while True:
            for session in self._sessions.idle(self._clock.now()):
                await tried(self._suspend_idle(session))
            await self._clock.sleep(LOOK_S)

    async def close(self) -> None:
        """Wait for nothing any more; what is left is finished at the next start."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _suspend_idle(self, session: Session) -> None:
        state = await self._sessions.state(session.id)
        if not (state.wanted or (self.team is not None and self.team.is_at_work(session.id))):
            await self.suspend(session.id, SYSTEM, f"idle for {session.limits.idle_timeout_s:g} s")

    async def _step(
        self, session_id: SessionId, event: SessionEvent, there: Collection[SessionStatus]
    ) -> None:
        """Journal a step, unless the session is where it leads to, already or by somebody else in this moment."""
        if self._sessions.get(session_id).status not in there:
            try:
                await self._sessions.add(session_id, event)
            except WrongState:
                if self._sessions.get(session_id).status not in there:
                    raise

    async def _end_tasks(self, session_id: SessionId, why: str) -> None:
        if self.team is not None:
            await self.team.close_session(session_id, why)

    async def _stop_all(self, session_id: SessionId, by: PrincipalId, reason: str) -> None:
        await self._caller.end_calls(session_id, by)
        for agent in self._directory.listed(session_id):
            await self._directory.stop(agent.id, reason)
        if self._sessions.is_over(session_id):
            await self._sessions.rest(session_id)

    async def _quiet(self, session_id: SessionId, by: PrincipalId, why: str) -> None:
        """Let the tool calls of a session come to their end, those that wait for a person without having begun."""
        for question in self._desk.pending(session_id):
            self._desk.answer(question.id, Answer(allow=False, reason=why), SYSTEM)
        await self._questions.withdraw(session_id=session_id)
        await self._caller.end_calls(session_id, by, QUIET_S)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a session could not be cleaned up: %r", task.exception())


async def tried(work: Awaitable[None]) -> None:
    """Do one of several things, so that its failure is no obstacle to the others."""
    try:
        await work
    except UmbrellaError as error:
        log.warning("a session could not be settled: %s", error)
