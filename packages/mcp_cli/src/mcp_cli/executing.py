"""What tool calls look like as things of their own: in a list, one with all that is known, just started. Pure."""

from datetime import datetime
from typing import Final

from mcp_cli.naming import short
from mcp_cli.presenters import ago, more, outcome, span
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, Tone, facts, row
from mcp_cli.untrusted import one_line, printable
from mcp_interface.commands import Page
from mcp_interface.execution import Execution, RunStatus

TONES: Final[dict[RunStatus, Tone]] = {
    "PENDING": "dim",
    "RUNNING": "accent",
    "SUCCESS": "ok",
    "FAILED": "bad",
    "CANCELLED": "warn",
    "TIMEOUT": "bad",
    "INTERRUPTED": "warn",
}


class Watched:
    """What somebody who watches a call was told last: only what is new is told. Reads no clock."""

    def __init__(self) -> None:
        self._told = ""

    def line(self, found: Execution) -> str:
        """How it is doing, when that is news; else nothing."""
        parts = [state(found).text, _share(found), one_line(found.message, 200)]
        return self._news(", ".join(filter(None, parts)))

    def away(self) -> str:
        """That the node is away, once."""
        return self._news("the node is away; waiting for it")

    def _news(self, text: str) -> str:
        if text == self._told:
            return ""
        self._told = text
        return text


def state(found: Execution) -> Cell:
    """Its status, and whether it waits for an answer."""
    if found.questions:
        return Cell("waits for your answer", "warn")
    return Cell(found.status.lower(), TONES[found.status])


def started(execution: Execution) -> Prose:
    """The id alone, so that a script can take it from standard output."""
    return Prose(execution.id)


def executions(page: Page[Execution], now: datetime) -> Sheet:
    """List tool calls."""
    rows = [
        row(
            Cell(short(each.id), "accent"),
            Cell(one_line(f"{each.server}.{each.tool}", 40), "strong"),
            state(each),
            _share(each),
            _took(each, now),
            Cell(short(each.principal_id), "dim"),
            Cell(short(each.session_id), "dim"),
            Cell(ago(each.accepted_at, now), "dim"),
        )
        for each in page.items
    ]
    return Sheet(
        columns=("execution", "tool", "status", "#done", "#took", "by", "session", "asked for"),
        rows=rows,
        empty="no tool calls; make one: umbrella call SERVER TOOL --json ARGS",
        note=more(page),
    )


def execution(found: Execution, now: datetime) -> Facts:
    """One tool call with its result."""
    error = found.error
    return facts(
        ("execution", found.id),
        ("tool", Cell(printable(f"{found.server}.{found.tool}"), "strong")),
        ("status", state(found)),
        ("waits for", "\n".join(f"umbrella questions answer {short(each)}" for each in found.questions)),
        ("done", _share(found)),
        ("says", one_line(found.message, 200)),
        ("took", _took(found, now)),
        ("by", found.principal_id),
        ("session", found.session_id),
        ("asked for", f"{found.accepted_at:%Y-%m-%d %H:%M:%S} UTC ({ago(found.accepted_at, now)})"),
        ("problem", Cell(printable(error.message), "bad") if error is not None else ""),
        ("remedy", printable(error.remedy) if error is not None else ""),
        ("result", outcome(found.result).text if found.result is not None else ""),
    )


def _share(found: Execution) -> str:
    return f"{found.progress:.0f} %" if found.progress else ""


def _took(found: Execution, now: datetime) -> str:
    if found.started_at is None:
        return ""
    return span(max(0.0, ((found.ended_at or now) - found.started_at).total_seconds()))
