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

from mcp_interface.codec import to_external
from mcp_interface.errors import InvalidRecord
from mcp_interface.tool import ToolInfo

WIDTH: Final = 100
"""Characters of one line of a diff; a long description is broken into lines, so that a change stands out."""
MAX_DIFF: Final = 200_000
"""Characters of one diff."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories without a shape of their own: controls, direction marks, zero-width, tags, surrogates, unassigned."""
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that look like nothing."""


def fingerprint(tool: ToolInfo) -> str:
    """Hash everything that a tool says of itself, hex; the order of keys does not count.

    Raises:
        InvalidRecord: The definition is not data; `unencodable`.
    """
    try:
        text = json.dumps(to_external(tool), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(
            "unencodable",
            f"the definition of {tool.server}/{tool.name} is not data: {error}",
            "report it to whoever makes the server",
        ) from error
    return sha256(text.encode()).hexdigest()


def difference(before: ToolInfo, now: ToolInfo) -> str:
    """Show what changed, as a unified diff in which nothing is invisible and nothing new looks like the old.

    Beyond ASCII, a side's characters that the other side does not have at all are spelled out: a new Cyrillic
    letter among Latin ones shows, the umlauts of a German description stay.
    """
    old, new = "\n".join(_lines(before)), "\n".join(_lines(now))
    lines = list(
        unified_diff(old.split("\n"), new.split("\n"), "as it was pinned", "as it is now", lineterm="", n=2)
    )
    shown = [*lines[:2], *(_shown(line, old, new) for line in lines[2:])]
    text = "\n".join(shown)
    if len(text) <= MAX_DIFF:
        return text
    return f"{text[:MAX_DIFF]}\n[cut: {len(text) - MAX_DIFF} more characters differ; nobody reads that, so do not accept it]"


def revealed(text: str) -> str:
    r"""Spell out every character that a person could not see, as `\u200b`; line ends too."""
    return "".join(_escaped(letter) if _is_hidden(letter) else letter for letter in text)


def _shown(line: str, old: str, new: str) -> str:
    other = {"+": old, "-": new}.get(line[:1], "")
    return line[:1] + "".join(
        _escaped(letter)
        if _is_hidden(letter) or (other and letter > "\x7f" and letter not in other)
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


def _lines(tool: ToolInfo) -> Iterator[str]:
    fields: dict[str, Any] = to_external(tool)
    description = fields.pop("description")
    for name, value in fields.items():
        yield from _field(name, value)
    # behind a bar, so that no line of it looks like another field; behind a plus what we broke ourselves
    yield "description:"
    for paragraph in description.split("\n"):
        first, *rest = textwrap.wrap(
            paragraph, WIDTH, drop_whitespace=False, replace_whitespace=False, expand_tabs=False
        ) or [""]
        yield f"  | {first}"
        yield from (f"  + {line}" for line in rest)


def _field(name: str, value: Any) -> Iterator[str]:
    # sorted: a server that lists its keys in another order has changed nothing
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    first, *rest = text.split("\n")
    yield f"{name}: {first}"
    yield from rest
