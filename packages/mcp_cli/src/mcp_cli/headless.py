"""Carries out one command at the shell: opens the door, does the work, prints, and says how it went.

Standard output holds the result only (a table, or exactly one JSON document), standard error the talk.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import click
import msgspec

from mcp_cli import terminal
from mcp_cli.exit_codes import INTERRUPTED, exit_code
from mcp_cli.invocation import Invocation, Job, Outcome
from mcp_interface.client import Client, ClientInfo, Welcome
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable, UmbrellaError

T = TypeVar("T")
LEAVE_S = 15.0
"""Seconds that closing the door may take; an embedded node finishes what it does first."""


@asynccontextmanager
async def connected(invocation: Invocation, *, start: bool = True) -> AsyncIterator[tuple[Client, Welcome]]:
    """Open the door of the data directory and connect as its owner.

    Raises:
        NodeUnavailable: No node runs and none was to be started, or it does not answer.
    """
    from mcp_core import Settings, open_door

    settings = Settings.load(invocation.data_dir)
    door = await open_door(settings, start=start, embed=invocation.embed)
    try:
        client = door.client()
        try:
            welcome = await client.connect(ClientInfo(name="umbrella", token=door.owner_token))
            yield client, welcome
        finally:
            await client.disconnect("done")
    finally:
        async with asyncio.timeout(LEAVE_S):
            await door.close()


async def _deadline(work: Awaitable[T], seconds: float | None) -> T:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineExceeded(f"no answer within {seconds:g} s", "the work may still be going on") from error


def guarded(invocation: Invocation, body: Callable[[], int]) -> int:
    """Run something and turn errors into talk on standard error and an exit code."""
    as_json = invocation.format == "json"
    try:
        return body()
    except UmbrellaError as error:
        terminal.complain(error.body(), as_json=as_json)
        return exit_code(error)
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return INTERRUPTED
    except ConnectionError as error:
        gone = NodeUnavailable(f"the node went away: {error}", "look at its log: umbrella logs")
        terminal.complain(gone.body(), as_json=as_json)
        return exit_code(gone)


class Headless:
    """Does a command's work at the shell."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    def run(self, job: Job) -> None:
        """Do work that needs a node, print its outcome and end the command with its exit code."""
        self._end(lambda: self._print(asyncio.run(self._whole(job))))

    async def _whole(self, job: Job) -> Outcome:
        given = self._invocation
        if job.offline is not None:
            given = msgspec.structs.replace(given, embed=False)
        async with AsyncExitStack() as stack:
            try:
                client, _ = await stack.enter_async_context(connected(given, start=job.start))
            except NodeUnavailable:
                if job.offline is None:
                    raise
            else:
                return await _deadline(job.work(client), job.timeout)
        return await _deadline(job.offline(), job.timeout)

    def finish(self, make: Callable[[], Outcome]) -> None:
        """Do work that needs no node, print its outcome and end the command with its exit code."""
        self._end(lambda: self._print(make()))

    def _print(self, outcome: Outcome) -> int:
        if outcome.streamed:
            return outcome.code
        if self._invocation.format == "json":
            terminal.show_json(outcome.value)
        elif outcome.shown is not None:
            terminal.show(outcome.shown)
        return outcome.code

    def _end(self, body: Callable[[], int]) -> None:
        click.get_current_context().exit(guarded(self._invocation, body))
