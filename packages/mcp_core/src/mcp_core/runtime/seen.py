"""The receiver's side of at-least-once: what was handled is not handled again.

Remembers the ids of the latest messages, as many as it is told to. A channel repeats a message only before it goes on
to the next, so a small memory is enough for a few senders; replaying old dead letters asks for a larger one.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from mcp_interface.errors import CallerMistaken, LostRace

REMEMBERED: Final = 1024


class Seen:
    """Ids of messages that were handled.

    It is as lasting as where it is kept. A receiver with state of its own keeps `ids` in that state and commits them
    with what the message did; otherwise a crash between the two makes the message be handled twice.

    Args:
        ids: What was handled before, oldest first, as `ids` gave it.
        most: How many are remembered.
    """

    def __init__(self, ids: Iterable[str] = (), *, most: int = REMEMBERED) -> None:
        if most < 1:
            raise CallerMistaken(f"{most} ids are no memory", "remember one or more")
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        for id in ids:
            self.note(id)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> list[str]:
        """What is remembered, oldest first."""
        return list(self._ids)

    def note(self, id: str) -> None:
        """Remember an id as the latest."""
        self._ids[id] = None
        self._ids.move_to_end(id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    async def once(self, id: str, handle: Callable[[], Awaitable[Any]]) -> bool:
        """Handle a message unless it was handled before.

        It counts as handled when `handle` has returned; one that raised or was cancelled is handled again.

        Returns:
            Whether it was handled now.

        Raises:
            LostRace: The same message is being handled; what it comes to is not known yet.
            Exception: What `handle` raised.
        """
        if id in self._ids:
            self.note(id)  # whatever repeats it may do so again
            return False
        if id in self._running:
            raise LostRace(f"message {id[:100]!r} is being handled", "send it again a little later")
        self._running.add(id)
        try:
            await handle()
        finally:
            self._running.discard(id)
        self.note(id)
        return True
