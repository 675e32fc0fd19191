"""One run of the command: its global options, and how its work gets done.

A command (`commands/`) only reads its options and describes its work: a coroutine over a connected client that
gives an `Outcome`. Who carries the work out is decided here: at the shell `headless.Headless` does; in the
REPL the same commands are read from a slash line and carried out over the connection that is already open.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import click
import msgspec

from mcp_cli.sheet import Shown
from mcp_interface.budget import Budget
from mcp_interface.client import Client
from mcp_interface.clock import Clock, SystemClock

Format = Literal["table", "json"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one command."""

    value: Any
    """The JSON document."""
    shown: Shown | None = None
    """What a person sees; None when there is nothing to say."""
    code: int = 0
    """Exit code."""
    streamed: bool = False
    """Whether the result is on standard output already."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that needs a node."""

    work: Callable[[Client], Awaitable[Outcome]]
    start: bool = True
    """Whether to start a node when none runs."""
    timeout: float | None = 600.0
    """Seconds until it counts as failed; None: the work has a deadline of its own."""
    offline: Callable[[], Awaitable[Outcome]] | None = None
    """What is done instead when no node runs; none is started then, not even in this process."""


class Runner(Protocol):
    """Carries out what a command describes."""

    def run(self, job: Job) -> None:
        """Do work that needs a node."""
        ...

    def finish(self, make: Callable[[], Outcome]) -> None:
        """Do work that needs no node."""
        ...


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """The global options; `ctx.obj` of every command."""

    data_dir: Path | None = None
    """None: from the environment, else the user's data folder."""
    format: Format = "table"
    embed: bool = False
    """Run the node inside this process."""
    clock: Clock = msgspec.field(default_factory=SystemClock)
    runner: Runner | None = None
    """None: the shell."""
    model: str = ""
    """REPL: of sessions that begin in it; empty is the node's default."""
    budget: Budget = Budget()
    """REPL: as well."""


def invocation(ctx: click.Context) -> Invocation:
    """Return the global options of a command."""
    found = ctx.find_object(Invocation)
    return found if found is not None else Invocation()


def _runner(ctx: click.Context) -> Runner:
    given = invocation(ctx)
    if given.runner is not None:
        return given.runner
    from mcp_cli.headless import Headless

    return Headless(given)


def run(
    ctx: click.Context,
    work: Callable[[Client], Awaitable[Outcome]],
    *,
    start: bool = True,
    timeout: float | None = 600.0,
    offline: Callable[[], Awaitable[Outcome]] | None = None,
) -> None:
    """Hand a command's work to whoever carries it out; see `Job`."""
    _runner(ctx).run(Job(work=work, start=start, timeout=timeout, offline=offline))


def finish(ctx: click.Context, make: Callable[[], Outcome]) -> None:
    """Hand over work that needs no node, or finds its own way to one."""
    _runner(ctx).finish(make)
