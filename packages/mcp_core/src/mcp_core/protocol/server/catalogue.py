"""What one principal is offered at present, under public names: tools, resources, templates, prompts.

Lists are read from the node whenever a client lists; for calls what was read last will do for a moment, because the
node judges each call anyway.
"""

import re
from typing import Final
from urllib.parse import quote, unquote

from mcp_core.protocol.server.line import Line
from mcp_core.protocol.server.names import Names, Selection
from mcp_interface.access import ListPublications
from mcp_interface.clock import Clock
from mcp_interface.commands import ListServers, ListTools
from mcp_interface.errors import NotFound
from mcp_interface.key import Publication
from mcp_interface.offers import CATALOG, PromptInfo, ResourceInfo, ResourceTemplate
from mcp_interface.reading import ListPrompts, ListResources, ListTemplates
from mcp_interface.tool import ToolInfo

FRESH_S: Final = 2.0
"""How long a list is good for finding a name in it."""
TRIED: Final = 20
"""Servers that are asked for a resource which no list names."""
TOLD_APART: Final = "umbrella://"
"""How the URI of a resource begins whose own URI another server offers too: `umbrella://<server>/<uri>`, quoted."""


class Catalogue:
    """The lists of one principal, within one virtual server.

    Args:
        line: To the node.
        publication: Name of the virtual server; None offers everything.
        clock: Says how old a list is.
    """

    def __init__(self, line: Line, publication: str | None, clock: Clock) -> None:
        self._line = line
        self._publication = publication
        self._clock = clock
        self._published: Publication | None = None
        self._published_at = 0.0
        self._tools: Names[ToolInfo] | None = None
        self._tools_at = 0.0
        self._prompts: Names[PromptInfo] | None = None
        self._prompts_at = 0.0

    async def publication(self) -> Publication | None:
        """The virtual server as it is now; None when everything is offered.

        Raises:
            NotFound: There is none of this name for this principal.
        """
        if self._publication is None:
            return None
        if self._published is not None and self._clock.monotonic() - self._published_at <= FRESH_S:
            return self._published
        self._published = None
        for found in await self._line.every(ListPublications()):
            if found.name == self._publication:
                self._published, self._published_at = found, self._clock.monotonic()
                return found
        raise NotFound(f"no virtual server {self._publication!r}", "ask whoever runs the node")

    async def selection(self) -> Selection:
        """What of the node is offered."""
        return Selection(await self.publication())

    async def tools(self) -> Names[ToolInfo]:
        """The tools as they are now."""
        selection = await self.selection()
        found = [
            tool for tool in await self._line.every(ListTools()) if selection.tool(tool.server, tool.name)
        ]
        self._tools = Names(found, lambda tool: (tool.server, tool.name), bare=selection.bare)
        self._tools_at = self._clock.monotonic()
        return self._tools

    async def tool(self, name: str) -> ToolInfo:
        """The tool behind a public name.

        Raises:
            NotFound: There is none.
        """
        names = self._tools
        if names is None or self._clock.monotonic() - self._tools_at > FRESH_S or names.find(name) is None:
            names = await self.tools()
        found = names.find(name)
        if found is None:
            raise NotFound(f"Unknown tool: {name[:200]}")
        return found

    async def warm(self) -> None:
        """Have a list of the tools, for `schema`."""
        if self._tools is None or self._clock.monotonic() - self._tools_at > FRESH_S:
            await self.tools()

    def schema(self, name: str) -> dict[str, object] | None:
        """The arguments of a tool by the list that was read last; None when it is not in it."""
        found = None if self._tools is None else self._tools.find(name)
        return None if found is None else found.parameters

    async def prompts(self) -> Names[PromptInfo]:
        """The prompts as they are now."""
        selection = await self.selection()
        found = [
            prompt
            for prompt in await self._line.every(ListPrompts())
            if selection.prompt(prompt.server, prompt.name)
        ]
        self._prompts = Names(found, lambda prompt: (prompt.server, prompt.name), bare=selection.bare)
        self._prompts_at = self._clock.monotonic()
        return self._prompts

    async def prompt(self, name: str) -> PromptInfo:
        """The prompt behind a public name.

        Raises:
            NotFound: There is none.
        """
        names = self._prompts
        if names is None or self._clock.monotonic() - self._prompts_at > FRESH_S or names.find(name) is None:
            names = await self.prompts()
        found = names.find(name)
        if found is None:
            raise NotFound(f"Unknown prompt: {name[:200]}")
        return found

    async def resources(self) -> list[tuple[str, ResourceInfo]]:
        """Resources with their public URIs, by URI."""
        selection = await self.selection()
        found = [
            each
            for each in await self._line.every(ListResources())
            if selection.resource(each.server, each.uri)
        ]
        servers: dict[str, set[str]] = {}
        for each in found:
            servers.setdefault(each.uri, set()).add(each.server)
        shown = {
            each.uri if len(servers[each.uri]) == 1 else public_uri(each.server, each.uri): each
            for each in found
        }
        return sorted(shown.items(), key=lambda pair: pair[0])

    async def templates(self) -> list[ResourceTemplate]:
        """Templates, by their text and server."""
        selection = await self.selection()
        found = [
            each
            for each in await self._line.every(ListTemplates())
            if selection.resource(each.server, each.uri_template)
        ]
        return sorted(found, key=lambda each: (each.uri_template, each.server))

    async def places(self, uri: str) -> list[tuple[str, str]]:
        """Where a resource may be read: servers and their own URIs, the likeliest first.

        Raises:
            NotFound: It is not in this virtual server.
        """
        named = split_uri(uri)
        if named is not None:
            if not (await self.selection()).resource(*named):
                raise NotFound(f"no resource {uri[:500]!r}")
            return [named]
        places = [(info.server, info.uri) for public, info in await self.resources() if public == uri]
        if not places:
            found = [each.server for each in await self.templates() if matches(each.uri_template, uri)]
            places = [(server, uri) for server in dict.fromkeys(found)]
        if not places:  # tools hand out links to what no list names
            selection = await self.selection()
            names = [CATALOG, *(each.name for each in await self._line.every(ListServers()))]
            places = [(name, uri) for name in names if selection.resource(name, uri)][:TRIED]
        return places


def public_uri(server: str, uri: str) -> str:
    """A URI that says whose resource it is."""
    return f"{TOLD_APART}{quote(server, safe='')}/{quote(uri, safe='')}"


def split_uri(uri: str) -> tuple[str, str] | None:
    """Server and own URI of what `public_uri` made; None for any other."""
    server, slash, own = uri.removeprefix(TOLD_APART).partition("/")
    if not uri.startswith(TOLD_APART) or not slash or not server or not own:
        return None
    return unquote(server), unquote(own)


def matches(template: str, uri: str) -> bool:
    """Whether a URI may come from a template; a little too generous, for its server has the last word.

    Source: RFC 6570: `{var}` stays within a segment, the operators `+`, `#`, `/`, `?` and `&` may reach further.
    """
    pattern = ""
    for part in re.split(r"(\{[^{}]*\})", template):
        if part.startswith("{") and part.endswith("}"):
            pattern += ".*" if part[1:2] in {"+", "#", "/", "?", "&", ";", "."} else "[^/?#]*"
        else:
            pattern += re.escape(part)
    return re.fullmatch(pattern, uri) is not None
