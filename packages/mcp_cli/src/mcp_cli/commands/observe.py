"""`umbrella observe`: the live tree of the node's actors; for its owner. No node is started for it."""

import asyncio
from typing import Final

import click

from mcp_cli.invocation import Invocation, Outcome, invocation, run
from mcp_interface.client import Client
from mcp_interface.observe import ObserveRuntime

BETWEEN_S: Final = 0.5
"""Seconds between the two looks that give the rates."""
MOST: Final = 1000


@click.command(
    short_help="The live tree of the node's actors.",
    epilog="""\b
Keys: arrows move, s sorts, / filters, w watches the messages of an actor, k kills it
(its supervisor brings it back), d shows dead letters (r sends again, f forgets), q leaves.""",
)
@click.option("--once", is_flag=True, help="Print the tree and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON, as --format json does.")
@click.option(
    "--sort", type=click.Choice(["mail", "rate", "restarts", "name"]), default="mail", show_default=True
)
@click.option(
    "--filter", "match", default="", metavar="TEXT", help="Only actors with this in name, type or title."
)
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=200, show_default=True, help="Of each supervisor."
)
@click.pass_context
def command(ctx: click.Context, once: bool, as_json: bool, sort: str, match: str, limit: int) -> None:
    """Show what runs on the node: supervisors and actors with their mail, message rates, restarts and memory.

    Without a terminal, or with ACCESSIBLE=1, it prints one look and leaves.
    """
    given = invocation(ctx)
    if as_json and given.format != "json" and given.runner is None:
        given = Invocation(data_dir=given.data_dir, format="json", embed=given.embed, clock=given.clock)
        ctx.obj = given
    if given.runner is None and given.format != "json" and not once:
        from mcp_cli.opening import open_observer, wants_lines

        if not wants_lines():
            ctx.exit(open_observer(given))

    async def work(client: Client) -> Outcome:
        from mcp_cli.observer.picture import ASKED, SORTS, sheet

        order = next(each for each in SORTS if each == sort)
        wish = ObserveRuntime(order=ASKED[order], limit=limit, match=match, memory=True)
        before = await client.request(wish)
        if given.format == "json":
            return Outcome(value=before)
        await asyncio.sleep(BETWEEN_S)
        now = await client.request(wish)
        return Outcome(value=now, shown=sheet(now, before, order))

    run(ctx, work, start=False)
