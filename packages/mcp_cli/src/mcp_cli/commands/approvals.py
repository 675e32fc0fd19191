"""`umbrella approvals …`: questions that agents put to a person, answered without the REPL."""

from typing import get_args

import click

from mcp_cli import presenters
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import find_approval
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.approval import Answer, Remember
from mcp_interface.client import Client
from mcp_interface.commands import AnswerApproval, ListApprovals


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


@command.command(short_help="Answer yes.")
@click.argument("question")
@click.option("--remember", type=click.Choice(get_args(Remember)), default="once", show_default=True)
@click.pass_context
def allow(ctx: click.Context, question: str, remember: Remember) -> None:
    """Allow what is asked: once, for its session, or always."""
    _answer(ctx, question, Answer(allow=True, remember=remember))


@command.command(short_help="Answer no.")
@click.argument("question")
@click.option("--reason", default="", help="Told to the agent.")
@click.pass_context
def deny(ctx: click.Context, question: str, reason: str) -> None:
    """Refuse what is asked."""
    _answer(ctx, question, Answer(allow=False, reason=reason))


def _answer(ctx: click.Context, question: str, answer: Answer) -> None:
    async def work(client: Client) -> Outcome:
        found = await find_approval(client, question)
        await client.request(AnswerApproval(approval_id=found.id, answer=answer))
        word = f"allowed ({answer.remember})" if answer.allow else "denied"
        text = f"{word}: {printable(found.server)}.{printable(found.tool)}"
        value = {"approval_id": found.id, "answer": answer}
        return Outcome(value=value, shown=Prose(text, "ok" if answer.allow else "warn"))

    run(ctx, work)
