"""What an agent is to the runtime: a few callbacks over an explicit state, and a record of its life.

The runtime owns the mailbox, the supervision and the journal; the agent only decides. Implementations:
`mcp_core.agents`; in memory: `testing.EchoAgent`.
"""

from collections.abc import Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from mcp_interface.capability import Capability
from mcp_interface.clock import Instant
from mcp_interface.envelope import Envelope
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import AgentId, CapabilityId, SessionId, is_id

S = TypeVar("S")

AgentType = Literal["coordinator", "tool_executor", "llm", "export", "worker"]
AgentState = Literal["active", "inactive", "terminated", "error"]


class SkillParameter(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of a skill."""

    name: str
    type: str = "string"
    required: bool = True
    description: str = ""


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent advertises it can do."""

    name: str
    description: str = ""
    parameters: list[SkillParameter] = []
    required_permissions: list[str] = []
    """Resource URIs that the caller must hold."""


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as seen from outside."""

    id: AgentId
    type: AgentType
    name: str = ""
    parent_id: AgentId | None = None
    session_id: SessionId | None = None
    state: AgentState = "active"
    capabilities: list[CapabilityId] = []
    started_at: Instant
    restarts: int = 0
    metadata: dict[str, Any] = {}

    def validate(self) -> None:
        """Check the ids.

        Raises:
            InvalidRecord: invalid_agent_id, invalid_parent_id or invalid_session_id.
        """
        if not is_id("agent", self.id):
            raise InvalidRecord("invalid_agent_id", f"{self.id!r} is not an agent id")
        if self.parent_id is not None and not is_id("agent", self.parent_id):
            raise InvalidRecord("invalid_parent_id", f"{self.parent_id!r} is not an agent id")
        if self.session_id is not None and not is_id("session", self.session_id):
            raise InvalidRecord("invalid_session_id", f"{self.session_id!r} is not a session id")


class Ok(msgspec.Struct, Generic[S], frozen=True):
    """Carry on with this state."""

    state: S


class Reply(msgspec.Struct, Generic[S], frozen=True):
    """Answer the sender and carry on."""

    value: Any
    state: S


class Stop(msgspec.Struct, Generic[S], frozen=True):
    """End for this reason; `normal` is a planned end and is not restarted."""

    reason: str
    state: S | None = None


class Agent(Protocol[S]):
    """Behaviour of an agent. Callbacks run one at a time; raising crashes the agent and its supervisor acts."""

    async def init(self, args: Mapping[str, Any]) -> Ok[S] | Stop[S]:
        """Make the first state, or decline to start."""
        ...

    async def handle_message(self, envelope: Envelope, state: S) -> Ok[S] | Reply[S] | Stop[S]:
        """React to one message."""
        ...

    async def handle_capability(self, capability: Capability, state: S) -> Ok[S] | Stop[S]:
        """Learn of a right that has just been granted to this agent."""
        ...

    async def terminate(self, reason: str, state: S) -> None:
        """Clean up; runs once, after the last message."""
        ...

    def is_busy(self, state: S) -> bool:
        """Whether work goes on beside the messages. An agent that is not busy may leave memory until it is needed."""
        ...

    def detach(self) -> None:
        """End at once what goes on beside the messages, and record nothing of it.

        Called instead of `terminate` when the agent was killed or has crashed: its successor goes on from the last
        exported state.
        """
        ...

    def export_state(self, state: S) -> Mapping[str, Any]:
        """Return the state as JSON-compatible data."""
        ...

    def import_state(self, data: Mapping[str, Any]) -> S:
        """Rebuild what `export_state` gave.

        Raises:
            InvalidRecord: The data is not an exported state.
        """
        ...

    def skills(self) -> list[Skill]:
        """What this agent advertises."""
        ...
