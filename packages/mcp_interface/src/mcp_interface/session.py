"""A session: a conversation that clients attach to, per person, created on the first message."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mcp_interface.budget import Budget, Spent
from mcp_interface.clock import Instant
from mcp_interface.errors import InvalidRecord, WrongState
from mcp_interface.ids import AgentId, PrincipalId, SessionId, is_id, is_principal
from mcp_interface.task import Lineage

SessionStatus = Literal["initializing", "active", "suspended", "terminating", "terminated", "error"]
SESSION_STEPS: Final[Mapping[SessionStatus, frozenset[SessionStatus]]] = {
    "initializing": frozenset({"active", "terminating", "error"}),
    "active": frozenset({"suspended", "terminating", "error"}),
    "suspended": frozenset({"active", "terminating", "error"}),
    "terminating": frozenset({"terminated", "error"}),
    "terminated": frozenset(),
    "error": frozenset({"active", "terminating"}),
}
"""From each status to those that may follow it. `initializing` is a session of which nothing but its creation is
known; `error` one whose history cannot be read or continued at present. Whatever is not over can be ended."""
_REMEDIES: Final[Mapping[SessionStatus, str]] = {
    "initializing": "wait a moment",
    "active": "suspend it: umbrella sessions suspend {id}",
    "suspended": "resume it: umbrella sessions resume {id}",
    "terminating": "begin a new session",
    "terminated": "begin a new session, or go on in a copy: umbrella sessions fork {id}",
    "error": "mend what is broken, then: umbrella sessions resume {id}",
}
Cleanup = Literal["graceful", "immediate", "force"]
"""How a session ends: tool calls that run may finish; they are cancelled and seen to end; the session is over at
once, and what runs is cancelled behind it."""
Profile = Literal["locked", "ask", "careful", "open"]
"""What the assistant may do unasked: nothing at all (not even ask), nothing without asking, read-only tools
(everything else asks), everything."""


Strategy = Literal["smart", "sliding"]
"""What becomes of a conversation that outgrows the model's window: its older part is replaced by a summary, or is
left out. The journal keeps all of it either way."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one session."""

    max_agents: Annotated[int, Meta(ge=1, le=1000)] = 10
    idle_timeout_s: Annotated[float, Meta(gt=0)] | None = None
    """Seconds without any event after which the node suspends it; None is never."""
    budget: Budget = Budget()
    """What its models may cost altogether."""


class ForkPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session's history was copied from."""

    session_id: SessionId
    version: int
    """The last event of that session which was carried over."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session as listed; its content is its stream of events."""

    id: SessionId
    created_by: PrincipalId
    title: str = ""
    created_at: Instant
    updated_at: Instant
    status: SessionStatus = "active"
    profile: Profile = "careful"
    model: str = ""
    """Chosen model; empty is the node's default."""
    agents: list[AgentId] = []
    limits: Limits = Limits()
    message_count: int = 0
    busy: bool = False
    """Whether a turn is going on."""
    metadata: dict[str, Any] = {}
    forked_from: ForkPoint | None = None
    lineage: Lineage | None = None
    """Of a session in which an agent works on a task; nobody is asked in it, and its profile gives nothing."""
    system: str = ""
    """What the assistant is told beside what every assistant is told."""
    strategy: Strategy = "smart"
    spent: Spent = Spent()
    """On models so far."""

    def validate(self) -> None:
        """Check the record's own rules.

        Raises:
            InvalidRecord: invalid_session_id, invalid_principal_id, too_many_agents or updated_before_created.
        """
        if not is_id("session", self.id):
            raise InvalidRecord("invalid_session_id", f"{self.id!r} is not a session id")
        if not is_principal(self.created_by):
            raise InvalidRecord("invalid_principal_id", f"{self.created_by!r} cannot own a session")
        if len(self.agents) > self.limits.max_agents:
            raise InvalidRecord(
                "too_many_agents", f"{len(self.agents)} agents exceed {self.limits.max_agents}"
            )
        if self.updated_at < self.created_at:
            raise InvalidRecord("updated_before_created", f"{self.id} changed before it began")


def check_step(session_id: SessionId, status: SessionStatus, wanted: SessionStatus) -> None:
    """Return if a session may go from one status to another.

    Raises:
        WrongState: It may not; says what it is and what helps.
    """
    if wanted not in SESSION_STEPS[status]:
        raise wrong_state(session_id, status, f"it cannot become {wanted}")


def check_open(session: Session) -> None:
    """Return if something may begin in a session as it is listed now: a turn, a tool call, a question.

    Raises:
        WrongState: It has ended, is ending or suspended, or cannot be read.
    """
    if session.status not in {"initializing", "active"}:
        raise wrong_state(session.id, session.status, "nothing begins in it")


def wrong_state(session_id: SessionId, status: SessionStatus, why: str) -> WrongState:
    """Return the error of something that a session's status does not allow."""
    word = "has ended" if status == "terminated" else f"is {status}"
    return WrongState(
        f"{session_id} {word}: {why}", _REMEDIES[status].format(id=session_id), {"status": status}
    )
