"""A session as a person sees it: a pure fold of notices into blocks.

The same picture is drawn by the REPL, printed by `sessions show` and written by `sessions export`. Folding
the same records again gives the same picture: a record that was seen before (by its position) is ignored, and
what merely passed by is replaced by the record that follows it. Nothing here reads time or draws.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from mcp_cli.passages import (
    Answered,
    Asked,
    Block,
    Permission,
    Remark,
    Said,
    ToolCard,
    ToolState,
    dollars,
    may_change,
    told,
    verdict,
)
from mcp_cli.untrusted import compact_json, one_line
from mcp_interface.approval import Approval
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
    RetryAsked,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionResumed,
    SessionSuspended,
    TurnEnded,
    TurnStarted,
    UserMessage,
    WindowCompacted,
)
from mcp_interface.ids import SYSTEM, AgentId, ExecutionId, SessionId, TurnId
from mcp_interface.provider import Usage
from mcp_interface.question import Question, Response
from mcp_interface.session import Profile
from mcp_interface.store import Record
from mcp_interface.tool import ToolLog

__all__ = [
    "EMPTY",
    "Answered",
    "Asked",
    "Block",
    "Permission",
    "Remark",
    "Said",
    "ToolCard",
    "Transcript",
    "TranscriptView",
    "Turn",
    "fold",
    "told",
    "verdict",
]

RETRY: Final = "/retry answers once more"
RETRY_MESSAGE: Final = f"nothing was resumed by itself; {RETRY}"
RECENT: Final = 200
"""Blocks from the end among which one that is finished is looked for; unfinished ones are always found."""
LOG_LINES: Final = 200
"""Lines of one tool's talk that are kept."""
LOG_WIDTH: Final = 500


class Turn(msgspec.Struct, frozen=True):
    """An agent is at work on the conversation."""

    id: TurnId
    agent_id: AgentId


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of one session."""

    session_id: SessionId | None = None
    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    """Chosen for the session; empty is the node's default."""
    answered_by: str = ""
    """The model of the latest answer."""
    turns: tuple[Turn, ...] = ()
    """That are going on, in the order in which they began."""
    ended: bool = False
    suspended: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars of the answers whose price is known."""
    unpriced: int = 0
    """Answers whose price is not known."""
    in_window: int = 0
    """Tokens that the latest answer read and wrote: about so many the next one begins with. Zero: not known."""
    seconds: float = 0.0
    """How long the latest answer took; zero: not known."""
    position: int = 0
    """Of the last record that was folded in."""
    blocks: tuple[Block, ...] = ()
    unsettled: tuple[int, ...] = ()
    """Places of the blocks that a later notice may change; all others stay as they are."""

    @property
    def working(self) -> TurnId | None:
        """The turn that began last of those that are going on."""
        return self.turns[-1].id if self.turns else None

    @property
    def approvals(self) -> list[Approval]:
        """What waits to be allowed or refused, oldest first."""
        found = (self.blocks[place] for place in self.unsettled)
        return [block.approval for block in found if isinstance(block, Permission)]

    @property
    def questions(self) -> list[Question]:
        """Open questions of tools, oldest first."""
        found = (self.blocks[place] for place in self.unsettled)
        return [block.question for block in found if isinstance(block, Asked)]


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
            return _run(state, notice.execution_id, progress=notice.progress, message=notice.message)
        case ToolSaid():
            return _tool_said(state, notice)
        case ServerChanged() | OffersChanged() | ResourceChanged():
            return state


def _change(state: Transcript, **changes: Any) -> Transcript:
    return msgspec.structs.replace(state, **changes)


def _add(state: Transcript, *blocks: Block, **changes: Any) -> Transcript:
    start = len(state.blocks)
    fresh = tuple(start + index for index, block in enumerate(blocks) if may_change(block))
    return _change(state, blocks=state.blocks + blocks, unsettled=state.unsettled + fresh, **changes)


def _put(state: Transcript, index: int, block: Block) -> Transcript:
    open_still, was_open = may_change(block), index in state.unsettled
    unsettled = state.unsettled
    if was_open and not open_still:
        unsettled = tuple(place for place in unsettled if place != index)
    elif open_still and not was_open:
        unsettled = tuple(sorted((*unsettled, index)))
    blocks = (*state.blocks[:index], block, *state.blocks[index + 1 :])
    return _change(state, blocks=blocks, unsettled=unsettled)


def _record(state: Transcript, event: Any) -> Transcript:
    step = _STEPS.get(type(event))
    return state if step is None else step(state, event)


def _latest(state: Transcript) -> Iterator[int]:
    """Places to look at for what a notice speaks of.

    First what may change, then the end: a finished block is spoken of only shortly after its end.
    """
    end = len(state.blocks)
    return chain(reversed(state.unsettled), range(end - 1, max(0, end - RECENT) - 1, -1))


def _find(state: Transcript, kind: type[Block], field: str, value: str) -> int | None:
    for index in _latest(state):
        block = state.blocks[index]
        if isinstance(block, kind) and getattr(block, field) == value:
            return index
    return None


# -- the session itself ----------------------------------------------------------------------------------


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
    return _add(_settle(state), Remark(tone="dim", text=text), ended=True, turns=())


def _changed(state: Transcript, event: SessionChanged) -> Transcript:
    asked = {"profile": event.profile, "model": event.model, "title": event.title}
    changes = {name: value for name, value in asked.items() if value is not None}
    notes = [
        Remark(tone="dim", text=f"{name} is now {value or 'the default'}")
        for name, value in {**changes, "strategy": event.strategy}.items()
        if name != "title" and value is not None
    ]
    if event.system is not None:
        text = (
            "the assistant is told something else" if event.system else "the assistant is told nothing more"
        )
        notes.append(Remark(tone="dim", text=text, more=event.system))
    if event.budget is not None:
        notes.append(Remark(tone="dim", text=f"the budget is now {_budget(event.budget)}"))
    return _add(state, *notes, **changes)


def _budget(budget: Any) -> str:
    bounds = [
        dollars(budget.max_cost) if budget.max_cost is not None else "",
        f"{budget.max_tokens} tokens" if budget.max_tokens is not None else "",
    ]
    return " and ".join(filter(None, bounds)) or "without bounds"


# -- messages and turns ----------------------------------------------------------------------------------


def _user(state: Transcript, event: UserMessage) -> Transcript:
    said = Said(message_id=event.message_id, author=event.author, text=event.text, at=event.timestamp)
    return _add(state, said)


def _turn_started(state: Transcript, event: TurnStarted) -> Transcript:
    others = tuple(turn for turn in state.turns if turn.id != event.turn_id)
    return _change(state, turns=(*others, Turn(event.turn_id, event.agent_id)))


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
    state = _spend(state, event.usage, event.cost)
    state = _change(
        state,
        answered_by=event.model or state.answered_by,
        in_window=event.usage.input_tokens + event.usage.output_tokens or state.in_window,
        seconds=event.duration_s or state.seconds,
    )
    index = _find(state, Answered, "message_id", event.message_id)
    if not event.text and index is None:
        return state  # a step that only used tools
    final = Answered(
        message_id=event.message_id,
        turn_id=event.turn_id,
        text=event.text,
        cut=event.stop == "interrupted",
        stop=event.stop,
        model=event.model,
        usage=event.usage,
        cost=event.cost,
        seconds=event.duration_s,
        at=event.timestamp,
    )
    return _add(state, final) if index is None else _put(state, index, final)


def _spend(state: Transcript, usage: Usage, cost: float | None) -> Transcript:
    used = bool(usage.input_tokens or usage.output_tokens)
    return _change(
        state,
        input_tokens=state.input_tokens + usage.input_tokens,
        output_tokens=state.output_tokens + usage.output_tokens,
        cost=state.cost + (cost or 0.0),
        unpriced=state.unpriced + (used and cost is None),
    )


def _settle(state: Transcript, concerned: Callable[[TurnId], bool] = lambda _: True) -> Transcript:
    """Nobody will finish what is still being written in these turns."""
    for index in state.unsettled:
        block = state.blocks[index]
        if isinstance(block, Answered) and block.open and concerned(block.turn_id):
            state = _put(state, index, msgspec.structs.replace(block, open=False, cut=True))
    return state


def _restarted(state: Transcript, event: AgentRestarted) -> Transcript:
    """What it was saying it will say again."""
    others = {turn.id for turn in state.turns if turn.agent_id != event.agent_id}
    note = Remark(tone="dim", text=f"the assistant was restarted ({event.reason}) and goes on")
    return _add(_settle(state, lambda turn: turn not in others), note)


def _turn_ended(state: Transcript, event: TurnEnded) -> Transcript:
    others = tuple(turn for turn in state.turns if turn.id != event.turn_id)
    going_on = {turn.id for turn in others}
    state = _change(_settle(state, lambda turn: turn not in going_on), turns=others)
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
            return _add(state, Remark(tone="bad", text=text, remedy=_with_retry(remedy)))


def _with_retry(remedy: str) -> str:
    if "/retry" in remedy:
        return remedy
    return f"{remedy.rstrip('.')}; then {RETRY}" if remedy else RETRY


def _retry_asked(state: Transcript, event: RetryAsked) -> Transcript:
    for index in state.unsettled:
        block = state.blocks[index]
        if isinstance(block, Answered) and not block.open:
            state = _put(state, index, msgspec.structs.replace(block, retried=True))
    return _add(state, Remark(tone="dim", text="once more: what was cut short above, the model sees no more"))


def _compacted(state: Transcript, event: WindowCompacted) -> Transcript:
    text = f"from here the model sees a summary in place of {event.replaced} older messages"
    note = Remark(tone="dim", text=text, remedy="all of it stays in this session", more=event.summary)
    return _add(_spend(state, event.usage, event.cost), note, in_window=0)


# -- tool calls ------------------------------------------------------------------------------------------


def _state_of(error: ErrorBody | None) -> ToolState:
    code = error.code if error is not None else ""
    return {"denied": "denied", "login_required": "denied", "interrupted": "interrupted"}.get(code, "failed")  # type: ignore[return-value]  # values of a literal table


def _execution(state: Transcript, event: ExecutionChanged) -> Transcript:
    if event.status in {"completed", "failed"}:
        state = _withdraw(state, event.execution_id)
    elif event.status == "started":
        state = _minted(state, event)
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
        moved = _moved(card, event, never_began=event.status == "failed")
        return _add(state, _as_shown_before(state, moved))
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
            right = event.call.capability_id if event.call is not None else None
            return msgspec.structs.replace(
                card, began=event.timestamp, capability_id=right or card.capability_id
            )


def _as_shown_before(state: Transcript, card: ToolCard) -> ToolCard:
    """Keep on the card what the question before the call said it would change."""
    index = _find_permission(state, "execution_id", card.execution_id)
    block = state.blocks[index] if index is not None else None
    if not isinstance(block, Permission) or block.approval.preview is None:
        return card
    return msgspec.structs.replace(card, preview=block.approval.preview)


def _run(state: Transcript, execution_id: ExecutionId, **changes: Any) -> Transcript:
    """Take over what a call says while it runs."""
    index = _find(state, ToolCard, "execution_id", execution_id)
    block = state.blocks[index] if index is not None else None
    if index is None or not isinstance(block, ToolCard) or block.state != "running":
        return state
    return _put(state, index, msgspec.structs.replace(block, **changes))


def _tool_said(state: Transcript, notice: ToolSaid) -> Transcript:
    index = _find(state, ToolCard, "execution_id", notice.execution_id)
    block = state.blocks[index] if index is not None else None
    said = block.said if isinstance(block, ToolCard) else ()
    return _run(state, notice.execution_id, said=(*said, _line(notice.line))[-LOG_LINES:])


def _line(line: ToolLog) -> str:
    words = (
        one_line(line.data, LOG_WIDTH) if isinstance(line.data, str) else compact_json(line.data, LOG_WIDTH)
    )
    level = "" if line.level == "info" else f"{one_line(line.level, 20)}: "
    return level + words


# -- questions -------------------------------------------------------------------------------------------


def _approval_asked(state: Transcript, event: ApprovalAsked) -> Transcript:
    return _add(state, Permission(approval=event.approval))


def _find_permission(state: Transcript, field: str, value: str) -> int | None:
    for index in _latest(state):
        block = state.blocks[index]
        if isinstance(block, Permission) and getattr(block.approval, field) == value:
            return index
    return None


def _minted(state: Transcript, event: ExecutionChanged) -> Transcript:
    """Note with a yes which right came of it; a start names that of the first thing the call needs, and no other."""
    right = None if event.call is None else event.call.capability_id
    for index in _latest(state):
        block = state.blocks[index]
        if not isinstance(block, Permission) or block.approval.execution_id != event.execution_id:
            continue
        asked_first = block.approval.touches[:1] == [block.approval.resource_uri]
        if asked_first and right is not None and block.answer is not None and block.answer.allow:
            return _put(state, index, msgspec.structs.replace(block, capability_id=right))
    return state


def _approval_answered(state: Transcript, event: ApprovalAnswered) -> Transcript:
    index = _find_permission(state, "id", event.approval_id)
    block = state.blocks[index] if index is not None else None
    if index is None or not isinstance(block, Permission) or block.answer is not None:
        return state
    return _put(state, index, msgspec.structs.replace(block, answer=event.answer, by=event.by))


def _open_question(state: Transcript, question_id: str) -> tuple[int, Asked] | None:
    for index in state.unsettled:
        block = state.blocks[index]
        if isinstance(block, Asked) and block.question.id == question_id:
            return index, block
    return None


def _question_asked(state: Transcript, event: QuestionAsked) -> Transcript:
    """A call that is sent anew by another process says so of the question that it had asked before."""
    fresh = Asked(question=event.question)
    found = _open_question(state, event.question.id)
    if found is not None:
        return _put(state, found[0], fresh)
    recent = state.blocks[-RECENT:]
    answered = any(isinstance(block, Asked) and block.question.id == event.question.id for block in recent)
    return state if answered else _add(state, fresh)


def _question_answered(state: Transcript, event: QuestionAnswered) -> Transcript:
    found = _open_question(state, event.question_id)
    if found is None:
        return state
    index, block = found
    return _put(state, index, msgspec.structs.replace(block, response=event.response, by=event.by))


def _withdraw(state: Transcript, execution_id: ExecutionId) -> Transcript:
    """Nobody waits any more for what a call had asked that is over."""
    for index in state.unsettled:
        block = state.blocks[index]
        if isinstance(block, Asked) and block.question.execution_id == execution_id:
            gone = msgspec.structs.replace(block, response=Response(action="cancel"), by=SYSTEM)
            state = _put(state, index, gone)
    return state


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
    RetryAsked: _retry_asked,
    WindowCompacted: _compacted,
    AssistantMessage: _assistant,
    ExecutionChanged: _execution,
    ApprovalAsked: _approval_asked,
    ApprovalAnswered: _approval_answered,
    QuestionAsked: _question_asked,
    QuestionAnswered: _question_answered,
}
