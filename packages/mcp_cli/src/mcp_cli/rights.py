"""What the answers about rights look like: why, what is never asked again, and which tools have changed. Pure."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from mcp_cli.naming import short
from mcp_cli.presenters import ago, more
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, facts, row
from mcp_cli.untrusted import compact_json, one_line, printable, readable_arguments, revealed
from mcp_interface.approval import Approval
from mcp_interface.capability import Capability, Explanation
from mcp_interface.commands import Page, Refusal, ToolChange
from mcp_interface.tool import ToolInfo

STEPS: Final = 8
"""Steps of a chain that fit on one screen; of a longer one the beginning and the end are shown."""
NEAREST: Final = 5


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
    return facts(
        ("question", Cell(found.id, "accent")),
        ("tool", Cell(one_line(revealed(f"{found.server}/{found.tool}")), "strong")),
        ("arguments", readable_arguments(found.arguments)),
        ("needs", revealed(found.resource_uri)),
        ("for", found.principal_id),
        ("why asked", printable(found.reason)),
        ("ends", Cell(ago(found.expires_at, now), "warn")),
        note=f"answer: umbrella approvals allow {short(found.id)}  or  "
        f"umbrella approvals deny {short(found.id)} --reason …",
    )


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
