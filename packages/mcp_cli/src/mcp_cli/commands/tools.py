"""`umbrella tools …`: tools that are not what they were, and the word of a person that they may be used again.

A tool's definition is pinned when it is first allowed. When its server says something else later, its calls are
refused until somebody has looked at what changed.
"""

import sys

import click

from mcp_cli import presenters, rights, terminal
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Prose
from mcp_interface.client import Client
from mcp_interface.commands import AcceptTool, ListToolChanges, ListTools, Page, ToolChange
from mcp_interface.errors import CallerMistaken, NotFound


@click.group()
def command() -> None:
    """List and find tools, and look at those that changed since they were first allowed."""


@command.command("list", short_help="Tools of one server, or of all.")
@click.argument("server", required=False)
@click.pass_context
def list_(ctx: click.Context, server: str | None) -> None:
    """List the tools of one server, or of all that are connected."""

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListTools(server=server)))
        return Outcome(value=page, shown=presenters.tools(page))

    run(ctx, work)


@command.command(short_help="Tools by what they do, the best match first.")
@click.argument("words", nargs=-1, required=True)
@click.option("--server", help="Only of this one.")
@click.pass_context
def find(ctx: click.Context, words: tuple[str, ...], server: str | None) -> None:
    """Search names, descriptions and schemas of the tools that are connected."""

    async def work(client: Client) -> Outcome:
        page = await client.request(ListTools(server=server, query=" ".join(words), limit=20))
        return Outcome(value=page, shown=presenters.tools(page))

    run(ctx, work)


@command.command(short_help="What changed since it was first allowed.")
@click.argument("name", required=False, metavar="[SERVER[/TOOL]]")
@click.pass_context
def changed(ctx: click.Context, name: str | None) -> None:
    """Show which tools changed since their definition was pinned, and how; their calls are refused."""

    async def work(client: Client) -> Outcome:
        found = await collect(client, ListToolChanges())
        page = Page(items=[change for change in found if _is_meant(change, name)])
        return Outcome(value=page, shown=rights.tool_changes(page))

    run(ctx, work)


@command.command(short_help="Say that a changed tool may be used.")
@click.argument("name", metavar="SERVER/TOOL")
@click.option(
    "--fingerprint",
    metavar="HEX",
    help="Of the definition that was looked at, from `umbrella tools changed`; without it you are asked.",
)
@click.pass_context
def accept(ctx: click.Context, name: str, fingerprint: str | None) -> None:
    """Accept a changed tool as it is now; what was approved for it before is asked again."""
    may_ask = invocation(ctx).runner is None and invocation(ctx).format == "table"

    async def work(client: Client) -> Outcome:
        server, _, tool = name.partition("/")
        if not server or not tool:
            raise CallerMistaken(f"{name!r} names no tool", "write SERVER/TOOL, for example git/git_log")
        seen = fingerprint or await _looked_at(client, name, may_ask=may_ask and at_terminal())
        if seen is None:
            left = Prose(f"{name} stays as it is: its calls are refused", "warn")
            return Outcome(value={"accepted": False}, shown=left, code=FAILED)
        accepted = await client.request(AcceptTool(server=server, tool=tool, fingerprint=seen))
        return Outcome(value=accepted, shown=rights.accepted(accepted))

    run(ctx, work, timeout=None)


def at_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


async def _looked_at(client: Client, name: str, *, may_ask: bool) -> str | None:
    """Show the change to the person at the terminal; the fingerprint of what they accepted, None for a no."""
    change = next((one for one in await collect(client, ListToolChanges()) if _is_meant(one, name)), None)
    if change is None or change.now is None:
        raise NotFound(f"{name} has not changed", "see: umbrella tools changed")
    if not may_ask:
        raise CallerMistaken(
            "nobody can be asked here whether the change was looked at",
            f"look: umbrella tools changed {name}; it names the fingerprint to give",
        )
    terminal.say(change.diff)
    # nothing else has to go on meanwhile, so that waiting here for the person holds nothing up
    return change.fingerprint if click.confirm(f"Use {name} as it is now?", err=True) else None


def _is_meant(change: ToolChange, name: str | None) -> bool:
    return name is None or name in {change.server, f"{change.server}/{change.tool}"}
