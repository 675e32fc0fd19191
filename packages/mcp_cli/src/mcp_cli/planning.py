"""What plans look like: in a list, one with all its steps, and what a dry run found. Pure.

Who approves a plan has to see what it does: nothing of a step is hidden, and what a screen would not show is
spelled out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from mcp_cli.naming import short
from mcp_cli.presenters import ago, more
from mcp_cli.sheet import Cell, Facts, Sheet, Tone, facts, row
from mcp_cli.untrusted import compact_json, one_line, readable_arguments, revealed
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.plan import (
    PLAN_ENDED,
    CheckpointStep,
    CommandStep,
    ConditionalStep,
    DryStep,
    MessageStep,
    Plan,
    PlanStatus,
    PlanStep,
    Risk,
    StepStatus,
    Work,
)
from mcp_interface.planning import Step

PLAN_TONES: Final[dict[PlanStatus, Tone]] = {
    "draft": "plain",
    "approved": "accent",
    "executing": "accent",
    "completed": "ok",
    "failed": "bad",
    "cancelled": "warn",
}
RISK_TONES: Final[dict[Risk, Tone]] = {"safe": "ok", "moderate": "warn", "dangerous": "bad"}
MARKS: Final[dict[StepStatus, str]] = {
    "pending": " ",
    "running": ">",
    "completed": "x",
    "failed": "!",
    "skipped": "-",
}
"""In brackets before each step; letters, so that they are read out and shown everywhere."""
MAX_FILE: Final = 1_000_000
"""Characters of a file that holds a plan."""


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan as somebody writes it."""

    title: str
    steps: list[Step]


def read_plan(text: str) -> PlanFile:
    """Read a plan that somebody wrote as JSON.

    Raises:
        CallerMistaken: It is none; says where.
    """
    if len(text) > MAX_FILE:
        raise CallerMistaken(f"the plan has more than {MAX_FILE} characters", "keep long texts in files")
    try:
        return msgspec.json.decode(text.encode(), type=PlanFile)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise CallerMistaken(f"this is no plan: {error}", "see: umbrella plan draft --help") from error


def plans(page: Page[Plan], now: datetime) -> Sheet:
    """List plans."""
    rows = [
        row(
            Cell(short(plan.id), "accent"),
            Cell(one_line(plan.title, 40), "strong"),
            state(plan),
            Cell(plan.risk, RISK_TONES[plan.risk]),
            f"{_done(plan)}/{len(plan.steps)}",
            Cell(short(plan.session_id), "dim"),
            Cell(ago(plan.created_at, now), "dim"),
        )
        for plan in page.items
    ]
    return Sheet(
        columns=("plan", "title", "status", "risk", "#done", "session", "drafted"),
        rows=rows,
        empty="no plans; lay one out: umbrella plan draft FILE",
        note=more(page),
    )


def state(plan: Plan) -> Cell:
    """Its status, and whether it waits for an answer."""
    if plan.waits:
        return Cell("waits for you", "warn")
    return Cell(plan.status, PLAN_TONES[plan.status])


def plan(found: Plan, now: datetime) -> Facts:
    """One plan with its steps."""
    error = found.error
    return facts(
        ("plan", found.id),
        ("title", Cell(one_line(revealed(found.title)), "strong")),
        ("status", state(found)),
        ("risk", Cell(found.risk, RISK_TONES[found.risk])),
        ("drafted", f"{ago(found.created_at, now)} by {found.by}"),
        ("session", found.session_id),
        ("asks", Cell(one_line(revealed(found.waits)), "warn")),
        ("problem", Cell(revealed(error.message), "bad") if error is not None else ""),
        ("remedy", revealed(error.remedy) if error is not None else ""),
        *((f"step {number}", _step(step)) for number, step in enumerate(found.steps, 1)),
        note=what_helps(found),
    )


def what_helps(found: Plan) -> str:
    """What can be done about a plan as it is."""
    key = short(found.id)
    if found.waits:
        asked = next((at for at, step in enumerate(found.steps, 1) if step.status == "pending"), 1)
        return f"umbrella plan go {key} {asked}, or skip {key} {asked}, or stop {key}"
    if found.status == "draft":
        return f"umbrella plan approve {key} [--stepwise], or look first: umbrella plan dry-run {key}"
    if found.status not in PLAN_ENDED:
        return f"umbrella plan wait {key}, or end it: umbrella plan cancel {key}"
    return ""


def dry_run(found: Sequence[DryStep], of: Plan) -> Sheet:
    """What each step would meet."""
    rows = [
        row(
            str(number),
            Cell(one_line(step.title, 40), "strong"),
            Cell("would run", "ok") if met.allowed else Cell("would not", "bad"),
            one_line(revealed(met.problem or met.why), 200),
            _preview(met),
        )
        for number, (met, step) in enumerate(zip(found, of.steps, strict=True), 1)
    ]
    note = "nothing was done, used up or put on record"
    return Sheet(columns=("#step", "title", "now", "why", "it would"), rows=rows, note=note)


def does(work: Work) -> str:
    """What a step does, with all of it to be seen; none of its texts can look like another line."""
    match work:
        case MessageStep(text=text):
            return f"say to the assistant\n{readable_arguments({'text': text})}"
        case CommandStep(command=command):
            return f"run {compact_json(command)}"
        case CheckpointStep(question=question):
            return f"ask you\n{readable_arguments({'question': question})}"
        case ConditionalStep(step=step, status=status, contains=contains, skip=skip):
            held = f" with {compact_json(contains)} in its result" if contains else ""
            return f"unless step {step + 1} is {status}{held}, leave out the next {skip}"
    called = f"call {one_line(revealed(f'{work.server}.{work.tool}'))}"
    return f"{called}\n{readable_arguments(work.arguments)}" if work.arguments else called


def _step(step: PlanStep) -> Cell:
    error = step.error
    lines = [
        f"[{MARKS[step.status]}] {one_line(revealed(step.title))} ({step.risk})",
        does(step.work),
        *(f"needs {need}" for need in step.needs),
        f"gave: {one_line(step.result, 200)}" if step.result else "",
        f"failed: {one_line(revealed(error.message), 300)}" if error is not None else "",
    ]
    tone: Tone = "bad" if step.status == "failed" else "dim" if step.status == "skipped" else "plain"
    return Cell("\n".join(filter(None, lines)), tone)


def _done(found: Plan) -> int:
    return sum(step.status in {"completed", "skipped"} for step in found.steps)


def _preview(met: DryStep) -> str:
    if met.preview is None:
        return ""
    return "\n".join(filter(None, [revealed(met.preview.summary), revealed(met.preview.diff)]))
