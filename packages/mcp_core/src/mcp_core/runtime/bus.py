"""From the journal to whoever watches: every record once, in order, without a gap.

Appends to several streams finish in any order; the bus holds a record back until all earlier positions have
passed. What is not remembered (text deltas, progress) goes straight through.

A reader that is behind reads the store, at its own pace and for as long as it takes; nothing waits for it
meanwhile. Once it is level with the bus it is handed what happens through a `Backlog`: it may fall behind by
so much, loses passing notices first, and is then told from where to follow again. Nobody waits for a reader.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from mcp_interface.backlog import Backlog, Bounds
from mcp_interface.client import Notice, OffersChanged, Passing, ResourceChanged, ServerChanged
from mcp_interface.codec import encode_disk
from mcp_interface.ids import SessionId
from mcp_interface.store import EventStore, Record

log = logging.getLogger(__name__)

PAGE = 256
"""Records read at once for a reader that catches up; they may be large."""
GAP_PATIENCE = 0.5
"""Seconds a missing position is waited for before the store is asked."""

Listener = Callable[[Record], None]


class Bus:
    """Distributes what happens on one node; used on its event loop only.

    Args:
        store: Where readers catch up.
        position: Of its last record.
        bounds: How far each reader may fall behind; None is the usual.
    """

    def __init__(self, store: EventStore, position: int, bounds: Bounds | None = None) -> None:
        self._store = store
        self._bounds = bounds
        self._closed = False
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
        readers = [reader for reader in self._readers if reader.wants_passing(passing)]
        if readers:
            size = len(encode_disk(passing))
            for reader in readers:
                reader.backlog.offer(passing, size)

    async def follow(
        self, session_id: SessionId | None = None, after: int = 0
    ) -> AsyncGenerator[Notice, None]:
        """All records behind `after` (of one session, or of the node), then what happens.

        Raises:
            TooMuch: The reader was too slow; `details["position"]` is where to follow again.
        """
        pattern = "*" if session_id is None else f"session:{session_id}"
        while after < (target := self.position):
            page = await self._store.read_all(after=after, limit=PAGE, streams=pattern)
            known = [record for record in page if record.position <= target]
            for record in known:
                after = record.position
                yield record
            if len(known) < len(page) or not page:
                after = target  # there is nothing more of it up to there
        # no await between the last look and this: what happens from here on is offered
        reader = _Reader(session_id, Backlog(after, self._bounds))
        self._readers.add(reader)
        if self._closed:
            reader.backlog.end()
        try:
            async with aclosing(reader.backlog.notices()) as notices:
                async for notice in notices:
                    if not isinstance(notice, Record) or notice.position > after:
                        yield notice
        finally:
            self._readers.discard(reader)

    async def close(self) -> None:
        """End every follow."""
        self._closed = True
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        for reader in self._readers:
            reader.backlog.end()

    def _drain(self) -> None:
        while (record := self._early.pop(self.position + 1, None)) is not None:
            self.position = record.position
            for listener in self._listeners:
                listener(record)
            readers = [reader for reader in self._readers if reader.wants(record)]
            if readers:
                size = len(encode_disk(record))
                for reader in readers:
                    reader.backlog.offer(record, size)

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
    def __init__(self, session_id: SessionId | None, backlog: Backlog) -> None:
        self._stream = None if session_id is None else f"session:{session_id}"
        self._session_id = session_id
        self.backlog = backlog

    def wants(self, record: Record) -> bool:
        return self._stream is None or record.stream == self._stream

    def wants_passing(self, passing: Passing) -> bool:
        if isinstance(passing, ServerChanged | OffersChanged | ResourceChanged):
            return self._session_id is None
        return self._session_id in (None, passing.session_id)
