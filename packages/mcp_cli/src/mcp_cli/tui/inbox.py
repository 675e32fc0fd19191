"""Questions about rights that wait for the person, of this session and of all others, in the order of the card. Pure.

Those of the session on the screen come with its events; those of the others are listed every few seconds, so that one
that was answered here may be in the list a moment longer: it is not put a second time.
"""

from collections.abc import Sequence
from datetime import datetime

from mcp_interface.approval import Approval
from mcp_interface.ids import ApprovalId, SessionId


class Inbox:
    """What waits."""

    def __init__(self) -> None:
        self._settled: set[ApprovalId] = set()

    def settle(self, approval_id: ApprovalId) -> None:
        """An answer is on its way: show the question no more."""
        self._settled.add(approval_id)

    def unsettle(self, approval_id: ApprovalId) -> None:
        """The answer did not count: if the question is still open, it is put again."""
        self._settled.discard(approval_id)

    def waiting(
        self,
        here: Sequence[Approval],
        listed: Sequence[Approval],
        session_id: SessionId | None,
        now: datetime,
    ) -> list[Approval]:
        """All that can be answered now: of this session first, and the oldest first.

        Args:
            here: Of the session on the screen, by its events.
            listed: Of all sessions, as last listed; what it says of this one is older than the events.
            session_id: The session on the screen.
            now: What has ended by then is left out.
        """
        elsewhere = [each for each in listed if each.session_id != session_id]
        elsewhere.sort(key=lambda each: (each.asked_at, each.id))
        known = [*here, *elsewhere]
        self._settled &= {each.id for each in known}
        return [each for each in known if now < each.expires_at and each.id not in self._settled]
