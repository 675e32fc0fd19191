"""What allowed a call is looked at again right before it begins, however long that took."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import Facts, Need
from mcp_interface.commands import GrantCapability
from mcp_interface.errors import NotPermitted
from mcp_interface.events import ExecutionChanged
from mcp_interface.ids import SYSTEM, PrincipalId
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

FIRST, SECOND = "mcp://fs/read/a", "mcp://fs/write/b"


class Two:
    """A tool that needs two rights."""

    def __init__(self) -> None:
        self.runs = 0

    def info(self) -> ToolInfo:
        return ToolInfo(server="two", name="two", description="Copy a to b.", parameters={"type": "object"})

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(parse_resource(each), Facts(arguments=args, size=0)) for each in (FIRST, SECOND)]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.runs += 1
        return text_result("copied")


async def call(house: Any, agent: Any, session: Any) -> str:
    outcome = await house.caller.call(
        ToolRequest(
            session_id=session.id,
            principal_id=PrincipalId(agent.id),
            server="two",
            tool="two",
            arguments={},
            may_ask=True,
        )
    )
    return str(outcome.result.text)


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def _last(house: Any, session: Any) -> ExecutionChanged:
    records = await house.journal.read(f"session:{session.id}")
    return [record.event for record in records if isinstance(record.event, ExecutionChanged)][-1]


@pytest.mark.parametrize("revoked", [False, True])
def test_a_right_that_ends_while_a_person_is_asked_for_another_allows_nothing(
    open_house: Callable[..., Any], revoked: bool
) -> None:
    async def scenario() -> None:
        two = Two()
        async with open_house(tools=[two]) as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            agent = await house.directory.spawn("worker", "w", session_id=session.id)
            held = await house.agents.grant(house.owner, GrantCapability(agent="w", resource_uri=FIRST))
            running = asyncio.create_task(call(house, agent, session))
            await _until(house.desk.pending)
            (question,) = house.desk.pending()
            assert question.resource_uri == SECOND
            if revoked:
                await house.kernel.revoke(held.id, house.owner)
            house.desk.answer(question.id, Answer(allow=True, remember="once"), house.owner)
            if not revoked:
                assert await running == "copied"  # a right for one use has had it, and still counts
                return
            with pytest.raises(NotPermitted, match="has ended before it began") as refused:
                await running
            assert refused.value.details["reason"] == "capability_revoked"
            assert refused.value.remedy
            assert two.runs == 0
            last = await _last(house, session)
            assert last.status == "failed" and last.error is not None and last.error.code == "denied"
            entry = house.audit.entries[-1]
            assert (entry.kind, entry.reason) == ("access_denied", "capability_revoked")

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["one right", "all rights", "the agent", "about to end"])
def test_what_ends_while_the_start_is_journaled_does_not_run(
    open_house: Callable[..., Any], how: str
) -> None:
    async def scenario() -> None:
        two = Two()
        async with open_house(tools=[two]) as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            agent = await house.directory.spawn("worker", "w", session_id=session.id)
            for wanted in (FIRST, SECOND):
                held = await house.agents.grant(house.owner, GrantCapability(agent="w", resource_uri=wanted))
            add = house.sessions.add

            async def slow(session_id: Any, event: Any) -> Any:
                added = await add(session_id, event)
                if isinstance(event, ExecutionChanged) and event.status == "started":
                    if how == "one right":
                        await house.kernel.revoke(held.id, house.owner)
                    elif how == "all rights":
                        await house.kernel.revoke_all(PrincipalId(agent.id), SYSTEM)
                    elif how == "the agent":
                        await house.directory.stop(agent.id, "enough")
                    else:
                        house.guard._rights.is_active = lambda principal: principal != agent.id
                return added

            house.sessions.add = slow
            with pytest.raises(NotPermitted, match="has ended before it began"):
                await call(house, agent, session)
            assert two.runs == 0
            last = await _last(house, session)
            assert last.status == "failed" and last.error is not None
            assert last.error.details["reason"] == "capability_revoked"

    asyncio.run(scenario())
