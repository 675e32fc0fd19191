"""`umbrella caps …`: who may do what, why, and no longer."""

import click

from mcp_cli import presenters, rights
from mcp_cli.exit_codes import DENIED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import capability_id, principal_id
from mcp_interface.client import Client
from mcp_interface.commands import ExplainAccess, ListCapabilities, RevokeCapability


@click.group()
def command() -> None:
    """List, revoke and explain capabilities."""


@command.command("list", short_help="Live capabilities, of one holder or of all.")
@click.argument("principal", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=200, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(ctx: click.Context, principal: str | None, limit: int, cursor: str | None) -> None:
    """List live capabilities, of one holder or of all."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        holder = await principal_id(client, principal) if principal else None
        page = await client.request(ListCapabilities(principal=holder, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=presenters.capabilities(page, clock.now()))

    run(ctx, work)


@command.command(short_help="Take a right back, with all derived from it.")
@click.argument("capability")
@click.option("--reason", default="")
@click.pass_context
def revoke(ctx: click.Context, capability: str, reason: str) -> None:
    """Take a right back, with everything derived from it."""

    async def work(client: Client) -> Outcome:
        identifier = await capability_id(client, capability)
        ended = await client.request(RevokeCapability(capability_id=identifier, reason=reason))
        return Outcome(value={"revoked": ended}, shown=presenters.removed(ended))

    run(ctx, work)


@command.command(short_help="Why somebody may do something, or why not.")
@click.argument("principal")
@click.argument("uri")
@click.pass_context
def explain(ctx: click.Context, principal: str, uri: str) -> None:
    """Say why somebody may do something, or why not; the exit code is 3 when not."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        who = await principal_id(client, principal)
        found = await client.request(ExplainAccess(principal=who, resource_uri=uri))
        code = 0 if found.verdict.allowed else DENIED
        return Outcome(value=found, shown=rights.explanation(found, clock.now()), code=code)

    run(ctx, work)
