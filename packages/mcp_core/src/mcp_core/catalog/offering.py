"""The catalog as a server among others: what it offers to whoever reads, in the words of the reading commands."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from mcp_core.catalog.prompts import Prompts
from mcp_core.catalog.publishing import Publishing, meta_of
from mcp_core.catalog.resources import Resources
from mcp_core.catalog.skills import Skills
from mcp_core.catalog.watches import Watches
from mcp_interface.cataloging import ListItems, ListStoredPrompts, RenderPrompt
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import (
    CATALOG,
    SKILL_SCHEME,
    Contents,
    PromptInfo,
    PromptResult,
    ResourceInfo,
    ResourceTemplate,
    Suggestions,
)
from mcp_interface.reading import Complete

MOST: Final = 100
"""Suggestions at once."""


class Catalog:
    """The server `catalog`; it judges by itself who may read what.

    Args:
        resources: The resources of the node.
        prompts: Its prompts.
        skills: Skills that are folders; what they are made of is read as resources.
        watches: Who wants to be told of changes.
        publishing: Says whose things come first.
    """

    def __init__(
        self,
        resources: Resources,
        prompts: Prompts,
        skills: Skills,
        watches: Watches,
        publishing: Publishing,
    ) -> None:
        self._publishing = publishing
        self._resources = resources
        self._prompts = prompts
        self._skills = skills
        self._watches = watches

    async def resources(self, who: PrincipalId) -> Sequence[ResourceInfo]:
        """What somebody may read, each URI once: as `read` finds it.

        The files of skills come first; then what is their own, what the owner of the node has, and what others have.
        """
        skills = await self._skills.listed(who)
        taken = {info.uri for info in skills}
        found = await self._resources.listed(who, ListItems())
        return skills + [
            ResourceInfo(
                server=CATALOG,
                uri=item.uri,
                name=item.name,
                description=item.description,
                mime_type=item.mime_type,
                size=item.size,
                meta=meta_of(who, item.owner_id),
            )
            for item in sorted(found, key=lambda item: (self._publishing.rank(who, item.owner_id), item.uri))
            if item.uri not in taken and self._resources.get(who, item.uri).owner_id == item.owner_id
        ]

    async def templates(self, who: PrincipalId) -> Sequence[ResourceTemplate]:
        """None: every resource of the catalog is listed."""
        return []

    async def prompts(self, who: PrincipalId) -> Sequence[PromptInfo]:
        """What somebody may read, each name once: as `prompt` finds it, and in the order of the resources."""
        found = {prompt.name for prompt in await self._prompts.listed(who, ListStoredPrompts())}
        read = [await self._prompts.get(who, name) for name in sorted(found)]
        read.sort(key=lambda prompt: (self._publishing.rank(who, prompt.owner_id), prompt.name))
        return [
            PromptInfo(
                server=CATALOG,
                name=prompt.name,
                title=prompt.title,
                description=prompt.description,
                arguments=prompt.arguments,
                meta=meta_of(who, prompt.owner_id),
            )
            for prompt in read
        ]

    async def read(self, who: PrincipalId, uri: str) -> list[Contents]:
        """As `Resources.read`, or a file of a skill."""
        if uri.startswith(SKILL_SCHEME):
            with suppress(NotFound):
                return [await self._skills.read(who, uri)]
        return [await self._resources.read(who, uri)]

    async def watch(self, who: PrincipalId, uri: str) -> None:
        """Have changes of a resource told.

        Raises:
            NotFound: There is none, or none for them.
            TooMuch: They watch too many.
        """
        self._resources.get(who, uri)
        self._watches.watch(who, uri)

    async def unwatch(self, who: PrincipalId, uri: str) -> None:
        """No longer have changes told; harmless when repeated."""
        self._watches.unwatch(who, uri)

    async def prompt(self, who: PrincipalId, name: str, arguments: Mapping[str, str]) -> PromptResult:
        """As `Prompts.render`."""
        return await self._prompts.render(who, RenderPrompt(name=name, arguments=dict(arguments)))

    async def complete(self, who: PrincipalId, command: Complete) -> Suggestions:
        """For URIs of resources those that begin so; nothing for values of prompts, which can be any text.

        Raises:
            NotFound: There is no such prompt, or none for them.
            CallerMistaken: It has no such argument.
        """
        if command.kind == "prompt":
            prompt = await self._prompts.get(who, command.name)
            if command.argument not in {argument.name for argument in prompt.arguments}:
                raise CallerMistaken(
                    f"prompt {prompt.name!r} has no argument {command.argument[:100]!r}", "see its arguments"
                )
            return Suggestions()
        found = await self._resources.listed(who, ListItems())
        uris = sorted({item.uri for item in found if item.uri.startswith(command.value)})
        return Suggestions(values=uris[:MOST], total=len(uris), has_more=len(uris) > MOST)
