"""`umbrella approvals …`: questions that agents put to a person, answered without the REPL."""

from contextlib import suppress
from typing import Any, Final, get_args

import click

from mcp_cli import presenters, rights
from mcp_cli.arguments import duration
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect, find_approval, find_refusals
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.approval import Answer, Approval, Remember
from mcp_interface.capability import Capability
from mcp_interface.client import Client
from mcp_interface.clock import Clock
from mcp_interface.commands import (
    AnswerApproval,
    ForgetRefusal,
    ListApprovals,
    ListCapabilities,
    ListRefusals,
    Page,
)
from mcp_interface.errors import UmbrellaError

MINTED_S: Final = 2.0
"""Seconds in which a right that was just given is looked for."""


@click.group()
def command() -> None:
    """See and answer what agents wait for."""


@command.command("list", short_help="Open questions, oldest first.")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List open questions, oldest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(ListApprovals())
        return Outcome(value=page, shown=presenters.approvals(page, clock.now()))

    run(ctx, work)


@command.command(short_help="One open question: its arguments, what it would change, the answers.")
@click.argument("question")
@click.pass_context
def show(ctx: click.Context, question: str) -> None:
    """Show one open question with all that a yes is about; what a screen would not show is spelled out."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await find_approval(client, question)
        return Outcome(value=found, shown=rights.question(found, clock.now()))

    run(ctx, work)


@command.command(short_help="Answer yes.")
@click.argument("question")
@click.option("--remember", type=click.Choice(get_args(Remember)), default="once", show_default=True)
@click.option("--any-arguments", is_flag=True, help="Also with other arguments than these.")
@click.option(
    "--pattern",
    metavar="URI",
    default="",
    help="To all of this, one of the patterns that `show` lists; for the session or always.",
)
@click.option("--expires", metavar="TIME", help="End a yes that is remembered after 30m, 1h, 7d, …")
@click.pass_context
def allow(
    ctx: click.Context,
    question: str,
    remember: Remember,
    any_arguments: bool,
    pattern: str,
    expires: str | None,
) -> None:
    """Allow what is asked: once, for its session, or always; the same call only, unless you say otherwise.

    A wider pattern allows whatever is done within it, with any arguments.
    """
    answer = Answer(
        allow=True,
        remember=remember,
        any_arguments=any_arguments,
        resource_uri=pattern,
        expires_in_s=duration(expires) if expires else None,
    )
    _answer(ctx, question, answer)


@command.command(short_help="Answer no.")
@click.argument("question")
@click.option("--reason", default="", help="Told to the agent.")
@click.option(
    "--never",
    is_flag=True,
    help="And refuse this very call to all your agents from now on, whatever they hold.",
)
@click.pass_context
def deny(ctx: click.Context, question: str, reason: str, never: bool) -> None:
    """Refuse what is asked."""
    _answer(ctx, question, Answer(allow=False, reason=reason, remember="always" if never else "once"))


@command.command(short_help="What you never want to be asked again.")
@click.pass_context
def never(ctx: click.Context) -> None:
    """List the calls that are refused to your agents without asking, whatever they hold, oldest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListRefusals()))
        return Outcome(value=page, shown=rights.refusals(page, clock.now()))

    run(ctx, work)


@command.command(short_help="Let a question be asked again.")
@click.argument("question")
@click.pass_context
def forget(ctx: click.Context, question: str) -> None:
    """Let a question be asked again that was answered with "never"; give its beginning, from the list."""

    async def work(client: Client) -> Outcome:
        found = await find_refusals(client, question)
        for known in found:
            await client.request(
                ForgetRefusal(principal_id=known.principal_id, fingerprint=known.fingerprint)
            )
        names = ", ".join(dict.fromkeys(f"{known.server}/{known.tool}" for known in found))
        shown = Prose(f"{printable(names)} may be asked about again", "ok")
        return Outcome(value={"forgotten": found}, shown=shown)

    run(ctx, work)


def _answer(ctx: click.Context, question: str, answer: Answer) -> None:
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await find_approval(client, question)
        await client.request(AnswerApproval(approval_id=found.id, answer=answer))
        lasting = answer.allow and answer.remember != "once"
        minted = await _minted(client, clock, found) if lasting else None
        value: dict[str, Any] = {"approval_id": found.id, "answer": answer}
        if minted is not None:
            value["capability_id"] = minted.id
        return Outcome(value=value, shown=rights.answered(found, answer, minted))

    run(ctx, work)


async def _minted(client: Client, clock: Clock, found: Approval) -> Capability | None:
    """The right that came of a yes; it is there a moment later, when the call that waited for it goes on."""
    end = clock.monotonic() + MINTED_S
    while True:
        held: list[Capability] = []
        with suppress(UmbrellaError):  # the answer has counted, whatever can be said of it
            held = await collect(client, ListCapabilities(principal=found.principal_id))
        for one in reversed(held):
            if one.metadata.get("approval_id") == found.id:
                return one
        if clock.monotonic() >= end:
            return None
        await clock.sleep(0.05)
