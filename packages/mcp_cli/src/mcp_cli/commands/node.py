"""`umbrella node …`: the process that everything runs in."""

from typing import Final

import click

from mcp_cli import presenters
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.sheet import Prose
from mcp_interface.client import Client
from mcp_interface.clock import Clock
from mcp_interface.codec import to_external
from mcp_interface.commands import GetStatus, GetStorage, StopNode
from mcp_interface.errors import DeadlineExceeded

STOP_S: Final = 30.0
"""Seconds that a node may take to finish what is running."""
LOOK_S: Final = 0.1


async def _glance(client: Client, clock: Clock) -> Outcome:
    node = await client.request(GetStatus())
    storage = await client.request(GetStorage())
    value = {**to_external(node), "storage": storage}
    return Outcome(value=value, shown=presenters.status(node, clock.now(), storage))


@click.group()
def command() -> None:
    """Start, stop and inspect the node."""


@command.command(short_help="Start the node detached, if none runs.")
@click.pass_context
def start(ctx: click.Context) -> None:
    """Start the node detached; harmless when it runs already."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        return await _glance(client, clock)

    run(ctx, work)


@command.command(short_help="Finish what is running and end the node.")
@click.pass_context
def stop(ctx: click.Context) -> None:
    """Finish what is running and end the node; returns when it is gone."""
    given = invocation(ctx)
    clock = given.clock

    async def work(client: Client) -> Outcome:
        from mcp_core import DataDir, Settings

        place = DataDir(Settings.load(given.data_dir).data_dir)
        status = await client.request(GetStatus())
        await client.request(StopNode())
        end = clock.monotonic() + STOP_S
        while place.is_locked():
            if clock.monotonic() > end:
                raise DeadlineExceeded(f"process {status.pid} still runs", "look at its log: umbrella logs")
            await clock.sleep(LOOK_S)
        return Outcome(value={"stopped": status.pid}, shown=Prose(f"stopped process {status.pid}", "ok"))

    run(ctx, work, start=False)


@command.command(short_help="The node at a glance; exit code 5 when it is stopped.")
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show the node at a glance; the exit code is 5 when it is stopped."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        return await _glance(client, clock)

    run(ctx, work, start=False)
