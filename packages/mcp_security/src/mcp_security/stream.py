"""The stream "security": the derivation tree as the journal tells it, and the one writer that moves it on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import msgspec

from mcp_interface.capability import Capability
from mcp_interface.clock import Clock
from mcp_interface.codec import decode_disk, encode_disk, fingerprint
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import SecurityEvent
from mcp_interface.ids import CapabilityId, TraceId
from mcp_interface.store import PAGE, EventStore, Snapshot
from mcp_security.derivation import Derivation

STREAM: Final = "security"
SNAPSHOT_EVERY: Final = 5_000
"""Events between snapshots."""
MAX_ENDED: Final = 10_000
"""Ids of ended rights in a snapshot."""
_SCHEMA: Final = "security/1"

log = logging.getLogger(__name__)


class _Kept(msgspec.Struct, array_like=True):
    """One capability in a snapshot."""

    capability: Capability
    uses: int = 0
    taken_back: bool = False
    """Its end is on record, the ends of its descendants may not all be."""


class _State(msgspec.Struct):
    """A snapshot: what is not yet forgotten, parents before children."""

    capabilities: list[_Kept]
    ended: list[CapabilityId]
    """The last of what is forgotten, so that taking it back again is harmless."""
    audit_seq: int
    latest: datetime


class SecurityStream:
    """Owns the tree, its version, and the right to write.

    Args:
        store: Where the stream lies.
        epoch: What `EventStore.claim` gave.
        mint_secret: Makes the handles of the tree.
        clock: Time.
    """

    def __init__(self, store: EventStore, epoch: int, mint_secret: Callable[[], bytes], clock: Clock) -> None:
        self._store = store
        self._epoch = epoch
        self._mint_secret = mint_secret
        self.tree = Derivation(mint_secret)
        self.version = 0
        self._clock = clock
        self._latest = clock.now()
        self._latest_at = clock.monotonic()
        self._snapshot_version = 0
        self._stale = False
        self._writing = asyncio.Lock()

    def now(self) -> datetime:
        """The present, never earlier than any instant seen: a clock set back revives nothing.

        Nor does it keep alive: while the wall clock is behind, time goes on by the monotonic one.
        """
        elapsed, wall = self._clock.monotonic(), self._clock.now()
        least = self._latest + timedelta(seconds=max(0.0, elapsed - self._latest_at))
        self._latest, self._latest_at = max(wall, least), elapsed
        return self._latest

    def _saw(self, instant: datetime) -> None:
        if instant > self.now():
            self._latest = instant

    async def load(self) -> None:
        """Rebuild the tree from the newest snapshot and the events behind it.

        Raises:
            StorageCorrupt: The stream does not make sense; nothing is guessed.
            StorageUnavailable: The store cannot be read.
        """
        snapshot = await self._store.load_snapshot(STREAM)
        if snapshot is not None and (snapshot.schema, snapshot.fingerprint) == (_SCHEMA, fingerprint(_State)):
            try:
                self._restore(snapshot)
            except UmbrellaError as error:
                log.warning("a snapshot of the rights is passed over: %s", error.message)
                self.tree = Derivation(self._mint_secret)
        await self._catch_up()
        self.tree.forget_settled()

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[None]:
        """Be the only one who decides and writes, on a state that agrees with the journal."""
        async with self._writing:
            if self._stale:
                await self._catch_up()
            yield

    async def append(self, events: Sequence[SecurityEvent], trace_id: TraceId | None = None) -> None:
        """Write, then apply; only as the writer.

        After any failure, or cancellation, the journal is read again before the next write.
        """
        self._stale = True
        records = await self._store.append(
            STREAM, events, expected=self.version, epoch=self._epoch, trace_id=trace_id
        )
        for event in events:
            self.tree.apply(event)
        self.version = records[-1].version
        self._stale = False
        if self.version - self._snapshot_version >= SNAPSHOT_EVERY:
            await self.save()

    async def save(self) -> None:
        """Keep a snapshot, if the stream has moved on; losing it loses nothing. Only as the writer."""
        if self._stale or self.version == self._snapshot_version:
            return
        # what is forgotten now is named by no later event, so that snapshot and journal fit together
        self.tree.forget_settled()
        self.tree.forget_expired(self.now())
        kept = [
            _Kept(node.right.capability, node.uses, node.taken_back and node.recorded) for node in self.tree
        ]
        state = encode_disk(
            _State(kept, self.tree.lately_ended(MAX_ENDED), self.tree.audit_seq, self._latest)
        )
        self._snapshot_version = self.version
        try:
            await self._store.save_snapshot(
                Snapshot(
                    stream=STREAM,
                    version=self.version,
                    schema=_SCHEMA,
                    state=state,
                    taken_at=self._latest,
                    fingerprint=fingerprint(_State),
                )
            )
        except UmbrellaError as error:
            log.warning("no snapshot of the rights: %s", error.message)

    def _restore(self, snapshot: Snapshot) -> None:
        state: _State = decode_disk(snapshot.state, _State)
        self.tree.remember_ended(state.ended)
        for kept in state.capabilities:
            node = self.tree.add(kept.capability)
            node.uses = kept.uses
            if kept.taken_back:
                node.take_back()
                node.recorded = True
        self.tree.audit_seq = state.audit_seq
        self._saw(state.latest)
        self.version = self._snapshot_version = snapshot.version

    async def _catch_up(self) -> None:
        while records := await self._store.read(STREAM, after=self.version, limit=PAGE):
            for record in records:
                self.tree.apply(record.event)
                self.version = record.version
                self._saw(record.event.timestamp)
        self._stale = False
