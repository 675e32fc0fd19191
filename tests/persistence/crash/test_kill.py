"""kill -9 at a random moment, in a real process, again and again on the same journal.

It shows that an acknowledgement is not given too early and that the next process finds its way. It shows nothing
about syncing, because the kernel goes on and keeps what was written: the last test here says so.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from persistence.appending_child import an_event
from persistence.crash.checker import Told, examine
from persistence.crash.load import Load
from persistence.engines import open_journal, place

ROUNDS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 6


def kill_again_and_again(kind, folder, rounds, seed, faults=None):
    """Kill, look, go on; gives all problems and how many events were acknowledged."""
    chance, told, problems = random.Random(seed), Told(), []
    path = place(kind, folder)
    for number in range(rounds):
        with Load(kind, path, faults=faults) as load:
            load.wait_for(chance.randrange(1, 2000))
        told.hear(load.lines)
        verdict = asyncio.run(examine(kind, path, told))
        problems += [f"seed {seed}, round {number}: {problem}" for problem in verdict.problems]
    return problems, told.total


@pytest.mark.timeout(60 + 5 * ROUNDS)
def test_after_kill_9_every_acknowledged_event_is_there_and_none_twice(kind, tmp_path):
    problems, acknowledged = kill_again_and_again(kind, tmp_path, ROUNDS, seed=2026)
    assert problems == []
    assert acknowledged > ROUNDS


def test_the_rig_would_notice_writes_that_never_happen(kind, tmp_path, faults):
    problems, _ = kill_again_and_again(kind, tmp_path, 1, seed=3, faults=(faults, "write:60+:skip"))
    assert problems


def test_kill_9_alone_finds_nothing_when_every_sync_is_removed(kind, tmp_path, faults):
    """Why the plug has to be pulled: the same removed syncs lose nearly everything in `test_power_cut.py`."""
    problems, acknowledged = kill_again_and_again(kind, tmp_path, 2, seed=2, faults=(faults, "sync:1+:skip"))
    assert problems == []
    assert acknowledged > 0


def test_a_closed_journal_holds_no_file_and_no_lock(kind, tmp_path):
    """Whoever waits for the garbage collector cannot unmount the disk, nor move the journal elsewhere."""

    async def open_and_close():
        journal = await open_journal(kind, path)
        await journal.append(
            "session:again", [an_event("session:again", 1)], expected=0, epoch=await journal.claim()
        )
        await journal.close()
        return [name for name in map(os.readlink, _descriptors()) if name.startswith(str(path))], journal

    path = place(kind, tmp_path)
    still_open, _ = asyncio.run(open_and_close())
    assert still_open == []


def _descriptors():
    return [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
