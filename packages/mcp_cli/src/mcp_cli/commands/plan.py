"""`umbrella plan …`: work that is laid out before anything of it is done, approved by you, and carried out."""

from typing import Any, Literal

import click

from mcp_cli import planning
from mcp_cli.arguments import duration
from mcp_cli.exit_codes import FAILED, INTERRUPTED, OK
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import find_session, latest_session, plan_id
from mcp_interface.client import Client
from mcp_interface.commands import Command, CreateSession
from mcp_interface.errors import DeadlineExceeded, NotFound
from mcp_interface.ids import SessionId
from mcp_interface.plan import PLAN_ENDED, Plan
from mcp_interface.planning import (
    AnswerStep,
    ApprovePlan,
    CancelPlan,
    ChangePlan,
    DraftPlan,
    DryRunPlan,
    GetPlan,
    ListPlans,
)

LOOK_S = 0.3
"""Seconds between looks at a plan that is waited for."""


@click.group()
def command() -> None:
    """Lay work out, look what it would do, approve it as a whole or step by step."""


@command.command(
    short_help="Lay out a plan from a file.",
    epilog="""\b
Example:
  {"title": "Tidy up", "steps": [
    {"work": {"kind": "tool", "server": "fs", "tool": "list_directory", "arguments": {"path": "/srv/x"}}},
    {"work": {"kind": "checkpoint", "question": "Delete the logs?"}},
    {"title": "Logs", "work": {"kind": "command", "command": ["/usr/bin/rm", "/srv/x/a.log"]}}]}
The other kinds: {"kind": "message", "text": …} and
  {"kind": "conditional", "step": 0, "status": "completed", "contains": "a.log", "skip": 2}""",
)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--session", metavar="ID", help="The conversation it belongs to; the latest by default.")
@click.option("--replace", "replaced", metavar="PLAN", help="Put these steps in place of those of a draft.")
@click.pass_context
def draft(ctx: click.Context, file: Any, session: str | None, replaced: str | None) -> None:
    """Lay out the plan in FILE (- is standard input); nothing of it is done."""
    given = planning.read_plan(file.read(planning.MAX_FILE + 1))

    async def work(client: Client) -> Outcome:
        if replaced is not None:
            found = await client.request(
                ChangePlan(plan_id=await plan_id(client, replaced), steps=given.steps)
            )
        else:
            place = await _place(client, session, given.title)
            found = await client.request(DraftPlan(session_id=place, title=given.title, steps=given.steps))
        return _shown(ctx, found)

    run(ctx, work)


@command.command("list", short_help="Plans, latest first.")
@click.option("--session", metavar="ID", help="Of this session only.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(ctx: click.Context, session: str | None, limit: int, cursor: str | None) -> None:
    """List plans, latest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        place = None if session is None else (await find_session(client, session)).id
        page = await client.request(ListPlans(session_id=place, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=planning.plans(page, clock.now()))

    run(ctx, work)


@command.command(short_help="One plan, with all that its steps do and need.")
@click.argument("plan")
@click.pass_context
def show(ctx: click.Context, plan: str) -> None:
    """Show a plan with all that its steps do, need and gave."""
    _ask(ctx, plan, lambda key: GetPlan(plan_id=key))


@command.command("dry-run", short_help="What each step would meet now.")
@click.argument("plan")
@click.pass_context
def dry_run(ctx: click.Context, plan: str) -> None:
    """Tell what each step would meet if it ran now; nothing is done, used up or put on record."""

    async def work(client: Client) -> Outcome:
        key = await plan_id(client, plan)
        found = await client.request(GetPlan(plan_id=key))
        met = await client.request(DryRunPlan(plan_id=key))
        return Outcome(value=met, shown=planning.dry_run(met, found))

    run(ctx, work)


@command.command(short_help="Let a plan be carried out.")
@click.argument("plan")
@click.option("--stepwise", is_flag=True, help="Give the rights of each step when you say go on.")
@click.pass_context
def approve(ctx: click.Context, plan: str, stepwise: bool) -> None:
    """Let a plan be carried out, with the rights of all its steps, out of yours, or not at all.

    They belong to the plan alone and end with it.
    """
    _ask(ctx, plan, lambda key: ApprovePlan(plan_id=key, stepwise=stepwise))


@command.command(short_help="Wait until a plan is over or asks something.")
@click.argument("plan")
@click.option("--timeout", metavar="TIME", help="For example 30s; the plan goes on after it.")
@click.pass_context
def wait(ctx: click.Context, plan: str, timeout: str | None) -> None:
    """Wait until a plan is over, or waits for an answer of yours."""
    clock = invocation(ctx).clock
    limit = None if timeout is None else duration(timeout)

    async def work(client: Client) -> Outcome:
        key = await plan_id(client, plan)
        began = clock.monotonic()
        while True:
            found = await client.request(GetPlan(plan_id=key))
            if found.waits or found.status == "draft" or found.status in PLAN_ENDED:
                return _shown(ctx, found, _code(found))
            if limit is not None and clock.monotonic() - began >= limit:
                raise DeadlineExceeded(f"{key} is not over yet", f"it goes on: umbrella plan wait {key}")
            await clock.sleep(LOOK_S)

    run(ctx, work, timeout=None)


@command.command(short_help="Say that a plan goes on.")
@click.argument("plan")
@click.argument("step", type=click.IntRange(1))
@click.pass_context
def go(ctx: click.Context, plan: str, step: int) -> None:
    """Let a plan go on that asks; a step that is asked about gets its rights now.

    STEP is the number of the step that you were shown: by now it may ask about another.
    """
    _answer(ctx, plan, "go_on", step - 1)


@command.command(short_help="Leave out the step that a plan asks about.")
@click.argument("plan")
@click.argument("step", type=click.IntRange(1))
@click.pass_context
def skip(ctx: click.Context, plan: str, step: int) -> None:
    """Let a plan go on without the step it asks about.

    STEP is the number of the step that you were shown: by now it may ask about another.
    """
    _answer(ctx, plan, "skip", step - 1)


@command.command(short_help="End a plan that asks.")
@click.argument("plan")
@click.pass_context
def stop(ctx: click.Context, plan: str) -> None:
    """End a plan that asks."""
    _answer(ctx, plan, "stop")


@command.command(short_help="End a plan.")
@click.argument("plan")
@click.pass_context
def cancel(ctx: click.Context, plan: str) -> None:
    """End a plan with its rights, and the step that runs."""
    _ask(ctx, plan, lambda key: CancelPlan(plan_id=key))


def _answer(
    ctx: click.Context, plan: str, answer: Literal["go_on", "skip", "stop"], step: int | None = None
) -> None:
    _ask(ctx, plan, lambda key: AnswerStep(plan_id=key, answer=answer, step=step))


def _ask(ctx: click.Context, plan: str, make: Any) -> None:
    async def work(client: Client) -> Outcome:
        asked: Command[Plan] = make(await plan_id(client, plan))
        return _shown(ctx, await client.request(asked))

    run(ctx, work)


def _shown(ctx: click.Context, found: Plan, code: int = OK) -> Outcome:
    now = invocation(ctx).clock.now()
    return Outcome(value=found, shown=planning.plan(found, now), code=code)


def _code(found: Plan) -> int:
    return {"failed": FAILED, "cancelled": INTERRUPTED}.get(found.status, OK)


async def _place(client: Client, session: str | None, title: str) -> SessionId:
    """The conversation that is named, else the latest, else a new one."""
    if session is not None:
        return (await find_session(client, session)).id
    try:
        return (await latest_session(client)).id
    except NotFound:
        return (await client.request(CreateSession(title=title))).id
