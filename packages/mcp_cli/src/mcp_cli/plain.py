"""The REPL as lines: for pipes, simple terminals, and people who read with a screen reader.

The same commands as the full screen. Nothing moves, nothing is drawn twice: each block is printed when it is
finished. With input from a pipe it waits for each turn before it reads on, and ends with the input.
"""

import asyncio
import sys
import threading
from concurrent.futures import CancelledError
from itertools import chain
from typing import Final, TextIO

from mcp_cli import terminal
from mcp_cli.attachment import Opener
from mcp_cli.exporting import plain_block
from mcp_cli.invocation import Invocation
from mcp_cli.repl import Repl, first_steps
from mcp_cli.sheet import Shown
from mcp_cli.transcript import Answered, Block, Question, ToolCard
from mcp_cli.untrusted import one_line, readable_arguments, revealed
from mcp_interface.approval import Approval
from mcp_interface.errors import ErrorBody, UmbrellaError

PROMPT: Final = "umbrella> "
TURN_S: Final = 3600.0
"""Seconds that piped input waits for one turn."""


class PlainFace:
    """Prints the REPL line by line."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._shown = 0
        self._asked: set[str] = set()
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
        while self._shown < len(blocks) and _finished(blocks[self._shown]):
            self._print(blocks[self._shown])
            self._shown += 1
        for question in repl.transcript.questions:
            if question.id not in self._asked:
                self._asked.add(question.id)
                text = "\n".join(question_lines(question))
                terminal.say(
                    f"{text}\n  answer: /approvals allow {question.id}  or  /approvals deny {question.id}"
                    "  (--remember session|always, --any-arguments; --reason TEXT, --never)"
                )
        self._news.set()

    def _print(self, block: Block) -> None:
        sys.stdout.write("\n".join(plain_block(block)) + "\n")
        sys.stdout.flush()

    def opened(self) -> None:
        """Print from the first block of the other session on."""
        self._shown = 0

    def clear(self) -> None:
        """Lines that were printed stay."""

    def leave(self) -> None:
        """Stop reading."""
        self._leaving.set()

    # -- reading ------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Submit line after line until the input or the person ends."""
        repl = self.repl
        if repl is None:
            return
        lines: asyncio.Queue[str | None] = asyncio.Queue(100)
        loop = asyncio.get_running_loop()
        interactive = self._source.isatty()

        def pump() -> None:
            for line in chain(self._source, [None]):
                put = lines.put(line)
                try:
                    asyncio.run_coroutine_threadsafe(put, loop).result()
                except (RuntimeError, CancelledError):  # nobody reads any more: the loop has ended
                    put.close()
                    return

        # A thread of its own that dies with the process: a read of a terminal cannot be cancelled.
        threading.Thread(target=pump, daemon=True, name="stdin").start()
        while not self._leaving.is_set():
            if interactive:
                sys.stdout.write(PROMPT)
                sys.stdout.flush()
            line = await lines.get()
            if line is None:
                return
            await repl.submit(line)
            if not interactive:
                await self._turn_over(repl)

    async def _turn_over(self, repl: Repl) -> None:
        """Wait until the assistant, if it was spoken to, has answered."""
        async with asyncio.timeout(TURN_S):
            while repl.awaits_answer and not repl.transcript.questions:
                self._news.clear()
                await self._news.wait()


def question_lines(question: Approval) -> list[str]:
    """Say what is asked, with all the arguments and nothing invisible."""
    name = one_line(revealed(f"{question.server}.{question.tool}"))
    arguments = readable_arguments(question.arguments).split("\n")
    return [
        f"? {name} needs {revealed(question.resource_uri)}: {one_line(question.reason)}",
        *(f"    {line}" for line in arguments),
    ]


def _finished(block: Block) -> bool:
    match block:
        case Answered():
            return not block.open
        case ToolCard():
            return block.state != "running"
        case Question():
            return block.answer is not None
        case _:
            return True


async def run_plain(
    invocation: Invocation, opener: Opener, resume: str | None, latest: bool, source: TextIO | None = None
) -> int:
    """Run the REPL on lines; returns the exit code."""
    face = PlainFace(source or sys.stdin)
    repl = Repl(opener, invocation, face)
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
        watching = asyncio.create_task(repl.storage.run())
        try:
            await face.read()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if repl.farewell():
        terminal.say(repl.farewell())
    return 0
