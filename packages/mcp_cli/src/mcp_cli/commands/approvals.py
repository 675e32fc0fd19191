"""`umbrella approvals …`: questions that agents put to a person, answered without the REPL."""

from typing import get_args

import click

from mcp_cli import presenters, rights
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import collect, find_approval, find_refusals
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.approval import Answer, Remember
from mcp_interface.client import Client
from mcp_interface.commands import AnswerApproval, ForgetRefusal, ListApprovals, ListRefusals, Page


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


@command.command(short_help="One open question, with all its arguments.")
@click.argument("question")
@click.pass_context
def show(ctx: click.Context, question: str) -> None:
    """Show one open question with all the arguments; what a screen would not show is spelled out."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await find_approval(client, question)
        return Outcome(value=found, shown=rights.question(found, clock.now()))

    run(ctx, work)


@command.command(short_help="Answer yes.")
@click.argument("question")
@click.option("--remember", type=click.Choice(get_args(Remember)), default="once", show_default=True)
@click.option("--any-arguments", is_flag=True, help="Also with other arguments than these.")
@click.pass_context
def allow(ctx: click.Context, question: str, remember: Remember, any_arguments: bool) -> None:
    """Allow what is asked: once, for its session, or always; the same call only, unless you say otherwise."""
    _answer(ctx, question, Answer(allow=True, remember=remember, any_arguments=any_arguments))


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
    async def work(client: Client) -> Outcome:
        found = await find_approval(client, question)
        await client.request(AnswerApproval(approval_id=found.id, answer=answer))
        if answer.allow:
            scope = ", any arguments" if answer.any_arguments else ""
            word = f"allowed ({answer.remember}{scope})"
        else:
            word = "denied for good" if answer.remember == "always" else "denied"
        text = f"{word}: {printable(found.server)}.{printable(found.tool)}"
        value = {"approval_id": found.id, "answer": answer}
        return Outcome(value=value, shown=Prose(text, "ok" if answer.allow else "warn"))

    run(ctx, work)
