"""What a tool says of itself, so that a change of it is seen: a hash, and a diff that hides nothing. Pure.

A server may change a tool after somebody has allowed it, and may write its description for a model instead of
for a person: with characters that no screen shows, that run backwards, or that look like others. So everything
that a model would read counts, and whatever a person could not see is spelled out.
"""

import json
import textwrap
import unicodedata
from collections.abc import Iterator
from difflib import unified_diff
from hashlib import sha256
from typing import Any, Final

from mcp_core.protocol.definition import canonical
from mcp_interface.codec import to_external
from mcp_interface.tool import ToolInfo

MAX_TEXT: Final = 1_000_000
"""Characters of one side of a diff; a schema may be nested so that it is far longer in lines than on the wire."""
MAX_MATCHED: Final = 500
"""Lines of a side, beyond what both begin and end with, up to which lines are matched: that takes cubic time."""
WIDTH: Final = 100
"""Characters of one line of a diff; a long description is broken into lines, so that a change stands out."""
MAX_DIFF: Final = 200_000
"""Characters of one diff."""

_AROUND: Final = 2
"""Lines shown before and after a change."""
_HEADER: Final = ("--- as it was pinned", "+++ as it is now")
# sorted: a server that lists its keys in another order has changed nothing
_JSON: Final = json.JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories without a shape of their own: controls, direction marks, zero-width, tags, surrogates, unassigned."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that look like nothing."""


def fingerprint(tool: ToolInfo) -> str:
    """Hash everything that a tool says of itself, hex; the order of keys does not count.

    Raises:
        InvalidRecord: The definition is not data; `unencodable`.
    """
    return sha256(canonical(tool).encode()).hexdigest()


def difference(before: ToolInfo, now: ToolInfo) -> str:
    """Show what changed, as a unified diff in which nothing is invisible and nothing new looks like the old.

    Beyond ASCII, a side's characters that the other side does not have at all are spelled out: a new Cyrillic
    letter among Latin ones shows, the umlauts of a German description stay.
    """
    old, new = _text(before), _text(now)
    if old == new:
        return ""
    others = {"+": frozenset(old), "-": frozenset(new)}
    compared = _compared(old.split("\n"), new.split("\n"))
    text = "\n".join([*_HEADER, *(_shown(line, others.get(line[:1])) for line in compared)])
    if len(text) <= MAX_DIFF:
        return text
    return f"{text[:MAX_DIFF]}\n[cut: {len(text) - MAX_DIFF} more characters differ; nobody reads that, so do not accept it]"


def revealed(text: str) -> str:
    r"""Spell out every character that a person could not see, as `\u200b`; line ends too."""
    return "".join(_escaped(letter) if _is_hidden(letter) else letter for letter in text)


def _compared(old: list[str], new: list[str]) -> list[str]:
    """The hunks of a diff; beyond what can be matched, everything between the same ends counts as replaced."""
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(gone), len(come)) <= MAX_MATCHED:
        # with what surrounds it only: equal ends need no matching, however long they are
        first, last = max(0, head - _AROUND), max(0, tail - _AROUND)
        hunks = unified_diff(
            old[first : len(old) - last], new[first : len(new) - last], lineterm="", n=_AROUND
        )
        # without numbers: nobody has the lines that they would count
        return ["@@" if line.startswith("@@") else line for line in list(hunks)[2:]]
    return ["@@", *(f"-{line}" for line in gone), *(f"+{line}" for line in come)]


def _shown(line: str, other: frozenset[str] | None) -> str:
    return line[:1] + "".join(
        _escaped(letter)
        if _is_hidden(letter) or (other is not None and letter > "\x7f" and letter not in other)
        else letter
        for letter in line[1:]
    )


def _is_hidden(letter: str) -> bool:
    if " " <= letter <= "~":
        return False
    kind = unicodedata.category(letter)
    selector = "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"
    return kind in _HIDDEN or letter in _BLANK or selector or (kind == "Zs" and letter != " ")


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _text(tool: ToolInfo) -> str:
    """The lines of a definition; one that is too long ends in its hash, so that what was cut off counts too."""
    pieces: list[str] = []
    left = MAX_TEXT
    for piece in _pieces(tool):
        pieces.append(piece[:left])
        left -= len(piece)
        if left < 0:
            return f"{''.join(pieces)}\n[cut: all of it has the fingerprint {fingerprint(tool)}]"
    return "".join(pieces)


def _pieces(tool: ToolInfo) -> Iterator[str]:
    fields: dict[str, Any] = to_external(tool)
    description = fields.pop("description")
    for name, value in fields.items():
        yield f"{name}: "
        yield from _JSON.iterencode(value)
        yield "\n"
    # behind a bar, so that no line of it looks like another field; behind a plus what we broke ourselves
    yield "description:"
    for paragraph in description.split("\n"):
        first, *rest = textwrap.wrap(
            paragraph, WIDTH, drop_whitespace=False, replace_whitespace=False, expand_tabs=False
        ) or [""]
        yield f"\n  | {first}"
        yield from (f"\n  + {line}" for line in rest)
