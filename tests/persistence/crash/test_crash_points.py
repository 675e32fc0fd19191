"""Power cuts at any write of the disk, with later writes missing, reordered and torn.

One run under load is recorded, its disk is made anew as it could have been at many moments, and each is mounted,
opened and checked against what had been acknowledged when the last flush before that moment was done.
"""

import asyncio
import contextlib
import os
import random
import shutil

import pytest

from persistence.crash.checker import Told, examine
from persistence.crash.disks import mounted
from persistence.crash.load import Load
from persistence.crash.write_log import Replay, recorded
from persistence.engines import place

RECORDINGS, POINTS = (10, 400) if os.environ.get("UMBRELLA_PROFILE") == "nightly" else (1, 40)
"""For each journal, and for each recording."""
EVENTS = 60
"""For each appender, so that a recording stays small."""


def record(kind, folder, faults=None):
    """Record a run; gives the recording, what was said with its place in the log, and where it began."""
    with recorded(folder) as (recording, point):
        path = place(kind, point)
        os.sync()
        began = recording.count()
        with Load(kind, path, EVENTS, faults=faults, stamp=recording.count) as load:
            load.finish()
        assert load.remarks == ["ready", "done"], load.complaints
    return recording, load.heard, began


def crashes(kind, folder, points, seed, faults=None):
    """Record once and crash at so many points of it; gives the problems of each, and what had to be there."""
    chance = random.Random(seed)
    recording, heard, began = record(kind, folder / "recording", faults)
    try:
        with Replay(recording) as replay:
            every = range(began, len(replay) + 1)
            for point in sorted(chance.sample(every, min(points, len(every)))):
                image, certain = replay.disk_at(point, chance)
                told = Told()
                told.hear(line for stamp, line in heard if stamp <= certain)
                demanded = told.total
                with mounted(image, recording.folder / "mounted") as disk:
                    verdict = asyncio.run(examine(kind, place(kind, disk), told))
                yield [f"seed {seed}, write {point}: {problem}" for problem in verdict.problems], demanded
    finally:
        shutil.rmtree(recording.folder)


@pytest.mark.timeout(120 + RECORDINGS * POINTS)
def test_nothing_acknowledged_is_lost_at_any_write_of_the_disk(kind, recorder, tmp_path):
    for seed in range(RECORDINGS):
        found = list(crashes(kind, tmp_path, POINTS, seed))
        assert [problem for problems, _ in found for problem in problems] == []
        assert sum(demanded for _, demanded in found) > 0


def test_the_rig_would_notice_a_journal_that_does_not_sync(kind, recorder, tmp_path, faults):
    with contextlib.closing(crashes(kind, tmp_path, 100, seed=5, faults=(faults, "sync:1+:skip"))) as found:
        assert any(problems for problems, _ in found)
