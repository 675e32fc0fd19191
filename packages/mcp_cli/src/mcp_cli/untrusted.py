"""Text that others wrote, made harmless for a terminal.

Tool output, model output, names and error messages may hold escape sequences that move the cursor, rewrite
the title or fake an approval. Everything shown passes through here; nothing shown is ever read as markup.
"""

import re
from typing import Any, Final

import msgspec

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
TAB: Final = "    "


def printable(text: str) -> str:
    """Return the text without escape sequences, control characters and direction overrides.

    Newlines stay, tabs become spaces, lone surrogates become the replacement character.
    """
    text = text.replace("\r\n", "\n").replace("\t", TAB)
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, width: int = 0) -> str:
    """Return printable text on one line, cut with an ellipsis to `width` characters (zero: not cut)."""
    line = " ".join(printable(text).split())
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def readable_json(value: Any) -> str:
    """Return JSON for a person: indented, printable; what JSON cannot hold is shown as text."""
    data = msgspec.json.encode(value, enc_hook=str)
    return printable(msgspec.json.format(data, indent=2).decode("utf-8", "replace"))


def readable_arguments(arguments: dict[str, Any]) -> str:
    """Return arguments one per line; a text of several lines stands below its name, behind a bar.

    The bar keeps a text from looking like another argument.
    """
    lines = []
    for name, value in arguments.items():
        if isinstance(value, str) and "\n" in value.rstrip("\n"):
            lines.append(f"{one_line(name)}:")
            lines += [f"  │ {line}" for line in printable(value).rstrip("\n").split("\n")]
        elif isinstance(value, str):
            lines.append(f"{one_line(name)}: {one_line(value)}")
        else:
            lines.append(f"{one_line(name)}: {compact_json(value)}")
    return "\n".join(lines) or "(no arguments)"


def compact_json(value: Any, width: int = 0) -> str:
    """Return JSON on one line, cut to `width` characters (zero: not cut)."""
    data = msgspec.json.encode(value, enc_hook=str)
    return one_line(data.decode("utf-8", "replace"), width)
