"""How far a tool call has come, by its events, and what becomes of it when its process is gone. Pure.

A session's state keeps one `Left` for each call that has not ended. While the process lives nobody looks at it;
the next process finds in it whom the call waits for, by which handle it can be resumed, and what was answered.
"""

from typing import Final, Literal

import msgspec

from mcp_interface.approval import Answer, Approval
from mcp_interface.clock import Instant
from mcp_interface.events import ToolCall
from mcp_interface.ids import QuestionId
from mcp_interface.question import Inquiry, Question, Response

MOST_TOLD: Final = 100
"""Answers that are kept of one call, the latest."""

Fate = Literal["begin", "repeat", "resume", "ask_again", "end"]
"""What becomes of a call: begin it, as it had not begun; run it again; let it go on by its handle, with the answers;
ask whether to send it again, its question staying open; or close it as interrupted."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the call wanted to know, and heard."""

    inquiry: Inquiry
    response: Response


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """A yes to a right that the call was missing."""

    approval: Approval
    answer: Answer


class _Marks(msgspec.Struct, frozen=True):
    """What is read of a handle here; the rest is the tool's own."""

    sent: bool = False
    """Whether answers were about to be sent to whoever had asked for them."""
    task: str = ""
    """Id of the task as which a server works for the call; asking about it does nothing a second time."""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """How far a call has come."""

    began: bool = False
    """Whether its tool had it."""
    handle: str = ""
    """The last by which another process can resume it."""
    open: list[Question] = []
    """What it has asked and nobody has answered."""
    round: tuple[Instant, str] | None = None
    """Moment and handle of what it asked last, all at once."""
    responses: dict[str, Response] = {}
    """Those of the last round, by key."""
    told: list[Told] = []
    """All that it heard, in order."""
    again: Literal["", "accepted", "declined"] = ""
    """What was said to sending it again; it has not been sent since."""
    approval: Approval | None = None
    """The right that a person is being asked for."""
    allowed: list[Allowed] = []

    @property
    def sent(self) -> bool:
        """Whether its answers may have arrived, so that going on by the handle may do what it does a second time."""
        try:
            marks = msgspec.json.decode(self.handle, type=_Marks)
        except (msgspec.DecodeError, UnicodeError):  # a tool's own handle, or none
            return False
        return marks.sent and not marks.task

    def started(self) -> "Left":
        """Its tool has it, for the first time or once more."""
        return msgspec.structs.replace(self, began=True, again="")

    def kept(self, handle: str) -> "Left":
        """It can be resumed by another handle."""
        return msgspec.structs.replace(self, handle=handle)

    def asked(self, question: Question, handle: str) -> "Left":
        """It wants to know something; what was open already is asked again."""
        others = [each for each in self.open if each.id != question.id]
        if len(others) < len(self.open):
            return msgspec.structs.replace(self, open=[*others, question])
        this = (question.asked_at, handle)
        return msgspec.structs.replace(
            self,
            open=[*others, question],
            round=this,
            responses=self.responses if this == self.round else {},
            handle=handle or self.handle,
        )

    def answered(self, key: QuestionId, response: Response) -> "Left":
        """One of its questions is answered; harmless when none of that id is open."""
        found = next((each for each in self.open if each.id == key), None)
        if found is None:
            return self
        again = self.again
        if found.again:
            yes = response.action == "accept" and again != "declined"
            again = "accepted" if yes else "declined"
        return msgspec.structs.replace(
            self,
            open=[each for each in self.open if each.id != key],
            responses={**self.responses, found.inquiry.key: response},
            told=[*self.told, Told(inquiry=found.inquiry, response=response)][-MOST_TOLD:],
            again=again,
        )

    def wants(self, approval: Approval) -> "Left":
        """It misses a right, and a person is asked."""
        return msgspec.structs.replace(self, approval=approval)

    def decided(self, answer: Answer) -> "Left":
        """The person has answered that."""
        if self.approval is None:
            return self
        yes = [Allowed(approval=self.approval, answer=answer)] if answer.allow else []
        return msgspec.structs.replace(self, approval=None, allowed=[*self.allowed, *yes])


def fate(call: ToolCall, left: Left) -> Fate:
    """What becomes of a call whose process is gone.

    Deny by default: what had begun and is not known to be harmless runs again for nobody but a person who says so.
    A handle says only where a call goes on, not what it has done by then: once its answers are sent, it has begun.
    """
    if left.handle:
        return "resume" if call.repeatable or not left.sent else "end"
    if left.open:
        return "ask_again"
    if left.again:
        return "repeat" if left.again == "accepted" else "end"
    if left.began:
        return "repeat" if call.detached and call.repeatable else "end"
    return "begin" if call.detached or left.approval is not None or left.allowed else "end"
