"""The audit trail: an append-only, hash-chained file that says who was allowed, denied, granted what, and when.

`append` returns when its entry is on disk; appends that come together share one sync. All file work of
writing is done by one thread of its own. The form of the file and its check are in `chain`, which needs none
of this: `python -m mcp_security.audit verify FILE` works beside a running node and on a copy.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, TypeVar

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Clock
from mcp_interface.commands import AuditReport, Page, ReadAudit
from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable, TooMuch, UmbrellaError
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, SessionId, TraceId
from mcp_security.chain import HEAD_SIZE, Head, Scan, head_path, read_head, report, scan, seal, verify
from mcp_security.patterns import glob_matches
from mcp_security.redaction import redact, redact_text

MAX_WAITING: Final = 20_000
"""Most entries that wait for the disk."""
MAX_DETAILS: Final = 64 * 1024
"""Bytes of the details of one entry."""
MAX_SCANNED: Final = 50_000
"""Most entries that one query looks at; a rare match is found by going on with the page's cursor."""
BLOCK: Final = 64 * 1024
"""Bytes that a query reads at a time."""

Decision = Literal["allowed", "denied", "granted", "revoked", "noted"]
T = TypeVar("T")
_REMEDY: Final = "check the disk of the data directory; nothing is decided while nothing can be recorded"


class AuditSink(Protocol):
    """Where decisions are recorded: `AuditLog`, or a list in a test."""

    async def append(
        self,
        *,
        kind: str,
        principal_id: PrincipalId,
        resource_uri: str | None = None,
        capability_id: CapabilityId | None = None,
        decision: Decision = "noted",
        reason: str = "",
        session_id: SessionId | None = None,
        trace_id: TraceId | None = None,
        details: dict[str, Any] | None = None,
    ) -> AuditEntry:
        """Record one entry, durable on return.

        Raises:
            TooMuch: Too many entries wait.
            StorageUnavailable: It could not be recorded.
        """
        ...


class _Waiting(msgspec.Struct):
    """An entry on its way to the disk, and who waits for it."""

    entry: AuditEntry
    done: asyncio.Future[AuditEntry]


class AuditLog:
    """An open audit file; made by `open`, used from one event loop."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "audit")
        self._file = -1
        self._head_file = -1
        self._head = Head(0, "")
        self._size = 0
        self._broken = ""
        self._waiting: list[_Waiting] = []
        self._flushing: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(2)

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> Self:
        """Open a file, or begin a new one, both readable by its owner only.

        The whole chain is checked first. A last line that was never finished is cut off and noted as an entry
        of kind `audit_torn_tail`.

        Args:
            path: The file; its head file lies beside it.
            clock: Stamps the entries.

        Raises:
            StorageCorrupt: The chain is broken or its end is missing; names the line.
            StorageUnavailable: It cannot be opened, or another process has it open.
        """
        log = cls(path, clock)
        try:
            found = await log._run(log._open)
        except BaseException:
            log._release()
            raise
        if found.torn:
            await log.append(kind="audit_torn_tail", principal_id=SYSTEM, details={"bytes": found.torn})
        return log

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry; (0, "") when there is none. Note it elsewhere to prove the end."""
        return self._head.seq, self._head.hash

    async def append(
        self,
        *,
        kind: str,
        principal_id: PrincipalId,
        resource_uri: str | None = None,
        capability_id: CapabilityId | None = None,
        decision: Decision = "noted",
        reason: str = "",
        session_id: SessionId | None = None,
        trace_id: TraceId | None = None,
        details: dict[str, Any] | None = None,
    ) -> AuditEntry:
        """Record one entry; see `AuditSink.append`. Secrets in reason and details are redacted.

        Cancelling the caller does not take the entry back.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise TooMuch(f"{MAX_WAITING} audit entries wait for the disk", "slow down and try again")
        entry = AuditEntry(
            seq=0,
            time=self._clock.now(),
            kind=kind,
            principal_id=principal_id,
            resource_uri=resource_uri,
            capability_id=capability_id,
            decision=decision,
            reason=redact_text(reason),
            session_id=session_id,
            trace_id=trace_id,
            details=_bounded(redact(details or {})),
        )
        done: asyncio.Future[AuditEntry] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await done

    async def query(self, wanted: ReadAudit) -> Page[AuditEntry]:
        """Read entries newest first.

        A page may be short, even empty, while its cursor says that there is more: one query looks at a bounded
        number of entries.

        Raises:
            CallerMistaken: The cursor is not one of this file.
            StorageUnavailable: The file cannot be read.
        """
        durable = self._size
        async with self._reading:
            return await self._guarded(asyncio.to_thread(_query, self._path, durable, wanted))

    async def verify(self) -> AuditReport:
        """Check the whole chain as it is on disk, against what this process knows to have written.

        Raises:
            StorageUnavailable: The file cannot be read.
        """
        async with self._reading:
            durable, head, head_problem = await self._run(self._snapshot)
            if head_problem:
                return AuditReport(ok=False, entries=head.seq, head=head.hash, problem=head_problem)
            return await self._guarded(asyncio.to_thread(_verify, self._path, durable, head))

    async def close(self) -> None:
        """Write what waits, then release the file; harmless when repeated."""
        if self._flushing is not None:
            await self._flushing
        if not self._broken:
            self._broken = "the audit is closed"
            await self._guarded(asyncio.get_running_loop().run_in_executor(self._thread, self._sync_head))
        self._release()

    def _release(self) -> None:
        self._thread.shutdown(wait=True)
        for file in (self._file, self._head_file):
            if file >= 0:
                os.close(file)
        self._file = self._head_file = -1

    # -- on the event loop -------------------------------------------------------------------------------

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                entries = await self._run(partial(self._write, [one.entry for one in batch]))
            except UmbrellaError as error:
                for one in batch:
                    if not one.done.done():
                        one.done.set_exception(type(error)(error.message, error.remedy))
                continue
            for one, entry in zip(batch, entries, strict=True):
                if not one.done.done():
                    one.done.set_result(entry)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._broken:
            raise StorageUnavailable(f"{self._path.name}: {self._broken}", _REMEDY)
        return await self._guarded(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def _guarded(self, work: "asyncio.Future[T] | Any") -> T:
        try:
            result: T = await work
        except OSError as error:
            raise StorageUnavailable(f"{self._path.name}: {error.strerror or error}", _REMEDY) from error
        return result

    # -- on the audit's own thread -----------------------------------------------------------------------

    def _open(self) -> Scan:
        self._file = _open_private(self._path, os.O_APPEND)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageUnavailable(
                f"{self._path.name} is open in another process", "stop the other node first"
            ) from error
        head = self._read_head()
        with self._path.open("rb") as file:
            found = scan(file, head)
        seen = report(found, head, self._path)
        if not seen.ok:
            raise StorageCorrupt(
                f"{self._path}: {seen.problem}",
                f"keep it for inspection: move it and {head_path(self._path).name} away together; "
                "a new chain begins at the next start",
                {"line": found.entries + 1},
            )
        if found.torn:
            os.ftruncate(self._file, found.size)
            os.fdatasync(self._file)
        self._size = found.size
        self._head = Head(found.entries, found.head)
        self._head_file = _open_private(head_path(self._path), 0)
        self._sync_head()
        _sync_directory(self._path.parent)
        return found

    def _read_head(self) -> Head | None:
        try:
            return read_head(head_path(self._path))
        except ValueError as error:
            raise StorageCorrupt(
                f"{head_path(self._path)}: {error}",
                "check the audit file with a head noted elsewhere, then move both files away together",
            ) from error

    def _write(self, entries: Sequence[AuditEntry]) -> list[AuditEntry]:
        head, lines, sealed = self._head, [], []
        for draft in entries:
            entry, line = seal(msgspec.structs.replace(draft, seq=head.seq + 1, previous=head.hash))
            head = Head(entry.seq, entry.hash)
            lines.append(line)
            sealed.append(entry)
        data = b"".join(lines)
        try:
            _write_all(self._file, data)
        except OSError:
            # what is half there would break the chain; if it cannot be taken away, nothing may follow it
            self._broken = "an unfinished line could not be taken back"
            os.ftruncate(self._file, self._size)
            self._broken = ""
            raise
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # after a failed sync nobody knows what the disk holds, and a second sync would lie
            self._broken = f"the disk failed to sync ({error.strerror}); restart to check the chain"
            raise
        self._head, self._size = head, self._size + len(data)
        os.pwrite(self._head_file, head.encode(), 0)
        return sealed

    def _sync_head(self) -> None:
        os.pwrite(self._head_file, self._head.encode(), 0)
        os.fsync(self._head_file)

    def _snapshot(self) -> tuple[int, Head, str]:
        on_disk = os.pread(self._head_file, HEAD_SIZE + 1, 0)
        beside = head_path(self._path)
        try:
            same_file = os.path.samestat(os.fstat(self._head_file), beside.stat())
        except FileNotFoundError:
            same_file = False
        sound = on_disk == self._head.encode() and same_file
        return self._size, self._head, "" if sound else f"{beside.name} was changed"


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


def _bounded(details: dict[str, Any]) -> dict[str, Any]:
    size = len(msgspec.json.encode(details))
    return details if size <= MAX_DETAILS else {"omitted": f"{size} bytes of details"}


def _verify(path: Path, durable: int, head: Head) -> AuditReport:
    with path.open("rb") as file:
        return report(scan(file, head, durable), head, path)


def _query(path: Path, durable: int, wanted: ReadAudit) -> Page[AuditEntry]:
    items: list[AuditEntry] = []
    with path.open("rb") as file:
        at = _place(wanted.cursor, durable)
        for _ in range(MAX_SCANNED):
            if at == 0 or len(items) >= wanted.limit:
                break
            line, at = _line_before(file.fileno(), at)
            try:
                entry = msgspec.json.decode(line, type=AuditEntry)
            except msgspec.MsgspecError as error:
                raise CallerMistaken(
                    f"cursor {wanted.cursor!r} does not belong to this audit", "begin without a cursor"
                ) from error
            if _fits(entry, wanted):
                items.append(entry)
    return Page(items=items, cursor=str(at) if at else None)


def _place(cursor: str | None, durable: int) -> int:
    if cursor is None:
        return durable
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 20 and 0 < int(cursor) <= durable):
        raise CallerMistaken(
            f"cursor {cursor[:50]!r} does not belong to this audit", "pass on what the last page gave"
        )
    return int(cursor)


def _line_before(file: int, end: int) -> tuple[bytes, int]:
    """Read the line that ends (with its newline) at `end`; return it and where it begins."""
    begin, data = end, b""
    while begin > 0:
        step = min(BLOCK if data else 1024, begin)
        begin -= step
        data = os.pread(file, step, begin) + data
        newline = data.rfind(b"\n", 0, len(data) - 1)
        if newline >= 0:
            return data[newline + 1 :], begin + newline + 1
    return data, 0


def _fits(entry: AuditEntry, wanted: ReadAudit) -> bool:
    return (
        (wanted.principal is None or entry.principal_id == wanted.principal)
        and (wanted.capability_id is None or entry.capability_id == wanted.capability_id)
        and (wanted.kind is None or entry.kind == wanted.kind)
        and (not wanted.denied_only or entry.decision == "denied")
        and (wanted.resource_uri is None or glob_matches(wanted.resource_uri, entry.resource_uri or ""))
    )


def main(arguments: Sequence[str]) -> int:
    """Run the small verifier: `verify FILE`. Returns the exit code: 0 sound, 1 not, 2 usage."""
    if len(arguments) != 2 or arguments[0] != "verify":
        print("usage: python -m mcp_security.audit verify FILE", file=sys.stderr)
        return 2
    path = Path(arguments[1])
    try:
        seen = verify(path)
    except OSError as error:
        print(f"{path.name}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{'sound' if seen.ok else 'DAMAGED'}: {seen.entries} entries, head {seen.head or '-'}")
    if seen.problem:
        print(seen.problem)
    return 0 if seen.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
