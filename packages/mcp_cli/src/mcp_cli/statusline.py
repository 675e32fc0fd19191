"""What the line at the bottom says: pure text from a struct, the important parts first to stay on a narrow terminal."""

from typing import Final

import msgspec

from mcp_cli.attachment import State
from mcp_cli.passages import dollars
from mcp_cli.sheet import Tone
from mcp_cli.untrusted import one_line
from mcp_interface.conversing import WindowStatus
from mcp_interface.provider import ModelInfo

GAP: Final = " · "
NEARLY_FULL: Final = 80
"""Per cent of the model's window from which on it is pointed out."""


class Beyond(msgspec.Struct, frozen=True, kw_only=True):
    """What the status line shows beside the transcript; everything may be left open."""

    window: WindowStatus | None = None
    """The latest answer to `GetWindow`."""
    model: ModelInfo | None = None
    """Of the model that answers, from `ListModels`."""
    elsewhere: int = 0
    """Approvals and questions that wait in other sessions."""
    working_elsewhere: int = 0
    """Other sessions in which an agent is at work."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the status line can say."""

    session: str = ""
    """Short; empty before a session began."""
    model: str = ""
    ready: bool = True
    """Whether there is a model at all."""
    profile: str = "careful"
    connection: State = "connected"
    waiting: int = 0
    """Approvals and questions of this session, and known ones of others that can be answered here."""
    working: int = 0
    """Turns that are going on."""
    suspended: bool = False
    refusing: bool = False
    """The journal takes nothing at present."""
    input_tokens: int = 0
    output_tokens: int = 0
    in_window: int = 0
    cost: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0
    beyond: Beyond = Beyond()


class Part(msgspec.Struct, frozen=True):
    """A piece of the line."""

    text: str
    tone: Tone = "dim"
    strong: bool = False
    rank: int = 0
    """What is left out first where there is no room has the highest."""


_CONNECTIONS: Final[dict[State, tuple[str, Tone, bool]]] = {
    "connecting": ("starting the node…", "warn", False),
    "connected": ("connected", "dim", False),
    "lost": ("node lost, trying again…", "bad", True),
    "stopped": ("node stopped; send something to start it", "bad", True),
}


def status_parts(standing: Standing, width: int = 0) -> list[Part]:
    """Return what the line says, in its order.

    Args:
        standing: What there is to say.
        width: Columns; what has no room is left out, the least important first. Zero: all of it is said.
    """
    parts = [part for part in _everything(standing) if part.text]
    while width and len(parts) > 1 and _length(parts) > width:
        parts.remove(max(parts, key=lambda part: part.rank))
    return parts


def _length(parts: list[Part]) -> int:
    return sum(len(part.text) for part in parts) + len(GAP) * (len(parts) - 1)


def _everything(standing: Standing) -> list[Part]:
    away = standing.connection != "connected"
    text, tone, strong = _CONNECTIONS[standing.connection]
    connection = Part(text, tone, strong, 0 if away else 11)
    beyond = standing.beyond
    parts = [connection] if away else []
    if standing.waiting:
        parts.append(Part(f"{standing.waiting} waiting for you", "warn", strong=True, rank=1))
    elif standing.working and not away:
        several = f"{standing.working} at work" if standing.working > 1 else "working"
        parts.append(Part(f"{several}, Esc stops", "warn", rank=3))
    if beyond.elsewhere:
        parts.append(Part(f"{beyond.elsewhere} waiting elsewhere", "warn", rank=4))
    if standing.suspended:
        parts.append(Part("suspended, /resume", "warn", strong=True, rank=2))
    if standing.refusing:
        parts.append(Part("journal takes nothing", "bad", strong=True, rank=0))
    parts.append(Part(standing.session or "new session", rank=10))
    model = one_line(standing.model, 40) or "model ?"
    parts.append(Part(model, rank=6) if standing.ready else Part("no model", "warn", rank=6))
    permissive = standing.profile == "open"
    profile = f"profile {standing.profile}"
    parts.append(Part(profile, "bad" if permissive else "dim", permissive, 2 if permissive else 5))
    parts += [_context(standing), _tokens(standing), _cost(standing)]
    if standing.seconds:
        parts.append(Part(_seconds(standing.seconds), rank=13))
    if beyond.working_elsewhere:
        parts.append(Part(f"{beyond.working_elsewhere} at work elsewhere", rank=12))
    return parts if away else [*parts, connection]


def _context(standing: Standing) -> Part:
    """How full the model's window is: by the node's own count, else by what the latest answer used."""
    window, model = standing.beyond.window, standing.beyond.model
    size = window.context_tokens if window is not None else None
    size = size or (model.context_tokens if model is not None else None)
    used = standing.in_window or (window.tokens if window is not None else 0)
    if not size or not used:
        return Part("")
    share = min(100, round(100 * used / size))
    return Part(
        f"context {share} %", "warn" if share >= NEARLY_FULL else "dim", rank=7 if share < NEARLY_FULL else 3
    )


def _tokens(standing: Standing) -> Part:
    if not standing.input_tokens and not standing.output_tokens:
        return Part("")
    return Part(f"{count(standing.input_tokens)} in, {count(standing.output_tokens)} out", rank=9)


def _cost(standing: Standing) -> Part:
    if not standing.cost:
        return Part("")
    # with a plus where the price of some answers is not known: the sum is at least this
    return Part(dollars(standing.cost) + ("+" if standing.unpriced else ""), rank=8)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def count(tokens: int) -> str:
    """Write a number of tokens in a few letters."""
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.1f}M"
    return f"{tokens / 1000:.1f}k" if tokens >= 1000 else str(tokens)
