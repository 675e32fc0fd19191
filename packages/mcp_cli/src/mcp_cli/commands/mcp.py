"""`umbrella mcp …`: the MCP servers of the node and their tools."""

import os
from pathlib import Path

import click

from mcp_cli import presenters
from mcp_cli.arguments import pairs
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Prose, Sheet
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import AddServer, ListServers, ListTools, Page, RemoveServer, ShareVariables
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import SERVER_NAME, ServerSpec, ServerStatus
from mcp_interface.tool import ToolInfo

CONNECT_S = 90.0
"""Seconds for the first connection: a server may have to be downloaded first."""


@click.group()
def command() -> None:
    """Add, list and remove MCP servers."""


@command.command(
    "add",
    short_help="Add or replace a server.",
    epilog="""\b
Examples:
  umbrella mcp add git -- uvx mcp-server-git
  umbrella mcp add docs --url https://example.org/mcp --header 'Authorization=Bearer ${DOCS_TOKEN}'""",
)
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ARGS…]")
@click.option("--url", help="Address of a server that speaks Streamable HTTP.")
@click.option(
    "--env", "environment", multiple=True, metavar="KEY=VALUE", help="For its process; ${VAR} is a reference."
)
@click.option(
    "--header", "headers", multiple=True, metavar="KEY=VALUE", help="For its requests; ${VAR} is a reference."
)
@click.option("--cwd", help="Folder of its process.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    words: tuple[str, ...],
    url: str | None,
    environment: tuple[str, ...],
    headers: tuple[str, ...],
    cwd: str | None,
) -> None:
    """Add or replace a server and connect to it."""

    async def work(client: Client) -> Outcome:
        if SERVER_NAME.fullmatch(name) is None:
            raise CallerMistaken(f"{name!r} cannot name a server", "use letters, digits, '-', '_' and '.'")
        spec = ServerSpec(
            command=_reachable(words[0]) if words else None,
            args=list(words[1:]),
            env=pairs(environment),
            cwd=cwd or _folder(words[1:]),
            url=url,
            headers=pairs(headers),
        )
        spec.validate()
        await _lend(client, spec)
        status = await client.request(AddServer(name=name, spec=spec), timeout=CONNECT_S)
        return Outcome(value=status, shown=presenters.server(status), code=_code([status]))

    run(ctx, work)


async def _lend(client: Client, *specs: ServerSpec, secrets: dict[str, str] | None = None) -> None:
    """Give the node the variables that the servers refer to; it was started before they were set, perhaps.

    Args:
        client: Speaks to the node.
        specs: The servers.
        secrets: What this terminal has no variable for.
    """
    from mcp_core import references

    wanted = {name for spec in specs for name in references(spec)}
    lent = {name: os.environ[name] for name in wanted if os.environ.get(name)}
    lent |= secrets or {}
    if lent:
        await client.request(ShareVariables(variables=lent))


def _reachable(program: str) -> str:
    """A program named by its path is found from here; the node runs elsewhere."""
    return str(Path(program).absolute()) if "/" in program and "$" not in program else program


def _folder(words: tuple[str, ...]) -> str | None:
    """Where the server has to run: here, when one of its arguments is a file or folder named from here."""
    near = [word for word in words if not word.startswith(("/", "-")) and Path(word).exists()]
    return str(Path.cwd()) if near else None


def _code(added: list[ServerStatus]) -> int:
    return FAILED if any(status.error and status.state != "ready" for status in added) else 0


@command.command("import", short_help="Add the servers of an mcpServers file.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def import_(ctx: click.Context, file: Path) -> None:
    """Add every server of a JSON file in the common `mcpServers` shape.

    The node never writes a secret to disk. One that the file spells out is handed to the node's memory, and the
    server gets a reference to it; the note says which variable to set once the node is restarted.
    """

    async def work(client: Client) -> Outcome:
        from mcp_core import read_configuration, without_secrets

        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CallerMistaken(f"{file} cannot be read: {error}", "name a readable JSON file") from error
        found, secrets = without_secrets(read_configuration(text))
        await _lend(client, *found.servers.values(), secrets=secrets)
        added = [
            await client.request(AddServer(name=name, spec=spec), timeout=CONNECT_S)
            for name, spec in found.servers.items()
        ]
        page = Page(items=added)
        sheet = presenters.servers(page)
        shown = Sheet(
            columns=sheet.columns,
            rows=sheet.rows,
            empty="the file names no servers",
            note="\n".join(found.notes),
        )
        return Outcome(value=page, shown=shown, code=_code(added))

    run(ctx, work, timeout=None)


@command.command("list", short_help="Servers and how they are doing.")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List servers and how they are doing."""

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListServers()))
        return Outcome(value=page, shown=presenters.servers(page))

    run(ctx, work)


@command.command("tools", short_help="Tools of one server, or of all.")
@click.argument("name", required=False)
@click.option("--schema", metavar="TOOL", help="Show one tool with the schema of its arguments.")
@click.pass_context
def tools(ctx: click.Context, name: str | None, schema: str | None) -> None:
    """List the tools of one server, or of all that are connected."""

    async def work(client: Client) -> Outcome:
        found = await collect(client, ListTools(server=name))
        if schema is not None:
            return _one_tool([tool for tool in found if tool.name == schema], schema)
        page = Page(items=found)
        return Outcome(value=page, shown=presenters.tools(page))

    run(ctx, work)


def _one_tool(found: list[ToolInfo], name: str) -> Outcome:
    from mcp_cli.untrusted import readable_json
    from mcp_interface.errors import NotFound

    if not found:
        raise NotFound(f"no tool is called {name!r}", "list them: umbrella mcp tools")
    text = "\n\n".join(
        f"{printable(tool.server)}.{printable(tool.name)}\n{printable(tool.description)}\n"
        f"{readable_json(tool.parameters)}"
        for tool in found
    )
    return Outcome(value=found[0] if len(found) == 1 else found, shown=Prose(text))


@command.command("remove", short_help="Disconnect and forget a server.")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Disconnect and forget a server."""

    async def work(client: Client) -> Outcome:
        await client.request(RemoveServer(name=name))
        return Outcome(value={"removed": name}, shown=Prose(f"removed {printable(name)}", "ok"))

    run(ctx, work)
