"""`umbrella mcp …`: the MCP servers of the node and their tools."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from mcp_cli import presenters
from mcp_cli.arguments import duration, pairs
from mcp_cli.caging import absolute, cage_of, near_files
from mcp_cli.commands import login, publish
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Prose, Sheet
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import (
    AddServer,
    DiagnoseServer,
    ListServers,
    ListTools,
    Page,
    RemoveServer,
    RestartServer,
    ShareVariables,
)
from mcp_interface.errors import CallerMistaken
from mcp_interface.secret import PutSecret
from mcp_interface.server import SERVER_NAME, ServerSpec, ServerStatus
from mcp_interface.tool import ToolInfo

if TYPE_CHECKING:
    from mcp_core import Configuration

CONNECT_S = 90.0
"""Seconds for the first connection: a server may have to be downloaded first."""
EXAMINE_S = 180.0
_LIMIT = click.IntRange(1, 10_000_000)


@click.group()
def command() -> None:
    """Add, list and remove MCP servers."""


@command.command(
    "add",
    short_help="Add or replace a server.",
    epilog="""\b
Examples:
  umbrella mcp add git -- uvx mcp-server-git
  umbrella mcp add git --allow-path ~/src:rw --allow-path ~/.local --no-network -- ~/.local/bin/mcp-server-git
  umbrella mcp add docs --url https://example.org/mcp --header 'Authorization=Bearer ${secret:docs/token}'""",
)
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ARGS…]")
@click.option("--url", help="Address of a server that speaks Streamable HTTP, or SSE with --type sse.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["stdio", "http", "sse"]),
    help="Its transport, where it is not plain.",
)
@click.option(
    "--env",
    "environment",
    multiple=True,
    metavar="KEY=VALUE",
    help="For its process; ${VAR} and ${secret:NAME} are references.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="KEY=VALUE",
    help="For its requests; ${VAR} and ${secret:NAME} are references.",
)
@click.option("--cwd", help="Folder of its process.")
@click.option(
    "--root", "roots", multiple=True, metavar="PATH", help="A folder that it is told it may work in."
)
@click.option("--timeout", metavar="DURATION", help="For one call, begun anew with its progress: 30s, 5m.")
@click.option("--lazy", is_flag=True, help="Start it when it is first needed.")
@click.option("--cage", "wanted", is_flag=True, help="In a sandbox, with nothing but the system.")
@click.option(
    "--allow-path", "paths", multiple=True, metavar="PATH[:ro|:rw]", help="In a sandbox, with this path."
)
@click.option("--network/--no-network", default=None, help="In a sandbox, with the network or without.")
@click.option("--memory", type=_LIMIT, metavar="MB", help="In a sandbox, with so much memory.")
@click.option("--processes", type=_LIMIT, metavar="N", help="In a sandbox, with so many processes.")
@click.option("--cpu-time", type=_LIMIT, metavar="S", help="In a sandbox, with so much processor time.")
@click.option("--file-size", type=_LIMIT, metavar="MB", help="In a sandbox, with files up to this size.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    words: tuple[str, ...],
    url: str | None,
    kind: Literal["stdio", "http", "sse"] | None,
    environment: tuple[str, ...],
    headers: tuple[str, ...],
    cwd: str | None,
    roots: tuple[str, ...],
    timeout: str | None,
    lazy: bool,
    wanted: bool,
    paths: tuple[str, ...],
    network: bool | None,
    memory: int | None,
    processes: int | None,
    cpu_time: int | None,
    file_size: int | None,
) -> None:
    """Add or replace a server and connect to it.

    Any option that speaks of a sandbox puts its process into one: it then has the system's programs, what these
    options allow, and nothing else of this machine.
    """

    async def work(client: Client) -> Outcome:
        if SERVER_NAME.fullmatch(name) is None:
            raise CallerMistaken(f"{name!r} cannot name a server", "use letters, digits, '-', '_' and '.'")
        cage = cage_of(paths, network, memory, processes, cpu_time, file_size, wanted)
        spec = ServerSpec(
            type=kind,
            command=_reachable(words[0]) if words else None,
            args=list(words[1:]) if cage is None else near_files(words[1:]),
            env=pairs(environment),
            cwd=cwd or (_folder(words[1:]) if cage is None else None),
            url=url,
            headers=pairs(headers),
            timeout=None if timeout is None else round(duration(timeout) * 1000),
            roots=[absolute(root) for root in roots],
            lazy=lazy,
            cage=cage,
        )
        spec.validate()
        await _lend(client, spec)
        status = await client.request(AddServer(name=name, spec=spec), timeout=CONNECT_S)
        return Outcome(value=status, shown=presenters.server(status), code=_code([status]))

    run(ctx, work)


async def _lend(client: Client, *specs: ServerSpec) -> None:
    """Give the node the variables that the servers refer to; it was started before they were set, perhaps."""
    from mcp_core import references

    wanted = {name for spec in specs for name in references(spec)}
    lent = {name: os.environ[name] for name in wanted if os.environ.get(name)}
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


@command.command("import", short_help="Add the servers of another host's configuration.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--input", "answers", multiple=True, metavar="ID=VALUE", help="Answer to an input of VS Code.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    help="What ${workspaceFolder} stands for; otherwise the folder that the file belongs to.",
)
@click.pass_context
def import_(ctx: click.Context, file: Path, answers: tuple[str, ...], workspace: Path | None) -> None:
    """Add every server of a JSON file: `mcpServers` as most hosts write it, or VS Code's `servers`.

    A secret that the file spells out goes into the node's vault, encrypted, and the server gets a reference to it.
    """
    found = _read_file(file, pairs(answers), workspace, ask=invocation(ctx).runner is None)

    async def work(client: Client) -> Outcome:
        for name, value in found.secrets.items():
            await client.request(PutSecret(name=name, value=value))
        await _lend(client, *found.servers.values())
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


def _read_file(file: Path, answers: dict[str, str], workspace: Path | None, *, ask: bool) -> "Configuration":
    from mcp_core import Place, inputs_of, read_configuration, without_secrets

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CallerMistaken(f"{file} cannot be read: {error}", "name a readable JSON file") from error
    for asked in inputs_of(text):
        if asked.id not in answers and ask and sys.stdin.isatty():
            answers[asked.id] = click.prompt(
                printable(asked.description or asked.id),
                default=asked.default or None,
                hide_input=asked.password,
                type=click.Choice(asked.options) if asked.options else str,
                err=True,
            )
    folder = file.absolute().parent
    if workspace is None:
        workspace = folder.parent if folder.name in (".vscode", ".cursor") else folder
    place = Place(workspace=absolute(str(workspace)), home=str(Path.home()))
    return without_secrets(read_configuration(text, place, answers))


@command.command(short_help="Why a server does not start.")
@click.argument("name")
@click.pass_context
def doctor(ctx: click.Context, name: str) -> None:
    """Go step by step through what it takes to start a server, and say what fails and what would help."""

    async def work(client: Client) -> Outcome:
        found = await client.request(DiagnoseServer(name=name), timeout=EXAMINE_S)
        code = 0 if all(each.ok for each in found) else FAILED
        return Outcome(value=found, shown=presenters.diagnoses(found), code=code)

    run(ctx, work)


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


@command.command("restart", short_help="Disconnect a server and connect it again.")
@click.argument("name")
@click.pass_context
def restart(ctx: click.Context, name: str) -> None:
    """Disconnect a server and connect it again; calls that run on it are interrupted."""

    async def work(client: Client) -> Outcome:
        status = await client.request(RestartServer(name=name), timeout=CONNECT_S)
        return Outcome(value=status, shown=presenters.server(status), code=_code([status]))

    run(ctx, work)


for _each in (*publish.COMMANDS, *login.COMMANDS):
    command.add_command(_each)
