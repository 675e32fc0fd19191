"""Commands about agents and what they may do."""

from datetime import timedelta

from mcp_core.agents.base import Learn
from mcp_core.agents.directory import Directory
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.guard import delegate_from_holdings
from mcp_core.gateway.handlers.owning import Owning, require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.sessions import Sessions
from mcp_interface.address import parse_resource
from mcp_interface.agent import AgentRecord
from mcp_interface.capability import Capability, Explanation, GrantOptions, SecurityKernel
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
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import CapabilityId, PrincipalId, is_id, is_principal


class AgentCommands:
    """Handlers over the agents of a node and their rights."""

    def __init__(
        self,
        directory: Directory,
        sessions: Sessions,
        kernel: SecurityKernel,
        owner: PrincipalId,
    ) -> None:
        self._owner = owner
        self._owning = Owning(owner, sessions, directory)
        self._directory = directory
        self._sessions = sessions
        self._kernel = kernel

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
        """Start an agent; with a session it joins it."""
        if command.type != "worker":
            raise CallerMistaken(
                f"agents of type {command.type!r} come with their session or node", "spawn a worker"
            )
        if command.session_id is None:
            require_owner(who, self._owner, "spawn agents outside a session")
            most = None
        else:
            most = self._sessions.get(command.session_id, who).limits.max_agents
        agent = await self._directory.spawn(
            command.type, command.name, command.session_id, metadata=command.metadata, most=most
        )
        if command.session_id is not None:
            await self._sessions.join(command.session_id, agent.id)
        return agent

    async def listed(self, who: PrincipalId, command: ListAgents) -> Page[AgentRecord]:
        """The caller's agents, oldest first."""
        if command.session_id is not None:
            self._sessions.get(command.session_id, who)
        agents = self._directory.listed(command.session_id, command.stopped)
        mine = [agent for agent in agents if self._owning.has(who, agent)]
        return page_of(mine, command.limit, command.cursor)

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
        """Delegate out of what the caller holds, and tell the agent."""
        agent = self._owning.agent(who, command.agent)
        ref = self._directory.ref(agent.id)
        constraints = {} if command.max_uses is None else {"max_uses": command.max_uses}
        lifetime = None if command.expires_in_s is None else timedelta(seconds=command.expires_in_s)
        grant = await delegate_from_holdings(
            self._kernel,
            who,
            PrincipalId(agent.id),
            parse_resource(command.resource_uri),
            GrantOptions(expires_in=lifetime, constraints=constraints),
        )
        ref.tell(Learn(grant.capability))
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
        """Take back a right."""
        return [*await self._kernel.revoke(command.capability_id, who, command.reason)]

    async def explain(self, who: PrincipalId, command: ExplainAccess) -> Explanation:
        """Why, or why not."""
        return self._kernel.explain(
            self._principal(who, command.principal), parse_resource(command.resource_uri)
        )

    def _principal(self, who: PrincipalId, name: str) -> PrincipalId:
        """The caller, or one of the caller's agents; the node's owner may also ask about other people."""
        if name != who and (is_id("agent", name) or not is_principal(name)):
            return PrincipalId(self._owning.agent(who, name).id)
        if name != who:
            require_owner(who, self._owner, "look at other people's capabilities")
        return PrincipalId(name)
