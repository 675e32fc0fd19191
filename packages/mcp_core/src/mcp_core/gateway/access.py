"""Who comes in and what they find: the stream "access", its state, and the one writer of it.

Keys and publications share the stream, because both say what a stranger gets to see; `Keys` and `Publications` read
the state and decide, this module remembers.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mcp_core.runtime.commit import History, Journal
from mcp_interface.clock import Clock
from mcp_interface.events import AccessEvent, KeyCreated, KeyRevoked, Published, Unpublished
from mcp_interface.ids import KeyId
from mcp_interface.key import ApiKey, Publication
from mcp_interface.store import Record

STREAM: Final = "access"
SCHEMA: Final = "access/1"


class AccessState(msgspec.Struct):
    """What the stream adds up to."""

    keys: dict[KeyId, ApiKey] = {}
    """Those that were not revoked, oldest first."""
    digests: dict[str, KeyId] = {}
    """By the hash of the secret, hex."""
    publications: dict[str, Publication] = {}


def apply(state: AccessState, record: Record) -> None:
    """Move the state on by one event."""
    match record.event:
        case KeyCreated(key=key, digest=digest):
            state.keys[key.id] = key
            state.digests[digest] = key.id
        case KeyRevoked(key_id=key_id):
            state.keys.pop(key_id, None)
            state.digests = {digest: each for digest, each in state.digests.items() if each != key_id}
        case Published(publication=publication):
            state.publications[publication.name] = publication
        case Unpublished(name=name):
            state.publications.pop(name, None)


class Access:
    """The memory of keys and publications.

    Args:
        journal: Where the stream lies.
        clock: For the time between snapshots.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._writing = asyncio.Lock()
        self._history: History[AccessState] = History(
            journal, STREAM, initial=AccessState, apply=apply, clock=clock, schema=SCHEMA
        )

    @property
    def state(self) -> AccessState:
        """As it is now; to be read only."""
        return self._history.state

    async def load(self) -> None:
        """Read the stream."""
        await self._history.load()

    async def decide(self, events: Callable[[AccessState], Sequence[AccessEvent]]) -> None:
        """Commit what a pure function makes of the state; nothing when it returns nothing or raises."""
        async with self._writing:
            await self._history.decide(events)
