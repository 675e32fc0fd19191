"""What the answers of a node look like: one function per kind of answer, from structs to `sheet.Shown`.

Pure; the instant that relative times count from is handed in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from mcp_cli.naming import short
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, Shown, Tone, facts, row
from mcp_cli.untrusted import compact_json, one_line, printable, readable_json
from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Approval
from mcp_interface.capability import AuditEntry, Capability
from mcp_interface.commands import AuditReport, Check, NodeStatus, Page, StorageCheck
from mcp_interface.server import Diagnosis, ServerStatus
from mcp_interface.session import Session
from mcp_interface.store import StoreReport
from mcp_interface.tool import ToolInfo, ToolResult

KINDS: Final = {"segments": "an append-only log", "sqlite": "one SQLite file", "memory": "in memory only"}
"""Kinds of journals in words; any other is named as it names itself."""
STATE_TONES: Final[dict[str, Tone]] = {
    "ready": "ok",
    "active": "ok",
    "ok": "ok",
    "allowed": "ok",
    "granted": "accent",
    "connecting": "warn",
    "login": "warn",
    "resting": "dim",
    "waiting": "warn",
    "warning": "warn",
    "revoked": "warn",
    "writable": "ok",
    "read_only": "bad",
    "closed": "bad",
    "failed": "bad",
    "error": "bad",
    "denied": "bad",
    "open": "bad",
    "stopped": "dim",
    "terminated": "dim",
    "inactive": "dim",
}


MOST_ENDED: Final = 1000
"""Ids that the node lists of what a revocation ended, at most."""


def toned(state: str) -> Cell:
    """Give a state word the tone that it has everywhere."""
    return Cell(state, STATE_TONES.get(state, "plain"))


def ago(moment: datetime, now: datetime) -> str:
    """Say how long ago, or how far ahead, in one unit."""
    seconds = (now - moment).total_seconds()
    # What ends in an hour has a little less left by the time it is shown.
    text = span(abs(seconds)) if seconds > 0 else span(float(round(-seconds)))
    if text == "0 s":
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def span(seconds: float) -> str:
    """Say a duration in its largest unit: `420 ms`, `3.2 s`, `5 min`, `2 h`, `3 d`."""
    if 0 < seconds < 0.9995:
        return f"{max(1, round(seconds * 1000))} ms"
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def more(page: Page[Any]) -> str:
    """Say how to read on, when there is more."""
    return f"there is more: --cursor {page.cursor}" if page.cursor is not None else ""


def servers(page: Page[ServerStatus]) -> Sheet:
    """List MCP servers."""
    rows = []
    for server in page.items:
        if server.spec is None:
            reach = "built in"
        elif server.spec.command is not None:
            reach = " ".join([server.spec.command, *server.spec.args])
        else:
            reach = server.spec.url or ""
        rows.append(
            row(
                Cell(printable(server.name), "strong"),
                toned(server.state),
                str(server.tools),
                str(server.resources or ""),
                str(server.prompts or ""),
                Cell(one_line(reach, 60), "dim"),
                Cell(*_cage(server)),
                Cell(server.protocol, "dim"),
                Cell(one_line(server.error), "bad"),
            )
        )
    return Sheet(
        columns=("server", "state", "#tools", "#resources", "#prompts", "how", "cage", "protocol", "problem"),
        rows=rows,
        empty="no servers; add one: umbrella mcp add NAME -- COMMAND ARGS…",
        note=more(page) or _logins(page.items),
    )


def _logins(found: Sequence[ServerStatus]) -> str:
    """How to log in to the servers that wait for it."""
    waiting = [printable(server.name) for server in found if server.state == "login"]
    return "\n".join(f"log in: umbrella mcp login {name}" for name in waiting)


def _cage(server: ServerStatus) -> tuple[str, Tone]:
    """What its process got of the machine; as long as it does not run, that it will be in a cage."""
    if server.spec is None or server.spec.cage is None:
        return "", "plain"
    return (one_line(server.caged, 50), "ok") if server.caged else ("ordered", "dim")


def diagnoses(found: Sequence[Diagnosis]) -> Sheet:
    """List what was looked at, with what would help."""
    rows = [
        row(
            Cell(printable(each.step), "strong"),
            Cell("ok", "ok") if each.ok else Cell("failed", "bad"),
            printable(each.detail),
            Cell(printable(each.remedy), "accent"),
        )
        for each in found
    ]
    return Sheet(columns=("step", "result", "found", "what would help"), rows=rows)


def server(status: ServerStatus) -> Facts:
    """One server that was just added."""
    return facts(
        ("server", Cell(printable(status.name), "strong")),
        ("state", toned(status.state)),
        ("tools", str(status.tools)),
        ("resources", str(status.resources or "")),
        ("prompts", str(status.prompts or "")),
        ("protocol", status.protocol),
        ("cage", Cell(printable(status.caged), "ok")),
        ("problem", Cell(printable(status.error), "bad")),
        ("log", status.log_file if status.error else ""),
        note=f"see them: umbrella mcp tools {printable(status.name)}" if status.state == "ready" else "",
    )


def tools(page: Page[ToolInfo]) -> Sheet:
    """List tools with what they need."""
    rows = [
        row(
            Cell(printable(tool.server), "dim"),
            Cell(printable(tool.name), "strong"),
            Cell(*_effect(tool)),
            Cell(one_line(_arguments(tool), 48), "accent"),
            one_line(tool.description or tool.title, 70),
        )
        for tool in page.items
    ]
    return Sheet(
        columns=("server", "tool", "effect", "arguments", "what it does"),
        rows=rows,
        empty="no tools; add a server: umbrella mcp add NAME -- COMMAND ARGS…",
        note=more(page),
    )


def _effect(tool: ToolInfo) -> tuple[str, Tone]:
    if tool.read_only:
        return "reads", "ok"
    return ("destroys", "bad") if tool.destructive else ("writes", "warn")


def _arguments(tool: ToolInfo) -> str:
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    names = list(properties) if isinstance(properties, dict) else []
    needed = set(map(str, required)) if isinstance(required, list) else set()
    return " ".join(str(name) if name in needed else f"[{name}]" for name in names)


def outcome(result: ToolResult) -> Prose:
    """The result of a tool call, as the tool wrote it."""
    text = result.text
    if not text and result.structured is not None:
        text = readable_json(result.structured)
    return Prose(printable(text) or "(no output)", "bad" if result.is_error else "plain")


def agent(record: AgentRecord, held: Sequence[Capability], now: datetime) -> Facts:
    """One agent and what it holds."""
    rights = "\n".join(
        f"{printable(capability.resource_uri)}  {_terms(capability, now)}".rstrip() for capability in held
    )
    return facts(
        ("agent", Cell(record.id, "accent")),
        ("name", Cell(printable(record.name), "strong")),
        ("type", record.type),
        ("state", toned(record.state)),
        ("session", record.session_id or ""),
        ("from", record.parent_id or ""),
        ("started", f"{record.started_at:%Y-%m-%d %H:%M:%S} UTC ({ago(record.started_at, now)})"),
        ("restarts", str(record.restarts) if record.restarts else ""),
        ("may", rights or Cell("nothing: every call is denied", "warn")),
        note=""
        if held
        else f"allow something: umbrella grant {short(record.id)} mcp://tool/execute/SERVER/TOOL",
    )


def _terms(capability: Capability, now: datetime) -> str:
    said = [f"{name} {compact_json(value, 60)}" for name, value in capability.constraints.items()]
    if capability.expires_at is not None:
        said.append(f"ends {ago(capability.expires_at, now)}")
    return printable(f"({'; '.join(said)})") if said else ""


def capabilities(page: Page[Capability], now: datetime) -> Sheet:
    """List live capabilities."""
    rows = []
    for capability in page.items:
        uses = capability.constraints.get("max_uses")
        limits = {name: value for name, value in capability.constraints.items() if name != "max_uses"}
        rows.append(
            row(
                Cell(short(capability.id), "accent"),
                Cell(short(capability.principal_id), "strong"),
                printable(capability.resource_uri),
                Cell(ago(capability.expires_at, now) if capability.expires_at else "no end", "dim"),
                str(uses) if uses is not None else "",
                Cell(compact_json(limits, 60) if limits else "", "warn"),
                Cell(short(capability.parent_capability_id or "root"), "dim"),
            )
        )
    return Sheet(
        columns=("capability", "holder", "may", "ends", "#uses", "only", "from"),
        rows=rows,
        empty="no capabilities; hand one out: umbrella grant AGENT URI",
        note=more(page),
    )


def granted(capability: Capability, now: datetime) -> Facts:
    """A grant that was just made."""
    uses = capability.constraints.get("max_uses")
    limits = [
        f"{name} {compact_json(value)}"
        for name, value in capability.constraints.items()
        if name != "max_uses"
    ]
    return facts(
        ("granted", Cell(printable(capability.resource_uri), "ok")),
        ("to", capability.principal_id),
        ("capability", Cell(capability.id, "accent")),
        (
            "ends",
            ago(capability.expires_at, now) if capability.expires_at else "when revoked or with its holder",
        ),
        ("uses", str(uses) if uses is not None else ""),
        ("only", "\n".join(limits)),
        note=_unbound(capability) + f"take it back: umbrella caps revoke {short(capability.id)}",
    )


def _unbound(capability: Capability) -> str:
    """What somebody who hands out a program may not have thought of."""
    if not capability.resource_uri.startswith("mcp://shell/") or "commands" in capability.constraints:
        return ""
    return "with any arguments; bind them: --limit 'commands={\"PROGRAM\": {…}}'\n"


def sessions(page: Page[Session], now: datetime) -> Sheet:
    """List sessions."""
    rows = [
        row(
            Cell(short(session.id), "accent"),
            Cell(one_line(session.title, 50) or "untitled", "strong" if session.title else "dim"),
            Cell("working", "warn") if session.busy else toned(session.status),
            toned(session.profile),
            str(session.message_count),
            Cell(ago(session.updated_at, now), "dim"),
        )
        for session in page.items
    ]
    return Sheet(
        columns=("session", "title", "state", "profile", "#messages", "last used"),
        rows=rows,
        empty="no sessions yet; begin one: umbrella",
        note=more(page),
    )


def approvals(page: Page[Approval], now: datetime) -> Sheet:
    """List open questions."""
    rows = [
        row(
            Cell(short(question.id), "accent"),
            Cell(f"{printable(question.server)}.{printable(question.tool)}", "strong"),
            Cell(compact_json(question.arguments, 60), "dim"),
            printable(question.resource_uri),
            Cell(ago(question.expires_at, now), "warn"),
        )
        for question in page.items
    ]
    return Sheet(
        columns=("question", "tool", "arguments", "needs", "ends"),
        rows=rows,
        empty="nobody is waiting for an answer",
        note=more(page)
        or ("answer: umbrella approvals allow ID  or  umbrella approvals deny ID --reason …" if rows else ""),
    )


def audit(page: Page[AuditEntry]) -> Sheet:
    """List audit entries."""
    rows = [
        row(
            Cell(str(entry.seq), "dim"),
            Cell(f"{entry.time:%m-%d %H:%M:%S}", "dim"),
            toned(entry.decision),
            Cell(short(entry.principal_id), "accent"),
            one_line(entry.resource_uri or entry.kind, 70),
            Cell(one_line(entry.reason, 60), "dim"),
        )
        for entry in page.items
    ]
    return Sheet(
        columns=("#no", "time (UTC)", "decision", "who", "what", "why"),
        rows=rows,
        empty="no entries fit",
        note=more(page),
    )


def audit_report(report: AuditReport) -> Facts:
    """The outcome of checking the chain."""
    return facts(
        ("audit chain", Cell("whole", "ok") if report.ok else Cell("broken", "bad")),
        ("entries", str(report.entries)),
        ("signed", f"the first {report.sealed}" if report.sealed else "none yet"),
        ("head", Cell(report.head, "dim")),
        ("problem", Cell(printable(report.problem), "bad")),
    )


def checks(found: Sequence[Check], title: str = "") -> Sheet:
    """List health checks with what to do about each."""
    rows = [
        row(
            toned(check.status),
            Cell(check.name, "strong"),
            printable(check.detail),
            Cell(printable(check.remedy), "accent"),
        )
        for check in found
    ]
    return Sheet(columns=("", "check", "what was found", "what to do"), rows=rows, title=title)


def found(report: StoreReport) -> str:
    """What the last opening of the journal did beyond opening it: after a crash, a cut, an upgrade; else empty.

    A report begins with what the journal holds and adds, behind a semicolon each, what was out of the ordinary.
    """
    return news(report.found)


def news(found: str) -> str:
    """What is out of the ordinary in the line of an opening."""
    return one_line(found.partition("; ")[2], 200)


def size(count: int) -> str:
    """Say a number of bytes in its largest unit."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def counted(count: int, thing: str) -> str:
    """So many of a thing, in the right number."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def unwritable(report: StoreReport) -> str:
    """Why the journal takes nothing at the moment; empty when it does."""
    if report.state == "writable":
        return ""
    return one_line(report.reason, 400) or f"the journal is {report.state.replace('_', '-')}"


def storage(report: StoreReport, *, resting: bool = False) -> Facts:
    """How the journal is; resting: no node runs."""
    tones: dict[str, Tone] = {"ok": "plain", "warning": "warn", "error": "bad"}
    segments = f" in {counted(report.segments, 'segment')}" if report.segments else ""
    return facts(
        (
            "journal",
            Cell("resting, no node runs", "dim")
            if resting
            else Cell(report.state.replace("_", "-"), STATE_TONES[report.state]),
        ),
        ("why", Cell(printable(report.reason), "bad") if not resting else ""),
        ("damage", Cell(printable(report.damage), "bad")),
        ("found", Cell(printable(report.found), "warn" if found(report) else "plain")),
        ("holds", f"{counted(report.head, 'event')} in {counted(report.streams, 'stream')}"),
        ("kind", KINDS.get(report.kind, report.kind)),
        ("size", size(report.size_bytes) + segments),
        ("disk", Cell(f"{report.disk_used:.0%} in use", tones[report.disk])),
        note="" if report.disk == "ok" else "make room: a full disk makes the journal read-only",
    )


def storage_check(check: StorageCheck) -> Facts:
    """The outcome of reading the journal back."""
    known = {name: value for name, value in check.details.items() if name != "found"}
    said = "\n".join(f"{name} {compact_json(value, 120)}" for name, value in known.items())
    return facts(
        ("journal", Cell("whole", "ok") if check.ok else Cell("damaged", "bad")),
        ("sound", _sound(check)),
        ("problem", Cell(printable(check.problem), "bad")),
        ("what to do", Cell(printable(check.remedy), "accent")),
        ("details", Cell(printable(said), "dim")),
        ("found", Cell(news(str(check.details.get("found", ""))), "warn")),
    )


def _sound(check: StorageCheck) -> str:
    """What is sound; behind damage more may be, so there it is no count."""
    if check.ok:
        return counted(check.events, "event")
    return f"up to position {check.events:,}" if check.events else ""


def status(node: NodeStatus, now: datetime, journal: StoreReport | None = None) -> Facts:
    """The node at a glance; the journal is told more of when there is news."""
    model = f"{node.model.provider} {node.model.model}".strip()
    return facts(
        ("node", Cell(f"running (process {node.pid})", "ok")),
        ("version", node.version),
        ("data", node.data_dir),
        ("started", f"{ago(node.started_at, now)}, epoch {node.epoch}"),
        ("journal", counted(node.position, "event")),
        ("found", Cell(found(journal), "warn") if journal is not None else ""),
        ("read-only", Cell(unwritable(journal), "bad") if journal is not None else ""),
        ("sessions", str(node.sessions)),
        ("agents", str(node.agents)),
        ("servers", str(node.servers)),
        (
            "waiting",
            Cell(counted(node.pending_approvals, "approval"), "warn") if node.pending_approvals else "",
        ),
        ("recovered", f"{node.recovered} interrupted at start" if node.recovered else ""),
        ("model", Cell(printable(model), "ok") if node.model.ready else Cell("no model", "warn")),
        note="" if node.model.ready else printable(node.model.hint),
    )


def removed(ids: Sequence[str]) -> Shown:
    """Which capabilities ended by a revocation."""
    if not ids:
        return Prose("it had ended before; nothing changed", "dim")
    extra = len(ids) - 1
    count = f"{extra} or more" if len(ids) >= MOST_ENDED else str(extra)
    text = f"revoked {ids[0]}" + (f" and {count} derived from it" if extra else "")
    return Prose(text, "ok")
