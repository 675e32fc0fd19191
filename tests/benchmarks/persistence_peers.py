"""What people would use instead, each as its own manual shows it, made durable at every append.

| Peer | One append is | Durable by |
|---|---|---|
| bare write + fdatasync | `pwrite` of the bodies behind each other into a pre-zeroed file, `fdatasync` | the limit of the disk |
| raw sqlite3 | one INSERT, autocommit; threads share a connection and a lock | WAL, synchronous=FULL |
| aiosqlite | one INSERT and one commit, one at a time | WAL, synchronous=FULL |
| LangGraph AsyncSqliteSaver, SqliteSaver | `aput` / `put` of a checkpoint whose only channel is the event's body | WAL by `setup`, synchronous=FULL by SQLite's default |
| eventsourcing | `insert_events` of its `SQLiteApplicationRecorder`, below its mapper; threads, its own pool | WAL, synchronous=FULL by default |
| DBOS | a step of a workflow that returns the body; one workflow for each appender | rollback journal, synchronous=FULL, as it opens SQLite |

All are given the body already encoded by `encode_disk` in the same call, as ours encodes. LangGraph's parent
checkpoint is handed on, as its loop does. None of them detects a flipped bit, and the bare write keeps no order,
no version and no name: it is a limit, not a peer.
"""

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import quantiles
from uuid import UUID

from appenders import WARM_UP, Seen
from payloads import BODIES, EVENTS, State, fold, stream_name

from mcp_interface.codec import encode_disk

ZEROED = 64 << 20
_TABLE = "CREATE TABLE events (stream TEXT, version INTEGER, body BLOB, UNIQUE (stream, version))"
_INSERT = "INSERT INTO events VALUES (?, ?, ?)"


def bare(folder: Path, at_once: int, seconds: float) -> Seen:
    """Write the bodies of `at_once` events, sync, again; into a file that has its blocks already."""
    file = os.open(folder / "bare", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(ZEROED >> 20):
            os.write(file, bytes(1 << 20))
        os.fsync(file)
        place, total, waits = 0, 0, []
        start = time.perf_counter() + WARM_UP * seconds
        while (before := time.perf_counter()) < start + seconds:
            block = b"".join(BODIES[(total + n) % len(BODIES)] for n in range(at_once))
            if place + len(block) > ZEROED:
                place = 0
            os.pwrite(file, block, place)
            os.fdatasync(file)
            place += len(block)
            total += at_once
            if before >= start:
                waits.append(time.perf_counter() - before)
    finally:
        os.close(file)
    cuts = quantiles(waits, n=100)
    return Seen(at_once * len(waits) / sum(waits), cuts[49], cuts[98], total)


@contextmanager
def raw_sqlite(folder: Path):
    db = sqlite3.connect(folder / "raw.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(_TABLE)
    one_at_a_time = threading.Lock()

    def append(stream, version, event):
        row = (stream, version + 1, encode_disk(event))
        with one_at_a_time:
            db.execute(_INSERT, row)

    yield append
    db.close()


@asynccontextmanager
async def one_commit_each(folder: Path):
    import aiosqlite

    async with aiosqlite.connect(folder / "aiosqlite.db") as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute(_TABLE)
        one_at_a_time = asyncio.Lock()  # a transaction belongs to the connection, not to the task

        async def append(stream, version, event):
            row = (stream, version + 1, encode_disk(event))
            async with one_at_a_time:
                await db.execute(_INSERT, row)
                await db.commit()

        yield append


def _thread(stream: str):
    return {"configurable": {"thread_id": stream, "checkpoint_ns": ""}}


def _checkpoint(values, version):
    from langgraph.checkpoint.base import empty_checkpoint

    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values
    checkpoint["channel_versions"] = dict.fromkeys(values, version + 1)
    return checkpoint, {"source": "loop", "step": version, "parents": {}}, checkpoint["channel_versions"]


@asynccontextmanager
async def langgraph_async(folder: Path):
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        await saver.setup()
        last = {}

        async def append(stream, version, event):
            checkpoint = _checkpoint({"event": encode_disk(event)}, version)
            last[stream] = await saver.aput(last.get(stream) or _thread(stream), *checkpoint)

        yield append


@contextmanager
def langgraph_sync(folder: Path):
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        saver.setup()
        last = {}

        def append(stream, version, event):
            checkpoint = _checkpoint({"event": encode_disk(event)}, version)
            last[stream] = saver.put(last.get(stream) or _thread(stream), *checkpoint)

        yield append


@contextmanager
def eventsourcing(folder: Path):
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    datastore = SQLiteDatastore(str(folder / "eventsourcing.db"))
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()

    def append(stream, version, event):
        session = UUID(stream[-32:])
        recorder.insert_events([StoredEvent(session, version + 1, "message", encode_disk(event))])

    yield append
    datastore.close()


@asynccontextmanager
async def dbos(folder: Path):
    from dbos import DBOS

    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "log_level": "ERROR",
            "run_admin_server": False,
            "enable_otlp": False,
        }
    )
    running = {}

    @DBOS.workflow()
    async def session(number: int) -> None:
        await running[number](number)

    async def record(event) -> bytes:
        return encode_disk(event)

    async def append(stream, version, event):
        await DBOS.run_step_async({"name": "message"}, record, event)

    async def within(number, appender):
        running[number] = appender
        await session(number)

    DBOS.launch()
    append.within = within
    try:
        yield append
    finally:
        DBOS.destroy()


PEERS = {
    "LangGraph AsyncSqliteSaver.aput": (langgraph_async, 1000),
    "LangGraph SqliteSaver.put": (langgraph_sync, 64),
    "eventsourcing SQLite recorder": (eventsourcing, 64),
    "DBOS SQLite step": (dbos, 64),
    "raw sqlite3, one commit per event": (raw_sqlite, 64),
    "aiosqlite, one commit per append": (one_commit_each, 1000),
}
"""How to open each, and how many appenders it is measured with at most: threads beyond 64 are nobody's way."""
THREADED = {langgraph_sync, eventsourcing, raw_sqlite}


# -- reading back ----------------------------------------------------------------------------------------


def build_eventsourcing(folder: Path, streams: int, events: int, snapshot_at: int) -> list[UUID]:
    from eventsourced import a_session, application

    app = application(str(folder / "eventsourcing.db"), snapshots=True)
    sessions = [
        a_session(events - 1) for _ in range(streams)
    ]  # the first event of a session is its beginning
    app.save(*sessions)
    for session in sessions:
        app.take_snapshot(session.id, version=snapshot_at)
    app.close()
    return [session.id for session in sessions]


def eventsourcing_states(folder: Path, sessions: list[UUID], snapshots: bool) -> float:
    """Seconds to bring every session back through the library's repository."""
    from eventsourced import application

    before = time.perf_counter()
    app = application(str(folder / "eventsourcing.db"), snapshots)
    found = [app.repository.get(session) for session in sessions]
    elapsed = time.perf_counter() - before
    assert len({state.version for state in found}) == 1
    app.close()
    return elapsed


def build_langgraph(folder: Path, threads: int, events: int) -> None:
    """Threads whose checkpoints hold the state so far; of many threads only the last checkpoint."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        saver.setup()
        saver.conn.execute("PRAGMA synchronous = OFF")  # only while the data set is made
        for number in range(threads):
            state, config = State(), _thread(stream_name(number))
            for version in range(events):
                event = EVENTS[version % len(EVENTS)]
                fold(state, event)
                if version == events - 1 or number < 100:
                    values = {
                        "asked": state.asked,
                        "characters": state.characters,
                        "last": state.last,
                        "event": BODIES[version % len(EVENTS)],
                    }
                    config = saver.put(config, *_checkpoint(values, version))


def langgraph_latest(folder: Path, threads: int) -> float:
    """Seconds to read the latest checkpoint of every thread."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    before = time.perf_counter()
    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        found = [saver.get_tuple(_thread(stream_name(number))) for number in range(threads)]
        elapsed = time.perf_counter() - before
    assert all(each is not None for each in found)
    return elapsed


def langgraph_history(folder: Path, threads: int, events: int) -> float:
    """Checkpoints a second when the whole history of some threads is read."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    threads = min(threads, 100)
    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        saver.setup()
        before = time.perf_counter()
        count = sum(1 for number in range(threads) for _ in saver.list(_thread(stream_name(number))))
        elapsed = time.perf_counter() - before
    assert count == threads * events
    return count / elapsed
