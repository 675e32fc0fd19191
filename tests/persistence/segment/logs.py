"""Logs for the tests of the segment log, on simulated and on real disks."""

import random
from pathlib import Path

from mcp_interface.errors import StorageUnavailable
from mcp_persistence.segment import SegmentLog
from persistence.simulated_disk import PowerCut, SimulatedDisk

FOLDER = Path("/log")
ID = bytes(range(16))
SEGMENT = 8192


def open_log(disk, *, folder=FOLDER, segment_bytes=SEGMENT, since=None):
    return SegmentLog.open(
        folder, journal_id=ID, at=1_000_000, disk=disk, segment_bytes=segment_bytes, since=since
    )


def fill(log, sizes, epoch=1):
    """Append a frame of each size; gives what was acknowledged as (body, count)."""
    kept = []
    for number, size in enumerate(sizes):
        body = random.Random(size * 1000 + number).randbytes(size)
        count = number % 4
        log.append(body, count=count, epoch=epoch, at=2_000_000 + number)
        kept.append((body, count))
    return kept


def contents(log, after=None):
    return [(frame.body, frame.count) for frame in log.frames(after)]


def folder_of(files, folder=FOLDER):
    """A simulated disk that holds these files, durably."""
    disk = SimulatedDisk()
    disk.make_folder(folder)
    for name, content in files.items():
        disk.create(folder / name).pwritev([content], 0)
        disk.inode(folder / name).sync()
    disk.sync_folder(folder)
    return disk


class Life:
    """A log and the list that it must agree with, over appends, restarts, faults and power cuts.

    After every opening the log holds exactly what was acknowledged, and perhaps the one append that nobody
    knows about; never anything else, never anything twice.
    """

    def __init__(self, disk, segment_bytes=SEGMENT):
        self.disk = disk
        self.segment_bytes = segment_bytes
        self.acknowledged = []
        self.unknown = None
        self.point = None
        self.log = None
        self.torn = 0

    def append(self, body, count):
        try:
            self.unknown = (body, count)
            self.log.append(body, count=count, epoch=1, at=1)
        except (StorageUnavailable, PowerCut) as error:
            return error
        self.acknowledged.append(self.unknown)
        self.unknown = None
        return None

    def keep_point(self):
        self.point = self.log.checkpoint()

    def open(self, *, resume=False):
        """Open and compare; gives the fault that prevented it, if one did."""
        try:
            log = open_log(self.disk, segment_bytes=self.segment_bytes, since=self.point if resume else None)
        except (StorageUnavailable, PowerCut) as error:
            return error
        self.log = log
        self.torn += log.found.torn_bytes > 0
        found = contents(log)
        if self.unknown is not None and found == [*self.acknowledged, self.unknown]:
            self.acknowledged.append(self.unknown)
        assert found == self.acknowledged, "the log does not hold what was acknowledged"
        self.unknown = None
        assert log.head == sum(count for _, count in self.acknowledged)
        assert log.frame == len(self.acknowledged)
        if resume and self.point is not None and self.point.frame:
            assert log.found.resumed_from == self.point.frame
        return None
