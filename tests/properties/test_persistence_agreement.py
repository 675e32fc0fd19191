"""Whatever is done to them, crashes included, the durable stores and the memory store give the same answers."""

import asyncio
import os
import shutil
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mcp_interface.errors import UmbrellaError
from mcp_interface.store import Append, Decision, Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import MemoryStore, SegmentJournal, SqliteJournal

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
PATIENCE = 10.0
"""Seconds within which a subscription gives what is there."""
STREAMS = ("session:a", "session:b", "agent:[a]", "security", "ü*")
NAMES = st.sampled_from(STREAMS)
KEYS = st.sampled_from(("a", "b", "a:1", "A", "ü", "[", "🎉"))
ONCE = st.none() | st.integers(0, 40).map("ü {}".format)
"""Idempotency keys."""
IDS = st.sampled_from((None, None, "msg 1", "ü"))
GLOBS = st.one_of(
    NAMES,
    st.sampled_from(
        ("*", "session:*", "session:?", "*[*", "agent:[[]a]", "[!s]*", "[", "[]", "[^s]*", "[b-a]")
    ),
    st.text("as:*?[]!-^ü", max_size=6),
)
SMALL = st.integers(-1, 12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RIGHT, NOW = st.just("right"), st.just(0)
PARTS = st.lists(st.tuples(NAMES, st.integers(1, 4), RIGHT), max_size=3, unique_by=lambda part: part[0])
PUTS = st.dictionaries(KEYS, VALUES, max_size=2)
APPEND = st.tuples(st.just("append"), NAMES, st.integers(1, 9), RIGHT, NOW, ONCE, IDS, IDS)
COMMIT = st.tuples(st.just("commit"), PARTS, PUTS, st.lists(KEYS, max_size=1), NOW, ONCE, IDS)
AGAIN = st.tuples(st.just("again"), st.integers(0, 9), st.integers(0, 9), NOW)
EXPECTED = st.sampled_from(("right", 0, 1, 5))
BEHIND = st.sampled_from((0, 0, 1))
"""How many epochs the writer is late."""
DOUBTFUL = st.one_of(
    st.tuples(
        st.just("append"),
        NAMES,
        st.integers(0, 3),
        EXPECTED,
        BEHIND,
        ONCE | st.sampled_from(("", "x" * 201, "a\n")),
        IDS,
        IDS,
    ),
    st.tuples(
        st.just("commit"),
        st.lists(st.tuples(NAMES, st.integers(0, 4), EXPECTED), max_size=3),
        PUTS,
        st.lists(KEYS, max_size=2),
        BEHIND,
        ONCE,
        IDS,
    ),
    st.tuples(st.just("again"), st.integers(0, 9), st.integers(0, 9), st.just(1)),
)
"""What may well be refused."""
CHANGES = st.one_of(
    st.tuples(st.just("claim")),
    st.tuples(st.just("delete_stream"), NAMES),
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(
        st.just("transaction"), st.lists(st.tuples(KEYS, VALUES | st.just(...)), max_size=4), st.booleans()
    ),
)
SNAPSHOT = st.tuples(st.just("snapshot"), NAMES, st.integers(-1, 6), st.binary(max_size=5))
ENDS = st.sampled_from((("reopen",), ("crash",), ("rebuild",)))
READS = st.one_of(
    st.tuples(st.just("read"), NAMES, SMALL, SMALL),
    st.tuples(st.just("read_all"), SMALL, SMALL, GLOBS),
    st.tuples(st.just("subscribe"), SMALL, GLOBS, st.integers(0, 5)),
    st.tuples(st.just("follow")),
    st.tuples(st.just("streams"), GLOBS, NAMES | st.just(""), SMALL),
    st.tuples(st.just("stream_info"), NAMES),
    st.tuples(st.just("load_snapshot"), NAMES),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("list_keys"), GLOBS, KEYS | st.just(""), SMALL),
    st.sampled_from((("verify",), ("report",))),
)
# A list of strategies and not `|`, which takes each of them once: a history has to grow to show anything.
COMMAND = st.sampled_from(
    [APPEND] * 5 + [COMMIT] * 3 + [AGAIN] * 2 + [SNAPSHOT, DOUBTFUL, ENDS] + [CHANGES] * 2 + [READS] * 5
).flatmap(lambda kind: kind)
# Several lists and not a long one, which could not shrink below its least size.
COMMANDS = st.tuples(*[st.lists(COMMAND, max_size=12)] * 5).map(lambda parts: [*chain(*parts)])
QUESTIONS = [
    ("follow",),
    ("head",),
    ("verify",),
    ("report",),
    ("streams", "*", "", 9),
    ("list_keys", "*", "", 99),
    *(
        ("read_all", after, limit, glob)
        for after in (0, 1, 5)
        for limit in (1, 4, 99)
        for glob in ("*", "s*")
    ),
    *(("read_all", after, limit, name) for after in (0, 1, 5) for limit in (1, 99) for name in STREAMS),
    *(("read", name, after, limit) for name in STREAMS for after in (0, 2, 9) for limit in (2, 99)),
    *((kind, name) for kind in ("stream_info", "load_snapshot") for name in STREAMS),
    *(("subscribe", after, glob, cut) for after, cut in ((0, 3), (4, 0)) for glob in ("*", "s*", STREAMS[0])),
]
"""Asked after every history, so that a difference has no place to hide."""


class Side:
    """One store under comparison, and what its user knows."""

    def __init__(self, store, opened=None):
        self.store = store
        self.opened = opened
        self.epoch = 0
        self.made = []
        """Decisions with a key, as they were tried."""
        self.seen = 0
        """Position that the long subscription has come to."""
        self.following = None

    async def reopen(self):
        await self.leave()
        await self.store.close()
        self.store = await self.opened(self.store.path)

    async def crash(self, place):
        """Go on with what is on the disk at this moment; nobody has closed anything."""
        old, there = self.store, place / self.store.path.parent.name
        shutil.copytree(old.path.parent, there)
        self.store = await self.opened(there / old.path.name)
        await old.close()

    async def leave(self):
        if self.following is not None:
            await self.following.aclose()
            self.following = None


async def append(side, stream, number, expected, behind, key, causation, correlation):
    where = len(await side.store.read(stream)) if expected == "right" else expected
    events = [a_message(where + place) for place in range(number)]
    remember(side, key, [Append(stream=stream, events=events, expected=where)], {}, [])
    return await side.store.append(
        stream,
        events,
        expected=where,
        epoch=side.epoch - behind,
        key=key,
        causation_id=causation,
        correlation_id=correlation,
    )


async def commit(side, parts, puts, deletes, behind, key, causation):
    appends = []
    for stream, number, expected in parts:
        where = len(await side.store.read(stream)) if expected == "right" else expected
        events = [a_message(where + place) for place in range(number)]
        appends.append(Append(stream=stream, events=events, expected=where))
    remember(side, key, appends, puts, deletes)
    decision = Decision(appends=appends, puts=puts, deletes=deletes, key=key, causation_id=causation)
    return await side.store.commit(decision, epoch=side.epoch - behind)


def remember(side, *decision):
    if decision[0] is not None:
        side.made.append(decision)


async def again(side, which, expected, behind):
    """Try once more, from another version, what was tried with a key before."""
    if not side.made:
        return None
    key, appends, puts, deletes = side.made[which % len(side.made)]
    epoch = side.epoch - behind
    if len(appends) == 1 and not puts and not deletes:
        return await side.store.append(
            appends[0].stream, appends[0].events, expected=expected, epoch=epoch, key=key
        )
    decision = Decision(appends=appends, puts=puts, deletes=deletes, key=key)
    return await side.store.commit(decision, epoch=epoch)


async def transaction(side, changes, fails):
    def work(draft):
        seen = []
        for key, value in changes:
            if value is ...:
                draft.delete(key)
            else:
                draft.put(key, value)
                seen.append(draft.get(key))
        if fails:
            raise ZeroDivisionError
        return seen

    return await side.store.transaction(work)


async def subscribe(side, after, glob, cut):
    """All that is there, in two subscriptions of which the second goes on where the first was left."""
    due = len(await side.store.read_all(after=after, streams=glob))
    found = []
    for most in (min(cut, due), due):
        records = side.store.subscribe(after=found[-1].position if found else after, streams=glob)
        async with asyncio.timeout(PATIENCE):
            while len(found) < most:
                found.append(await anext(records))
        await records.aclose()
    return found


async def follow(side):
    """What is new in the subscription that goes on from command to command."""
    due = len(await side.store.read_all(after=side.seen))
    side.following = side.following or side.store.subscribe(after=side.seen)
    async with asyncio.timeout(PATIENCE):
        found = [await anext(side.following) for _ in range(due)]
    side.seen = found[-1].position if found else side.seen
    return found


async def perform(side, command):
    name, *arguments = command
    store = side.store
    match name:
        case "append" | "commit" | "again" | "transaction" | "subscribe" | "follow":
            return await globals()[name](side, *arguments)
        case "claim":
            side.epoch = await store.claim()
            return side.epoch
        case "snapshot":
            stream, behind, state = arguments
            version = len(await store.read(stream)) - behind
            snapshot = Snapshot(
                stream=stream,
                version=version,
                schema="1",
                state=state,
                taken_at=START,
                fingerprint=state.hex(),
                position=version,
            )
            return await store.save_snapshot(snapshot)
        case "read":
            return await store.read(arguments[0], after=arguments[1], limit=arguments[2])
        case "read_all":
            return await store.read_all(after=arguments[0], limit=arguments[1], streams=arguments[2])
        case "streams" | "list_keys":
            return await getattr(store, name)(arguments[0], after=arguments[1], limit=arguments[2])
        case "report":
            report = await store.report()
            return report.state, report.reason, report.head, report.streams
        case _:
            return await getattr(store, name)(*arguments)


async def answer(side, command):
    """What a store gives, or how it refuses."""
    try:
        return await perform(side, command)
    except UmbrellaError as error:
        return type(error), error.details
    except ZeroDivisionError as error:
        return type(error)


async def agree(commands, opened, folder):
    numbers = count()
    (folder / "first").mkdir()
    memory, durable = Side(MemoryStore()), Side(await opened(folder / "first" / "journal"), opened)
    try:
        for command in commands:
            if command == ("reopen",):
                await durable.reopen()
            elif command == ("crash",):
                await durable.leave()
                await durable.crash(folder / str(next(numbers)))
            else:
                assert await answer(durable, command) == await answer(memory, command), command
        for question in QUESTIONS:
            assert await answer(durable, question) == await answer(memory, question), question
    finally:
        await durable.leave()
        await durable.store.close()


async def sqlite(path):
    return await SqliteJournal.open(path, ManualClock())


async def cold_sqlite(path):
    return await SqliteJournal.open(path, ManualClock(), hot_bytes=0)


async def segments(path):
    return await SegmentJournal.open(path, ManualClock())


async def small_segments(path):
    """Short ones, so that a history has several, and read from the disk."""
    return await SegmentJournal.open(path, ManualClock(), hot_bytes=0, segment_bytes=16 << 10)


@pytest.mark.parametrize("opened", [sqlite, cold_sqlite, segments, small_segments])
@settings(deadline=None, max_examples=1000 if NIGHTLY else 25)
@given(COMMANDS)
def test_a_durable_store_and_memory_agree_under_any_commands(opened, commands):
    with TemporaryDirectory() as folder:
        asyncio.run(agree([("claim",), *commands], opened, Path(folder)))


class ForgetsKeys(SqliteJournal):
    async def append(self, stream, events, **options):
        return await super().append(stream, events, **{**options, "key": None})


class SkipsOne(SqliteJournal):
    def subscribe(self, *, after=0, streams="*"):
        return super().subscribe(after=after + (after > 0), streams=streams)


class LosesTheLast(SqliteJournal):
    """Forgets, whenever it is opened, the stream that was written last, as if it had never been synced."""

    @classmethod
    async def open(cls, *given, **options):
        store = await super().open(*given, **options)
        if last := await store.read_all(after=await store.head() - 1):
            await store.delete_stream(last[0].stream)
        return store


@pytest.mark.parametrize("broken", [ForgetsKeys, SkipsOne, LosesTheLast])
def test_a_broken_store_does_not_agree(broken, monkeypatch):
    monkeypatch.setitem(globals(), "PATIENCE", 0.3)

    async def opened(path):
        return await broken.open(path, ManualClock())

    @settings(deadline=None, max_examples=200, database=None, phases=[Phase.generate])
    @given(COMMANDS)
    def compare(commands):
        with TemporaryDirectory() as folder:
            asyncio.run(agree([("claim",), *commands], opened, Path(folder)))

    with pytest.raises((AssertionError, TimeoutError)):
        compare()
