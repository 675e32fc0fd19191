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
    GetSession,
    ListSessions,
    Page,
    Posted,
    PostMessage,
    ReadSession,
)
from mcp_interface.ids import SessionId
from mcp_interface.session import Profile, Session
from mcp_interface.store import Record
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class NewSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session begins with."""

    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    metadata: dict[str, Any] = {}


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
        CreateSession(title=data.title, profile=data.profile, model=data.model, metadata=data.metadata)
    )


@get("/sessions/{session_id:str}", responses=PROBLEMS, summary="Show a session")
async def get_session(caller: CallerDependency, session_id: FromPath[str]) -> Session:
    """One session of the caller."""
    return await caller.ask(GetSession(session_id=SessionId(session_id)))


@delete("/sessions/{session_id:str}", responses=PROBLEMS, summary="End a session")
async def end_session(caller: CallerDependency, session_id: FromPath[str]) -> None:
    """Ends its agents and their rights too; its events stay readable."""
    await caller.ask(EndSession(session_id=SessionId(session_id)))


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
    change_session,
    read_events,
    post_message,
    cancel_turn,
]
