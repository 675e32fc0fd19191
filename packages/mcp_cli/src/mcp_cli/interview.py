"""Puts the questions of tools to whoever sits at the terminal, one at a time; without one it says how to answer."""

import asyncio
import sys
from collections.abc import Callable
from typing import Protocol, TypeVar

from mcp_cli.dialogue import Dialogue
from mcp_cli.lines import Lines
from mcp_cli.questioning import how_to_answer, opening_lines
from mcp_cli.untrusted import printable
from mcp_interface.commands import Command
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError
from mcp_interface.execution import AnswerQuestion
from mcp_interface.ids import QuestionId
from mcp_interface.question import Inquiry, Question, Response

R = TypeVar("R")


class Node(Protocol):
    """A way to ask the node: a client, or an attachment that outlives it."""

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """As `Client.request`."""
        ...


def say(text: str) -> None:
    """Write to standard error, where the talk is."""
    sys.stderr.write(printable(text))
    sys.stderr.flush()


async def converse(inquiry: Inquiry, lines: Lines, say: Callable[[str], None], dialogue: Dialogue) -> None:
    """Ask line after line until the dialogue is over; the end of the input leaves the question open."""
    while not dialogue.over:
        say("\n".join(dialogue.prompt))
        line = await lines.next()
        if line is None:
            dialogue.left = True
            return
        if problem := dialogue.take(line):
            say(f"! {problem}\n")


async def answer_by_lines(node: Node, question: Question, lines: Lines, say: Callable[[str], None]) -> bool:
    """Ask for one answer and hand it over until it fits; False when it was left open.

    Raises:
        UmbrellaError: The node is away, or refuses for another reason than the answer.
    """
    dialogue = Dialogue(question.inquiry)
    while True:
        await converse(question.inquiry, lines, say, dialogue)
        if dialogue.response is None:
            return False
        try:
            await node.request(AnswerQuestion(question_id=question.id, response=dialogue.response))
        except CallerMistaken as error:
            say(f"! {error}\n")
            dialogue.refused(error.body())
        except NotFound:
            say("it was answered already, or is not waited for any more\n")
            return True
        else:
            return True


async def ask_by_lines(inquiry: Inquiry, lines: Lines, say: Callable[[str], None]) -> Response:
    """Ask for something of ours that no node waits for; left open means `cancel`."""
    dialogue = Dialogue(inquiry)
    await converse(inquiry, lines, say, dialogue)
    return dialogue.response or Response(action="cancel")


class Interview:
    """The questions of one headless run.

    Args:
        node: Where the answers go.
        lines: What the person types; None: nobody sits there.
        say: Takes text for a person, as it is to be written.
    """

    def __init__(self, node: Node, lines: Lines | None, say: Callable[[str], None]) -> None:
        self._node = node
        self._lines = lines
        self._say = say
        self._turn = asyncio.Lock()
        self._asking: dict[QuestionId, asyncio.Task[None] | None] = {}

    def open(self, question: Question) -> None:
        """A tool asks; harmless when repeated."""
        if question.id in self._asking:
            return
        if self._lines is None:
            self._asking[question.id] = None
            self._say("\n".join([*opening_lines(question), how_to_answer(question), ""]))
            return
        asking = self._ask(question, self._lines)
        self._asking[question.id] = asyncio.get_running_loop().create_task(asking)

    def close(self, question_id: QuestionId) -> None:
        """It is not waited for any more."""
        asking = self._asking.get(question_id)
        if asking is not None and not asking.done():
            asking.cancel()
            self._say("\n(answered elsewhere, or not waited for any more)\n")

    def only(self, questions: list[Question]) -> None:
        """These are open, and no others."""
        for question in questions:
            self.open(question)
        for gone in set(self._asking) - {question.id for question in questions}:
            self.close(gone)

    async def end(self) -> None:
        """Ask nothing any more."""
        asking = [each for each in self._asking.values() if each is not None]
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, question: Question, lines: Lines) -> None:
        async with self._turn:
            lines.drop()
            self._say("\n".join(["", *opening_lines(question), ""]))
            try:
                answered = await answer_by_lines(self._node, question, lines, self._say)
            except UmbrellaError as error:
                self._say(f"! {error}\n{how_to_answer(question)}\n")
                return
            if not answered:
                self._say(f"{how_to_answer(question)}\n")
