"""The conversations of the fake node: session commands over a memory store, with an assistant that echoes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import (
    ChangeSession,
    Command,
    CreateSession,
    EndSession,
    ForkSession,
    GetSession,
    ListSessions,
    Page,
    Posted,
    PostMessage,
    ReadSession,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.events import (
    AssistantMessage,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionEvent,
    SessionResumed,
    SessionSuspended,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import AgentId, MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.session import ForkPoint, Session, SessionStatus, check_step, wrong_state
from mcp_interface.store import NEW_STREAM, EventStore, Record


def stream_of(session_id: SessionId) -> str:
    """Name the stream of a session."""
    return f"session:{session_id}"


def session_from(event: SessionCreated) -> Session:
    """Return the session as listed after its first event."""
    return Session(
        id=event.session_id,
        created_by=event.created_by,
        title=event.title,
        created_at=event.timestamp,
        updated_at=event.timestamp,
        profile=event.profile,
        model=event.model,
        metadata=event.metadata,
        limits=event.limits,
        forked_from=event.forked_from,
    )


_STATUS: dict[type, SessionStatus] = {
    SessionSuspended: "suspended",
    SessionResumed: "active",
    SessionEnded: "terminated",
}


def session_after(session: Session, event: SessionEvent) -> Session:
    """Return the session as listed after one more of its events."""
    changed: dict[str, Any] = {"updated_at": max(event.timestamp, session.updated_at)}
    if isinstance(event, SessionChanged):
        asked = {"profile": event.profile, "model": event.model, "title": event.title}
        changed |= {name: value for name, value in asked.items() if value is not None}
    elif type(event) in _STATUS:
        changed["status"] = _STATUS[type(event)]
    elif isinstance(event, UserMessage | AssistantMessage):
        changed["message_count"] = session.message_count + 1
    return msgspec.structs.replace(session, **changed)


class FakeSessions:
    """Answers the session commands of one person.

    Args:
        store: Where the events rest; this is its only writer.
        epoch: What the store's `claim` gave.
        owner: Whose sessions they are.
        clock: Stamps the events.
        entropy: Makes ids.
    """

    def __init__(
        self, store: EventStore, epoch: int, owner: PrincipalId, clock: Clock, entropy: Entropy
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._owner = owner
        self._clock = clock
        self._entropy = entropy
        self._assistant = AgentId(new_id("agent", entropy))
        self._sessions: dict[SessionId, Session] = {}
        self._latest: dict[SessionId, int] = {}
        """Position of each session's last event."""
        self._handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            CreateSession: self._create,
            ListSessions: self._list,
            GetSession: self._get,
            ReadSession: self._read,
            PostMessage: self._post,
            ChangeSession: self._change,
            EndSession: self._end,
            SuspendSession: self._suspend,
            ResumeSession: self._resume,
            ForkSession: self._fork,
        }

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: SessionId) -> Session:
        """Find a session.

        Raises:
            NotFound: There is none.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"no session {session_id!r}", "list the sessions")
        return session

    async def answer(self, command: Command[Any]) -> Any:
        """Do what a session command asks.

        Raises:
            NotFound: The session, or the command itself, is not known here.
            WrongState: The session has ended, or is suspended.
            CallerMistaken: A cursor or a place was made up.
        """
        if type(command) not in self._handlers:
            raise NotFound(f"this node does not answer {type(command).__name__}")
        return await self._handlers[type(command)](command)

    async def _create(self, command: CreateSession) -> Session:
        created = SessionCreated(
            timestamp=self._clock.now(),
            session_id=SessionId(new_id("session", self._entropy)),
            created_by=self._owner,
            title=command.title,
            profile=command.profile,
            model=command.model,
            metadata=command.metadata,
            limits=command.limits,
        )
        return await self._begin(created, [])

    async def _begin(self, created: SessionCreated, events: Sequence[SessionEvent]) -> Session:
        stream = stream_of(created.session_id)
        records = await self._store.append(stream, [created, *events], expected=NEW_STREAM, epoch=self._epoch)
        session = session_from(created)
        for event in events:
            session = session_after(session, event)
        self._latest[session.id] = records[-1].position
        self._sessions[session.id] = session
        return session

    async def add(self, session_id: SessionId, events: Sequence[SessionEvent]) -> None:
        """Record what begins, or goes on, in a session.

        Raises:
            NotFound: There is no such session.
            WrongState: It begins nothing any more.
        """
        await self._append(self._open(session_id, begins=True), events)

    async def _append(self, session: Session, events: Sequence[SessionEvent]) -> list[Record]:
        stream = stream_of(session.id)
        info = await self._store.stream_info(stream)
        records = await self._store.append(stream, events, expected=info.version, epoch=self._epoch)
        for event in events:
            session = session_after(session, event)
        self._sessions[session.id] = session
        self._latest[session.id] = records[-1].position
        return records

    async def _get(self, command: GetSession) -> Session:
        return self.get(command.session_id)

    async def _list(self, command: ListSessions) -> Page[Session]:
        latest = sorted(
            (
                (self._latest[session.id], session)
                for session in self._sessions.values()
                if command.ended or session.status != "terminated"
            ),
            key=lambda pair: -pair[0],
        )
        if command.cursor is not None:
            before = _number(command.cursor)
            latest = [pair for pair in latest if pair[0] < before]
        shown = latest[: command.limit]
        cursor = str(shown[-1][0]) if len(latest) > len(shown) else None
        return Page(items=[session for _, session in shown], cursor=cursor)

    async def _read(self, command: ReadSession) -> Page[Record]:
        stream = stream_of(self.get(command.session_id).id)
        after = 0 if command.cursor is None else _number(command.cursor)
        items = await self._store.read(stream, after=after, limit=command.limit)
        info = await self._store.stream_info(stream)
        more = bool(items) and items[-1].version < info.version
        return Page(items=items, cursor=str(items[-1].version) if more else None)

    async def _post(self, command: PostMessage) -> Posted:
        session = self._open(command.session_id, begins=True)
        now = self._clock.now()
        message_id = MessageId(new_id("msg", self._entropy))
        turn_id = TurnId(new_id("turn", self._entropy))
        records = await self._append(
            session,
            [
                UserMessage(timestamp=now, message_id=message_id, author=self._owner, text=command.text),
                TurnStarted(timestamp=now, turn_id=turn_id, agent_id=self._assistant),
                AssistantMessage(
                    timestamp=now,
                    message_id=MessageId(new_id("msg", self._entropy)),
                    turn_id=turn_id,
                    agent_id=self._assistant,
                    text=command.text,
                    model="echo",
                ),
                TurnEnded(timestamp=now, turn_id=turn_id, status="completed"),
            ],
        )
        return Posted(session_id=session.id, message_id=message_id, position=records[0].position)

    async def _change(self, command: ChangeSession) -> Session:
        session = self._open(command.session_id)
        changed = SessionChanged(
            timestamp=self._clock.now(),
            profile=command.profile,
            model=command.model,
            title=command.title,
            by=self._owner,
        )
        await self._append(session, [changed])
        return self.get(session.id)

    async def _end(self, command: EndSession) -> None:
        session = self.get(command.session_id)
        if session.status != "terminated":
            ended = SessionEnded(timestamp=self._clock.now(), reason=command.reason)
            await self._append(session, [ended])

    async def _suspend(self, command: SuspendSession) -> Session:
        session = self.get(command.session_id)
        if session.status != "suspended":
            check_step(session.id, session.status, "suspended")
            now = self._clock.now()
            await self._append(
                session, [SessionSuspended(timestamp=now, by=self._owner, reason=command.reason)]
            )
        return self.get(session.id)

    async def _resume(self, command: ResumeSession) -> Session:
        session = self.get(command.session_id)
        if session.status != "active":
            check_step(session.id, session.status, "active")
            await self._append(session, [SessionResumed(timestamp=self._clock.now(), by=self._owner)])
        return self.get(session.id)

    async def _fork(self, command: ForkSession) -> Session:
        parent = self.get(command.session_id)
        kept = [
            record
            for record in await self._store.read(stream_of(parent.id))
            if record.version <= (command.version or record.version)
            and record.position <= (command.position or record.position)
        ]
        reached = not kept or kept[-1].version == (command.version or kept[-1].version)
        if not kept or not reached or (command.version and command.position):
            raise CallerMistaken(f"{parent.id} has no event there", "name one place that it has")
        first = kept[0].event
        assert isinstance(first, SessionCreated), "a session begins with its creation"
        created = msgspec.structs.replace(
            first,
            timestamp=self._clock.now(),
            session_id=SessionId(new_id("session", self._entropy)),
            forked_from=ForkPoint(session_id=parent.id, version=kept[-1].version),
        )
        copied: list[Any] = [record.event for record in kept[1:] if type(record.event) not in _STATUS]
        ended = {event.turn_id for event in copied if isinstance(event, TurnEnded)}
        copied = [event for event in copied if not isinstance(event, TurnStarted) or event.turn_id in ended]
        if command.title is not None:
            copied.append(SessionChanged(timestamp=created.timestamp, title=command.title, by=self._owner))
        return await self._begin(created, copied)

    def _open(self, session_id: SessionId, *, begins: bool = False) -> Session:
        session = self.get(session_id)
        if session.status == "terminated" or (begins and session.status == "suspended"):
            raise wrong_state(session_id, session.status, "nothing can be added")
        return session


def _number(cursor: str) -> int:
    if not cursor.isdecimal():
        raise CallerMistaken(f"{cursor[:40]!r} is not a cursor", "pass a page's cursor unchanged")
    return int(cursor)
