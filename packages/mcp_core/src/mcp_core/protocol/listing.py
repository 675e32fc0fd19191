"""Lists all that a server offers, page by page and within bounds. Imports the SDK; imported late.

Lists are kept, and made anew when the server says that they have changed; the response hints of the newer era (`ttlMs`,
`cacheScope`) are not used, neither for lists nor for what is read: every reading asks the server.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND

from mcp_core.protocol.definition import MAX_DEFINITION, fits
from mcp_core.protocol.offered import Offered
from mcp_core.protocol.reach import first_reason
from mcp_core.protocol.watch import OfferKind
from mcp_core.protocol.wire import tool_info
from mcp_core.protocol.wire_offers import prompt_info, resource_info, resource_template
from mcp_interface.tool import ToolInfo

MAX_LISTED: Final = 1_000
"""Tools, resources, templates or prompts of one server; what comes behind them is left out."""
MAX_PAGES: Final = 100


class _Page(Protocol):
    next_cursor: str | None


P = TypeVar("P", bound=_Page)
T = TypeVar("T")


async def relist(client: Client, server: str, before: Offered, kinds: set[OfferKind]) -> Offered:
    """List some kinds anew and keep the others; a server that cannot list a kind has none of it.

    That resources or prompts cannot be listed is told in `trouble`, and leaves what was known: a server is of use with
    its tools alone.

    Raises:
        MCPError: The tools cannot be listed: the connection ended, or the server refused.
    """
    can = client.server_capabilities
    after = before
    if "tools" in kinds and can.tools is not None:
        tools, left_out = await _tools(client, server)
        after = msgspec.structs.replace(after, tools=tools, left_out=left_out)
    trouble: list[str] = []
    if "resources" in kinds and can.resources is not None:
        try:
            resources = await _every(lambda at: client.list_resources(cursor=at), lambda page: page.resources)
            templates = await _every(
                lambda at: client.list_resource_templates(cursor=at), lambda page: page.resource_templates
            )
            after = msgspec.structs.replace(
                after,
                resources=[resource_info(server, one) for one in resources],
                templates=[resource_template(server, one) for one in templates],
            )
        except Exception as error:
            trouble.append(f"its resources cannot be listed: {first_reason(error)}")
    if "prompts" in kinds and can.prompts is not None:
        try:
            prompts = await _every(lambda at: client.list_prompts(cursor=at), lambda page: page.prompts)
            after = msgspec.structs.replace(after, prompts=[prompt_info(server, one) for one in prompts])
        except Exception as error:
            trouble.append(f"its prompts cannot be listed: {first_reason(error)}")
    return msgspec.structs.replace(after, trouble="; ".join(trouble))


async def _tools(client: Client, server: str) -> tuple[dict[str, ToolInfo], str]:
    found: dict[str, ToolInfo] = {}
    unfit: list[str] = []
    for tool in await _every(lambda at: client.list_tools(cursor=at), lambda page: page.tools):
        info = tool_info(server, tool)
        if info is not None and fits(info):
            found[info.name] = info
        elif info is not None:
            unfit.append(info.name)
    return found, _left_out(unfit)


async def _every(ask: Callable[[str | None], Awaitable[P]], parts: Callable[[P], Sequence[T]]) -> list[T]:
    found: list[T] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            page = await ask(cursor)
        except MCPError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            break
        found.extend(parts(page))
        cursor = page.next_cursor
        if cursor is None or len(found) >= MAX_LISTED:
            break
    return found[:MAX_LISTED]


def _left_out(names: list[str]) -> str:
    if not names:
        return ""
    first = ", ".join(repr(name[:80]) for name in names[:5])
    return (
        f"{len(names)} of its tools are not offered, because their definitions have more than "
        f"{MAX_DEFINITION} bytes or are not data: {first}"
    )
