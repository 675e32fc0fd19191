"""Opening a log: reading it to its end, judging it, and only then mending what a crash left unfinished.

Nothing is written before the whole log has been judged sound, so that what is left of a damaged one stays as
it is.
"""

import contextlib
from pathlib import Path

from mcp_persistence.segment import header as headers
from mcp_persistence.segment import mark as marks
from mcp_persistence.segment.disk import Disk, File, write_all
from mcp_persistence.segment.folder import TEMPORARY, are_linked, load_sources, owner_of
from mcp_persistence.segment.frame import SIZE, chain_of, content_of, decode_header, seed_of
from mcp_persistence.segment.header import BLOCK, SegmentHeader
from mcp_persistence.segment.mark import Mark, MarkFile
from mcp_persistence.segment.pool import Pool
from mcp_persistence.segment.scan import Cursor, Source
from mcp_persistence.segment.spare import Spare
from mcp_persistence.segment.values import Checkpoint, Found
from mcp_persistence.segment.verify import missing_log
from mcp_persistence.segment.walk import Damage, Torn, walk

_ZEROS = bytes(1 << 20)


class Opened:
    """A log that is ready to be extended."""

    __slots__ = ("cursor", "file", "found", "journal_id", "mark", "pool", "sources")

    def __init__(self, pool: Pool, sources: list[Source], journal_id: bytes) -> None:
        self.pool = pool
        self.sources = sources
        self.journal_id = journal_id
        self.cursor = Cursor()
        self.found = Found(frames=0, events=0, resumed_from=0)
        self.file: File
        self.mark: MarkFile


def open_log(
    disk: Disk, folder: Path, journal_id: bytes, at: int, first_size: int, since: Checkpoint | None
) -> Opened:
    """Read, judge, mend; a new log is made when there is none.

    Raises:
        StorageCorrupt: Something acknowledged is missing or not as it was written.
        OSError: As the disk gives it.
    """
    disk.make_folder(folder)
    pool = Pool(disk, folder)
    mark = marks.load(disk, folder)
    sources = load_sources(disk, folder, pool)
    if sources:
        opened = Opened(pool, sources, owner_of(sources, mark, folder))
        _read(opened, mark, since)
        _remove_leftovers(disk, folder)
    else:
        if mark is not None and mark.frame:
            raise missing_log(folder, mark)
        _remove_leftovers(disk, folder)
        header = SegmentHeader(journal_id, 1, 1, 0, at)
        Spare(disk, folder, first_size).finish(headers.encode(header), folder / header.name)
        opened = Opened(pool, [Source(pool, header.name, 1, 1, header)], journal_id)
    _mend(disk, folder, opened)
    cursor = opened.cursor
    present = Mark(opened.journal_id, cursor.number, cursor.position, cursor.chain)
    opened.mark = MarkFile(disk, folder, present)
    disk.sync_folder(folder)
    return opened


def _read(opened: Opened, mark: Mark | None, since: Checkpoint | None) -> None:
    seed = seed_of(opened.journal_id)
    cursor = opened.cursor
    resumed_from = 0
    # Missing segments show between the first blocks; to say what they held, everything has to be read.
    if since is not None and are_linked(opened.sources) and _fits(opened.sources, since, cursor, seed):
        resumed_from = since.frame
    else:
        cursor.segment = opened.sources[0].first_frame
    frames = events = 0
    torn: Torn | None = None
    for each in walk(opened.sources, cursor, seed, mark):
        if isinstance(each, Damage):
            raise each.error()
        if isinstance(each, Torn):
            torn = each
        else:
            frames += 1
            events += each.count
    opened.found = Found(
        frames=frames,
        events=events,
        resumed_from=resumed_from,
        torn_bytes=0 if torn is None else torn.bytes,
        torn_position=None if torn is None else torn.position,
    )


def _fits(sources: list[Source], since: Checkpoint, cursor: Cursor, seed: int) -> bool:
    """Whether the frame at a checkpoint is the one that it was taken at; stands the cursor there if so."""
    source = next((each for each in sources if each.first_frame == since.segment), None)
    if source is None or since.length < SIZE or since.offset - since.length < BLOCK:
        return False
    view = memoryview(source.file.pread(since.length, since.offset - since.length))
    if len(view) != since.length:
        return False
    header = decode_header(view, 0, seed)
    if header is None or (header.total, header.number) != (since.length, since.frame):
        return False
    content = content_of(view, 0, header, seed)
    if content is None or header.first + header.events - 1 != since.position:
        return False
    if chain_of(content) != since.chain:
        return False
    cursor.restore(since)
    cursor.epoch = header.epoch
    return True


def _mend(disk: Disk, folder: Path, opened: Opened) -> None:
    """Cut off a torn end and make what was read durable, before anything is built on it.

    The last frame may be in the page cache only: when a sync fails, Linux marks the pages clean, so that a
    later sync reports success without having written them ("fsyncgate"). A process that came back after such a
    failure would read the frame, acknowledge others behind it, and lose it with the next power cut. Written
    again its pages are dirty again, and the sync is an honest one. One frame is enough: every frame before it
    was acknowledged before the next was begun. A tear while these same bytes are written changes nothing. The
    zeros over a torn end take the same way; the names take theirs through the sync of the folder.
    """
    cursor = opened.cursor
    source = opened.sources[-1]
    opened.file = disk.open(folder / source.name, write=True)
    last = cursor.last
    if last is not None and last.segment == source.first_frame:
        write_all(opened.file, [opened.file.pread(last.length, last.offset)], last.offset)
    end = cursor.offset
    rest = opened.found.torn_bytes
    while rest > 0:
        step = min(rest, len(_ZEROS))
        write_all(opened.file, [_ZEROS[:step]], end)
        end, rest = end + step, rest - step
    opened.file.fsync()


def _remove_leftovers(disk: Disk, folder: Path) -> None:
    for name in disk.names(folder):
        if name.endswith(TEMPORARY):
            with contextlib.suppress(FileNotFoundError):
                disk.unlink(folder / name)
