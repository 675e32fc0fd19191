"""What the handshake era has beside requests and answers: a client that can be asked, a log level, pushed changes."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, event_to_notification
from mcp_types import (
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitResult,
    EmptyResult,
    ListRootsRequest,
    ListRootsResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from mcp_core.protocol.server import wire
from mcp_core.protocol.server.portal import Portal
from mcp_interface.errors import CallerMistaken, UmbrellaError
from mcp_interface.execution import AnswerQuestion
from mcp_interface.question import Inquiry, Question, Response

log = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_LEVEL: Final = "umbrella.level"
_SUBSCRIBED: Final = "umbrella.subscribed"
QUEUE: Final = 256
"""Changes that wait for a client that reads slowly; then the latest are dropped, for a list is read anew anyway."""


async def ask_client(ctx: Context, portal: Portal, question: Question) -> None:
    """Put one question to the client and its answer to the node; a client that fails has not answered."""
    try:
        response = await _response(ctx, question.inquiry, question.id)
    except (MCPError, ValidationError) as error:
        log.info("a client could not answer %s: %s", question.id, error)
        response = Response(action="cancel")
    try:
        await portal.line.ask(AnswerQuestion(question_id=question.id, response=response))
    except CallerMistaken as error:
        log.info("a client's answer to %s does not fit: %s", question.id, error)
        with suppress(UmbrellaError):
            await portal.line.ask(AnswerQuestion(question_id=question.id, response=Response(action="cancel")))
    except UmbrellaError as error:
        log.info("the answer to %s was not taken: %s", question.id, error)


async def _response(ctx: Context, inquiry: Inquiry, elicitation_id: str) -> Response:
    request = wire.inquiry(inquiry, elicitation_id)
    # on the stream of the request that it belongs to, not on the standalone one
    where = ServerMessageMetadata(related_request_id=ctx.request_id)
    session = ctx.session
    result: BaseModel
    match inquiry.kind:
        case "form" | "url":
            result = await session.send_request(
                ElicitRequest.model_validate(request), ElicitResult, metadata=where
            )
        case "sampling":
            wanted: Any = CreateMessageResultWithTools if "tools" in inquiry.params else CreateMessageResult
            result = await session.send_request(
                CreateMessageRequest.model_validate(request), wanted, metadata=where
            )
        case "roots":
            result = await session.send_request(
                ListRootsRequest.model_validate(request), ListRootsResult, metadata=where
            )
    return wire.response(inquiry, result.model_dump(mode="json", by_alias=True, exclude_none=True))


# -- the log level of a connection -------------------------------------------------------------------------


def lowest_level(ctx: Context) -> frozenset[Any]:
    """The levels that a connection of the handshake era wants; in the stateless era each request says so."""
    wanted = connection_of(ctx).state.get(_LEVEL, LEVELS[0])
    return frozenset(LEVELS[LEVELS.index(wanted) :])


async def set_level(ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
    """logging/setLevel."""
    connection_of(ctx).state[_LEVEL] = params.level
    return EmptyResult()


# -- changes that are pushed -------------------------------------------------------------------------------


async def subscribe(ctx: Context, params: SubscribeRequestParams, portal: Portal) -> EmptyResult:
    """resources/subscribe, for as long as the connection lives."""
    connection = connection_of(ctx)
    uris: set[str] = connection.state.setdefault(_SUBSCRIBED, set())
    if params.uri not in uris:
        await portal.changes.watch(params.uri)
        uris.add(params.uri)
    return EmptyResult()


async def unsubscribe(ctx: Context, params: UnsubscribeRequestParams, portal: Portal) -> EmptyResult:
    """resources/unsubscribe."""
    uris: set[str] = connection_of(ctx).state.get(_SUBSCRIBED, set())
    if params.uri in uris:
        uris.discard(params.uri)
        await portal.changes.unwatch(params.uri)
    return EmptyResult()


def push_changes(ctx: Context, portal: Portal) -> None:
    """Tell a connection of the handshake era what changes, until it ends."""
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return
    connection = connection_of(ctx)
    waiting: asyncio.Queue[ServerEvent] = asyncio.Queue(QUEUE)

    def hear(event: ServerEvent) -> None:
        subscribed = connection.state.get(_SUBSCRIBED, ())
        if isinstance(event, ResourceUpdated) and event.uri not in subscribed:
            return
        if not waiting.full():
            waiting.put_nowait(event)

    async def push() -> None:
        while True:
            note = event_to_notification(await waiting.get(), {})
            data = note.model_dump(by_alias=True, mode="json", exclude_none=True)
            await connection.outbound.notify(data["method"], data.get("params"))

    leave = portal.changes.subscribe(hear)
    task = asyncio.get_running_loop().create_task(push(), name="mcp: push changes")

    async def end() -> None:
        leave()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for uri in connection.state.pop(_SUBSCRIBED, ()):
            await portal.changes.unwatch(uri)

    connection.exit_stack.push_async_callback(end)


def connection_of(ctx: Context) -> Connection:
    """The connection of a request; its scratch state and its end are meant for handlers, the way to them is not public."""
    return ctx.session._connection
