"""Everybody's part of the catalog: one stream per owner, read at the start, one writer at a time for each."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mcp_core.catalog.library import SHARE, Library, apply, require_room
from mcp_core.runtime.commit import History, Journal
from mcp_interface.catalog import Item, Prompt
from mcp_interface.clock import Clock
from mcp_interface.events import Event
from mcp_interface.ids import PrincipalId

STREAM: Final = "catalog:"
SCHEMA: Final = "catalog/1"
_NOTHING: Final = Library()
"""What those have who never put anything in; nobody writes to it."""


class Libraries:
    """Says who has what, and makes durable what changes.

    Args:
        journal: Holds the streams.
        clock: For the times between snapshots.
        owner: Of the node; others have less room.
    """

    def __init__(self, journal: Journal, clock: Clock, owner: PrincipalId) -> None:
        self._owner = owner
        self._journal = journal
        self._clock = clock
        self._histories: dict[PrincipalId, History[Library]] = {}
        self._writing: dict[PrincipalId, asyncio.Lock] = {}

    async def load(self) -> None:
        """Read what everybody has."""
        after = ""
        while page := await self._journal.streams(f"{STREAM}*", after=after):
            for info in page:
                await self._open(PrincipalId(info.stream.removeprefix(STREAM)))
            after = page[-1].stream

    def of(self, owner: PrincipalId) -> Library:
        """What one person has; to be looked at only."""
        history = self._histories.get(owner)
        return _NOTHING if history is None else history.state

    def items(self, who: PrincipalId) -> Iterator[Item]:
        """What somebody may read: all that is theirs, then what others have made public."""
        yield from self.of(who).items.values()
        for owner, history in self._histories.items():
            if owner != who:
                yield from (item for item in history.state.items.values() if item.visibility == "public")

    def prompts(self, who: PrincipalId) -> Iterator[Sequence[Prompt]]:
        """The versions, oldest first, of each prompt that somebody may read; own ones first.

        Of what others have made public, only the versions that were public themselves: an earlier one may hold what
        was taken out before.
        """
        yield from self.of(who).prompts.values()
        for owner, history in self._histories.items():
            if owner == who:
                continue
            for versions in history.state.prompts.values():
                if versions[-1].visibility == "public":
                    yield [each for each in versions if each.visibility == "public"]

    def names(self, digest: str) -> bool:
        """Whether anybody has a resource that holds these bytes."""
        histories = self._histories.values()
        return any(item.sha256 == digest for each in histories for item in each.state.items.values())

    async def change(self, owner: PrincipalId, decide: Callable[[Library], Sequence[Event]]) -> list[Event]:
        """Make durable what a pure function makes of what one person has; nothing when it raises.

        Returns:
            What happened.

        Raises:
            TooMuch: It would be more than they may have.
            UmbrellaError: What `decide` raises.
            StorageUnavailable: The disk refused.
        """

        def within(state: Library) -> Sequence[Event]:
            events = decide(state)
            if owner != self._owner:
                require_room(state, events, owner, SHARE)
            return events

        lock = self._writing.get(owner)
        if lock is None:
            lock = self._writing[owner] = asyncio.Lock()
        async with lock:
            history = self._histories.get(owner)
            if history is None:
                within(Library())  # whoever has nothing gets no stream by being refused
                history = await self._open(owner)
            return [record.event for record in await history.decide(within)]

    async def _open(self, owner: PrincipalId) -> History[Library]:
        history: History[Library] = History(
            self._journal,
            f"{STREAM}{owner}",
            initial=Library,
            apply=apply,
            clock=self._clock,
            schema=SCHEMA,
        )
        await history.load()
        self._histories[owner] = history
        return history
