"""`umbrella task …`: work for agents, each in a conversation of its own and with what is handed to it alone."""

from pathlib import Path
from typing import Final

import click

from mcp_cli import teamwork
from mcp_cli.arguments import duration
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import agent_id, collect, find_session, find_task
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.budget import Budget
from mcp_interface.client import Client
from mcp_interface.clock import Clock
from mcp_interface.commands import CreateSession, Wish
from mcp_interface.errors import Interrupted, error_from
from mcp_interface.ids import SessionId
from mcp_interface.task import ENDED, Task
from mcp_interface.team import CancelTask, GiveTask, ListTasks

LOOK_S: Final = 0.5
"""Seconds between two looks at a task that is waited for."""
TITLE: Final = 80


@click.group()
def command() -> None:
    """Give tasks to agents, list and cancel them; each agent may use what you hand to it and nothing else."""


@command.command(
    short_help="Have a new agent work on something.",
    epilog="""\b
Example:
  umbrella task give 'Sum up the notes' --grant 'mcp://fs/read/home/me/notes/**' --wait""",
)
@click.argument("goal")
@click.option("--session", metavar="ID", help="In which it is given and with which it ends; else a new one.")
@click.option("--from", "parent", metavar="AGENT", help="Hand on rights of this agent; otherwise yours.")
@click.option("--grant", "uris", multiple=True, metavar="URI", help="A right that goes with it.")
@click.option("--expires", metavar="TIME", help="When these rights end, for example 15m.")
@click.option("--name", default="", help="Of the agent.")
@click.option("--model", default="", help="Else that of the session.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="DOLLARS", help="What it may cost.")
@click.option("--timeout", metavar="TIME", default="10m", show_default=True, help="Of work, then it fails.")
@click.option("--wait", is_flag=True, help="Print its result when it has ended.")
@click.pass_context
def give(
    ctx: click.Context,
    goal: str,
    session: str | None,
    parent: str | None,
    uris: tuple[str, ...],
    expires: str | None,
    name: str,
    model: str,
    max_cost: float | None,
    timeout: str,
    wait: bool,
) -> None:
    """Have a new agent work on something, with what is handed to it here, all of it or it does not begin.

    Nobody is asked while it works: what was not handed to it is refused.
    """
    clock = invocation(ctx).clock
    if expires is not None and not uris:
        raise click.UsageError("--expires belongs to a --grant", ctx)
    if not goal.strip():
        raise click.UsageError("the goal is empty: say what the agent shall work on", ctx)

    async def work(client: Client) -> Outcome:
        lasting = None if expires is None else duration(expires)
        order = GiveTask(
            session_id=await _place(client, session, goal),
            goal=goal,
            name=name,
            parent=None if parent is None else await agent_id(client, parent),
            grants=[Wish(resource_uri=uri, expires_in_s=lasting) for uri in uris],
            model=model,
            budget=Budget(max_cost=max_cost),
            timeout_s=duration(timeout),
        )
        task = await client.request(order)
        if not wait:
            return Outcome(value=task, shown=Prose(task.id))
        return _ended(await _to_its_end(client, task, clock))

    run(ctx, work, timeout=None)


async def _place(client: Client, session: str | None, goal: str) -> SessionId:
    """The session that is named, or a new one for this task."""
    if session is not None:
        return (await find_session(client, session)).id
    metadata = {"cwd": str(Path.cwd()), "client": "task"}
    title = " ".join(goal.split())[:TITLE]
    return (await client.request(CreateSession(title=title, profile="locked", metadata=metadata))).id


async def _to_its_end(client: Client, task: Task, clock: Clock) -> Task:
    while task.status not in ENDED:
        await clock.sleep(LOOK_S)
        found = await collect(client, ListTasks(session_id=task.session_id))
        task = next((each for each in found if each.id == task.id), task)
    return task


def _ended(task: Task) -> Outcome:
    """The result of a task that has ended.

    Raises:
        UmbrellaError: Why there is none.
    """
    if task.status != "completed":
        raise Interrupted(f"{task.id} was {task.status}") if task.error is None else error_from(task.error)
    return Outcome(value=task, shown=Prose(printable(task.result)))


@command.command("list", short_help="Tasks, latest first.")
@click.option("--session", metavar="ID", help="Only those of one session.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(ctx: click.Context, session: str | None, limit: int, cursor: str | None) -> None:
    """List tasks, latest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        place = None if session is None else (await find_session(client, session)).id
        page = await client.request(ListTasks(session_id=place, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=teamwork.tasks(page, clock.now()))

    run(ctx, work)


@command.command(short_help="One task, with its result.")
@click.argument("task")
@click.pass_context
def show(ctx: click.Context, task: str) -> None:
    """Show how a task is, or what came of it."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await find_task(client, task)
        return Outcome(value=found, shown=teamwork.task(found, clock.now()))

    run(ctx, work)


@command.command(short_help="End a task with all that is below it.")
@click.argument("task")
@click.pass_context
def cancel(ctx: click.Context, task: str) -> None:
    """End a task with the agent that works on it and all that is below; harmless when it has ended."""

    async def work(client: Client) -> Outcome:
        found = await client.request(CancelTask(task_id=(await find_task(client, task)).id))
        tone = teamwork.TONES[found.status]
        return Outcome(value=found, shown=Prose(f"{found.id} is {found.status}", tone))

    run(ctx, work)
