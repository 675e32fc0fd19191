"""`umbrella resource …`: texts, files, pages and uploads of the catalog, and what connected servers offer to read."""

import sys
from pathlib import Path
from typing import Any, Final, cast, get_args

import click

from mcp_cli import cataloging
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.sheet import Prose
from mcp_interface.catalog import Item, ResourceKind, Visibility
from mcp_interface.cataloging import ChangeItem, CountItems, CreateItem, DeleteItem, GetItem, ListItems
from mcp_interface.client import Client
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import CATALOG, Contents
from mcp_interface.reading import ListResources, ReadResource

READ_S: Final = 60.0
KINDS: Final = get_args(ResourceKind)


@click.group()
def command() -> None:
    """Keep texts, files, pages and uploads; read what servers offer."""


@command.command(
    "add",
    short_help="Add a resource.",
    epilog="""\b
Examples:
  umbrella resource add Shopping --text 'milk, bread'
  umbrella resource add Notes --file ~/notes.md     read there whenever it is asked for
  umbrella resource add News --url https://example.org/news
  umbrella resource add Plan --upload plan.pdf      kept as it is now
  git log | umbrella resource add Log --text -""",
)
@click.argument("name")
@click.option("--text", help="What it holds; - reads standard input.")
@click.option(
    "--file", "file", metavar="PATH", help="A file that is read when it is asked for, by your right."
)
@click.option("--url", help="A page that is fetched when it is asked for, by your right.")
@click.option("--upload", metavar="PATH", help="A file whose bytes are kept, at most 5 MB.")
@click.option("--uri", help="How it is called; without it one is made.")
@click.option("--description", default="")
@click.option("--type", "mime_type", default="", metavar="MIME", help="For example text/markdown.")
@click.option("--tag", "tags", multiple=True, help="May be given several times.")
@click.option("--public", is_flag=True, help="Everybody who can come in may read it.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    text: str | None,
    file: str | None,
    url: str | None,
    upload: str | None,
    uri: str | None,
    description: str,
    mime_type: str,
    tags: tuple[str, ...],
    public: bool,
) -> None:
    """Add a resource to yours."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        made = await client.request(
            CreateItem(
                name=name,
                uri=None if uri is None else cataloging.item_uri(uri),
                description=description,
                mime_type=mime_type,
                tags=list(tags),
                visibility="public" if public else "private",
                **_made_of(ctx, text, file, url, upload),
            )
        )
        return Outcome(value=made, shown=cataloging.item(made, clock.now()))

    run(ctx, work)


@command.command("list", short_help="Resources, latest change first.")
@click.option("--server", metavar="NAME", help="What a connected server offers instead.")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--tag", "tags", multiple=True, help="Only those with it; may be given several times.")
@click.option("--mine", is_flag=True, help="Without what others have made public.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(
    ctx: click.Context,
    server: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    mine: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """List resources of the catalog, or of a connected server."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        if server is not None:
            offered = await client.request(ListResources(server=server, limit=limit, cursor=cursor))
            return Outcome(value=offered, shown=cataloging.offered_resources(offered))
        command = ListItems(
            kind=cast("ResourceKind | None", kind), tags=list(tags), mine=mine, limit=limit, cursor=cursor
        )
        page = await client.request(command)
        return Outcome(value=page, shown=cataloging.items(page, clock.now()))

    run(ctx, work)


@command.command(short_help="Search for words.")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def search(ctx: click.Context, words: tuple[str, ...], limit: int, cursor: str | None) -> None:
    """Search; all words must occur in URI, name, description, tags or text."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(ListItems(query=" ".join(words), limit=limit, cursor=cursor))
        return Outcome(value=page, shown=cataloging.items(page, clock.now()))

    run(ctx, work)


@command.command(short_help="How many there are.")
@click.argument("words", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--tag", "tags", multiple=True)
@click.option("--mine", is_flag=True, help="Without what others have made public.")
@click.pass_context
def count(
    ctx: click.Context, words: tuple[str, ...], kind: str | None, tags: tuple[str, ...], mine: bool
) -> None:
    """Count resources; with words, those that a search finds."""

    async def work(client: Client) -> Outcome:
        command = CountItems(
            query=" ".join(words), kind=cast("ResourceKind | None", kind), tags=list(tags), mine=mine
        )
        found = await client.request(command)
        return Outcome(value={"count": found}, shown=Prose(str(found)))

    run(ctx, work)


@command.command(short_help="What a resource holds.")
@click.argument("uri")
@click.option("--server", metavar="NAME", help="Of a connected server.")
@click.option("--facts", "only_facts", is_flag=True, help="What is known of it instead.")
@click.option("--output", metavar="FILE", help="Write what it holds to a new file, bytes as they are.")
@click.pass_context
def show(ctx: click.Context, uri: str, server: str | None, only_facts: bool, output: str | None) -> None:
    """Show what a resource holds, or what is known of it."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        if only_facts:
            if server is not None:
                raise CallerMistaken(
                    "--facts is about the catalog", "list the server's: resource list --server"
                )
            found = await client.request(GetItem(uri=cataloging.item_uri(uri)))
            return Outcome(value=found, shown=cataloging.item(found, clock.now()))
        parts = await client.request(ReadResource(server=server or CATALOG, uri=uri), timeout=READ_S)
        if output is not None:
            written = _write(Path(output), parts)
            told = Prose(f"{cataloging.size(written)} written to {output}", "ok")
            return Outcome(value={"file": output, "size": written}, shown=told)
        return Outcome(value=parts, shown=cataloging.holding(parts))

    run(ctx, work)


@command.command(short_help="Change a resource.")
@click.argument("uri")
@click.option("--name")
@click.option("--text", help="What it holds; - reads standard input.")
@click.option("--file", "file", metavar="PATH", help="Where it is read.")
@click.option("--url", help="Where it is fetched.")
@click.option("--upload", metavar="PATH", help="A file whose bytes are kept.")
@click.option("--description")
@click.option("--type", "mime_type", metavar="MIME")
@click.option("--tag", "tags", multiple=True, help="In place of all tags; '' for none.")
@click.option("--public/--private", default=None, help="Who may read it.")
@click.pass_context
def edit(
    ctx: click.Context,
    uri: str,
    name: str | None,
    text: str | None,
    file: str | None,
    url: str | None,
    upload: str | None,
    description: str | None,
    mime_type: str | None,
    tags: tuple[str, ...],
    public: bool | None,
) -> None:
    """Change one of your resources; a text without any option is opened in your editor."""
    clock = invocation(ctx).clock
    may_edit = invocation(ctx).runner is None
    given = (name, text, file, url, upload, description, mime_type, public)

    async def work(client: Client) -> Outcome:
        content: dict[str, Any] = {}
        if all(each is None for each in given) and not tags:
            content = {"text": await _edited(client, uri, may_edit=may_edit)}
        elif (text, file, url, upload) != (None, None, None, None):
            content = _made_of(ctx, text, file, url, upload)
            content.pop("kind")
        changed = await client.request(
            ChangeItem(
                uri=cataloging.item_uri(uri),
                name=name,
                description=description,
                mime_type=mime_type,
                tags=[tag for tag in tags if tag] if tags else None,
                visibility=visibility(public),
                **content,
            )
        )
        return Outcome(value=changed, shown=cataloging.item(changed, clock.now()))

    run(ctx, work, timeout=None)


@command.command(short_help="Delete a resource.")
@click.argument("uri")
@click.pass_context
def delete(ctx: click.Context, uri: str) -> None:
    """Delete one of your resources."""

    async def work(client: Client) -> Outcome:
        await client.request(DeleteItem(uri=cataloging.item_uri(uri)))
        return Outcome(value={"deleted": uri}, shown=Prose(f"{uri} is deleted", "ok"))

    run(ctx, work)


def visibility(public: bool | None) -> Visibility | None:
    """What a flag with two sides says; None for neither."""
    return None if public is None else "public" if public else "private"


def typed(ctx: click.Context, text: str) -> str:
    """A text that was given, or standard input for `-`.

    Raises:
        CallerMistaken: What comes in is no text, or standard input is somebody else's.
    """
    if text != "-":
        return text
    if invocation(ctx).runner is not None:
        raise CallerMistaken("there is no standard input to read here", "write the text itself")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise CallerMistaken("standard input is not text in UTF-8", "give a file with --upload") from error


def _made_of(
    ctx: click.Context, text: str | None, file: str | None, url: str | None, upload: str | None
) -> dict[str, Any]:
    """Kind and content of what exactly one option says."""
    if sum(each is not None for each in (text, file, url, upload)) != 1:
        raise CallerMistaken("a resource is made of one thing", "give one of --text, --file, --url, --upload")
    if text is not None:
        return {"kind": "text", "text": typed(ctx, text)}
    if file is not None:
        return {"kind": "file", "source": str(Path(file).expanduser().absolute())}
    if url is not None:
        return {"kind": "url", "source": url}
    return {"kind": "upload", "blob": read_file(Path(upload or ""))}


def read_file(path: Path) -> bytes:
    """Read a file of whoever types.

    Raises:
        CallerMistaken: It cannot be read.
    """
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise CallerMistaken(f"{path} cannot be read: {error.strerror}", "check the path") from error


def _write(path: Path, parts: list[Contents]) -> int:
    body = b"".join(part.blob or b"" if part.text is None else part.text.encode() for part in parts)
    try:
        with path.expanduser().open("xb") as file:
            return file.write(body)
    except OSError as error:
        raise CallerMistaken(
            f"{path} cannot be written: {error.strerror}", "name a file that does not exist yet"
        ) from error


async def _edited(client: Client, uri: str, *, may_edit: bool) -> str:
    """The text of a resource as the person at the terminal leaves it."""
    found: Item = await client.request(GetItem(uri=cataloging.item_uri(uri)))
    if found.kind != "text" or not may_edit or not sys.stdin.isatty():
        raise CallerMistaken("there is nothing to change", "see: umbrella resource edit --help")
    parts = await client.request(ReadResource(server=CATALOG, uri=uri), timeout=READ_S)
    # nothing else has to go on meanwhile, so that waiting here for the person holds nothing up
    text = click.edit(parts[0].text or "", extension=".md")
    if text is None:
        raise CallerMistaken("the text was not saved in the editor", "it stays as it is")
    return text
