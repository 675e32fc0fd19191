"""What the REPL does with what servers offer and ask: prompts, mentions, questions, calls that are watched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from mcp_cli import offering, prompting, waiting
from mcp_cli.attachment import Attachment
from mcp_cli.executing import Watched
from mcp_cli.grammar import Fill, Order, fill
from mcp_cli.including import included, is_file
from mcp_cli.mentions import read
from mcp_cli.naming import execution_id, find_question
from mcp_cli.sheet import Prose, Shown
from mcp_cli.slashes import in_repl
from mcp_cli.untrusted import one_line
from mcp_interface.approval import Approval
from mcp_interface.clock import Clock
from mcp_interface.commands import ListApprovals, ListServers
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError
from mcp_interface.events import ApprovalAnswered, ApprovalAsked, QuestionAnswered, QuestionAsked
from mcp_interface.execution import AnswerQuestion, Execution, ListQuestions
from mcp_interface.offers import CATALOG, PromptInfo, PromptResult
from mcp_interface.question import Inquiry, InquiryKind, Question, Response
from mcp_interface.reading import GetPrompt, ListPrompts, ListResources, ListTemplates
from mcp_interface.store import Record

T = TypeVar("T")
ROUNDS: Final = 10
"""How often a server may want to know something more before it gives a prompt."""
ANSWERS: Final[list[InquiryKind]] = ["form", "url"]


class Desk(Protocol):
    """What these errands need of a surface."""

    def show(self, shown: Shown) -> None:
        """Place this below what is there."""
        ...

    def changed(self) -> None:
        """Something is new."""
        ...

    async def form(self, inquiry: Inquiry, title: str) -> Response:
        """Ask the person something that no node waits for; `cancel` when nobody answers."""
        ...

    async def answer(self, question: Question) -> None:
        """Put one question of a tool to the person now."""
        ...

    async def review(self, text: str) -> None:
        """Let the person read what a prompt says, and send it."""
        ...


class Errands:
    """Errands of one REPL.

    Args:
        attachment: The way to the node.
        clock: Source of time.
        desk: The surface.
    """

    def __init__(self, attachment: Attachment, clock: Clock, desk: Desk) -> None:
        self._attachment = attachment
        self._clock = clock
        self._desk = desk
        self.waiting: list[Question] = []
        """Open questions as last listed; those of the session on the screen are in its transcript, too."""
        self.approvals: list[Approval] = []
        """What waited to be allowed in any session when it was last listed."""

    # -- questions ----------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Learn which questions are open, also those that were asked before this client came."""
        self.waiting = (await self._attachment.request(ListQuestions(limit=100))).items
        self.approvals = (await self._attachment.request(ListApprovals(limit=100))).items

    def noticed(self, record: Record) -> None:
        """Keep what waits current while everything on the node is followed."""
        match record.event:
            case QuestionAsked(question=asked):
                self.waiting = [*(one for one in self.waiting if one.id != asked.id), asked]
            case QuestionAnswered(question_id=key):
                self.waiting = [one for one in self.waiting if one.id != key]
            case ApprovalAsked(approval=wanted):
                self.approvals = [*(one for one in self.approvals if one.id != wanted.id), wanted]
            case ApprovalAnswered(approval_id=settled):
                self.approvals = [one for one in self.approvals if one.id != settled]
            case _:
                return
        self._desk.changed()

    async def answered(self, question: Question, response: Response) -> None:
        """Hand an answer over.

        Raises:
            CallerMistaken: It does not fit; the question stays open.
            NotFound: Somebody else was first.
        """
        try:
            await self._attachment.request(AnswerQuestion(question_id=question.id, response=response))
        except NotFound:
            self._forget(question)
            raise
        self._forget(question)

    def _forget(self, question: Question) -> None:
        self.waiting = [one for one in self.waiting if one.id != question.id]
        self._desk.changed()

    async def answer(self, words: Sequence[str], open_questions: Sequence[Question]) -> None:
        """`/answer [ID]`: the oldest question, or this one."""
        if words:
            question = await find_question(await self._attachment.client(), words[0])
        elif open_questions:
            question = open_questions[0]
        else:
            raise NotFound("no tool waits for an answer", "what may be done is asked by: /approvals")
        await self._desk.answer(question)

    # -- what servers offer -------------------------------------------------------------------------------

    async def list_offers(self, kind: str, words: Sequence[str]) -> None:
        """`/mcp resources [SERVER]` and `/mcp prompts [SERVER]`."""
        server = words[0] if words else None
        ask = self._attachment.request
        if kind == "prompts":
            self._desk.show(offering.prompts(await ask(ListPrompts(server=server))))
            return
        found = await ask(ListResources(server=server))
        self._desk.show(offering.resources(found, await ask(ListTemplates(server=server))))

    async def meant(self, text: str) -> str:
        """A message with what it mentions included.

        Raises:
            UmbrellaError: Something it mentions cannot be read, or is too large.
        """
        if "@" not in text:
            return text
        known = (await self._attachment.request(ListServers(limit=1000))).items
        folder = Path.cwd()
        servers = {CATALOG, *(server.name for server in known)}
        said, mentions = read(text, servers, lambda name: is_file(name, folder))
        return await included(said, mentions, self._attachment, folder)

    async def prompt(self, words: Sequence[str]) -> None:
        """`/prompt NAME …`; alone it lists what there is."""
        if not words:
            self._desk.show(offering.prompts(await self._attachment.request(ListPrompts())))
            return
        await self.fill(fill(words[0], words[1:]))

    async def fill(self, order: Fill) -> None:
        """Fill in a prompt and let the person read what it says before it is sent."""
        info = await self._info(order)
        values = prompting.bound(info, order.words)
        title = f"{one_line(order.server)}:{one_line(info.title or info.name)}"
        lacking = prompting.missing(info, values)
        if lacking is not None:
            given = await self._desk.form(lacking, title)
            if given.action != "accept":
                names = ", ".join(lacking.schema["required"])
                raise CallerMistaken(
                    f"{title} needs {names}", f"write for example {lacking.schema['required'][0]}=…"
                )
            values |= {name: str(value) for name, value in (given.content or {}).items()}
        result = await self._result(info, values, title)
        text = prompting.message(result)
        if not text.strip():
            raise NotFound(f"{title} says nothing", "its server gave no messages")
        await self._desk.review(text)

    async def _info(self, order: Fill) -> PromptInfo:
        page = await self._attachment.request(ListPrompts(server=order.server, limit=1000))
        found = next((info for info in page.items if info.name == order.prompt), None)
        if found is None:
            raise NotFound(
                f"{one_line(order.server)} has no prompt {order.prompt[:80]!r}",
                "list them: /mcp prompts; to send it as a message, begin with //",
            )
        return found

    async def _result(self, info: PromptInfo, values: dict[str, str], title: str) -> PromptResult:
        responses: dict[str, Response] = {}
        state = ""
        for _ in range(ROUNDS):
            result = await self._attachment.request(
                GetPrompt(
                    server=info.server,
                    name=info.name,
                    arguments=values,
                    answers=ANSWERS,
                    responses=responses,
                    state=state,
                )
            )
            if not result.inquiries:
                return result
            responses = {each.key: await self._desk.form(each, title) for each in result.inquiries}
            state = result.state
        raise CallerMistaken(f"{title} asks again and again", "look at its server's log")

    # -- calls --------------------------------------------------------------------------------------------

    async def watch(self, words: Sequence[str]) -> None:
        """`/executions watch ID`: until it has ended, over restarts of the node."""
        if not words:
            raise CallerMistaken("which call?", "write /executions watch ID; list them: /executions")
        key = await execution_id(await self._attachment.client(), words[0])
        watched = Watched()

        def tell(line: str) -> None:
            if line:
                self._desk.show(Prose(line, "dim"))

        def looked(found: Execution, questions: list[Question]) -> None:
            tell(watched.line(found))
            for question in questions:
                if question.id not in {one.id for one in self.waiting}:
                    self.waiting.append(question)
                    self._desk.changed()

        found = await waiting.to_its_end(
            self._attachment,
            key,
            self._clock,
            looked=looked,
            step=waiting.MOVED_S,
            away=lambda error: tell(watched.away()),
        )
        outcome = waiting.ended(found)
        if outcome.shown is not None:
            self._desk.show(outcome.shown)

    async def local(self, order: Order, open_questions: Sequence[Question]) -> bool:
        """Do what only a REPL does of the shell's commands; False when it is none of those."""
        match (order.slash.name, *order.words):
            case ("mcp", "resources" | "prompts" as kind, *names):
                await self.list_offers(kind, names)
            case ("executions", "watch", *names):
                await self.watch(names)
            case ("questions", "answer", name):
                await self.answer([name], open_questions)
            case _:
                return False
        return True

    async def greet(self) -> None:
        """Say which questions wait from before."""
        try:
            await self.look()
        except UmbrellaError:
            return  # the node is away, which the attachment tells
        if self.waiting:
            count = len(self.waiting)
            text = "a tool waits" if count == 1 else f"{count} tools wait"
            self._desk.show(
                Prose(in_repl(f"{text} for your answer: /answer, or see umbrella questions list"), "warn")
            )
        self._desk.changed()
