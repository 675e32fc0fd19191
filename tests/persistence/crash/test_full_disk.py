"""A disk that fills up: the journal refuses, keeps what it acknowledged, and goes on once there is room."""

import asyncio
import contextlib
import os

import pytest

from mcp_interface.errors import StorageUnavailable
from persistence.crash.checker import Told, examine
from persistence.crash.disks import make_image, mounted, small_memory_disk
from persistence.crash.load import Load
from persistence.engines import place

ROOM = 4 << 20
"""Bytes that are taken away from the start, and given back to a full disk."""


@contextlib.contextmanager
def small_ext4(folder):
    image = folder / "small.img"
    make_image(image, 16)
    try:
        with mounted(image, folder / "small") as point:
            yield point
    finally:
        image.unlink()


@contextlib.contextmanager
def small_tmpfs(folder):
    with small_memory_disk(folder / "small", 8192) as point:
        yield point


def fill(kind, point, faults=None):
    """Append until the disk is full, make room, look; gives the child, what it acknowledged and the verdict."""
    ballast = point / "ballast"
    ballast.write_bytes(os.urandom(ROOM))
    path = place(kind, point)
    with Load(kind, path, faults=faults, patience=30) as load:
        if faults is None:
            load.wait_until("refused storage_unavailable")
            ballast.unlink()
            load.finish()
        else:
            load.wait_for(40_000)
    ballast.unlink(missing_ok=True)
    told = Told()
    told.hear(load.lines)
    return load, told, asyncio.run(examine(kind, path, told))


@pytest.mark.parametrize("small_disk", [small_tmpfs, small_ext4])
def test_a_full_disk_is_refused_and_once_there_is_room_it_goes_on_with_all_that_it_acknowledged(
    kind, disks, tmp_path, small_disk
):
    with small_disk(tmp_path) as point:
        load, told, verdict = fill(kind, point)
    refused = ["failed storage_unavailable", "refused storage_unavailable"]
    assert load.remarks == ["ready", *refused, "well", "done"], load.complaints
    assert told.total > 100
    assert verdict.problems == []


def test_a_journal_on_a_full_disk_opens_or_says_why_not(kind, disks, tmp_path):
    with small_tmpfs(tmp_path) as point:
        path = place(kind, point)
        with Load(kind, path) as load:
            load.finish()
        told = Told()
        told.hear(load.lines)
        verdict = asyncio.run(examine(kind, path, told))
    # It never takes what is there for damage.
    assert all(problem.startswith(StorageUnavailable.__name__) for problem in verdict.problems)


def test_the_rig_would_notice_a_journal_that_does_not_look_at_errors(kind, disks, tmp_path, faults):
    with small_tmpfs(tmp_path) as point:
        *_, verdict = fill(kind, point, (faults, "write:1+:hide"))
    assert verdict.problems
