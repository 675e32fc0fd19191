"""Whatever is done to them, the SQLite store and the memory store give the same answers."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.errors import UmbrellaError
from mcp_interface.store import Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import MemoryStore, SqliteStore

STREAMS = ("session:a", "session:b", "agent:[a]", "security", "ü*")
NAMES = st.sampled_from(STREAMS)
KEYS = st.sampled_from(("a", "b", "a:1", "A", "ü", "[", "🎉"))
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
WRITES = st.one_of(
    st.tuples(
        st.just("append"),
        NAMES,
        st.integers(0, 9),
        st.sampled_from(("right", "right", "right", 0, 1, 5)),
        st.sampled_from((0, 0, 0, 1)),
    ),
    st.tuples(st.just("claim")),
    st.tuples(st.just("delete_stream"), NAMES),
    st.tuples(st.just("snapshot"), NAMES, st.integers(1, 8), st.binary(max_size=5)),
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(
        st.just("transaction"), st.lists(st.tuples(KEYS, VALUES | st.just(...)), max_size=4), st.booleans()
    ),
    st.tuples(st.just("reopen")),
)
READS = st.one_of(
    st.tuples(st.just("read"), NAMES, SMALL, SMALL),
    st.tuples(st.just("read_all"), SMALL, SMALL, GLOBS),
    st.tuples(st.just("streams"), GLOBS, NAMES | st.just(""), SMALL),
    st.tuples(st.just("stream_info"), NAMES),
    st.tuples(st.just("load_snapshot"), NAMES),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("list_keys"), GLOBS, KEYS | st.just(""), SMALL),
)
QUESTIONS = [
    ("head",),
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
]
"""Asked after every history, so that a difference has no place to hide."""


async def append(store, stream, count, expected, behind):
    epoch = store.epoch - behind
    if expected == "right":
        expected = len(await store.read(stream))
    events = [a_message(expected + number) for number in range(count)]
    return await store.append(stream, events, expected=expected, epoch=epoch)


async def transaction(store, changes, fails):
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

    return await store.transaction(work)


async def perform(store, command):
    name, *arguments = command
    match name:
        case "append":
            return await append(store, *arguments)
        case "transaction":
            return await transaction(store, *arguments)
        case "claim":
            store.epoch = await store.claim()
            return store.epoch
        case "snapshot":
            stream, version, state = arguments
            snapshot = Snapshot(stream=stream, version=version, schema="1", state=state, taken_at=START)
            return await store.save_snapshot(snapshot)
        case "read":
            return await store.read(arguments[0], after=arguments[1], limit=arguments[2])
        case "read_all":
            return await store.read_all(after=arguments[0], limit=arguments[1], streams=arguments[2])
        case "streams" | "list_keys":
            return await getattr(store, name)(arguments[0], after=arguments[1], limit=arguments[2])
        case _:
            return await getattr(store, name)(*arguments)


async def answer(store, command):
    """What a store gives, or how it refuses."""
    try:
        return await perform(store, command)
    except UmbrellaError as error:
        return type(error), error.details
    except ZeroDivisionError as error:
        return type(error)


class Sqlite(SqliteStore):
    epoch = 0


class Memory(MemoryStore):
    epoch = 0


async def agree(commands, path):
    memory, sqlite = Memory(), await Sqlite.open(path, ManualClock())
    try:
        for command in commands:
            if command == ("reopen",):
                await sqlite.close()
                sqlite, epoch = await Sqlite.open(path, ManualClock()), sqlite.epoch
                sqlite.epoch = epoch
                continue
            assert await answer(sqlite, command) == await answer(memory, command)
        for question in QUESTIONS:
            assert await answer(sqlite, question) == await answer(memory, question), question
        assert await sqlite.verify() == len(await memory.read_all())
    finally:
        await sqlite.close()


@settings(deadline=None, max_examples=100)
@given(st.lists(WRITES | WRITES | READS, min_size=1, max_size=40))
def test_sqlite_and_memory_agree_under_any_commands(commands):
    with TemporaryDirectory() as folder:
        asyncio.run(agree([("claim",), *commands], Path(folder) / "journal.db"))
