"""What a look at the runtime says, line by line. Pure: two looks in, lines out; no screen, no node."""

from typing import Final, Literal, get_args

import msgspec

from mcp_cli.naming import short
from mcp_cli.presenters import span
from mcp_cli.sheet import Cell, Sheet, Tone, row
from mcp_cli.untrusted import one_line
from mcp_interface.observe import ActorOrder, ActorState, ActorStatus, Blockage, Branch, RuntimeStatus

Sort = Literal["mail", "rate", "restarts", "name"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
ASKED: Final[dict[Sort, ActorOrder]] = {
    "mail": "mail",
    "rate": "handled",
    "restarts": "restarts",
    "name": "name",
}
"""The order that the node is asked for: it knows no rates, and of very many actors shows the busiest so far."""
STATES: Final[dict[ActorState, Tone]] = {
    "idle": "dim",
    "ready": "plain",
    "busy": "ok",
    "waiting": "accent",
    "down": "bad",
    "asleep": "dim",
    "ended": "dim",
}
WATCHED: Final = "◉"
"""Before an actor whose messages are being recorded."""
RECENT_S: Final = 30.0
"""Seconds for which a handler is told of that kept the event loop."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the tree: a supervisor, or an actor below it."""

    key: str
    """The same in every look."""
    depth: int
    branch: Branch | None = None
    actor: ActorStatus | None = None
    rate: float | None = None
    """Messages a second since the look before; None without one."""


def tree(now: RuntimeStatus, before: RuntimeStatus | None = None, sort: Sort = "mail") -> list[Line]:
    """The tree from top to bottom: each supervisor, its actors in this order, then the supervisors below it."""
    counts = {} if before is None else _counts(before.tree, "")
    seconds = 0.0 if before is None else now.uptime_s - before.uptime_s
    found: list[Line] = []

    def walk(branch: Branch, path: str, depth: int) -> None:
        place = f"{path}/{branch.name}"
        found.append(Line(key=place, depth=depth, branch=branch))
        lines = [
            Line(key=key, depth=depth + 1, actor=actor, rate=_rate(actor.handled, counts.get(key), seconds))
            for actor in branch.actors
            for key in [f"{place}/{actor.name}"]
        ]
        found.extend(sorted(lines, key=lambda line: _place(line, sort)))
        for below in branch.branches:
            walk(below, place, depth + 1)

    walk(now.tree, "", 0)
    return found


def _counts(branch: Branch, path: str) -> dict[str, int]:
    place = f"{path}/{branch.name}"
    counts = {f"{place}/{actor.name}": actor.handled for actor in branch.actors}
    for below in branch.branches:
        counts |= _counts(below, place)
    return counts


def _rate(handled: int, before: int | None, seconds: float) -> float | None:
    # an actor of the same name that began anew counts from zero again
    return None if before is None or seconds <= 0 else max(0, handled - before) / seconds


def _place(line: Line, sort: Sort) -> tuple[float, str]:
    assert line.actor is not None  # only actors are sorted
    first = {"mail": line.actor.mail, "rate": line.rate or 0.0, "restarts": line.actor.restarts, "name": 0}
    return -first[sort], line.actor.name


# -- words ---------------------------------------------------------------------------------------------------


def title(line: Line) -> str:
    """What a line is called: a supervisor with its strategy, or who an actor is and its short id."""
    if line.branch is not None:
        branch = line.branch
        shown = len(branch.actors)
        count = f"{branch.total}" if shown == branch.total else f"{shown} of {branch.total}"
        failed = f", failed {branch.failures} times" if branch.failures else ""
        return f"{one_line(branch.name)} ({branch.strategy}, {count}{failed})"
    assert line.actor is not None  # a line is one or the other
    kind, _, rest = line.actor.name.rpartition(":")
    name = short(rest) if kind in {"", "session"} else line.actor.name
    mark = WATCHED if line.actor.watched else ""
    return " ".join(filter(None, [mark, one_line(line.actor.about, 40), one_line(name)]))


def figure(count: float) -> str:
    """A number in five characters at most: `12`, `3.4`, `12.0k`, `1.2M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"


def cells(line: Line) -> tuple[Cell, ...]:
    """State, mail, messages a second, restarts and memory of a line; empty for a supervisor."""
    actor = line.actor
    if actor is None:
        return (Cell(""),) * 6
    kind = one_line(actor.type, 14)
    return row(
        Cell(kind if actor.kind == "loop" else f"{kind}*", "dim"),
        Cell(actor.state, STATES[actor.state]),
        Cell(figure(actor.mail), "warn" if actor.mail else "dim"),
        Cell("" if line.rate is None else figure(line.rate), "ok" if line.rate else "dim"),
        Cell(str(actor.restarts), "warn" if actor.restarts else "dim"),
        Cell("" if actor.memory is None else figure(actor.memory), "dim"),
    )


def remark(line: Line) -> str:
    """What else there is to say of an actor: whom it waits for."""
    waits = [] if line.actor is None else [one_line(short(name), 30) for name in line.actor.waits_for]
    return f"waits for {', '.join(waits)}" if waits else ""


def head(now: RuntimeStatus) -> list[tuple[str, Tone]]:
    """The runtime in a few facts."""
    letters = now.dead_letters
    return [
        (f"{now.actors:,} actor{'' if now.actors == 1 else 's'}", "strong"),
        (f"{now.suspended:,} suspended", "plain"),
        (f"{now.memory / 2**20:,.0f} MiB", "plain"),
        (f"worst block {span(now.worst_block_s)}", "warn" if now.worst_block_s else "plain"),
        (f"{letters:,} dead letter{'' if letters == 1 else 's'}", "warn" if letters else "plain"),
        (f"up {span(now.uptime_s)}", "dim"),
    ]


def trouble(now: RuntimeStatus) -> str:
    """What keeps the event loop, or has kept it a moment ago; empty when nothing does."""
    if now.blocked is not None:
        return f"blocked for {span(now.blocked.duration_s)} by {_culprit(now.blocked)}"
    if now.blocks and now.blocks[-1].ago_s < RECENT_S:
        last = now.blocks[-1]
        return f"was blocked for {span(last.duration_s)}, {span(last.ago_s)} ago, by {_culprit(last)}"
    return ""


def _culprit(blockage: Blockage) -> str:
    who = one_line(short(blockage.actor)) or "code outside the actors"
    return f"{who} at {one_line(blockage.where)}"


def sheet(now: RuntimeStatus, before: RuntimeStatus | None = None, sort: Sort = "mail") -> Sheet:
    """The tree as a table for paper: everything that the screen shows."""
    rows = [
        row(
            Cell("  " * line.depth + title(line), "strong" if line.branch is not None else "plain"),
            *cells(line),
            Cell(remark(line), "dim"),
        )
        for line in tree(now, before, sort)
    ]
    told = trouble(now)
    return Sheet(
        columns=("actor", "type", "state", "#mail", "#msg/s", "#restarts", "#bytes", ""),
        rows=rows,
        title=" · ".join(text for text, _ in head(now)),
        note=told,
    )
