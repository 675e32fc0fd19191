"""`umbrella audit …`: what was decided, and whether the record of it is whole."""

import click

from mcp_cli import presenters
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, run
from mcp_cli.naming import capability_id, principal_id
from mcp_interface.client import Client
from mcp_interface.commands import ReadAudit, VerifyAudit


@click.group()
def command() -> None:
    """Read and check the audit trail."""


@command.command(short_help="Decisions, newest first.")
@click.option("--principal", metavar="WHO", help="Only of one principal: an id, prefix or agent's name.")
@click.option("--capability", metavar="ID", help="Only about one capability.")
@click.option("--uri", metavar="GLOB", help="Only about matching resources.")
@click.option("--kind", help="Only one kind, such as access_denied.")
@click.option("--denied", is_flag=True, help="Only what was refused.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def show(
    ctx: click.Context,
    principal: str | None,
    capability: str | None,
    uri: str | None,
    kind: str | None,
    denied: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """Show decisions, newest first."""

    async def work(client: Client) -> Outcome:
        page = await client.request(
            ReadAudit(
                principal=await principal_id(client, principal) if principal else None,
                capability_id=await capability_id(client, capability) if capability else None,
                resource_uri=uri,
                kind=kind,
                denied_only=denied,
                limit=limit,
                cursor=cursor,
            )
        )
        return Outcome(value=page, shown=presenters.audit(page))

    run(ctx, work)


@command.command(short_help="Check the whole chain.")
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Check the whole chain; the exit code is 1 when it is broken."""

    async def work(client: Client) -> Outcome:
        report = await client.request(VerifyAudit())
        return Outcome(value=report, shown=presenters.audit_report(report), code=0 if report.ok else FAILED)

    run(ctx, work)
