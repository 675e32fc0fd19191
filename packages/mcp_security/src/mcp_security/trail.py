"""Reading an audit: pages in either direction, and whole stretches of raw lines. Knows no kernel, writes nothing.

Times are nearly in order, but a clock can be set back. So a query does not search by time: it skips blocks of
which the earliest and the latest time are known. For the file that is being written the writer keeps this
sparse index; for a full file its last entry (`audit_rotated`) names both times, and the index within it is made
when a query first looks inside.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import Page, ReadAudit
from mcp_interface.errors import CallerMistaken, StorageCorrupt
from mcp_security.chain import MAX_LINE, Link, Walk, head_path, open_file, read_head
from mcp_security.patterns import glob_matches

BLOCK: Final = 64 * 1024
"""Bytes after which the index begins a new block."""
MAX_SCANNED: Final = 50_000
"""Most entries that one query looks at; a rare match is found by going on with the page's cursor."""
_MAX_INDEXES: Final = 16
"""Full files whose index is kept in memory, some hundred KiB each."""
_REMEDY: Final = "check the audit with `python -m mcp_security.audit verify FILE`"

_decode_entry = msgspec.json.Decoder(AuditEntry).decode
_decode_link = msgspec.json.Decoder(Link).decode


class Block(msgspec.Struct):
    """Some whole lines that lie together."""

    begin: int
    end: int
    earliest: datetime
    latest: datetime


class Index:
    """Where in one file which times are; may be read by one thread while another adds to it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def add(self, size: int, time: datetime) -> None:
        """Take the next line in: its bytes, newline included, and its time."""
        last = self.blocks[-1] if self.blocks else None
        if last is None or last.end - last.begin >= BLOCK:
            begin = last.end if last else 0
            self.blocks.append(Block(begin, begin + size, time, time))
            return
        # the times first: a reader that sees the new end must see them too
        if time > last.latest:
            last.latest = time
        elif time < last.earliest:
            last.earliest = time
        last.end += size

    def bounds(self) -> tuple[datetime, datetime] | None:
        """Return the earliest and the latest time; None when it is empty."""
        if not self.blocks:
            return None
        return min(block.earliest for block in self.blocks), max(block.latest for block in self.blocks)


class View(msgspec.Struct, frozen=True):
    """What of an audit was durable at one moment."""

    number: int
    """Of the file that is being written."""
    size: int
    """Bytes of it."""
    index: Index
    """May know of more."""


class Trail:
    """Queries over one audit, full files included; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bounds = lru_cache(maxsize=None)(self._read_bounds)
        self._index = lru_cache(maxsize=_MAX_INDEXES)(self._read_index)

    def query(self, view: View, wanted: ReadAudit) -> Page[AuditEntry]:
        """Read a page.

        The cursor is a place between two entries: it leads on in either direction.

        Raises:
            CallerMistaken: The cursor is not one of this audit, or a time is without a zone.
            StorageCorrupt: A line cannot be read.
            OSError: A file cannot be read.
        """
        _need_zones(wanted)
        at = self._place(view, wanted)
        items: list[AuditEntry] = []
        scanned = 0
        for number, begin, end in self._blocks(view, wanted, at):
            if scanned >= MAX_SCANNED or len(items) >= wanted.limit:
                return Page(items=items, cursor=f"{number}.{begin if wanted.oldest_first else end}")
            place = begin if wanted.oldest_first else end
            lines = self._read(number, begin, end)
            for line in lines if wanted.oldest_first else reversed(lines):
                if scanned >= MAX_SCANNED or len(items) >= wanted.limit:
                    return Page(items=items, cursor=f"{number}.{place}")
                scanned += 1
                place += len(line) if wanted.oldest_first else -len(line)
                entry = self._decode(line, number)
                if fits(entry, wanted):
                    items.append(entry)
        return Page(items=items)

    def _blocks(self, view: View, wanted: ReadAudit, at: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
        """Yield what may hold something wanted, from the cursor on: file, first byte, byte behind the last."""
        upward = wanted.oldest_first
        cursor_number, cursor_byte = at
        for number in range(cursor_number, view.number + 1) if upward else range(cursor_number, 0, -1):
            live = number == view.number
            if not live and not _overlap(self._bounds(number), wanted):
                continue
            blocks = (view.index if live else self._index(number)).blocks
            blocks = blocks.copy()
            for block in blocks if upward else reversed(blocks):
                begin, end = block.begin, min(block.end, view.size) if live else block.end
                if number == cursor_number:
                    begin, end = (max(begin, cursor_byte), end) if upward else (begin, min(end, cursor_byte))
                if begin < end and _overlap((block.earliest, block.latest), wanted):
                    yield number, begin, end

    def _place(self, view: View, wanted: ReadAudit) -> tuple[int, int]:
        if wanted.cursor is None:
            return (1, 0) if wanted.oldest_first else (view.number, view.size)
        number, _, byte = wanted.cursor.partition(".")
        if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in (number, byte)):
            raise _foreign(wanted.cursor)
        at = int(number), int(byte)
        if not 1 <= at[0] <= view.number or not self._is_boundary(view, *at):
            raise _foreign(wanted.cursor)
        return at

    def _is_boundary(self, view: View, number: int, byte: int) -> bool:
        if byte == 0:
            return True
        with open_file(self._path, number) as file:
            size = view.size if number == view.number else file.seek(0, 2)
            if byte > size:
                return False
            file.seek(byte - 1)
            return file.read(1) == b"\n"

    def _read(self, number: int, begin: int, end: int) -> list[bytes]:
        with open_file(self._path, number) as file:
            file.seek(begin)
            return file.read(end - begin).splitlines(keepends=True)

    def _read_index(self, number: int) -> Index:
        index = Index()
        with open_file(self._path, number) as file:
            for line in file:
                try:
                    index.add(len(line), _decode_link(line).time)
                except (msgspec.MsgspecError, UnicodeError) as error:
                    raise self._corrupt(number, error) from error
        return index

    def _read_bounds(self, number: int) -> tuple[datetime, datetime] | None:
        """Return the bounds that a full file's last line names; None when it does not."""
        try:
            with open_file(self._path, number) as file:
                details = _decode_entry(last_line(file)).details
            return msgspec.convert(
                (details["earliest"], details["latest"]), tuple[datetime, datetime], strict=False
            )
        except (msgspec.MsgspecError, UnicodeError, KeyError):
            return None

    def _decode(self, line: bytes, number: int) -> AuditEntry:
        try:
            return _decode_entry(line)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self._corrupt(number, error) from error

    def _corrupt(self, number: int, error: Exception) -> StorageCorrupt:
        return StorageCorrupt(f"{self._path.name}, file {number}: a line is damaged: {error}", _REMEDY)


def export(path: Path, wanted: ReadAudit) -> Iterator[bytes]:
    """Yield the raw lines that fit, oldest first, byte for byte as they were written.

    The chain is checked on the way, seals are not. An unfinished last line is left out.

    Args:
        path: The audit.
        wanted: What to look for; its limit, cursor and direction mean nothing here.

    Raises:
        CallerMistaken: A time is without a zone.
        StorageCorrupt: The chain is broken, or its end is missing; what was before has been yielded.
        OSError: A file cannot be read.
    """
    _need_zones(wanted)
    try:
        head = read_head(head_path(path))
    except ValueError as error:
        raise StorageCorrupt(str(error), _REMEDY) from error
    walk = Walk(path, [head] if head else [])
    everything = fits_all(wanted)
    for line, _ in walk:
        if everything or fits(_decode_entry(line), wanted):
            yield line
    if walk.found.problem:
        raise StorageCorrupt(f"{path.name}: {walk.found.problem}", _REMEDY)


def fits(entry: AuditEntry, wanted: ReadAudit) -> bool:
    """Tell whether a query asks for an entry."""
    return (
        (wanted.principal is None or entry.principal_id == wanted.principal)
        and (wanted.capability_id is None or entry.capability_id == wanted.capability_id)
        and (wanted.kind is None or entry.kind == wanted.kind)
        and (not wanted.denied_only or entry.decision == "denied")
        and (wanted.since is None or entry.time >= wanted.since)
        and (wanted.until is None or entry.time < wanted.until)
        and (wanted.resource_uri is None or glob_matches(wanted.resource_uri, entry.resource_uri or ""))
    )


def fits_all(wanted: ReadAudit) -> bool:
    """Tell whether a query asks for every entry."""
    paging = {"limit": 1, "cursor": None, "oldest_first": False}
    return msgspec.structs.replace(wanted, **paging) == ReadAudit(limit=1)


def last_line(file: BinaryIO) -> bytes:
    """Return the last whole line of a file without its newline; empty when there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - MAX_LINE - 1))
    lines = file.read().splitlines()
    return lines[-1] if lines else b""


def _need_zones(wanted: ReadAudit) -> None:
    for time in (wanted.since, wanted.until):
        if time is not None and time.tzinfo is None:
            raise CallerMistaken(f"{time.isoformat()} has no time zone", "add one, such as Z for UTC")


def _overlap(bounds: tuple[datetime, datetime] | None, wanted: ReadAudit) -> bool:
    if bounds is None:
        return True
    earliest, latest = bounds
    return (wanted.since is None or latest >= wanted.since) and (
        wanted.until is None or earliest < wanted.until
    )


def _foreign(cursor: str) -> CallerMistaken:
    return CallerMistaken(
        f"cursor {cursor[:50]!r} does not belong to this audit", "pass on what the last page gave"
    )
