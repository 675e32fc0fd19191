"""What the answers about rights look like: why, what is never asked again, and which tools have changed. Pure."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from mcp_cli.diffing import as_text, preview_lines
from mcp_cli.naming import short
from mcp_cli.presenters import ago, more, span
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, Tone, facts, row
from mcp_cli.untrusted import compact_json, one_line, printable, readable_arguments, revealed
from mcp_interface.approval import Answer, Approval, Effect
from mcp_interface.capability import Capability, Explanation
from mcp_interface.commands import Page, Refusal, ToolChange
from mcp_interface.tool import ToolInfo

STEPS: Final = 8
"""Steps of a chain that fit on one screen; of a longer one the beginning and the end are shown."""
NEAREST: Final = 5
LAST_S: Final = 60.0
"""Seconds before the end of a question in which its time is a warning."""
PRECEDENT_LINES: Final = 6
WIDEST: Final = 160


def explanation(found: Explanation, now: datetime) -> Facts:
    """Why a principal may or may not do something, on one screen."""
    verdict = found.verdict
    chain = "\n".join(_chain(found.chain[::-1], now))
    others = [one for one in found.considered if not found.chain or one.id != found.chain[0].id]
    beside = "\n".join(f"{short(one.id)} {printable(_limited(one, now))}" for one in others[:NEAREST])
    if len(others) > NEAREST:
        beside += f"\nand {len(others) - NEAREST} more: umbrella caps list {short(found.principal_id)}"
    remedy = ""
    if not verdict.allowed:
        uri = shlex.quote(printable(verdict.needed or found.resource_uri))
        once = " --uses 1" if verdict.reason in {"constraint_violated", "uses_exhausted"} else ""
        remedy = f"allow it{' once' * bool(once)}: umbrella grant {short(found.principal_id)} {uri}{once}"
    return facts(
        ("answer", Cell("allowed", "ok") if verdict.allowed else Cell("denied", "bad")),
        ("who", found.principal_id),
        ("what", printable(found.resource_uri)),
        ("why", printable(verdict.message) or verdict.reason),
        ("rule", Cell(verdict.reason, "dim")),
        (
            "by, from the root" if verdict.allowed else "nearest, from the root",
            Cell(chain, "accent") if chain else Cell("it holds nothing of this kind", "dim"),
        ),
        ("also held", Cell(beside, "dim")),
        note=remedy,
    )


def _chain(steps: Sequence[Capability], now: datetime) -> Iterator[str]:
    """One line a step: who holds it, and what it narrowed; oldest first."""
    hidden = range(STEPS // 2, len(steps) - STEPS // 2) if len(steps) > STEPS else range(0)
    for number, step in enumerate(steps):
        if number in hidden:
            if number == hidden[0]:
                yield f"… {len(hidden)} steps …"
            continue
        above = steps[number - 1] if number else None
        said = "; ".join(printable(each) for each in _narrowed(above, step, now))
        lead = f"{number + 1}. {short(step.id)} {short(step.principal_id)}"
        yield f"{lead}  {said or 'as it was'}"


def _narrowed(above: Capability | None, step: Capability, now: datetime) -> Iterator[str]:
    if above is None or step.resource_uri != above.resource_uri:
        yield step.resource_uri
    for name, value in step.constraints.items():
        if above is None or name not in above.constraints or above.constraints[name] != value:
            yield f"{name} {compact_json(value, 60)}"
    if step.expires_at is not None and (above is None or step.expires_at != above.expires_at):
        yield f"ends {ago(step.expires_at, now)}"


def _limited(capability: Capability, now: datetime) -> str:
    return "; ".join(_narrowed(None, capability, now))


def question(found: Approval, now: datetime) -> Facts:
    """One open question with everything that a yes would be about."""
    command = f"umbrella approvals allow {short(found.id)}"
    wider = "".join(
        f"\n{command} --remember session --pattern {shlex.quote(revealed(each))}"
        for each in wider_patterns(found)
    )
    preview = "" if found.preview is None else as_text(preview_lines(found.preview))
    return facts(
        ("question", Cell(found.id, "accent")),
        ("tool", Cell(one_line(revealed(f"{found.server}/{found.tool}")), "strong")),
        ("effect", effect(found)),
        ("arguments", readable_arguments(found.arguments)),
        ("would change", preview),
        ("as of", Cell(f"{found.asked_at:%Y-%m-%d %H:%M:%S} UTC" if preview else "", "dim")),
        (
            "needs",
            revealed(found.resource_uri) + (", to hand it on to an agent below" if found.hands_on else ""),
        ),
        ("also touches", "\n".join(also_touched(found))),
        ("by", Cell(one_line(revealed(found.agent_name)), "strong")),
        ("for", found.principal_id),
        ("last time", "\n".join(precedent_lines(found, now))),
        ("why asked", printable(found.reason)),
        ("ends", ending(found, now)),
        note=f"answer: {command}  or  umbrella approvals deny {short(found.id)} --reason …"
        + (f"\nor to more than this, with an end if you like (--expires 1h):{wider}" if wider else ""),
    )


_EFFECTS: Final[dict[Effect, tuple[str, Tone]]] = {
    "reads": ("only reads", "ok"),
    "writes": ("writes", "warn"),
    "destroys": ("may overwrite or delete", "bad"),
}


def effect(found: Approval) -> Cell:
    """The worst that the tool may do, by what it says of itself."""
    word, tone = _EFFECTS[found.effect]
    return Cell(f"{word}, by its own words", tone)


def also_touched(found: Approval) -> list[str]:
    """The rights that the call needs beside the one that is missing."""
    return [revealed(uri) for uri in found.touches if uri != found.resource_uri]


def wider_patterns(found: Approval) -> list[str]:
    """What a yes may be one to beside the very right that is missing, from narrow to wide."""
    return [uri for uri in found.suggestions if uri != found.resource_uri]


def ending(found: Approval, now: datetime) -> Cell:
    """When the question ends by itself; in its last minute to the second, and as a warning."""
    seconds = (found.expires_at - now).total_seconds()
    if seconds <= 0:
        return Cell("ended; that is a no", "bad")
    if seconds < LAST_S:
        return Cell(f"in {max(1, int(seconds))} s; then it is a no", "bad")
    return Cell(ago(found.expires_at, now), "dim")


def differing(found: Approval) -> list[str]:
    """Names of the arguments that are not what they were when somebody answered before, also those that are gone."""
    if found.precedent is None:
        return []
    before, now = found.precedent.arguments, found.arguments
    names = [*now, *(name for name in before if name not in now)]
    return [name for name in names if name not in now or name not in before or before[name] != now[name]]


def precedent_lines(found: Approval, now: datetime) -> list[str]:
    """What was answered before to the same tool, and which arguments were other ones then."""
    before = found.precedent
    if before is None:
        return []
    said = f"{'allowed' if before.allow else 'denied'} {ago(before.at, now)}"
    names = differing(found)
    if not names:
        return [f"{said}, with the same arguments"]
    shown = {name: before.arguments[name] for name in names if name in before.arguments}
    fresh = [one_line(revealed(name)) for name in names if name not in before.arguments]
    lines = [f"{said}, when it was:"] if shown else [f"{said}, without {', '.join(fresh)}"]
    lines += [f"  {_shortened(line)}" for line in readable_arguments(shown).split("\n")] if shown else []
    if len(lines) > PRECEDENT_LINES:
        lines[PRECEDENT_LINES:] = [f"  … {len(lines) - PRECEDENT_LINES} more lines"]
    return [*lines, f"  and no {', '.join(fresh)}"] if shown and fresh else lines


def _shortened(line: str) -> str:
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"


def argument_lines(found: Approval) -> list[Cell]:
    """All the arguments; each that is another one than last time begins with a mark."""
    others = set(differing(found))
    lines = []
    for name, value in found.arguments.items():
        tone: Tone = "warn" if name in others else "accent"
        mark = "≠ " if name in others else ""
        first, *rest = readable_arguments({name: value}).split("\n")
        lines.append(Cell(f"{mark}{first}", tone))
        lines += [Cell(line, tone) for line in rest]
    return lines or [Cell("(no arguments)", "dim")]


def answered(found: Approval, answer: Answer, minted: Capability | None = None) -> Prose:
    """What was answered just now, and how to take back the right that came of it, if it is known already."""
    name = printable(f"{found.server}.{found.tool}")
    if not answer.allow:
        return Prose(f"{'denied for good' if answer.remember == 'always' else 'denied'}: {name}", "warn")
    scope = ", any arguments" if answer.any_arguments else ""
    pattern = f" to {printable(answer.resource_uri)}" if answer.resource_uri else ""
    ends = f", for {span(answer.expires_in_s)}" if answer.expires_in_s is not None else ""
    text = f"allowed ({answer.remember}{scope}{ends}){pattern}: {name}"
    if minted is not None:
        text += f"\ntake it back: umbrella caps revoke {short(minted.id)}"
    elif answer.remember != "once":
        text += f"\nit is a right when the call goes on: umbrella caps list {short(found.principal_id)}"
    return Prose(text, "ok")


def refusals(page: Page[Refusal], now: datetime) -> Sheet:
    """List the calls that are refused unasked to all agents of a person."""
    rows = [
        row(
            Cell(known.fingerprint[:12], "accent"),
            Cell(f"{printable(known.server)}/{printable(known.tool)}", "strong"),
            printable(compact_json(known.arguments, 60)),
            Cell(short(known.principal_id), "plain"),
            one_line(known.reason, 60),
            Cell(ago(known.since, now), "dim"),
        )
        for known in page.items
    ]
    return Sheet(
        columns=("question", "tool", "arguments", "agents of", "why", "since"),
        rows=rows,
        empty='nothing was answered with "never"',
        note=more(page) or ("let it be asked again: umbrella approvals forget QUESTION" if rows else ""),
    )


def tool_changes(page: Page[ToolChange]) -> Prose:
    """Show what changed in which tools, with the command that accepts it."""
    parts = []
    for change in page.items:
        name = shlex.quote(f"{printable(change.server)}/{printable(change.tool)}")
        if change.now is None:
            parts.append(f"{name} is not offered by its server any more")
            continue
        parts.append(
            f"{name} has changed, and its calls are refused\n{change.diff}\n"
            f"if this is as it should be: umbrella tools accept {name} --fingerprint {change.fingerprint}"
        )
    if not parts:
        return Prose("every tool is what it was when its definition was pinned", "ok")
    return Prose("\n\n".join([*parts, *([more(page)] if page.cursor else [])]))


def accepted(tool: ToolInfo) -> Prose:
    """A changed tool that may be used again."""
    return Prose(f"{printable(tool.server)}/{printable(tool.name)} may be used as it is now", "ok")
