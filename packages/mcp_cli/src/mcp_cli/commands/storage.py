"""`umbrella storage …`: how the journal is, whether it is whole, and making anew what is derived from it.

A node answers when one runs; without one the journal is looked at where it lies, because a node does not start
on a damaged one. No node is started for it.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from mcp_cli import presenters
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, invocation, run
from mcp_interface.client import Client
from mcp_interface.commands import GetStorage, RebuildStorage, StorageCheck, VerifyStorage
from mcp_interface.errors import StorageCorrupt
from mcp_interface.store import StoreReport

WHOLE_S: Final = 6 * 3600.0
"""Seconds that reading a whole journal may take."""


@click.group()
def command() -> None:
    """Look at the journal, check it, rebuild what is derived from it."""


@command.command(short_help="How the journal is, and what its last opening found.")
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show how the journal is; the exit code is 1 when it is damaged."""
    folder = _folder(ctx)

    async def work(client: Client) -> Outcome:
        return _reported(await client.request(GetStorage()))

    async def offline() -> Outcome:
        from mcp_core import inspect_storage, report_storage

        # The report first: it tells what the opening found, which a second opening does not find any more. It
        # says nothing of what lies deeper, and a node may be unable to start on that.
        report = None
        with suppress(StorageCorrupt):
            report = await report_storage(folder())
        check = await inspect_storage(folder())
        return _checked(check) if report is None or not check.ok else _reported(report, resting=True)

    run(ctx, work, start=False, timeout=WHOLE_S, offline=offline)


@command.command(short_help="Read the whole journal back.")
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Read the whole journal back and compare it with what was written; the exit code is 1 when it is damaged."""
    folder = _folder(ctx)

    async def work(client: Client) -> Outcome:
        return _checked(await client.request(VerifyStorage(), timeout=None))

    async def offline() -> Outcome:
        from mcp_core import inspect_storage

        return _checked(await inspect_storage(folder()))

    run(ctx, work, start=False, timeout=WHOLE_S, offline=offline)


@command.command(short_help="Make anew what is derived from the journal.")
@click.pass_context
def rebuild(ctx: click.Context) -> None:
    """Make anew, from the journal, whatever is derived from it; nothing of the journal changes."""
    folder = _folder(ctx)

    async def work(client: Client) -> Outcome:
        return _reported(await client.request(RebuildStorage(), timeout=None))

    async def offline() -> Outcome:
        from mcp_core import rebuild_storage

        return _reported(await rebuild_storage(folder()), resting=True)

    run(ctx, work, start=False, timeout=WHOLE_S, offline=offline)


def _folder(ctx: click.Context) -> Callable[[], Path]:
    given = invocation(ctx).data_dir

    def folder() -> Path:
        from mcp_core import Settings

        return Settings.load(given).data_dir

    return folder


def _reported(report: StoreReport, *, resting: bool = False) -> Outcome:
    return Outcome(value=report, shown=presenters.storage(report, resting=resting))


def _checked(check: StorageCheck) -> Outcome:
    return Outcome(value=check, shown=presenters.storage_check(check), code=0 if check.ok else FAILED)
