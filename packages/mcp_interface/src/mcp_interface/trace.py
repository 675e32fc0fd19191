"""Which trace something belongs to, so that one wish can be followed through every room and beyond the node.

A trace is W3C's: 32 hex digits for the whole, 16 for each span in it. Our `TraceId` is `trace_` and those 32
digits, so that records, frames and foreign tools speak of the same trace. The present trace is ambient within
one task and what it starts (`current_trace`). A mailbox is a border that nothing ambient crosses: there the
envelope carries the trace, and whoever takes the message enters it with `tracing`. W3C's `tracestate` is not
kept. Recording spans is not done here (`mcp_core.observe`).

Source: W3C Trace Context, section 3.2.
"""

import re
from contextvars import ContextVar, Token
from typing import Final

import msgspec

from mcp_interface.clock import Entropy
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import TraceId, is_id, new_id

SPAN_BYTES: Final = 8
MAX_TRACEPARENT: Final = 512
"""Characters; later versions may be longer than the 55 of today's."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-.*)?"
)
_SPAN = re.compile(r"[0-9a-f]{16}")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a trace."""

    id: TraceId
    span: str
    """The span in which we are, 16 hex digits; empty when it is not known."""
    parent: str = ""
    """The span that led to it; empty at the root."""
    sampled: bool = True
    """Whether the caller records its spans; ours are recorded only then."""


_current: ContextVar[Trace | None] = ContextVar("mcp_trace", default=None)


def current_trace() -> Trace | None:
    """Return the trace of what runs now; None outside of any."""
    return _current.get()


def current_trace_id() -> TraceId | None:
    """Return the id of the trace of what runs now; None outside of any."""
    trace = _current.get()
    return None if trace is None else trace.id


def current_traceparent() -> str | None:
    """Return W3C's `traceparent` of what runs now; None outside of any trace, or where no span is known."""
    trace = _current.get()
    return None if trace is None or not trace.span else format_traceparent(trace)


class tracing:  # lower case: it is read as a verb, "with tracing(trace)"
    """Enter a trace for the length of a block; None leaves the one there was.

    A class and not a generator, because the runtime enters one with every message.
    """

    __slots__ = ("_token", "_trace")

    def __init__(self, trace: Trace | None) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        self._token: Token[Trace | None] = _current.set(self._trace)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def begin_trace(entropy: Entropy, parent: Trace | None = None) -> Trace:
    """Make a new span: below another, or at the root of a trace of its own."""
    span = entropy.token(SPAN_BYTES).hex()
    if parent is None:
        return Trace(id=TraceId(new_id("trace", entropy)), span=span)
    return Trace(id=parent.id, span=span, parent=parent.span, sampled=parent.sampled)


def parse_traceparent(text: str) -> Trace:
    """Read W3C's `traceparent`; the place is that of its sender.

    Raises:
        InvalidRecord: invalid_traceparent.
    """
    match = _TRACEPARENT.fullmatch(text) if len(text) <= MAX_TRACEPARENT else None
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        raise _invalid(text)
    _, trace, span, flags, _ = match.groups()
    if trace == _NO_TRACE or span == _NO_SPAN:
        raise _invalid(text)
    return Trace(id=TraceId(f"trace_{trace}"), span=span, sampled=bool(int(flags, 16) & 1))


def format_traceparent(trace: Trace) -> str:
    """Write W3C's `traceparent`, for whoever is called from this place.

    Raises:
        InvalidRecord: invalid_traceparent; the ids are not W3C's.
    """
    digits = trace.id.removeprefix("trace_")
    if not is_id("trace", trace.id) or _SPAN.fullmatch(trace.span) is None:
        raise _invalid(f"{trace.id} {trace.span}")
    if digits == _NO_TRACE or trace.span == _NO_SPAN:
        raise _invalid(f"{trace.id} {trace.span}")
    return f"00-{digits}-{trace.span}-{'01' if trace.sampled else '00'}"


def _invalid(text: str) -> InvalidRecord:
    return InvalidRecord(
        "invalid_traceparent",
        f"{text[:80]!r} is not a W3C traceparent",
        "write 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, lower case, neither id all zeros",
    )
