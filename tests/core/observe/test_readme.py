"""The README lists every telemetry event as the table has it."""

from pathlib import Path

import mcp_core
from mcp_interface.telemetry import TABLE

README = Path(mcp_core.__file__).parents[2] / "README.md"
HEAD = ["| Event | Measures | Grouped by | Also says |", "|---|---|---|---|"]


def cell(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def test_the_readme_lists_the_telemetry_events() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    rows = [
        f"| `{name}` | {cell(row.measurements)} | {cell(row.labels)} | {cell(row.details)} |"
        for name, row in TABLE.items()
    ]
    start = lines.index(HEAD[0])
    assert lines[start : start + len(rows) + 3] == [*HEAD, *rows, ""], "\n".join([*HEAD, *rows])
