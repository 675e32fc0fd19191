"""How often prompts were rendered. Written down now and then, not at each use: a crash may lose the last ones."""

import logging
from typing import Final

from mcp_interface.clock import Clock
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.store import KeyValueStore

log = logging.getLogger(__name__)

KEY: Final = "catalog:uses:"
EVERY_S: Final = 30.0
"""At most so often it is written down."""


class Uses:
    """Counts by owner and name.

    Args:
        store: Where the counts rest.
        clock: Says when they are due.
    """

    def __init__(self, store: KeyValueStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._counts: dict[PrincipalId, dict[str, int]] = {}
        self._changed: set[PrincipalId] = set()
        self._written = clock.monotonic()

    async def load(self) -> None:
        """Read what was written down."""
        after = ""
        while names := await self._store.list_keys(f"{KEY}*", after=after):
            for name in names:
                counts = await self._store.get(name)
                self._counts[PrincipalId(name.removeprefix(KEY))] = {
                    str(prompt): int(count) for prompt, count in dict(counts).items()
                }
            after = names[-1]

    def of(self, owner: PrincipalId, name: str) -> int:
        """How often somebody's prompt was rendered."""
        return self._counts.get(owner, {}).get(name, 0)

    async def count(self, owner: PrincipalId, name: str) -> None:
        """One more; that it cannot be written down is logged, and does not trouble who rendered."""
        counts = self._counts.setdefault(owner, {})
        counts[name] = counts.get(name, 0) + 1
        self._changed.add(owner)
        if self._clock.monotonic() - self._written >= EVERY_S:
            await self.write()

    def forget(self, owner: PrincipalId, name: str) -> None:
        """A prompt of that name begins at none again."""
        if self._counts.get(owner, {}).pop(name, 0):
            self._changed.add(owner)

    async def write(self) -> None:
        """Write down what has changed; also at the end."""
        self._written = self._clock.monotonic()
        changed, self._changed = self._changed, set()
        for owner in changed:
            try:
                await self._store.put(f"{KEY}{owner}", dict(self._counts[owner]))
            except UmbrellaError as error:
                log.warning("the use counts of prompts could not be written down: %s", error)
