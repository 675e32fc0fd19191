"""What a person is shown beside a question about a right: what the call would do, by whom, and what was said before.

Everything here is for the eyes of who is asked; nothing of it is judged by, and nothing of it reaches a model.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.precedents import Precedents
from mcp_core.gateway.sessions import Sessions
from mcp_interface.address import MAX_URI, Resource, resource
from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Effect, Precedent
from mcp_interface.capability import Need, SecurityKernel, Verdict
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.ids import AgentId, ExecutionId, PrincipalId, is_id
from mcp_interface.session import Session
from mcp_interface.tool import Preview, Previews, Tool, ToolContext, ToolInfo

log = logging.getLogger(__name__)

PREVIEW_S: Final = 1.0
"""Seconds that a tool has to tell what a call would change; the question is asked without it then."""
MOST_PREVIEWS: Final = 4
"""At a time, those that came too late included: a disk that hangs holds up no more threads than that."""
_IN_FOLDERS: Final = frozenset({"fs", "api", "db"})
"""Types of resources that lie in one another. A yes is never one to all tools of a server: it may have others soon."""
_LEAST: Final = {"api": 2, "db": 1}
"""Segments that a suggestion names in full at least: scheme and host, or the database."""
_KINDS: Final = {"llm": "assistant"}
"""What kinds of agents are called that people do not know by their type."""
_PERHAPS: Final = frozenset({"allowed", "constraint_violated"})
"""What a judgement of a whole pattern says of a right that covers it: limits are handed on with it."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an `Approval` that is for the eyes."""

    effect: Effect
    touches: list[str]
    agent_name: str
    preview: Preview | None
    precedent: Precedent | None
    suggestions: list[str]


class Showing:
    """Puts together what a person sees of a call.

    Args:
        kernel: Says what the person holds.
        sessions: Say for whom a call is made, and what was answered before.
        find_agent: An agent by id, also one that has ended.
    """

    def __init__(
        self, kernel: SecurityKernel, sessions: Sessions, find_agent: Callable[[AgentId], AgentRecord]
    ) -> None:
        self._kernel = kernel
        self._sessions = sessions
        self._find_agent = find_agent
        self._precedents = Precedents(lambda session_id: sessions.get(session_id).created_by)
        sessions.watch(self._precedents.heard)
        self._previews: set[asyncio.Task[Preview | None]] = set()

    async def close(self) -> None:
        """Wait for no preview any more."""
        for task in self._previews:
            task.cancel()
        await asyncio.gather(*self._previews, return_exceptions=True)

    async def of(self, request: ToolRequest, tool: Tool, needed: Resource) -> Shown:
        """What belongs to a question; takes `PREVIEW_S` at most, and never fails for the sake of a preview."""
        session = self._sessions.get(request.session_id)
        person = session.created_by
        return Shown(
            effect=effect(tool.info()),
            touches=[need.resource.uri for need in tool.needs(request.arguments)],
            agent_name=self._name_of(request.principal_id),
            preview=await self._preview(request, tool, person),
            precedent=self._precedents.of(person, request.server, request.tool),
            suggestions=self._suggestions(session, needed),
        )

    async def _preview(self, request: ToolRequest, tool: Tool, person: PrincipalId) -> Preview | None:
        if not isinstance(tool, Previews) or len(self._previews) >= MOST_PREVIEWS:
            return None
        context = ToolContext(
            execution_id=request.execution_id or ExecutionId(""),
            principal_id=person,
            session_id=request.session_id,
        )
        task = asyncio.ensure_future(tool.preview(request.arguments, context))
        self._previews.add(task)
        task.add_done_callback(self._previewed)
        # not cancelled when it is late: what blocks in a thread goes on there, and counts until it ends
        await asyncio.wait({task}, timeout=PREVIEW_S)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def _previewed(self, task: asyncio.Task[Preview | None]) -> None:
        self._previews.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, UmbrellaError):
            log.warning("a preview failed: %r", error)

    def _name_of(self, principal: PrincipalId) -> str:
        """What an agent is called, or what it is where it has no name; empty for a person."""
        if not is_id("agent", principal):
            return ""
        try:
            agent = self._find_agent(AgentId(principal))
        except NotFound:
            return principal
        return agent.name or _KINDS.get(agent.type, agent.type)

    def _suggestions(self, session: Session, needed: Resource) -> list[str]:
        return [
            wanted.uri
            for wanted in widenings(needed, str(session.metadata.get("cwd", "")))
            if len(wanted.uri) <= MAX_URI and self._hands_on(session.created_by, wanted)
        ]

    def _hands_on(self, person: PrincipalId, wanted: Resource) -> bool:
        """Whether somebody holds a right that all of this can be handed on from."""
        for capability in self._kernel.held_by(person):
            if capability.delegation_depth < 1:
                continue
            try:
                handle = self._kernel.handle_of(capability.id, person)
            except NotFound:
                continue  # it ended in between
            if self._kernel.validate(handle, person, wanted).reason in _PERHAPS:
                return True
        return False


def eyes(kernel: SecurityKernel) -> Callable[[PrincipalId, Need], Verdict]:
    """Judge by all that somebody holds, without recording or counting it: for a look, never for an act."""
    return lambda person, need: kernel.explain(person, need.resource, need.facts).verdict


def effect(tool: ToolInfo) -> Effect:
    """The worst that a tool may do, by its own words; what says nothing of itself may do the worst."""
    if tool.read_only:
        return "reads"
    return "destroys" if tool.destructive else "writes"


def widenings(needed: Resource, cwd: str) -> Iterator[Resource]:
    """The thing itself, its folder, and the folder the person works in if it lies there; from narrow to wide. Pure.

    What lies in no folder is never all of a disk, a network or a server: those are not offered. Of a network no
    more than one host is, and of databases no more than one.
    """
    yield needed
    if needed.type not in _IN_FOLDERS or needed.is_pattern:
        return
    parts = needed.segments if needed.operation == "list" else needed.segments[:-1]
    if needed.type == "api" and len(parts) < _LEAST["api"]:
        parts = needed.segments  # a URL without a path: all of its host is the next wider thing
    if len(parts) < _LEAST.get(needed.type, 1):
        return
    folder = resource(needed.type, needed.operation, "/".join([*parts, "**"]))
    yield folder
    home = cwd.strip("/")
    below = folder.path.startswith(f"{home}/") and folder.path != f"{home}/**"
    if needed.type == "fs" and home and below:
        yield resource("fs", needed.operation, f"{home}/**")
