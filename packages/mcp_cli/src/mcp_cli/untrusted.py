"""Text that others wrote, made harmless for a terminal.

Tool output, model output, names and error messages may hold escape sequences that move the cursor, rewrite
the title or fake an approval. Everything shown passes through here; nothing shown is ever read as markup.
"""

import re
import unicodedata
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
_SHAPELESS: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK: Final = frozenset("\u00a0\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
TAB: Final = "    "


def printable(text: str) -> str:
    """Return the text without escape sequences, control characters and direction overrides.

    Newlines stay, tabs become spaces, lone surrogates become the replacement character.
    """
    text = text.replace("\r\n", "\n").replace("\t", TAB)
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return _SURROGATES.sub("\ufffd", text)


def revealed(text: str) -> str:
    r"""Return the text with everything that a screen would not show spelled out, such as `\u200b`.

    For what a person answers for. Newlines stay, tabs become spaces.
    """
    text = text.replace("\r\n", "\n").replace("\t", TAB)
    return "".join(
        letter if letter == "\n" or not _is_hidden(letter) else _escaped(letter) for letter in text
    )


def _is_hidden(letter: str) -> bool:
    if " " <= letter <= "~":
        return False
    selector = "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"
    return unicodedata.category(letter) in _SHAPELESS or letter in _BLANK or selector


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


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

    The bar keeps a text from looking like another argument. Nothing in them is invisible.
    """
    lines = []
    for name, value in arguments.items():
        label = one_line(revealed(name))
        if isinstance(value, str) and "\n" in value.rstrip("\n"):
            lines.append(f"{label}:")
            lines += [f"  │ {line}" for line in revealed(value).rstrip("\n").split("\n")]
        elif isinstance(value, str):
            lines.append(f"{label}: {one_line(revealed(value))}")
        else:
            lines.append(f"{label}: {compact_json(value)}")
    return "\n".join(lines) or "(no arguments)"


def compact_json(value: Any, width: int = 0) -> str:
    """Return JSON on one line, nothing in it invisible, cut to `width` characters (zero: not cut)."""
    data = msgspec.json.encode(value, enc_hook=str)
    return one_line(revealed(data.decode("utf-8", "replace")), width)
