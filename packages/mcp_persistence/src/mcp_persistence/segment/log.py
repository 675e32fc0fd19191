"""The segment log: append-only files of framed bytes, the truth of the journal.

Synchronous; `append` is for one writer thread. Reading may go on from other threads at the same time: it uses
descriptors of its own and never looks behind the last acknowledged frame. What a body means is not known here.

Below: `frame` and `header` (bytes), `scan` and `walk` (the recovery rule), `opening`, `verify`, `disk` (the
operating system, or a simulated one). FORMAT.md describes the files.
"""

import contextlib
import struct
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable
from mcp_persistence.segment import frame as codec
from mcp_persistence.segment import header as headers
from mcp_persistence.segment.disk import Disk, SystemDisk, refusal, write_all
from mcp_persistence.segment.header import BLOCK, ID_BYTES, SegmentHeader
from mcp_persistence.segment.lookup import damaged_frame
from mcp_persistence.segment.mark import Mark
from mcp_persistence.segment.opening import Opened, open_log
from mcp_persistence.segment.scan import Cursor, Source
from mcp_persistence.segment.spare import Spare
from mcp_persistence.segment.values import Checkpoint, Found, Frame, Place, SegmentInfo
from mcp_persistence.segment.verify import Report, verify
from mcp_persistence.segment.walk import Damage, Torn, walk

FIRST_SEGMENT: Final = 1 << 20
"""Bytes of the first segment; each later one is as large as all before it together."""
LARGEST_SEGMENT: Final = 64 << 20
"""Bytes beyond which a segment grows only for a frame that would not fit."""
SMALLEST_SEGMENT: Final = 2 * BLOCK

_PIECE: Final = 64 << 10


class SegmentLog:
    """One log in one folder; `open` makes it.

    A failed write or sync poisons it: the frame concerned may or may not be there, and every later append is
    refused until the log is opened again. A failed sync is never tried again, because the kernel then reports
    success for what it has dropped. Reading what was acknowledged stays possible.
    """

    def __init__(self, disk: Disk, folder: Path, opened: Opened, segment_bytes: int | None) -> None:
        self.folder = folder
        self.found: Found = opened.found
        self.journal_id: bytes = opened.journal_id
        self.epoch: int = opened.cursor.epoch
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._seed = codec.seed_of(opened.journal_id)
        self._pool = opened.pool
        self._sources = opened.sources
        self._mark = opened.mark
        self._file = opened.file
        self._offset = opened.cursor.offset
        self._capacity = opened.file.size()
        self._sealed_bytes = sum(each.size for each in opened.sources[:-1])
        self._tip = opened.cursor.checkpoint()
        self._spare: Spare | None = None
        self._may_prepare = True
        self._broken: StorageUnavailable | None = None
        self._closed = False
        self._tables = threading.Lock()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        journal_id: bytes,
        at: int,
        disk: Disk | None = None,
        segment_bytes: int | None = None,
        since: Checkpoint | None = None,
    ) -> Self:
        """Open the log, or make one; cut off what a crash left unfinished.

        Args:
            folder: Of this log alone; made when it does not exist.
            journal_id: 16 random bytes for a new log; one that exists keeps its own.
            at: Now, in microseconds since 1970.
            disk: Stands in for the operating system's.
            segment_bytes: Size of every segment; None lets them grow with the log.
            since: Where a reader of the log has come to. Only frames behind it are checked then; when it
                does not fit, everything is, and `found.resumed_from` is zero.

        Raises:
            CallerMistaken: The id or the size is out of range.
            StorageCorrupt: Something acknowledged is missing or not as it was written; nothing was changed.
            StorageUnavailable: The disk refused.
        """
        if len(journal_id) != ID_BYTES:
            raise CallerMistaken(f"a journal id has {ID_BYTES} bytes, not {len(journal_id)}", "draw 16 bytes")
        if segment_bytes is not None and segment_bytes < SMALLEST_SEGMENT:
            raise CallerMistaken(
                f"segment_bytes is {segment_bytes}, but must be at least {SMALLEST_SEGMENT}",
                "give a larger size, or none",
            )
        disk = SystemDisk() if disk is None else disk
        try:
            opened = open_log(
                disk, folder, journal_id, at, _whole_blocks(segment_bytes or FIRST_SEGMENT), since
            )
            return cls(disk, folder, opened, segment_bytes)
        except OSError as error:
            raise refusal(error, folder, "opened") from error

    @property
    def head(self) -> int:
        """Last position; zero in an empty log."""
        return self._tip.position

    @property
    def frame(self) -> int:
        """Number of the last frame; zero in an empty log."""
        return self._tip.frame

    @property
    def chain(self) -> bytes:
        """The chain up to the last frame."""
        return self._tip.chain

    def checkpoint(self, frame: Frame | None = None) -> Checkpoint:
        """The acknowledged end, or the point behind a frame that was read.

        Raises:
            StorageCorrupt: That frame is no longer as it was written.
            StorageUnavailable: The disk refused.
        """
        if frame is None:
            return self._tip
        place = frame.place
        _, content = self._load(place)
        return Checkpoint(
            place.segment,
            place.offset + place.length,
            place.length,
            frame.number,
            frame.last,
            codec.chain_of(content),
        )

    def append(self, body: bytes, *, count: int, epoch: int, at: int) -> Place:
        """Add a frame; it is durable on return.

        Args:
            body: At most `frame.MAX_BODY` bytes.
            count: How many events it holds; they get the next positions. May be zero.
            epoch: Which writer this is.
            at: Now, in microseconds since 1970.

        Raises:
            CallerMistaken: A number is out of range or the body too large; the log is as before.
            StorageUnavailable: The disk refused, now or earlier, or the log is closed.
        """
        if self._broken is not None or self._closed:
            raise self._refuse_append()
        tip = self._tip
        number, first = tip.frame + 1, tip.position + 1
        if len(body) > codec.MAX_BODY:
            raise CallerMistaken(
                f"a frame of {len(body)} bytes is over the limit of {codec.MAX_BODY}", "split the batch"
            )
        try:
            sums, content, chain = codec.encode(
                body,
                seed=self._seed,
                number=number,
                first=first,
                count=count,
                epoch=epoch,
                at=at,
                previous=tip.chain,
            )
        except struct.error as error:
            raise CallerMistaken(
                f"count {count}, epoch {epoch} or time {at} is out of range",
                "give whole numbers, not negative",
            ) from error
        length = len(sums) + len(content)
        try:
            if self._offset + length > self._capacity:
                self._roll(length, at)
            offset = self._offset
            write_all(self._file, [sums, content], offset)
            self._file.fdatasync()
        except OSError as error:
            raise self._poison(error) from error
        except BaseException:
            self._poison(OSError(0, "interrupted while writing"))
            raise
        place = Place(self._sources[-1].first_frame, offset, length)
        self._offset = offset + length
        self._tip = Checkpoint(place.segment, self._offset, length, number, first + count - 1, chain)
        self.epoch = epoch
        with contextlib.suppress(OSError):  # the frame is durable; an older mark is no loss
            self._mark.write(Mark(self.journal_id, number, first + count - 1, chain))
        if 2 * self._offset > self._capacity and self._may_prepare:
            self._prepare(length)
        return place

    def frames(self, after: Checkpoint | None = None) -> Iterator[Frame]:
        """Read frames in order, up to the end that is acknowledged now; each is checked and so is the chain.

        Args:
            after: Begin behind this checkpoint; None begins with the first frame.

        Raises:
            StorageCorrupt: A frame is missing or not as it was written, or the checkpoint is not of this log.
            StorageUnavailable: The disk refused.
        """
        tip = self._tip
        cursor = Cursor()
        if after is not None and after.frame:
            self._source_of(after.segment)
            if after.frame > tip.frame or (after.frame == tip.frame and after.chain != tip.chain):
                raise _foreign(after)
            cursor.restore(after)
        if cursor.number == tip.frame:
            return
        mark = Mark(self.journal_id, tip.frame, tip.position, tip.chain)
        try:
            for each in walk(self._sources, cursor, self._seed, mark, live=True):
                if isinstance(each, Damage):
                    raise each.error()
                if not isinstance(each, Torn):
                    yield each
        except OSError as error:
            raise refusal(error, self.folder, "read") from error

    def read(self, place: Place) -> Frame:
        """Read one frame and check it.

        Raises:
            StorageCorrupt: It is not as it was written, or no frame was ever there.
            StorageUnavailable: The disk refused.
        """
        header, content = self._load(place)
        body = codec.body_of(content)
        return Frame(place, header.number, header.first, header.events, header.epoch, header.at, body)

    def locate(self, position: int) -> Place | None:
        """The frame that holds a position; None when the log does not reach it.

        Raises:
            StorageCorrupt: A header on the way is damaged.
            StorageUnavailable: The disk refused.
        """
        tip = self._tip
        if not 1 <= position <= tip.position:
            return None
        sources = self._sources
        source = sources[bisect_right(sources, position, key=lambda each: each.first_position) - 1]
        try:
            end = tip.offset if source.first_frame == tip.segment else source.size
            with self._tables:
                place = source.table.find(source.file, position, end, self._seed)
        except OSError as error:
            raise refusal(error, self.folder / source.name, "read") from error
        if place is None:
            raise damaged_frame(source.name, BLOCK, position)
        return place

    def following(self, place: Place) -> Place | None:
        """The frame behind another one; None at the acknowledged end.

        Raises:
            StorageCorrupt: Its header is damaged.
            StorageUnavailable: The disk refused.
        """
        tip = self._tip
        segment, offset = place.segment, place.offset + place.length
        while (segment, offset) < (tip.segment, tip.offset):
            source = self._source_of(segment)
            try:
                view = memoryview(source.file.pread(codec.SIZE, offset))
            except OSError as error:
                raise refusal(error, self.folder / source.name, "read") from error
            if len(view) == codec.SIZE and any(view):
                header = codec.decode_header(view, 0, self._seed)
                if header is None:
                    raise damaged_frame(source.name, offset)
                return Place(segment, offset, header.total)
            if segment == tip.segment:
                raise damaged_frame(source.name, offset)
            segment, offset = self._sources[self._index_of(segment) + 1].first_frame, BLOCK
        return None

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Check everything that is acknowledged now, from the first byte on; see `segment.verify`."""
        return verify(self.folder, disk=self._disk, end=(self.journal_id, self._tip), progress=progress)

    def segments(self) -> list[SegmentInfo]:
        """Every segment in order; the last one is being written.

        Raises:
            StorageUnavailable: The disk refused.
        """
        sources = self._sources
        try:
            return [
                SegmentInfo(
                    each.name, each.first_frame, each.first_position, each.size, each is not sources[-1]
                )
                for each in sources
            ]
        except OSError as error:
            raise refusal(error, self.folder, "read") from error

    @property
    def size(self) -> int:
        """Bytes of all segments, without the prepared space of the last one."""
        return self._sealed_bytes + self._offset

    def close(self) -> None:
        """Make the mark durable and let go of the files; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._drop_spare()
        with contextlib.suppress(OSError):  # an older mark is no loss
            self._mark.sync()
        del self._file, self._mark  # a file is closed when nobody holds it
        self._pool.clear()

    def _load(self, place: Place) -> tuple[codec.Header, memoryview]:
        source = self._source_of(place.segment)
        try:
            view = memoryview(source.file.pread(place.length, place.offset))
        except OSError as error:
            raise refusal(error, self.folder / source.name, "read") from error
        if len(view) == place.length >= codec.SIZE:
            header = codec.decode_header(view, 0, self._seed)
            if header is not None and header.total == place.length:
                content = codec.content_of(view, 0, header, self._seed)
                if content is not None:
                    return header, content
        raise damaged_frame(source.name, place.offset)

    def _roll(self, length: int, at: int) -> None:
        """Seal the present segment and go on in the next one, which has room for `length` bytes."""
        if self._spare is not None and self._spare.size < BLOCK + length:
            self._drop_spare()
        if self._spare is None:
            self._spare = Spare(
                self._disk, self.folder, max(self._next_size(), _whole_blocks(BLOCK + length))
            )
        tip = self._tip
        # A segment without a frame gives way to a larger one: the same first frame makes the same name.
        sealed = self._sources[:-1] if self._offset == BLOCK else self._sources
        before = sealed[-1].first_frame if sealed else 0
        header = SegmentHeader(self.journal_id, tip.frame + 1, tip.position + 1, before, at, tip.chain)
        if sealed is self._sources:
            self._file.ftruncate(self._offset)
            self._file.fsync()
        self._file = self._spare.finish(headers.encode(header), self.folder / header.name)
        self._capacity = self._spare.size
        self._spare = None
        self._may_prepare = True
        self._pool.forget(header.name)
        source = Source(self._pool, header.name, header.frame, header.position, header)
        if sealed is self._sources:
            self._sealed_bytes += self._offset
        self._sources = [*sealed, source]
        self._offset = BLOCK

    def _next_size(self) -> int:
        if self._segment_bytes is not None:
            return _whole_blocks(self._segment_bytes)
        return _whole_blocks(min(LARGEST_SEGMENT, max(FIRST_SEGMENT, self._sealed_bytes + self._capacity)))

    def _prepare(self, length: int) -> None:
        """Go on with the next segment, fast enough that it is ready when this one is full."""
        try:
            if self._spare is None:
                self._spare = Spare(self._disk, self.folder, self._next_size())
            if not self._spare.is_filled:
                # Half of this segment remains for the whole of the next.
                share = 2 * self._spare.size // self._capacity + 1
                self._spare.fill(max(_PIECE, _whole_blocks(share * length)))
        except OSError:
            # The frame is durable and there is room for more: rolling will meet the trouble, if it lasts.
            self._drop_spare()
            self._may_prepare = False

    def _drop_spare(self) -> None:
        if self._spare is not None:
            with contextlib.suppress(OSError):  # opening removes what is left
                self._disk.unlink(self._spare.path)
            self._spare = None

    def _poison(self, error: OSError) -> StorageUnavailable:
        self._broken = refusal(error, self.folder / self._sources[-1].name, "written to")
        self._spare = (
            None  # its name is for whoever opens the log next; it may be theirs when this one closes
        )
        return self._broken

    def _refuse_append(self) -> StorageUnavailable:
        if self._broken is None:
            return StorageUnavailable(f"the log in {self.folder} is closed", "open it again")
        return StorageUnavailable(
            f"the log stopped after a failed write: {self._broken.message}",
            self._broken.remedy,
            self._broken.details,
        )

    def _index_of(self, segment: int) -> int:
        return bisect_right(self._sources, segment, key=lambda each: each.first_frame) - 1

    def _source_of(self, segment: int) -> Source:
        source = self._sources[self._index_of(segment)]
        if source.first_frame != segment:
            raise damaged_frame(f"segment {segment}", 0)
        return source


def _foreign(after: Checkpoint) -> StorageCorrupt:
    return StorageCorrupt(
        f"the checkpoint at frame {after.frame}, position {after.position}, is not of this log",
        "whoever kept it must read the log from its beginning",
        {"frame": after.frame, "position": after.position},
    )


def _whole_blocks(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
