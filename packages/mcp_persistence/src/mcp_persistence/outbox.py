"""Messages that leave the store: written with the events they follow from, delivered at least once, in order.

    decision: events + `entry(message)` -> store.commit            all or nothing
    pending -> deliver -> done, or failed -> later again -> dead   outside the store: at least once
    pending -> `consume`: the consumer's events, the entry gone    inside the store: exactly once

A key is `outbox/<name>/<destination>/<epoch>-<count>-<random>`. Epoch and count, and not the time, give the order:
a clock may jump back, an epoch never does, and the position of the events is not known before their commit.
The random end keeps two outboxes of one name from writing over each other. Order is that of the calls of
`entry`, so the decisions for one destination are to be committed in that order, as one actor does by itself.
"""

from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.codec import from_external, to_external
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.store import PAGE, Decision, Record, Store, Transaction
from mcp_persistence.latch import use_up
from mcp_persistence.names import check_key, page

MOST_ATTEMPTS: Final = 10
FIRST_WAIT: Final = 1.0
"""Seconds after the first failure; doubles up to `LAST_WAIT`."""
LAST_WAIT: Final = 300.0


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way out."""

    key: str
    to: str
    message: Any
    attempts: int = 0
    """How often delivering failed."""
    error: str = ""
    """Why, the last time."""
    retry_at: Instant | None = None
    """Not before."""


class Outbox:
    """The messages of one name.

    Args:
        store: Where they rest.
        name: Tells this outbox from others.
        epoch: What the store's `claim` gave.
        clock: For the waits between attempts.
        entropy: Ends the keys.
        attempts: After so many failures a message is dead.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        epoch: int,
        clock: Clock,
        entropy: Entropy,
        attempts: int = MOST_ATTEMPTS,
    ) -> None:
        self._store = store
        self._live = f"outbox/{quote(name, safe='')}/"
        self._dead = f"outbox-dead/{quote(name, safe='')}/"
        self._epoch = epoch
        self._clock = clock
        self._entropy = entropy
        self._most = attempts
        self._count = count(1)

    def entry(self, message: Any, to: str = "") -> tuple[str, Any]:
        """Make the key and value for `Decision.puts`.

        Args:
            message: JSON-compatible.
            to: Its destination; messages to the same one are delivered one after the other.

        Raises:
            CallerMistaken: The destination is too long; the message is refused by the commit.
        """
        order = f"{self._epoch:016d}-{next(self._count):016d}-{self._entropy.token(8).hex()}"
        key = f"{self._live}{quote(to, safe='')}/{order}"
        check_key(f"{self._dead}{key.removeprefix(self._live)}")
        return key, to_external(Outgoing(key=key, to=to, message=message))

    async def pending(self, limit: int = PAGE) -> list[Outgoing]:
        """What is to be delivered now, oldest first: of each destination the first message, if it is due."""
        heads: list[str] = []
        place = self._live
        while keys := await self._store.list_keys(f"{self._live}*", after=place):
            for key in keys:
                if key > place:
                    heads.append(key)
                    # behind everything for this destination: '0' is the sign that follows '/'
                    place = f"{key.rpartition('/')[0]}0"
            place = max(place, keys[-1])
            if len(keys) < PAGE:
                break
        found: list[Outgoing] = []
        now = self._clock.now()
        for key in sorted(heads, key=_order):
            if len(found) >= page(limit):
                break
            entry = await self._entry(key)
            if entry is not None and (entry.retry_at is None or entry.retry_at <= now):
                found.append(entry)
        return found

    async def done(self, key: str) -> None:
        """It was delivered; harmless when repeated."""
        await self._store.delete(key)

    async def consume(self, key: str, decision: Decision) -> list[Record] | None:
        """It was delivered to this very store: remove it and make the decision that follows, both or neither.

        Returns and raises as `latch.use_up`: None when it was consumed before with another outcome.
        """
        return await use_up(self._store, key, decision, self._epoch)

    async def failed(self, key: str, error: str, retry_at: datetime | None = None) -> Outgoing | None:
        """It was not delivered: try later, or never again after too many attempts.

        Args:
            key: Which message.
            error: Why, for people.
            retry_at: Not before; None waits twice as long as the last time.

        Returns:
            The message as it is now; None when it was delivered meanwhile.
        """
        now = self._clock.now()

        def work(transaction: Transaction) -> Outgoing | None:
            try:
                entry: Outgoing = from_external(transaction.get(key), Outgoing)
            except NotFound:
                return None
            wait = min(FIRST_WAIT * 2.0 ** min(entry.attempts, 60), LAST_WAIT)
            later = msgspec.structs.replace(
                entry,
                attempts=entry.attempts + 1,
                error=error,
                retry_at=retry_at or now + timedelta(seconds=wait),
            )
            if later.attempts >= self._most:
                transaction.delete(key)
                later = msgspec.structs.replace(later, key=f"{self._dead}{key.removeprefix(self._live)}")
            transaction.put(later.key, to_external(later))
            return later

        return await self._store.transaction(work)

    async def dead(self, *, after: str = "", limit: int = PAGE) -> list[Outgoing]:
        """Messages that are not tried any more, by destination and age, beginning behind a key."""
        keys = await self._store.list_keys(f"{self._dead}*", after=max(after, self._dead), limit=limit)
        found = [await self._entry(key) for key in keys]
        return [entry for entry in found if entry is not None]

    async def replay(self, key: str) -> None:
        """Try a dead message again, at its old place in the order.

        Raises:
            NotFound: No dead message has this key.
        """

        def work(transaction: Transaction) -> None:
            entry: Outgoing = from_external(transaction.get(key), Outgoing)
            place = f"{self._live}{key.removeprefix(self._dead)}"
            transaction.delete(key)
            transaction.put(place, to_external(Outgoing(key=place, to=entry.to, message=entry.message)))

        if not key.startswith(self._dead):
            raise CallerMistaken(f"{key[:60]!r} is no dead message of this outbox", "take it from `dead`")
        await self._store.transaction(work)

    async def _entry(self, key: str) -> Outgoing | None:
        try:
            entry: Outgoing = from_external(await self._store.get(key), Outgoing)
        except NotFound:
            return None  # delivered meanwhile
        return entry


def _order(key: str) -> str:
    return key.rpartition("/")[2]
