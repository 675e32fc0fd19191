"""A message on its way: from whom, to whom, in which conversation, caused by what."""

from typing import Any, Self

import msgspec

from mcp_interface.address import parse_address
from mcp_interface.clock import Instant
from mcp_interface.errors import InvalidAddress, InvalidRecord
from mcp_interface.ids import ExecutionId, MessageId, SessionId, TraceId, is_principal
from mcp_interface.trace import Trace


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One message between principals. The payload is plain data; the envelope is what the router reads."""

    id: MessageId
    to: str
    """`mcp://agent/<id>` or `mcp://broadcast/<topic>`."""
    sender: str = msgspec.field(name="from")
    """A principal id, or the address of an agent."""
    payload: Any = None
    timestamp: Instant
    session_id: SessionId | None = None
    trace_id: TraceId | None = None
    span_id: str | None = None
    """The span in that trace in which it was sent, 16 hex digits; None when nobody records its spans."""
    execution_id: ExecutionId | None = None
    reply_to: MessageId | None = None
    metadata: dict[str, Any] = {}

    @property
    def trace(self) -> Trace | None:
        """Where in which trace it was sent; None outside of any."""
        if self.trace_id is None:
            return None
        return Trace(id=self.trace_id, span=self.span_id or "", sampled=self.span_id is not None)

    def within(self, trace: Trace) -> Self:
        """Return a copy that was sent at this place of a trace."""
        span = trace.span if trace.sampled and trace.span else None
        return msgspec.structs.replace(self, trace_id=trace.id, span_id=span)

    def validate(self) -> None:
        """Check the addresses.

        Raises:
            InvalidRecord: invalid_to_uri or invalid_from_uri.
        """
        try:
            parse_address(self.to)
        except InvalidAddress as error:
            raise InvalidRecord("invalid_to_uri", error.message, error.remedy) from error
        if is_principal(self.sender):
            return
        try:
            sender = parse_address(self.sender)
        except InvalidAddress as error:
            raise InvalidRecord("invalid_from_uri", error.message, error.remedy) from error
        if sender.kind != "agent":
            raise InvalidRecord(
                "invalid_from_uri", f"{self.sender!r} cannot send", "send as an agent or a user"
            )
