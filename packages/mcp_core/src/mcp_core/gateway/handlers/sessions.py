"""Commands about sessions and what is asked in them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mcp_core.agents.directory import Directory
from mcp_core.agents.llm import Begin, Cancel
from mcp_core.agents.tool_executor import Caller
from mcp_core.gateway.asking import Approving
from mcp_core.gateway.forking import NODES_OWN
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.paging import Place, page_behind, page_of, place_at, position_of
from mcp_core.gateway.lifecycle import Lifecycle
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.rights import BY_PROFILE
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Approval, ApprovalDesk
from mcp_interface.capability import SecurityKernel, Verdict
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import (
    AnswerApproval,
    CancelTurn,
    ChangeSession,
    CreateSession,
    EndSession,
    ForkSession,
    GetSession,
    ListApprovals,
    ListSessions,
    Page,
    Posted,
    PostMessage,
    ReadSession,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.envelope import Envelope
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    NotPermitted,
    StorageUnavailable,
    TooMuch,
    UmbrellaError,
)
from mcp_interface.events import UserMessage
from mcp_interface.ids import SYSTEM, AgentId, MessageId, PrincipalId, SessionId, new_id
from mcp_interface.session import Session, check_open
from mcp_interface.store import Record

log = logging.getLogger(__name__)

MAX_SYSTEM = 100_000
"""Characters of what an assistant is told beside what all are told."""
MAX_OPEN = 64
"""Sessions that have not ended, of one person who is not the owner of the node."""
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
        approving: Approving,
        questions: OpenQuestions,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        sight: Sight,
        speaking: Speaking,
    ) -> None:
        self._sight = sight
        self._speaking = speaking
        self._coming: Counter[PrincipalId] = Counter()
        self._sessions = sessions
        self._directory = directory
        self._router = router
        self._kernel = kernel
        self._desk = desk
        self._approving = approving
        self._lifecycle = Lifecycle(sessions, directory, caller, desk, questions, clock)
        self._waking: set[asyncio.Task[None]] = set()
        self._journal = journal
        self._clock = clock
        self._entropy = entropy

    @property
    def lifecycle(self) -> Lifecycle:
        """How sessions come to rest and end."""
        return self._lifecycle

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            CreateSession: self.create,
            ListSessions: self.listed,
            GetSession: self.get,
            ReadSession: self.read,
            EndSession: self.end,
            SuspendSession: self.suspend,
            ResumeSession: self.resume,
            ForkSession: self.fork,
            ChangeSession: self.change,
            PostMessage: self.post,
            CancelTurn: self.cancel,
            ListApprovals: self.approvals,
            AnswerApproval: self.answer,
        }

    async def create(self, who: PrincipalId, command: CreateSession) -> Session:
        """Begin a session together with its assistant."""
        if NODES_OWN in command.metadata:
            raise CallerMistaken(f"metadata.{NODES_OWN} is the node's own word", "use another key")
        if len(command.system) > MAX_SYSTEM:
            raise CallerMistaken(
                f"system has {len(command.system)} characters", f"write at most {MAX_SYSTEM}"
            )
        with self._room(who):
            session = await self._sessions.create(
                who,
                command.title,
                command.profile,
                command.model,
                command.metadata,
                command.limits,
                command.system,
            )
        await self._assistant(session)
        return self._sessions.get(session.id)

    async def listed(self, who: PrincipalId, command: ListSessions) -> Page[Session]:
        """The caller's sessions; those about tasks are found by their tasks."""
        found = [each for each in self._sessions.listed(who, command.ended) if each.lineage is None]
        return page_behind(found, _place_of, command.limit, command.cursor, falling=True)

    async def get(self, who: PrincipalId, command: GetSession) -> Session:
        """One session of the caller."""
        return await self._sessions.find(command.session_id, who)

    async def read(self, who: PrincipalId, command: ReadSession) -> Page[Record]:
        """A session's events."""
        await self._sessions.find(command.session_id, who)
        after = position_of(command.cursor)
        records = await self._journal.read(stream_of(command.session_id), after=after, limit=command.limit)
        more = len(records) == command.limit
        return Page(items=records, cursor=str(records[-1].version) if more else None)

    async def end(self, who: PrincipalId, command: EndSession) -> None:
        """End the session's agents and their rights, then the session."""
        session = await self._sessions.find(command.session_id, who)
        await self._lifecycle.end(session.id, who, command.reason, command.cleanup)

    async def suspend(self, who: PrincipalId, command: SuspendSession) -> Session:
        """Let nothing begin in a session; answers when it is at rest."""
        session = self._sessions.get(command.session_id, who)
        await self._lifecycle.suspend(session.id, who, command.reason)
        return self._sessions.get(session.id)

    async def resume(self, who: PrincipalId, command: ResumeSession) -> Session:
        """Go on with a session; what nobody has answered is taken up."""
        session = self._sessions.get(command.session_id, who)
        unanswered = await self._lifecycle.resume(session.id, who)
        session = self._sessions.get(session.id)
        if unanswered:
            self.wake(session)
        return session

    async def fork(self, who: PrincipalId, command: ForkSession) -> Session:
        """Begin a session with the history of another one; a last word that nobody answered is answered here."""
        parent = await self._sessions.find(command.session_id, who)

        async def answered(words: Sequence[str]) -> None:
            for text in words:
                await self._speaking.require(who, parent.id, _asked(parent.id, text))

        with self._room(who):
            session = await self._sessions.fork(
                parent, who, command.version, command.position, command.title, answered
            )
        await self._assistant(session)
        if (await self._sessions.state(session.id)).unanswered:
            self.wake(session)
        return self._sessions.get(session.id)

    async def change(self, who: PrincipalId, command: ChangeSession) -> Session:
        """Change settings."""
        before = self._sessions.get(command.session_id, who)
        after = await self._sessions.change(before.id, who, command)
        if after.profile != before.profile:
            await self._take_back(after)
        return after

    async def post(self, who: PrincipalId, command: PostMessage) -> Posted:
        """Keep what was said, then wake the assistant."""
        session = self._sessions.get(command.session_id, who)
        check_open(session)  # before a right is used up
        await self._speaking.require(who, session.id, _asked(session.id, command.text))
        return await self._say(who, session, command.text)

    async def say(
        self, who: PrincipalId, session_id: SessionId, text: str, verdicts: Sequence[Verdict]
    ) -> Posted:
        """As `post`, for a tool call of theirs that was judged already: the same words are not judged twice.

        Args:
            who: Whose call it is.
            session_id: Of one of their sessions.
            text: What is said.
            verdicts: The allow of the call.

        Raises:
            NotFound: The session is somebody else's.
            NotPermitted: The call was not allowed.
        """
        session = self._sessions.get(session_id, who)
        if not any(verdict.allowed for verdict in verdicts):
            raise NotPermitted("what was not allowed says nothing", "call the tool")
        return await self._say(who, session, text)

    async def _say(self, who: PrincipalId, session: Session, text: str) -> Posted:
        record = await self._sessions.post(session.id, who, text)
        self.wake(session)
        message_id = record.event.message_id if isinstance(record.event, UserMessage) else MessageId("")
        return Posted(session_id=session.id, message_id=message_id, position=record.position)

    @contextmanager
    def _room(self, who: PrincipalId) -> Iterator[None]:
        """Within it, one more session of somebody begins.

        Raises:
            TooMuch: They have as many as others than the owner of the node may have.
        """
        if not self._sight.sees_all(who):
            theirs = self._sessions.count_of(who) + self._coming[who]
            if theirs >= MAX_OPEN:
                raise TooMuch(
                    f"{who} has {theirs} open sessions, the most that others than the node's owner have",
                    "end one: umbrella sessions end ID",
                    {"bound": "open_sessions", "most": MAX_OPEN},
                )
        self._coming[who] += 1
        try:
            yield
        finally:
            self._coming[who] -= 1
            if not self._coming[who]:
                del self._coming[who]

    def begin(self, waiting: Iterable[SessionId]) -> None:
        """Take up what an earlier process left: answers that people wait for, ends that had begun."""
        for session_id in waiting:
            self.wake(self._sessions.get(session_id))
        self._later(self._lifecycle.watch())

    def go_on(self, turns: Iterable[SessionId], connected: "asyncio.Future[Any]") -> None:
        """Go on with turns of an earlier process, once their tools can be found."""
        self._later(self._go_on(list(turns), connected))

    async def _go_on(self, turns: list[SessionId], connected: "asyncio.Future[Any]") -> None:
        await asyncio.wait([connected])
        for session_id in turns:
            self.wake(self._sessions.get(session_id))

    def wake(self, session: Session) -> None:
        """Tell the assistant of a session that somebody waits for it, now or when it is back on its feet."""
        self._later(self._wake(session))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _wake(self, session: Session) -> None:
        while self._sessions.get(session.id).status in {"initializing", "active"}:
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
        await self._lifecycle.close()

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
        mine = [
            item
            for item in self._desk.pending(command.session_id)
            if self._owns(who, item.session_id) and self._approving.is_durable(item.id)
        ]
        return page_of(mine, command.limit, command.cursor)

    async def answer(self, who: PrincipalId, command: AnswerApproval) -> None:
        """Answer a question in one of the caller's sessions; it is in the journal when this returns."""
        for item in self._desk.pending():
            if item.id == command.approval_id and self._owns(who, item.session_id):
                await self._approving.answer(command.approval_id, command.answer, who)
                return
        raise NotFound(f"no open question {command.approval_id!r}", "it may have been answered, or timed out")

    def _owns(self, who: PrincipalId, session_id: SessionId) -> bool:
        return self._sessions.get(session_id).created_by == who

    async def _assistant(self, session: Session) -> AgentId:
        async with self._lifecycle.lock(session.id):
            for agent in self._directory.listed(session.id):
                if agent.type == "llm":
                    if agent.id not in self._sessions.get(session.id).agents:  # a crash came between
                        await self._sessions.join(session.id, agent.id)
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


def _asked(session_id: SessionId, text: str) -> dict[str, Any]:
    """What is said, as the arguments of the tool that says it: limits are kept to alike."""
    return {"text": text, "conversation": session_id}


def _place_of(session: Session) -> Place:
    return place_at(session.updated_at, session.id)
