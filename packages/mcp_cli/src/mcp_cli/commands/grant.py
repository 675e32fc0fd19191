"""`umbrella grant`: hand an agent, or the principal of a key, a right."""

import click

from mcp_cli import presenters
from mcp_cli.arguments import duration, limits
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import principal_id
from mcp_interface.client import Client
from mcp_interface.commands import GrantCapability


@click.command(
    short_help="Hand an agent, or the principal of a key, a right.",
    epilog="""\b
Examples:
  umbrella grant scout 'mcp://fs/read/home/me/project/**' --expires 1h
  umbrella grant scout 'mcp://api/get/**' --limit 'allowed_hosts=["example.org"]'""",
)
@click.argument("agent")
@click.argument("uri")
@click.option("--expires", metavar="TIME", help="For example 15m, 1h or 7d; otherwise it has no end.")
@click.option("--uses", type=click.IntRange(1), help="How often it can be used.")
@click.option(
    "--limit", "given", multiple=True, metavar="KEY=JSON", help="A further limit, such as max_bytes=1000."
)
@click.pass_context
def command(
    ctx: click.Context, agent: str, uri: str, expires: str | None, uses: int | None, given: tuple[str, ...]
) -> None:
    """Hand an agent, or the principal of a key (user_…), a right that you hold."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        order = GrantCapability(
            agent=await principal_id(client, agent),
            resource_uri=uri,
            expires_in_s=None if expires is None else duration(expires),
            max_uses=uses,
            constraints=limits(given),
        )
        capability = await client.request(order)
        return Outcome(value=capability, shown=presenters.granted(capability, clock.now()))

    run(ctx, work)
