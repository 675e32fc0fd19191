"""`umbrella sessions …`: conversations, with all that happened in them."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import click

from mcp_cli import importing, presenters
from mcp_cli.exporting import document, markdown, plain_lines, read_records, transcript_of
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import find_session, short
from mcp_cli.sheet import Cell, Prose, Sheet, facts, row
from mcp_cli.terminal import json_document
from mcp_cli.untrusted import one_line, printable
from mcp_interface.client import Client
from mcp_interface.commands import (
    ChangeSession,
    EndSession,
    ForkSession,
    ListSessions,
    Page,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.conversing import FoundMessage, ImportSession, SearchMessages
from mcp_interface.errors import CallerMistaken
from mcp_interface.events import UserMessage
from mcp_interface.session import Cleanup
from mcp_interface.store import Record

LONGEST: Final = 64 * 1024 * 1024
"""Characters of a file that is brought in."""
MARK: Final = str.maketrans({"\x02": "*", "\x03": "*"})
"""How the words that fit are shown where nothing can be bold."""


@click.group()
def command() -> None:
    """List, search, show, rename, export, import, fork, suspend and end sessions."""


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


@command.command(
    short_help="Find what was said, in all your sessions.",
    epilog="Example: umbrella sessions search 'flaky test' deadl*",
)
@click.argument("words", nargs=-1, required=True)
@click.option("--session", help="Only in this one.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def search(
    ctx: click.Context, words: tuple[str, ...], session: str | None, limit: int, cursor: str | None
) -> None:
    """Find what was said, best first: words that all have to be there, "phrases", and beginnings*."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        only = (await find_session(client, session)).id if session is not None else None
        text = " ".join(words)
        page = await client.request(SearchMessages(text=text, session_id=only, limit=limit, cursor=cursor))
        return Outcome(value=page, shown=_found(page, clock.now()))

    run(ctx, work)


def _found(page: Page[FoundMessage], now: datetime) -> Sheet:
    rows = [
        row(
            Cell(short(message.session_id), "accent"),
            Cell(str(message.version), "dim"),
            Cell(one_line(message.title, 30) or "untitled", "strong"),
            Cell("you" if message.role == "user" else "assistant", "dim"),
            Cell(presenters.ago(message.at, now), "dim"),
            one_line(message.snippet.translate(MARK)),
        )
        for message in page.items
    ]
    note = "go on there: umbrella --resume SESSION, or in a copy: umbrella sessions fork SESSION --at EVENT"
    return Sheet(
        columns=("session", "#event", "title", "who", "when", "said"),
        rows=rows,
        empty="nothing that was said has all these words",
        note=presenters.more(page) or note,
    )


@command.command(short_help="Give a session another title.")
@click.argument("session")
@click.argument("title", nargs=-1, required=True)
@click.pass_context
def rename(ctx: click.Context, session: str, title: tuple[str, ...]) -> None:
    """Give a session another title."""
    wanted = " ".join(title).strip()
    if not wanted:
        raise click.UsageError("a title needs at least one letter", ctx)

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        changed = await client.request(ChangeSession(session_id=found.id, title=wanted))
        return Outcome(
            value=changed, shown=facts(("session", changed.id), ("title", printable(changed.title)))
        )

    run(ctx, work)


@command.command("import", short_help="Bring in a conversation from a file.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--title", help="How it is called; otherwise as in the file, or by its first words.")
@click.pass_context
def import_(ctx: click.Context, file: Path, title: str | None) -> None:
    """Bring in what `umbrella sessions export --as json` wrote, or a JSON list of {role, content, timestamp}.

    What people and models said is taken, with its times. Nothing is answered, and no tool runs.
    """

    async def work(client: Client) -> Outcome:
        taken = importing.read(_read(file))
        wish = ImportSession(
            messages=taken.messages,
            title=taken.title if title is None else title,
            metadata={"source": one_line(file.name, 200)},
        )
        made = await client.request(wish)
        value = {"session": made, "messages": len(taken.messages), "left_out": taken.left}
        shown = facts(
            ("session", made.id),
            ("title", one_line(made.title, 80)),
            ("messages", str(len(taken.messages))),
            ("left out", Cell("; ".join(taken.left), "warn")),
            note=f"go on with it: umbrella --resume {made.id}",
        )
        return Outcome(value=value, shown=shown)

    run(ctx, work)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            text = sys.stdin.read(LONGEST + 1)
        else:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CallerMistaken(f"{file} cannot be read: {error}", "name another file") from error
    if len(text) > LONGEST:
        raise CallerMistaken(f"{file} has more than {LONGEST} characters", "bring it in as several files")
    return text


@command.command(short_help="Begin a session with a copy of another one.")
@click.argument("session")
@click.option(
    "--back", type=click.IntRange(1), help="Leave out your last so many messages, and what followed."
)
@click.option("--at", "version", type=click.IntRange(1), help="The last event to carry over, by its version.")
@click.option("--title", help="How it is called; otherwise as the other one.")
@click.pass_context
def fork(ctx: click.Context, session: str, back: int | None, version: int | None, title: str | None) -> None:
    """Begin a session with a copy of another one's history, which stays as it is; ended ones too.

    What was going on there, and what its agents may do, is not copied.
    """

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        at = version
        if back is not None:
            if version is not None:
                raise CallerMistaken("--back and --at name two places", "give one of them")
            at = version_before(await read_records(client, found.id), back)
        made = await client.request(ForkSession(session_id=found.id, version=at, title=title))
        copied = made.forked_from.version if made.forked_from is not None else 0
        note = f"go on with it: umbrella --resume {made.id}"
        origin = f"{found.id}, up to event {copied}"
        return Outcome(value=made, shown=facts(("session", made.id), ("copied from", origin), note=note))

    run(ctx, work)


def version_before(records: Sequence[Record], back: int) -> int:
    """Return the version of the last event before the last so many messages of people.

    Raises:
        CallerMistaken: There are not so many.
    """
    said = [record.version for record in records if isinstance(record.event, UserMessage)]
    if back > len(said):
        raise CallerMistaken(f"{back} messages back, but there are {len(said)}", "go back fewer")
    return said[-back] - 1


@command.command(short_help="Let nothing more begin in a session.")
@click.argument("session")
@click.option("--reason", default="")
@click.pass_context
def suspend(ctx: click.Context, session: str, reason: str) -> None:
    """Suspend a session: tool calls that run may finish, then its assistant stops and nothing begins any more."""

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        resting = await client.request(SuspendSession(session_id=found.id, reason=reason))
        note = f"go on with it: umbrella sessions resume {short(found.id)}"
        return Outcome(value=resting, shown=facts(("suspended", found.id), note=note))

    run(ctx, work)


@command.command(short_help="Go on with a suspended session.")
@click.argument("session")
@click.pass_context
def resume(ctx: click.Context, session: str) -> None:
    """Let things begin again in a suspended session; what nobody has answered is taken up.

    To talk in it, open it: umbrella --resume SESSION.
    """

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        going = await client.request(ResumeSession(session_id=found.id))
        return Outcome(value=going, shown=facts(("resumed", found.id)))

    run(ctx, work)


@command.command(short_help="End a session, its agents and their rights.")
@click.argument("session")
@click.option("--reason", default="ended by user")
@click.option(
    "--cleanup",
    type=click.Choice(["graceful", "immediate", "force"]),
    default="immediate",
    show_default=True,
    help="Tool calls that run: let them finish, cancel them, do not wait for them.",
)
@click.pass_context
def end(ctx: click.Context, session: str, reason: str, cleanup: Cleanup) -> None:
    """End a session, its agents and their rights; its transcript stays."""

    async def work(client: Client) -> Outcome:
        found = await find_session(client, session)
        await client.request(EndSession(session_id=found.id, reason=reason, cleanup=cleanup))
        return Outcome(value={"ended": found.id}, shown=facts(("ended", found.id)))

    run(ctx, work)
