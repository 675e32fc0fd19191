"""What agents at work look like: tasks in a list, one with its result, and the tree of who works for whom. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from mcp_cli.naming import short
from mcp_cli.presenters import ago, more, span, toned
from mcp_cli.sheet import Cell, Facts, Sheet, Tone, facts, row
from mcp_cli.untrusted import one_line, printable
from mcp_interface.agent import AgentRecord
from mcp_interface.commands import Page
from mcp_interface.task import Task, TaskStatus

TONES: Final[dict[TaskStatus, Tone]] = {
    "queued": "dim",
    "running": "accent",
    "completed": "ok",
    "failed": "bad",
    "cancelled": "warn",
}


def status(task: Task) -> Cell:
    """How a task is, in its tone."""
    return Cell(task.status, TONES[task.status])


def tasks(page: Page[Task], now: datetime) -> Sheet:
    """List tasks."""
    rows = [
        row(
            Cell(short(task.id), "accent"),
            Cell(one_line(task.name or task.goal, 40), "strong"),
            status(task),
            _took(task, now),
            Cell(short(task.by), "dim"),
            Cell(short(task.agent_id) if task.agent_id else "", "dim"),
            Cell(ago(task.given_at, now), "dim"),
        )
        for task in page.items
    ]
    return Sheet(
        columns=("task", "about", "status", "#took", "by", "agent", "given"),
        rows=rows,
        empty="no tasks; give one: umbrella task give GOAL",
        note=more(page),
    )


def task(found: Task, now: datetime) -> Facts:
    """One task with its result."""
    error = found.error
    return facts(
        ("task", Cell(found.id, "accent")),
        ("name", Cell(printable(found.name), "strong")),
        ("status", status(found)),
        ("goal", printable(found.goal)),
        ("took", _took(found, now)),
        ("by", found.by),
        ("agent", found.agent_id or ""),
        ("given in", found.session_id),
        ("worked on in", found.child_id or ""),
        ("result", printable(found.result)),
        ("why", Cell(printable(f"{error.message}. {error.remedy}".rstrip()) if error else "", "bad")),
        note=""
        if found.child_id is None
        else f"all that was said: umbrella sessions show {short(found.child_id)}",
    )


def tree(page: Page[AgentRecord], given: Sequence[Task], now: datetime) -> Sheet:
    """List agents, each below the one that it works for, with what it works on."""
    work = {each.agent_id: each for each in given if each.agent_id is not None}
    rows = [
        row(
            Cell(f"{_branch(depth)}{short(agent.id)}", "accent"),
            Cell(one_line(agent.name, 30), "strong"),
            agent.type,
            toned(agent.state),
            str(len(agent.capabilities)),
            Cell(_about(work.get(agent.id)), "plain"),
            Cell(short(agent.session_id) if agent.session_id else "", "dim"),
            Cell(ago(agent.started_at, now), "dim"),
        )
        for depth, agent in descent(page.items)
    ]
    return Sheet(
        columns=("agent", "name", "type", "state", "#rights", "task", "session", "started"),
        rows=rows,
        empty="no agents; start one: umbrella agent spawn NAME",
        note=more(page),
    )


def descent(agents: Iterable[AgentRecord]) -> Iterator[tuple[int, AgentRecord]]:
    """Each agent with how far below the first of its line it is, right behind what it works for.

    One whose parent is not among them is the first of its line.
    """
    listed = list(agents)
    known = {agent.id for agent in listed}
    below: dict[str, list[AgentRecord]] = {}
    for agent in listed:
        above = agent.parent_id if agent.parent_id in known and agent.parent_id != agent.id else None
        below.setdefault(above or "", []).append(agent)
    left = [(0, agent) for agent in reversed(below.get("", []))]
    while left:
        depth, agent = left.pop()
        yield depth, agent
        left += [(depth + 1, each) for each in reversed(below.get(agent.id, []))]


def _branch(depth: int) -> str:
    return "  " * (depth - 1) + "└ " if depth else ""


def _about(task: Task | None) -> str:
    return "" if task is None else f"{task.status}: {one_line(task.name or task.goal, 40)}"


def _took(task: Task, now: datetime) -> str:
    if task.started_at is None:
        return ""
    return span(((task.ended_at or now) - task.started_at).total_seconds())
