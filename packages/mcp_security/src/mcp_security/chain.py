"""The form of an audit file, and the check of one. Knows no kernel, no clock, no event loop.

One entry is one line: `AuditEntry` as JSON (fields in their declared order, keys of `details` sorted, UTF-8,
no spaces), `hash` last. The hash is the SHA-256 of the same line with an empty hash; it covers every other
byte, also the hash of the line before, so no bit can change and no line can go or come without the chain
breaking. That its *end* is not cut off is told by a small file beside it, `<name>.head`: sequence number and hash
of the last entry that was acknowledged, written after the entry is on disk.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import AuditReport

MAX_LINE: Final = 256 * 1024
"""Bytes of the longest line."""
HEAD_SIZE: Final = 20 + 1 + 64 + 1
_HASH_FIELD: Final = b',"hash":"'
_TAIL: Final = 64 + len(b'"}')
_HEAD: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")
_NOTHING: Final = "0" * 64

_encoder = msgspec.json.Encoder(order="deterministic")


class _Link(msgspec.Struct):
    """The two fields that hold the chain together; cheaper to read than the whole entry."""

    seq: int
    previous: str


class Head(msgspec.Struct, frozen=True):
    """The last acknowledged entry."""

    seq: int
    hash: str
    """Empty when there is none."""

    def encode(self) -> bytes:
        """Return the content of a head file; always of the same length, so that one write replaces it."""
        return f"{self.seq:020d} {self.hash or _NOTHING}\n".encode()


class Scan(msgspec.Struct, kw_only=True):
    """What was found in a file, up to the first problem."""

    entries: int = 0
    head: str = ""
    size: int = 0
    """Bytes of the whole lines."""
    torn: int = 0
    """Bytes behind the last whole line: a write that was never finished, nor acknowledged."""
    problem: str = ""


def seal(entry: AuditEntry) -> tuple[AuditEntry, bytes]:
    """Return an entry with its hash, and its line; the hash it comes with is not looked at."""
    body = _encoder.encode(msgspec.structs.replace(entry, hash=""))
    digest = sha256(body).hexdigest()
    return msgspec.structs.replace(entry, hash=digest), body[:-2] + digest.encode() + b'"}\n'


def read_head(path: Path) -> Head | None:
    """Read a head file; None when there is none.

    Raises:
        ValueError: It is not what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    match = _HEAD.fullmatch(content)
    if match is None:
        raise ValueError(f"{path.name} is damaged")
    digest = match[2].decode()
    return Head(int(match[1]), "" if digest == _NOTHING else digest)


def head_path(path: Path) -> Path:
    """Where the head of an audit file is kept: `audit.jsonl` has `audit.head`."""
    return path.with_suffix(".head")


def scan(file: BinaryIO, head: Head | None, end: int | None = None) -> Scan:
    """Follow the chain from the first line, in bounded memory.

    Args:
        file: Positioned at its beginning.
        head: The entry that must be in it; None does not look for one.
        end: Bytes to look at; None is the whole file.
    """
    found = Scan()
    while end is None or found.size < end:
        line = file.readline(MAX_LINE + 1)
        if not line:
            break
        if not line.endswith(b"\n"):
            if len(line) > MAX_LINE:
                found.problem = f"line {found.entries + 1} is longer than {MAX_LINE} bytes"
                return found
            found.torn = len(line)
            break
        problem, digest = _broken(line[:-1], found)
        if not problem and head is not None and head.seq == found.entries + 1 and digest != head.hash:
            problem = "is not the entry that the head file names"
        if problem:
            found.problem = f"line {found.entries + 1} {problem}"
            return found
        found.entries += 1
        found.head = digest
        found.size += len(line)
    if head is not None and found.entries < head.seq:
        found.problem = (
            f"line {found.entries + 1} is missing: the head file names {head.seq} entries, "
            f"{found.entries} are there"
        )
    return found


def verify(path: Path) -> AuditReport:
    """Check an audit file and its head file.

    Raises:
        OSError: The file cannot be read.
    """
    # the head first: it is written after the lines, so lines read later are never behind it
    try:
        head = read_head(head_path(path))
    except ValueError as error:
        return AuditReport(ok=False, entries=0, head="", problem=str(error))
    with path.open("rb") as file:
        return report(scan(file, head), head, path)


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
            f"line {found.entries + 1} is unfinished ({found.torn} bytes); it was never acknowledged, "
            "and the next start cuts it off"
        )
    return AuditReport(ok=ok, entries=found.entries, head=found.head, problem=problem)


def _broken(line: bytes, before: Scan) -> tuple[str, str]:
    """Return what is wrong with a line (nothing when it is sound), and its hash."""
    stated = line[-_TAIL:-2]
    if line[-_TAIL - len(_HASH_FIELD) : -_TAIL] != _HASH_FIELD or not line.endswith(b'"}'):
        return "does not end with a hash", ""
    digest = sha256(line[:-_TAIL] + b'"}').hexdigest()
    if digest.encode() != stated:
        return "was changed: its hash does not fit", ""
    try:
        link = msgspec.json.decode(line, type=_Link)
    except msgspec.MsgspecError as error:
        return f"is not an entry: {error}", ""
    if link.previous != before.head:
        return "does not follow the line before it", ""
    if link.seq != before.entries + 1:
        return f"has number {link.seq}", ""
    return "", digest
