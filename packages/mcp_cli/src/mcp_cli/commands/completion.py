"""`umbrella completion SHELL`: the script by which a shell completes our words, names of what the node has included.

The names come from a node that runs, within `PATIENCE_S`; without one, or when anything is wrong, there are none, and
nothing is said: somebody is typing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import click
import msgspec
from click.shell_completion import CompletionItem, get_completion_class

from mcp_cli.invocation import Invocation, Outcome, finish, invocation
from mcp_cli.naming import short
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import one_line
from mcp_interface.client import Client
from mcp_interface.commands import ListAgents, ListServers, ListSessions
from mcp_interface.conversing import ListModels

PATIENCE_S: Final = 0.5
MOST: Final = 200
VARIABLE: Final = "_UMBRELLA_COMPLETE"
KINDS: Final = {
    "session": "session",
    "resume": "session",
    "agent": "agent",
    "parent": "agent",
    "server": "server",
    "model": "model",
}
"""By the name of an argument or option: of what it is the name."""
SERVERS: Final = frozenset({"doctor", "login", "remove", "restart", "tools"})
"""Commands of `umbrella mcp` whose `name` is that of a server."""
WHERE: Final = {
    "bash": 'eval "$(umbrella completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(umbrella completion zsh)"   # in ~/.zshrc, behind compinit',
    "fish": "umbrella completion fish | source   # in ~/.config/fish/config.fish",
}


@click.command(
    short_help="Print the script that completes words in your shell.",
    epilog="\b\nPut one of these where your shell starts:\n"
    + "\n".join(f"  {line}" for line in WHERE.values()),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, and the names of what a running node has."""
    root = ctx.find_root().command

    def body() -> Outcome:
        kind = get_completion_class(shell)
        if kind is None:
            raise click.UsageError(f"there is no completion for {shell}", ctx)
        script = kind(root, {}, "umbrella", VARIABLE).source()
        return Outcome(value={"shell": shell, "script": script}, shown=Prose(script.rstrip()))

    finish(ctx, body)


class NodeName(click.types.StringParamType):
    """A text that names something of the node, for completion only."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that begin so."""
        root = ctx.find_root()
        given = root.obj if isinstance(root.obj, Invocation) else invocation(ctx)
        place = root.params.get("data_dir")
        found = names(
            msgspec.structs.replace(given, data_dir=place or given.data_dir, embed=False), self.kind
        )
        return [CompletionItem(name, help=about) for name, about in found if name.startswith(incomplete)]


def dress(command: click.Command, path: tuple[str, ...] = ()) -> click.Command:
    """Have the arguments and options of a command, and of those below it, complete names of the node."""
    for param in command.params:
        kind = KINDS.get(param.name or "")
        if param.name == "name" and path[:1] == ("mcp",) and path[-1] in SERVERS:
            kind = "server"
        if kind is not None and isinstance(param.type, type(click.STRING)):
            param.type = NodeName(kind)
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            dress(each, (*path, name))
    return command


def names(given: Invocation, kind: str) -> list[tuple[str, str]]:
    """Names of one kind with a word about each; none when no node answers in time."""
    from mcp_cli.headless import connected

    async def asked() -> list[tuple[str, str]]:
        async with asyncio.timeout(PATIENCE_S), connected(given, start=False) as (client, _):
            return await LISTS[kind](client)

    try:
        return asyncio.run(asked())
    except Exception:
        return []


async def _sessions(client: Client) -> list[tuple[str, str]]:
    page = await client.request(ListSessions(limit=MOST))
    return [(short(each.id), one_line(each.title, 60)) for each in page.items]


async def _agents(client: Client) -> list[tuple[str, str]]:
    page = await client.request(ListAgents(limit=MOST))
    return [(each.name if each.name.isalnum() else short(each.id), each.type) for each in page.items]


async def _servers(client: Client) -> list[tuple[str, str]]:
    page = await client.request(ListServers(limit=MOST))
    return [(each.name, each.state) for each in page.items]


async def _models(client: Client) -> list[tuple[str, str]]:
    return [(each.name, each.provider) for each in await client.request(ListModels())]


LISTS: Final[dict[str, Callable[[Client], Awaitable[list[tuple[str, str]]]]]] = {
    "session": _sessions,
    "agent": _agents,
    "server": _servers,
    "model": _models,
}
