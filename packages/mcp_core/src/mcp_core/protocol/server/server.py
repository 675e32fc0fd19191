"""Our MCP server: the SDK's low-level server with our handlers, both eras, for any transport. Imported late.

The translation is pure: every handler finds the `Portal` of whoever asks, asks the node through it, and puts the answer
into MCP's form. What somebody may see or do is decided by the node alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final, TypeVar

from mcp.server import Server
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp_types import (
    CallToolRequestParams,
    CompleteRequestParams,
    GetPromptRequestParams,
    NotificationParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.server import offered, skills, task_news, tasks, wire
from mcp_core.protocol.server.backchannel import push_changes, set_level, subscribe, unsubscribe
from mcp_core.protocol.server.calls import ToolCalls
from mcp_core.protocol.server.portal import Portal
from mcp_core.protocol.server.seal import Seal
from mcp_interface.errors import UmbrellaError

P = TypeVar("P")
Context = ServerRequestContext[Any, Any]
Gate = Callable[[Context], Portal]
"""Finds the portal of whoever sent a request."""
Handler = Callable[[Context, P, Portal], Awaitable[Any]]

NAME: Final = "umbrella"
LIST_FRESH: Final = CacheHint(ttl_ms=5_000, scope="private")
"""Lists differ from principal to principal; changes are told to whoever listens."""
NOT_KEPT: Final = CacheHint(ttl_ms=0, scope="private")
DISCOVERY: Final = CacheHint(ttl_ms=60_000, scope="private")
IN_HAND: ContextVar[Portal | None] = ContextVar("portal", default=None)
"""Whose request is looked at before a handler has it: the SDK checks headers against schemas then."""


class McpServer(Server[Any]):
    """The SDK's server, which always says that its lists may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK's, with changes announced unless said otherwise."""
        every = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or every, experimental_capabilities, extensions
        )


def make_server(gate: Gate, seal: Seal, instructions: str = "") -> McpServer:
    """Make a server.

    Args:
        gate: Finds the portal of a request.
        seal: For what clients of the stateless era carry.
        instructions: What clients are told about it.
    """
    server = McpServer(
        NAME,
        version=version("mcp-umbrella-core"),
        title="Umbrella",
        instructions=instructions or None,
        get_tool_input_schema=_schema,
        cache_hints={
            "tools/list": LIST_FRESH,
            "prompts/list": LIST_FRESH,
            "resources/list": LIST_FRESH,
            "resources/templates/list": LIST_FRESH,
            "resources/read": NOT_KEPT,
            "server/discover": DISCOVERY,
        },
    )
    calls, prompts = ToolCalls(seal), offered.Prompts(seal)

    def serve(method: str, params: type[Any], handler: Handler[Any]) -> None:
        server.add_request_handler(method, params, _through(gate, handler))

    serve("tools/list", PaginatedRequestParams, offered.list_tools)
    serve("tools/call", CallToolRequestParams, calls.call)
    serve("resources/list", PaginatedRequestParams, offered.list_resources)
    serve("resources/templates/list", PaginatedRequestParams, offered.list_templates)
    serve("resources/read", ReadResourceRequestParams, offered.read_resource)
    serve("resources/subscribe", SubscribeRequestParams, subscribe)
    serve("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
    serve("subscriptions/listen", SubscriptionsListenRequestParams, task_news.listen)
    serve("prompts/list", PaginatedRequestParams, offered.list_prompts)
    serve("prompts/get", GetPromptRequestParams, prompts.get)
    serve("completion/complete", CompleteRequestParams, offered.complete)
    for extension in (tasks, skills):
        server.extensions[extension.IDENTIFIER] = extension.SETTINGS
        for method, params, handler in extension.METHODS:
            serve(method, params, handler)
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)

    async def begun(ctx: Context, _: NotificationParams) -> None:
        push_changes(ctx, gate(ctx))

    server.add_notification_handler("notifications/initialized", NotificationParams, begun)
    return server


def _through(gate: Gate, handler: Handler[Any]) -> Callable[[Context, Any], Awaitable[Any]]:
    """Hand a handler its portal, and translate what the node answers."""

    async def handle(ctx: Context, params: Any) -> Any:
        portal = gate(ctx)
        portal.busy += 1
        try:
            result = await handler(ctx, params, portal)
        except UmbrellaError as error:
            raise wire.refused(error) from error
        finally:
            portal.busy -= 1
        if isinstance(result, dict) and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return {"resultType": "complete", **result}
        return result

    return handle


def _schema(name: str) -> Mapping[str, Any] | None:
    portal = IN_HAND.get()
    return None if portal is None else portal.catalogue.schema(name)
