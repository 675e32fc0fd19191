"""`umbrella ask`: one turn of the assistant at the shell, for scripts and pipes."""

import select
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from mcp_cli import configuring, terminal
from mcp_cli.arguments import duration
from mcp_cli.exit_codes import exit_code
from mcp_cli.interview import Interview, say
from mcp_cli.invocation import Outcome, finish, invocation, run
from mcp_cli.lines import Lines
from mcp_cli.naming import find_session, latest_session
from mcp_cli.sheet import Prose
from mcp_cli.streaming_json import End, Error, Line, Note, Refused, Text, Tool, TurnReport, line_of, schema
from mcp_cli.turn import LEAVE_S, Turn
from mcp_cli.untrusted import one_line, printable
from mcp_interface.budget import Budget
from mcp_interface.client import Client
from mcp_interface.commands import ChangeSession, CreateSession
from mcp_interface.errors import CallerMistaken, NotPermitted, UmbrellaError, error_from
from mcp_interface.session import Limits, Session

MOST: Final = 1_000_000
"""Characters of one message."""
PATIENCE_S: Final = 3.0
"""Seconds after which we say that we wait for standard input."""
TITLE: Final = 60
Output = Literal["text", "json", "stream-json"]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, options and settings taken together."""

    latest: bool
    resume: str | None
    model: str | None
    max_cost: float | None
    max_tokens: int | None
    settings: configuring.Config


@click.command(
    short_help="One turn of the assistant, without the REPL.",
    epilog="Example: git diff | umbrella ask 'Review this' --allow 'mcp://fs/read/home/me/project/**'",
)
@click.argument("prompt", default="")
@click.option("-c", "--continue", "latest", is_flag=True, help="Go on with the latest session.")
@click.option("-r", "--resume", metavar="ID", help="Go on with this session.")
@click.option("--model", metavar="M", help="Which model answers.")
@click.option(
    "--allow", multiple=True, metavar="URI-PATTERN", help="Lend the assistant a right for this turn."
)
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop before it costs more.")
@click.option(
    "--max-tokens", type=click.IntRange(min=0), metavar="N", help="Stop before it takes more tokens."
)
@click.option("--timeout", metavar="TIME", help="For the whole turn.  [default: 10m]")
@click.option(
    "--output",
    type=click.Choice(["text", "json", "stream-json"]),
    help="The answer as text, one JSON document at the end, or a JSON object a line as it happens.  [default: text]",
)
@click.option("--schema", "only_schema", is_flag=True, help="Print the JSON Schema of a line of stream-json.")
@click.pass_context
def command(
    ctx: click.Context,
    prompt: str,
    latest: bool,
    resume: str | None,
    model: str | None,
    allow: tuple[str, ...],
    max_cost: float | None,
    max_tokens: int | None,
    timeout: str | None,
    output: Output | None,
    only_schema: bool,
) -> None:
    """Ask the assistant and print its answer; text piped in is added to the prompt.

    Nobody can approve anything here: what the assistant may not do by itself is refused, and the option that
    allows it is named. The exit code is then 3. What a tool wants to know is asked at a terminal; elsewhere you
    are told how to answer, and the turn waits.

    --max-cost and --max-tokens are looked at before each request to the model. A session that begins here keeps
    them; with --continue or --resume they are for this turn, on top of what the session has spent.
    """
    if latest and resume:
        raise click.UsageError("--continue and --resume exclude each other", ctx)
    if only_schema:
        finish(ctx, lambda: Outcome(value=schema(), shown=Prose(terminal.json_document(schema()))))
        return
    settings = _settings(ctx)
    how: Output = output or ("json" if invocation(ctx).format == "json" else settings.ask.output)
    if how != "text":
        # errors are told as the result is
        ctx.obj = msgspec.structs.replace(invocation(ctx), format="json")
    wish = Wish(
        latest=latest,
        resume=resume,
        model=model,
        max_cost=max_cost,
        max_tokens=max_tokens,
        settings=settings,
    )

    async def work(client: Client) -> Outcome:
        writer = _Writer(how)
        try:
            seconds = duration(timeout or settings.ask.timeout)
            text = _whole(prompt, _piped())
            lines = Lines(sys.stdin) if sys.stdin is not None and sys.stdin.isatty() else None
            interview = Interview(client, lines, say)
            async with _session(client, text, wish) as session:
                report = await Turn(client, session, allow, seconds, writer.tell, interview).run(text)
        except UmbrellaError as error:
            writer.fail(error)
            raise
        writer.end(report)
        return Outcome(value=report, code=report.code, streamed=how != "json")

    run(ctx, work, timeout=None)


def _settings(ctx: click.Context) -> configuring.Config:
    """What the files say; a broken one ends the command as any other error does."""
    try:
        return configuring.load()
    except UmbrellaError as error:
        terminal.complain(error.body(), as_json=invocation(ctx).format == "json")
        ctx.exit(exit_code(error))


def _whole(prompt: str, piped: str) -> str:
    text = "\n\n".join(part for part in (prompt.strip(), piped.strip()) if part)
    if not text:
        raise CallerMistaken("there is nothing to ask", 'write umbrella ask "PROMPT", or pipe text in')
    if len(text) > MOST:
        raise CallerMistaken(f"the message has {len(text)} characters, more than {MOST}", "shorten it")
    return text


def _piped() -> str:
    """Read standard input unless a person sits at it; say so when it keeps us waiting."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        ready, _, _ = select.select([sys.stdin], [], [], PATIENCE_S)
    except (OSError, ValueError):
        ready = [sys.stdin]  # not a file of the system: reading cannot block
    if not ready:
        terminal.say("waiting for standard input (use < /dev/null when there is none)")
    return sys.stdin.read(MOST + 1)


@asynccontextmanager
async def _session(client: Client, text: str, wish: Wish) -> AsyncIterator[Session]:
    """The session that is asked; what was changed in it for this turn only is changed back."""
    if not wish.latest and wish.resume is None:
        yield await client.request(_new(text, wish))
        return
    found = (
        await find_session(client, wish.resume) if wish.resume is not None else await latest_session(client)
    )
    before, budget = found.limits.budget, _raised(found, wish)
    change = ChangeSession(session_id=found.id, model=wish.model, budget=None if budget == before else budget)
    if (change.model, change.budget) != (None, None):
        found = await client.request(change)
    try:
        yield found
    finally:
        if change.budget is not None:
            back = ChangeSession(session_id=found.id, budget=before)
            try:
                await client.request(back, timeout=LEAVE_S)
            except UmbrellaError as error:
                terminal.say(f"{found.id} keeps the budget of this turn: {error.message}")


def _new(text: str, wish: Wish) -> CreateSession:
    ask, budget = wish.settings.ask, wish.settings.budget
    bounds = Budget(
        max_cost=_least(ask.max_cost, budget.max_cost) if wish.max_cost is None else wish.max_cost,
        max_tokens=_least(ask.max_tokens, budget.max_tokens) if wish.max_tokens is None else wish.max_tokens,
    )
    return CreateSession(
        title=one_line(text, TITLE),
        model=wish.model or configuring.default_model(wish.settings),
        metadata={"cwd": str(Path.cwd()), "client": "ask"},
        limits=Limits(budget=bounds),
    )


def _raised(session: Session, wish: Wish) -> Budget:
    """The budget of a session for one more turn: what an option says counts, a setting only makes it less."""
    spent, before, ask = session.spent, session.limits.budget, wish.settings.ask
    tokens = spent.input_tokens + spent.output_tokens
    if wish.max_cost is not None:
        max_cost: float | None = spent.cost + wish.max_cost
    else:
        max_cost = _least(before.max_cost, None if ask.max_cost is None else spent.cost + ask.max_cost)
    if wish.max_tokens is not None:
        max_tokens: int | None = tokens + wish.max_tokens
    else:
        max_tokens = _least(before.max_tokens, None if ask.max_tokens is None else tokens + ask.max_tokens)
    return Budget(max_cost=max_cost, max_tokens=max_tokens)


def _least(*bounds: Any) -> Any:
    return min((bound for bound in bounds if bound is not None), default=None)


class _Writer:
    """Streams the answer to standard output and the steps to standard error, or all of it to standard output."""

    def __init__(self, how: Output) -> None:
        self._how = how
        self._message: str | None = None

    def tell(self, line: Line) -> None:
        if self._how == "stream-json":
            sys.stdout.write(line_of(line))
            sys.stdout.flush()
        elif self._how == "text":
            self._say(line)

    def _say(self, line: Line) -> None:
        match line:
            case Text():
                between = "\n\n" if self._message not in {None, line.message_id} else ""
                self._message = line.message_id
                sys.stdout.write(between + printable(line.text))
                sys.stdout.flush()
            case Tool(call=call) if call.state != "running":
                problem = f": {call.error.message}" if call.error is not None else ""
                self._step(f"{call.server}.{call.tool} {call.state}{problem}")
            case Refused(refusal=refusal):
                name = f"{refusal.server}.{refusal.tool}"
                self._step(f"{name} needs a person's approval; allow it with {refusal.remedy}")
            case Note():
                self._step(line.text)

    def _step(self, text: str) -> None:
        lead = "\n" if self._message is not None and sys.stdout.isatty() else ""
        terminal.say(f"{lead}· {one_line(text)}")

    def fail(self, error: UmbrellaError) -> None:
        if self._how == "stream-json":
            self.tell(Error(error=error.body(), exit_code=exit_code(error)))

    def end(self, report: TurnReport) -> None:
        if self._how == "stream-json":
            self.tell(End(report=report, exit_code=report.code))
        elif self._message is not None:
            sys.stdout.write("\n")
            sys.stdout.flush()
        as_json = self._how != "text"
        if report.error is not None:
            terminal.complain(error_from(report.error).body(), as_json=as_json)
        elif report.refused:
            patterns = dict.fromkeys(refusal.remedy for refusal in report.refused)
            error = NotPermitted("something was refused, because nobody could be asked", " ".join(patterns))
            terminal.complain(error.body(), as_json=as_json)
