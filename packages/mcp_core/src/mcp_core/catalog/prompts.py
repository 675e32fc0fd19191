"""Prompts of the catalog: every version kept, changed by their owners, rendered by whoever may read them.

What a person may not see does not exist for them: every way to it raises the error of what is not there. Those that
are files belong to the owner of the node and are changed in their files; a stored one comes before a file of its name.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from mcp_core.catalog import rendering
from mcp_core.catalog.libraries import Libraries
from mcp_core.catalog.library import (
    add_prompt,
    change_prompt,
    delete_prompt,
    no_prompt,
    require_short,
    revert_prompt,
    version_of,
)
from mcp_core.catalog.prompt_files import PromptFiles
from mcp_core.catalog.publishing import Publishing, meta_of
from mcp_core.catalog.search import missing, plain, words_of
from mcp_core.catalog.uses import Uses
from mcp_interface.catalog import Prompt, Visibility
from mcp_interface.cataloging import (
    ChangePrompt,
    CountPrompts,
    CreatePrompt,
    ListStoredPrompts,
    RenderPrompt,
)
from mcp_interface.clock import Clock
from mcp_interface.errors import LostRace, WrongState
from mcp_interface.events import Event, PromptStored
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import PromptMessage, PromptResult

LONGEST: Final = {"title": 200, "description": 10_000}
"""Characters of the texts of a prompt, the template apart."""
_FIELDS: Final = ("template", "title", "description", "arguments", "tags", "visibility")


class Prompts:
    """The prompts of a node.

    Args:
        libraries: Who has what.
        files: Those that are files.
        uses: How often they were rendered.
        owner: Of the node, and so of the files.
        clock: Stamps.
        publishing: Judges what becomes public.
        changed: Told whenever the list is another one: whose, and whether others could read it before or can now.
    """

    def __init__(
        self,
        libraries: Libraries,
        files: PromptFiles,
        uses: Uses,
        owner: PrincipalId,
        clock: Clock,
        publishing: Publishing,
        changed: Callable[[PrincipalId, bool], None] = lambda _, __: None,
    ) -> None:
        self._publishing = publishing
        self._libraries = libraries
        self._files = files
        self._uses = uses
        self._owner = owner
        self._clock = clock
        self._changed = changed

    async def create(self, who: PrincipalId, command: CreatePrompt) -> Prompt:
        """Add a prompt to somebody's; durable when this returns.

        Raises:
            CallerMistaken: It is none, or a field breaks its rule.
            NotPermitted: They may not make it public.
            LostRace: They have one of that name, stored or as a file.
            TooMuch: They have too many.
        """
        _check(command)
        file = await self._file(who, command.name)
        if file is not None:
            raise LostRace(
                f"you have a prompt {command.name!r} already, in {file.source}",
                "change the file, or choose another name",
                {"name": command.name},
            )
        await self._publishing.require(who, command.name, command.visibility)
        now = self._clock.now()
        prompt = Prompt(
            name=command.name,
            owner_id=who,
            version=1,
            created_at=now,
            updated_at=now,
            **{field: getattr(command, field) for field in _FIELDS},
        )
        happened = await self._libraries.change(who, lambda state: add_prompt(state, prompt))
        self._uses.forget(who, command.name)
        return self._told(happened, prompt.visibility)

    async def change(self, who: PrincipalId, command: ChangePrompt) -> Prompt:
        """Make a new version of one of somebody's prompts; durable when this returns.

        Raises:
            CallerMistaken: It is no prompt any more, or a field breaks its rule.
            NotFound: They have none of that name.
            LostRace: It is at another version than was expected.
            WrongState: It is a file.
            NotPermitted: They may not have it be public.
            TooMuch: It has too many versions.
        """
        _check(command)
        await self._require_stored(who, command.name)
        given = {field: getattr(command, field) for field in _FIELDS}
        changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
        before = self._visibility(who, command.name)
        await self._publishing.require(who, command.name, command.visibility or before)
        now, expected = self._clock.now(), command.expected_version
        happened = await self._libraries.change(
            who, lambda state: change_prompt(state, command.name, changes, now, expected)
        )
        return self._told(happened, before)

    async def revert(self, who: PrincipalId, name: str, version: int) -> Prompt:
        """Make what an earlier version was the newest one, as a new version; who may read it stays as it is.

        Raises:
            NotFound: They have no such prompt or version.
            WrongState: It is a file.
            NotPermitted: It is public, and they may not have it be so.
            TooMuch: It has too many versions.
        """
        await self._require_stored(who, name)
        before = self._visibility(who, name)
        await self._publishing.require(who, name, before)
        now = self._clock.now()
        happened = await self._libraries.change(who, lambda state: revert_prompt(state, name, version, now))
        return self._told(happened, before)

    async def delete(self, who: PrincipalId, name: str) -> None:
        """Take away one of somebody's prompts, with all its versions; durable when this returns.

        Raises:
            NotFound: They have none of that name.
            WrongState: It is a file.
        """
        await self._require_stored(who, name)
        before = self._visibility(who, name)
        now = self._clock.now()
        await self._libraries.change(who, lambda state: delete_prompt(state, name, who, now))
        self._uses.forget(who, name)
        self._changed(who, before == "public")

    async def get(self, who: PrincipalId, name: str, version: int | None = None) -> Prompt:
        """A prompt that somebody may read; of those with one name their own, else that of the owner of the node, else the oldest public one.

        Raises:
            NotFound: There is none, or none for them.
        """
        return self._counted(version_of(await self._find(who, name), version))

    async def render(self, who: PrincipalId, command: RenderPrompt) -> PromptResult:
        """A prompt with its values in place, as one message of the user; counts as a use.

        Raises:
            NotFound: There is none, or none for them.
            CallerMistaken: A required value is missing.
        """
        prompt = version_of(await self._find(who, command.name), command.version)
        text = rendering.render(prompt.template, prompt.arguments, command.arguments)
        await self._uses.count(prompt.owner_id, prompt.name)
        message = PromptMessage(role="user", content={"type": "text", "text": text})
        return PromptResult(
            description=prompt.description, messages=[message], meta=meta_of(who, prompt.owner_id)
        )

    async def versions(self, who: PrincipalId, name: str) -> list[Prompt]:
        """Every version that somebody may read, newest first.

        Raises:
            NotFound: There is no such prompt, or none for them.
        """
        return [self._counted(each) for each in reversed(await self._find(who, name))]

    async def listed(self, who: PrincipalId, command: ListStoredPrompts | CountPrompts) -> list[Prompt]:
        """What somebody may read and is looking for, without templates: latest change first, or most used when searched.

        Raises:
            CallerMistaken: The query is too long.
        """
        words, tags = words_of(command.query), set(command.tags)
        found = []
        for versions in await self._readable(who):
            prompt = versions[-1]
            if (command.mine and prompt.owner_id != who) or not tags <= set(prompt.tags):
                continue
            told = plain("\n".join([prompt.name, prompt.title, prompt.description, *prompt.tags]))
            if not missing(words, told):
                found.append(self._counted(replace(prompt, template="")))
        if words:
            return sorted(found, key=lambda each: (each.uses, key(each)), reverse=True)
        return sorted(found, key=lambda each: (each.updated_at, key(each)), reverse=True)

    # -- who sees what -----------------------------------------------------------------------------------

    async def _readable(self, who: PrincipalId) -> list[Sequence[Prompt]]:
        """The versions of each prompt that somebody may read."""
        files = await self._files.current()
        stored = self._libraries.of(self._owner).prompts
        apart = [
            [prompt]
            for name, prompt in files.items()
            if name not in stored and (who == self._owner or prompt.visibility == "public")
        ]
        return [*self._libraries.prompts(who), *apart]

    async def _find(self, who: PrincipalId, name: str) -> Sequence[Prompt]:
        found = [versions for versions in await self._readable(who) if versions[-1].name == name]
        own = [versions for versions in found if versions[-1].owner_id == who]
        if not found:
            raise no_prompt(name)
        rank = self._publishing.rank
        return min(
            own or found,
            key=lambda each: (rank(who, each[0].owner_id), each[0].created_at, each[0].owner_id),
        )

    async def _file(self, who: PrincipalId, name: str) -> Prompt | None:
        """The file that is somebody's prompt of that name, unless a stored one comes before it."""
        if who != self._owner or name in self._libraries.of(who).prompts:
            return None
        return (await self._files.current()).get(name)

    async def _require_stored(self, who: PrincipalId, name: str) -> None:
        file = await self._file(who, name)
        if file is not None:
            raise WrongState(
                f"prompt {name!r} is a file", f"change it there: {file.source}", {"status": "file"}
            )

    def _visibility(self, who: PrincipalId, name: str) -> Visibility:
        """Of the newest version of one of somebody's prompts; of none there is nothing to be seen."""
        versions = self._libraries.of(who).prompts.get(name)
        return versions[-1].visibility if versions else "private"

    def _told(self, happened: Sequence[Event], before: Visibility) -> Prompt:
        prompt = next(event.prompt for event in happened if isinstance(event, PromptStored))
        self._changed(prompt.owner_id, "public" in (before, prompt.visibility))
        return self._counted(prompt)

    def _counted(self, prompt: Prompt) -> Prompt:
        return replace(prompt, uses=self._uses.of(prompt.owner_id, prompt.name))


def key(prompt: Prompt) -> str:
    """What tells prompts of one instant, or with as many uses, apart."""
    return f"{prompt.owner_id}.{prompt.name}"


def _check(command: CreatePrompt | ChangePrompt) -> None:
    for field, most in LONGEST.items():
        require_short(field, getattr(command, field) or "", most)
    require_short("template", command.template or "", 200_000)
    for argument in command.arguments or ():
        for field in ("title", "description", "default"):
            require_short(f"argument {argument.name[:50]!r}: {field}", getattr(argument, field) or "", 10_000)
