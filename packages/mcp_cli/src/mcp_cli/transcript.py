"""A session as a person sees it: a pure fold of notices into blocks.

The same picture is drawn by the REPL, printed by `sessions show` and written by `sessions export`. Folding
the same records again gives the same picture: a record that was seen before (by its position) is ignored, and
what merely passed by is replaced by the record that follows it. Nothing here reads time or draws.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from mcp_interface.approval import Answer, Approval
from mcp_interface.client import (
    Notice,
    OffersChanged,
    ResourceChanged,
    ServerChanged,
    TextDelta,
    ToolProgress,
    ToolSaid,
)
from mcp_interface.errors import ErrorBody
from mcp_interface.events import (
    AgentRestarted,
    ApprovalAnswered,
    ApprovalAsked,
    AssistantMessage,
    ExecutionChanged,
    QuestionAnswered,
    QuestionAsked,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionResumed,
    SessionSuspended,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import SYSTEM, ExecutionId, MessageId, PrincipalId, SessionId, TurnId
from mcp_interface.question import Question, Response
from mcp_interface.session import Profile
from mcp_interface.store import Record
from mcp_interface.tool import ToolResult

ToolState = Literal["running", "done", "failed", "denied", "interrupted"]
RETRY_MESSAGE: Final = "nothing was resumed by itself; send your message again to retry"
RETRY_CALL: Final = "it may or may not have taken effect; look, then call it again"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A person's message."""

    message_id: MessageId
    author: PrincipalId
    text: str
    at: datetime


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's words; `open` while they are still being written."""

    message_id: MessageId
    turn_id: TurnId
    text: str
    open: bool = False
    cut: bool = False
    """The words broke off and were never finished."""
    model: str = ""
    at: datetime | None = None


class ToolCard(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call and how it went."""

    execution_id: ExecutionId
    principal_id: PrincipalId
    server: str
    tool: str
    arguments: dict[str, Any] = {}
    by_model: bool = False
    state: ToolState = "running"
    began: datetime
    seconds: float | None = None
    """How long it took; None while it runs, and when it never began."""
    progress: float = 0.0
    message: str = ""
    result: ToolResult | None = None
    error: ErrorBody | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has to allow or refuse; `answer` is None while that is open."""

    approval: Approval
    answer: Answer | None = None
    by: PrincipalId | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A tool wants to know something; `response` is None while the question is open."""

    question: Question
    response: Response | None = None
    by: PrincipalId | None = None


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to the conversation itself."""

    tone: Literal["dim", "warn", "bad"]
    text: str
    remedy: str = ""


Block = Said | Answered | ToolCard | Permission | Asked | Remark


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of one session."""

    session_id: SessionId | None = None
    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    """Chosen for the session; empty is the node's default."""
    answered_by: str = ""
    """The model of the latest answer."""
    working: TurnId | None = None
    """The turn that is going on."""
    ended: bool = False
    suspended: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    position: int = 0
    """Of the last record that was folded in."""
    blocks: tuple[Block, ...] = ()

    @property
    def approvals(self) -> list[Approval]:
        """What waits to be allowed or refused, oldest first."""
        return [
            block.approval for block in self.blocks if isinstance(block, Permission) and block.answer is None
        ]

    @property
    def questions(self) -> list[Question]:
        """Open questions of tools, oldest first."""
        return [
            block.question for block in self.blocks if isinstance(block, Asked) and block.response is None
        ]


EMPTY: Final = Transcript()


class TranscriptView:
    """The `View` of a session: folds one notice after the other."""

    def handle_event(self, event: Notice, state: Transcript) -> Transcript:
        """Return the picture after one notice; pure."""
        return fold(state, event)


def fold(state: Transcript, notice: Notice) -> Transcript:
    """Return the picture after one notice; a record that was folded in before changes nothing."""
    match notice:
        case Record():
            if notice.position <= state.position:
                return state
            return _change(_record(state, notice.event), position=notice.position)
        case TextDelta():
            return _delta(state, notice)
        case ToolProgress():
            return _progress(state, notice)
        case ServerChanged() | OffersChanged() | ResourceChanged() | ToolSaid():
            return state


def _change(state: Transcript, **changes: Any) -> Transcript:
    return msgspec.structs.replace(state, **changes)


def _add(state: Transcript, *blocks: Block, **changes: Any) -> Transcript:
    return _change(state, blocks=state.blocks + blocks, **changes)


def _put(state: Transcript, index: int, block: Block) -> Transcript:
    return _change(state, blocks=(*state.blocks[:index], block, *state.blocks[index + 1 :]))


def _record(state: Transcript, event: Any) -> Transcript:
    step = _STEPS.get(type(event))
    return state if step is None else step(state, event)


def _created(state: Transcript, event: SessionCreated) -> Transcript:
    origin = event.forked_from
    notes = (
        []
        if origin is None
        else [Remark(tone="dim", text=f"a copy of {origin.session_id} up to its event {origin.version}")]
    )
    return _add(
        state,
        *notes,
        session_id=event.session_id,
        title=event.title,
        profile=event.profile,
        model=event.model,
    )


def _suspended(state: Transcript, event: SessionSuspended) -> Transcript:
    text = f"suspended: {event.reason}" if event.reason else "suspended"
    note = Remark(tone="warn", text=text, remedy="nothing begins until it is resumed: /resume")
    return _add(state, note, suspended=True)


def _resumed(state: Transcript, event: SessionResumed) -> Transcript:
    return _add(state, Remark(tone="dim", text="resumed"), suspended=False)


def _ended(state: Transcript, event: SessionEnded) -> Transcript:
    text = f"this session has ended: {event.reason}" if event.reason else "this session has ended"
    return _add(_settle(state), Remark(tone="dim", text=text), ended=True, working=None)


def _restarted(state: Transcript, event: AgentRestarted) -> Transcript:
    """What it was saying it will say again."""
    note = Remark(tone="dim", text=f"the assistant was restarted ({event.reason}) and goes on")
    return _add(_settle(state), note)


def _user(state: Transcript, event: UserMessage) -> Transcript:
    said = Said(message_id=event.message_id, author=event.author, text=event.text, at=event.timestamp)
    return _add(state, said)


def _turn_started(state: Transcript, event: TurnStarted) -> Transcript:
    return _change(state, working=event.turn_id)


def _asked(state: Transcript, event: ApprovalAsked) -> Transcript:
    return _add(state, Permission(approval=event.approval))


def _changed(state: Transcript, event: SessionChanged) -> Transcript:
    asked = {"profile": event.profile, "model": event.model, "title": event.title}
    changes = {name: value for name, value in asked.items() if value is not None}
    notes = [
        Remark(tone="dim", text=f"{name} is now {value or 'the default'}")
        for name, value in changes.items()
        if name != "title"
    ]
    return _add(state, *notes, **changes)


def _find(state: Transcript, kind: type[Block], field: str, value: str) -> int | None:
    """Look from the end: what changes is nearly always among the last blocks."""
    for index in range(len(state.blocks) - 1, -1, -1):
        block = state.blocks[index]
        if isinstance(block, kind) and getattr(block, field) == value:
            return index
    return None


def _delta(state: Transcript, delta: TextDelta) -> Transcript:
    index = _find(state, Answered, "message_id", delta.message_id)
    if index is None:
        fresh = Answered(message_id=delta.message_id, turn_id=delta.turn_id, text=delta.text, open=True)
        return _add(state, fresh)
    block = state.blocks[index]
    if not isinstance(block, Answered) or not block.open:
        return state
    return _put(state, index, msgspec.structs.replace(block, text=block.text + delta.text))


def _assistant(state: Transcript, event: AssistantMessage) -> Transcript:
    state = _change(
        state,
        answered_by=event.model or state.answered_by,
        input_tokens=state.input_tokens + event.usage.input_tokens,
        output_tokens=state.output_tokens + event.usage.output_tokens,
    )
    index = _find(state, Answered, "message_id", event.message_id)
    if not event.text and index is None:
        return state  # a step that only used tools
    final = Answered(
        message_id=event.message_id,
        turn_id=event.turn_id,
        text=event.text,
        model=event.model,
        at=event.timestamp,
    )
    return _add(state, final) if index is None else _put(state, index, final)


def _settle(state: Transcript) -> Transcript:
    """Nobody will finish what is still being written."""
    for index, block in enumerate(state.blocks):
        if isinstance(block, Answered) and block.open:
            state = _put(state, index, msgspec.structs.replace(block, open=False, cut=True))
    return state


def _turn_ended(state: Transcript, event: TurnEnded) -> Transcript:
    state = _change(_settle(state), working=None)
    error = event.error
    match event.status:
        case "completed":
            return state
        case "cancelled":
            text = "cancelled" if error is None else f"cancelled: {error.message}"
            return _add(state, Remark(tone="warn", text=text))
        case "interrupted":
            text = error.message if error is not None else "the node stopped in the middle of this turn"
            return _add(state, Remark(tone="warn", text=f"interrupted: {text}", remedy=RETRY_MESSAGE))
        case "failed":
            text, remedy = (error.message, error.remedy) if error is not None else ("the turn failed", "")
            return _add(state, Remark(tone="bad", text=text, remedy=remedy))


def _state_of(error: ErrorBody | None) -> ToolState:
    code = error.code if error is not None else ""
    return {"denied": "denied", "login_required": "denied", "interrupted": "interrupted"}.get(code, "failed")  # type: ignore[return-value]  # values of a literal table


def _execution(state: Transcript, event: ExecutionChanged) -> Transcript:
    if event.status in {"completed", "failed"}:
        state = _withdraw(state, event.execution_id)
    index = _find(state, ToolCard, "execution_id", event.execution_id)
    if index is None:
        call = event.call
        card = ToolCard(
            execution_id=event.execution_id,
            principal_id=event.principal_id,
            server=call.server if call is not None else "?",
            tool=call.tool if call is not None else "?",
            arguments=call.arguments if call is not None else {},
            by_model=bool(call is not None and call.tool_use_id),
            began=event.timestamp,
        )
        return _add(state, _moved(card, event, never_began=event.status == "failed"))
    block = state.blocks[index]
    return _put(state, index, _moved(block, event)) if isinstance(block, ToolCard) else state


def _moved(card: ToolCard, event: ExecutionChanged, *, never_began: bool = False) -> ToolCard:
    took = None if never_began else max(0.0, (event.timestamp - card.began).total_seconds())
    match event.status:
        case "completed":
            return msgspec.structs.replace(card, state="done", seconds=took, result=event.result)
        case "failed":
            return msgspec.structs.replace(
                card, state=_state_of(event.error), seconds=took, error=event.error
            )
        case "progress":
            return msgspec.structs.replace(card, progress=event.progress, message=event.message)
        case "kept":
            return card
        case "queued" | "started":
            return msgspec.structs.replace(card, began=event.timestamp)


def _progress(state: Transcript, notice: ToolProgress) -> Transcript:
    index = _find(state, ToolCard, "execution_id", notice.execution_id)
    block = state.blocks[index] if index is not None else None
    if index is None or not isinstance(block, ToolCard) or block.state != "running":
        return state
    return _put(
        state, index, msgspec.structs.replace(block, progress=notice.progress, message=notice.message)
    )


def _approval_answered(state: Transcript, event: ApprovalAnswered) -> Transcript:
    for index in range(len(state.blocks) - 1, -1, -1):
        block = state.blocks[index]
        if isinstance(block, Permission) and block.approval.id == event.approval_id:
            if block.answer is not None:
                return state
            return _put(state, index, msgspec.structs.replace(block, answer=event.answer, by=event.by))
    return state


def _question_asked(state: Transcript, event: QuestionAsked) -> Transcript:
    """A call that is sent anew by another process says so of the question that it had asked before."""
    fresh = Asked(question=event.question)
    for index in range(len(state.blocks) - 1, -1, -1):
        block = state.blocks[index]
        if isinstance(block, Asked) and block.question.id == event.question.id:
            return _put(state, index, fresh) if block.response is None else state
    return _add(state, fresh)


def _question_answered(state: Transcript, event: QuestionAnswered) -> Transcript:
    for index in range(len(state.blocks) - 1, -1, -1):
        block = state.blocks[index]
        if isinstance(block, Asked) and block.question.id == event.question_id:
            if block.response is not None:
                return state
            return _put(state, index, msgspec.structs.replace(block, response=event.response, by=event.by))
    return state


def _withdraw(state: Transcript, execution_id: ExecutionId) -> Transcript:
    """Nobody waits any more for what a call had asked that is over."""
    for index, block in enumerate(state.blocks):
        if (
            isinstance(block, Asked)
            and block.response is None
            and block.question.execution_id == execution_id
        ):
            gone = msgspec.structs.replace(block, response=Response(action="cancel"), by=SYSTEM)
            state = _put(state, index, gone)
    return state


def told(asked: Asked) -> str:
    """Say in a few words how a tool's question was answered."""
    response = asked.response
    if response is None:
        return "waiting for your answer"
    if response.action != "accept":
        unanswered = "not answered in time" if asked.by == SYSTEM else "not answered"
        return "declined" if response.action == "decline" else unanswered
    fields = ", ".join(f"{name}: {value}" for name, value in (response.content or {}).items())
    form = f"answered with {fields}" if fields else "answered"
    yes = {"url": "you open the page", "sampling": "your model may answer", "roots": "folders named"}
    return yes.get(asked.question.inquiry.kind, form)


def verdict(permission: Permission) -> str:
    """Say in a few words how somebody allowed or refused."""
    answer = permission.answer
    if answer is None:
        return "waiting for your answer"
    if answer.allow:
        lasts = {"once": "allowed once", "session": "allowed for this session", "always": "always allowed"}
        return lasts[answer.remember] + (" with any arguments" if answer.any_arguments else "")
    by = " by the node" if permission.by == SYSTEM else ""
    word = "never" if answer.remember == "always" else f"denied{by}"
    return f"{word}: {answer.reason}" if answer.reason else word


_STEPS: Final[dict[type, Callable[[Transcript, Any], Transcript]]] = {
    SessionCreated: _created,
    SessionChanged: _changed,
    SessionEnded: _ended,
    SessionSuspended: _suspended,
    SessionResumed: _resumed,
    AgentRestarted: _restarted,
    UserMessage: _user,
    TurnStarted: _turn_started,
    TurnEnded: _turn_ended,
    AssistantMessage: _assistant,
    ExecutionChanged: _execution,
    ApprovalAsked: _asked,
    ApprovalAnswered: _approval_answered,
    QuestionAsked: _question_asked,
    QuestionAnswered: _question_answered,
}
