"""What a call would change, as lines that say what they are: for a card, a list of facts, or plain text. Pure.

The lines of a diff were written by whoever wrote the file or the call: each is shown with nothing invisible in it.
"""

import re
from collections.abc import Sequence
from typing import Final

from mcp_cli.sheet import Cell, Tone
from mcp_cli.untrusted import one_line, revealed
from mcp_interface.tool import Preview

FOLDED: Final = 14
"""Lines of a diff that are shown until somebody wants to see all of them."""
_TONES: Final[dict[str, Tone]] = {"+": "ok", "-": "bad"}
_HUNK: Final = re.compile(r"@@ -\d+,\d+ \+\d+,\d+ @@")


def preview_lines(preview: Preview, most: int | None = None) -> list[Cell]:
    """The summary, then the diff; what is left out is counted.

    Args:
        preview: As a tool made it.
        most: Lines of the diff that are shown; None: all there are.
    """
    lines = diff_lines(preview.diff)
    hidden = 0 if most is None or len(lines) <= most else len(lines) - most
    shown = lines[: len(lines) - hidden]
    cells = [Cell(one_line(revealed(preview.summary)), "strong"), *shown]
    if hidden:
        cells.append(Cell(f"… {hidden + preview.cut} more lines", "dim"))
    elif preview.cut:
        cells.append(Cell(f"… {preview.cut} more lines, which are not kept", "warn"))
    return cells


def diff_lines(diff: str) -> list[Cell]:
    """Each line of a unified diff with the tone of what becomes of it."""
    return [Cell(revealed(line), _tone(line)) for line in diff.split("\n")] if diff else []


def _tone(line: str) -> Tone:
    if _HUNK.fullmatch(line):
        return "accent"
    return _TONES.get(line[:1], "dim")


def as_text(lines: Sequence[Cell], indent: str = "") -> str:
    """The same without colours: the sign at the beginning of a line says it, too."""
    return "\n".join(f"{indent}{line.text}" for line in lines)
