"""The side of an open audit that touches the disk: one thread, everything blocking. `audit` stands before it."""

import fcntl
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Entropy
from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_interface.ids import SYSTEM
from mcp_security.chain import (
    HEAD_SIZE,
    ROTATED,
    SEAL,
    Head,
    Scan,
    Walk,
    closed_numbers,
    closed_path,
    head_path,
    read_head,
    report,
    seal_line,
    whole_link,
)
from mcp_security.seals import PublicKeys, SealingKey, complete_keys, read_keys
from mcp_security.trail import Index, View, last_line

_set = msgspec.structs.force_setattr


class Snapshot(msgspec.Struct, frozen=True):
    """What the writer knows to be on disk."""

    head: Head
    view: View
    problem: str
    """What is wrong with the head file; empty when it is as it was written."""


class _Batch:
    """Entries on their way to the disk, chained to what is there and to each other."""

    def __init__(self, head: Head, last_seal: int) -> None:
        self.seq = head.seq
        self.hash = head.hash
        self.last_seal = last_seal
        self.lines: list[bytes] = []
        self.times: list[datetime] = []

    def add(self, entries: Sequence[AuditEntry]) -> None:
        seq, previous, lines = self.seq, self.hash, self.lines
        for entry in entries:
            seq += 1
            # in place, although frozen: nobody else has seen it yet
            _set(entry, "seq", seq)
            _set(entry, "previous", previous)
            lines.append(seal_line(entry))
            previous = entry.hash
        self.seq, self.hash = seq, previous
        self.times += [entry.time for entry in entries]

    def note(self, time: datetime, kind: str, details: dict[str, Any]) -> None:
        """Add an entry of our own; what it says is not redacted."""
        self.add([AuditEntry(seq=0, time=time, kind=kind, principal_id=SYSTEM, details=details)])

    def seal(self, key: SealingKey, time: datetime, why: str) -> None:
        """Add a seal, unless the last entry is one or there is none."""
        if self.seq > self.last_seal:
            self.note(time, SEAL, key.seal(Head(self.seq, self.hash), why))
            self.last_seal = self.seq


class Writer:
    """The files of one audit, locked; `open` first. Methods that write are called by one thread only."""

    def __init__(self, path: Path, entropy: Entropy, seal_every: int, segment: int) -> None:
        self.head = Head(0, "")
        self.view = View(1, 0, Index())
        self.broken = ""
        """Why nothing can be written any more; empty while it can."""
        self.keys: PublicKeys
        self._path = path
        self._entropy = entropy
        self._seal_every = seal_every
        self._segment = segment
        self._key: SealingKey
        self._file = -1
        self._head_file = -1
        self._last_seal = 0
        self._ended = False

    def open(self, now: datetime) -> int:
        """Check what is there, make what is missing, seal what is not sealed.

        Returns:
            Bytes of a last line that was never finished, and is cut off.

        Raises:
            StorageCorrupt: The chain is broken, its end is missing, a seal or a key is wrong.
            StorageUnavailable: Another process has it open.
            OSError: It cannot be opened.
            WorldBroken: `cryptography` is not installed.
        """
        self._head_file = _open_private(head_path(self._path), 0)
        try:
            fcntl.flock(self._head_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageUnavailable(
                f"{self._path.name} is open in another process", "stop the other node first"
            ) from error
        self._file = _open_private(self._path, os.O_APPEND)
        keys = read_keys(self._path)
        found, index = self._check(keys.public)
        if found.torn:
            os.ftruncate(self._file, found.size)
            os.fdatasync(self._file)
        number = max(closed_numbers(self._path), default=0) + 1
        self.head = Head(found.entries, found.head)
        self.view = View(number, found.size, index)
        self._last_seal = found.last_seal
        self._ended = found.last_kind == ROTATED
        self._key, self.keys = complete_keys(self._path, keys, self._entropy)
        self.sync_head()
        _sync_directory(self._path.parent)
        self.seal(now, "open")
        return found.torn

    def write(self, entries: Sequence[AuditEntry]) -> None:
        """Give entries their numbers and hashes, and write them; all or none, durable on return.

        Raises:
            OSError: They could not be written; nothing was recorded.
        """
        batch = self._begin(entries[0].time)
        done = 0
        while done < len(entries):
            room = self._seal_every - (batch.seq - batch.last_seal)
            if room <= 0:
                batch.seal(self._key, entries[done].time, "count")
                continue
            batch.add(entries[done : done + room])
            done += room
        self._commit(batch)

    def seal(self, now: datetime, why: str) -> None:
        """Sign what is not signed yet; nothing is written when there is none.

        Raises:
            OSError: It could not be written.
        """
        if self.head.seq > self._last_seal and not self._ended:
            batch = _Batch(self.head, self._last_seal)
            batch.seal(self._key, now, why)
            self._commit(batch)

    def sync_head(self) -> None:
        """Make the head file durable."""
        os.pwrite(self._head_file, self.head.encode(), 0)
        os.fsync(self._head_file)

    def snapshot(self) -> Snapshot:
        """Return what is known, and whether the head file still says so."""
        on_disk = os.pread(self._head_file, HEAD_SIZE + 1, 0)
        beside = head_path(self._path)
        sound = on_disk == self.head.encode() and _is_at(self._head_file, beside)
        return Snapshot(self.head, self.view, "" if sound else f"{beside.name} was changed")

    def release(self) -> None:
        """Close the files, which gives up the lock; harmless when repeated."""
        for file in (self._file, self._head_file):
            if file >= 0:
                os.close(file)
        self._file = self._head_file = -1

    # -- opening -----------------------------------------------------------------------------------------

    def _check(self, keys: PublicKeys) -> tuple[Scan, Index]:
        """Check the file that is written to, and that it follows the full one before it."""
        numbers = closed_numbers(self._path)
        if numbers != list(range(1, len(numbers) + 1)):
            missing = min(set(range(1, max(numbers))) - set(numbers))
            raise self._corrupt(f"{closed_path(self._path, missing).name} is missing")
        number = len(numbers) + 1
        try:
            head = read_head(head_path(self._path))
        except ValueError as error:
            raise StorageCorrupt(
                f"{head_path(self._path)}: {error}",
                "check the audit with a head noted elsewhere, then move its files away together",
            ) from error
        begin = self._end_of(numbers[-1]) if numbers else Scan()
        walk = Walk(self._path, [head] if head else [], keys, numbers=[number], begin=begin)
        if head and head.seq == begin.entries and head.hash != begin.head:
            raise self._corrupt("the last entry of the file before is not the one that the head file names")
        index = Index()
        for line, link in walk:
            index.add(len(line), link.time)
        seen = report(walk.found, head, self._path)
        if not seen.ok:
            raise self._corrupt(seen.problem)
        return walk.found, index

    def _end_of(self, number: int) -> Scan:
        with closed_path(self._path, number).open("rb") as file:
            line = last_line(file)
        link, digest = whole_link(line)
        if link is None or link.kind != ROTATED:
            raise self._corrupt(f"{closed_path(self._path, number).name}: the last line was changed")
        # a full file ends with a seal and the entry that says so
        return Scan(entries=link.seq, head=digest, last_seal=link.seq, sealed=link.seq - 2)

    def _corrupt(self, problem: str) -> StorageCorrupt:
        return StorageCorrupt(
            f"{self._path}: {problem}",
            f"keep it for inspection: move it and all {self._path.stem}.* and {self._path.stem}-* away "
            "together; a new chain begins at the next start",
        )

    # -- writing -----------------------------------------------------------------------------------------

    def _begin(self, now: datetime) -> _Batch:
        """Return a batch for the file that has room, which may be the next one."""
        if self.view.size >= self._segment and not self._ended:
            self._end_file(now)
        if self._ended:
            self._next_file()
        return _Batch(self.head, self._last_seal)

    def _end_file(self, now: datetime) -> None:
        batch = _Batch(self.head, self._last_seal)
        batch.seal(self._key, now, "rotation")
        earliest, latest = self.view.index.bounds() or (now, now)
        span = {"earliest": min(earliest, now), "latest": max(latest, now)}
        batch.note(now, ROTATED, {"file": closed_path(self._path, self.view.number).name, **span})
        batch.last_seal = batch.seq  # the next seal covers it; it needs none of its own
        self._commit(batch)
        self._ended = True

    def _next_file(self) -> None:
        """Give the full file its number and begin a new one; may be tried again when it fails."""
        closed = closed_path(self._path, self.view.number)
        if not closed.exists() and _is_at(self._file, self._path):
            self._path.rename(closed)
        if not _is_at(self._file, closed):
            raise StorageUnavailable(
                f"{self._path.name} cannot be renamed to {closed.name}: another file is there",
                "move the other file away",
            )
        file = _open_private(self._path, os.O_APPEND | os.O_EXCL)
        try:
            _sync_directory(self._path.parent)
        except OSError as error:
            os.close(file)
            self.broken = _unsynced(error)
            raise
        os.close(self._file)
        self._file = file
        self.view = View(self.view.number + 1, 0, Index())
        self._ended = False

    def _commit(self, batch: _Batch) -> None:
        data = b"".join(batch.lines)
        try:
            _write_all(self._file, data)
        except OSError:
            # what is half there would break the chain; if it cannot be taken away, nothing may follow it
            self.broken = "an unfinished line could not be taken back"
            os.ftruncate(self._file, self.view.size)
            self.broken = ""
            raise
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self.broken = _unsynced(error)
            raise
        index = self.view.index
        for line, time in zip(batch.lines, batch.times, strict=True):
            index.add(len(line), time)
        self.head = Head(batch.seq, batch.hash)
        self.view = View(self.view.number, self.view.size + len(data), index)
        self._last_seal = batch.last_seal
        os.pwrite(self._head_file, self.head.encode(), 0)


def _unsynced(error: OSError) -> str:
    # after a failed sync nobody knows what the disk holds, and a second sync would lie
    return f"the disk failed to sync ({error.strerror}); restart to check the chain"


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _open_private(path: Path, flags: int) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
