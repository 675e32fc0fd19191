"""Content of files: read up to a bound, within the limits of a right, as text, and compared."""

import codecs
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from mcp_core.tools.filesystem.comparing import unified
from mcp_core.tools.filesystem.gate import EntryLike
from mcp_interface.errors import CallerMistaken, NotPermitted

MAX_READ: Final = 1024 * 1024
MAX_WRITE: Final = 4 * 1024 * 1024
MAX_DIFF_LINES: Final = 200
MAX_COMPARED_LINES: Final = 5_000
_LONGEST_LINE: Final = 400
_SNIFFED: Final = 8_192
_CHUNK: Final = 64 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_up_to(file: int, limit: int) -> bytes:
    """Read from where the descriptor stands, at most so many bytes."""
    parts = []
    while limit > 0 and (part := os.read(file, min(limit, _CHUNK))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def require_within(limits: Mapping[str, Any], path: str, *, size: int, taken: int) -> None:
    """Keep the limits of a right to read: `max_file_size` is of the file, `max_bytes` of what is taken of it.

    Raises:
        NotPermitted: The file, or the part of it, is too large.
    """
    for key, found, remedy in (
        ("max_file_size", size, "ask for a right to larger files"),
        ("max_bytes", taken, "read less of it, or ask for a right to more bytes"),
    ):
        most = limits.get(key)
        if most is not None and found > most:
            raise NotPermitted(
                f"{path}: {found} bytes exceed {key} {most} of the right to read it",
                remedy,
                {"reason": "constraint_violated", "constraint": key},
            )


def is_binary(data: bytes) -> bool:
    """Whether it does not look like text."""
    return b"\0" in data[:_SNIFFED]


def decode(data: bytes, *, whole: bool) -> tuple[str, bool]:
    """Text, and whether bytes had to be replaced; a character cut in two at the end is left out."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, whole), False
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), True


def encode(text: str, argument: str) -> bytes:
    """Write text as UTF-8.

    Raises:
        CallerMistaken: It cannot be.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CallerMistaken(
            f"argument {argument!r} holds half a surrogate pair", "send valid Unicode"
        ) from error


def diff(before: bytes | None, after: bytes) -> str:
    """What changed, in unified form, at most 200 lines; empty when nothing did. None is "not known"."""
    if before is None or is_binary(before) or is_binary(after):
        return "[not compared: too long, or binary]"
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
    if max(len(old), len(new)) > MAX_COMPARED_LINES:
        return f"[not compared: more than {MAX_COMPARED_LINES} lines]"
    shown: list[str] = []
    for number, line in enumerate(unified(old, new)):
        if number >= MAX_DIFF_LINES:
            shown.append(f"[cut after {MAX_DIFF_LINES} lines]")
            break
        shown.append(line[:_LONGEST_LINE])
    if not shown and before != after:
        return "[only line ends differ]"
    return "\n".join(["--- before", "+++ after", *shown]) if shown else ""


def entry_line(entry: EntryLike) -> str:
    """One line about one name; directories end with a slash, control characters are replaced."""
    name = printable(entry.name)
    if entry.kind == "directory":
        return f"{name}/"
    return f"{name}  {entry.size}" if entry.kind == "file" else f"{name}  ({entry.kind})"


def printable(name: str) -> str:
    """Keep a name from pretending to be several lines, or from steering a terminal."""
    return _CONTROL.sub("\ufffd", name)
