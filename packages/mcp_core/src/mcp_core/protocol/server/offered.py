"""Lists, resources, prompts and completions: what is read rather than called."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.server import wire
from mcp_core.protocol.server.portal import Portal
from mcp_core.protocol.server.seal import Seal, Waiting
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError
from mcp_interface.question import Inquiry, Response
from mcp_interface.reading import Complete, GetPrompt, ReadResource

T = TypeVar("T")
Context = ServerRequestContext[Any, Any]

PAGE: Final = 200
"""Items on one page of a list."""
_NOT_FOUND_BEFORE: Final = -32002
"""What the handshake era answers for a resource that does not exist (2025-11-25, server/resources)."""


def page_of(items: Sequence[tuple[str, T]], cursor: str | None) -> tuple[list[tuple[str, T]], str | None]:
    """The items behind a cursor, which names the last one of the page before; nothing is skipped or shown twice.

    Raises:
        MCPError: The cursor is not one of ours.
    """
    behind = None if cursor is None else _name_in(cursor)
    rest = [item for item in items if behind is None or item[0] > behind]
    page = rest[:PAGE]
    more = base64.urlsafe_b64encode(page[-1][0].encode()).decode() if len(rest) > PAGE else None
    return page, more


def _name_in(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise MCPError(INVALID_PARAMS, "the cursor is not one of this server's") from error


def _cursor(params: PaginatedRequestParams | None) -> str | None:
    return None if params is None else params.cursor


async def list_tools(ctx: Context, params: PaginatedRequestParams | None, portal: Portal) -> dict[str, Any]:
    """tools/list."""
    page, more = page_of((await portal.catalogue.tools()).items(), _cursor(params))
    modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    return _listed("tools", [wire.tool(name, info, modern=modern) for name, info in page], more)


async def list_resources(
    ctx: Context, params: PaginatedRequestParams | None, portal: Portal
) -> dict[str, Any]:
    """resources/list."""
    page, more = page_of(await portal.catalogue.resources(), _cursor(params))
    return _listed("resources", [wire.resource(info, uri) for uri, info in page], more)


async def list_templates(
    ctx: Context, params: PaginatedRequestParams | None, portal: Portal
) -> dict[str, Any]:
    """resources/templates/list."""
    keyed = [(f"{each.uri_template} {each.server}", each) for each in await portal.catalogue.templates()]
    page, more = page_of(sorted(keyed, key=lambda pair: pair[0]), _cursor(params))
    return _listed("resourceTemplates", [wire.template(each) for _, each in page], more)


async def list_prompts(ctx: Context, params: PaginatedRequestParams | None, portal: Portal) -> dict[str, Any]:
    """prompts/list."""
    page, more = page_of((await portal.catalogue.prompts()).items(), _cursor(params))
    return _listed("prompts", [wire.prompt(name, info) for name, info in page], more)


def _listed(kind: str, items: list[dict[str, Any]], more: str | None) -> dict[str, Any]:
    return {kind: items} if more is None else {kind: items, "nextCursor": more}


async def read_resource(ctx: Context, params: ReadResourceRequestParams, portal: Portal) -> dict[str, Any]:
    """resources/read: from the server that lists it, has a template for it, or knows it unlisted."""
    refused: UmbrellaError | None = None
    for server, uri in await portal.catalogue.places(params.uri):
        try:
            parts = await portal.line.look(ReadResource(server=server, uri=uri), timeout=300.0)
        except (NotFound, CallerMistaken) as error:
            refused = error
        else:
            return {"contents": [wire.contents(part) for part in parts]}
    modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    code = INVALID_PARAMS if modern else _NOT_FOUND_BEFORE
    why = "Resource not found" if refused is None or isinstance(refused, NotFound) else refused.message
    raise MCPError(code, why, {"uri": params.uri})


async def complete(ctx: Context, params: CompleteRequestParams, portal: Portal) -> dict[str, Any]:
    """completion/complete."""
    known = {} if params.context is None else params.context.arguments or {}
    if isinstance(params.ref, PromptReference):
        prompt = await portal.catalogue.prompt(params.ref.name)
        asked = Complete(
            server=prompt.server,
            kind="prompt",
            name=prompt.name,
            argument=params.argument.name,
            value=params.argument.value,
            context=known,
        )
    else:
        text = params.ref.uri
        found = [each.server for each in await portal.catalogue.templates() if each.uri_template == text]
        if not found:
            raise MCPError(INVALID_PARAMS, f"Unknown template: {text[:200]}")
        asked = Complete(
            server=found[0],
            kind="template",
            name=text,
            argument=params.argument.name,
            value=params.argument.value,
            context=known,
        )
    told = await portal.line.look(asked)
    completion: dict[str, Any] = {"values": told.values[:100], "hasMore": told.has_more}
    if told.total is not None:
        completion["total"] = told.total
    return {"completion": completion}


class Prompts:
    """prompts/get, whose servers may want to know more first.

    Args:
        seal: Seals what a server wants back.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def get(self, ctx: Context, params: GetPromptRequestParams, portal: Portal) -> dict[str, Any]:
        """A prompt, or what its server wants to know.

        Raises:
            MCPError: The name or the state is none of ours.
        """
        info = await portal.catalogue.prompt(params.name)
        target = f"prompt {params.name}"
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        principal = await portal.principal()
        state = ""
        if params.request_state is not None:
            try:
                state = self._seal.open(params.request_state, principal, target).state
            except CallerMistaken as error:
                raise MCPError(INVALID_PARAMS, error.message) from error
        given = {
            key: each.model_dump(mode="json", by_alias=True, exclude_none=True)
            for key, each in (params.input_responses or {}).items()
        }
        asked = GetPrompt(
            server=info.server,
            name=info.name,
            arguments=params.arguments or {},
            answers=wire.answerable(ctx.session.client_capabilities) if modern else [],
            responses={key: _answer(each) for key, each in given.items()},
            state=state,
        )
        result = await portal.line.look(asked, timeout=300.0)
        if not result.inquiries:
            return wire.prompt_result(result)
        sealed = self._seal.close(Waiting(principal_id=principal, target=target, state=result.state))
        return {
            "resultType": "input_required",
            "inputRequests": {each.key: wire.inquiry(each) for each in result.inquiries},
            "requestState": sealed,
        }


def _answer(result: dict[str, Any]) -> Response:
    """An answer whose question only the prompt's server remembers."""
    kind = Inquiry(key="", kind="form" if "action" in result else "sampling")
    return wire.response(kind, result)


async def listen(
    ctx: Context, params: SubscriptionsListenRequestParams, portal: Portal
) -> SubscriptionsListenResult:
    """subscriptions/listen: the SDK carries the stream; what it is about is watched meanwhile."""
    watched: list[str] = []
    try:
        for uri in dict.fromkeys(params.notifications.resource_subscriptions or ()):
            try:
                await portal.changes.watch(uri)
            except UmbrellaError:  # one that cannot be watched never fires, as one that does not exist
                continue
            watched.append(uri)
        return await portal.listen(ctx, params)
    finally:
        for uri in watched:
            portal.later(portal.changes.unwatch(uri))
