"""`umbrella sessions …`: conversations, with all that happened in them."""

from pathlib import Path
from typing import Literal

import click

from mcp_cli import presenters
from mcp_cli.exporting import document, markdown, plain_lines, read_records, transcript_of
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import find_session, short
from mcp_cli.sheet import Prose, facts
from mcp_cli.terminal import json_document
from mcp_cli.untrusted import printable
from mcp_interface.client import Client
from mcp_interface.commands import EndSession, ListSessions
from mcp_interface.errors import CallerMistaken


@click.group()
def command() -> None:
    """List, show, export and end sessions."""


@command.command("list", short_help="Sessions, latest activity first.")
@click.option("--all", "ended", is_flag=True, help="Also those that have ended.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(ctx: click.Context, ended: bool, limit: int, cursor: str | None) -> None:
    """List sessions, latest activity first."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        page = await client.request(ListSessions(ended=ended, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=presenters.sessions(page, clock.now()))

    run(ctx, work)


@command.command(short_help="What was said and done.")
@click.argument("session")
@click.option("--last", type=click.IntRange(1), help="Only so many blocks.")
@click.pass_context
def show(ctx: click.Context, session: str, last: int | None) -> None:
    """Show what was said and done in a session."""

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        transcript = transcript_of(await read_records(client, found.id))
        text = plain_lines(transcript, last or 0).strip() or "nothing was said yet"
        head = f"{short(found.id)}  {printable(found.title) or 'untitled'}  ({found.profile})"
        return Outcome(value={"session": found, "transcript": transcript}, shown=Prose(f"{head}\n\n{text}"))

    run(ctx, work)


@command.command(short_help="Write a session to a file or to standard output.")
@click.argument("session")
@click.option("--as", "kind", type=click.Choice(["md", "json"]), default="md", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where; otherwise printed.")
@click.pass_context
def export(ctx: click.Context, session: str, kind: Literal["md", "json"], output: Path | None) -> None:
    """Export a session: Markdown for people, or every record as JSON."""
    as_json = kind == "json" or (output is None and invocation(ctx).format == "json")

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        records = await read_records(client, found.id)
        whole = document(found, records)
        text = json_document(whole) if as_json else markdown(found, transcript_of(records))
        if output is None:
            return Outcome(value=whole, shown=Prose(text.rstrip()))
        write(output, text)
        value = {"session_id": found.id, "path": str(output), "records": len(records)}
        return Outcome(value=value, shown=Prose(f"wrote {len(records)} events to {output}", "ok"))

    run(ctx, work)


def write(path: Path, text: str) -> None:
    """Write an export.

    Raises:
        CallerMistaken: The file cannot be written.
    """
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise CallerMistaken(f"{path} cannot be written: {error}", "name another file") from error


@command.command(short_help="End a session, its agents and their rights.")
@click.argument("session")
@click.option("--reason", default="ended by user")
@click.pass_context
def end(ctx: click.Context, session: str, reason: str) -> None:
    """End a session, its agents and their rights; its transcript stays."""

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        await client.request(EndSession(session_id=found.id, reason=reason))
        return Outcome(value={"ended": found.id}, shown=facts(("ended", found.id)))

    run(ctx, work)
