"""From the journal to whoever watches: every record once, in order, without a gap.

Appends to several streams finish in any order; the bus holds a record back until all earlier positions have
passed. What is not remembered (text deltas, progress) goes straight through and is the first to be dropped
for a slow reader.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from mcp_interface.client import Notice, Passing, ServerChanged
from mcp_interface.errors import TooMuch
from mcp_interface.ids import SessionId
from mcp_interface.store import EventStore, Record

log = logging.getLogger(__name__)

QUEUE = 10_000
"""Records that may wait for one reader before it is cut off."""
PASSING = 2_000
"""Waiting notices beyond which passing ones are dropped."""
GAP_PATIENCE = 0.5
"""Seconds a missing position is waited for before the store is asked."""

Listener = Callable[[Record], None]


class Bus:
    """Distributes what happens on one node; used on its event loop only."""

    def __init__(self, store: EventStore, position: int) -> None:
        self._store = store
        self.position = position
        """Position of the last record that was given out."""
        self._early: dict[int, Record] = {}
        self._filling: asyncio.Task[None] | None = None
        self._readers: set[_Reader] = set()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call a function with every record, in order; for projections inside the node."""
        self._listeners.append(listener)

    def publish(self, records: Sequence[Record]) -> None:
        """Give out records that are durable."""
        for record in records:
            if record.position > self.position:
                self._early[record.position] = record
        self._drain()
        if self._early and self._filling is None:
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    def pass_by(self, passing: Passing) -> None:
        """Give out something that is not remembered."""
        for reader in self._readers:
            reader.offer_passing(passing)

    async def follow(
        self, session_id: SessionId | None = None, after: int = 0
    ) -> AsyncGenerator[Notice, None]:
        """All records behind `after` (of one session, or of the node), then what happens.

        Raises:
            TooMuch: The reader was too slow; follow again from the last position seen.
        """
        pattern = "*" if session_id is None else f"session:{session_id}"
        reader = _Reader(session_id)
        self._readers.add(reader)
        switch = self.position
        try:
            while after < switch:
                page = await self._store.read_all(after=after, streams=pattern)
                for record in page:
                    if record.position > switch:
                        break
                    after = record.position
                    yield record
                else:
                    if page:
                        continue
                break
            async for notice in reader.notices():
                if not isinstance(notice, Record) or notice.position > max(after, switch):
                    yield notice
        finally:
            self._readers.discard(reader)

    async def close(self) -> None:
        """End every follow."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        for reader in list(self._readers):
            reader.end()

    def _drain(self) -> None:
        while (record := self._early.pop(self.position + 1, None)) is not None:
            self.position = record.position
            for listener in self._listeners:
                listener(record)
            for reader in self._readers:
                reader.offer(record)

    async def _fill(self) -> None:
        # An append whose caller saw an error may still be in the store; without this its position
        # would hold back everything after it for ever.
        try:
            while self._early:
                await asyncio.sleep(GAP_PATIENCE)
                while self._early:
                    page = await self._page()
                    if not page:
                        break
                    for record in page:
                        self.position = record.position - 1  # deleted streams leave holes
                        self._early.setdefault(record.position, record)
                        self._drain()
        finally:
            self._filling = None

    async def _page(self) -> list[Record]:
        try:
            return await self._store.read_all(after=self.position)
        except Exception as error:  # whatever it is, followers wait for the next attempt
            log.warning("the records behind %d could not be read: %r", self.position, error)
            return []


class _Reader:
    def __init__(self, session_id: SessionId | None) -> None:
        self._stream = None if session_id is None else f"session:{session_id}"
        self._session_id = session_id
        self._waiting: deque[Notice] = deque()
        self._ready = asyncio.Event()
        self._ended = False
        self._overrun = False

    def offer(self, record: Record) -> None:
        if self._stream is not None and record.stream != self._stream:
            return
        if len(self._waiting) >= QUEUE:
            self._overrun = True
            self.end()
        else:
            self._waiting.append(record)
            self._ready.set()

    def offer_passing(self, passing: Passing) -> None:
        if isinstance(passing, ServerChanged):
            wanted = self._session_id is None
        else:
            wanted = self._session_id in (None, passing.session_id)
        if wanted and len(self._waiting) < PASSING:
            self._waiting.append(passing)
            self._ready.set()

    def end(self) -> None:
        self._ended = True
        self._ready.set()

    async def notices(self) -> AsyncIterator[Notice]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._overrun:
                raise TooMuch(
                    "this reader was too slow for what happens", "follow again from the last position"
                )
            if self._ended:
                return
            self._ready.clear()
            await self._ready.wait()
