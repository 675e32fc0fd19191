"""Power cuts and faults at every kind of call: what was acknowledged is there, once; with negative controls."""

import errno
import os
import random

import pytest

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import opening
from persistence.segment.logs import Life
from persistence.simulated_disk import SHORT, PowerCut, SimulatedDisk

SEEDS = 5_000 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 400
FAULTS = (PowerCut, PowerCut, PowerCut, errno.EIO, errno.ENOSPC, errno.EROFS, SHORT)


def live(seed, *, lies=False):
    """A random life with a fault in nearly every round of it; fails when the log disagrees with the list."""
    chance = random.Random(seed)
    disk = SimulatedDisk(seed=seed, lies=lies)
    life = Life(disk, chance.choice((8192, 8192, 12288, 32768)))
    for _ in range(chance.randrange(2, 7)):
        if chance.random() < 0.4:
            disk.fail(chance.randrange(12), chance.choice(FAULTS))
        error = life.open(resume=chance.random() < 0.5)
        if error is None:
            if chance.random() < 0.9:
                disk.fail(chance.randrange(40), chance.choice(FAULTS))
            for _ in range(chance.randrange(25)):
                body = chance.randbytes(chance.choice((0, 1, 50, 300, 700, 2000, 5000, 20000)))
                error = life.append(body, chance.randrange(4))
                if error is not None:
                    break
                if chance.random() < 0.2:
                    life.keep_point()
        if isinstance(error, PowerCut) or chance.random() < 0.6:
            disk.crash(chance.randrange(1 << 30))
        else:
            if life.log is not None and error is None and chance.random() < 0.5:
                disk.fault = None
                life.log.close()
            disk.restart()
    assert life.open() is None
    for number in range(3):
        assert life.append(b"still works", number) is None
    assert life.log.verify().damage == []
    return life


def test_nothing_acknowledged_is_lost_or_doubled_whatever_the_disk_does():
    torn = kept = 0
    for seed in range(SEEDS):
        life = live(seed)
        torn += life.torn
        kept += len(life.acknowledged)
    assert torn > SEEDS / 20, "too few torn appends to believe the test"
    assert kept > SEEDS * 5


def test_the_checker_sees_what_is_lost_when_syncs_do_nothing():
    caught = 0
    for seed in range(100):
        try:
            live(seed, lies=True)
        except (AssertionError, StorageCorrupt):
            caught += 1
    assert caught > 50


def test_the_checker_sees_it_when_the_last_frame_is_not_written_again(monkeypatch):
    monkeypatch.setattr(opening, "write_all", lambda *_: None)
    assert any(fails(seed) for seed in range(SEEDS))


def fails(seed):
    try:
        live(seed)
    except (AssertionError, StorageCorrupt):
        return True
    return False


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_every_call_that_fails_is_reported_and_survived(fault):
    """Not at random: each call in turn, until one run passes without reaching the fault."""
    for call in range(500):
        disk = SimulatedDisk(seed=call)
        life = Life(disk)
        disk.fail(call, fault)
        error = life.open()
        for number in range(30):
            if error is None:
                error = life.append(bytes([number]) * 600, 1)
        reached = disk.fault is None
        if error is not None:
            assert error.details["errno"] == fault
            assert error.remedy
        if life.log is not None and error is not None:
            again = life.append(b"refused", 1)
            assert again is not None, "a poisoned log takes nothing more"
            life.unknown = life.unknown if again is None else None
        disk.restart()
        life.unknown = (bytes([len(life.acknowledged)]) * 600, 1)
        assert life.open() is None
        if not reached:
            return
    raise AssertionError("the run never ended")
