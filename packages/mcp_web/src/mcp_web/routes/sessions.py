"""/api/sessions: conversations, their events and messages."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from mcp_interface.commands import (
    CancelTurn,
    ChangeSession,
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
from mcp_interface.ids import SessionId
from mcp_interface.session import Cleanup, Limits, Profile, Session
from mcp_interface.store import Record
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class NewSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session begins with."""

    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    metadata: dict[str, Any] = {}
    limits: Limits = Limits()


class NewFork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the history of a session is copied up to, and how the copy is called."""

    version: Annotated[int, Meta(ge=1)] | None = None
    """The last event that is carried over; without it the latest."""
    title: str | None = None


class SessionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    profile: Profile | None = None
    model: str | None = None
    title: str | None = None


class NewMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something said to the assistant."""

    text: Annotated[str, Meta(min_length=1, max_length=1_000_000)]


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was anything to stop."""

    cancelled: bool


@get("/sessions", responses=PROBLEMS, summary="List sessions, latest activity first")
async def list_sessions(
    caller: CallerDependency, limit: Limit = 50, cursor: Cursor = None, ended: FromQuery[bool] = False
) -> Page[Session]:
    """`ended=true` also lists those that are over."""
    return await caller.ask(ListSessions(limit=limit, cursor=cursor, ended=ended))


@post("/sessions", responses=PROBLEMS, summary="Begin a session")
async def create_session(caller: CallerDependency, data: JSONBody[NewSession]) -> Session:
    """The assistant of the new session holds nothing yet."""
    return await caller.ask(
        CreateSession(
            title=data.title,
            profile=data.profile,
            model=data.model,
            metadata=data.metadata,
            limits=data.limits,
        )
    )


@get("/sessions/{session_id:str}", responses=PROBLEMS, summary="Show a session")
async def get_session(caller: CallerDependency, session_id: FromPath[str]) -> Session:
    """One session of the caller."""
    return await caller.ask(GetSession(session_id=SessionId(session_id)))


@delete("/sessions/{session_id:str}", responses=PROBLEMS, summary="End a session")
async def end_session(
    caller: CallerDependency, session_id: FromPath[str], cleanup: FromQuery[Cleanup] = "immediate"
) -> None:
    """Ends its agents and their rights too; its events stay readable.

    `cleanup=graceful` lets tool calls that run finish, `immediate` cancels them, `force` does not wait for them.
    """
    await caller.ask(EndSession(session_id=SessionId(session_id), cleanup=cleanup))


@post(
    "/sessions/{session_id:str}/suspend",
    status_code=200,
    responses=PROBLEMS,
    summary="Let nothing more begin in a session",
)
async def suspend_session(caller: CallerDependency, session_id: FromPath[str]) -> Session:
    """Answers when it is at rest: tool calls that run finish first. Harmless when repeated."""
    return await caller.ask(SuspendSession(session_id=SessionId(session_id)))


@post(
    "/sessions/{session_id:str}/resume",
    status_code=200,
    responses=PROBLEMS,
    summary="Go on with a suspended session",
)
async def resume_session(caller: CallerDependency, session_id: FromPath[str]) -> Session:
    """What was said before that nobody answered is taken up now. Harmless when repeated."""
    return await caller.ask(ResumeSession(session_id=SessionId(session_id)))


@post(
    "/sessions/{session_id:str}/fork",
    responses=PROBLEMS,
    summary="Begin a session with a copy of another one's history",
)
async def fork_session(
    caller: CallerDependency, session_id: FromPath[str], data: JSONBody[NewFork]
) -> Session:
    """The other session stays as it is; rights of its agents, open questions and running calls are not copied."""
    return await caller.ask(
        ForkSession(session_id=SessionId(session_id), version=data.version, title=data.title)
    )


@patch("/sessions/{session_id:str}", responses=PROBLEMS, summary="Change a session")
async def change_session(
    caller: CallerDependency, session_id: FromPath[str], data: JSONBody[SessionChange]
) -> Session:
    """Title, model, or the profile that says what the assistant may do unasked."""
    return await caller.ask(
        ChangeSession(
            session_id=SessionId(session_id), profile=data.profile, model=data.model, title=data.title
        )
    )


@get("/sessions/{session_id:str}/events", responses=PROBLEMS, summary="Read a session's events in order")
async def read_events(
    caller: CallerDependency, session_id: FromPath[str], limit: Limit = 200, cursor: Cursor = None
) -> Page[Record]:
    """To see them as they happen, follow the session over /api/ws."""
    return await caller.ask(ReadSession(session_id=SessionId(session_id), limit=limit, cursor=cursor))


@post(
    "/sessions/{session_id:str}/messages",
    status_code=202,
    responses=PROBLEMS,
    summary="Say something to the assistant",
)
async def post_message(
    caller: CallerDependency, session_id: FromPath[str], data: JSONBody[NewMessage]
) -> Posted:
    """Accepted means durable; the answer comes as events."""
    return await caller.ask(PostMessage(session_id=SessionId(session_id), text=data.text))


@post(
    "/sessions/{session_id:str}/cancel",
    status_code=200,
    responses=PROBLEMS,
    summary="Stop what the assistant is doing",
)
async def cancel_turn(caller: CallerDependency, session_id: FromPath[str]) -> Cancelled:
    """Harmless when it is idle."""
    return Cancelled(cancelled=await caller.ask(CancelTurn(session_id=SessionId(session_id))))


ROUTES = [
    list_sessions,
    create_session,
    get_session,
    end_session,
    suspend_session,
    resume_session,
    fork_session,
    change_session,
    read_events,
    post_message,
    cancel_turn,
]
