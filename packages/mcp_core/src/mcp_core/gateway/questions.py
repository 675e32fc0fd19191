"""What tools want to know while they run: journaled, shown to whoever may answer, and waited for, for hours.

A question is durable before anybody is asked, and its answer before whoever gives it hears that it counts; so both
outlive the process. What a tool may do is another matter, see `asking`. Whether a response fits what was asked is
said by `responses`; what becomes of a call whose process is gone, by `agents.left`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Protocol

from mcp_core.agents.left import Told
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.responses import check_inquiry, checked
from mcp_core.gateway.sessions import Sessions, person_of
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch, UmbrellaError
from mcp_interface.events import QuestionAnswered, QuestionAsked
from mcp_interface.ids import SYSTEM, ExecutionId, PrincipalId, QuestionId, SessionId, new_id
from mcp_interface.question import Inquiry, InquiryKind, Question, Response

log = logging.getLogger(__name__)

MAX_OPEN: Final = 1000
"""Questions that are open at a time."""
MAX_SHARE: Final = MAX_OPEN // 10
"""Of these those of one person who is not the owner of the node."""
MAX_ASKED: Final = 16
"""Inquiries at once."""
LOOK_S: Final = 600.0
"""Seconds after which the clock is looked at again: a machine that sleeps does not count them."""
PEOPLE: Final[frozenset[InquiryKind]] = frozenset({"form", "url"})
"""What a person can answer in any client."""
CANCEL: Final = Response(action="cancel")


class Sampler(Protocol):
    """The node's own model, for a tool that wishes for a model's words (`mcp_core.gateway.sampling`)."""

    def ready(self, session_id: SessionId) -> bool:
        """Whether there is one that may speak for whoever's session this is."""
        ...

    async def sample(self, session_id: SessionId, params: dict[str, Any]) -> dict[str, Any]:
        """Let it speak; params and result in MCP's wire form.

        Raises:
            UmbrellaError: There is none, it may not speak for them, or it cannot do what is wished for.
        """
        ...


class _Open:
    """One open question and its answer to be."""

    def __init__(self, question: Question, answers: frozenset[InquiryKind]) -> None:
        self.question = question
        self.answers = answers
        self.journaled = asyncio.Event()
        self.settling = asyncio.Lock()
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.alarm: asyncio.Task[None] | None = None


class OpenQuestions:
    """All questions of the tools of one node.

    Args:
        sessions: Say whose they are; what is journaled is theirs.
        clock: Source of time.
        entropy: Makes ids.
        timeout_s: Seconds after which an unanswered question is cancelled.
        owner: Of the node, who has no share but all of it.
        sampler: The node's own model.
    """

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        entropy: Entropy,
        timeout_s: float,
        owner: PrincipalId,
        sampler: Sampler | None = None,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._entropy = entropy
        self._timeout = timedelta(seconds=timeout_s)
        self._owner = owner
        self._sampler = sampler
        self._open: dict[QuestionId, _Open] = {}
        self._heard: dict[ExecutionId, deque[Told]] = {}
        """What calls that are sent anew heard in an earlier process, oldest first; each answer serves once."""
        self._reopened: dict[ExecutionId, list[_Open]] = {}
        """What calls had asked in an earlier process, until they are told; an answer may come before they are taken up."""
        self._stopping = False

    def stop(self) -> None:
        """The node is about to stop: what is open stays so, for the next process."""
        self._stopping = True

    async def close(self) -> None:
        """Wait for nothing any more."""
        self.stop()
        alarms = [each.alarm for each in self._open.values() if each.alarm is not None]
        for alarm in alarms:
            alarm.cancel()
        await asyncio.gather(*alarms, return_exceptions=True)

    def count(self) -> int:
        """How many are open."""
        return sum(1 for each in self._open.values() if _is_shown(each))

    def kinds(self, request: ToolRequest) -> frozenset[InquiryKind]:
        """What somebody behind a call can answer; in a session about a task there is nobody."""
        if self._sessions.get(request.session_id).lineage is not None:
            return frozenset()
        if request.answers is not None:
            return frozenset(request.answers)
        return PEOPLE | {"sampling"} if self._has_model(request.session_id) else PEOPLE

    async def ask(
        self, request: ToolRequest, execution_id: ExecutionId, inquiries: Sequence[Inquiry], handle: str
    ) -> dict[str, Response]:
        """Ask all at once and wait; the answers by key.

        What the same call heard in an earlier process, before it was sent anew, it is told again without asking.

        Raises:
            CallerMistaken: There is nobody who could answer one of them, or it is no inquiry.
            TooMuch: Too many questions are open.
            StorageUnavailable: They could not be journaled; nobody is asked.
            UmbrellaError: The node's own model could not speak.
        """
        self._check(request, inquiries)
        known = self._heard_before(execution_id, inquiries)
        unknown = [inquiry for inquiry in inquiries if inquiry.key not in known]
        opened = [self._opened(request, execution_id, inquiry) for inquiry in unknown]
        if opened:
            await self._journal(opened, handle)
            known |= await self._answers(opened)
        return {
            inquiry.key: await self._whole(request.session_id, inquiry, known[inquiry.key])
            for inquiry in inquiries
        }

    def reopen(self, execution_id: ExecutionId, request: ToolRequest) -> None:
        """Let what a call had asked in an earlier process be answered in this one."""
        if not request.left.handle:  # by a handle it goes on behind what it heard
            self._heard[execution_id] = deque(request.left.told)
        for question in request.left.open:
            found = _Open(question, self.kinds(request))
            found.journaled.set()
            self._open[question.id] = found
            self._reopened.setdefault(execution_id, []).append(found)
            self._watch(found)

    async def recall(self, execution_id: ExecutionId, request: ToolRequest) -> dict[str, Response]:
        """Wait for the answers to what a call had asked in an earlier process.

        Returns:
            Those of its last round, by key, for a call that is resumed by its handle; nothing for one that is sent
            anew, which is told them when it asks.

        Raises:
            UmbrellaError: As `ask`.
        """
        mine = self._reopened.get(execution_id, [])
        now = await self._answers(mine)
        self._reopened.pop(execution_id, None)
        if (heard := self._heard.get(execution_id)) is not None:
            asked = [each.question.inquiry for each in mine]
            heard += [Told(inquiry=inquiry, response=now[inquiry.key]) for inquiry in asked]
            return {}
        answers = {**request.left.responses, **now}
        inquiries = {told.inquiry.key: told.inquiry for told in request.left.told}
        inquiries |= {each.question.inquiry.key: each.question.inquiry for each in mine}
        return {
            key: await self._whole(request.session_id, inquiries[key], response)
            for key, response in answers.items()
        }

    async def answer(self, question_id: QuestionId, who: PrincipalId, response: Response) -> None:
        """Answer a question; durable when this returns, and the first answer counts.

        Raises:
            NotFound: It is not open, or somebody else's.
            CallerMistaken: The response does not fit; it stays open.
            StorageUnavailable: It could not be journaled; it stays open.
        """
        found = self._open.get(question_id)
        if found is not None:
            await found.journaled.wait()
        if found is None or not _is_shown(found) or not self._may_answer(found, who):
            raise _gone(question_id)
        inquiry = found.question.inquiry
        fitting = checked(inquiry, response, has_model=self._has_model(found.question.session_id))
        if not await self._settle(found, fitting, who):
            raise _gone(question_id)

    async def pending(
        self,
        who: PrincipalId,
        session_id: SessionId | None = None,
        execution_id: ExecutionId | None = None,
    ) -> list[Question]:
        """What somebody may answer, oldest first."""
        known = list(self._open.values())
        for each in known:  # what somebody has seen in the journal already is in the list too
            await each.journaled.wait()
        mine = [
            each.question
            for each in known
            if _is_shown(each)
            and session_id in {None, each.question.session_id}
            and execution_id in {None, each.question.execution_id}
            and self._may_answer(each, who)
        ]
        return sorted(mine, key=lambda question: (question.asked_at, question.id))

    async def withdraw(
        self, *, session_id: SessionId | None = None, execution_id: ExecutionId | None = None
    ) -> None:
        """Cancel what is open of a session or a call; not at a stop of the node, which leaves it to the next."""
        if self._stopping:
            return
        if execution_id is not None:
            self._heard.pop(execution_id, None)
            self._reopened.pop(execution_id, None)
        mine = [
            each
            for each in self._open.values()
            if each.question.session_id == session_id or each.question.execution_id == execution_id
        ]
        await self._cancel(mine)

    def _heard_before(self, execution_id: ExecutionId, inquiries: Sequence[Inquiry]) -> dict[str, Response]:
        heard = self._heard.get(execution_id, deque())
        found = {}
        for inquiry in inquiries:
            told = next((each for each in heard if each.inquiry == inquiry), None)
            if told is not None:
                heard.remove(told)
                found[inquiry.key] = told.response
        return found

    def _check(self, request: ToolRequest, inquiries: Sequence[Inquiry]) -> None:
        kinds = self.kinds(request)
        if not inquiries:
            raise CallerMistaken("nothing is asked", "name at least one inquiry")
        if len({inquiry.key for inquiry in inquiries}) < len(inquiries):
            raise CallerMistaken("two inquiries have the same key", "give each one a key of its own")
        if len(inquiries) > MAX_ASKED:
            raise TooMuch(f"{len(inquiries)} inquiries at once", f"ask at most {MAX_ASKED}")
        for inquiry in inquiries:
            if inquiry.kind not in kinds:
                raise CallerMistaken(
                    f"nobody behind this call can answer {inquiry.kind!r}",
                    f"ask for {', '.join(sorted(kinds)) or 'nothing'}",
                    {"kind": inquiry.kind, "key": inquiry.key},
                )
            check_inquiry(inquiry)

    def _opened(self, request: ToolRequest, execution_id: ExecutionId, inquiry: Inquiry) -> _Open:
        now = self._clock.now()
        question = Question(
            id=QuestionId(new_id("question", self._entropy)),
            session_id=request.session_id,
            execution_id=execution_id,
            principal_id=request.principal_id,
            server=request.server,
            tool=request.tool,
            inquiry=inquiry,
            asked_at=now,
            expires_at=now + self._timeout,
        )
        return _Open(question, self.kinds(request))

    async def _journal(self, opened: Sequence[_Open], handle: str) -> None:
        """Make questions durable, then answerable."""
        if len(self._open) + len(opened) > MAX_OPEN:
            raise TooMuch(f"{MAX_OPEN} questions are open", "answer some first: umbrella questions list")
        self._require_share(opened)
        self._open |= {each.question.id: each for each in opened}
        asked = [
            QuestionAsked(timestamp=each.question.asked_at, question=each.question, handle=handle)
            for each in opened
        ]
        adding = asyncio.ensure_future(self._sessions.add(opened[0].question.session_id, *asked))
        try:
            await asyncio.shield(adding)
        except BaseException:
            # who is cancelled here leaves no question behind that is journaled, but at a stop
            with suppress(UmbrellaError):
                await asyncio.shield(adding)
                if not self._stopping:
                    await self._cancel(opened)
            for each in opened:
                self._close(each, CANCEL)
            raise
        finally:
            for each in opened:
                each.journaled.set()
        for each in opened:
            self._watch(each)

    def _require_share(self, opened: Sequence[_Open]) -> None:
        person = self._person(opened[0].question.session_id)
        if person == self._owner:
            return
        theirs = sum(self._person(each.question.session_id) == person for each in self._open.values())
        if theirs + len(opened) > MAX_SHARE:
            raise TooMuch(
                f"{person} has {theirs} open questions; others than the node's owner have at most {MAX_SHARE}",
                "answer some first: umbrella questions list",
                {"bound": "open_questions", "most": MAX_SHARE},
            )

    def _person(self, session_id: SessionId) -> PrincipalId | None:
        return person_of(self._sessions, self._owner, session_id)

    async def _answers(self, opened: Sequence[_Open]) -> dict[str, Response]:
        try:
            for each in opened:
                await asyncio.shield(each.answer)
        except asyncio.CancelledError:
            if not self._stopping:
                await asyncio.shield(self._cancel(opened))
            raise
        return {each.question.inquiry.key: each.answer.result() for each in opened}

    async def _whole(self, session_id: SessionId, inquiry: Inquiry, response: Response) -> Response:
        """The response as the tool reads it: a yes to a model's words is turned into them."""
        left_to_us = inquiry.kind == "sampling" and response.action == "accept" and response.content is None
        if not left_to_us:
            return response
        if self._sampler is None:
            raise CallerMistaken("the node has no model of its own", "answer with the words themselves")
        return Response(action="accept", content=await self._sampler.sample(session_id, inquiry.params))

    def _watch(self, found: _Open) -> None:
        found.alarm = asyncio.get_running_loop().create_task(self._expire(found))

    async def _expire(self, found: _Open) -> None:
        while not found.answer.done():
            left = (found.question.expires_at - self._clock.now()).total_seconds()
            if left <= 0:
                try:
                    await self._settle(found, CANCEL, SYSTEM)
                except UmbrellaError as error:
                    log.warning("the end of %s could not be recorded yet: %s", found.question.id, error)
                    left = LOOK_S
            await self._clock.sleep(min(max(left, 0.0), LOOK_S))

    async def _settle(self, found: _Open, response: Response, by: PrincipalId) -> bool:
        """Journal an answer and hand it on; False when another one was first."""
        async with found.settling:
            if found.answer.done():
                return False
            question = found.question
            answered = QuestionAnswered(
                timestamp=self._clock.now(), question_id=question.id, response=response, by=by
            )
            adding = asyncio.ensure_future(self._sessions.add(question.session_id, answered))
            try:
                await asyncio.shield(adding)
            except asyncio.CancelledError:
                with suppress(UmbrellaError):  # whoever answers may leave; what is journaled counts
                    await adding
                    self._close(found, response)
                raise
            self._close(found, response)
            return True

    def _close(self, found: _Open, response: Response) -> None:
        self._open.pop(found.question.id, None)
        if not found.answer.done():
            found.answer.set_result(response)
        if found.alarm is not None and found.alarm is not asyncio.current_task():
            found.alarm.cancel()

    async def _cancel(self, opened: Sequence[_Open]) -> None:
        for each in opened:
            try:
                await self._settle(each, CANCEL, SYSTEM)
            except UmbrellaError as error:  # its call ends all the same, and with it what it asked
                log.warning("the end of %s could not be recorded: %s", each.question.id, error)
                self._close(each, CANCEL)

    def _has_model(self, session_id: SessionId) -> bool:
        return self._sampler is not None and self._sampler.ready(session_id)

    def _may_answer(self, found: _Open, who: PrincipalId) -> bool:
        question = found.question
        return who in {question.principal_id, self._person(question.session_id)}


def _is_shown(found: _Open) -> bool:
    return found.journaled.is_set() and not found.answer.done()


def _gone(question_id: str) -> NotFound:
    return NotFound(f"no open question {question_id!r}", "it may have been answered, or timed out")
