"""Commands about the node's own resources and prompts. Who asks is taken from the login; the services judge."""

from mcp_core.catalog import prompts as prompt_rules
from mcp_core.catalog import resources as resource_rules
from mcp_core.catalog.prompts import Prompts
from mcp_core.catalog.resources import Resources
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.paging import Place, page_behind, place_at
from mcp_interface.catalog import Item, Prompt
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.commands import Page
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import PromptResult


class CatalogCommands:
    """Handlers over the catalog of a node."""

    def __init__(self, resources: Resources, prompts: Prompts) -> None:
        self._resources = resources
        self._prompts = prompts

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            CreateItem: self._resources.create,
            ChangeItem: self._resources.change,
            DeleteItem: self.delete_item,
            GetItem: self.get_item,
            ListItems: self.items,
            CountItems: self.count_items,
            CreatePrompt: self._prompts.create,
            ChangePrompt: self._prompts.change,
            RevertPrompt: self.revert,
            DeletePrompt: self.delete_prompt,
            GetStoredPrompt: self.get_prompt,
            RenderPrompt: self.render,
            ListPromptVersions: self.versions,
            ListStoredPrompts: self.prompts,
            CountPrompts: self.count_prompts,
        }

    async def delete_item(self, who: PrincipalId, command: DeleteItem) -> None:
        """Take a resource away."""
        await self._resources.delete(who, command.uri)

    async def get_item(self, who: PrincipalId, command: GetItem) -> Item:
        """One resource."""
        return self._resources.get(who, command.uri)

    async def items(self, who: PrincipalId, command: ListItems) -> Page[Item]:
        """Resources, latest change first."""
        found = await self._resources.listed(who, command)
        return page_behind(found, _place_of_item, command.limit, command.cursor, falling=True)

    async def count_items(self, who: PrincipalId, command: CountItems) -> int:
        """How many there are."""
        return len(await self._resources.listed(who, command))

    async def revert(self, who: PrincipalId, command: RevertPrompt) -> Prompt:
        """Go back to an earlier version."""
        return await self._prompts.revert(who, command.name, command.version)

    async def delete_prompt(self, who: PrincipalId, command: DeletePrompt) -> None:
        """Take a prompt away."""
        await self._prompts.delete(who, command.name)

    async def get_prompt(self, who: PrincipalId, command: GetStoredPrompt) -> Prompt:
        """One prompt."""
        return await self._prompts.get(who, command.name, command.version)

    async def render(self, who: PrincipalId, command: RenderPrompt) -> PromptResult:
        """A prompt with its values in place."""
        return await self._prompts.render(who, command)

    async def versions(self, who: PrincipalId, command: ListPromptVersions) -> Page[Prompt]:
        """All versions of a prompt, newest first."""
        found = await self._prompts.versions(who, command.name)
        return page_behind(found, _place_of_version, command.limit, command.cursor, falling=True)

    async def prompts(self, who: PrincipalId, command: ListStoredPrompts) -> Page[Prompt]:
        """Prompts, latest change first; most used first when searched."""
        found = await self._prompts.listed(who, command)
        place = _place_by_use if command.query.split() else _place_of_prompt
        return page_behind(found, place, command.limit, command.cursor, falling=True)

    async def count_prompts(self, who: PrincipalId, command: CountPrompts) -> int:
        """How many there are."""
        return len(await self._prompts.listed(who, command))


def _place_of_item(item: Item) -> Place:
    return place_at(item.updated_at, resource_rules.key(item))


def _place_of_version(prompt: Prompt) -> Place:
    return prompt.version, ""


def _place_of_prompt(prompt: Prompt) -> Place:
    return place_at(prompt.updated_at, prompt_rules.key(prompt))


def _place_by_use(prompt: Prompt) -> Place:
    return prompt.uses, prompt_rules.key(prompt)
