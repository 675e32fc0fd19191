"""The plug is pulled under load, on a real ext4: what was acknowledged before is on the platter.

Only what was heard before the cut counts. Afterwards ext4 may still answer a sync that is under way with
success, to a program on a machine that is supposed to be dark.
"""

import asyncio
import os
import random
import shutil

import pytest

from persistence.crash.checker import Told, examine
from persistence.crash.disks import LOG_FLUSH, NO_LOG_FLUSH, make_image, mounted, plug
from persistence.crash.load import Load
from persistence.engines import place

CUTS = 500 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 6
"""For each journal and each way to pull the plug."""
SAME_JOURNAL = 5
"""After so many cuts a new one is begun."""
MEGABYTES = 128
LINES = 1500


def pull_the_plug(kind, folder, flag, cuts, seed, faults=None):
    """Cut the power again and again; gives all problems, and events acknowledged before a cut and lost."""
    chance, told, problems = random.Random(seed), Told(), []
    acknowledged = lost = 0
    image, point = folder / "disk.img", folder / "disk"
    make_image(image, MEGABYTES)
    try:
        for number in range(cuts):
            with mounted(image, point), plug(point) as cord:
                if number % SAME_JOURNAL == 0:
                    shutil.rmtree(point / "data", ignore_errors=True)
                    (point / "data").mkdir()
                    told = Told()
                path = place(kind, point / "data")
                os.sync()
                with Load(kind, path, faults=faults) as load:
                    load.wait_for(chance.randrange(1, LINES))
                    heard = load.lines
                    cord.pull(flag)
            told.hear(heard)
            acknowledged += len(heard)
            with mounted(image, point):
                verdict = asyncio.run(examine(kind, path, told))
            lost += verdict.lost
            problems += [f"seed {seed}, cut {number}: {problem}" for problem in verdict.problems]
    finally:
        image.unlink()
    return problems, acknowledged, lost


@pytest.mark.timeout(120 + 5 * CUTS)
@pytest.mark.parametrize("flag", [LOG_FLUSH, NO_LOG_FLUSH])
def test_nothing_acknowledged_is_lost_when_the_plug_is_pulled(kind, disks, tmp_path, flag):
    problems, acknowledged, _ = pull_the_plug(kind, tmp_path, flag, CUTS, seed=flag)
    assert problems == []
    assert acknowledged > CUTS


@pytest.mark.parametrize("flag", [LOG_FLUSH, NO_LOG_FLUSH])
def test_the_rig_would_notice_a_journal_that_does_not_sync(kind, disks, tmp_path, faults, flag):
    problems, _, lost = pull_the_plug(kind, tmp_path, flag, 1, seed=4, faults=(faults, "sync:1+:skip"))
    assert problems
    assert lost > 0
