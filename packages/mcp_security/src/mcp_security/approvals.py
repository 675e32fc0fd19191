"""Open questions to people, and who waits for the answers. In memory only: the session's events remember."""

import asyncio
import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer, Approval
from mcp_interface.capability import GrantOptions
from mcp_interface.clock import Clock
from mcp_interface.codec import to_external
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, NotPermitted, TooMuch
from mcp_interface.ids import SYSTEM, ApprovalId, PrincipalId, SessionId
from mcp_interface.tool import ToolInfo
from mcp_security.constraints import compile_rules

MAX_OPEN: Final = 1000
ONCE_WITHIN: Final = timedelta(minutes=10)
"""How long a right for one use waits for that use."""

LONGEST_YES: Final = timedelta(days=3650)
"""How far ahead a yes that is remembered may end by itself."""

_SAYS_ALL: Final = frozenset({("fs", "read"), ("fs", "list")})
"""Rights whose resource alone says what is done; every other action also depends on its arguments."""
_TOO_LATE: Final = Answer(allow=False, reason="nobody answered in time")
_WITHDRAWN: Final = Answer(allow=False, reason="the question was withdrawn")


class _Question:
    """One question and its answer to be. Waiting begins after opening, and the answer may come in between."""

    def __init__(self, approval: Approval) -> None:
        self.approval = approval
        self.answered: asyncio.Future[tuple[Answer, PrincipalId]] = asyncio.get_running_loop().create_future()


class Approvals:
    """Implements `mcp_interface.approval.ApprovalDesk`; used from one event loop.

    Args:
        clock: Decides when a question is too old.
        limit: Most questions at a time.
    """

    def __init__(self, clock: Clock, limit: int = MAX_OPEN) -> None:
        self._clock = clock
        self._limit = limit
        self._questions: dict[ApprovalId, _Question] = {}

    def fingerprint(self, tool: ToolInfo, arguments: dict[str, Any]) -> str:
        """Hash that changes when the tool's definition or any argument does; see `ApprovalDesk.fingerprint`.

        Raises:
            CallerMistaken: The arguments are not JSON-compatible.
        """
        try:
            text = json.dumps([to_external(tool), arguments], sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise CallerMistaken(
                f"the arguments of {tool.name} cannot be written as JSON: {error}", "use JSON values only"
            ) from error
        return sha256(text.encode()).hexdigest()

    def open(self, approval: Approval) -> None:
        """Make a question answerable.

        Raises:
            TooMuch: Too many questions are open.
            CallerMistaken: This one is open already.
        """
        self._forget_expired()
        if approval.id in self._questions:
            raise CallerMistaken(f"{approval.id} is already open", "ask each question once")
        if len(self._questions) >= self._limit:
            raise TooMuch(f"{self._limit} questions are open", "answer some first")
        self._questions[approval.id] = _Question(approval)

    async def wait(self, approval_id: ApprovalId) -> tuple[Answer, PrincipalId]:
        """Wait for the answer and who gave it; see `ApprovalDesk.wait`."""
        question = self._questions.get(approval_id)
        if question is None:
            raise NotFound(f"no open question {approval_id!r}", "see umbrella's list of approvals")
        try:
            while not question.answered.done():
                left = (question.approval.expires_at - self._clock.now()).total_seconds()
                if left <= 0:
                    self._settle(question, _TOO_LATE, SYSTEM)
                    break
                await self._answered_within(question, left)
            return question.answered.result()
        finally:
            self._settle(question, _WITHDRAWN, SYSTEM)
            self._questions.pop(approval_id, None)

    def answer(self, approval_id: ApprovalId, answer: Answer, by: PrincipalId) -> None:
        """Answer; the first answer counts. See `ApprovalDesk.answer`.

        Raises:
            NotFound: The question is not open (any more).
            CallerMistaken: The answer is none to this question, see `_require_fitting`; it stays open.
        """
        question = self._questions.get(approval_id)
        if question is None or not self._is_open(question):
            raise NotFound(
                f"no open question {approval_id!r}", "it was answered, withdrawn, or its time is over"
            )
        _require_fitting(question.approval, answer)
        self._settle(question, answer, by)

    def pending(self, session_id: SessionId | None = None) -> Sequence[Approval]:
        """Open questions, oldest first."""
        return [
            question.approval
            for question in self._questions.values()
            if self._is_open(question) and session_id in {None, question.approval.session_id}
        ]

    def terms(self, approval: Approval, answer: Answer) -> GrantOptions:
        """What an allowed answer turns into: one use, the life of the session, or no end.

        The right cannot be handed on: the person allowed this principal, nobody else. It holds for the
        arguments that were shown, unless the person said otherwise or they change nothing: what is read or
        listed of the disk is said by the path. Who chooses a wider pattern has said otherwise: it is one to
        whatever is done within it. `session` carries the session in its metadata; whoever ends the session
        revokes it.

        Raises:
            CallerMistaken: The answer was no, or is none to this question.
            NotPermitted: The arguments are beyond what a limit can hold.
        """
        if not answer.allow:
            raise CallerMistaken(f"{approval.id} was answered with no", "grant nothing")
        _require_fitting(approval, answer)
        once = answer.remember == "once"
        wider = answer.resource_uri not in {"", approval.resource_uri}
        metadata = {
            "approval_id": approval.id,
            "fingerprint": approval.fingerprint,
            "remember": answer.remember,
        }
        if answer.remember == "session":
            metadata["session_id"] = approval.session_id
        constraints: dict[str, Any] = {"max_uses": 1} if once else {}
        wanted = parse_resource(approval.resource_uri)
        if not answer.any_arguments and not wider and (wanted.type, wanted.operation) not in _SAYS_ALL:
            constraints["arguments"] = [{"const": approval.arguments}]
            _require_sound(approval, constraints, wanted.type)
        remembered = None if answer.expires_in_s is None else timedelta(seconds=answer.expires_in_s)
        return GrantOptions(
            expires_in=ONCE_WITHIN if once else remembered,
            delegation_depth=0,
            constraints=constraints,
            metadata=metadata,
        )

    async def _answered_within(self, question: _Question, seconds: float) -> None:
        alarm = asyncio.create_task(self._ring(seconds))
        try:
            waiting: set[asyncio.Future[Any]] = {question.answered, alarm}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            with suppress(asyncio.CancelledError):
                await alarm

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def _is_open(self, question: _Question) -> bool:
        return not question.answered.done() and self._clock.now() < question.approval.expires_at

    def _settle(self, question: _Question, answer: Answer, by: PrincipalId) -> None:
        if not question.answered.done():
            question.answered.set_result((answer, by))

    def _forget_expired(self) -> None:
        """Drop questions that nobody waits for any more; a waiter drops its own."""
        now = self._clock.now()
        for approval_id, question in list(self._questions.items()):
            if now >= question.approval.expires_at:
                self._settle(question, _TOO_LATE, SYSTEM)
                del self._questions[approval_id]


def _require_fitting(approval: Approval, answer: Answer) -> None:
    """Return if an answer can be one to this question.

    A pattern is one of those that were offered, and a yes to a wider one is remembered: "once" is one use of the
    very right that is missing. An end is that of a yes that is remembered. What is handed on is bound to no
    arguments, so a yes to it that is remembered says so.

    Raises:
        CallerMistaken: It cannot.
    """
    pattern, seconds = answer.resource_uri, answer.expires_in_s
    if pattern and not answer.allow:
        raise CallerMistaken("a no is to the call itself, not to a pattern", "leave the pattern out")
    if pattern and pattern not in approval.suggestions:
        offered = ", ".join(approval.suggestions) or "none; leave it out"
        raise CallerMistaken(
            f"{pattern[:200]!r} is no pattern that {approval.id} offers", f"choose one of: {offered}"
        )
    if pattern and pattern != approval.resource_uri and answer.remember == "once":
        raise CallerMistaken(
            f"a yes once is one use of {approval.resource_uri}, not of {pattern}",
            "remember it for the session or always, or leave the pattern out",
        )
    if approval.hands_on and answer.allow and answer.remember != "once" and not answer.any_arguments:
        raise CallerMistaken(
            f"{approval.resource_uri} is to be handed on, and that cannot be bound to these arguments for longer "
            f"than once",
            "choose once, or any arguments",
        )
    if seconds is None:
        return
    if not answer.allow or answer.remember == "once":
        raise CallerMistaken(
            "only a yes that is remembered has an end of its own", "remember it for the session or always"
        )
    if not 0 < seconds <= LONGEST_YES.total_seconds():  # so is what is no number
        raise CallerMistaken(
            f"a yes cannot end in {seconds} s", f"give up to {LONGEST_YES.days} days, in seconds, or no end"
        )


def _require_sound(approval: Approval, constraints: dict[str, Any], type: str) -> None:
    try:
        compile_rules(constraints, type)
    except InvalidRecord as error:
        grant = f"umbrella grant {approval.principal_id} {shlex.quote(approval.resource_uri)}"
        raise NotPermitted(
            f"the arguments of {approval.server}/{approval.tool} cannot be bound to an approval: {error.message}",
            f"make them smaller and plainer, or grant it by hand: {grant}",
            {"reason": "not_bindable", "resource_uri": approval.resource_uri, "grant": grant},
        ) from error
