"""`umbrella questions …`: what tools that run want to know, answered without the REPL, by whoever may."""

import sys
from typing import Any

import click

from mcp_cli import forms, questioning
from mcp_cli.arguments import json_object, pairs
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import execution_id, find_question, find_session
from mcp_cli.sheet import Prose
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.errors import CallerMistaken
from mcp_interface.execution import AnswerQuestion, ListQuestions
from mcp_interface.question import Question, Response


@click.group()
def command() -> None:
    """See and answer what tools wait for; what they may do is in `umbrella approvals`."""


@command.command("list", short_help="Open questions of tools, oldest first.")
@click.option("--session", metavar="ID", help="Of this session only.")
@click.option("--execution", metavar="ID", help="Of this call only.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(
    ctx: click.Context, session: str | None, execution: str | None, limit: int, cursor: str | None
) -> None:
    """List open questions of tools, oldest first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(
            ListQuestions(
                session_id=None if session is None else (await find_session(client, session)).id,
                execution_id=None if execution is None else await execution_id(client, execution),
                limit=limit,
                cursor=cursor,
            )
        )
        return Outcome(value=page, shown=questioning.questions(page, clock.now()))

    run(ctx, work)


@command.command(short_help="One open question, with its fields.")
@click.argument("question")
@click.pass_context
def show(ctx: click.Context, question: str) -> None:
    """Show one open question with all that is asked; what a screen would not show is spelled out."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        found = await find_question(client, question)
        return Outcome(value=found, shown=questioning.question(found, clock.now()))

    run(ctx, work)


@command.command(
    short_help="Answer one.",
    epilog="""\b
Examples:
  umbrella questions answer question_6f12 --set branch=main --set force=no
  umbrella questions answer question_6f12 --decline""",
)
@click.argument("question")
@click.option("--set", "values", multiple=True, metavar="FIELD=VALUE", help="Fill in a field of its form.")
@click.option("--json", "content", metavar="OBJECT", help="All fields as one JSON object.")
@click.option("--accept", is_flag=True, help="Say yes, with nothing but defaults in its form.")
@click.option("--decline", is_flag=True, help="Refuse to answer.")
@click.option("--cancel", is_flag=True, help="Neither answer nor refuse: the tool is told that nobody did.")
@click.pass_context
def answer(
    ctx: click.Context,
    question: str,
    values: tuple[str, ...],
    content: str | None,
    accept: bool,
    decline: bool,
    cancel: bool,
) -> None:
    """Answer a question; without an option it is asked line by line, at a terminal.

    A choice is given by its value, title or number; of several, with commas between.
    """
    if sum([bool(values or content is not None or accept), decline, cancel]) > 1:
        raise click.UsageError("--decline, --cancel and an answer exclude each other", ctx)
    if values and content is not None:
        raise click.UsageError("--set and --json exclude each other", ctx)
    at_shell = invocation(ctx).runner is None

    async def work(client: Client) -> Outcome:
        found = await find_question(client, question)
        response = _response(found, values, content, accept=accept, decline=decline, cancel=cancel)
        if response is None:
            return await _ask(client, found, at_shell=at_shell)
        await client.request(AnswerQuestion(question_id=found.id, response=response))
        return _told(found, response.action)

    run(ctx, work, timeout=None)


def _response(
    found: Question,
    values: tuple[str, ...],
    content: str | None,
    *,
    accept: bool,
    decline: bool,
    cancel: bool,
) -> Response | None:
    if decline or cancel:
        return Response(action="decline" if decline else "cancel")
    if not (values or content is not None or accept):
        return None
    if content is not None:
        return Response(action="accept", content=json_object(content))
    if found.inquiry.kind != "form":
        if values:
            raise CallerMistaken(
                f"{found.id} has no fields, it asks for a yes or no", "answer with --accept or --decline"
            )
        return Response(action="accept")
    filled: dict[str, Any] = forms.filled(forms.fields(found.inquiry.schema), pairs(values))
    return Response(action="accept", content=filled)


async def _ask(client: Client, found: Question, *, at_shell: bool) -> Outcome:
    if not at_shell or not sys.stdin.isatty():
        raise CallerMistaken(
            f"what is the answer to {found.id}?", questioning.how_to_answer(found).removeprefix("answer: ")
        )

    from mcp_cli.interview import answer_by_lines, say
    from mcp_cli.lines import Lines

    say("\n".join([*questioning.opening_lines(found), ""]))
    answered = await answer_by_lines(client, found, Lines(sys.stdin), say)
    return _told(found, "answered" if answered else "left open")


def _told(found: Question, how: str) -> Outcome:
    words = {"accept": "answered", "decline": "declined", "cancel": "not answered, and the tool is told so"}
    text = f"{words.get(how, how)}: {printable(found.server)}.{printable(found.tool)}"
    return Outcome(value={"question_id": found.id, "action": how}, shown=Prose(text, "ok"))
