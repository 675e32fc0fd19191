"""A call that hands on a right: what is held has to be one that can be handed on, and so is what is given for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.gateway.teaming import Team, open_team_house
from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import Ask, GrantOptions
from mcp_interface.commands import ChangeSession, CreateSession
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_interface.session import Profile, Session

READ, START = "mcp://fs/read/srv/**", "mcp://agent/execute/llm"
WRITE = "mcp://fs/write/srv/out/**"


async def begun(team: Team, profile: Profile) -> tuple[Session, PrincipalId]:
    session = await team.house.commands.create(team.house.owner, CreateSession(profile=profile))
    return session, PrincipalId(team.house.sessions.get(session.id).agents[0])


async def hold(team: Team, agent: PrincipalId, uri: str, depth: int) -> None:
    from mcp_core.gateway.delegation import bundle_from_holdings

    ask = Ask(resource=parse_resource(uri), options=GrantOptions(delegation_depth=depth))
    await bundle_from_holdings(team.house.kernel, team.house.owner, agent, [ask])


async def delegate(team: Team, session: Session, agent: PrincipalId, *rights: str) -> Any:
    return await team.house.caller.call(
        ToolRequest(
            session_id=session.id,
            principal_id=agent,
            server="team",
            tool="delegate",
            arguments={"goal": "work", "rights": list(rights)},
            may_ask=True,
        )
    )


def held(team: Team, agent: PrincipalId) -> dict[str, Any]:
    return {each.resource_uri: each for each in team.house.kernel.held_by(agent)}


def test_a_right_that_cannot_be_handed_on_does_not_do(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            session, agent = await begun(team, "locked")
            await hold(team, agent, START, 0)
            await hold(team, agent, READ, 0)
            with pytest.raises(NotPermitted, match="that it could hand on") as refused:
                await delegate(team, session, agent, READ)
            assert refused.value.remedy == f"umbrella grant {agent} '{READ}'"
            assert not team.tasks.index.open()
            await hold(team, agent, "mcp://fs/read/**", 1)
            assert (await delegate(team, session, agent, READ)).result.text == "WORK"
            notes = [each for each in team.house.audit.entries if "to hand it on" in str(each.details)]
            assert [each.decision for each in notes] == ["denied", "allowed"]

    asyncio.run(scenario())


def test_an_open_profile_gives_what_can_be_handed_on_and_takes_it_back_below(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            session, agent = await begun(team, "open")

            async def answer(_: Any) -> str:
                await asyncio.sleep(3600)
                return ""

            team.model.answers = answer
            calling = asyncio.create_task(delegate(team, session, agent, READ))
            async with asyncio.timeout(10):
                while not team.model.asked:
                    await asyncio.sleep(0.005)
            assert {uri: each.delegation_depth for uri, each in held(team, agent).items()} == {
                START: 0,
                READ: 1,
            }
            (task,) = team.tasks.index.open()
            child = PrincipalId(str(task.agent_id))
            assert {uri: each.delegation_depth for uri, each in held(team, child).items()} == {READ: 0}
            change = ChangeSession(session_id=session.id, profile="careful")
            await team.house.commands.change(team.house.owner, change)
            assert not held(team, child) and not held(team, agent)
            result = (await calling).result
            assert result.is_error and "nothing is left of the rights" in result.text

    asyncio.run(scenario())


@pytest.mark.parametrize("remember", ["once", "session", "always"])
def test_what_a_person_allows_for_handing_on_binds_who_gets_it_to_the_resource_alone(
    open_house: Callable[..., Any], remember: Any
) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session, agent = await begun(team, "careful")
            seen: dict[str, Any] = {}

            async def look(_: Any) -> str:
                (task,) = team.tasks.index.open()
                seen.update(held(team, PrincipalId(str(task.agent_id))))
                return "looked"

            team.model.answers = look
            calling = asyncio.create_task(delegate(team, session, agent, WRITE))
            asked = []
            async with asyncio.timeout(10):
                while not calling.done():
                    for each in house.desk.pending():
                        if house.approving.is_durable(each.id):
                            asked.append(each.resource_uri)
                            answer = Answer(allow=True, remember=remember)
                            await house.approving.answer(each.id, answer, house.owner)
                    await asyncio.sleep(0.005)
            assert (await calling).result.text == "looked"
            assert asked == [START, WRITE]
            assert list(seen) == [WRITE] and not seen[WRITE].constraints
            assert (WRITE in held(team, agent)) is (remember != "once"), (
                "what was allowed once is over with its task"
            )

    asyncio.run(scenario())


def test_what_cannot_be_recorded_is_not_allowed(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            from mcp_core.gateway.handing_on import judge_handing_on
            from mcp_interface.capability import Context, Need

            session, agent = await begun(team, "locked")
            await hold(team, agent, READ, 1)
            need = Need(parse_resource(READ), depth=1)
            context = Context(session_id=session.id)
            verdict = await judge_handing_on(team.house.kernel, team.house.audit, agent, need, context)
            assert verdict.allowed and verdict.audit_seq == len(team.house.audit.entries)
            team.house.audit.broken = True
            verdict = await judge_handing_on(team.house.kernel, team.house.audit, agent, need, context)
            team.house.audit.broken = False
            assert (verdict.allowed, verdict.reason) == (False, "security_error")

    asyncio.run(scenario())
