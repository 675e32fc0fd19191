"""What people answered before, by person and tool, so that the next question can be laid beside it.

A projection of the sessions' events, in memory and bounded; what has fallen out of it is a question without a
precedent. Only answers that somebody gave count: a question that ran out or was withdrawn says nothing. It decides
nothing either: a precedent is shown to a person, no call is ever allowed by it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from mcp_interface.approval import Approval, Precedent
from mcp_interface.codec import encode_json
from mcp_interface.errors import NotFound
from mcp_interface.events import ApprovalAnswered, ApprovalAsked
from mcp_interface.ids import SYSTEM, ApprovalId, PrincipalId, SessionId
from mcp_interface.store import Record

MOST: Final = 500
"""Tools, each with the person, of which the last answer is kept."""
MOST_OPEN: Final = 1_000
MAX_ARGUMENTS: Final = 8 * 1024
"""Bytes of arguments that are kept; of a larger call there is no precedent, nor of what was answered before it."""


class _Of(NamedTuple):
    """Whose answers about which tool."""

    person: PrincipalId
    server: str
    tool: str


class _Open(NamedTuple):
    """A question that waits; without arguments if they are too large to keep."""

    of: _Of
    arguments: dict[str, object] | None


class Precedents:
    """The last answer to each tool in the name of each person.

    Args:
        person_of: In whose name a session is.
    """

    def __init__(self, person_of: Callable[[SessionId], PrincipalId]) -> None:
        self._person_of = person_of
        self._open: OrderedDict[ApprovalId, _Open] = OrderedDict()
        self._last: OrderedDict[_Of, Precedent | None] = OrderedDict()

    def of(self, person: PrincipalId, server: str, tool: str) -> Precedent | None:
        """The last answer, if one is known."""
        return self._last.get(_Of(person, server, tool))

    def heard(self, record: Record) -> None:
        """Move on by one event of a session; in order, as `Sessions.watch` gives them."""
        match record.event:
            case ApprovalAsked(approval=approval):
                self._asked(record, approval)
            case ApprovalAnswered() as event:
                self._answered(event)

    def _asked(self, record: Record, approval: Approval) -> None:
        session_id = SessionId(record.stream.removeprefix("session:"))
        if approval.session_id != session_id:
            return  # of a fork: what it has copied was answered in the other one
        try:
            person = self._person_of(session_id)
        except NotFound:
            return
        of = _Of(person, approval.server, approval.tool)
        small = len(encode_json(approval.arguments)) <= MAX_ARGUMENTS
        self._open[approval.id] = _Open(of, approval.arguments if small else None)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)

    def _answered(self, event: ApprovalAnswered) -> None:
        asked = self._open.pop(event.approval_id, None)
        if asked is None or event.by == SYSTEM:
            return
        known = self._last.get(asked.of)
        if known is not None and known.at > event.timestamp:
            return
        arguments = asked.arguments
        self._last[asked.of] = (
            None
            if arguments is None
            else Precedent(at=event.timestamp, allow=event.answer.allow, arguments=arguments)
        )
        self._last.move_to_end(asked.of)
        while len(self._last) > MOST:
            self._last.popitem(last=False)
