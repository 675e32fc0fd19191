"""The REPL without a screen: what a submitted line does, and the picture of the session it is in.

The full-screen and the line-mode surface (`tui`, `plain`) are two `Face`s of the same thing. Commands that the
shell knows run through the shell's own code; the rest is here. A session begins with the first message or
call, so that opening and closing a REPL leaves nothing behind.
"""

import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, get_args

import click

from mcp_cli.attachment import Attachment, Opener, State
from mcp_cli.commands.sessions import version_before, write
from mcp_cli.completing import Known
from mcp_cli.errands import Desk, Errands
from mcp_cli.exporting import document, markdown, plain_lines, read_records, transcript_of
from mcp_cli.grammar import Fill, Message, Mistake, Order, Parsed, parse
from mcp_cli.invocation import Invocation, Job, Outcome
from mcp_cli.naming import find_session, latest_session, short
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, facts, row
from mcp_cli.slashes import KEYS, PROFILES, groups
from mcp_cli.terminal import json_document
from mcp_cli.transcript import EMPTY, ToolCard, Transcript, fold
from mcp_cli.untrusted import one_line, printable
from mcp_cli.watching import StorageWatch
from mcp_interface.client import Notice
from mcp_interface.commands import (
    CancelTurn,
    ChangeSession,
    CreateSession,
    ForkSession,
    GetSession,
    GetStatus,
    NodeStatus,
    PostMessage,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    ErrorBody,
    NodeUnavailable,
    NotFound,
    StorageUnavailable,
    UmbrellaError,
)
from mcp_interface.events import TurnEnded
from mcp_interface.ids import SessionId
from mcp_interface.question import Question
from mcp_interface.session import Profile, Session
from mcp_interface.store import Record

TITLE: Final = 60
_AWAY: Final = {"lost": "looking for it again…", "stopped": "your next input starts it"}
SETTLE_S: Final = 1.0
"""Seconds in which the card of a failed call shows up, so that its error is not said twice."""


class Face(Desk, Protocol):
    """A surface."""

    @property
    def mentions(self) -> bool:
        """Whether a person types, so that an @ may include something; what comes through a pipe includes nothing."""
        ...

    def complain(self, error: ErrorBody) -> None:
        """Say what went wrong and what to do."""
        ...

    def opened(self) -> None:
        """Another session is looked at; what was shown before belongs to the past."""
        ...

    def clear(self) -> None:
        """Empty the screen."""
        ...

    def leave(self) -> None:
        """End."""
        ...


class _Collector:
    """Takes the work of a shell command instead of doing it at once."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.made: list[Callable[[], Outcome]] = []

    def run(self, job: Job) -> None:
        self.jobs.append(job)

    def finish(self, make: Callable[[], Outcome]) -> None:
        self.made.append(make)


class Repl:
    """What a REPL knows and does."""

    def __init__(self, opener: Opener, invocation: Invocation, face: Face) -> None:
        self.invocation = invocation
        self.face = face
        self.attachment = Attachment(opener, invocation.clock, self)
        self.storage = StorageWatch(self.attachment, invocation.clock, face.show, face.changed)
        self.errands = Errands(self.attachment, invocation.clock, face)
        self.transcript: Transcript = EMPTY
        self.session_id: SessionId | None = None
        self.profile: Profile = "careful"
        self.model = ""
        self.status: NodeStatus | None = None
        self.earlier: Session | None = None
        """The session that could be resumed."""
        self._moved = asyncio.Event()
        self._attached = False
        self._excused = False
        """Whether it was said why there is no node to begin with."""
        self._posted = 0
        """Position of the latest message of ours."""
        self._answered = 0
        """Position of the latest end of a turn."""
        self._local: dict[str, Callable[[tuple[str, ...]], Any]] = {
            "help": self._help,
            "quit": self._quit,
            "clear": self._clear,
            "new": self._new,
            "resume": self._resume,
            "fork": self._fork,
            "suspend": self._suspend,
            "history": self._history,
            "export": self._export,
            "model": self._model,
            "profile": self._profile,
            "cancel": self._cancel,
            "prompt": self.errands.prompt,
            "answer": self._answer,
        }

    # -- what the attachment tells ------------------------------------------------------------------------

    def noticed(self, session_id: SessionId | None, notice: Notice) -> None:
        """Fold a notice into the picture of the session."""
        if session_id is None and isinstance(notice, Record):
            self.errands.noticed(notice)
        if session_id is None or session_id != self.session_id:
            return
        self.transcript = fold(self.transcript, notice)
        if isinstance(notice, Record) and isinstance(notice.event, TurnEnded):
            self._answered = notice.position
        self._moved.set()
        self.face.changed()

    def attached(self, state: State, detail: str) -> None:
        """Say when the node is lost and found again."""
        if state in {"lost", "stopped"} and self._attached:
            self._attached = False
            self.face.show(Prose(f"{detail}; {_AWAY[state]}", "warn"))
        elif state == "connected" and not self._attached:
            self._attached = True
            if self.status is not None:
                self.face.show(Prose("attached again", "ok"))
        elif state == "lost" and self.status is None and not self._excused:
            self._excused = True  # it is tried again and again, and said once
            self.face.show(Prose(detail, "bad"))
        self.face.changed()

    # -- doing things -------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Ask the node how it is, and which session could be resumed."""
        self.status = await self.attachment.request(GetStatus())
        with contextlib.suppress(NotFound):
            self.earlier = await latest_session(await self.attachment.client())
        await self.errands.greet()

    async def open(self, resume: str | None, latest: bool) -> None:
        """Begin where the options of the command say.

        Raises:
            UmbrellaError: There is no such session, or it cannot be looked at.
        """
        if resume is not None:
            await self._go_on(await find_session(await self.attachment.client(), resume))
        elif latest:
            await self._go_on(await latest_session(await self.attachment.client()))

    async def submit(self, line: str) -> None:
        """Do what a line says; errors are shown, never raised."""
        parsed: Parsed = parse(line)
        try:
            match parsed:
                case Message():
                    await self.say(
                        await self.errands.meant(parsed.text) if self.face.mentions else parsed.text
                    )
                case Fill():
                    await self.errands.fill(parsed)
                case Order():
                    await self._order(parsed)
                case Mistake():
                    self.face.complain(
                        ErrorBody(code="invalid_input", message=parsed.message, remedy=parsed.remedy)
                    )
        except UmbrellaError as error:
            if isinstance(error, StorageUnavailable):
                self.storage.refused(error)
            self.face.complain(error.body())

    async def stop_turn(self) -> bool:
        """Stop what the assistant is doing; False when it was idle."""
        if self.session_id is None:
            return False
        return await self.attachment.request(CancelTurn(session_id=self.session_id))

    async def say(self, text: str) -> None:
        """Say something to the assistant, as it is."""
        session_id = await self._ensure(text)
        posted = await self.attachment.request(PostMessage(session_id=session_id, text=text))
        self._posted = posted.position

    @property
    def questions(self) -> list[Question]:
        """Open questions of tools: those of this session first, then those that are known of others."""
        mine = self.transcript.questions
        return mine + [one for one in self.errands.waiting if one.session_id != self.session_id]

    @property
    def awaits_answer(self) -> bool:
        """Whether a message was posted whose turn has not ended."""
        return self._posted > self._answered or self.transcript.working is not None

    async def _ensure(self, title: str) -> SessionId:
        """Return the session, which begins now when there was none."""
        if self.session_id is not None and not self.transcript.ended:
            return self.session_id
        session = await self.attachment.request(
            CreateSession(
                title=one_line(title, TITLE),
                profile=self.profile,
                model=self.model,
                metadata={"cwd": str(Path.cwd()), "client": "repl"},
            )
        )
        self._attend(session.id)
        return session.id

    def _attend(self, session_id: SessionId | None, picture: Transcript = EMPTY) -> None:
        self.session_id, self.transcript = session_id, picture
        self._posted = self._answered = 0
        self.attachment.attend(session_id, picture.position)
        self.face.changed()

    async def _look_at(self, session: Session) -> None:
        self.profile, self.model = session.profile, session.model
        # Read at once and drawn once: following from the start would draw the past piece by piece.
        records = await read_records(await self.attachment.client(), session.id)
        self.face.opened()
        self._attend(session.id, transcript_of(records))

    async def _go_on(self, session: Session) -> None:
        """Look at a session in order to take part in it."""
        await self._look_at(session)
        if session.status in {"suspended", "error"}:
            await self.attachment.request(ResumeSession(session_id=session.id))

    # -- commands of the shell ----------------------------------------------------------------------------

    async def _order(self, order: Order) -> None:
        local = self._local.get(order.slash.name)
        if local is not None:
            await local(order.words)
            return
        if await self.errands.local(order, self.questions):
            return
        words = [*order.slash.route, *order.words]
        if order.slash.name == "call" and "--session" not in words and len(order.words) >= 2:
            words += ["--session", await self._ensure(f"/call {' '.join(order.words[:2])}")]
        for job in self._read(words, order):
            if job.offline is not None and self.attachment.state in {"lost", "stopped"}:
                await self._do(job, job.offline(), order)
            else:
                await self._do(job, job.work(await self.attachment.client()), order)

    def _read(self, words: Sequence[str], order: Order) -> list[Job]:
        """Let the shell's own parser read the words; help and usage errors are shown."""
        from mcp_cli.main import cli

        collector = _Collector()
        given = Invocation(data_dir=self.invocation.data_dir, clock=self.invocation.clock, runner=collector)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                cli.main(list(words), prog_name="umbrella", standalone_mode=False, obj=given)
        except click.ClickException as error:
            usage = f"usage: /{order.slash.name} {order.slash.usage}".rstrip()
            raise CallerMistaken(error.format_message(), usage) from error
        if printed.getvalue():
            self.face.show(Prose(printed.getvalue().rstrip()))
        for make in collector.made:
            outcome = make()
            if outcome.shown is not None:
                self.face.show(outcome.shown)
        return collector.jobs

    async def _do(self, job: Job, work: Awaitable[Outcome], order: Order) -> None:
        try:
            async with asyncio.timeout(job.timeout):
                outcome = await work
        except TimeoutError as error:
            raise DeadlineExceeded("no answer in time", "the work may still be going on") from error
        except UmbrellaError as error:
            # who waited for the card of a node that is gone would say so when another one is there already
            gone = isinstance(error, NodeUnavailable)
            if order.slash.name == "call" and not gone and await self._has_card(error):
                return
            raise
        if outcome.shown is not None and order.slash.name != "call":
            self.face.show(outcome.shown)

    async def _has_card(self, error: UmbrellaError) -> bool:
        """Whether the session shows this error already, as the card of the call."""
        try:
            async with asyncio.timeout(SETTLE_S):
                while True:
                    self._moved.clear()
                    last = next(
                        (card for card in reversed(self.transcript.blocks) if isinstance(card, ToolCard)),
                        None,
                    )
                    if last is not None and last.error is not None and last.error.message == error.message:
                        return True
                    await self._moved.wait()
        except TimeoutError:
            return False

    # -- commands of the REPL -----------------------------------------------------------------------------

    async def _help(self, words: tuple[str, ...]) -> None:
        if words:
            await self._help_on(words)
            return
        for group, slashes in groups():
            rows = [
                row(Cell(f"/{one.name}", "accent"), one.summary, Cell(one.usage, "dim")) for one in slashes
            ]
            self.face.show(Sheet(columns=("", "", ""), rows=rows, title=group))
        keys = [(name, Cell(text)) for name, text in KEYS.items()]
        self.face.show(Facts(pairs=keys, title="keys", note="more on one of them: /help COMMAND"))
        if self.status is not None and not self.status.model.ready:
            self.face.show(first_steps(self.status))

    async def _help_on(self, words: tuple[str, ...]) -> None:
        parsed = parse("/" + words[0].lstrip("/"))
        if isinstance(parsed, Mistake) or not isinstance(parsed, Order):
            raise CallerMistaken(f"there is no command {words[0]!r}", "see /help")
        slash = parsed.slash
        lines = [(sub.name, Cell(sub.summary)) for sub in slash.subs]
        if slash.name == "profile":
            lines = [(name, Cell(text)) for name, text in PROFILES.items()]
        title = f"/{slash.name} {slash.usage}".rstrip()
        self.face.show(Facts(pairs=lines, title=title, note=slash.summary))

    async def _quit(self, words: tuple[str, ...]) -> None:
        self.face.leave()

    async def _clear(self, words: tuple[str, ...]) -> None:
        self.face.clear()

    async def _new(self, words: tuple[str, ...]) -> None:
        self._attend(None)
        self.face.opened()
        self.face.show(Prose("a new session begins with your next message", "dim"))

    async def _resume(self, words: tuple[str, ...]) -> None:
        client = await self.attachment.client()
        if words:
            await self._go_on(await find_session(client, words[0]))
        elif self.session_id is not None and self.transcript.suspended:
            await self.attachment.request(ResumeSession(session_id=self.session_id))
        else:
            await self._go_on(await self._another())

    async def _fork(self, words: tuple[str, ...]) -> None:
        session = await self._session()
        version = None
        if words:
            if not words[0].isdigit() or int(words[0]) < 1:
                raise CallerMistaken(f"{words[0]!r} is not a number of messages", "write for example /fork 1")
            records = await read_records(await self.attachment.client(), session.id)
            version = version_before(records, int(words[0]))
        made = await self.attachment.request(ForkSession(session_id=session.id, version=version))
        await self._look_at(made)

    async def _suspend(self, words: tuple[str, ...]) -> None:
        session = await self._session()
        await self.attachment.request(SuspendSession(session_id=session.id))

    async def _another(self) -> Session:
        """Return the latest session that is not the one on the screen."""
        latest = await latest_session(await self.attachment.client())
        if latest.id == self.session_id:
            raise NotFound("this is the latest session", "choose another: /sessions, then /resume ID")
        return latest

    async def _history(self, words: tuple[str, ...]) -> None:
        if words and not words[0].isdigit():
            raise CallerMistaken(f"{words[0]!r} is not a number", "write for example /history 20")
        count = int(words[0]) if words else 10
        text = plain_lines(self.transcript, count).strip() if self.transcript.blocks else ""
        self.face.show(Prose(text or "nothing was said yet", "dim"))

    async def _export(self, words: tuple[str, ...]) -> None:
        kind = words[0] if words else "md"
        if kind not in {"md", "json"}:
            raise CallerMistaken(f"{kind!r} is not a format", "write /export md or /export json")
        session = await self._session()
        records = await read_records(await self.attachment.client(), session.id)
        path = Path(words[1] if len(words) > 1 else f"{short(session.id)}.{kind}").expanduser().absolute()
        as_json = kind == "json"
        text = (
            json_document(document(session, records))
            if as_json
            else markdown(session, transcript_of(records))
        )
        write(path, text)
        self.face.show(Prose(f"wrote {path}", "ok"))

    async def _session(self) -> Session:
        if self.session_id is None:
            raise NotFound("there is no session yet", "say something, or /resume an earlier one")
        return await self.attachment.request(GetSession(session_id=self.session_id))

    async def _model(self, words: tuple[str, ...]) -> None:
        if not words:
            self.status = await self.attachment.request(GetStatus())
            found = self.status.model
            name = self.transcript.model or self.model or found.model
            shown = Cell(printable(name), "ok") if found.ready else Cell("no model", "warn")
            self.face.show(facts(("model", shown), ("from", found.provider), note=printable(found.hint)))
            return
        self.model = words[0]
        if self.session_id is not None:
            await self.attachment.request(ChangeSession(session_id=self.session_id, model=self.model))
        else:
            self.face.show(Prose(f"the next session uses {printable(self.model)}", "ok"))

    async def _profile(self, words: tuple[str, ...]) -> None:
        if not words:
            current = self.transcript.profile if self.session_id is not None else self.profile
            pairs = [
                (name, Cell(text, "ok" if name == current else "dim")) for name, text in PROFILES.items()
            ]
            self.face.show(Facts(pairs=pairs, title=f"profile: {current}", note="change it: /profile NAME"))
            return
        chosen = next((name for name in get_args(Profile) if name == words[0]), None)
        if chosen is None:
            raise CallerMistaken(f"{words[0]!r} is not a profile", f"use one of {', '.join(PROFILES)}")
        self.profile = chosen
        if self.session_id is not None:
            await self.attachment.request(ChangeSession(session_id=self.session_id, profile=chosen))
        else:
            self.face.show(Prose(f"profile {chosen}: the assistant {PROFILES[chosen]}", "ok"))
        self.face.changed()

    async def _answer(self, words: tuple[str, ...]) -> None:
        await self.errands.answer(words, self.questions)

    async def _cancel(self, words: tuple[str, ...]) -> None:
        if not await self.stop_turn():
            self.face.show(Prose("the assistant is idle", "dim"))

    def farewell(self) -> str:
        """Return how to come back, or nothing when there is nothing to come back to."""
        if self.session_id is None or self.transcript.ended:
            return ""
        where = f" --data-dir {self.invocation.data_dir}" if self.invocation.data_dir is not None else ""
        return f"This session goes on without you. Come back: umbrella{where} --resume {self.session_id}"


def first_steps(status: NodeStatus | None) -> Facts:
    """What can be done at once, also without a model."""
    ready = status is not None and status.model.ready
    steps = [
        ("/mcp add NAME -- COMMAND ARGS…", Cell("connect an MCP server")),
        ("/tools", Cell("see what its tools do and need")),
        ('/call fs list_directory {"path": "' + str(Path.cwd()) + '"}', Cell("call one yourself")),
        ("/agent spawn scout", Cell("start an agent: it may do nothing until you /grant it")),
    ]
    if ready:
        return Facts(
            pairs=steps, title="say something, or begin with one of these", note="all commands: /help"
        )
    hint = printable(status.model.hint) if status is not None else ""
    note = f"to chat with the assistant: {hint}" if hint else "all commands: /help"
    return Facts(pairs=steps, title="no model is set; all of this works without one", note=note)


async def known_names(repl: Repl) -> Known:
    """Ask the node for the names that completion offers; a node that is away knows none."""
    from mcp_cli.knowing import gather

    try:
        return await gather(await repl.attachment.client())
    except UmbrellaError:
        return Known()
