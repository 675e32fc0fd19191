"""The audit trail: an append-only, hash-chained file that says who was allowed, denied, granted what, and when.

`append` returns when its entry is on disk; appends that come together share one sync. All file work of
writing is done by one thread of its own. The form of the files and their check are in `chain`, signatures in
`seals`, reading in `trail`; none of them needs this module: `python -m mcp_security.audit verify FILE` works
beside a running node and on a copy.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, TypeVar

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Clock, Entropy, SystemEntropy
from mcp_interface.commands import AuditReport, Page, ReadAudit
from mcp_interface.errors import CallerMistaken, OurBug, StorageUnavailable, TooMuch, UmbrellaError
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, SessionId, TraceId
from mcp_interface.trace import current_trace_id
from mcp_security.chain import ROTATED, SEAL, SEAL_EVERY, Walk, report
from mcp_security.redaction import redact, redact_text
from mcp_security.seals import PublicKeys
from mcp_security.trail import Trail
from mcp_security.writing import Snapshot, Writer

MAX_WAITING: Final = 20_000
"""Most entries that wait for the disk."""
SEGMENT: Final = 256 * 1024 * 1024
"""Bytes after which a file is full."""

Decision = Literal["allowed", "denied", "granted", "revoked", "noted"]
T = TypeVar("T")
_OURS: Final = frozenset({SEAL, ROTATED})
_REMEDY: Final = "check the disk of the data directory; nothing is decided while nothing can be recorded"


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry that is to be recorded; its details must not hold itself."""

    kind: str
    principal_id: PrincipalId
    resource_uri: str | None = None
    capability_id: CapabilityId | None = None
    decision: Decision = "noted"
    reason: str = ""
    session_id: SessionId | None = None
    trace_id: TraceId | None = None
    details: dict[str, Any] | None = None


class AuditSink(Protocol):
    """Where decisions are recorded: `AuditLog`, or a list in a test."""

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry; (0, "") when there is none."""
        ...

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

    async def append_all(self, drafts: Sequence[Draft]) -> list[AuditEntry]:
        """Record several entries in their order, durable on return.

        All or none when it fails; after a kill before it returned, some of the first may be there. Other
        entries may stand between them.

        Raises:
            TooMuch: Too many entries wait.
            StorageUnavailable: They could not be recorded.
        """
        ...


class _Waiting(msgspec.Struct):
    """Entries on their way to the disk, and who waits for them."""

    entries: list[AuditEntry]
    done: asyncio.Future[None]


class AuditLog:
    """An open audit; made by `open`, used from one event loop."""

    def __init__(self, path: Path, clock: Clock, writer: Writer) -> None:
        self._path = path
        self._clock = clock
        self._writer = writer
        self._trail = Trail(path)
        self._thread = ThreadPoolExecutor(1, "audit")
        self._closed = False
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._flushing: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(2)

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        entropy: Entropy | None = None,
        *,
        seal_every: int = SEAL_EVERY,
        segment: int = SEGMENT,
    ) -> Self:
        """Open an audit, or begin a new one, all files readable by their owner only.

        The file that is written to is checked first, with its seals, and that it follows the full one before it;
        `verify` checks those too. A last line that was never finished is cut off and noted as an entry of kind
        `audit_torn_tail`. The head file, and with it the audit, is locked.

        Args:
            path: The file; head and keys lie beside it.
            clock: Stamps the entries.
            entropy: Makes the key for seals, when there is none yet; the system's when not given.
            seal_every: Entries after which there is a seal, 1 to 1,000.
            segment: Bytes after which a file is full and the next one begins.

        Raises:
            CallerMistaken: `seal_every` or `segment` is out of range.
            StorageCorrupt: The chain is broken, its end is missing, a seal or key is wrong; names the line.
            StorageUnavailable: It cannot be opened, or another process has it open.
            WorldBroken: `cryptography` is not installed.
        """
        if not 1 <= seal_every <= SEAL_EVERY:
            raise CallerMistaken(f"seal_every is {seal_every}", f"choose 1 to {SEAL_EVERY}")
        if segment < 1:
            raise CallerMistaken(f"segment is {segment} bytes", "choose at least 1")
        writer = Writer(path, entropy or SystemEntropy(), seal_every, segment)
        log = cls(path, clock, writer)
        try:
            torn = await log._run(partial(writer.open, clock.now()))
        except BaseException:
            log._release()
            raise
        if torn:
            await log.append(kind="audit_torn_tail", principal_id=SYSTEM, details={"bytes": torn})
        return log

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry; (0, "") when there is none. Note it elsewhere to prove the end."""
        return self._writer.head.seq, self._writer.head.hash

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
        """Record one entry; see `AuditSink.append` and `append_all`."""
        draft = Draft(
            kind=kind,
            principal_id=principal_id,
            resource_uri=resource_uri,
            capability_id=capability_id,
            decision=decision,
            reason=reason,
            session_id=session_id,
            trace_id=trace_id,
            details=details,
        )
        entries = [_entry(draft, self._clock.now())]
        await self._hand_in(entries)
        return entries[0]

    async def append_all(self, drafts: Sequence[Draft]) -> list[AuditEntry]:
        """Record several entries at the same instant, with one sync; see `AuditSink.append_all`.

        Secrets in reason and details are redacted. Cancelling the caller does not take the entries back.

        Raises:
            CallerMistaken: A kind is one that only the audit itself writes.
        """
        if not drafts:
            return []
        now = self._clock.now()
        entries = [_entry(draft, now) for draft in drafts]
        await self._hand_in(entries)
        return entries

    async def query(self, wanted: ReadAudit) -> Page[AuditEntry]:
        """Read entries, newest first unless asked otherwise.

        A page may be short, even empty, while its cursor says that there is more: one query looks at a bounded
        number of entries.

        Raises:
            CallerMistaken: The cursor is not one of this audit, or a time has no zone.
            StorageCorrupt: A line is damaged.
            StorageUnavailable: A file cannot be read.
        """
        view = self._writer.view
        async with self._reading:
            return await self._guarded(asyncio.to_thread(self._trail.query, view, wanted))

    async def verify(self) -> AuditReport:
        """Check the whole chain as it is on disk, full files and seals included.

        It is checked against what this process knows to have written and with the keys that it opened.

        Raises:
            StorageUnavailable: A file cannot be read.
        """
        async with self._reading:
            known = await self._run(self._writer.snapshot)
            if known.problem:
                return AuditReport(
                    ok=False, entries=known.head.seq, head=known.head.hash, problem=known.problem
                )
            return await self._guarded(asyncio.to_thread(_verify, self._path, known, self._writer.keys))

    async def close(self) -> None:
        """Write what waits, seal it, then release the files; harmless when repeated.

        Raises:
            StorageUnavailable: The seal could not be written; the files are released all the same.
        """
        if self._flushing is not None:
            await self._flushing
        if self._closed:
            return
        try:
            if not self._writer.broken:
                await self._run(partial(self._writer.seal, self._clock.now(), "close"))
                await self._run(self._writer.sync_head)
        finally:
            self._closed = True
            self._release()

    def _release(self) -> None:
        self._thread.shutdown(wait=True)
        self._writer.release()

    async def _hand_in(self, entries: list[AuditEntry]) -> None:
        if self._count + len(entries) > MAX_WAITING:
            raise TooMuch(
                f"{self._count} audit entries wait for the disk, {len(entries)} more are too many",
                f"slow down and try again, with at most {MAX_WAITING} at a time",
            )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += len(entries)
        self._waiting.append(_Waiting(entries, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting, self._count = self._waiting, [], 0
            entries = [entry for one in batch for entry in one.entries]
            try:
                await self._run(partial(self._writer.write, entries))
            except UmbrellaError as error:
                _fail(batch, error)
            except Exception as error:
                # somebody waits for these; whatever it is, they must hear of it
                _fail(batch, OurBug(f"the audit could not write: {error!r}", "report this"))
            else:
                for one in batch:
                    if not one.done.done():
                        one.done.set_result(None)

    async def _run(self, work: Callable[[], T]) -> T:
        broken = "the audit is closed" if self._closed else self._writer.broken
        if broken:
            raise StorageUnavailable(f"{self._path.name}: {broken}", _REMEDY)
        return await self._guarded(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def _guarded(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except OSError as error:
            raise StorageUnavailable(f"{self._path.name}: {error.strerror or error}", _REMEDY) from error


def _fail(batch: Sequence[_Waiting], error: UmbrellaError) -> None:
    for one in batch:
        if not one.done.done():
            one.done.set_exception(type(error)(error.message, error.remedy))


def _entry(draft: Draft, now: datetime) -> AuditEntry:
    """Return an entry that lacks only its place in the chain."""
    if draft.kind in _OURS:
        raise CallerMistaken(f"{draft.kind} is written by the audit itself", "choose another kind")
    return AuditEntry(
        seq=0,
        time=now,
        kind=draft.kind,
        principal_id=draft.principal_id,
        resource_uri=draft.resource_uri,
        capability_id=draft.capability_id,
        decision=draft.decision,
        reason=redact_text(draft.reason),
        session_id=draft.session_id,
        trace_id=current_trace_id() if draft.trace_id is None else draft.trace_id,
        details=redact(draft.details) if draft.details else {},
    )


def _verify(path: Path, known: Snapshot, keys: PublicKeys) -> AuditReport:
    numbers = range(1, known.view.number + 1)
    walk = Walk(path, [known.head], keys, numbers=numbers, live_end=known.view.size)
    return report(walk.finish(), known.head, path)


if __name__ == "__main__":
    from mcp_security.verifier import main

    sys.exit(main(sys.argv[1:]))
