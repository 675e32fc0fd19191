"""Commands about what servers offer beside tools: resources, templates of them, prompts, completions."""

from typing import Annotated, Literal

from msgspec import Meta

from mcp_interface.commands import Command, Limit, Page
from mcp_interface.offers import (
    Contents,
    PromptInfo,
    PromptResult,
    ResourceInfo,
    ResourceTemplate,
    Suggestions,
)
from mcp_interface.question import InquiryKind, Response

Uri = Annotated[str, Meta(min_length=1, max_length=4096)]


class ListResources(Command[Page[ResourceInfo]], frozen=True, kw_only=True, tag="resource.list"):
    """What the caller may read of one server, or of all and the catalog."""

    server: str | None = None
    limit: Limit = 200
    cursor: str | None = None


class ListTemplates(Command[Page[ResourceTemplate]], frozen=True, kw_only=True, tag="resource.templates"):
    """Templates of one server, or of all."""

    server: str | None = None
    limit: Limit = 200
    cursor: str | None = None


class ReadResource(Command[list[Contents]], frozen=True, kw_only=True, tag="resource.read"):
    """What a resource holds."""

    server: str
    uri: Uri


class WatchResource(Command[None], frozen=True, kw_only=True, tag="resource.watch"):
    """Have changes of a resource told as `ResourceChanged`, until `UnwatchResource`; harmless when repeated."""

    server: str
    uri: Uri


class UnwatchResource(Command[None], frozen=True, kw_only=True, tag="resource.unwatch"):
    """No longer have changes told; harmless when repeated."""

    server: str
    uri: Uri


class ListPrompts(Command[Page[PromptInfo]], frozen=True, kw_only=True, tag="prompt.list"):
    """Prompts of one server, or of all and the catalog, that the caller may read."""

    server: str | None = None
    limit: Limit = 200
    cursor: str | None = None


class GetPrompt(Command[PromptResult], frozen=True, kw_only=True, tag="prompt.get"):
    """A prompt with values in place."""

    server: str
    name: str
    arguments: dict[str, str] = {}
    answers: list[InquiryKind] = []
    """What the caller can answer when its server wants to know more; others are refused."""
    responses: dict[str, Response] = {}
    """To the inquiries of the result before, by key."""
    state: str = ""
    """Of the result before."""


class Complete(Command[Suggestions], frozen=True, kw_only=True, tag="prompt.complete"):
    """What could stand for a value of a prompt, or of a template's variable."""

    server: str
    kind: Literal["prompt", "template"]
    name: str
    """Of the prompt; of a template, the template itself."""
    argument: str
    value: str = ""
    """As far as it is typed."""
    context: dict[str, str] = {}
    """Values that are known already."""
