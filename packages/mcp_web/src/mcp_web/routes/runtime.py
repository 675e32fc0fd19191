"""/api/runtime: the live tree of the node's actors, one actor's messages, what was not delivered; for the owner.

Also /api/messages, by which everybody may speak to agents of their own.
"""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from mcp_interface.commands import Page, SendMessage
from mcp_interface.observe import (
    ActorOrder,
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    LostMessage,
    ObserveRuntime,
    ResendLost,
    RuntimeStatus,
    SeenMessage,
    WatchActor,
)
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

Match = Annotated[
    str, QueryParameter(max_length=200, description="Only actors with this in their name, type or title.")
]
Name = Annotated[str, Meta(min_length=1, max_length=500)]


class NamedActor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which actor, by its name in the tree."""

    name: Name


class Watching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose messages are recorded, or not any more."""

    name: Name
    on: bool = True


class NewMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to an agent, or to all who listen to a topic."""

    to: Annotated[str, Meta(max_length=500)]
    """`mcp://agent/<id>` or `mcp://broadcast/<topic>`."""
    payload: Any = None


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """How many got it."""

    got_it: int


@get("/runtime", responses=PROBLEMS, summary="The live tree of the node's actors")
async def runtime_status(
    caller: CallerDependency,
    order: FromQuery[ActorOrder] = "mail",
    limit: Limit = 200,
    match: Match = "",
    memory: FromQuery[bool] = False,
) -> RuntimeStatus:
    """`limit` is of each supervisor; two looks give rates."""
    return await caller.ask(ObserveRuntime(order=order, limit=limit, match=match, memory=memory))


@post("/runtime/kill", status_code=204, responses=PROBLEMS, summary="End an actor's present incarnation")
async def kill_actor(caller: CallerDependency, data: JSONBody[NamedActor]) -> None:
    """Its supervisor brings it back, with its mail."""
    await caller.ask(KillActor(name=data.name))


@post("/runtime/watch", status_code=204, responses=PROBLEMS, summary="Record an actor's messages, or stop it")
async def watch_actor(caller: CallerDependency, data: JSONBody[Watching]) -> None:
    """Harmless when repeated."""
    await caller.ask(WatchActor(name=data.name, on=data.on))


@get("/runtime/seen", responses=PROBLEMS, summary="The latest messages of an actor that is watched")
async def list_seen(caller: CallerDependency, name: FromQuery[str]) -> list[SeenMessage]:
    """The last one last."""
    return await caller.ask(ListSeen(name=name))


@get("/runtime/lost", responses=PROBLEMS, summary="Messages that reached nobody, oldest first")
async def list_lost(
    caller: CallerDependency, to: FromQuery[str | None] = None, limit: Limit = 200, cursor: Cursor = None
) -> Page[LostMessage]:
    """So many are kept, the latest ones."""
    return await caller.ask(ListLost(to=to, limit=limit, cursor=cursor))


@post("/runtime/lost/{number:int}/resend", status_code=200, responses=PROBLEMS, summary="Send one again")
async def resend_lost(caller: CallerDependency, number: FromPath[int]) -> LostMessage:
    """Judged anew; when it cannot be sent it stays as it is."""
    return await caller.ask(ResendLost(number=number))


@delete("/runtime/lost/{number:int}", status_code=200, responses=PROBLEMS, summary="Drop one for good")
async def forget_lost(caller: CallerDependency, number: FromPath[int]) -> LostMessage:
    """Answers what it was."""
    return await caller.ask(ForgetLost(number=number))


@post("/messages", status_code=200, responses=PROBLEMS, summary="Tell an agent something, or a topic")
async def send_message(caller: CallerDependency, data: JSONBody[NewMessage]) -> Delivered:
    """Nobody waits for an answer."""
    return Delivered(got_it=await caller.ask(SendMessage(to=data.to, payload=data.payload)))


ROUTES = [
    runtime_status,
    kill_actor,
    watch_actor,
    list_seen,
    list_lost,
    resend_lost,
    forget_lost,
    send_message,
]
