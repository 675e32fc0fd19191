"""A disk that refuses call number N: the journal says so, takes nothing more, and keeps what it acknowledged."""

import asyncio
import os
import random
import resource

import pytest

from persistence.crash.checker import Told, examine
from persistence.crash.load import Load
from persistence.engines import place, truth

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
EVENTS = 150
"""For each appender; a fault that can be survived is behind it by then."""
REFUSED = ["failed storage_unavailable", "refused storage_unavailable"]
BEGINNING = 10
"""A journal is begun with its first calls; a process is killed at each of these."""


def _faults():
    for calls, what, latest in (
        ("sync", "EIO", 40),
        ("write", "EIO", 120),
        ("write", "ENOSPC", 120),
        ("write", "short", 120),
        ("write", "torn", 120),
        ("write", "kill", 120),
        ("sync", "kill", 40),
    ):
        numbers = set(random.Random(f"{calls} {what}").sample(range(1, latest), 40 if NIGHTLY else 3))
        if what in ("kill", "torn"):
            numbers |= set(range(1, BEGINNING + 1))
        yield from (f"{calls}:{number}:{what}" for number in sorted(numbers))


def fail(kind, folder, faults, fault, events=EVENTS):
    """Run the child over a bad disk; gives the child and the verdict of a process that opens a sound one."""
    path = place(kind, folder)
    with Load(kind, path, events, faults=(faults, fault)) as load:
        load.finish()
    told = Told()
    told.hear(load.lines)
    return load, asyncio.run(examine(kind, path, told))


@pytest.mark.parametrize("fault", list(_faults()))
def test_a_failing_call_loses_nothing_acknowledged_and_is_never_retried(kind, faults, tmp_path, fault):
    load, verdict = fail(kind, tmp_path, faults, fault)
    calls, number, what = fault.split(":")
    assert f"fault: {calls} {number} {what}\n" in load.complaints, "the fault came to pass"
    assert verdict.problems == []
    if what in ("kill", "torn"):
        assert load.remarks in ([], ["ready"])
    else:
        # It goes on when the rest of a short write could be written, or when the call was for something that can
        # be made anew, as the index and the next segment.
        goes_on = [["ready", "done"]] if what == "short" or kind == "segments" else []
        assert load.remarks in ([*REFUSED[:1]], REFUSED, ["ready", *REFUSED], *goes_on)


@pytest.mark.parametrize("fault", ["sync:20:EIO", "write:80:EIO", "write:80:ENOSPC"])
def test_a_journal_that_refused_comes_back_by_itself_with_all_that_it_acknowledged(
    kind, faults, tmp_path, fault
):
    """One failed call, after which the kernel would report success, as it does after a failed fsync."""
    path = place(kind, tmp_path)
    options = {"faults": (faults, fault), "under": truth(kind, path), "patience": 30}
    with Load(kind, path, EVENTS, **options) as load:
        load.finish()
    assert load.remarks == ["ready", *REFUSED, "well", "done"], load.complaints
    told = Told()
    told.hear(load.lines)
    assert asyncio.run(examine(kind, path, told)).problems == []


def test_the_rig_would_notice_a_write_that_fails_in_silence(kind, faults, tmp_path):
    _, verdict = fail(kind, tmp_path, faults, "write:60+:skip")
    assert verdict.problems


def test_a_file_that_may_not_grow_loses_nothing(kind, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    path = place(kind, tmp_path)
    with Load(kind, path, preexec_fn=small_files) as load:
        if kind == "sqlite":
            load.finish()
            assert load.remarks == ["ready", *REFUSED]
        else:
            load.wait_for(2000)  # no segment is ever as long
    told = Told()
    told.hear(load.lines)
    assert asyncio.run(examine(kind, path, told)).problems == []
    assert told.total > 0
