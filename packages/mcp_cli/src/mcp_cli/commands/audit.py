"""`umbrella audit …`: what was decided, and whether the record of it is whole."""

import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from mcp_cli import presenters, terminal
from mcp_cli.arguments import moment
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import capability_id, principal_id
from mcp_interface.client import Client
from mcp_interface.clock import Clock
from mcp_interface.codec import encode_json
from mcp_interface.commands import ReadAudit, VerifyAudit

EXPORT_PAGE = 1000


@click.group()
def command() -> None:
    """Read, export and check the audit trail."""


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose entries."""
    options = (
        click.option("--principal", metavar="WHO", help="Only of one: an id, prefix or agent's name."),
        click.option("--capability", metavar="ID", help="Only about one capability."),
        click.option("--uri", metavar="GLOB", help="Only about matching resources."),
        click.option("--kind", help="Only one kind, such as access_denied."),
        click.option("--denied", is_flag=True, help="Only what was refused."),
        click.option("--since", metavar="WHEN", help="2h for two hours ago, or 2026-11-21T14:30 (UTC)."),
        click.option("--until", metavar="WHEN", help="The first moment that is not wanted any more."),
    )
    for option in reversed(options):
        function = option(function)
    return function


async def _query(client: Client, clock: Clock, given: dict[str, Any], **more: Any) -> ReadAudit:
    now = clock.now()
    principal, capability = given["principal"], given["capability"]
    return ReadAudit(
        principal=await principal_id(client, principal) if principal else None,
        capability_id=await capability_id(client, capability) if capability else None,
        resource_uri=given["uri"],
        kind=given["kind"],
        denied_only=given["denied"],
        since=moment(given["since"], now) if given["since"] else None,
        until=moment(given["until"], now) if given["until"] else None,
        **more,
    )


@command.command(short_help="Decisions, newest first.")
@_filters
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def show(ctx: click.Context, /, limit: int, cursor: str | None, **given: Any) -> None:
    """Show decisions, newest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(await _query(client, clock, given, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=presenters.audit(page))

    run(ctx, work)


@command.command(
    short_help="Decisions as JSON lines, oldest first.",
    epilog="Example: umbrella audit export --since 7d > last-week.jsonl",
)
@_filters
@click.pass_context
def export(ctx: click.Context, /, **given: Any) -> None:
    """Write decisions to standard output, one JSON object a line, oldest first, hashes included."""
    if invocation(ctx).runner is not None:
        raise click.UsageError("an export goes to a file: run umbrella audit export > FILE in a shell", ctx)
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        query = await _query(client, clock, given, limit=EXPORT_PAGE, oldest_first=True)
        newest = (await client.request(ReadAudit(limit=1))).items
        last = newest[0].seq if newest else 0  # what is decided from now on would never let this end
        count = 0
        while True:
            page = await client.request(query)
            wanted = [entry for entry in page.items if entry.seq <= last]
            for entry in wanted:
                sys.stdout.write(encode_json(entry).decode() + "\n")
            count += len(wanted)
            if page.cursor is None or len(wanted) < len(page.items):
                break
            query = msgspec.structs.replace(query, cursor=page.cursor)
        sys.stdout.flush()
        terminal.say(f"{count} entries")
        return Outcome(value=None, streamed=True)

    run(ctx, work, timeout=None)


@command.command(short_help="Check the whole chain.")
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Check the whole chain; the exit code is 1 when it is broken."""

    async def work(client: Client) -> Outcome:
        report = await client.request(VerifyAudit())
        return Outcome(value=report, shown=presenters.audit_report(report), code=0 if report.ok else FAILED)

    run(ctx, work)
