"""What the journal's engines do in a second and in how long, beside the peers, in one run.

    uv sync --all-packages --group bench
    python tests/benchmarks/bench_persistence.py [PART ...] [--quick] [--engine TITLE] [--folder FOLDER]

Parts: appends, acknowledge, replay, recover, hot, memory; all of them unless named. One JSON object per line; notes
go to stderr. Every medium runs in a process of its own, in turns with the others, three times (the order moves on by
one each time); the figures are medians. FOLDER decides which disk; the temporary folder of the system unless given.
The machine's page cache is warm throughout. What the peers do for one append is said in `persistence_peers`.
"""

import argparse
import asyncio
import gc
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import payloads
import persistence_engines as engines
import persistence_peers as peers
from appenders import Load, Seen
from turns import apart, every_turn, note, show

TURNS = 3
LOW_LOAD = 0.01
"""Seconds between two appends at low load."""
EVENTS, SNAPSHOT_AT = 100, 95
"""Events of each stream of the data sets, and the version of its snapshot."""
WORKER, RECENT = 1000, 20
"""Streams of a worker that is to come back, and the events in each that are hot."""
SAMPLE = 500
"""Sessions of the eventsourcing data set; its times are scaled up from these."""


class Settings(msgspec.Struct):
    parent: str | None
    seconds: float
    """Length of one counted turn of appending."""
    streams: int
    """Streams of the data sets to replay and recover."""
    many: int
    """Streams whose memory is measured."""
    engines: list[str]


def middle(seen: list[Any], field: str | None = None) -> float:
    return median(each if field is None else getattr(each, field) for each in seen)


# -- appending -------------------------------------------------------------------------------------------


def appended(title: str, appenders: int, seconds: float, parent: str | None, pause: float = 0.0) -> Seen:
    """One turn of one medium; runs in a process of its own."""
    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        load = Load(appenders, seconds, pause)
        if title == "bare write + fdatasync":
            return peers.bare(folder, appenders, seconds)
        medium = peers.PEERS[title][0] if title in peers.PEERS else None
        if medium in peers.THREADED:
            with medium(folder) as append:
                seen = load.run_threads(append)
        else:
            seen = asyncio.run(_as_tasks(title, medium, folder, load))
        seen.stored, seen.logged = sizes(folder)
        return seen


async def _as_tasks(title: str, medium: Any, folder: Path, load: Load) -> Seen:
    open_it = partial(engines.appending, title) if medium is None else medium
    async with open_it(folder) as append:
        return await load.run(append, getattr(append, "within", None))


def sizes(folder: Path) -> tuple[int, int]:
    """Bytes of all files, and of those that cannot be rebuilt from others."""
    files = {path: _length(path) for path in folder.rglob("*") if path.is_file()}
    logged = (size for path, size in files.items() if not path.name.startswith(engines.REBUILDABLE))
    return sum(files.values()), sum(logged)


def _length(path: Path) -> int:
    """Bytes up to the last that is not zero: what is zeroed in advance holds nothing yet."""
    block = 1 << 20
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - block)
            file.seek(begin)
            content = file.read(end - begin).rstrip(b"\0")
            if content:
                return begin + len(content)
            end = begin
    return 0


def appends(settings: Settings) -> None:
    """Durable events a second at 1, 64 and 1,000 appenders, and what an event takes on disk."""
    for appenders in (1, 64, 1000):
        rivals = [title for title, (_, most) in peers.PEERS.items() if appenders <= most]
        limit = "bare write + fdatasync"
        media = {
            title: (appended, title, appenders, settings.seconds, settings.parent)
            for title in (*settings.engines, *rivals, limit)
        }
        seen = every_turn(media, TURNS)
        about = f"{appenders} appender{'s' if appenders > 1 else ''}"
        for ours in settings.engines:
            for title in (*rivals, limit):
                peer = f"{title}, {appenders} at once" if title == limit else title
                rates = middle(seen[ours], "rate"), middle(seen[title], "rate")
                show(f"{ours}: durable events, {about}", "events/s", rates[0], peer, rates[1])
            peer = rivals[0]
            for what in ("p50", "p99"):
                waits = [1000 * middle(seen[title], what) for title in (ours, peer)]
                show(f"{ours}: acknowledged, {what}, {about}", "ms", waits[0], peer, waits[1])
            for what, field in (("in the log", "logged"), ("on disk", "stored")):
                bytes_each = [
                    median(getattr(each, field) / each.total for each in seen[title])
                    for title in (ours, peer)
                ]
                show(f"{ours}: {what}, {about}", "bytes/event", bytes_each[0], peer, bytes_each[1])


def acknowledge(settings: Settings) -> None:
    """How long one appender waits, beside the least that the same medium can do."""
    least = {"segment log": "bare write + fdatasync", "SqliteJournal": "raw sqlite3, one commit per event"}
    titles = [*settings.engines, *dict.fromkeys(least[title] for title in settings.engines)]
    media = {title: (appended, title, 1, settings.seconds, settings.parent) for title in titles}
    seen = every_turn(media, TURNS)
    for ours in settings.engines:
        peer = least[ours]
        for what in ("p50", "p99"):
            waits = [1e6 * middle(seen[title], what) for title in (ours, peer)]
            show(f"{ours}: one appender, {what}", "us", waits[0], peer, waits[1])
            show(f"{ours}: one appender, {what}, above its limit", "us", waits[0] - waits[1])


# -- reading back ----------------------------------------------------------------------------------------


def built(title: str, folder: Path, streams: int) -> tuple[float, float]:
    """Build an engine's data set; gives bytes for each event, on disk and in the log."""

    async def run() -> None:
        async with engines.opened(title, folder) as store:
            await engines.fill(store, streams, EVENTS, SNAPSHOT_AT)

    asyncio.run(run())
    stored, logged = sizes(folder)
    return stored / (streams * EVENTS), logged / (streams * EVENTS)


def read_back(title: str, folder: Path, streams: int, how: str) -> float:
    """Seconds of one way to read a data set, from opening the engine on."""

    async def run() -> float:
        before = time.perf_counter()
        async with engines.opened(title, folder) as store:
            if how == "replay":
                before = time.perf_counter()
                assert await engines.replay(store) == streams * EVENTS
            elif how == "full":
                states = await engines.recovered(store, use_snapshots=False)
                assert len(states) == streams and all(each.events == EVENTS for each in states.values())
            else:
                states = await engines.recovered(store, use_snapshots=True)
                assert len(states) == streams and all(each.events == EVENTS for each in states.values())
            return time.perf_counter() - before

    return asyncio.run(run())


class Sets:
    """The data sets, made once when first wanted and removed at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = TemporaryDirectory(dir=settings.parent, ignore_cleanup_errors=True)
        self._made: dict[str, tuple[Path, Any]] = {}

    def close(self) -> None:
        self._folder.cleanup()

    def of(self, title: str) -> tuple[Path, Any]:
        """Folder of a medium's data set, and what its builder gave."""
        if title not in self._made:
            folder = Path(self._folder.name) / title.replace(" ", "-")
            folder.mkdir()
            before = time.perf_counter()
            streams = self._settings.streams
            if title == "eventsourcing":
                sample = min(SAMPLE, streams)
                given = apart(peers.build_eventsourcing, folder, sample, EVENTS, SNAPSHOT_AT)
            elif title == "LangGraph":
                given = apart(peers.build_langgraph, folder, streams, EVENTS)
            else:
                given = apart(built, title, folder, streams)
            note(f"data set of {title} built in {time.perf_counter() - before:.1f} s")
            self._made[title] = folder, given
        return self._made[title]


def replay(settings: Settings, sets: Sets) -> None:
    """Events a second into typed records, page by page."""
    total = settings.streams * EVENTS
    media = {
        title: (read_back, title, sets.of(title)[0], settings.streams, "replay") for title in settings.engines
    }
    folder, sessions = sets.of("eventsourcing")
    media["eventsourcing, repository"] = (peers.eventsourcing_states, folder, sessions, False)
    media["LangGraph, history"] = (peers.langgraph_history, sets.of("LangGraph")[0], settings.streams, EVENTS)
    seen = every_turn(media, TURNS)
    rivals = {
        "eventsourcing, repository": len(sessions) * EVENTS / middle(seen["eventsourcing, repository"]),
        "LangGraph, history": middle(seen["LangGraph, history"]),
    }
    for ours in settings.engines:
        for peer, value in rivals.items():
            rate = total / middle(seen[ours])
            show(f"{ours}: replay into typed records", "events/s", rate, peer, value)
        for what, size in zip(("on disk", "in the log"), sets.of(ours)[1], strict=True):
            show(f"{ours}: {what}, {engines.CHUNK} events an append", "bytes/event", size)


def recover(settings: Settings, sets: Sets) -> None:
    """Seconds from opening to the state of every stream."""
    streams = settings.streams
    folder, sessions = sets.of("eventsourcing")
    scale = streams / len(sessions)
    latest = (peers.langgraph_latest, sets.of("LangGraph")[0], streams)
    for how, with_snapshots in (("full", False), ("snapshots", True)):
        media = {title: (read_back, title, sets.of(title)[0], streams, how) for title in settings.engines}
        media["eventsourcing"] = (peers.eventsourcing_states, folder, sessions, with_snapshots)
        media["LangGraph, latest checkpoints"] = latest
        seen = every_turn(media, TURNS)
        peer = f"eventsourcing, {len(sessions)} of them, scaled"
        rivals = {
            peer: scale * middle(seen["eventsourcing"]),
            "LangGraph, latest checkpoints": middle(seen["LangGraph, latest checkpoints"]),
        }
        for ours in settings.engines:
            for title, value in rivals.items():
                name = f"{ours}: recover {streams} x {EVENTS}, {how}"
                show(name, "s", middle(seen[ours]), title, value)


# -- hot -------------------------------------------------------------------------------------------------


def states_hot(title: str, parent: str | None) -> tuple[float, float]:
    """A worker's streams, just written by another worker: middle of the seconds for one, seconds for all."""

    async def run(folder: Path) -> tuple[float, float]:
        async with engines.opened(title, folder) as store:
            await engines.fill(store, WORKER, RECENT, RECENT - 5)
            return await _states(store)

    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        return asyncio.run(run(Path(name)))


def states_cold(title: str, folder: Path) -> tuple[float, float]:
    """The same from a store just opened, which has none of it in memory."""

    async def run() -> tuple[float, float]:
        async with engines.opened(title, folder) as store:
            return await _states(store)

    return asyncio.run(run())


async def _states(store: Any) -> tuple[float, float]:
    waits = []
    for number in range(WORKER):
        before = time.perf_counter()
        state = await engines.state_of(store, payloads.stream_name(number))
        waits.append(time.perf_counter() - before)
        assert state.events >= RECENT
    return median(waits), sum(waits)


def hot(settings: Settings, sets: Sets) -> None:
    """One stream's state, a worker's thousand streams, and a write when there is little to do."""
    media: dict[str, tuple[Any, ...]] = {}
    for title in settings.engines:
        media[f"{title}: hot"] = (states_hot, title, settings.parent)
        media[f"{title}: just opened"] = (states_cold, title, sets.of(title)[0])
    seen = every_turn(media | {"LangGraph": (peers.langgraph_latest, sets.of("LangGraph")[0], WORKER)}, TURNS)
    every = middle(seen["LangGraph"])
    peer = "LangGraph, latest checkpoints"
    for ours in media:
        one, all_of_them = (median(each) for each in zip(*seen[ours], strict=True))
        show(f"{ours}, state of one stream", "ms", 1000 * one, peer, 1000 * every / WORKER)
        show(f"{ours}, states of a worker's {WORKER} streams", "ms", 1000 * all_of_them, peer, 1000 * every)
    peer = "LangGraph AsyncSqliteSaver.aput"
    seconds = max(settings.seconds, 2.0)
    titles = [*settings.engines, peer]
    slowly = {title: (appended, title, 1, seconds, settings.parent, LOW_LOAD) for title in titles}
    low = every_turn(slowly, TURNS)
    for ours in settings.engines:
        for what in ("p50", "p99"):
            waits = [1000 * middle(low[title], what) for title in (ours, peer)]
            show(f"{ours}: write at low load, {what}", "ms", waits[0], peer, waits[1])


# -- memory ----------------------------------------------------------------------------------------------


def grown(title: str, parent: str | None, streams: int) -> float:
    """Bytes by which the process has grown for each stream that got an event."""

    async def run(folder: Path) -> float:
        async with engines.appending(title, folder) as append:

            async def append_to(numbers: range) -> None:
                event = payloads.EVENTS[0]
                await asyncio.gather(*(append(payloads.stream_name(n), 0, event) for n in numbers))

            await append_to(range(streams, streams + 1000))
            before = _resident()
            for numbers in engines.batched(streams):
                await append_to(numbers)
            return (_resident() - before) / streams

    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        return asyncio.run(run(Path(name)))


def grown_dict(streams: int) -> float:
    before = _resident()
    versions = {payloads.stream_name(number): number for number in range(streams)}
    return (_resident() - before) / len(versions)


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(settings: Settings) -> None:
    """Resident bytes for each stream that the process has written to."""
    media: dict[str, tuple[Any, ...]] = {
        t: (grown, t, settings.parent, settings.many) for t in settings.engines
    }
    seen = every_turn(media | {"dict": (grown_dict, settings.many)}, TURNS)
    for ours in settings.engines:
        name = f"{ours}: memory, {settings.many} streams"
        show(name, "bytes/stream", middle(seen[ours]), "dict of names and versions", middle(seen["dict"]))


# -- front -----------------------------------------------------------------------------------------------

PARTS = {
    "appends": appends,
    "acknowledge": acknowledge,
    "replay": replay,
    "recover": recover,
    "hot": hot,
    "memory": memory,
}
OVER_SETS = (replay, recover, hot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="shorter turns, smaller data sets")
    parser.add_argument("--engine", action="append", choices=list(engines.ENGINES), help="only this engine")
    parser.add_argument("--folder", help="where the files are made")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    chosen = given.engine or list(engines.ENGINES)
    for title in chosen:
        if not engines.present(title):
            note(f"{title}: not in this version, left out")
    settings = Settings(
        parent=given.folder,
        seconds=0.5 if given.quick else 2.0,
        streams=1000 if given.quick else 10_000,
        many=20_000 if given.quick else 100_000,
        engines=[title for title in chosen if engines.present(title)],
    )
    note(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    show("payload, mean of the encoded events", "bytes", payloads.MEAN)
    sets = Sets(settings)
    try:
        for name in given.parts or PARTS:
            part = PARTS[name]
            part(settings, sets) if part in OVER_SETS else part(settings)
    finally:
        sets.close()


if __name__ == "__main__":
    main()
