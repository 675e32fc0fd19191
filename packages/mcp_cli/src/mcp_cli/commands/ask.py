"""`umbrella ask`: one turn of the assistant at the shell, for scripts and pipes."""

import select
import sys
from pathlib import Path
from typing import Final

import click

from mcp_cli import terminal
from mcp_cli.arguments import duration
from mcp_cli.interview import Interview, say
from mcp_cli.invocation import Invocation, Outcome, invocation, run
from mcp_cli.lines import Lines
from mcp_cli.naming import find_session, latest_session
from mcp_cli.turn import Turn, TurnReport
from mcp_cli.untrusted import one_line, printable
from mcp_interface.client import Client
from mcp_interface.commands import ChangeSession, CreateSession
from mcp_interface.errors import CallerMistaken, NotPermitted, error_from
from mcp_interface.session import Session

MOST: Final = 1_000_000
"""Characters of one message."""
PATIENCE_S: Final = 3.0
"""Seconds after which we say that we wait for standard input."""
TITLE: Final = 60


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
@click.option("--timeout", default="10m", metavar="TIME", show_default=True, help="For the whole turn.")
@click.pass_context
def command(
    ctx: click.Context,
    prompt: str,
    latest: bool,
    resume: str | None,
    model: str | None,
    allow: tuple[str, ...],
    timeout: str,
) -> None:
    """Ask the assistant and print its answer; text piped in is added to the prompt.

    Nobody can approve anything here: what the assistant may not do by itself is refused, and the option that
    allows it is named. The exit code is then 3. What a tool wants to know is asked at a terminal; elsewhere you
    are told how to answer, and the turn waits.
    """
    given = invocation(ctx)
    if latest and resume:
        raise click.UsageError("--continue and --resume exclude each other", ctx)

    async def work(client: Client) -> Outcome:
        seconds = duration(timeout)
        text = _whole(prompt, _piped())
        session = await _session(client, text, latest, resume, model)
        writer = _Writer(given)
        lines = Lines(sys.stdin) if sys.stdin is not None and sys.stdin.isatty() else None
        interview = Interview(client, lines, say)
        turn = Turn(client, session, allow, seconds, writer.text, writer.step, interview)
        report = await turn.run(text)
        writer.end(report)
        return Outcome(value=report, code=report.code)

    run(ctx, work, timeout=None)


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


async def _session(client: Client, text: str, latest: bool, resume: str | None, model: str | None) -> Session:
    if not latest and resume is None:
        title = one_line(text, TITLE)
        place = {"cwd": str(Path.cwd()), "client": "ask"}
        return await client.request(CreateSession(title=title, model=model or "", metadata=place))
    session = await find_session(client, resume) if resume is not None else await latest_session(client)
    if model is not None:
        session = await client.request(ChangeSession(session_id=session.id, model=model))
    return session


class _Writer:
    """Streams the answer to standard output and the steps to standard error."""

    def __init__(self, given: Invocation) -> None:
        self._json = given.format == "json"
        self._wrote = False

    def text(self, text: str) -> None:
        if self._json:
            return
        sys.stdout.write(printable(text))
        sys.stdout.flush()
        self._wrote = True

    def step(self, text: str) -> None:
        if not self._json:
            lead = "\n" if self._wrote and sys.stdout.isatty() else ""
            terminal.say(f"{lead}· {one_line(text)}")

    def end(self, report: TurnReport) -> None:
        if self._wrote:
            sys.stdout.write("\n")
            sys.stdout.flush()
        if report.error is not None:
            terminal.complain(error_from(report.error).body(), as_json=self._json)
        elif report.refused:
            patterns = dict.fromkeys(refusal.remedy for refusal in report.refused)
            error = NotPermitted("something was refused, because nobody could be asked", " ".join(patterns))
            terminal.complain(error.body(), as_json=self._json)
