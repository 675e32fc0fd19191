"""Single flipped bits anywhere in a journal's folder: each is reported, or everything reads back as it was.

Three lives: a journal that was closed, one whose process was killed, and one that is open while its bits flip.
Snapshots are shortcuts and may be missing, but none may be wrong.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mcp_interface.errors import NotFound, StorageCorrupt
from mcp_interface.store import Append, Decision, Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
FLIPS = 5_000 if NIGHTLY else 12
"""For each file of a folder; nightly, every written bit of the segments and the mark besides."""
TESTS = Path(__file__).parents[1]
SEGMENT = 8192
STREAMS = [f"session:{number}" for number in range(6)]
GONE = "session:gone"
KEYS = [f"key:{number:02}" for number in range(20)]
DECISIONS = [f"decision:{number}" for number in range(4)]


def open_it(folder):
    # no hot tier: every answer comes from the disk
    return SegmentJournal.open(folder, ManualClock(), hot_bytes=0, segment_bytes=SEGMENT)


def a_decision(number):
    events = [a_message(number), a_message(number + 1)]
    stream = f"decided:{number}"
    return Decision(
        appends=[Append(stream=stream, events=events, expected=0)],
        puts={f"of:{number}": number},
        key=DECISIONS[number],
    )


def a_snapshot(version):
    state = f"state {version}".encode() * 20
    return Snapshot(stream=STREAMS[0], version=version, schema="1", state=state, taken_at=START)


async def fill(journal, rounds):
    """Some of everything; what is written first is written over or removed later."""
    epoch = await journal.claim()
    for round_ in rounds:
        for stream in STREAMS:
            events = [a_message(round_ * 3 + number) for number in range(3)]
            await journal.append(stream, events, expected=3 * round_, epoch=epoch)
        await journal.append(GONE, [a_message(round_)], expected=0, epoch=epoch)
        await journal.delete_stream(GONE)
        for number, key in enumerate(KEYS):
            await journal.put(key, {"round": round_, "text": "x" * number})
        await journal.delete(KEYS[round_])
        if round_ < len(DECISIONS):
            await journal.commit(a_decision(round_), epoch=epoch)
        await journal.save_snapshot(a_snapshot(3 * round_ + 2))


async def everything(journal):
    """Whatever can be asked, by name, each to be awaited."""

    async def all_records(glob):
        found, after = [], 0
        while records := await journal.read_all(after=after, limit=40, streams=glob):
            found += records
            after = records[-1].position
        return found

    async def value(key):
        try:
            return await journal.get(key)
        except NotFound:
            return None

    asked = {"all": all_records("*"), "glob": all_records("session:[0-3]"), "keys": journal.list_keys()}
    asked |= {"streams": versions(journal), "head": journal.head(), "verify": journal.verify()}
    for stream in [*STREAMS, GONE]:
        asked[f"read {stream}"] = journal.read(stream)
        asked[f"end {stream}"] = journal.read(stream, after=7)
        asked[f"tail {stream}"] = all_records(stream)
        asked[f"rest {stream}"] = journal.read_all(after=60, streams=stream)
    for key in KEYS:
        asked[f"get {key}"] = value(key)
    return asked


async def versions(journal):
    return [(info.stream, info.version, info.updated_at) for info in await journal.streams()]


async def decided(journal):
    """What was decided under each idempotency key is answered again, never done again."""
    epoch = await journal.claim()
    return [await journal.commit(a_decision(number), epoch=epoch) for number in range(len(DECISIONS))]


async def answers(journal):
    return {name: await ask for name, ask in (await everything(journal)).items()}


async def judge(journal, expected, but=frozenset()):
    """Ask everything but some; gives the names of what was refused, and fails on a wrong answer."""
    refused = []
    for name, ask in (await everything(journal)).items():
        if name in but:
            ask.close()
            continue
        try:
            answer = await ask
        except StorageCorrupt as error:
            assert error.remedy
            refused.append(name)
        else:
            assert answer == expected[name], f"{name} is silently wrong"
    try:
        assert await journal.load_snapshot(STREAMS[0]) in expected["snapshots"], "a snapshot is wrong"
        assert all(each in expected["snapshots"] for each in await journal.load_snapshots())
    except StorageCorrupt:
        refused.append("snapshots")
    return refused


async def expectation(folder):
    journal = await open_it(folder)
    try:
        found = await answers(journal)
        newest = await journal.load_snapshot(STREAMS[0])
        assert newest is not None
        found["snapshots"] = [None, *(a_snapshot(version) for version in range(2, newest.version + 1, 3))]
        found["decided"] = await decided(journal)
        return found
    finally:
        await journal.close()


async def outcome(folder, expected):
    """Open what a flip has left and ask everything: `refused`, `reported` or `harmless`."""
    try:
        journal = await open_it(folder)
    except StorageCorrupt as error:
        assert error.remedy
        return "refused"
    try:
        refused = await judge(journal, expected)
        try:
            assert await decided(journal) == expected["decided"], "a decision was made twice"
        except StorageCorrupt:
            refused.append("decided")
        return "reported" if refused else "harmless"
    finally:
        await journal.close()


def read_folder(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def lay_down(folder, files, name=None, bit=0):
    """Write a folder, with one bit of one file flipped."""
    folder.mkdir()
    for each, content in files.items():
        (folder / each).write_bytes(flipped(content, bit) if each == name else content)


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def is_truth(name):
    return name.endswith(".log") or name == "head" or name[0].isdigit()


def chosen_bits(files, chance):
    for name, content in files.items():
        bits = 8 * len(content)
        if NIGHTLY and is_truth(name):
            written = 8 * (len(content.rstrip(b"\0")) + 16)
            yield from ((name, bit) for bit in range(min(bits, written)))
        yield from ((name, chance.randrange(bits)) for _ in range(FLIPS if bits else 0))


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed") / "journal"

    async def body():
        journal = await open_it(folder)
        await fill(journal, range(5))
        await journal.close()

    asyncio.run(body())
    return read_folder(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "journal"
    search = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-B", "-m", "persistence.test_segment_flips", folder]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": search}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    files = read_folder(folder)
    assert len(files["index.db-wal"]) > 10_000
    return files


async def live_and_die(folder):
    """A life with an index that is half in its file, half in SQLite's log, and behind the journal; kill -9."""
    journal = await open_it(folder)
    await fill(journal, range(2))
    await journal.close()
    journal = await open_it(folder)
    await fill(journal, range(2, 4))
    await journal.rebuild()
    await fill(journal, range(4, 5))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(60 if not NIGHTLY else 6 * 3600)
@pytest.mark.parametrize("life", ["closed", "killed"])
def test_a_flipped_bit_is_reported_or_harmless_but_never_believed(life, request, tmp_path):
    files = request.getfixturevalue(life)
    chance = random.Random(f"{life} 7")
    counts = Counter()

    async def body():
        lay_down(tmp_path / "whole", files)
        expected = await expectation(tmp_path / "whole")
        for number, (name, bit) in enumerate(chosen_bits(files, chance)):
            folder = tmp_path / str(number)
            lay_down(folder, files, name, bit)
            try:
                counts[outcome_kind(name), await outcome(folder, expected)] += 1
            except Exception as error:
                raise AssertionError(f"bit {bit} of {name}: {error!r}") from error
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    asyncio.run(body())
    print(dict(counts))
    assert counts["segment", "refused"] > FLIPS / 2, "too few to believe the test"


def outcome_kind(name):
    return "segment" if name[0].isdigit() else name


def flip_in_place(file, bit):
    content = flipped(file.read_bytes(), bit)
    with file.open("r+b") as raw:  # the same file, which the journal holds open
        raw.write(content)


@pytest.mark.timeout(60 if not NIGHTLY else 3600)
def test_a_bit_that_flips_in_an_open_journal_is_found_by_whoever_reads_it_and_by_verify(closed, tmp_path):
    chance = random.Random(11)
    folder = tmp_path / "journal"

    async def body():
        lay_down(folder, closed)
        expected = await expectation(folder)
        lay_down(tmp_path / "open", closed)
        journal = await open_it(tmp_path / "open")
        try:
            segments = [name for name in closed if name[0].isdigit()]
            for _ in range(3 * FLIPS):
                name = chance.choice(segments)
                bit = chance.randrange(8 * len(closed[name].rstrip(b"\0")))
                flip_in_place(tmp_path / "open" / name, bit)
                refused = await judge(journal, expected)
                assert "verify" in refused, f"bit {bit} of {name} was not found"
                flip_in_place(tmp_path / "open" / name, bit)
            assert await judge(journal, expected) == []
        finally:
            await journal.close()

    asyncio.run(body())


@pytest.mark.timeout(60 if not NIGHTLY else 3600)
@pytest.mark.parametrize("name", ["index.db", "snapshots.db", "head"])
def test_a_bit_that_flips_beside_an_open_journal_changes_no_answer(name, closed, tmp_path):
    """But one: a key may be hidden, since whoever does not find it cannot know, until the journal is verified."""
    chance = random.Random(13)

    async def body():
        lay_down(tmp_path / "whole", closed)
        expected = await expectation(tmp_path / "whole")
        for number in range(3 * FLIPS):
            folder = tmp_path / str(number)
            lay_down(folder, closed)
            bit = near_content(closed[name], chance)
            journal = await open_it(folder)
            try:
                flip_in_place(folder / name, bit)
                await judge(journal, expected, but=frozenset({"verify", "keys", *map("get {}".format, KEYS)}))
                with contextlib.suppress(StorageCorrupt):
                    await journal.verify()
                    await judge(journal, expected)
            except Exception as error:
                raise AssertionError(f"bit {bit} of {name}: {error!r}") from error
            finally:
                await journal.close()
            assert await outcome(folder, expected) in ("harmless", "reported"), f"bit {bit} of {name}"

    asyncio.run(body())


def near_content(content, chance):
    """A bit with something written around it."""
    while True:
        bit = chance.randrange(8 * len(content))
        if any(content[max(bit // 8 - 8, 0) : bit // 8 + 8]):
            return bit


@pytest.mark.parametrize("name", ["index.db", "snapshots.db"])
def test_a_table_whose_description_is_no_text_any_more_is_damage_like_any_other(name, closed, tmp_path):
    """SQLite quotes it in its message, which Python then cannot decode."""

    async def body():
        lay_down(tmp_path / "whole", closed)
        expected = await expectation(tmp_path / "whole")
        begin = closed[name].index(b"CREATE TABLE")
        for place in range(begin, begin + 120, 6):
            folder = tmp_path / str(place)
            lay_down(folder, closed, name, 8 * place + 7)
            assert await outcome(folder, expected) == "harmless"

    asyncio.run(body())


def test_snapshots_of_a_stream_whose_name_is_no_text_any_more_are_passed_over(closed, tmp_path):
    async def body():
        lay_down(tmp_path / "whole", closed)
        expected = await expectation(tmp_path / "whole")
        content = closed["snapshots.db"]
        at = [place for place in range(len(content)) if content.startswith(STREAMS[0].encode(), place)]
        # before the first column lie the types of all: text becomes a number, null or bytes
        for number, place in enumerate(place - back for place in at[:2] for back in range(1, 6)):
            for bit in (0, 1, 2, 3) if NIGHTLY else (number % 4,):
                folder = tmp_path / f"{number}-{bit}"
                lay_down(folder, closed, "snapshots.db", 8 * place + bit)
                assert await outcome(folder, expected) == "harmless"

    asyncio.run(body())


if __name__ == "__main__":
    asyncio.run(live_and_die(Path(sys.argv[1])))
