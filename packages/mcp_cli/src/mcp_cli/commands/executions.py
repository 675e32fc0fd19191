"""`umbrella executions …`: tool calls as things of their own, while they run and after."""

from typing import Final, cast, get_args

import click

from mcp_cli import executing, presenters
from mcp_cli.arguments import duration
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import execution_id, find_session
from mcp_interface.client import Client
from mcp_interface.errors import DeadlineExceeded, error_from
from mcp_interface.execution import CancelExecution, Execution, GetExecution, ListExecutions, RunStatus
from mcp_interface.ids import ExecutionId

STEP_S: Final = 60.0
"""Seconds that one question waits for an end; then it is asked again."""
GRACE_S: Final = 10.0


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
        limit = None if timeout is None else duration(timeout)
        key = await execution_id(client, execution)
        began = clock.monotonic()
        while True:
            left = STEP_S if limit is None else min(STEP_S, began + limit - clock.monotonic())
            found = await _ask(client, key, max(0.0, left))
            if found.over:
                return _ended(found)
            if left <= 0:
                raise DeadlineExceeded(
                    f"{key} has not ended within {timeout}", f"go on waiting: umbrella executions wait {key}"
                )

    run(ctx, work, timeout=None)


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


async def _ask(client: Client, key: ExecutionId, wait_s: float) -> Execution:
    return await client.request(GetExecution(execution_id=key, wait_s=wait_s), wait_s + GRACE_S)


def _ended(found: Execution) -> Outcome:
    if found.error is not None:
        raise error_from(found.error)
    result = found.result
    code = FAILED if result is None or result.is_error else 0
    return Outcome(value=found, shown=presenters.outcome(result) if result is not None else None, code=code)
