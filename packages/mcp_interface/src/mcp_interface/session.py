"""A session: a conversation that clients attach to, per person, created on the first message."""

from typing import Any, Literal

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import AgentId, PrincipalId, SessionId, is_id, is_principal

SessionStatus = Literal["initializing", "active", "suspended", "terminating", "terminated", "error"]
Profile = Literal["locked", "ask", "careful", "open"]
"""What the assistant may do unasked: nothing at all (not even ask), nothing without asking, read-only tools
(everything else asks), everything."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one session."""

    max_agents: int = 10


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
