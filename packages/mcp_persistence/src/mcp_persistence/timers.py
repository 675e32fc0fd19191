"""Timers that outlive the process: set with the events they follow from, fired together with their event.

A key is `timer/<name>/<due>-<random>`, so that keys sort by due time. Firing and cancelling use the key up under
one latch (see `latch`): each timer is fired at most once or cancelled, never both, whoever tries how often and
whatever the clock says. A clock that jumps makes timers early or late, and nothing else.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mcp_interface.clock import Entropy, Instant
from mcp_interface.codec import from_external, to_external
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.store import PAGE, Decision, Record, Store
from mcp_persistence.latch import use_up
from mcp_persistence.names import page

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is to happen."""

    key: str
    due: Instant
    message: Any


class Timers:
    """The timers of one name.

    Args:
        store: Where they rest.
        name: Tells them from others.
        epoch: What the store's `claim` gave.
        entropy: Ends the keys.
    """

    def __init__(self, store: Store, name: str, epoch: int, entropy: Entropy) -> None:
        self._store = store
        self._prefix = f"timer/{quote(name, safe='')}/"
        self._epoch = epoch
        self._entropy = entropy

    def set(self, due: datetime, message: Any) -> tuple[str, Any]:
        """Make the key and value for `Decision.puts`; the key is what `cancel` takes.

        Raises:
            CallerMistaken: The time has no zone; a message that is not JSON-compatible is refused by the commit.
        """
        if due.tzinfo is None:
            raise CallerMistaken(f"the time {due} has no zone", "give one, such as UTC")
        key = f"{self._prefix}{_sortable(due)}-{self._entropy.token(16).hex()}"
        return key, to_external(Timer(key=key, due=due, message=message))

    async def due(self, now: datetime, limit: int = PAGE) -> list[Timer]:
        """What is due at this time, the longest due first."""
        keys = await self._store.list_keys(f"{self._prefix}*", after=self._prefix, limit=page(limit))
        last = f"{self._prefix}{_sortable(now)}."  # '.' follows '-'
        found: list[Timer] = []
        for key in keys:
            if key > last:
                break
            try:
                found.append(from_external(await self._store.get(key), Timer))
            except NotFound:
                continue  # fired or cancelled meanwhile
        return found

    async def fire(self, key: str, decision: Decision) -> list[Record] | None:
        """Remove a timer and make the decision that follows from it, both or neither.

        Returns:
            The records; None when it was cancelled, or fired before with another outcome: nothing was written.

        Raises:
            CallerMistaken: The decision has no event, and else as `Store.commit`, as the others.
            VersionConflict, StaleEpoch, TooMuch, StorageUnavailable: As `Store.commit`.
        """
        if not decision.appends:
            raise CallerMistaken("a timer fires without an event", "append what happened")
        return await use_up(self._store, key, decision, self._epoch)

    async def cancel(self, key: str, decision: Decision | None = None) -> bool:
        """Remove a timer, with whatever else is decided; harmless when repeated.

        Returns:
            False when it had fired already; then the decision was not made either.

        Raises:
            VersionConflict, StaleEpoch, TooMuch, StorageUnavailable: As `Store.commit`.
        """
        return await use_up(self._store, key, decision or Decision(), self._epoch) is not None


def _sortable(at: datetime) -> str:
    return f"{(at - _BEGINNING) // _TICK:020d}"
