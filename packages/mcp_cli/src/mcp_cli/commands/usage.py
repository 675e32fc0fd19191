"""`umbrella usage`: what models have used, and what it cost."""

from collections.abc import Sequence
from typing import Final, Literal

import click

from mcp_cli.arguments import moment
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import find_session, short
from mcp_cli.sheet import Cell, Sheet, row
from mcp_cli.untrusted import one_line
from mcp_interface.budget import Spent
from mcp_interface.client import Client
from mcp_interface.conversing import GetUsage, UsageRow

HEADINGS: Final = {"session": "session", "model": "model", "day": "day (UTC)"}


@click.command(
    short_help="What models have used, and what it cost.",
    epilog="Example: umbrella usage --by day --since 7d",
)
@click.option(
    "--by",
    type=click.Choice(["session", "model", "day"]),
    default="model",
    show_default=True,
    help="Summed up so.",
)
@click.option("--since", metavar="TIME", help="7d for the last seven days, or a date; otherwise all of it.")
@click.option("--session", help="Only in this one.")
@click.pass_context
def command(
    ctx: click.Context, by: Literal["session", "model", "day"], since: str | None, session: str | None
) -> None:
    """Show what models have used in your sessions, and what it cost as far as their prices are known."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        only = (await find_session(client, session)).id if session is not None else None
        begin = moment(since, clock.now()) if since is not None else None
        rows = await client.request(GetUsage(by=by, since=begin, session_id=only))
        return Outcome(value=rows, shown=sheet(rows, by))

    run(ctx, work)


def sheet(found: Sequence[UsageRow], by: Literal["session", "model", "day"]) -> Sheet:
    """A row for each name, and the sum of them."""
    columns = (HEADINGS[by], "title", "#answers", "#read", "#from cache", "#written", "#cost")
    rows = [
        row(
            Cell(short(each.key) if by == "session" else one_line(each.key, 60), "accent"),
            Cell(one_line(each.title, 50), "strong"),
            *_figures(each.spent),
        )
        for each in found
    ]
    if len(found) > 1:
        rows.append(row(Cell("all", "strong"), "", *_figures(_sum([each.spent for each in found]))))
    unpriced = sum(each.spent.unpriced for each in found)
    note = (
        f"{unpriced} answers are of models whose price is not known: umbrella config edit" if unpriced else ""
    )
    return Sheet(columns=columns, rows=rows, empty="no model has answered yet", note=note)


def _figures(spent: Spent) -> tuple[str, ...]:
    return (
        str(spent.answers),
        f"{spent.input_tokens:,}",
        f"{spent.cached_tokens:,}" if spent.cached_tokens else "",
        f"{spent.output_tokens:,}",
        cost(spent),
    )


def cost(spent: Spent) -> str:
    """What it cost in US dollars; `?` where no price is known, `+?` where some are not."""
    if spent.answers and spent.unpriced >= spent.answers:
        return "?"
    return f"${spent.cost:,.4f}" + ("+?" if spent.unpriced else "")


def _sum(every: Sequence[Spent]) -> Spent:
    return Spent(
        answers=sum(each.answers for each in every),
        input_tokens=sum(each.input_tokens for each in every),
        output_tokens=sum(each.output_tokens for each in every),
        cached_tokens=sum(each.cached_tokens for each in every),
        cost=sum(each.cost for each in every),
        unpriced=sum(each.unpriced for each in every),
    )
