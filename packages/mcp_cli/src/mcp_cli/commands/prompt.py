"""`umbrella prompt …`: templates of the catalog with every version of them, and what connected servers offer to say."""

from pathlib import Path

import click

from mcp_cli import cataloging
from mcp_cli.arguments import pairs
from mcp_cli.commands.resource import read_file, typed, visibility
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.sheet import Prose
from mcp_interface.cataloging import (
    ChangePrompt,
    CountPrompts,
    CreatePrompt,
    DeletePrompt,
    GetStoredPrompt,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.client import Client
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import PromptArgument
from mcp_interface.reading import GetPrompt, ListPrompts


@click.group()
def command() -> None:
    """Keep templates with {{name}} placeholders; render them."""


@command.command(
    "add",
    short_help="Add a prompt.",
    epilog="""\b
Examples:
  umbrella prompt add greet --template 'Say hello to {{who}}.' --argument who
  umbrella prompt add review --file review.md --argument diff --optional tone=friendly""",
)
@click.argument("name")
@click.option("--template", help="Text with {{name}} placeholders; - reads standard input.")
@click.option("--file", "file", metavar="PATH", help="Reads the template from a file, once.")
@click.option("--argument", "required", multiple=True, metavar="NAME", help="A value that must be given.")
@click.option("--optional", multiple=True, metavar="NAME[=DEFAULT]", help="A value that may be given.")
@click.option("--title", default="")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, help="May be given several times.")
@click.option("--public", is_flag=True, help="Everybody who can come in may use it.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    template: str | None,
    file: str | None,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    title: str,
    description: str,
    tags: tuple[str, ...],
    public: bool,
) -> None:
    """Add a prompt to yours."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        text = _template(ctx, template, file)
        if text is None:
            raise CallerMistaken("a prompt needs a template", "give --template TEXT or --file PATH")
        made = await client.request(
            CreatePrompt(
                name=cataloging.prompt_name(name),
                template=text,
                title=title,
                description=description,
                arguments=_arguments(required, optional),
                tags=list(tags),
                visibility="public" if public else "private",
            )
        )
        return Outcome(value=made, shown=cataloging.prompt(made, clock.now()))

    run(ctx, work)


@command.command(short_help="Make a new version of a prompt.")
@click.argument("name")
@click.option("--template", help="Text with {{name}} placeholders; - reads standard input.")
@click.option("--file", "file", metavar="PATH", help="Reads the template from a file, once.")
@click.option("--argument", "required", multiple=True, metavar="NAME", help="In place of all arguments.")
@click.option("--optional", multiple=True, metavar="NAME[=DEFAULT]", help="In place of all arguments.")
@click.option("--title")
@click.option("--description")
@click.option("--tag", "tags", multiple=True, help="In place of all tags; '' for none.")
@click.option("--public/--private", default=None, help="Who may use it.")
@click.option("--expect", type=click.IntRange(1), metavar="VERSION", help="Refuse if it is another by now.")
@click.pass_context
def edit(
    ctx: click.Context,
    name: str,
    template: str | None,
    file: str | None,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    title: str | None,
    description: str | None,
    tags: tuple[str, ...],
    public: bool | None,
    expect: int | None,
) -> None:
    """Make a new version of one of your prompts; what is not given stays."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        checked = cataloging.prompt_name(name)
        change = ChangePrompt(
            name=checked,
            template=_template(ctx, template, file),
            title=title,
            description=description,
            arguments=_arguments(required, optional) if required or optional else None,
            tags=[tag for tag in tags if tag] if tags else None,
            visibility=visibility(public),
            expected_version=expect,
        )
        if change == ChangePrompt(name=checked, expected_version=expect):
            raise CallerMistaken("there is nothing to change", "see: umbrella prompt edit --help")
        changed = await client.request(change)
        return Outcome(value=changed, shown=cataloging.prompt(changed, clock.now()))

    run(ctx, work)


@command.command("list", short_help="Prompts, latest change first.")
@click.option("--server", metavar="NAME", help="What a connected server offers instead.")
@click.option("--tag", "tags", multiple=True, help="Only those with it; may be given several times.")
@click.option("--mine", is_flag=True, help="Without what others have made public.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(
    ctx: click.Context, server: str | None, tags: tuple[str, ...], mine: bool, limit: int, cursor: str | None
) -> None:
    """List prompts of the catalog, or of a connected server."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        if server is not None:
            offered = await client.request(ListPrompts(server=server, limit=limit, cursor=cursor))
            return Outcome(value=offered, shown=cataloging.offered_prompts(offered))
        page = await client.request(ListStoredPrompts(tags=list(tags), mine=mine, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=cataloging.prompts(page, clock.now()))

    run(ctx, work)


@command.command(short_help="Search for words, most used first.")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def search(ctx: click.Context, words: tuple[str, ...], limit: int, cursor: str | None) -> None:
    """Search; all words must occur in name, title, description or tags."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(ListStoredPrompts(query=" ".join(words), limit=limit, cursor=cursor))
        return Outcome(value=page, shown=cataloging.prompts(page, clock.now()))

    run(ctx, work)


@command.command(short_help="How many there are.")
@click.argument("words", nargs=-1)
@click.option("--mine", is_flag=True, help="Without what others have made public.")
@click.pass_context
def count(ctx: click.Context, words: tuple[str, ...], mine: bool) -> None:
    """Count prompts; with words, those that a search finds."""

    async def work(client: Client) -> Outcome:
        found = await client.request(CountPrompts(query=" ".join(words), mine=mine))
        return Outcome(value={"count": found}, shown=Prose(str(found)))

    run(ctx, work)


@command.command(short_help="One prompt with its template.")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Without it the newest.")
@click.pass_context
def show(ctx: click.Context, name: str, version: int | None) -> None:
    """Show a prompt with its arguments and its template."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await client.request(GetStoredPrompt(name=cataloging.prompt_name(name), version=version))
        return Outcome(value=found, shown=cataloging.prompt(found, clock.now()))

    run(ctx, work)


@command.command(short_help="A prompt with values in place.")
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE…]")
@click.option("--server", metavar="NAME", help="Of a connected server.")
@click.option("--version", type=click.IntRange(1), help="Without it the newest.")
@click.pass_context
def render(
    ctx: click.Context, name: str, values: tuple[str, ...], server: str | None, version: int | None
) -> None:
    """Put values in place and print what the prompt says."""

    async def work(client: Client) -> Outcome:
        given = pairs(values)
        if server is None:
            result = await client.request(
                RenderPrompt(name=cataloging.prompt_name(name), arguments=given, version=version)
            )
        elif version is None:
            result = await client.request(GetPrompt(server=server, name=name, arguments=given))
        else:
            raise CallerMistaken("a server's prompts have no versions", "leave out --version")
        return Outcome(value=result, shown=cataloging.said(result))

    run(ctx, work)


@command.command(short_help="Every version, newest first.")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def versions(ctx: click.Context, name: str, limit: int, cursor: str | None) -> None:
    """List every version of a prompt, newest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(
            ListPromptVersions(name=cataloging.prompt_name(name), limit=limit, cursor=cursor)
        )
        return Outcome(value=page, shown=cataloging.prompts(page, clock.now()))

    run(ctx, work)


@command.command(short_help="Go back to an earlier version.")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.pass_context
def revert(ctx: click.Context, name: str, version: int) -> None:
    """Make what an earlier version was the newest one, as a new version."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await client.request(RevertPrompt(name=cataloging.prompt_name(name), version=version))
        return Outcome(value=found, shown=cataloging.prompt(found, clock.now()))

    run(ctx, work)


@command.command(short_help="Delete a prompt.")
@click.argument("name")
@click.pass_context
def delete(ctx: click.Context, name: str) -> None:
    """Delete one of your prompts, with all its versions."""

    async def work(client: Client) -> Outcome:
        await client.request(DeletePrompt(name=cataloging.prompt_name(name)))
        return Outcome(value={"deleted": name}, shown=Prose(f"{name} is deleted", "ok"))

    run(ctx, work)


def _template(ctx: click.Context, template: str | None, file: str | None) -> str | None:
    if template is not None and file is not None:
        raise CallerMistaken("--template and --file both give the template", "give one of them")
    if file is None:
        return None if template is None else typed(ctx, template)
    try:
        return read_file(Path(file)).decode()
    except UnicodeDecodeError as error:
        raise CallerMistaken(f"{file} is not text in UTF-8", "give a text file") from error


def _arguments(required: tuple[str, ...], optional: tuple[str, ...]) -> list[PromptArgument]:
    found = [PromptArgument(name=name, required=True) for name in required]
    for text in optional:
        name, mark, default = text.partition("=")
        found.append(PromptArgument(name=name, default=default if mark else None))
    return found
