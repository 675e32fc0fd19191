"""Valid records for exams and tests, the same in every run."""

from datetime import timedelta
from typing import Any

from mcp_interface.clock import Entropy
from mcp_interface.envelope import Envelope
from mcp_interface.events import SessionCreated, UserMessage
from mcp_interface.ids import AgentId, MessageId, PrincipalId, SessionId, new_id
from mcp_interface.testing.time import START, SeededEntropy


def a_person(entropy: Entropy | None = None) -> PrincipalId:
    """Make the id of a person."""
    return PrincipalId(new_id("user", entropy or SeededEntropy(1)))


def an_agent(entropy: Entropy | None = None) -> AgentId:
    """Make the id of an agent."""
    return AgentId(new_id("agent", entropy or SeededEntropy(2)))


def a_session(entropy: Entropy | None = None) -> SessionId:
    """Make the id of a session."""
    return SessionId(new_id("session", entropy or SeededEntropy(3)))


def a_message(number: int, text: str | None = None) -> UserMessage:
    """Make the n-th message of a person; each has its own id, instant and text."""
    return UserMessage(
        timestamp=START + timedelta(seconds=number),
        message_id=MessageId(new_id("msg", SeededEntropy(number))),
        author=a_person(),
        text=f"message {number}" if text is None else text,
    )


def a_beginning(metadata: dict[str, Any] | None = None) -> SessionCreated:
    """Make the first event of a session."""
    return SessionCreated(
        timestamp=START, session_id=a_session(), created_by=a_person(), metadata=metadata or {}
    )


def an_envelope(payload: Any, number: int = 0) -> Envelope:
    """Make a message from a person to an agent."""
    return Envelope(
        id=MessageId(new_id("msg", SeededEntropy(number))),
        to=f"mcp://agent/{an_agent()}",
        sender=a_person(),
        payload=payload,
        timestamp=START + timedelta(seconds=number),
    )
