"""The REPL as lines: for pipes, simple terminals, and people who read with a screen reader.

The same commands as the full screen. Nothing moves, nothing is drawn twice: each block is printed when it is
finished. With input from a pipe it waits for each turn before it reads on, and ends with the input.
"""

import asyncio
import sys
from datetime import datetime
from typing import Final, TextIO

from mcp_cli import rights, terminal
from mcp_cli.attachment import Opener
from mcp_cli.diffing import FOLDED, preview_lines
from mcp_cli.exporting import plain_block
from mcp_cli.interview import answer_by_lines, ask_by_lines
from mcp_cli.invocation import Invocation
from mcp_cli.lines import Lines
from mcp_cli.questioning import asked, how_to_answer, opening_lines
from mcp_cli.remembering import ReplState
from mcp_cli.repl import Repl, first_steps
from mcp_cli.sheet import Shown
from mcp_cli.slashes import in_repl
from mcp_cli.transcript import Answered, Asked, Block, Permission, ToolCard
from mcp_cli.untrusted import one_line, printable, revealed
from mcp_interface.approval import Approval
from mcp_interface.errors import CallerMistaken, ErrorBody, UmbrellaError
from mcp_interface.ids import ExecutionId
from mcp_interface.question import Inquiry, Question, Response

PROMPT: Final = "umbrella> "
TURN_S: Final = 3600.0
"""Seconds that piped input waits for one turn."""


class PlainFace:
    """Prints the REPL line by line."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._lines = Lines(source)
        self._shown = 0
        self._asked: set[str] = set()
        self._late: list[int] = []
        """Blocks that wait for an answer, perhaps for hours: what comes behind them is printed before them."""
        self._known: set[str] = set()
        """Questions that were open when the line was read."""
        self._left: set[str] = set()
        """Questions that were left open for later."""
        self._orders: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()
        self._news = asyncio.Event()
        self.repl: Repl | None = None

    # -- Face ---------------------------------------------------------------------------------------------

    def show(self, shown: Shown) -> None:
        """Print a table, facts or text."""
        terminal.show(shown)

    def complain(self, error: ErrorBody) -> None:
        """Print what went wrong; on standard output, where the conversation is."""
        told = terminal.remedy(error)
        sys.stdout.write(f"error: {error.message}\n" + (f"remedy: {told}\n" if told else ""))
        sys.stdout.flush()

    def changed(self) -> None:
        """Print the blocks that are finished."""
        repl = self.repl
        if repl is None:
            return
        blocks = repl.transcript.blocks
        for index in [index for index in self._late if _finished(blocks[index])]:
            self._late.remove(index)
            self._print(blocks[index])
        held = {question.execution_id for question in repl.transcript.questions}
        while self._shown < len(blocks):
            block = blocks[self._shown]
            if _finished(block):
                self._print(block)
            elif _asks(block, held):
                self._late.append(self._shown)
            else:
                break
            self._shown += 1
        for question in repl.transcript.approvals:
            if question.id not in self._asked:
                self._asked.add(question.id)
                text = "\n".join(question_lines(question, repl.invocation.clock.now()))
                terminal.say(
                    f"{text}\n  answer: /approvals allow {question.id}  or  /approvals deny {question.id}"
                    "  (--remember session|always, --any-arguments, --pattern URI, --expires 1h; --reason TEXT, --never)"
                )
        for wanted in repl.questions:
            if wanted.id not in self._asked:
                self._asked.add(wanted.id)
                terminal.say("\n".join([*opening_lines(wanted), f"  {in_repl(how_to_answer(wanted))}"]))
        self._news.set()

    def _print(self, block: Block) -> None:
        sys.stdout.write("\n".join(plain_block(block)) + "\n")
        sys.stdout.flush()

    def opened(self) -> None:
        """Print from the first block of the other session on."""
        self._shown, self._late = 0, []

    def clear(self) -> None:
        """Lines that were printed stay."""

    def leave(self) -> None:
        """Stop reading."""
        self._leaving.set()

    @property
    def mentions(self) -> bool:
        """Whether a person types."""
        return self._source.isatty()

    # -- reading ------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Submit line after line until the input or the person ends."""
        repl = self.repl
        if repl is None:
            return
        interactive = self._source.isatty()
        while not self._leaving.is_set():
            if interactive:
                sys.stdout.write(PROMPT)
                sys.stdout.flush()
            line = await self._lines.next()
            if line is None:
                break
            order = asyncio.create_task(repl.submit(line))
            self._orders.add(order)
            order.add_done_callback(self._ended)
            await self._done(repl, order, interactive=interactive)
            if not interactive and order.done():
                await self._turn_over(repl)
        async with asyncio.timeout(TURN_S):
            # what waits for an answer goes on without us: it can be given by any client
            while self._orders and not self._leaving.is_set() and not repl.transcript.questions:
                self._news.clear()
                await self._news.wait()

    def _ended(self, order: "asyncio.Task[None]") -> None:
        self._orders.discard(order)
        self._news.set()

    async def _done(self, repl: Repl, order: "asyncio.Task[None]", *, interactive: bool) -> None:
        """Wait for what was asked for; a tool that asks in the middle of it is answered first.

        With input from a pipe the next line may be what answers, so it is read then.
        """
        self._known = {each.id for each in repl.questions}
        while not order.done():
            self._news.clear()
            open_questions = self._fresh(repl)
            if open_questions and not interactive:
                return
            if open_questions:
                await self._answer(repl, open_questions[0], order)
                continue
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait({order, news}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()

    def _fresh(self, repl: Repl) -> list[Question]:
        """Open questions that came since the line was read, and were not left open."""
        return [each for each in repl.questions if each.id not in self._known | self._left]

    async def _answer(self, repl: Repl, question: Question, order: "asyncio.Task[None]") -> None:
        """Ask line by line; given up when the call ends, or when somebody else was first."""
        asking = asyncio.create_task(self._put(repl, question))
        while not asking.done():
            self._news.clear()
            if question.id not in {each.id for each in repl.questions}:
                break
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait({asking, news, order}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    async def _put(self, repl: Repl, question: Question) -> None:
        try:
            answered = await answer_by_lines(repl.attachment, question, self._lines, _write)
        except UmbrellaError as error:
            self.complain(error.body())
            answered = False
        if not answered:
            self._left.add(question.id)  # it is not put again until somebody says /answer

    async def form(self, inquiry: Inquiry, title: str) -> Response:
        """Ask for something that only this REPL wants to know; without a person, nobody answers."""
        if not self._source.isatty():
            return Response(action="cancel")
        _write("\n".join([title, *asked(inquiry), ""]))
        return await ask_by_lines(inquiry, self._lines, _write)

    async def answer(self, question: Question) -> None:
        """Put one question to the person now.

        Raises:
            CallerMistaken: The input is a pipe.
        """
        if not self._source.isatty():
            raise CallerMistaken(f"what is the answer to {question.id}?", how_to_answer(question))
        _write("\n".join([*opening_lines(question), ""]))
        if self.repl is not None:
            await self._put(self.repl, question)

    async def review(self, text: str) -> None:
        """Send what a prompt says; it is printed as the person's message."""
        if self.repl is not None:
            await self.repl.say(text)

    async def _turn_over(self, repl: Repl) -> None:
        """Wait until the assistant, if it was spoken to, has answered."""
        async with asyncio.timeout(TURN_S):
            while repl.awaits_answer and not repl.transcript.approvals and not self._fresh(repl):
                self._news.clear()
                await self._news.wait()


def _write(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def question_lines(question: Approval, now: datetime) -> list[str]:
    """Say what is asked, with all the arguments, what it would change, and nothing invisible."""
    name = one_line(revealed(f"{question.server}.{question.tool}"))
    who = f" for {one_line(revealed(question.agent_name))}" if question.agent_name else ""
    lines = [line.text for line in rights.argument_lines(question)]
    if question.preview is not None:
        shown = preview_lines(question.preview, FOLDED)
        lines += ["would change, as of now:", *(f"  {line.text}" for line in shown)]
    lines += ["the right is to be handed on to an agent below"] if question.hands_on else []
    lines += [f"also touches {uri}" for uri in rights.also_touched(question)]
    lines += [
        f"last time {line}" if not at else line
        for at, line in enumerate(rights.precedent_lines(question, now))
    ]
    wider = rights.wider_patterns(question)
    lines += [f"or to all of: {revealed(uri)}" for uri in wider]
    return [
        f"? {name}{who} needs {revealed(question.resource_uri)}: {one_line(question.reason)}",
        f"    it {rights.effect(question).text}; the question ends {rights.ending(question, now).text}",
        *(f"    {line}" for line in lines),
    ]


def _asks(block: Block, held: set[ExecutionId]) -> bool:
    """Whether a block is a question, or a call that waits for the answer to one."""
    return isinstance(block, Asked) or (isinstance(block, ToolCard) and block.execution_id in held)


def _finished(block: Block) -> bool:
    match block:
        case Answered():
            return not block.open
        case ToolCard():
            return block.state != "running"
        case Permission():
            return block.answer is not None
        case Asked():
            return block.response is not None
        case _:
            return True


async def run_plain(
    invocation: Invocation,
    opener: Opener,
    resume: str | None,
    latest: bool,
    source: TextIO | None = None,
    state: ReplState | None = None,
) -> int:
    """Run the REPL on lines; returns the exit code.

    Raises:
        UmbrellaError: The session to begin with cannot be looked at; what is read would go to another one.
    """
    face = PlainFace(source or sys.stdin)
    repl = Repl(opener, invocation, face, state)
    face.repl = repl
    running = asyncio.create_task(repl.attachment.run())
    try:
        try:
            await repl.refresh()
        except UmbrellaError as error:
            face.complain(error.body())
        if resume is None and not latest and face._source.isatty():
            face.show(first_steps(repl.status))
        await repl.open(resume, latest)
        await repl.storage.look()
        watching = asyncio.gather(repl.storage.run(), repl.survey.run())
        try:
            await face.read()
        finally:
            repl.saw()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if repl.farewell():
        terminal.say(repl.farewell())
    return 0
