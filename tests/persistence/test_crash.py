"""kill -9 at a random moment, in a real process, again and again on the same file."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 10
CHILD = Path(__file__).with_name("appending_child.py")


def run_and_kill(path, chance):
    """Let a child append and kill it after a random number of acknowledgements; gives what it said."""
    child = subprocess.Popen([sys.executable, CHILD, path], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"ready\n"
        heard = [child.stdout.readline() for _ in range(chance.randrange(1, 2000))]
    finally:
        child.kill()
        heard += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        child.wait(30)
    return [line.decode().split() for line in heard if line.endswith(b"\n")]


async def check(opened, acknowledged):
    async with opened() as store:
        total = await store.verify()
        assert total == await store.head()
        streams = []
        while page := await store.streams(after=streams[-1].stream if streams else ""):
            streams += page
        for info in streams:
            versions, after = [], 0
            while records := await store.read(info.stream, after=after):
                versions += [record.version for record in records]
                after = versions[-1]
            assert versions == list(range(1, info.version + 1)), f"{info.stream} has gaps or repeats"
        there = {info.stream: info.version for info in streams}
        for stream, version in acknowledged.items():
            assert there.get(stream, 0) >= version, f"{stream} {version} was acknowledged and is gone"
        assert sum(there.values()) == total
        return total


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_after_kill_9_every_acknowledged_event_is_there_and_none_twice(path, opened):
    chance = random.Random(2026)
    acknowledged = {}
    for _ in range(ROUNDS):
        for stream, version in run_and_kill(path, chance):
            assert int(version) == acknowledged.get(stream, 0) + 1, "acknowledged out of order"
            acknowledged[stream] = int(version)
        total = asyncio.run(check(opened, acknowledged))
    assert total >= sum(acknowledged.values()) > ROUNDS
