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
from typing import Final, Protocol

import click
import msgspec

from mcp_cli import shelling
from mcp_cli.attachment import Attachment, Opener, State
from mcp_cli.completing import Known
from mcp_cli.errands import Desk, Errands
from mcp_cli.exporting import read_records, transcript_of
from mcp_cli.grammar import Fill, Message, Mistake, Order, Parsed, Shell, parse
from mcp_cli.invocation import Invocation, Job, Outcome
from mcp_cli.local import LOCAL
from mcp_cli.naming import find_session, latest_session
from mcp_cli.remembering import ReplState
from mcp_cli.sheet import Cell, Facts, Prose
from mcp_cli.slashes import BY_NAME
from mcp_cli.staging import Stage
from mcp_cli.statusline import Beyond
from mcp_cli.surveying import Survey
from mcp_cli.transcript import EMPTY, ToolCard, Transcript, fold
from mcp_cli.untrusted import one_line, printable
from mcp_cli.watching import StorageWatch
from mcp_interface.client import Notice
from mcp_interface.codec import encode_json
from mcp_interface.commands import (
    CancelTurn,
    ChangeSession,
    CreateSession,
    GetSession,
    GetStatus,
    NodeStatus,
    PostMessage,
    ResumeSession,
)
from mcp_interface.conversing import ListModels
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
from mcp_interface.provider import ModelInfo
from mcp_interface.question import Question
from mcp_interface.session import Limits, Profile, Session, Strategy
from mcp_interface.store import Record

TITLE: Final = 60
_AWAY: Final = {"lost": "looking for it again…", "stopped": "your next input starts it"}
SETTLE_S: Final = 1.0
"""Seconds in which the card of a failed call shows up, so that its error is not said twice."""
MODELS_KEPT_S: Final = 60.0
"""Seconds for which names of models are not asked for again."""
MODELS_ANSWER_S: Final = 5.0
MEANWHILE: Final = "── meanwhile ──"


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

    def __init__(
        self, opener: Opener, invocation: Invocation, face: Face, state: ReplState | None = None
    ) -> None:
        self.invocation = invocation
        self.state = state or ReplState()
        self.face = face
        self._stage = face if isinstance(face, Stage) else None
        self.attachment = Attachment(opener, invocation.clock, self)
        self.storage = StorageWatch(self.attachment, invocation.clock, face.show, face.changed)
        self.errands = Errands(self.attachment, invocation.clock, face)
        self.transcript: Transcript = EMPTY
        self.session_id: SessionId | None = None
        self.profile: Profile = "careful"
        self.model = invocation.model
        self.system = ""
        self.strategy: Strategy = "smart"
        self.budget = invocation.budget
        self.beyond = Beyond()
        """What the status line shows beside the transcript."""
        self.survey = Survey(self)
        self.status: NodeStatus | None = None
        self.earlier: Session | None = None
        """The session that could be resumed."""
        self._moved = asyncio.Event()
        self._attached = False
        self._excused = False
        """Whether it was said why there is no node to begin with."""
        self._models: tuple[ModelInfo, ...] = ()
        self._models_until = float("-inf")
        self._posted = 0
        """Position of the latest message of ours."""
        self.answered = 0
        """Position of the latest end of a turn."""

    # -- what the attachment tells ------------------------------------------------------------------------

    def noticed(self, session_id: SessionId | None, notice: Notice) -> None:
        """Fold a notice into the picture of the session."""
        if isinstance(notice, Record) and self._stage is not None:
            self._stage.happened(notice.event)
        if session_id is None and isinstance(notice, Record):
            self.errands.noticed(notice)
        if session_id is None or session_id != self.session_id:
            return
        self.transcript = fold(self.transcript, notice)
        if isinstance(notice, Record) and isinstance(notice.event, TurnEnded):
            self.answered = notice.position
            self.saw()
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
            await self.go_on(await find_session(await self.attachment.client(), resume))
        elif latest:
            await self.go_on(await latest_session(await self.attachment.client()))

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
                case Shell():
                    await self._shell(parsed, line)
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
        return self._posted > self.answered or self.transcript.working is not None

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
                limits=Limits(budget=self.budget),
                system=self.system,
            )
        )
        self.attend(session.id)
        if self.strategy != session.strategy:
            await self.attachment.request(ChangeSession(session_id=session.id, strategy=self.strategy))
        return session.id

    def attend(self, session_id: SessionId | None, picture: Transcript = EMPTY) -> None:
        """Look at another session, or at none; the picture is what is known of it already."""
        self.saw()
        self.session_id, self.transcript = session_id, picture
        self._posted = self.answered = 0
        self.attachment.attend(session_id, picture.position)
        self.face.changed()

    def saw(self) -> None:
        """Remember how far the session on the screen was seen."""
        if self.session_id is not None:
            self.state.see(self.session_id, self.transcript.position)

    async def look_at(self, session: Session) -> None:
        """Show a session; a line stands before what happened since it was on this screen last."""
        self.profile, self.model, self.system = session.profile, session.model, session.system
        self.strategy, self.budget = session.strategy, session.limits.budget
        # Read at once and drawn once: following from the start would draw the past piece by piece.
        records = await read_records(await self.attachment.client(), session.id)
        self.saw()  # this very session may be on the screen
        seen = self.state.seen(session.id)
        self.session_id, self.transcript = None, EMPTY
        self.face.opened()
        picture = transcript_of([record for record in records if record.position <= seen])
        known = len(picture.blocks)
        if known:
            self.transcript = picture
        for record in records:
            picture = fold(picture, record)
        if 0 < known < len(picture.blocks):
            self.face.changed()
            self.face.show(Prose(MEANWHILE, "accent"))
        self.attend(session.id, picture)

    async def go_on(self, session: Session) -> None:
        """Look at a session in order to take part in it."""
        await self.look_at(session)
        if session.status in {"suspended", "error"}:
            await self.attachment.request(ResumeSession(session_id=session.id))

    async def session(self) -> Session:
        """Return the session on the screen.

        Raises:
            NotFound: There is none yet.
        """
        if self.session_id is None:
            raise NotFound("there is no session yet", "say something, or /resume an earlier one")
        return await self.attachment.request(GetSession(session_id=self.session_id))

    async def models(self) -> Sequence[ModelInfo]:
        """Models to choose from; asked for once in a while, none when nobody answers."""
        now = self.invocation.clock.monotonic()
        if now >= self._models_until:
            self._models_until = now + MODELS_KEPT_S
            with contextlib.suppress(UmbrellaError):
                found = await self.attachment.request(ListModels(), MODELS_ANSWER_S)
                self._models = tuple(found)
        return self._models

    # -- commands of the shell ----------------------------------------------------------------------------

    async def _order(self, order: Order) -> None:
        local = LOCAL.get(order.slash.name)
        if local is not None:
            await local(self, order.words)
            return
        if await self.errands.local(order, self.questions):
            return
        if order.words == (order.slash.default,) and isinstance(self.face, Stage):
            match order.slash.name:
                case "caps" | "audit" as ledger:
                    self.face.show_ledger(ledger)
                    return
        # what is one text is never an option, however it begins
        words = [*order.slash.route, *(["--"] if order.slash.raw else []), *order.words]
        if _belongs_here(order) and "--session" not in words:
            words += ["--session", await self._ensure(f"/{order.slash.name} {' '.join(order.words[:2])}")]
        for job in self._read(words, order):
            if job.offline is not None and self.attachment.state in {"lost", "stopped"}:
                await self._do(job, job.offline(), order)
            else:
                await self._do(job, job.work(await self.attachment.client()), order)

    async def _shell(self, wanted: Shell, typed: str) -> None:
        """Run a command of the person's shell; what comes through a pipe is a message, as it always was."""
        if not self.face.mentions:
            await self.say(typed.strip())
            return
        given = encode_json(shelling.arguments(wanted.line, Path.cwd())).decode()
        session_id = await self._ensure(typed)
        words = ("shell", "run", "--json", given, "--session", session_id)
        await self._order(Order(BY_NAME["call"], words))

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

    def remind(self) -> None:
        """Say what can be done without a model, when there is none."""
        if self.status is not None and not self.status.model.ready:
            self.face.show(first_steps(self.status))

    def farewell(self) -> str:
        """Return how to come back, or nothing when there is nothing to come back to."""
        if self.session_id is None or self.transcript.ended:
            return ""
        where = f" --data-dir {self.invocation.data_dir}" if self.invocation.data_dir is not None else ""
        return f"This session goes on without you. Come back: umbrella{where} --resume {self.session_id}"


def _belongs_here(order: Order) -> bool:
    """Whether what a command of the shell begins is a part of the session that is looked at."""
    match order.slash.name, *order.words:
        case ["call", _, _, *_] | ["task", "give", _, *_] | ["plan", "draft", _, *_]:
            return True
    return False


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
        known = await gather(await repl.attachment.client())
    except UmbrellaError:
        return Known()
    return msgspec.structs.replace(known, models={one.name: model_words(one) for one in await repl.models()})


def model_words(info: ModelInfo) -> str:
    """A few words on a model: what it takes and costs."""
    takes = f"{info.context_tokens:,} tokens" if info.context_tokens else ""
    priced = info.input_price is not None and info.output_price is not None
    costs = f"${info.input_price:g} in, ${info.output_price:g} out a million" if priced else ""
    usual = "the default" if info.default else ""
    return " · ".join(filter(None, [one_line(info.provider, 30), takes, costs, usual]))
