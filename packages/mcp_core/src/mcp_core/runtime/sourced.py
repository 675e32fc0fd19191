"""An actor whose state is its stream: take a message, decide, commit, apply, reply; the journal publishes.

class Counter(Sourced[Count]):
def decide(self, message, state):
return [Counted(by=message)]

def reply(self, message, state, records):
return state.total
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from mcp_core.runtime.commit import History
from mcp_core.runtime.light import Actor
from mcp_interface.events import Event
from mcp_interface.store import Record

S = TypeVar("S")


class Sourced(Actor, Generic[S]):
    """Base of event-sourced actors; subclasses override the two pure functions.

    A new incarnation, after a crash or a rest, has the state that the journal has.

    Args:
        history: The stream and its state, not loaded yet.
    """

    passivates = True
    interruptible = False  # what is decided is recorded, whoever still waits for it

    def __init__(self, history: History[S]) -> None:
        super().__init__()
        self.history = history

    @abstractmethod
    def decide(self, message: Any, state: S) -> Sequence[Event]:
        """What happens because of a message. Must not change the state; to raise is to refuse."""

    def reply(self, message: Any, state: S, records: Sequence[Record]) -> Any:
        """What the asker gets, when the events are durable and applied."""
        return None

    async def on_start(self) -> None:
        """Read the state."""
        await self.history.load()

    async def on_receive(self, message: Any) -> Any:
        """Decide and commit; when another writer was first, decide again on the newer state.

        Raises:
            VersionConflict: Others were first again and again.
            StaleEpoch: Another node has taken over.
            StorageUnavailable: The disk refused; nothing has happened.
        """
        records = await self.history.decide(partial(self.decide, message))
        return self.reply(message, self.history.state, records)
