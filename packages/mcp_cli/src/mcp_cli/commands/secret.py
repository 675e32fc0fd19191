"""`umbrella secret …`: what servers need to know and nobody else may; kept encrypted by the node."""

import sys

import click

from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Cell, Prose, Sheet, row
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.secret import ListSecrets, PutSecret, RemoveSecret

LONGEST = 65_536


@click.group()
def command() -> None:
    """Keep secrets for MCP servers, encrypted."""


@command.command(
    "set",
    short_help="Keep or replace a secret.",
    epilog="""\b
Examples:
  umbrella secret set github/token
  pass show github | umbrella secret set github/token
  umbrella mcp add github --env 'GITHUB_TOKEN=${secret:github/token}' -- npx -y server-github""",
)
@click.argument("name")
@click.pass_context
def set_(ctx: click.Context, name: str) -> None:
    """Keep or replace a secret; its value comes from standard input, or is asked for without being shown.

    It is never taken from the command line, which other users of this machine can read.
    """
    if invocation(ctx).runner is not None:
        raise CallerMistaken(
            "a secret is not typed into the conversation", "set it at the shell: umbrella secret set NAME"
        )
    value = ask_secret(f"value of {name}")

    async def work(client: Client) -> Outcome:
        kept = await client.request(PutSecret(name=name, value=value))
        text = f"{printable(kept.name)} is kept; write ${{secret:{printable(kept.name)}}}"
        return Outcome(value=kept, shown=Prose(text, "ok"))

    run(ctx, work)


@command.command("list", short_help="Names of the secrets that are kept.")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the names of the secrets; a value is never shown again."""

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListSecrets()))
        rows = [row(Cell(printable(each.name), "strong"), Cell(each.kept_in, "dim")) for each in page.items]
        empty = "no secrets; keep one: umbrella secret set NAME"
        return Outcome(value=page, shown=Sheet(columns=("secret", "key in"), rows=rows, empty=empty))

    run(ctx, work)


@command.command("remove", short_help="Forget a secret.")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget a secret; a server that has started keeps what it was given."""

    async def work(client: Client) -> Outcome:
        await client.request(RemoveSecret(name=name))
        return Outcome(value={"removed": name}, shown=Prose(f"removed {printable(name)}", "ok"))

    run(ctx, work)


def ask_secret(what: str) -> str:
    """Read a secret from standard input, or ask for it without an echo.

    Raises:
        CallerMistaken: It is empty, too long, or not text.
    """
    if sys.stdin.isatty():
        value = str(click.prompt(what, hide_input=True, err=True, default="", show_default=False))
    else:
        try:
            value = sys.stdin.read(LONGEST + 2).removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise CallerMistaken("the secret is not text", "encode it, as in Base64") from error
    if not value:
        raise CallerMistaken("the secret is empty", "give it on standard input")
    if len(value) > LONGEST:
        raise CallerMistaken(f"the secret is longer than {LONGEST} characters", "name a file with it instead")
    return value
