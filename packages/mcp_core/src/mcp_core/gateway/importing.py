"""What a session with messages from elsewhere begins with. Pure: messages in, events out.

They look like a conversation that was held here, turn by turn, so that all that reads sessions reads them alike.
What a model said elsewhere says so: its provider is `IMPORTED`, and it cost nothing here.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mcp_interface.clock import Instant
from mcp_interface.conversing import ImportedMessage
from mcp_interface.errors import CallerMistaken, TooMuch
from mcp_interface.events import AssistantMessage, SessionEvent, TurnEnded, TurnStarted, UserMessage
from mcp_interface.ids import AgentId, MessageId, PrincipalId, TurnId

IMPORTED: Final = "imported"
"""The provider of what a model said elsewhere, and the key of a session's metadata that says that it came so."""
MAX_IMPORT: Final = 48 * 1024 * 1024
"""Bytes of the longest conversation that can be brought in; it is written in one append, as a fork is."""
AROUND: Final = 512
"""Bytes that are reckoned for what is kept beside the words of a message."""


def check(messages: Sequence[ImportedMessage]) -> None:
    """Return if these can become a session.

    Raises:
        CallerMistaken: One of them has no words; says which.
        TooMuch: They are longer than one append takes.
    """
    size = 0
    for number, message in enumerate(messages, 1):
        if not message.content.strip():
            raise CallerMistaken(f"message {number} of {len(messages)} is empty", "leave it out")
        size += len(message.content.encode()) + AROUND
    if size > MAX_IMPORT:
        raise TooMuch(
            f"these messages have {size} bytes, a session can begin with {MAX_IMPORT}",
            "bring them in as several sessions",
        )


def events_of(
    messages: Sequence[ImportedMessage],
    *,
    author: PrincipalId,
    agent: AgentId,
    now: Instant,
    new: Callable[[str], str],
) -> list[SessionEvent]:
    """The events of a conversation that was held elsewhere.

    What nobody has answered in it is not answered now: its turn is a cancelled one, which can be tried again.

    Args:
        messages: In their order, one or more.
        author: Who is taken to have said what people said.
        agent: The session's assistant, which goes on with it.
        now: When nothing says otherwise; no message is later.
        new: Makes an id of a kind.
    """
    events: list[SessionEvent] = []
    heard = 0
    turn: TurnId | None = None
    at = now
    for message in messages:
        at = now if message.timestamp is None else min(message.timestamp, now)
        message_id = MessageId(new("msg"))
        if message.role == "user":
            if turn is not None:
                events.append(TurnEnded(timestamp=at, turn_id=turn, status="completed"))
                turn = None
            heard += 1
            said = UserMessage(timestamp=at, message_id=message_id, author=author, text=message.content)
            events.append(said)
            continue
        if turn is None:
            turn = TurnId(new("turn"))
            events.append(TurnStarted(timestamp=at, turn_id=turn, agent_id=agent))
        answered = AssistantMessage(
            timestamp=at,
            message_id=message_id,
            turn_id=turn,
            agent_id=agent,
            text=message.content,
            heard=heard,
            cost=0.0,
            provider=IMPORTED,
        )
        events.append(answered)
    if turn is None:
        turn = TurnId(new("turn"))
        events.append(TurnStarted(timestamp=at, turn_id=turn, agent_id=agent))
        events.append(TurnEnded(timestamp=at, turn_id=turn, status="cancelled"))
    else:
        events.append(TurnEnded(timestamp=at, turn_id=turn, status="completed"))
    return events
