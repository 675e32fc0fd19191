"""`umbrella logs`: the node's own log."""

import sys
from collections import deque
from pathlib import Path
from typing import Final, TextIO

import click

from mcp_cli.invocation import Invocation, Outcome, finish, invocation
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.clock import Clock
from mcp_interface.errors import NotFound

LOOK_S: Final = 0.25


def log_file(given: Invocation) -> Path:
    """Name the log of the node of a data directory."""
    from mcp_core import DataDir, Settings

    return DataDir(Settings.load(given.data_dir).data_dir).log


@click.command(short_help="Show the node's log.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=200, show_default=True)
@click.pass_context
def command(ctx: click.Context, follow: bool, lines: int) -> None:
    """Show the end of the node's log."""
    given = invocation(ctx)
    path = log_file(given)
    if follow and given.format == "json":
        raise click.UsageError("--follow has no end, so it cannot be one JSON document", ctx)
    if follow:
        from mcp_cli.headless import guarded

        ctx.exit(guarded(given, lambda: _follow(path, lines, given.clock)))

    def once() -> Outcome:
        tail = last_lines(path, lines)
        return Outcome(value={"file": str(path), "lines": tail}, shown=Prose("\n".join(tail)))

    finish(ctx, once)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log.

    Raises:
        NotFound: There is no log yet.
    """
    with _open(path) as file:
        return _tail(file, count)


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NotFound(f"there is no log at {path}", "start a node: umbrella node start") from error


def _tail(file: TextIO, count: int) -> list[str]:
    return [printable(line.rstrip("\n")) for line in deque(file, maxlen=count)]


def _follow(path: Path, count: int, clock: Clock) -> int:
    import asyncio

    # One open file from the first line to the last: what is written in between is not missed.
    with _open(path) as file:
        for line in _tail(file, count):
            _put(line)
        asyncio.run(_go_on(file, path, clock))
    return 0


def _put(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _go_on(file: TextIO, path: Path, clock: Clock) -> None:
    waiting = ""
    while True:
        piece = file.readline()
        waiting += piece
        if waiting.endswith("\n"):
            _put(printable(waiting.rstrip("\n")))
            waiting = ""
        elif not piece:
            if path.exists() and path.stat().st_size < file.tell():
                file.seek(0)  # the node was restarted with a fresh log
            await clock.sleep(LOOK_S)
