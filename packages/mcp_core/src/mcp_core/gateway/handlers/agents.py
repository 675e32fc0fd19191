"""Commands about agents and what they may do."""

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.gateway.delegation import bundle_from_holdings, delegate_from_holdings, withdraw
from mcp_core.gateway.endowing import Endowing, asks_of, span
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import Owning, require_owner
from mcp_core.gateway.handlers.paging import page_behind, page_of
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import ToolBook
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import parse_resource
from mcp_interface.agent import AgentRecord
from mcp_interface.capability import Capability, Explanation, Grant, GrantOptions, SecurityKernel
from mcp_interface.commands import (
    ExplainAccess,
    GetAgent,
    GrantCapability,
    ListAgents,
    ListCapabilities,
    Page,
    RevokeCapability,
    SpawnAgent,
    StopAgent,
)
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_interface.ids import AgentId, CapabilityId, PrincipalId, is_id, is_principal
from mcp_interface.session import Session, check_open


class AgentCommands:
    """Handlers over the agents of a node and their rights."""

    def __init__(
        self,
        directory: Directory,
        sessions: Sessions,
        kernel: SecurityKernel,
        toolbox: Toolbox,
        book: ToolBook,
        owner: PrincipalId,
    ) -> None:
        self._owner = owner
        self._owning = Owning(owner, sessions, directory)
        self._directory = directory
        self._sessions = sessions
        self._kernel = kernel
        self._endowing = Endowing(kernel, directory, toolbox, book)

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            SpawnAgent: self.spawn,
            ListAgents: self.listed,
            GetAgent: self.get,
            StopAgent: self.stop,
            GrantCapability: self.grant,
            ListCapabilities: self.capabilities,
            RevokeCapability: self.revoke,
            ExplainAccess: self.explain,
        }

    async def spawn(self, who: PrincipalId, command: SpawnAgent) -> AgentRecord:
        """Start an agent with what is handed to it, all of it or not at all; with a session it joins it."""
        if command.type != "worker":
            raise CallerMistaken(
                f"agents of type {command.type!r} come with their session or node", "spawn a worker"
            )
        if command.metadata.get("topics"):  # they are the node's, and what is said in them its owner's affair
            require_owner(who, self._owner, "have agents listen to topics")
        parent = None if command.parent is None else self._owning.agent(who, command.parent)
        if parent is not None:
            self._directory.ref(parent.id)  # it has to be alive
        # a child lives and ends with its parent's session
        session_id = command.session_id or (None if parent is None else parent.session_id)
        if session_id is None:
            require_owner(who, self._owner, "spawn agents outside a session")
            most = None
        else:
            session = self._sessions.get(session_id, who)
            check_open(session)
            if parent is None and asks_of(command.grants):
                require_person(session)
            most = session.limits.max_agents
        asks = asks_of(command.grants)
        grants: list[Grant] = []

        async def endow(agent_id: AgentId) -> None:
            holder = who if parent is None else PrincipalId(parent.id)
            to = PrincipalId(agent_id)
            grants.extend(
                await bundle_from_holdings(self._kernel, holder, to, asks, in_person=parent is None)
            )

        try:
            agent = await self._directory.spawn(
                command.type,
                command.name,
                session_id,
                None if parent is None else parent.id,
                metadata=command.metadata,
                most=most,
                endow=endow if asks else None,
            )
        except Exception:
            await withdraw(self._kernel, grants)
            raise
        try:
            if session_id is not None:
                await self._sessions.join(session_id, agent.id)
            await self._endowing.learn(agent.id, grants)
        except BaseException:
            await self._directory.stop(agent.id, "it could not begin")
            await withdraw(self._kernel, grants)
            raise
        return self._directory.get(agent.id)

    async def listed(self, who: PrincipalId, command: ListAgents) -> Page[AgentRecord]:
        """The caller's agents, oldest first."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        agents = self._directory.each(command.session_id, stopped=command.stopped)
        mine = (agent for agent in agents if self._owning.has(who, agent))
        page = page_behind(mine, self._directory.place, command.limit, command.cursor)
        return msgspec.structs.replace(page, items=[self._directory.get(agent.id) for agent in page.items])

    async def get(self, who: PrincipalId, command: GetAgent) -> AgentRecord:
        """One agent."""
        return self._directory.get(self._owning.agent(who, command.agent).id)

    async def stop(self, who: PrincipalId, command: StopAgent) -> None:
        """End an agent."""
        agent = self._owning.agent(who, command.agent)
        if agent.type == "tool_executor":
            raise CallerMistaken("the tool executor lives as long as its node", "stop the node instead")
        await self._directory.stop(agent.id, command.reason)

    async def grant(self, who: PrincipalId, command: GrantCapability) -> Capability:
        """Delegate out of what the caller holds, and tell the agent; the owner also hands rights to other people."""
        to = self._grantee(who, command.agent)
        if command.max_uses is not None and "max_uses" in command.constraints:
            raise CallerMistaken("the uses are limited twice", "give the number once")
        uses = {} if command.max_uses is None else {"max_uses": command.max_uses}
        wanted = parse_resource(command.resource_uri)
        grant = await delegate_from_holdings(
            self._kernel,
            who,
            to,
            wanted,
            GrantOptions(expires_in=span(command.expires_in_s), constraints={**command.constraints, **uses}),
            in_person=True,
        )
        try:
            await self._endowing.learn(to, [grant])  # raises if an agent has ended meanwhile
        except BaseException:
            await withdraw(self._kernel, [grant])
            raise
        return grant.capability

    async def capabilities(self, who: PrincipalId, command: ListCapabilities) -> Page[Capability]:
        """Live capabilities."""
        if command.principal is None:
            require_owner(who, self._owner, "list everybody's capabilities")
            return page_of(self._kernel.capabilities(), command.limit, command.cursor)
        return page_of(
            self._kernel.held_by(self._principal(who, command.principal)), command.limit, command.cursor
        )

    async def revoke(self, who: PrincipalId, command: RevokeCapability) -> list[CapabilityId]:
        """Take back a right; of what ended with it, at most 1,000 ids."""
        return [*await self._kernel.revoke(command.capability_id, who, command.reason)]

    async def explain(self, who: PrincipalId, command: ExplainAccess) -> Explanation:
        """Why, or why not."""
        return self._kernel.explain(
            self._principal(who, command.principal), parse_resource(command.resource_uri)
        )

    def _grantee(self, who: PrincipalId, name: str) -> PrincipalId:
        """Whom a right is for: one of the caller's agents, which has to be alive, or a person by their id."""
        if is_id("user", name):
            require_owner(who, self._owner, "hand rights to people")
            if name == who:
                raise CallerMistaken("you hold that already", "name somebody else")
            return PrincipalId(name)
        agent = self._owning.agent(who, name)
        self._directory.ref(agent.id)
        if agent.session_id is not None:
            require_person(self._sessions.get(agent.session_id))
        return PrincipalId(agent.id)

    def _principal(self, who: PrincipalId, name: str) -> PrincipalId:
        """The caller, or one of the caller's agents; the node's owner may also ask about other people."""
        if name != who and (is_id("agent", name) or not is_principal(name)):
            return PrincipalId(self._owning.agent(who, name).id)
        if name != who:
            require_owner(who, self._owner, "look at other people's capabilities")
        return PrincipalId(name)


def require_person(session: Session) -> None:
    """Return unless a session is one in which an agent works on a task: what it holds comes from its giver alone.

    Raises:
        NotPermitted: It is one.
    """
    if session.lineage is not None:
        raise NotPermitted(
            f"{session.id} is about a task, and what is held in it comes from whoever gave the task",
            "grant it to the giver, and give a task with it",
            {"reason": "child_session"},
        )
