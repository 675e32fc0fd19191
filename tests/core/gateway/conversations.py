"""Conversations as a node could have journaled them, for property tests."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from mcp_core.gateway.state import SessionState, apply, check_allowed
from mcp_interface.approval import Answer, Approval
from mcp_interface.budget import Budget
from mcp_interface.errors import Interrupted, WrongState
from mcp_interface.events import (
    AgentJoined,
    ApprovalAnswered,
    ApprovalAsked,
    AssistantMessage,
    ExecutionChanged,
    RetryAsked,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionEnding,
    SessionResumed,
    SessionSuspended,
    ToolCall,
    TurnEnded,
    TurnStarted,
    UserMessage,
    WindowCompacted,
)
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    ExecutionId,
    MessageId,
    PrincipalId,
    SessionId,
    TurnId,
    new_id,
)
from mcp_interface.provider import ToolUse, Usage
from mcp_interface.session import Limits
from mcp_interface.store import Record
from mcp_interface.testing import START, SeededEntropy
from mcp_interface.tool import text_result

ENTROPY = SeededEntropy(21)
SESSION = SessionId(new_id("session", ENTROPY))
OWNER = PrincipalId(new_id("user", ENTROPY))
AGENT = AgentId(new_id("agent", ENTROPY))

STEPS = (
    "say", "say", "turn", "turn", "answer", "answer", "call", "call", "queue", "done", "failed", "ask", "reply",
    "end turn", "change", "join", "suspend", "resume", "end",
    "compact", "retry",
)  # fmt: skip


def records_of(events: Sequence[Any], gap: int = 1) -> list[Record]:
    return [
        Record(position=number * gap, stream=f"session:{SESSION}", version=number, epoch=1, event=event)
        for number, event in enumerate(events, 1)
    ]


def fold(events: Sequence[Any]) -> SessionState:
    state = SessionState()
    for record in records_of(events):
        apply(state, record)
    return state


class Writer:
    """Turns wishes into events that may happen; a wish that makes no sense here is passed over."""

    def __init__(self) -> None:
        self.state = SessionState()
        self.events: list[Any] = []
        self.uses: list[str] = []
        self.queued: list[str] = []
        self.number = 0

    def wish(self, step: str, pick: int) -> None:
        self.number += 1
        for event in self._events(step, pick):
            try:
                check_allowed(self.state, [event])
            except WrongState:
                return
            self.add(event)

    def add(self, event: Any) -> None:
        self.events.append(event)
        place = len(self.events)
        apply(self.state, Record(position=place, stream="s", version=place, epoch=1, event=event))

    def _execution(self, key: str, status: Any, **fields: Any) -> ExecutionChanged:
        return ExecutionChanged(
            timestamp=self._now(),
            execution_id=ExecutionId(key),
            session_id=SESSION,
            principal_id=PrincipalId(AGENT),
            status=status,
            **fields,
        )

    def _now(self) -> Any:
        return START + timedelta(seconds=self.number)

    def _events(self, step: str, pick: int) -> list[Any]:
        now, number, turn = self._now(), self.number, self.state.turn
        running = sorted(self.state.running)
        asked = sorted(self.state.asked)
        match step:
            case "say":
                key = MessageId(f"msg_{number}")
                return [UserMessage(timestamp=now, message_id=key, author=OWNER, text=f"words {number}")]
            case "turn" if turn is None:
                return [TurnStarted(timestamp=now, turn_id=TurnId(f"turn_{number}"), agent_id=AGENT)]
            case "answer" if turn is not None:
                uses = [f"use_{number}_{index}" for index in range(pick % 3)]
                self.uses += uses
                return [
                    AssistantMessage(
                        timestamp=now,
                        message_id=MessageId(f"msg_{number}"),
                        turn_id=turn.id,
                        agent_id=AGENT,
                        text=f"answer {number}",
                        tool_uses=[ToolUse(id=use, name="t", arguments={}) for use in uses],
                        heard=self.state.spoken - (pick == 9 and self.state.spoken > 1),
                        stop=("end", "end", "length", "interrupted", "refused")[pick % 5],
                        usage=Usage(input_tokens=number, output_tokens=1),
                        cost=None if pick % 2 else 0.5,
                    )
                ]
            case "call" | "queue":
                use = self.uses.pop(pick % len(self.uses)) if self.uses and turn is not None else ""
                call = ToolCall(server="s", tool="t", arguments={}, tool_use_id=use)
                status = "started" if step == "call" else "queued"
                return [self._execution(f"exec_{number}", status, call=call)]
            case "done" if running:
                return [self._execution(running[pick % len(running)], "completed", result=text_result("r"))]
            case "failed" if running:
                error = Interrupted("gone", "look").body()
                return [self._execution(running[pick % len(running)], "failed", error=error)]
            case "ask":
                return [ApprovalAsked(timestamp=now, approval=self._approval(number))]
            case "reply" if asked:
                key = asked[pick % len(asked)]
                answer = Answer(allow=bool(pick % 2))
                return [ApprovalAnswered(timestamp=now, approval_id=key, answer=answer, by=OWNER)]
            case "end turn" if turn is not None:
                status = ("completed", "cancelled", "failed", "interrupted")[pick % 4]
                return [TurnEnded(timestamp=now, turn_id=turn.id, status=status)]
            case "change":
                return [self._change(pick)]
            case "join":
                return [AgentJoined(timestamp=now, agent_id=AGENT)]
            case "suspend":
                return [SessionSuspended(timestamp=now, by=OWNER)]
            case "resume":
                return [SessionResumed(timestamp=now, by=OWNER)]
            case "end" if pick == 0:
                return [SessionEnding(timestamp=now, by=OWNER), SessionEnded(timestamp=now)]
            case "compact":
                return [WindowCompacted(timestamp=now, summary=f"sum {number}", replaced=pick + 1)]
            case "retry":
                return [RetryAsked(timestamp=now, by=OWNER)]
        return []

    def _change(self, pick: int) -> SessionChanged:
        return SessionChanged(
            timestamp=self._now(),
            profile=("locked", "ask", "careful", "open")[pick % 4],
            model=f"m{self.number}",
            system=f"s{self.number}" if pick % 2 else None,
            strategy=("smart", "sliding")[pick % 2],
            budget=Budget(max_tokens=self.number) if pick % 3 else None,
            by=OWNER,
        )

    def _approval(self, number: int) -> Approval:
        return Approval(
            id=ApprovalId(f"ask_{number}"),
            session_id=SESSION,
            execution_id=ExecutionId(f"exec_{number}"),
            principal_id=PrincipalId(AGENT),
            server="s",
            tool="t",
            arguments={},
            resource_uri="mcp://tool/execute/s/t",
            reason="",
            fingerprint="",
            asked_at=self._now(),
            expires_at=self._now(),
        )


@st.composite
def conversations(draw: Any) -> list[Any]:
    writer = Writer()
    writer.add(
        SessionCreated(
            timestamp=START,
            session_id=SESSION,
            created_by=OWNER,
            title=draw(st.sampled_from(["", "a title"])),
            limits=Limits(max_agents=4),
        )
    )
    for step, pick in draw(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=40)):
        writer.wish(step, pick)
    return writer.events
