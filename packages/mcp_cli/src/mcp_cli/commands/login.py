"""`umbrella mcp login`: log in to a server by OAuth; the browser leads back to this terminal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import click

from mcp_cli import presenters
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, run
from mcp_cli.naming import collect
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import ListServers
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, NotFound
from mcp_interface.secret import FinishLogin, LoginServer
from mcp_interface.server import ServerStatus

PATIENCE_S: Final = 600.0
"""Seconds that a person has at the page."""
ANSWER_S: Final = 120.0
"""For the node to hear from the authorization server."""
MAX_REQUEST: Final = 16_384
PATH: Final = "/callback"
_HERE: Final = "127.0.0.1"
_PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Umbrella</title>
<p>Umbrella has what it needs. You can close this page and go back to the terminal."""


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
    entry = (await _status(client, name)).spec
    wanted = None if entry is None or entry.auth is None else entry.auth.redirect_url
    async with _listening(wanted) as (here, came):
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


@asynccontextmanager
async def _listening(wanted: str | None) -> AsyncIterator[tuple[str, "asyncio.Future[str]"]]:
    """Wait on the loopback for the browser to come back, once.

    Args:
        wanted: Where the server's entry says that logins lead back to; None: to any free port.

    Raises:
        CallerMistaken: That is not this terminal, or somebody else listens there.
    """
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    parts = urlsplit(wanted or f"http://{_HERE}:0{PATH}")
    if parts.scheme != "http" or parts.hostname not in ("localhost", _HERE):
        raise CallerMistaken(
            f"the logins of this server lead to {wanted!r}, not to this terminal",
            "log in there, or hand over the address that it leads to with --callback",
        )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10.0):
                target = await _target(reader)
                mine = target is not None and urlsplit(target).path == (parts.path or "/")
                writer.write(_response(mine))
                await writer.drain()
            if mine and not came.done() and urlsplit(target or "").query:
                came.set_result(f"{here}?{urlsplit(target or '').query}")
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return  # somebody else knocked; the browser still comes
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, _HERE, parts.port or 0, limit=MAX_REQUEST)
    except OSError as error:
        raise CallerMistaken(
            f"port {parts.port} of this machine is taken: {error}", "end what listens there"
        ) from error
    port = server.sockets[0].getsockname()[1]
    here = wanted or f"http://{_HERE}:{port}{PATH}"
    async with server:
        yield here, came


async def _target(reader: asyncio.StreamReader) -> str | None:
    """What a browser asks for; None when it is no plain request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    words = head.partition("\r\n")[0].split(" ")
    return words[1] if len(words) == 3 and words[0] == "GET" and words[1].startswith("/") else None


def _response(mine: bool) -> bytes:
    body = (_PAGE if mine else "nothing here").encode()
    head = [
        f"HTTP/1.1 {'200 OK' if mine else '404 Not Found'}",
        "content-type: text/html; charset=utf-8",
        f"content-length: {len(body)}",
        "content-security-policy: default-src 'none'",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


COMMANDS: Final = [login]
"""For the group `umbrella mcp`."""
