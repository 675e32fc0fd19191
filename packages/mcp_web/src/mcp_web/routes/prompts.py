"""/api/prompts: templates with every version of them, and what they say with values in place."""

from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from mcp_interface.catalog import Prompt, Visibility
from mcp_interface.cataloging import (
    ChangePrompt,
    CountPrompts,
    CreatePrompt,
    DeletePrompt,
    GetStoredPrompt,
    ListPromptVersions,
    ListStoredPrompts,
    PromptName,
    RenderPrompt,
    RevertPrompt,
    Tags,
)
from mcp_interface.commands import Page
from mcp_interface.offers import PromptArgument
from mcp_web.auth import CallerDependency
from mcp_web.routes.resources import Count, TagList, Words, listed
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

Template = Annotated[str, Meta(min_length=1, max_length=200_000)]
Arguments = Annotated[list[PromptArgument], Meta(max_length=100)]


class NewPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template with `{{name}}` placeholders."""

    name: PromptName
    template: Template
    title: str = ""
    description: str = ""
    arguments: Arguments = []
    tags: Tags = []
    visibility: Visibility = "private"


class PromptChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the new version has otherwise; what is left out stays."""

    template: Template | None = None
    title: str | None = None
    description: str | None = None
    arguments: Arguments | None = None
    tags: Tags | None = None
    visibility: Visibility | None = None
    expected_version: int | None = None
    """Refused (409) if it is another one by now."""


class Values(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands for the arguments; further ones are ignored."""

    arguments: dict[str, str] = {}
    version: Annotated[int, Meta(ge=1)] | None = None
    """Without it the newest."""


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with its values in place."""

    prompt_name: str
    rendered: str
    arguments: dict[str, str]


class Back(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version is to be the newest again."""

    version: Annotated[int, Meta(ge=1)]


@get("/prompts", responses=PROBLEMS, summary="List prompts, latest change first")
async def list_prompts(
    caller: CallerDependency,
    words: Words = "",
    tags: TagList = "",
    mine: FromQuery[bool] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Prompt]:
    """Yours and what others have made public, without templates."""
    return await caller.ask(
        ListStoredPrompts(query=words, tags=listed(tags), mine=mine, limit=limit, cursor=cursor)
    )


@post("/prompts", responses=PROBLEMS, summary="Add a prompt")
async def create_prompt(caller: CallerDependency, data: JSONBody[NewPrompt]) -> Prompt:
    """It is yours; its name must be new among what you have (409)."""
    return await caller.ask(CreatePrompt(**msgspec.structs.asdict(data)))


@get("/prompts/search/{words:str}", responses=PROBLEMS, summary="Search prompts, most used first")
async def search_prompts(
    caller: CallerDependency, words: FromPath[str], limit: Limit = 100, cursor: Cursor = None
) -> Page[Prompt]:
    """All words must occur in name, title, description or tags."""
    return await caller.ask(ListStoredPrompts(query=words, limit=limit, cursor=cursor))


@get("/prompts/stats/count", responses=PROBLEMS, summary="Count prompts")
async def count_prompts(
    caller: CallerDependency, words: Words = "", tags: TagList = "", mine: FromQuery[bool] = False
) -> Count:
    """How many `GET /prompts` would give."""
    return Count(count=await caller.ask(CountPrompts(query=words, tags=listed(tags), mine=mine)))


@get("/prompts/{name:str}", responses=PROBLEMS, summary="Show a prompt with its template")
async def get_prompt(
    caller: CallerDependency, name: FromPath[str], version: FromQuery[int | None] = None
) -> Prompt:
    """The newest version, or another one."""
    return await caller.ask(GetStoredPrompt(name=name, version=version))


@put("/prompts/{name:str}", responses=PROBLEMS, summary="Make a new version of a prompt")
async def change_prompt(
    caller: CallerDependency, name: FromPath[str], data: JSONBody[PromptChange]
) -> Prompt:
    """One of yours; every version stays."""
    return await caller.ask(ChangePrompt(name=name, **msgspec.structs.asdict(data)))


@delete("/prompts/{name:str}", responses=PROBLEMS, summary="Delete a prompt, with all its versions")
async def delete_prompt(caller: CallerDependency, name: FromPath[str]) -> None:
    """One of yours."""
    await caller.ask(DeletePrompt(name=name))


@get(
    "/prompts/{name:str}/versions", responses=PROBLEMS, summary="List the versions of a prompt, newest first"
)
async def list_prompt_versions(
    caller: CallerDependency, name: FromPath[str], limit: Limit = 50, cursor: Cursor = None
) -> Page[Prompt]:
    """Of another person's prompt those that are public."""
    return await caller.ask(ListPromptVersions(name=name, limit=limit, cursor=cursor))


@post("/prompts/{name:str}/render", status_code=200, responses=PROBLEMS, summary="Put values in place")
async def render_prompt(caller: CallerDependency, name: FromPath[str], data: JSONBody[Values]) -> Rendered:
    """In one pass; a missing required value is an error that names it."""
    command = RenderPrompt(name=name, arguments=data.arguments, version=data.version)
    found = await caller.ask(command)
    text = "\n\n".join(str(message.content.get("text", "")) for message in found.messages)
    return Rendered(prompt_name=name, rendered=text, arguments=data.arguments)


@post("/prompts/{name:str}/revert", responses=PROBLEMS, summary="Go back to an earlier version")
async def revert_prompt(caller: CallerDependency, name: FromPath[str], data: JSONBody[Back]) -> Prompt:
    """It becomes a new version; who may read it stays as it is."""
    return await caller.ask(RevertPrompt(name=name, version=data.version))


ROUTES = [
    list_prompts,
    create_prompt,
    search_prompts,
    count_prompts,
    get_prompt,
    change_prompt,
    delete_prompt,
    list_prompt_versions,
    render_prompt,
    revert_prompt,
]
