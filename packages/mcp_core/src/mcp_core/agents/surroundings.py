"""What an assistant works with, as it sees it; `mcp_core.node` fills it in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from platform import system
from typing import Protocol

import msgspec

from mcp_core.agents.briefing import Notes
from mcp_core.agents.preparing import Preparing
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.providers.lender import Lent
from mcp_interface.client import Passing
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import CallOutcome
from mcp_interface.events import SessionEvent, ToolCall
from mcp_interface.ids import AgentId, ExecutionId, PrincipalId, SessionId, TurnId
from mcp_interface.provider import ChatMessage
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.telemetry import Telemetry
from mcp_interface.tool import ToolInfo


class OpenTurn(Protocol):
    """A turn that has not ended."""

    id: TurnId
    agent_id: AgentId
    answered: bool
    """Whether nothing is left of it but its end."""
    stop: str
    """Why the latest answer ended; as `AssistantMessage.stop`."""
    cuts: int
    """How many answers in a row, up to the latest, were cut at their allowed length."""


class OpenCall(Protocol):
    """A tool call that has not ended."""

    @property
    def call(self) -> ToolCall:
        """As it was journaled."""
        ...


class Conversation(Protocol):
    """A session as its assistant sees it."""

    window: list[ChatMessage]
    """What was said, as a model reads it."""
    spoken: int
    """How many messages of people there are."""
    summarized: bool
    """Whether the first message of the window is a summary."""

    @property
    def running(self) -> Mapping[ExecutionId, OpenCall]:
        """The tool calls that have not ended."""
        ...

    @property
    def turn_goes_on(self) -> bool:
        """Whether the turn survives its process, as a call of it waits for a person."""
        ...

    @property
    def turn(self) -> OpenTurn | None:
        """The turn that is going on."""
        ...

    @property
    def unanswered(self) -> bool:
        """Whether a person has said something that no turn has taken up."""
        ...


class Conversations(Protocol):
    """Where sessions are read and continued (`mcp_core.gateway.sessions`)."""

    def get(self, session_id: SessionId) -> Session:
        """The session as listed."""
        ...

    async def state(self, session_id: SessionId) -> Conversation:
        """A copy of the conversation as it is now."""
        ...

    async def add(self, session_id: SessionId, *events: SessionEvent) -> Sequence[Record]:
        """Commit events."""
        ...


class Offer(Protocol):
    """Which tools there are (`mcp_core.gateway.toolbox`)."""

    def listed(self) -> list[ToolInfo]:
        """Every tool that is known now."""
        ...


class Calls(Protocol):
    """How tool calls are made (`tool_executor.Caller`)."""

    async def call(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call."""
        ...


async def no_notes(person: PrincipalId, folder: str) -> Notes | None:
    """For a node without files: there are none."""
    return None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What an assistant works with."""

    sessions: Conversations
    toolbox: Offer
    calls: Calls
    model: Callable[[str], Awaitable[Lent]]
    """From a session's model choice to a model that can be asked; raises `ModelUnavailable`."""
    publish: Callable[[Passing], None]
    telemetry: Telemetry
    clock: Clock
    entropy: Entropy
    max_steps: int
    stopping: Callable[[], bool]
    """Whether the node is about to stop, so that nobody has cancelled what is cut off now."""
    platform: str = system() or "unknown"
    """Name of the operating system that tools run on."""
    notes: Callable[[PrincipalId, str], Awaitable[Notes | None]] = no_notes
    """What the project in a folder says, as far as a person may read it."""
    preparing: Preparing = msgspec.field(default_factory=Preparing)
    """What is known of the models' windows, for all assistants."""
