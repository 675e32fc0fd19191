"""Bringing many states back: each from its snapshot and the events behind it, in one pass over the journal.

What is needed first comes first: `recover` takes families of streams in the order of their importance
(security, then agents, then conversations), reports how far it is, and passes over a stream whose state
cannot be rebuilt, naming it, so that one damaged conversation does not keep a node from starting. Whoever
needs one state only reads that stream: see `Recovery.one`. Pure over a store; knows no disk.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

import msgspec

from mcp_interface.errors import StorageCorrupt, UmbrellaError
from mcp_interface.store import EventStore, Record, Snapshot, StreamInfo

log = logging.getLogger(__name__)

S = TypeVar("S")
WORTH_A_PASS: Final = 64
"""Streams with events behind their snapshots from which on one pass over the journal is cheaper than reads."""


FAR: Final = 20_000
"""Events to be read for nothing from which on it is worth while to read some streams on their own."""


class Progress(msgspec.Struct, frozen=True):
    """How far a recovery is."""

    family: str
    """Glob of the streams that are being brought back."""
    streams: int
    """How many of them are back."""
    of: int
    events: int
    """Applied so far, all families together."""


class Found(msgspec.Struct):
    """What a recovery came to."""

    streams: int = 0
    events: int = 0
    from_snapshots: int = 0
    """Streams that did not have to be replayed from their beginning."""
    failed: dict[str, str] = {}
    """Streams that are not back, and why."""

    def line(self) -> str:
        """One line for a person."""
        text = f"{self.streams:,} states back, {self.from_snapshots:,} from snapshots, {self.events:,} events applied"
        return f"{text}; {len(self.failed):,} could not be rebuilt" if self.failed else text


class Family(msgspec.Struct, Generic[S]):
    """States of one kind.

    Each function concerns one stream; raising an `UmbrellaError` means that its state cannot be rebuilt.
    """

    streams: str
    """Glob of their streams."""
    initial: Callable[[str], S]
    """The state of a stream before its first event."""
    restore: Callable[[Snapshot], S | None]
    """A state from a snapshot; None when its shape is unknown."""
    apply: Callable[[S, Record], None]
    """Moves a state on."""
    done: Callable[[str, S, int], None]
    """Told of each state that is back, with its stream and version; the streams changed last come first."""


class _Coming(Generic[S]):
    """A state on its way back."""

    __slots__ = ("info", "last", "snapshot", "state", "version")

    def __init__(self, info: StreamInfo, snapshot: Snapshot | None, state: S, version: int) -> None:
        self.info = info
        self.last = info.version
        self.snapshot = snapshot
        self.state = state
        self.version = version


class Recovery(Generic[S]):
    """Brings one family back.

    Args:
        store: Where it rests.
        family: What the states are.
        found: Added to.
        report: Told of the progress, at most once a page.
    """

    def __init__(
        self, store: EventStore, family: Family[S], found: Found, report: Callable[[Progress], None]
    ) -> None:
        self._store = store
        self._family = family
        self._found = found
        self._report = report
        self._back = 0
        self._all = 0
        self._given_up: set[str] = set()

    async def run(self) -> None:
        """Bring all states back."""
        coming = await self._begin()
        self._all = len(coming)
        behind = {name: each for name, each in coming.items() if each.version < each.info.version}
        for name in [name for name in coming if name not in behind]:
            self._finish(coming[name])
        self._tell()
        if len(behind) > WORTH_A_PASS:
            order = sorted(behind.values(), key=_known)
            # a few that rest since long must not make everybody else's pass begin with them
            early = WORTH_A_PASS if _known(order[WORTH_A_PASS]) - _known(order[0]) > FAR else 0
            await self._pass({each.info.stream: each for each in order[early:]})
            behind = {
                name: each
                for name, each in behind.items()
                if each.version < each.info.version and name not in self._given_up
            }
        for each in sorted(behind.values(), key=_changed, reverse=True):
            await self._read_on(each)
            self._tell()

    async def one(self, stream: str) -> tuple[S, int]:
        """Bring one state back, now; gives its version too.

        Raises:
            NotFound: There is no such stream.
            StorageCorrupt: It cannot be read.
        """
        info = await self._store.stream_info(stream)
        snapshot = await self._store.load_snapshot(stream)
        each = self._from(info, snapshot)
        while each.version < info.version and (page := await self._store.read(stream, after=each.version)):
            self._apply(each, page)
        return each.state, each.version

    async def _begin(self) -> dict[str, _Coming[S]]:
        infos: list[StreamInfo] = []
        while page := await self._store.streams(
            self._family.streams, after=infos[-1].stream if infos else ""
        ):
            infos += page
        snapshots: dict[str, Snapshot] = {}
        after = ""
        while found := await self._store.load_snapshots(self._family.streams, after=after):
            snapshots |= {snapshot.stream: snapshot for snapshot in found}
            after = found[-1].stream
        infos.sort(key=lambda info: info.updated_at, reverse=True)
        coming: dict[str, _Coming[S]] = {}
        for info in infos:
            try:
                coming[info.stream] = self._from(info, snapshots.get(info.stream))
            except UmbrellaError as error:
                self._give_up(info.stream, error)
        return coming

    def _from(self, info: StreamInfo, snapshot: Snapshot | None) -> _Coming[S]:
        if snapshot is not None and snapshot.version <= info.version:
            try:
                state = self._family.restore(snapshot)
            except UmbrellaError as error:
                log.warning("a snapshot of %s is passed over: %s", info.stream, error.message)
                state = None
            if state is not None:
                self._found.from_snapshots += 1
                return _Coming(info, snapshot, state, snapshot.version)
        return _Coming(info, None, self._family.initial(info.stream), 0)

    async def _pass(self, behind: dict[str, _Coming[S]]) -> None:
        """Read the journal once, from the first event that somebody lacks."""
        position = min(_known(each) for each in behind.values())
        apply = self._family.apply
        while behind:
            try:
                records = await self._store.read_all(after=position, streams=self._family.streams)
            except StorageCorrupt as error:
                log.warning("the journal cannot be read in one pass: %s", error.message)
                return  # each stream on its own: so the damage concerns those alone that it has hit
            if not records:
                return
            position = records[-1].position
            events = 0
            for record in records:
                each = behind.get(record.stream)
                version = record.version
                if each is None or version != each.version + 1:
                    continue
                try:
                    apply(each.state, record)
                except UmbrellaError as error:
                    self._give_up(record.stream, error)
                    del behind[record.stream]
                    continue
                each.version = version
                events += 1
                if version >= each.last:
                    del behind[record.stream]
                    self._finish(each)
            self._found.events += events
            self._tell()

    async def _read_on(self, each: _Coming[S]) -> None:
        try:
            while each.version < each.info.version:
                page = await self._store.read(each.info.stream, after=each.version)
                if not page:
                    break  # it was removed meanwhile
                self._apply(each, page)
        except UmbrellaError as error:
            self._give_up(each.info.stream, error)
        else:
            self._finish(each)

    def _apply(self, each: _Coming[S], records: Sequence[Record]) -> None:
        for record in records:
            self._family.apply(each.state, record)
            each.version = record.version
        self._found.events += len(records)

    def _finish(self, each: _Coming[S]) -> None:
        self._back += 1
        self._found.streams += 1
        self._family.done(each.info.stream, each.state, each.version)

    def _give_up(self, stream: str, error: UmbrellaError) -> None:
        log.error("%s could not be rebuilt: %s", stream, error.message)
        self._given_up.add(stream)
        self._found.failed[stream] = error.message

    def _tell(self) -> None:
        self._report(Progress(self._family.streams, self._back, self._all, self._found.events))


async def recover(
    store: EventStore,
    families: Sequence[Family[S]],
    report: Callable[[Progress], None] = lambda progress: None,
) -> Found:
    """Bring all states of these families back, one family after the other.

    Args:
        store: Where they rest.
        families: In the order of their importance; leaving some out is a partial recovery.
        report: Told of the progress.

    Returns:
        What was found; streams that could not be rebuilt are named in it.

    Raises:
        StorageUnavailable: The store cannot be read.
    """
    found = Found()
    # Of all that is made here nothing can be collected: the collector would look at it again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        for family in families:
            await Recovery(store, family, found, report).run()
    finally:
        if collects:
            gc.enable()
    return found


def _changed(each: "_Coming[S]") -> datetime:
    return each.info.updated_at


def _known(each: "_Coming[S]") -> int:
    """A position behind which everything lies that this state lacks."""
    return 0 if each.snapshot is None else each.snapshot.position
