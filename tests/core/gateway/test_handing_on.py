"""A call that hands on a right: what is held has to be one that can be handed on, and so is what is given for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.gateway.teaming import Team, open_team_house
from mcp_core.agents.pool import AT_ONCE, QUEUED
from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import Ask, GrantOptions
from mcp_interface.commands import ChangeSession, CreateSession
from mcp_interface.errors import NotPermitted, UmbrellaError
from mcp_interface.ids import PrincipalId, TaskId
from mcp_interface.session import Profile, Session

READ, START = "mcp://fs/read/srv/**", "mcp://agent/execute/llm"
WRITE = "mcp://fs/write/srv/out/**"
COUNT = "mcp://tool/execute/text/count_words"


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
                            assert each.hands_on is (each.resource_uri == WRITE)
                            answer = Answer(
                                allow=True,
                                remember=remember,
                                any_arguments=each.hands_on and remember != "once",
                            )
                            await house.approving.answer(each.id, answer, house.owner)
                    await asyncio.sleep(0.005)
            assert (await calling).result.text == "looked"
            assert asked == [START, WRITE]
            assert list(seen) == [WRITE] and not seen[WRITE].constraints
            assert (WRITE in held(team, agent)) is (remember != "once"), (
                "what was allowed once is over with its task"
            )

    asyncio.run(scenario())


async def answering(team: Team, calling: "asyncio.Task[Any]", answers: Callable[[Any], Answer]) -> list[str]:
    """Answer what is asked until a call is over or somebody works for it; tells for which rights."""
    house, asked, before = team.house, [], len(team.model.asked)
    async with asyncio.timeout(10):
        while not calling.done() and len(team.model.asked) == before:
            for each in house.desk.pending():
                if house.approving.is_durable(each.id):
                    asked.append(each.resource_uri)
                    await house.approving.answer(each.id, answers(each), house.owner)
            await asyncio.sleep(0.005)
    return asked


def counting(session_id: Any, who: PrincipalId) -> ToolRequest:
    arguments = {"text": "a b"}
    return ToolRequest(
        session_id=session_id, principal_id=who, server="text", tool="count_words", arguments=arguments
    )


@pytest.mark.parametrize(
    ("remember", "any_arguments"), [("once", False), ("session", True), ("always", True)]
)
def test_who_asked_to_hand_on_a_right_cannot_use_it_and_who_gets_it_can(
    open_house: Callable[..., Any], remember: Any, any_arguments: bool
) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session, agent = await begun(team, "careful")
            go_on = asyncio.Event()

            async def wait(_: Any) -> str:
                await go_on.wait()
                return "done"

            def yes(each: Any) -> Answer:
                more = each.hands_on and any_arguments
                return Answer(allow=True, remember=remember if each.hands_on else "once", any_arguments=more)

            team.model.answers = wait
            await hold(team, agent, START, 0)
            calling = asyncio.create_task(delegate(team, session, agent, COUNT))
            assert await answering(team, calling, yes) == [COUNT]
            assert held(team, agent)[COUNT].delegation_depth == 1
            with pytest.raises(NotPermitted):
                await house.caller.call(counting(session.id, agent))
            (task,) = team.tasks.index.open()
            child = PrincipalId(str(task.agent_id))
            counted = await house.caller.call(counting(task.child_id, child))
            assert not counted.result.is_error

            again = asyncio.create_task(delegate(team, session, agent, COUNT))
            assert await answering(team, again, yes) == ([COUNT] if remember == "once" else []), (
                "once is for the call that asked"
            )
            go_on.set()
            assert (await calling).result.text == "done"
            await again
            with pytest.raises(NotPermitted):
                await house.caller.call(counting(session.id, agent))
            assert (COUNT in held(team, agent)) is (remember != "once")

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", ["a second right is refused", "the task cannot be given"])
def test_what_was_allowed_once_is_withdrawn_when_nothing_was_handed_on(
    open_house: Callable[..., Any], fails: str
) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            session, agent = await begun(team, "careful")
            await hold(team, agent, START, 0)
            before = len(house.kernel.capabilities())
            if fails == "the task cannot be given":
                for number in range(AT_ONCE + QUEUED):
                    team.tasks.pool.enter(session.id, TaskId(f"task_{number:032x}"))
            rights = [COUNT, WRITE] if fails == "a second right is refused" else [COUNT]
            calling = asyncio.create_task(delegate(team, session, agent, *rights))
            await answering(team, calling, lambda each: Answer(allow=each.resource_uri == COUNT))
            with pytest.raises(UmbrellaError):
                await calling
            assert COUNT not in held(team, agent)
            assert len(house.kernel.capabilities()) == before
            with pytest.raises(NotPermitted):
                await house.caller.call(counting(session.id, agent))

    asyncio.run(scenario())


def test_an_agent_does_not_choose_to_whom_the_data_goes(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house = team.house
            create = CreateSession(profile="locked", model="echo/one")
            session = await house.commands.create(house.owner, create)
            agent = PrincipalId(house.sessions.get(session.id).agents[0])
            await hold(team, agent, START, 0)

            def request(who: PrincipalId, **said: str) -> ToolRequest:
                arguments = {"goal": "work", **said}
                return ToolRequest(
                    session_id=session.id,
                    principal_id=who,
                    server="team",
                    tool="delegate",
                    arguments=arguments,
                )

            with pytest.raises(NotPermitted, match="model of its session") as refused:
                await house.caller.call(request(agent, model="other/two"))
            assert "umbrella task give … --model other/two" in refused.value.remedy
            assert not list(team.tasks.index.each())
            for said in ({}, {"model": "echo/one"}):
                assert (await house.caller.call(request(agent, **said))).result.text == "WORK"
            await house.caller.call(request(house.owner, model="echo/two"))
            models = {house.sessions.get(task.child_id).model for task in team.tasks.index.each()}
            assert models == {"echo/one", "echo/two"}

    asyncio.run(scenario())


def test_a_person_who_may_not_have_the_model_speak_gives_no_task(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_team_house(open_house) as team:
            house, guest = team.house, PrincipalId("user_" + "7" * 32)
            session = await house.commands.create(guest, CreateSession(profile="locked"))
            await house.kernel.request(guest, parse_resource(START))
            request = ToolRequest(
                session_id=session.id,
                principal_id=guest,
                server="team",
                tool="delegate",
                arguments={"goal": "work"},
            )
            with pytest.raises(NotPermitted) as refused:
                await house.caller.call(request)
            assert refused.value.details["resource_uri"] == "mcp://tool/execute/assistant/ask"
            await house.kernel.request(guest, parse_resource("mcp://tool/execute/assistant/ask"))
            assert (await house.caller.call(request)).result.text == "WORK"

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
