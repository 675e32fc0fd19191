"""Checking every byte that matters, from the first frame on. Only reads, so that damage stays as it is."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import mark as marks
from mcp_persistence.segment.disk import Disk, SystemDisk, refusal
from mcp_persistence.segment.folder import load_sources, owner_of
from mcp_persistence.segment.frame import seed_of
from mcp_persistence.segment.mark import Mark
from mcp_persistence.segment.pool import Pool
from mcp_persistence.segment.scan import Cursor
from mcp_persistence.segment.values import Checkpoint, Frame
from mcp_persistence.segment.walk import Damage, Torn, walk

_STEP = 8 << 20


class Report(msgspec.Struct, kw_only=True):
    """What a verification found."""

    frames: int = 0
    """Good ones."""
    events: int = 0
    """In the good frames."""
    bytes: int = 0
    """Of all segment files, prepared space included."""
    saved: list[tuple[int, int]] = []
    """Ranges of positions that can be read, first and last of each."""
    damage: list[Damage] = []
    """Every bad place, in order; none means that the log is sound."""
    torn: Torn | None = None
    """An append that was never acknowledged; opening cuts it off."""


def verify(
    folder: Path,
    *,
    disk: Disk | None = None,
    end: tuple[bytes, Checkpoint] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a log, open or not, damaged or not.

    Args:
        folder: Where its segments are.
        disk: Stands in for the operating system's.
        end: For a log that is being written: its id and how far it is acknowledged.
        progress: Told now and then how many bytes of how many are done.

    Raises:
        StorageCorrupt: There is no telling what belongs to the log: a newer format, segments of several
            journals, or a damaged mark.
        StorageUnavailable: The disk refused.
    """
    disk = SystemDisk() if disk is None else disk
    try:
        return _verify(disk, folder, end, progress)
    except OSError as error:
        raise refusal(error, folder, "read") from error


def _verify(
    disk: Disk,
    folder: Path,
    end: tuple[bytes, Checkpoint] | None,
    progress: Callable[[int, int], None] | None,
) -> Report:
    sources = load_sources(disk, folder, Pool(disk, folder))
    if end is None:
        mark = marks.load(disk, folder)
    else:
        mark = Mark(end[0], end[1].frame, end[1].position, end[1].chain)
    report = Report(bytes=sum(each.size for each in sources))
    if not sources:
        if mark is not None and mark.frame:
            raise missing_log(folder, mark)
        return report
    seed = seed_of(owner_of(sources, mark, folder))
    cursor = Cursor()
    cursor.segment = sources[0].first_frame
    done = told = 0
    for each in walk(sources, cursor, seed, mark, live=end is not None):
        if isinstance(each, Damage):
            report.damage.append(each)
        elif isinstance(each, Torn):
            report.torn = each
        else:
            _count(report, each)
            done += each.place.length
            if progress is not None and done - told >= _STEP:
                told = done
                progress(done, report.bytes)
    return report


def _count(report: Report, frame: Frame) -> None:
    report.frames += 1
    report.events += frame.count
    if frame.count == 0:
        return
    if report.saved and report.saved[-1][1] + 1 == frame.first:
        report.saved[-1] = (report.saved[-1][0], frame.last)
    else:
        report.saved.append((frame.first, frame.last))


def missing_log(folder: Path, mark: Mark) -> StorageCorrupt:
    """The error for a mark without segments."""
    return StorageCorrupt(
        f"{folder} holds no segment, but position {mark.position} (frame {mark.frame}) was acknowledged",
        "restore the journal from a backup; if it was removed on purpose, delete the file "
        f"{folder / marks.NAME} too",
        {
            "position": 1,
            "segment": "",
            "offset": 0,
            "saved_up_to": 0,
            "next_valid_position": None,
        },
    )
