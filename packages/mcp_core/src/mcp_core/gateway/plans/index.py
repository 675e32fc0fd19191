"""All plans of a node, as the sessions' streams tell of them.

A projection, shown every record at load and from then on. It holds those that are not over and the latest that
are; an older one is read from the journal again. A copy of a plan in a fork is not another plan.
"""

from collections.abc import Iterator
from typing import Final

from mcp_core.gateway.plans.state import Held, advance, called, ended_with_session
from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.errors import NotFound
from mcp_interface.events import ExecutionChanged, PlanDrafted, PlanMoved, SessionEnded, StepMoved
from mcp_interface.ids import ExecutionId, PlanId, PrincipalId, SessionId
from mcp_interface.plan import PLAN_ENDED
from mcp_interface.store import Record

KEPT: Final = 500
"""Plans that are over and stay in memory."""


class PlanIndex:
    """The plans of one node.

    Args:
        journal: Holds the sessions' streams.
        kept: Ended plans that are held.
    """

    def __init__(self, journal: Journal, kept: int = KEPT) -> None:
        self._journal = journal
        self._kept = kept
        self._open: dict[PlanId, Held] = {}
        self._ended: dict[PlanId, Held] = {}
        """In the order in which they ended."""
        self._places: dict[PlanId, tuple[SessionId, int]] = {}
        """Session of each plan, and the version of its first event."""
        self._in: dict[SessionId, set[PlanId]] = {}
        """Those of each session that are not over."""
        self._acting: dict[PrincipalId, PlanId] = {}
        """Agents that carry out a plan."""

    def heard(self, record: Record) -> None:
        """Move on by one record; harmless when repeated."""
        match record.event:
            case PlanDrafted(plan=plan) if record.stream == stream_of(plan.session_id):
                self._places.setdefault(plan.id, (plan.session_id, record.version))
                self._moved(plan.id, record)
            case PlanMoved(plan_id=key) | StepMoved(plan_id=key):
                self._moved(key, record)
            case ExecutionChanged(status="queued") as event:
                self._called(record.stream, event)
            case SessionEnded(timestamp=moment):
                session_id = SessionId(record.stream.removeprefix("session:"))
                for key in list(self._in.get(session_id, ())):
                    self._keep(ended_with_session(self._open[key], moment))

    def _moved(self, key: PlanId, record: Record) -> None:
        place = self._places.get(key)
        if place is None or record.stream != stream_of(place[0]) or key in self._ended:
            return
        held = advance(self._open.get(key), record)
        if held is not None:
            self._keep(held)

    def _called(self, stream: str, event: ExecutionChanged) -> None:
        key = self._acting.get(event.principal_id)
        held = None if key is None else self._open.get(key)
        if held is not None and stream == stream_of(event.session_id) == stream_of(held.plan.session_id):
            self._keep(called(held, event.execution_id))

    def called(self, key: PlanId, execution_id: ExecutionId) -> None:
        """The step that runs has made its tool call; the bus may tell of it later."""
        if key in self._open:
            self._keep(called(self._open[key], execution_id))

    def _keep(self, held: Held) -> None:
        plan = held.plan
        if plan.status not in PLAN_ENDED:
            self._open[plan.id] = held
            self._in.setdefault(plan.session_id, set()).add(plan.id)
            if held.runs_as is not None:
                self._acting[held.runs_as] = plan.id
            return
        self._open.pop(plan.id, None)
        beside = self._in.get(plan.session_id, set())
        beside.discard(plan.id)
        if not beside:
            self._in.pop(plan.session_id, None)
        if held.runs_as is not None:
            self._acting.pop(held.runs_as, None)
        self._ended[plan.id] = held
        if len(self._ended) > self._kept:
            del self._ended[next(iter(self._ended))]

    def get(self, key: PlanId) -> Held | None:
        """A plan that is not over, or was over lately."""
        return self._open.get(key) or self._ended.get(key)

    def session_of(self, key: PlanId) -> SessionId | None:
        """Whose plan it is, of any that there ever was."""
        place = self._places.get(key)
        return None if place is None else place[0]

    def open(self, session_id: SessionId | None = None) -> list[Held]:
        """Those that are not over, of one session or of all."""
        if session_id is None:
            return list(self._open.values())
        return [self._open[key] for key in self._in.get(session_id, ())]

    def listed(self) -> Iterator[Held]:
        """All that are in memory, in no order."""
        yield from self._open.values()
        yield from self._ended.values()

    async def read(self, key: PlanId) -> Held:
        """A plan, from the journal where it was over long ago.

        Raises:
            NotFound: There is none, or its session's events are gone.
        """
        known = self.get(key)
        if known is not None:
            return known
        place = self._places.get(key)
        if place is None:
            raise unknown(key)
        session_id, version = place
        held: Held | None = None
        after = version - 1
        while page := await self._journal.read(stream_of(session_id), after=after, limit=200):
            for record in page:
                held = _fold(held, key, record)
            if held is not None and held.plan.status in PLAN_ENDED:
                return held
            after = page[-1].version
        if held is None:
            raise unknown(key)
        return held

    async def catch_up(self, key: PlanId) -> None:
        """Read what became of a plan while the journal refused to say so."""
        held = self._open.get(key)
        after = 0 if held is None else held.version
        while held is not None:
            page = await self._journal.read(stream_of(held.plan.session_id), after=after, limit=200)
            for record in page:
                self.heard(record)
            if not page:
                return
            after = page[-1].version


def _fold(held: Held | None, key: PlanId, record: Record) -> Held | None:
    match record.event:
        case PlanDrafted(plan=plan) if plan.id == key:
            return advance(held, record)
        case PlanMoved(plan_id=named) | StepMoved(plan_id=named) if named == key:
            return advance(held, record)
        case ExecutionChanged(principal_id=who, execution_id=call, status="queued") if held is not None:
            return called(held, call) if who == held.runs_as else held
        case SessionEnded(timestamp=moment) if held is not None:
            return ended_with_session(held, moment)
    return held


def unknown(key: str) -> NotFound:
    """The error of an id that names nothing the asker may know of."""
    return NotFound(f"no plan {key[:80]!r}", "list them with: umbrella plan list")
