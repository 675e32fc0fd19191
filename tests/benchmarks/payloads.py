"""What is appended and replayed in the benchmarks of persistence: messages of people and answers of models.

The same in every run. Half are `UserMessage`, half `AssistantMessage`, with texts of words whose lengths differ;
the mean of the encoded bodies is 287 bytes, and `MEAN` says what it is to a tenth. Bodies are not alike, so a medium
that compresses gains what it would gain on such text and no more.
"""

import random

import msgspec

from mcp_interface.codec import encode_disk
from mcp_interface.events import AssistantMessage, Event, UserMessage
from mcp_interface.ids import AgentId, MessageId, TurnId, new_id
from mcp_interface.testing import SeededEntropy
from mcp_interface.testing.samples import a_message

_TEXT = (
    "plan the next step search documents summarise result agent memory tool call budget error retry customer "
    "invoice order weather london paris database schema vector index compute answer final draft review approve "
    "reject delegate handoff"
)
WORDS = _TEXT.split(" ")
ASKED, ANSWERED = (20, 100), (64, 181)
"""Shortest and longest text of a person and of a model, in characters."""


class State(msgspec.Struct):
    """What a session comes to after its events: small, like the state of a real agent between two turns."""

    events: int = 0
    asked: int = 0
    characters: int = 0
    last: str = ""


def fold(state: State, event: Event) -> None:
    """Apply one event."""
    state.events += 1
    if type(event) is UserMessage:
        state.asked += 1
    state.characters += len(event.text)
    state.last = event.text


def stream_name(number: int) -> str:
    """The n-th stream, named as the product names them."""
    return f"session:session_{number:032x}"


def _text(chance: random.Random, shortest: int, longest: int) -> str:
    size = chance.randint(shortest, longest)
    text = ""
    while len(text) < size:
        text += chance.choice(WORDS) + " "
    return text[:size]


def _event(number: int, chance: random.Random) -> Event:
    if number % 2 == 0:
        return a_message(number, _text(chance, *ASKED))
    entropy = SeededEntropy(number)
    asked = a_message(number)
    return AssistantMessage(
        timestamp=asked.timestamp,
        message_id=MessageId(new_id("msg", entropy)),
        turn_id=TurnId(new_id("turn", entropy)),
        agent_id=AgentId(new_id("agent", entropy)),
        text=_text(chance, *ANSWERED),
    )


def _events(count: int) -> list[Event]:
    chance = random.Random(1)
    return [_event(number, chance) for number in range(count)]


EVENTS = _events(1000)
BODIES = [encode_disk(event) for event in EVENTS]
MEAN = sum(map(len, BODIES)) / len(BODIES)
