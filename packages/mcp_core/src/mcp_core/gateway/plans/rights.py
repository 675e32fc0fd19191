"""The rights of a plan: an agent of its own holds them, exactly what the steps need, and they end with the plan.

No other work can use them: the agent speaks to nobody, is made for one plan, and hands nothing on but where a step is to do
that. What it holds
comes out of the holdings of the person who approves, all of it or nothing.
"""

from collections.abc import Sequence
from typing import Final

from mcp_core.agents.directory import Directory
from mcp_core.gateway.delegation import bundle_from_holdings, withdraw
from mcp_core.gateway.plans.drafting import Drafting, call_of, of_step
from mcp_core.gateway.plans.risk import risk_of_tool
from mcp_core.gateway.tool_book import ToolBook
from mcp_interface.address import parse_resource
from mcp_interface.agent import AgentRecord
from mcp_interface.capability import Ask, Grant, GrantOptions, Need, Sealed, SecurityKernel
from mcp_interface.errors import NotPermitted, UmbrellaError, WrongState
from mcp_interface.ids import AgentId, PlanId, PrincipalId
from mcp_interface.plan import Plan
from mcp_interface.session import Session
from mcp_interface.tool import ToolInfo

PLAN: Final = "plan"
"""The key of an agent's metadata that names the plan it was made for."""
_ENDED: Final = Sealed(b"")
"""In place of a handle that is not presented to anybody."""


class PlanRights:
    """Gives a plan its agent and its rights, and takes both back.

    Args:
        kernel: Mints and revokes.
        directory: Where the agents live.
        drafting: Finds the tools of steps.
        book: Pins external tools as they were approved.
    """

    def __init__(
        self, kernel: SecurityKernel, directory: Directory, drafting: Drafting, book: ToolBook
    ) -> None:
        self._kernel = kernel
        self._directory = directory
        self._drafting = drafting
        self._book = book

    async def hire(self, plan: Plan, session: Session, steps: Sequence[int]) -> PrincipalId:
        """Bring the plan's agent to life, with the rights of these steps or not at all.

        Raises:
            NotPermitted: The person does not hold one of them, or has refused such a call for good; names the step
                or the right.
            WrongState: A tool is not what it was when the plan was drafted.
            UmbrellaError: There is no room for another agent, or storage refused.
        """
        infos: list[ToolInfo] = []
        needs = [need for number in steps for need in await self._needs(plan, session, number, infos)]
        grants: list[Grant] = []

        async def endow(agent_id: AgentId) -> None:
            agent = PrincipalId(agent_id)
            grants.extend(await self._hand_over(plan, session, agent, [need for _, need in needs]))
            self._require_all(agent, needs)

        try:
            record = await self._directory.spawn(
                "worker",
                f"plan-{plan.id.partition('_')[2][:8]}",
                session.id,
                metadata={PLAN: plan.id},
                most=session.limits.max_agents,
                endow=endow if needs else None,
            )
        except BaseException:
            await withdraw(self._kernel, grants)
            raise
        agent = PrincipalId(record.id)
        await self._book.pin_granted(infos, agent)
        return agent

    async def give(self, plan: Plan, session: Session, agent: PrincipalId, number: int) -> None:
        """Give the agent the rights of one step, all or none.

        Raises:
            UmbrellaError: As `hire`; or the agent has ended.
        """
        infos: list[ToolInfo] = []
        needs = await self._needs(plan, session, number, infos)
        if not self._directory.is_active(agent):
            raise WrongState(f"{agent} has ended, and with it {plan.id}", "draft a new plan")
        grants = await self._hand_over(plan, session, agent, [need for _, need in needs])
        try:
            self._require_all(agent, needs)
            await self._book.pin_granted(infos, agent)
        except BaseException:
            await withdraw(self._kernel, grants)
            raise

    async def take_back(self, agent: PrincipalId) -> None:
        """End all that a plan's agent holds, with what was named for it."""
        held = [Grant(capability, _ENDED) for capability in self._kernel.held_by(agent)]
        await withdraw(self._kernel, held)

    async def dismiss(self, agent: PrincipalId, reason: str) -> None:
        """End a plan's agent and its rights; harmless when repeated."""
        await self.take_back(agent)
        await self._directory.stop(AgentId(agent), reason)

    def is_active(self, agent: PrincipalId) -> bool:
        """Whether a plan's agent may still act."""
        return self._directory.is_active(agent)

    def agents(self) -> list[tuple[AgentRecord, PlanId]]:
        """Living agents that were made for plans, with those."""
        return [
            (agent, PlanId(str(agent.metadata[PLAN])))
            for agent in self._directory.each()
            if agent.type == "worker" and PLAN in agent.metadata
        ]

    async def _needs(
        self, plan: Plan, session: Session, number: int, infos: list[ToolInfo]
    ) -> list[tuple[int, Need]]:
        """What a step needs, by what its tool is now, which has to be what it was."""
        step = plan.steps[number]
        call = call_of(step.work, session)
        if call is None:
            return []
        try:
            tool = await self._drafting.tool(call, session.created_by)
            info = tool.info()
            if self._drafting.is_external(call):
                await self._book.check(info, session.created_by, session.id)
                infos.append(info)
            tool.validate_args(call.arguments)
            await self._book.require_not_refused(
                session.created_by, session.created_by, call.server, call.tool, call.arguments, session.id
            )
            needs = list(tool.needs(call.arguments))
        except UmbrellaError as error:
            raise of_step(number, error) from error
        uris = list(dict.fromkeys(need.resource.uri for need in needs))
        if uris != step.needs or risk_of_tool(info, [need.resource for need in needs]) != step.risk:
            raise WrongState(
                f"step {number + 1}: {call.server}/{call.tool} is not what it was when {plan.id} was drafted",
                "draft it anew, and look at what it needs now",
                {"status": plan.status},
            )
        return [(number, need) for need in needs]

    async def _hand_over(
        self, plan: Plan, session: Session, agent: PrincipalId, needs: Sequence[Need]
    ) -> Sequence[Grant]:
        if not needs:
            return []
        depths: dict[str, int] = {}
        for need in needs:
            depths[need.resource.uri] = max(need.depth, depths.get(need.resource.uri, 0))
        by = {"by": f"plan {plan.id}"}
        asks = [
            Ask(resource=parse_resource(uri), options=GrantOptions(delegation_depth=depth, metadata=by))
            for uri, depth in depths.items()
        ]
        return await bundle_from_holdings(self._kernel, session.created_by, agent, asks, in_person=True)

    def _require_all(self, agent: PrincipalId, needs: Sequence[tuple[int, Need]]) -> None:
        """Return if what was handed over allows each step with its arguments: a limit may stand in the way."""
        for number, need in needs:
            verdict = self._kernel.explain(agent, need.resource, need.facts).verdict
            if not verdict.allowed:
                raise NotPermitted(
                    f"step {number + 1}: {verdict.message}",
                    "change the step, or hold the right without that limit",
                    {"reason": verdict.reason, "resource_uri": need.resource.uri, "principal_id": agent},
                )
