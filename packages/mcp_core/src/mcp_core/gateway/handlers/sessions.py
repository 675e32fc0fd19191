"""Commands about sessions and what is asked in them."""

import asyncio
import logging

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Begin, Cancel
from mcp_core.agents.tool_executor import Caller
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.guard import BY_PROFILE
from mcp_core.gateway.handlers.paging import page_of, position_of
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Approval, ApprovalDesk
from mcp_interface.capability import SecurityKernel
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import (
    AnswerApproval,
    CancelTurn,
    ChangeSession,
    CreateSession,
    EndSession,
    GetSession,
    ListApprovals,
    ListSessions,
    Page,
    Posted,
    PostMessage,
    ReadSession,
)
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, LostRace, NotFound, StorageUnavailable, UmbrellaError
from mcp_interface.events import UserMessage
from mcp_interface.ids import SYSTEM, AgentId, MessageId, PrincipalId, SessionId, new_id
from mcp_interface.session import Session
from mcp_interface.store import Record

log = logging.getLogger(__name__)

WAKE_AGAIN_S = 1.0
"""Seconds until an assistant is woken again that the journal did not let begin."""


class SessionCommands:
    """Handlers over the sessions of a node."""

    def __init__(
        self,
        sessions: Sessions,
        directory: Directory,
        router: Router,
        caller: Caller,
        kernel: SecurityKernel,
        desk: ApprovalDesk,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._router = router
        self._caller = caller
        self._kernel = kernel
        self._desk = desk
        self._hiring: dict[SessionId, asyncio.Lock] = {}
        self._ending: set[SessionId] = set()
        self._waking: set[asyncio.Task[None]] = set()
        self._journal = journal
        self._clock = clock
        self._entropy = entropy

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            CreateSession: self.create,
            ListSessions: self.listed,
            GetSession: self.get,
            ReadSession: self.read,
            EndSession: self.end,
            ChangeSession: self.change,
            PostMessage: self.post,
            CancelTurn: self.cancel,
            ListApprovals: self.approvals,
            AnswerApproval: self.answer,
        }

    async def create(self, who: PrincipalId, command: CreateSession) -> Session:
        """Begin a session together with its assistant."""
        if "kind" in command.metadata:
            raise CallerMistaken("metadata.kind is the node's own word", "use another key")
        session = await self._sessions.create(
            who, command.title, command.profile, command.model, command.metadata
        )
        await self._assistant(session)
        return self._sessions.get(session.id)

    async def listed(self, who: PrincipalId, command: ListSessions) -> Page[Session]:
        """The caller's sessions."""
        return page_of(self._sessions.listed(who, command.ended), command.limit, command.cursor)

    async def get(self, who: PrincipalId, command: GetSession) -> Session:
        """One session of the caller."""
        return self._sessions.get(command.session_id, who)

    async def read(self, who: PrincipalId, command: ReadSession) -> Page[Record]:
        """A session's events."""
        self._sessions.get(command.session_id, who)
        after = position_of(command.cursor)
        records = await self._journal.read(stream_of(command.session_id), after=after, limit=command.limit)
        more = len(records) == command.limit
        return Page(items=records, cursor=str(records[-1].version) if more else None)

    async def end(self, who: PrincipalId, command: EndSession) -> None:
        """End the session's agents and their rights, then the session."""
        session = self._sessions.get(command.session_id, who)
        self._ending.add(session.id)
        try:
            async with self._hiring.setdefault(session.id, asyncio.Lock()):
                # What runs comes to its end first, so that the journal has it before the session's.
                await self._caller.end_calls(session.id, who)
                for agent in self._directory.listed(session.id):
                    await self._directory.stop(agent.id, command.reason)
                await self._sessions.end(session.id, command.reason)
                for agent in self._directory.listed(session.id):  # who joined meanwhile
                    await self._directory.stop(agent.id, command.reason)
            self._hiring.pop(session.id, None)
        finally:
            self._ending.discard(session.id)

    async def change(self, who: PrincipalId, command: ChangeSession) -> Session:
        """Change settings."""
        before = self._sessions.get(command.session_id, who)
        after = await self._sessions.change(before.id, who, command.profile, command.model, command.title)
        if after.profile != before.profile:
            await self._take_back(after)
        return after

    async def post(self, who: PrincipalId, command: PostMessage) -> Posted:
        """Keep what was said, then wake the assistant."""
        session = self._sessions.get(command.session_id, who)
        if session.id in self._ending:
            raise LostRace(f"{session.id} is being ended", "begin a new session")
        record = await self._sessions.post(session.id, who, command.text)
        self.wake(session)
        message_id = record.event.message_id if isinstance(record.event, UserMessage) else MessageId("")
        return Posted(session_id=session.id, message_id=message_id, position=record.position)

    def wake(self, session: Session) -> None:
        """Tell the assistant of a session that somebody waits for it, now or when it is back on its feet."""
        task = asyncio.get_running_loop().create_task(self._wake(session))
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _wake(self, session: Session) -> None:
        while True:
            try:
                assistant = await self._assistant(session)
                await self._router.ask(self._envelope(session.created_by, assistant, session.id, Begin()))
            except StorageUnavailable:
                await self._clock.sleep(
                    WAKE_AGAIN_S
                )  # what was said is kept, and somebody waits for an answer
            except UmbrellaError as error:
                log.error("the assistant of %s could not be woken: %s", session.id, error)
                return
            else:
                return

    async def close(self) -> None:
        """Wake nobody any more; what was said is taken up at the next start."""
        for task in self._waking:
            task.cancel()
        await asyncio.gather(*self._waking, return_exceptions=True)

    async def _take_back(self, session: Session) -> None:
        """Revoke what the session's earlier profile gave to its agents."""
        for agent in self._directory.listed(session.id):
            for capability in self._kernel.held_by(PrincipalId(agent.id)):
                if str(capability.metadata.get("by", "")).startswith(BY_PROFILE):
                    await self._kernel.revoke(capability.id, SYSTEM, f"the profile is now {session.profile}")

    async def cancel(self, who: PrincipalId, command: CancelTurn) -> bool:
        """Stop the assistant's turn."""
        session = self._sessions.get(command.session_id, who)
        for agent in self._directory.listed(session.id):
            if agent.type == "llm":
                envelope = self._envelope(who, agent.id, session.id, Cancel())
                return bool(await self._router.ask(envelope))
        return False

    async def approvals(self, who: PrincipalId, command: ListApprovals) -> Page[Approval]:
        """Open questions in the caller's sessions."""
        if command.session_id is not None:
            self._sessions.get(command.session_id, who)
        mine = [item for item in self._desk.pending(command.session_id) if self._owns(who, item.session_id)]
        return page_of(mine, command.limit, command.cursor)

    async def answer(self, who: PrincipalId, command: AnswerApproval) -> None:
        """Answer a question in one of the caller's sessions."""
        for item in self._desk.pending():
            if item.id == command.approval_id and self._owns(who, item.session_id):
                self._desk.answer(command.approval_id, command.answer, who)
                return
        raise NotFound(f"no open question {command.approval_id!r}", "it may have been answered, or timed out")

    def _owns(self, who: PrincipalId, session_id: SessionId) -> bool:
        return self._sessions.get(session_id).created_by == who

    async def _assistant(self, session: Session) -> AgentId:
        async with self._hiring.setdefault(session.id, asyncio.Lock()):
            for agent in self._directory.listed(session.id):
                if agent.type == "llm":
                    return agent.id
            most = session.limits.max_agents
            record: AgentRecord = await self._directory.spawn("llm", session_id=session.id, most=most)
            await self._sessions.join(session.id, record.id)
            return record.id

    def _envelope(self, who: PrincipalId, to: AgentId, session_id: SessionId, payload: object) -> Envelope:
        return Envelope(
            id=MessageId(new_id("msg", self._entropy)),
            to=f"mcp://agent/{to}",
            sender=who,
            payload=payload,
            timestamp=self._clock.now(),
            session_id=session_id,
        )
