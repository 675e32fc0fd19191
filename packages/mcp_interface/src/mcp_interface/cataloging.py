"""Commands about the node's own resources and prompts; see `catalog`."""

from typing import Annotated, Any

from msgspec import Meta

from mcp_interface.catalog import Item, Prompt, ResourceKind, Visibility
from mcp_interface.commands import Command, Limit, Page
from mcp_interface.offers import PromptArgument, PromptResult

ItemUri = Annotated[
    str, Meta(min_length=1, max_length=2048, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f]+$(?!\n)")
]
PromptName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$(?!\n)")]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=50)]], Meta(max_length=50)]


# -- resources -------------------------------------------------------------------------------------------


class CreateItem(Command[Item], frozen=True, kw_only=True, tag="catalog.resource.create"):
    """Add a resource to the caller's; its URI must be new among them."""

    uri: ItemUri | None = None
    """None: of a URL the URL itself, of a file its path, else `<scheme>:///<caller>/<name>`."""
    kind: ResourceKind
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    description: str = ""
    mime_type: str = ""
    text: str | None = None
    """Of kind text."""
    blob: bytes | None = None
    """Of kind upload."""
    source: str = ""
    """Of kinds file and url."""
    tags: Tags = []
    properties: dict[str, Any] = {}
    visibility: Visibility = "private"


class ChangeItem(Command[Item], frozen=True, kw_only=True, tag="catalog.resource.change"):
    """Change one of the caller's resources; None leaves it."""

    uri: ItemUri
    name: str | None = None
    description: str | None = None
    mime_type: str | None = None
    text: str | None = None
    blob: bytes | None = None
    source: str | None = None
    tags: Tags | None = None
    properties: dict[str, Any] | None = None
    visibility: Visibility | None = None


class DeleteItem(Command[None], frozen=True, kw_only=True, tag="catalog.resource.delete"):
    """Take away one of the caller's resources."""

    uri: ItemUri


class GetItem(Command[Item], frozen=True, kw_only=True, tag="catalog.resource.get"):
    """One resource that the caller may read, without what it holds (`ReadResource` reads)."""

    uri: ItemUri


class ListItems(Command[Page[Item]], frozen=True, kw_only=True, tag="catalog.resource.list"):
    """The resources that the caller may read, latest change first."""

    query: str = ""
    """Words that must all occur in URI, name, description, tags or text."""
    kind: ResourceKind | None = None
    tags: list[str] = []
    """All of them."""
    mine: bool = False
    """Only those of the caller."""
    limit: Limit = 100
    cursor: str | None = None


class CountItems(Command[int], frozen=True, kw_only=True, tag="catalog.resource.count"):
    """How many `ListItems` would give."""

    query: str = ""
    kind: ResourceKind | None = None
    tags: list[str] = []
    mine: bool = False


# -- prompts ---------------------------------------------------------------------------------------------


class CreatePrompt(Command[Prompt], frozen=True, kw_only=True, tag="catalog.prompt.create"):
    """Add a prompt to the caller's; its name must be new among them."""

    name: PromptName
    template: Annotated[str, Meta(min_length=1, max_length=200_000)]
    title: str = ""
    description: str = ""
    arguments: Annotated[list[PromptArgument], Meta(max_length=100)] = []
    tags: Tags = []
    visibility: Visibility = "private"


class ChangePrompt(Command[Prompt], frozen=True, kw_only=True, tag="catalog.prompt.change"):
    """Make a new version of one of the caller's prompts; None leaves it."""

    name: PromptName
    template: Annotated[str, Meta(min_length=1, max_length=200_000)] | None = None
    title: str | None = None
    description: str | None = None
    arguments: Annotated[list[PromptArgument], Meta(max_length=100)] | None = None
    tags: Tags | None = None
    visibility: Visibility | None = None
    expected_version: int | None = None
    """Refused as a lost race if it is another one by now."""


class RevertPrompt(Command[Prompt], frozen=True, kw_only=True, tag="catalog.prompt.revert"):
    """Make what an earlier version was the newest one."""

    name: PromptName
    version: Annotated[int, Meta(ge=1)]


class DeletePrompt(Command[None], frozen=True, kw_only=True, tag="catalog.prompt.delete"):
    """Take away one of the caller's prompts, with all its versions."""

    name: PromptName


class GetStoredPrompt(Command[Prompt], frozen=True, kw_only=True, tag="catalog.prompt.get"):
    """One prompt that the caller may read, with its template."""

    name: PromptName
    version: Annotated[int, Meta(ge=1)] | None = None
    """None is the newest."""


class RenderPrompt(Command[PromptResult], frozen=True, kw_only=True, tag="catalog.prompt.render"):
    """A prompt with its values in place, in one pass; values beyond its arguments are ignored."""

    name: PromptName
    arguments: dict[str, str] = {}
    version: Annotated[int, Meta(ge=1)] | None = None


class ListPromptVersions(Command[Page[Prompt]], frozen=True, kw_only=True, tag="catalog.prompt.versions"):
    """Every version of a prompt that the caller may read, newest first."""

    name: PromptName
    limit: Limit = 50
    cursor: str | None = None


class ListStoredPrompts(Command[Page[Prompt]], frozen=True, kw_only=True, tag="catalog.prompt.list"):
    """The prompts that the caller may read, without templates: newest first, or by use when searched."""

    query: str = ""
    """Words that must all occur in name, title, description or tags."""
    tags: list[str] = []
    mine: bool = False
    limit: Limit = 100
    cursor: str | None = None


class CountPrompts(Command[int], frozen=True, kw_only=True, tag="catalog.prompt.count"):
    """How many `ListStoredPrompts` would give."""

    query: str = ""
    tags: list[str] = []
    mine: bool = False
