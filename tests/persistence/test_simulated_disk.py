"""The whole journal over a disk in memory that drops, tears and reorders what was not synced; needs no root.

Random lives with power cuts, failing calls and restarts. After each opening the journal holds what was
acknowledged, and of what was under way at the end each piece as a whole or not at all; nothing else, nothing twice.
The index lies in a real folder: after a power cut it is gone, as it was, or older than the journal.
"""

import asyncio
import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_interface.store import Append, Decision
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal
from mcp_persistence.front import LAST_LOOK
from persistence.simulated_disk import SHORT, PowerCut, SimulatedDisk

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
SEEDS = 5_000 if NIGHTLY else 100
FAULTS = (PowerCut, PowerCut, PowerCut, errno.EIO, errno.ENOSPC, errno.EROFS, SHORT)
WRITERS = 3


class Machine(SimulatedDisk):
    """A disk whose machine goes on for a while after its power was cut, and gets nothing to it any more."""

    dark = False

    def raise_fault(self, fault):
        self.dark |= fault is PowerCut
        super().raise_fault(errno.EIO if self.dark else fault)

    def step(self):
        fault = super().step()
        # as PowerCut, a sync leaves open what of it has reached the disk
        return PowerCut if self.dark else fault

    def crash(self, seed):
        self.dark = False
        super().crash(seed)


class Model:
    """What the journal must hold: what was acknowledged, and what may be there besides.

    Args:
        chance: Decides what is written.
    """

    def __init__(self, chance):
        self.chance = chance
        self.streams = {}
        self.keys = {}
        self.epoch = 0
        self.pending = []
        """Pieces whose fate nobody knows, in the order in which they were handed in."""
        self.acknowledged = 0

    def piece(self, writer):
        """Something to do for a writer, who has streams and keys of its own: how, and what it changes."""
        stream, key = (
            f"session:{writer}-{self.chance.randrange(2)}",
            f"key:{writer}-{self.chance.randrange(3)}",
        )
        before = self.streams.get(stream, [])
        events = [
            a_message(
                len(before) + number, f"{stream} {self.chance.random()} " + "." * self.chance.randrange(600)
            )
            for number in range(self.chance.randrange(1, 4))
        ]
        value = self.chance.random()
        epoch = self.epoch
        match self.chance.choice(
            ("append", "append", "append", "decide", "decide", "put", "remove", "erase")
        ):
            case "append":
                after = {stream: before + events}, {}
                return lambda j: j.append(stream, events, expected=len(before), epoch=epoch), after
            case "decide":
                part = Append(stream=stream, events=events, expected=len(before))
                decision = Decision(appends=[part], puts={key: value, f"twin {key}": value}, key=f"d{value}")
                after = {stream: before + events}, {key: value, f"twin {key}": value}
                return lambda j: j.commit(decision, epoch=epoch), after
            case "put":
                return lambda j: j.put(f"own:{writer}", value), ({}, {f"own:{writer}": value})
            case "remove":
                return lambda j: j.delete(f"own:{writer}"), ({}, {f"own:{writer}": None})
            case "erase":
                return lambda j: j.delete_stream(stream), ({stream: []}, {})
        raise AssertionError("every choice is a case")

    def take_in(self, after):
        streams, keys = after
        self.streams |= streams
        self.keys |= keys

    async def settle(self, journal):
        """Compare, and learn which of the pending pieces are there."""
        streams, keys = await found(journal)
        for after in self.pending:
            changed, put = after
            there = [streams.get(name, []) == events for name, events in changed.items()]
            there += [keys.get(name) == value for name, value in put.items()]
            if all(there):
                self.take_in(after)
        self.pending.clear()
        assert streams == {name: events for name, events in self.streams.items() if events}
        assert keys == {name: value for name, value in self.keys.items() if value is not None}


async def found(journal):
    """Everything in the journal, after every way to read it was seen to agree."""
    streams, keys, place = {}, {}, 0
    while records := await journal.read_all(after=place, limit=50):
        for record in records:
            assert record.position > place
            place = record.position
            streams.setdefault(record.stream, []).append(record)
    for name, records in streams.items():
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        assert await journal.read(name) == records
    listed = {info.stream: info.version for info in await journal.streams()}
    assert listed == {name: len(records) for name, records in streams.items()}
    assert await journal.verify() == sum(listed.values())
    for key in await journal.list_keys():
        keys[key] = await journal.get(key)
    return {name: [record.event for record in records] for name, records in streams.items()}, keys


async def live(seed, folder, *, lies=False):
    """A random life; fails when the journal disagrees with the model. Gives how much was acknowledged."""
    chance = random.Random(seed)
    disk = Machine(seed=seed, lies=lies)
    model = Model(chance)
    for round_ in range(chance.randrange(2, 6)):
        if chance.random() < 0.3:
            disk.fail(chance.randrange(12), chance.choice(FAULTS))
        older = read_folder(folder)
        await work(disk, model, folder, f"{seed} {round_}")
        if disk.dark or chance.random() < 0.6:
            disk.crash(chance.randrange(1 << 30))
            lose_index(folder, older, chance.choice(("gone", "older", "whole")))
        else:
            disk.restart()
    disk.fault = None
    journal = await open_it(folder, disk, "last")
    try:
        await model.settle(journal)
        epoch = await journal.claim()
        assert epoch > model.epoch
        await journal.append("session:last", [a_message(1)], expected=0, epoch=epoch)
    finally:
        await journal.close()
    return model.acknowledged


def open_it(folder, disk, seed):
    # the clock stands still, so that nothing heals within a round
    return SegmentJournal.open(
        folder, ManualClock(), disk=disk, entropy=SeededEntropy(seed), hot_bytes=0, segment_bytes=8192
    )


def read_folder(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}


def lose_index(folder, older, fate):
    if fate != "whole":
        shutil.rmtree(folder)
    if fate == "older":
        folder.mkdir()
        for name, content in older.items():
            (folder / name).write_bytes(content)


async def work(disk, model, folder, seed):
    """Open, compare, write until a fault or enough."""
    chance = model.chance
    try:
        journal = await open_it(folder, disk, seed)
    except StorageUnavailable:
        return
    try:
        await model.settle(journal)
        if chance.random() < 0.9:
            disk.fail(chance.randrange(60), chance.choice(FAULTS))
        with contextlib.suppress(StorageUnavailable):
            epoch = await journal.claim()
            assert epoch > model.epoch
            model.epoch = epoch
            await asyncio.gather(*(write(journal, model, writer) for writer in range(WRITERS)))
    finally:
        await journal.close()


async def write(journal, model, writer):
    """One writer at work until enough is done or something is refused."""
    for _ in range(model.chance.randrange(1, 12)):
        do, after = model.piece(writer)
        model.pending.append(after)
        try:
            await do(journal)
        except StorageUnavailable:
            return  # nobody knows
        model.pending.remove(after)
        model.take_in(after)
        model.acknowledged += 1


@pytest.mark.timeout(60 if not NIGHTLY else 3600)
def test_nothing_acknowledged_is_lost_or_doubled_whatever_the_disk_does(tmp_path):
    acknowledged = 0
    for seed in range(SEEDS):
        try:
            acknowledged += asyncio.run(live(seed, tmp_path / str(seed)))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        shutil.rmtree(tmp_path / str(seed))
    print(f"{SEEDS} lives, {acknowledged} acknowledged")
    assert acknowledged > SEEDS * 5


def test_the_rig_would_notice_a_disk_that_does_not_sync(tmp_path):
    caught = 0
    for seed in range(30):
        try:
            asyncio.run(live(seed, tmp_path / str(seed), lies=True))
        except (AssertionError, StorageCorrupt):
            caught += 1
    assert caught > 10


class ReadOnly(SimulatedDisk):
    """A disk that takes no change while `read_only` is set, as a file system that was mounted so."""

    read_only = False

    def step(self):
        return errno.EROFS if self.read_only else super().step()


def test_a_disk_that_turned_read_only_is_read_on_and_written_to_again_once_it_takes_writes(tmp_path):
    async def body():
        disk, clock = ReadOnly(), ManualClock()
        journal = await SegmentJournal.open(tmp_path / "journal", clock, disk=disk, hot_bytes=0)
        try:
            epoch = await journal.claim()
            await journal.append("session:1", [a_message(1)], expected=0, epoch=epoch)
            before = await found(journal)
            disk.read_only = True
            for _ in range(3):
                with pytest.raises(StorageUnavailable):
                    await journal.append("session:1", [a_message(2)], expected=1, epoch=epoch)
                assert await found(journal) == before
                await look_again(clock)
            report = await journal.report()
            assert (report.state, report.head) == ("read_only", 1)
            assert "Read-only file system" in report.reason
            disk.read_only = False
            await look_again(clock)
            report = await journal.report()
            assert (report.state, report.reason) == ("writable", "")
            assert await found(journal) == before
            await journal.append("session:1", [a_message(2)], expected=1, epoch=epoch)
        finally:
            await journal.close()

    asyncio.run(body())


async def look_again(clock):
    """Let a journal that refused look at its disk once more, and see what it makes of it."""
    for _ in range(50):  # first it falls asleep, then it works
        if clock.sleepers:
            break
        await asyncio.sleep(0.002)
    clock.advance(LAST_LOOK)
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_the_names_of_new_folders_are_durable_before_anything_is_acknowledged(tmp_path, monkeypatch):
    """A real disk here: what has no name after a power cut is as good as lost."""
    synced = set()

    def sync(file):
        synced.add(Path(os.readlink(f"/proc/self/fd/{file}")))
        really(file)

    async def body():
        journal = await SegmentJournal.open(tmp_path / "new" / "journal", ManualClock())
        await journal.close()

    really = os.fsync
    monkeypatch.setattr(os, "fsync", sync)
    asyncio.run(body())
    assert {tmp_path, tmp_path / "new", tmp_path / "new" / "journal"} <= synced
