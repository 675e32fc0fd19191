"""The form of an audit, and the check of one. Knows no kernel, no clock, no event loop.

One entry is one line: `AuditEntry` as JSON (fields in their declared order, keys of `details` sorted, UTF-8,
no spaces), `hash` last. The hash is the SHA-256 of the same line with an empty hash; it covers every other
byte, also the hash of the line before, so no bit can change and no line can go or come without the chain
breaking. That its *end* is not cut off is told by a small file beside it, `<name>.head`: sequence number and hash
of the last entry that was acknowledged, written after the entry is on disk.

A file does not grow for ever: when it is large enough, an entry of kind `audit_rotated` ends it, it is renamed
to `<name>-000001.jsonl` (the next to `-000002`, …), and the chain goes on in a new `<name>.jsonl`, whose first
entry names the last hash of the file before like every other.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import AuditReport

ROTATED: Final = "audit_rotated"
"""The kind of the entry that ends a file."""
SEAL: Final = "audit_seal"
"""The kind of a signed entry; see `seals`."""
SEAL_EVERY: Final = 1_000
"""Most entries that follow a seal before there must be the next."""
MAX_DETAILS: Final = 64 * 1024
"""Bytes of the details of one entry."""
MAX_NAME: Final = 4_000
"""Characters of a name, such as a resource, that are kept."""
MAX_LINE: Final = 256 * 1024
"""Bytes of the longest line; more than an entry of that much can have."""
HEAD_SIZE: Final = 20 + 1 + 64 + 1
_HASH_FIELD: Final = b',"hash":"'
_TAIL: Final = 64 + len(b'"}')
_HEAD: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")
_CLOSED: Final = re.compile(r"-([0-9]{6,})")
_NOTHING: Final = "0" * 64

_NAMES: Final = ("kind", "principal_id", "resource_uri", "capability_id", "session_id", "trace_id")

_encode_entry = msgspec.json.Encoder(order="deterministic").encode


class Link(msgspec.Struct):
    """The fields of an entry that hold the chain together; cheaper to read than the whole."""

    seq: int
    time: datetime
    kind: str
    previous: str


_decode_link = msgspec.json.Decoder(Link).decode


class Head(msgspec.Struct, frozen=True):
    """The last acknowledged entry."""

    seq: int
    hash: str
    """Empty when there is none."""

    def encode(self) -> bytes:
        """Return the content of a head file; always of the same length, so that one write replaces it."""
        return f"{self.seq:020d} {self.hash or _NOTHING}\n".encode()


class SealCheck(Protocol):
    """Judges signed entries; see `seals`."""

    def problem(self, before: Head, details: dict[str, Any]) -> str:
        """Return what is wrong with a seal over `before`; empty when it holds."""
        ...


class Scan(msgspec.Struct, kw_only=True):
    """What was found in one audit, up to the first problem."""

    entries: int = 0
    head: str = ""
    line: int = 0
    """Whole lines of the present file."""
    size: int = 0
    """Bytes of them."""
    torn: int = 0
    """Bytes behind the last whole line: a write that was never finished, nor acknowledged."""
    last_kind: str = ""
    sealed: int = 0
    """The entries up to this number are covered by a seal that was checked."""
    seals: int = 0
    """Seals that were seen, checked or not."""
    last_seal: int = 0
    """Number of the last of them."""
    problem: str = ""


def seal_line(entry: AuditEntry) -> bytes:
    """Give a fresh entry, still without one, its hash; return its line.

    The entry is changed in place although it is frozen: nobody else has seen it yet, and a copy would cost as
    much as the hash. Names that are too long or no UTF-8, and details that are too long, are cut.
    """
    try:
        body = _encode_entry(entry)
    except UnicodeEncodeError:
        body = b""
    if not body or len(body) > MAX_DETAILS:
        _shorten(entry)
        body = _encode_entry(entry)
    digest = sha256(body).hexdigest()
    msgspec.structs.force_setattr(entry, "hash", digest)
    return b'%b%b"}\n' % (body[:-2], digest.encode())


def _shorten(entry: AuditEntry) -> None:
    for field in _NAMES:
        name = getattr(entry, field)
        if name is not None:
            name = name.encode("utf-8", "backslashreplace").decode()
            if len(name) > MAX_NAME:
                name = f"{name[:MAX_NAME]}… ({len(name)} characters)"
            msgspec.structs.force_setattr(entry, field, name)
    size = len(msgspec.json.encode(entry.details))
    if size > MAX_DETAILS:
        msgspec.structs.force_setattr(entry, "details", {"omitted": f"{size} bytes of details"})


def read_head(path: Path) -> Head | None:
    """Read a head file; None when there is none, or nothing in it yet.

    Raises:
        ValueError: It is not what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not content:
        return None
    match = _HEAD.fullmatch(content)
    if match is None:
        raise ValueError(f"{path.name} is damaged")
    digest = match[2].decode()
    return Head(int(match[1]), "" if digest == _NOTHING else digest)


def head_path(path: Path) -> Path:
    """Where the head of an audit is kept: `audit.jsonl` has `audit.head`."""
    return path.with_suffix(".head")


def closed_path(path: Path, number: int) -> Path:
    """Where a full file of an audit is kept, counted from 1."""
    return path.with_name(f"{path.stem}-{number:06d}{path.suffix}")


def closed_numbers(path: Path) -> list[int]:
    """Return the numbers of an audit's full files, oldest first."""
    ends = len(path.stem), -len(path.suffix) or None
    return sorted(
        int(match[1])
        for file in path.parent.iterdir()
        if file.name.startswith(path.stem)
        and file.suffix == path.suffix
        and (match := _CLOSED.fullmatch(file.name[ends[0] : ends[1]]))
    )


def open_file(path: Path, number: int) -> BinaryIO:
    """Open one file of an audit for reading, also while a node renames it.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    closed = closed_path(path, number)
    try:
        return closed.open("rb")
    except FileNotFoundError:
        file = path.open("rb")
    if not closed.exists():
        return file
    file.close()  # it was renamed meanwhile, and what is open may be the next one
    return closed.open("rb")


def follow(
    file: BinaryIO, found: Scan, end: int | None = None, seals: SealCheck | None = None
) -> Iterator[tuple[bytes, Link]]:
    """Follow the chain through one file, in bounded memory; stop at its end or at the first problem.

    Args:
        file: Positioned at its beginning.
        found: What the files before gave; carried on.
        end: Bytes to look at; None is the whole file.
        seals: Checks seals; None leaves them unchecked.

    Yields:
        Each sound line with its newline.
    """
    found.line = found.size = 0
    while end is None or found.size < end:
        line = file.readline(MAX_LINE + 1)
        if not line:
            break
        if not line.endswith(b"\n"):
            if len(line) > MAX_LINE:
                found.problem = f"line {found.line + 1} is longer than {MAX_LINE} bytes"
            else:
                found.torn = len(line)
            return
        problem, link, digest = _broken(line[:-1], found)
        if link is not None and not problem and link.kind == SEAL:
            problem = _judge_seal(line, found, seals)
        if problem or link is None:
            found.problem = f"line {found.line + 1} {problem}"
            return
        found.entries += 1
        found.line += 1
        found.head = digest
        found.size += len(line)
        found.last_kind = link.kind
        yield line, link


class Walk:
    """A pass over the files of an audit; iterate over it, then look at `found`."""

    def __init__(
        self,
        path: Path,
        heads: Sequence[Head] = (),
        seals: SealCheck | None = None,
        *,
        numbers: Sequence[int] | None = None,
        begin: Scan | None = None,
        live_end: int | None = None,
    ) -> None:
        """Make a pass that is not begun.

        Args:
            path: The file that is being written.
            heads: Entries that must be in it.
            seals: Checks seals; None leaves them unchecked.
            numbers: The files to walk through; None is all of them.
            begin: What lies before the first of them; None is nothing.
            live_end: Bytes of the last of them to look at; None is all.
        """
        self.found = begin or Scan()
        self._path = path
        self._heads = heads
        self._seals = seals
        self._numbers = numbers
        self._live_end = live_end

    def __iter__(self) -> Iterator[tuple[bytes, Link]]:
        """Yield each sound line; ends at the first problem.

        Raises:
            OSError: A file cannot be read.
        """
        found = self.found
        closed = closed_numbers(self._path)
        numbers = self._numbers or [*closed, max(closed, default=0) + 1]
        for number in numbers:
            live = number == numbers[-1]
            try:
                file = open_file(self._path, number)
            except FileNotFoundError:
                if live and closed:
                    break  # killed between the rename and the first line of the next
                raise
            with file:
                yield from self._one(file, self._live_end if live else None)
            if not found.problem and found.torn and not live:
                found.problem = f"line {found.line + 1} is unfinished"
            if found.problem:
                if len(numbers) > 1:
                    name = self._path if live else closed_path(self._path, number)
                    found.problem = f"{name.name}: {found.problem}"
                return
        most = max((head.seq for head in self._heads), default=0)
        if found.entries < most:
            found.problem = (
                f"line {found.line + 1} is missing: {most} entries were acknowledged, "
                f"{found.entries} are there"
            )

    def finish(self) -> Scan:
        """Go to the end; return what was found."""
        for _ in self:
            pass
        return self.found

    def _one(self, file: BinaryIO, end: int | None) -> Iterator[tuple[bytes, Link]]:
        found = self.found
        awaited: dict[int, set[str]] = {}
        for head in self._heads:
            awaited.setdefault(head.seq, set()).add(head.hash)
        for line, link in follow(file, found, end, self._seals):
            if link.seq in awaited and awaited[link.seq] != {found.head}:
                found.problem = f"line {found.line} is not the entry that the head file names"
                return
            yield line, link


def report(found: Scan, head: Head | None, path: Path) -> AuditReport:
    """Put a scan into words; an unfinished last line is no damage, and is mentioned."""
    problem = found.problem
    if not problem and head is None and (found.entries or found.torn):
        problem = (
            f"{head_path(path).name} is missing: entries may have been cut off behind line {found.entries}"
        )
    ok = not problem
    if ok and found.torn:
        problem = (
            f"line {found.line + 1} is unfinished ({found.torn} bytes); it was never acknowledged, "
            "and the next start cuts it off"
        )
    return AuditReport(ok=ok, entries=found.entries, head=found.head, sealed=found.sealed, problem=problem)


def _judge_seal(line: bytes, before: Scan, seals: SealCheck | None) -> str:
    before.seals += 1
    before.last_seal = before.entries + 1
    if seals is None:
        return ""
    try:
        details = msgspec.json.decode(line, type=AuditEntry).details
    except (msgspec.MsgspecError, UnicodeError) as error:
        return f"is not an entry: {error}"
    problem = seals.problem(Head(before.entries, before.head), details)
    if not problem:
        before.sealed = before.entries
    return problem


def whole_link(line: bytes) -> tuple[Link | None, str]:
    """Check a line by itself, given without its newline.

    Returns:
        Its link and its hash; None and what is wrong when it is not as it was written.
    """
    stated = line[-_TAIL:-2]
    if line[-_TAIL - len(_HASH_FIELD) : -_TAIL] != _HASH_FIELD or not line.endswith(b'"}'):
        return None, "does not end with a hash"
    digest = sha256(line[:-_TAIL] + b'"}').hexdigest()
    if digest.encode() != stated:
        return None, "was changed: its hash does not fit"
    try:
        return _decode_link(line), digest
    except (msgspec.MsgspecError, UnicodeError) as error:
        return None, f"is not an entry: {error}"


def _broken(line: bytes, before: Scan) -> tuple[str, Link | None, str]:
    """Return what is wrong with a line (nothing when it is sound), its link and its hash."""
    link, digest = whole_link(line)
    if link is None:
        return digest, None, ""
    if link.previous != before.head:
        return "does not follow the line before it", link, ""
    if link.seq != before.entries + 1:
        return f"has number {link.seq}", link, ""
    return "", link, digest
