"""`umbrella executions …`: tool calls as things of their own, while they run and after."""

from typing import cast, get_args

import click

from mcp_cli import executing
from mcp_cli.arguments import duration
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import execution_id, find_session
from mcp_interface.client import Client
from mcp_interface.execution import CancelExecution, GetExecution, ListExecutions, RunStatus


@click.group()
def command() -> None:
    """Look at tool calls, wait for them, cancel them."""


@command.command("list", short_help="Tool calls, latest first.")
@click.option("--session", metavar="ID", help="Of this session only.")
@click.option("--status", type=click.Choice(get_args(RunStatus), case_sensitive=False))
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(
    ctx: click.Context, session: str | None, status: str | None, limit: int, cursor: str | None
) -> None:
    """List tool calls, latest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(
            ListExecutions(
                session_id=None if session is None else (await find_session(client, session)).id,
                status=cast("RunStatus | None", status),
                limit=limit,
                cursor=cursor,
            )
        )
        return Outcome(value=page, shown=executing.executions(page, clock.now()))

    run(ctx, work)


@command.command(short_help="One call, with its result.")
@click.argument("execution")
@click.pass_context
def show(ctx: click.Context, execution: str) -> None:
    """Show how a call is doing, or what came of it."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await client.request(GetExecution(execution_id=await execution_id(client, execution)))
        return Outcome(value=found, shown=executing.execution(found, clock.now()))

    run(ctx, work)


@command.command(short_help="Wait for the end of a call and print its result.")
@click.argument("execution")
@click.option("--timeout", metavar="TIME", help="For example 30s; the call goes on after it.")
@click.pass_context
def wait(ctx: click.Context, execution: str, timeout: str | None) -> None:
    """Wait for the end of a call; prints and ends as `umbrella call` would have."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        from mcp_cli import waiting

        limit = None if timeout is None else duration(timeout)
        key = await execution_id(client, execution)
        return waiting.ended(await waiting.to_its_end(client, key, clock, limit=limit))

    run(ctx, work, timeout=None)


@command.command(short_help="Watch a call to its end, over restarts of the node.")
@click.argument("execution")
@click.pass_context
def watch(ctx: click.Context, execution: str) -> None:
    """Tell how a call moves until it has ended; ends as `umbrella call` would have.

    A node that dies or is started anew in between is attached to again: what it takes up again is watched on. What
    the tool asks is put to you at a terminal; elsewhere you are told how to answer.
    """
    given = invocation(ctx)

    async def whole(client: Client) -> Outcome:
        from mcp_cli.overlooking import watching_over

        key = await execution_id(client, execution)
        return await watching_over(given, key)

    run(ctx, whole, timeout=None)


@command.command(short_help="Stop a call.")
@click.argument("execution")
@click.pass_context
def cancel(ctx: click.Context, execution: str) -> None:
    """Stop a call; says how it is then."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await client.request(CancelExecution(execution_id=await execution_id(client, execution)))
        return Outcome(value=found, shown=executing.execution(found, clock.now()))

    run(ctx, work)
