"""`umbrella key …`: API keys, by which programs come in."""

import click

from mcp_cli import entering
from mcp_cli.arguments import duration
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.access import CreateKey, ListKeys, RevokeKey
from mcp_interface.client import Client
from mcp_interface.commands import Page, Wish
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PrincipalId, is_id


@click.group()
def command() -> None:
    """Make, list and revoke API keys."""


@command.command(
    "create",
    short_help="Make a key; it is shown once.",
    epilog="""\b
Examples:
  umbrella key create laptop --grant 'mcp://tool/execute/git/**' --expires 30d
  umbrella key create ci --for user_…""",
)
@click.argument("name")
@click.option(
    "--grant", "grants", multiple=True, metavar="URI", help="A right of yours that its principal gets."
)
@click.option("--for", "principal", metavar="PRINCIPAL", help="Act as this one; otherwise as a new one.")
@click.option("--expires", metavar="TIME", help="For example 12h or 30d; otherwise it has no end.")
@click.pass_context
def create(
    ctx: click.Context, name: str, grants: tuple[str, ...], principal: str | None, expires: str | None
) -> None:
    """Make a key for a principal that holds nothing but what is granted here."""

    async def work(client: Client) -> Outcome:
        if principal is not None and not is_id("user", principal):
            raise CallerMistaken(f"{principal!r} is no principal that a key can have", "give a user_… id")
        order = CreateKey(
            name=name,
            principal_id=None if principal is None else PrincipalId(principal),
            grants=[Wish(resource_uri=uri) for uri in grants],
            expires_in_s=None if expires is None else duration(expires),
        )
        made = await client.request(order)
        return Outcome(value=made, shown=entering.new_key(made))

    run(ctx, work)


@command.command("list", short_help="The keys that work.")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the keys that work, without their secrets."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListKeys()))
        return Outcome(value=page, shown=entering.keys(page, clock.now()))

    run(ctx, work)


@command.command("revoke", short_help="Make a key useless at once.")
@click.argument("key")
@click.pass_context
def revoke(ctx: click.Context, key: str) -> None:
    """Make a key useless at once; give its id or name. Its principal keeps what it holds."""

    async def work(client: Client) -> Outcome:
        gone = await client.request(RevokeKey(key=key))
        shown = Prose(
            f"revoked {printable(gone.name)}; see what is left: umbrella caps list {gone.principal_id}", "ok"
        )
        return Outcome(value=gone, shown=shown)

    run(ctx, work)
