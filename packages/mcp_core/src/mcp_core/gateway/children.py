"""The sessions in which agents work on tasks: made with their agent and all of its rights, ended with both.

A child session belongs to the person of the session above it, is locked, and is told apart by its lineage: nobody is
asked in it, and nothing is granted in it but what whoever gave the task hands on when it is made.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mcp_core.agents.directory import Directory
from mcp_core.gateway.delegation import NAMED, bundle_from_holdings, withdraw
from mcp_core.gateway.endowing import Endowing, asks_of
from mcp_core.gateway.forking import NODES_OWN
from mcp_core.gateway.sessions import Sessions
from mcp_core.tools.team import Order
from mcp_interface.agent import AgentRecord
from mcp_interface.capability import Grant, SecurityKernel
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.errors import NotPermitted, UmbrellaError
from mcp_interface.events import SessionCreated
from mcp_interface.ids import SYSTEM, AgentId, CapabilityId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.session import Cleanup, Limits, Session
from mcp_interface.task import Lineage, Task

log = logging.getLogger(__name__)

KIND: Final = "task"
"""What a child session's metadata says that the node uses it for."""
TITLE: Final = 80

End = Callable[[SessionId, PrincipalId, str, Cleanup], Awaitable[None]]
"""Ends a session with all that is in it."""


class Children:
    """Makes and ends child sessions.

    Args:
        sessions: Where they are kept.
        directory: Where their agents are born.
        kernel: Makes their rights.
        endowing: Tells their agents.
        end: Ends a session.
        clock: Source of time.
        entropy: Makes ids.
    """

    def __init__(
        self,
        sessions: Sessions,
        directory: Directory,
        kernel: SecurityKernel,
        endowing: Endowing,
        end: End,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._kernel = kernel
        self._endowing = endowing
        self._end = end
        self._clock = clock
        self._entropy = entropy

    async def make(self, order: Order, session: Session) -> Task:
        """Make the session for an order, with its agent and all that is handed on, or nothing at all.

        Returns:
            The task as it is to be journaled; in the session above nothing has happened yet.

        Raises:
            NotPermitted: The giver does not hold all of it, may not hand it on, or has ended.
            CallerMistaken: The name is taken, or a right is none.
        """
        asks = asks_of(order.grants)
        child_id = SessionId(new_id("session", self._entropy))
        grants: list[Grant] = []
        in_person = is_id("user", order.by)

        async def endow(agent_id: AgentId) -> None:
            to = PrincipalId(agent_id)
            grants.extend(await bundle_from_holdings(self._kernel, order.by, to, asks, in_person=in_person))

        await self._sessions.add(child_id, self._created(order, session, child_id))
        try:
            agent = await self._directory.spawn(
                "llm",
                order.name,
                child_id,
                None if in_person else AgentId(order.by),
                endow=endow if asks else None,
            )
            await self._sessions.join(child_id, agent.id)
            await self._endowing.learn(agent.id, grants)
            if not self._directory.is_active(order.by):
                raise NotPermitted(f"{order.by} has ended", "give it as somebody who lives")
        except BaseException:
            await asyncio.shield(self._undo(child_id, grants))
            raise
        return task_of(order, self._clock.now(), agent, child_id)

    async def _undo(self, child_id: SessionId, grants: Sequence[Grant]) -> None:
        await withdraw(self._kernel, grants)
        await self.end_session(child_id, "its task was not given")

    async def unmake(self, task: Task) -> None:
        """End what was made for a task that could not be given."""
        await self.end(task, "its task was not given")

    async def end(self, task: Task, reason: str) -> None:
        """End the session of a task with all beneath, and take back what a person allowed for this task once."""
        await self._take_back(task)
        if task.child_id is not None:
            await self.end_session(task.child_id, reason)

    async def end_session(self, child_id: SessionId, reason: str) -> None:
        """End one child session; what fails is finished at the next start."""
        await _tried(self._end(child_id, SYSTEM, reason, "immediate"))

    async def _take_back(self, task: Task) -> None:
        """What was allowed once was to be handed on to one task, not to be kept by whoever gave it."""
        if task.agent_id is None:
            return
        held = self._kernel.held_by(PrincipalId(task.agent_id))
        above = {capability.parent_capability_id for capability in held}
        for capability in self._kernel.held_by(task.by):
            said = capability.metadata
            if capability.id in above and (said.get("remember") == "once" or said.get("by") == NAMED):
                await _tried(self._revoke(capability.id))

    async def _revoke(self, capability_id: CapabilityId) -> None:
        await self._kernel.revoke(capability_id, SYSTEM, "the task that it was for is over")

    def _created(self, order: Order, session: Session, child_id: SessionId) -> SessionCreated:
        metadata: dict[str, Any] = {
            NODES_OWN: KIND,
            "timeout_s": order.timeout_s,
            "handed": len(order.grants),
        }
        if "cwd" in session.metadata:
            metadata["cwd"] = session.metadata["cwd"]
        return SessionCreated(
            timestamp=self._clock.now(),
            session_id=child_id,
            created_by=session.created_by,
            title=" ".join((order.name or order.goal).split())[:TITLE],
            profile="locked",
            model=order.model or session.model,
            metadata=metadata,
            limits=Limits(budget=order.budget),
            system=briefing([wish.resource_uri for wish in order.grants]),
            lineage=Lineage(session_id=session.id, task_id=order.task_id, by=order.by),
        )


def task_of(
    order: Order, now: Instant, agent: AgentRecord | None = None, child_id: SessionId | None = None
) -> Task:
    """An order as a task that has just been given."""
    return Task(
        id=order.task_id,
        session_id=order.session_id,
        by=order.by,
        goal=order.goal,
        name=order.name,
        given_at=now,
        agent_id=None if agent is None else agent.id,
        child_id=child_id,
    )


def briefing(rights: Sequence[str]) -> str:
    """What whoever works on a task is told beside what every assistant is told."""
    may = "\n".join(f"- {uri}" for uri in rights) or "- nothing: think and answer"
    return (
        "You work on a task that was handed to you. Nobody reads along and nobody can be asked: what is refused stays "
        "refused, so go on without it and say so at the end. Your last message is the result; whoever gave you the "
        f"task reads that and nothing else. You may use:\n{may}"
    )


async def _tried(work: Awaitable[Any]) -> None:
    try:
        await work
    except UmbrellaError as error:
        log.warning("a task could not be cleaned up: %s", error)
