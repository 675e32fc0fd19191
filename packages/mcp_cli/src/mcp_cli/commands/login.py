"""`umbrella mcp login`: log in to a server by OAuth; the browser leads back to this terminal."""

from typing import Final

import click

from mcp_cli import presenters
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, run
from mcp_cli.naming import collect
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import ListServers
from mcp_interface.errors import DeadlineExceeded, NotFound
from mcp_interface.secret import FinishLogin, LoginServer
from mcp_interface.server import ServerStatus

PATIENCE_S: Final = 600.0
"""Seconds that a person has at the page."""
ANSWER_S: Final = 120.0
"""For the node to hear from the authorization server."""


@click.command(
    "login",
    short_help="Log in to a server that asks for it.",
    epilog="""\b
Examples:
  umbrella mcp login docs --open
  umbrella mcp login docs --callback 'http://127.0.0.1:4711/callback?code=…&state=…'""",
)
@click.argument("name")
@click.option("--open", "browse", is_flag=True, help="Open the page in this machine's browser.")
@click.option(
    "--callback",
    metavar="URL",
    help="Finish a login whose browser is elsewhere: the address that it could not open at the end.",
)
@click.pass_context
def login(ctx: click.Context, name: str, browse: bool, callback: str | None) -> None:
    """Print the page to open, wait until the browser leads back, and connect the server."""

    async def work(client: Client) -> Outcome:
        if callback is None:
            await _in_the_browser(client, name, browse)
        else:
            await client.request(FinishLogin(name=name, callback_url=callback), timeout=ANSWER_S)
        status = await _status(client, name)
        return Outcome(
            value=status, shown=presenters.server(status), code=0 if status.state == "ready" else FAILED
        )

    run(ctx, work, timeout=None)


async def _in_the_browser(client: Client, name: str, browse: bool) -> None:
    import asyncio  # late, and so is what needs it: this module is loaded for every help

    from mcp_cli.callback import listening

    entry = (await _status(client, name)).spec
    wanted = None if entry is None or entry.auth is None else entry.auth.redirect_url
    async with listening(wanted) as (here, came):
        page = await client.request(LoginServer(name=name, redirect_url=here), timeout=ANSWER_S)
        click.echo(f"open this page to log in to {printable(name)}:\n\n  {printable(page)}\n", err=True)
        if browse:
            await asyncio.to_thread(click.launch, page)
        try:
            async with asyncio.timeout(PATIENCE_S):
                back = await came
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"nobody logged in to {name!r} within {PATIENCE_S:g} s", f"again: umbrella mcp login {name}"
            ) from error
        await client.request(FinishLogin(name=name, callback_url=back), timeout=ANSWER_S)


async def _status(client: Client, name: str) -> ServerStatus:
    for status in await collect(client, ListServers()):
        if status.name == name:
            return status
    raise NotFound(f"there is no server {name!r}", "list them: umbrella mcp list")


COMMANDS: Final = [login]
"""For the group `umbrella mcp`."""
