"""What a call of `fs` would change, for the eyes of a person who is asked about it.

Seen is only what that person may read by rights of their own, judged anew and never counted as a use: a right that
counts its uses shows nothing here. No link is followed, not even one that the right would allow: what a link leads
to is not what is written or deleted. In any doubt there is no preview; it is a help, and the question stands without.
"""

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mcp_core.tools.filesystem.comparing import unified
from mcp_core.tools.filesystem.content import MAX_READ, is_binary, read_up_to, require_within
from mcp_core.tools.filesystem.gate import FileGate
from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.errors import NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.tool import Preview

MAX_LINES: Final = 200
MAX_CHARACTERS: Final = 32 * 1024
"""Of a diff as a whole: it is journaled with the question."""
LONGEST_LINE: Final = 400
_COUNTED: Final = frozenset({"max_uses", "rate_limit"})
"""Limits of rights that a look would have to be counted by."""

Sees = Callable[[PrincipalId, Need], Verdict]
"""Judges what somebody may, by all that they hold, without recording it."""


class Seen(msgspec.Struct, frozen=True):
    """A file as it was a moment ago."""

    exists: bool
    size: int = 0
    text: str | None = None
    """None when it is not shown: binary, or too large."""


def may_look(sees: Sees, person: PrincipalId, path: str, args: dict[str, Any]) -> Verdict | None:
    """The allow of somebody's own right to read a file; None when they may not, or not without it being counted."""
    verdict = sees(person, Need(resource("fs", "read", path), Facts(arguments=args, size=0)))
    return verdict if verdict.allowed and not _COUNTED & verdict.limits.keys() else None


def look(gate: FileGate, allow: Verdict, path: str) -> Seen:
    """Read a file by a right of `may_look`.

    Raises:
        UmbrellaError: As the gate, or a limit of the right was exceeded.
        OSError: The disk failed.
    """
    try:
        # by the very path and not by the pattern of the right: so the gate follows no link on the way
        file = gate.open_file(resource("fs", "read", path).uri, path)
    except NotFound:
        return Seen(False)
    try:
        data = read_up_to(file, MAX_READ + 1)
        size = max(os.fstat(file).st_size, len(data))
    finally:
        os.close(file)
    require_within(allow.limits, path, size=size, taken=len(data))
    return Seen(True, size, None if len(data) > MAX_READ else as_text(data))


def as_text(data: bytes) -> str | None:
    """The text that these bytes are; None when they are none."""
    if is_binary(data):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def changes(path: str, before: Seen, after: bytes) -> Preview:
    """What writing these bytes would do to a file."""
    if not before.exists:
        return Preview(summary=f"makes a new file {path} of {len(after)} bytes")
    sizes = f"{before.size} to {len(after)} bytes"
    text = as_text(after)
    if before.text is None or text is None:
        return Preview(summary=f"replaces {path}, which is not compared: binary or too large; {sizes}")
    if before.text == text:
        return Preview(summary=f"leaves {path} as it is")
    return _compared(f"changes {path}", before.text, text, sizes)


def removal(path: str, before: Seen) -> Preview:
    """What deleting a file would take away."""
    if not before.exists:
        return Preview(summary=f"finds nothing to delete at {path}")
    if not before.text:
        kind = "empty" if before.text == "" else "binary or too large to show"
        return Preview(summary=f"deletes {path}, {before.size} bytes, {kind}")
    return _compared(f"deletes {path}", before.text, "", f"{before.size} bytes")


def _compared(what: str, old: str, new: str, sizes: str) -> Preview:
    shown: list[str] = []
    room, cut, added, removed = MAX_CHARACTERS, 0, 0, 0
    for line in unified(_lines(old), _lines(new)):
        added += line.startswith("+")
        removed += line.startswith("-")
        for part in _marked(line):
            room -= len(part) + 1
            if cut or room < 0 or len(shown) >= MAX_LINES:
                cut += 1
            else:
                shown.append(part)
    return Preview(
        summary=f"{what}: {added} lines added, {removed} removed; {sizes}", diff="\n".join(shown), cut=cut
    )


def _lines(text: str) -> list[str]:
    """Cut at newlines alone: other signs that end a line somewhere else stay in it, and are seen."""
    lines = text.split("\n")
    ended = [f"{line}\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended


def _marked(line: str) -> list[str]:
    """A line without its newline, which is told where it is missing; a very long one is cut, and says so."""
    if line.startswith("@@"):
        return [line]
    body = line.removesuffix("\n")
    missing = [] if body != line else ["\\ no newline at the end"]
    if len(body) > LONGEST_LINE:
        body = f"{body[:LONGEST_LINE]}… and {len(body) - LONGEST_LINE} more characters"
    return [body, *missing]
