"""Is everything there that was acknowledged, once, whole and in order?

`judge` is pure: it compares what was told with what was found. `examine` finds it: it opens the journal as the
next process would, reads it in every way there is, and shows that it goes on.
"""

import gc
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from persistence.appending_child import an_event, batch_size, length
from persistence.engines import open_journal

AFTERWARDS = "session:afterwards"
EXPECTED = {}


@dataclass
class Told:
    """What was acknowledged: the last version of each stream, the last value of each key."""

    events: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    def hear(self, lines: Iterable[str]) -> None:
        """Take in what the child said."""
        for line in lines:
            match line.split():
                case ["put", key, value]:
                    self.keys[key] = int(value)
                case [stream, version] if stream.startswith("session:"):
                    self.events[stream] = int(version)

    @property
    def total(self) -> int:
        return sum(self.events.values())


@dataclass
class Found:
    """What was read: (position, stream, version, event) in order of position, and the keys."""

    events: list[tuple[int, str, int, Any]]
    keys: dict[str, Any]


@dataclass
class Verdict:
    problems: list[str]
    lost: int = 0
    """Acknowledged events that are missing."""
    events: int = 0


def judge(found: Found, told: Told) -> Verdict:
    """Compare what was found with what was acknowledged; no problems means that every promise was kept."""
    problems = []
    streams = defaultdict(list)
    before = 0
    for position, stream, version, event in found.events:
        if position <= before:
            problems.append(f"position {position} comes behind {before}")
        before = position
        if version in streams[stream]:
            problems.append(f"{stream} {version} is there twice")
        streams[stream].append(version)
        if event != _expected(stream, version):
            problems.append(f"{stream} {version} is not what was written")
    for stream, versions in streams.items():
        if versions != list(range(1, len(versions) + 1)):
            problems.append(f"{stream} has gaps or is out of order")
        if len(versions) % batch_size(stream):
            problems.append(f"{stream} has half of an append: {len(versions)} events")
    lost = 0
    for stream, version in told.events.items():
        missing = set(range(1, version + 1)) - set(streams.get(stream, ()))
        if missing:
            problems.append(f"{stream} {min(missing)} to {max(missing)} were acknowledged and are gone")
            lost += len(missing)
    problems += _judge_keys(found.keys, told.keys, streams)
    return Verdict(problems, lost, len(found.events))


def _expected(stream, version):
    key = stream, version
    if key not in EXPECTED:
        EXPECTED[key] = an_event(stream, version)
    return EXPECTED[key]


def _judge_keys(found, told, streams):
    for key, value in told.items():
        if found.get(key, 0) < value:
            yield f"{key} = {value} was acknowledged, but it is {found.get(key)}"
    for key, value in found.items():
        number = key.split("/")[1]
        if value > len(streams.get(f"session:{number}", ())):
            yield f"{key} = {value} is ahead of its stream"
        if key.endswith("/left") and found.get(f"twin/{number}/right") != value:
            yield f"the twins {number} were put together and differ"


async def examine(kind, path, told: Told) -> Verdict:
    """Open the journal after a crash and judge it; then append to it, which counts as acknowledged too."""
    try:
        verdict = await _examined(kind, path, told)
    except Exception as error:  # whatever it is, somebody cannot get at what was acknowledged
        verdict = Verdict([f"{type(error).__name__}: {error}"], told.total)
    gc.collect()  # what was left open would keep the disk from being unmounted, and hide behind that failure
    return verdict


async def _examined(kind, path, told: Told) -> Verdict:
    journal = await open_journal(kind, path)
    try:
        found = await _read(journal)
        verdict = judge(found, told)
        verdict.problems += await _disagreements(journal, found)
        told.events[AFTERWARDS] = await _go_on(journal)
    finally:
        await journal.close()
    return verdict


async def _read(journal) -> Found:
    events, after = [], 0
    while records := await journal.read_all(after=after):
        events += [(record.position, record.stream, record.version, record.event) for record in records]
        after = records[-1].position
    keys, name = {}, ""
    while names := await journal.list_keys(after=name):
        keys |= {key: await journal.get(key) for key in names}
        name = names[-1]
    return Found(events, keys)


async def _disagreements(journal, found: Found) -> list[str]:
    problems = []
    total, head = await journal.verify(), await journal.head()
    if not total == head == len(found.events):
        problems.append(f"{len(found.events)} events read, {total} verified, the head is {head}")
    streams = defaultdict(list)
    for position, stream, _, event in found.events:
        streams[stream].append((position, event))
    listed = {info.stream: info.version for info in await journal.streams()}
    if listed != {stream: len(expected) for stream, expected in streams.items()}:
        problems.append(f"the list of streams is another than what they hold: {listed}")
    for stream, expected in streams.items():
        read, after = [], 0
        while records := await journal.read(stream, after=after):
            read += [(record.position, record.event) for record in records]
            after = records[-1].version
        if read != expected:
            problems.append(f"{stream} alone reads otherwise than among all")
    return problems


async def _go_on(journal) -> int:
    epoch = await journal.claim()
    version = await length(journal, AFTERWARDS)
    events = [an_event(AFTERWARDS, version + 1)]
    await journal.append(AFTERWARDS, events, expected=version, epoch=epoch)
    return version + 1
