"""The session of the benchmarks as an aggregate of `eventsourcing`. Of its own, since the library finds classes by name."""

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from payloads import EVENTS

from mcp_interface.events import UserMessage


class Session(Aggregate):
    """Folds as `payloads.fold` does."""

    @event("Started")
    def __init__(self) -> None:
        self.events = self.asked = self.characters = 0
        self.last = ""

    @event("Asked")
    def ask(self, message_id: str, author: str, text: str) -> None:
        self.asked += 1
        self._count(text)

    @event("Answered")
    def answer(self, message_id: str, turn_id: str, agent_id: str, text: str) -> None:
        self._count(text)

    def _count(self, text: str) -> None:
        self.events += 1
        self.characters += len(text)
        self.last = text


def application(path: str, snapshots: bool) -> Application:
    """The library's application over one SQLite file."""
    return Application(
        {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": path,
            "IS_SNAPSHOTTING_ENABLED": "y" if snapshots else "n",
        }
    )


def a_session(events: int) -> Session:
    """One with this many messages, not saved yet."""
    session = Session()
    for number in range(events):
        said = EVENTS[number % len(EVENTS)]
        if isinstance(said, UserMessage):
            session.ask(said.message_id, said.author, said.text)
        else:
            session.answer(said.message_id, said.turn_id, said.agent_id, said.text)
    return session
