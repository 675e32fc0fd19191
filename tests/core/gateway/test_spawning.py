"""One agent starts another: with a part of its own rights, all of what was asked for or not at all."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.address import parse_resource
from mcp_interface.capability import Sealed
from mcp_interface.commands import (
    EndSession,
    ExplainAccess,
    GrantCapability,
    SpawnAgent,
    StopAgent,
    Wish,
)
from mcp_interface.errors import (
    CallerMistaken,
    InvalidAddress,
    InvalidRecord,
    LostRace,
    NotFound,
    NotPermitted,
    StorageUnavailable,
)
from mcp_interface.events import AgentStarted
from mcp_interface.ids import AgentId, PrincipalId
from mcp_interface.testing import CountWords, MemoryStore
from mcp_interface.tool import ToolInfo

TOOLS = "mcp://tool/execute/text/**"
COUNT = "mcp://tool/execute/text/count_words"


class Twin(CountWords):
    """A tool of the same name on another server."""

    def info(self) -> ToolInfo:
        return ToolInfo(server="other", name="count_words", parameters={"type": "object"})

    def needs(self, args: dict[str, Any]) -> Any:
        from mcp_interface.address import tool_resource
        from mcp_interface.capability import Need

        return [Need(tool_resource("other", "count_words"))]


async def spawn(house: Any, name: str, parent: str | None = None, *uris: str, **fields: Any) -> Any:
    wishes = [Wish(resource_uri=uri, **fields) for uri in uris]
    return await house.agents.spawn(house.owner, SpawnAgent(name=name, parent=parent, grants=wishes))


async def count(house: Any, who: str, server: str = "text") -> str:
    session = await house.sessions.console(house.owner)
    outcome = await house.caller.call(
        ToolRequest(
            session_id=session.id,
            principal_id=PrincipalId(who),
            server=server,
            tool="count_words",
            arguments={"text": "a b"},
        )
    )
    return str(outcome.result.text)


def rights(house: Any, agent: Any) -> list[str]:
    return [capability.resource_uri for capability in house.kernel.held_by(PrincipalId(agent.id))]


def test_a_child_holds_a_part_of_what_its_parent_holds(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(tools=[CountWords(), Twin()]) as house:
            lead = await spawn(house, "lead", None, TOOLS, "mcp://fs/read/srv/**")
            child = await spawn(house, "child", "lead", COUNT, "mcp://fs/read/srv/docs/**", expires_in_s=60.0)
            assert child.parent_id == lead.id
            assert rights(house, child) == [COUNT, "mcp://fs/read/srv/docs/**"]
            assert len(child.capabilities) == 2
            for capability in house.kernel.held_by(PrincipalId(child.id)):
                assert capability.expires_at is not None
                assert capability.parent_capability_id in lead.capabilities
            assert await count(house, child.id)
            with pytest.raises(NotPermitted) as refused:
                await count(house, child.id, "other")
            assert refused.value.remedy == f"umbrella grant {child.id} mcp://tool/execute/other/count_words"
            started = [
                record.event
                for record in await house.journal.read(f"agent:{child.id}")
                if isinstance(record.event, AgentStarted)
            ]
            assert started[0].parent_id == lead.id

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "wider",
    [
        "mcp://fs/read/**",
        "mcp://fs/read/srv",
        "mcp://fs/read/srv/**",
        "mcp://fs/read/srv/docs2/x",
        "mcp://fs/read/srv/doc*/**",
        "mcp://fs/write/srv/docs/x",
        "mcp://tool/execute/text/count_words",
        "mcp://shell/execute/usr/bin/git",
    ],
)
def test_all_or_nothing_and_the_error_names_the_right_the_reason_and_the_nearest(
    open_house: Callable[..., Any], wider: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            lead = await spawn(house, "lead", None, "mcp://fs/read/srv/docs/**", "mcp://db/query/main/people")
            agents = len(house.directory.listed(stopped=True))
            with pytest.raises(NotPermitted) as refused:
                await spawn(house, "child", "lead", "mcp://db/query/main/people", wider)
            assert wider in refused.value.message
            assert refused.value.details["resource_uri"] == wider
            assert refused.value.details["reason"] in {
                "path_not_allowed",
                "resource_mismatch",
                "no_capability",
            }
            if wider.startswith("mcp://fs/"):
                assert "the nearest that it holds is mcp://fs/read/srv/docs/**" in refused.value.message
            assert len(house.directory.listed(stopped=True)) == agents
            holders = {capability.principal_id for capability in house.kernel.capabilities()}
            assert holders == {house.owner, lead.id}
            assert house.audit.entries[-1].decision == "denied"
            assert house.audit.entries[-1].resource_uri == wider

    asyncio.run(scenario())


def test_a_limit_of_the_parent_binds_and_is_named(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            limit = {"allowed_paths": ["srv/docs/**"]}
            await spawn(house, "lead", None, "mcp://fs/read/srv/**", constraints=limit)
            child = await spawn(house, "child", "lead", "mcp://fs/read/srv/**")
            (held,) = house.kernel.held_by(PrincipalId(child.id))
            assert "allowed_paths" in held.constraints
            with pytest.raises(NotPermitted) as refused:
                wide = {"allowed_paths": ["srv/**"]}
                await spawn(house, "other", "lead", "mcp://fs/read/srv/**", constraints=wide)
            assert "allowed_paths" in refused.value.message
            assert "srv/docs/**" in refused.value.message

    asyncio.run(scenario())


def test_a_right_comes_from_whichever_capability_covers_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            lead = await spawn(house, "lead")
            for uri in ("mcp://fs/read/a/**", "mcp://fs/read/b/**", "mcp://fs/write/a/**"):
                await house.agents.grant(house.owner, GrantCapability(agent="lead", resource_uri=uri))
            child = await spawn(house, "child", "lead", "mcp://fs/read/b/x", "mcp://fs/write/a/x")
            assert rights(house, child) == ["mcp://fs/read/b/x", "mcp://fs/write/a/x"]
            assert lead.id == child.parent_id

    asyncio.run(scenario())


def test_what_cannot_be_handed_on_is_refused_with_the_reason(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            lead = await spawn(house, "lead")
            last = {"max_delegation_depth": 0}
            order = GrantCapability(agent="lead", resource_uri="mcp://fs/read/a/**", constraints=last)
            await house.agents.grant(house.owner, order)
            with pytest.raises(NotPermitted, match="cannot be handed on any further") as refused:
                await spawn(house, "child", "lead", "mcp://fs/read/a/x")
            assert refused.value.details["reason"] == "delegation_depth_exhausted"
            assert rights(house, lead) == ["mcp://fs/read/a/**"]

    asyncio.run(scenario())


def test_stopping_the_parent_ends_what_the_child_had_of_it_and_leaves_the_child(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await spawn(house, "lead", None, TOOLS)
            child = await spawn(house, "child", "lead", COUNT)
            grandchild = await spawn(house, "grandchild", "child", COUNT)
            await house.agents.grant(
                house.owner, GrantCapability(agent="child", resource_uri="mcp://fs/read/x")
            )
            assert await count(house, grandchild.id)
            await house.agents.stop(house.owner, StopAgent(agent="lead"))
            for agent in (child, grandchild):
                with pytest.raises(NotPermitted):
                    await count(house, agent.id)
            assert rights(house, child) == ["mcp://fs/read/x"]
            assert house.directory.get(child.id).state == "active"
            with pytest.raises(NotFound):
                await spawn(house, "late", "lead", COUNT)

    asyncio.run(scenario())


def test_a_childs_right_cannot_be_used_by_its_handle_from_elsewhere(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            lead = await spawn(house, "lead", None, TOOLS)
            child = await spawn(house, "child", "lead", COUNT)
            handle = house.kernel.handle_of(lead.capabilities[0], PrincipalId(lead.id))
            wanted = parse_resource("mcp://tool/execute/text/other")
            verdict = await house.kernel.authorize(PrincipalId(child.id), wanted, handle=handle)
            assert (verdict.allowed, verdict.reason) == (False, "wrong_principal")
            made_up = await house.kernel.authorize(
                PrincipalId(child.id), wanted, handle=Sealed(lead.capabilities[0].encode())
            )
            assert (made_up.allowed, made_up.reason) == (False, "unknown_capability")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grants": [Wish(resource_uri="mcp://fs/read/../etc")]}, InvalidAddress),
        ({"grants": [Wish(resource_uri="not a uri")]}, InvalidAddress),
        ({"grants": [Wish(resource_uri=TOOLS, constraints={"max_uses": 0})]}, InvalidRecord),
        ({"grants": [Wish(resource_uri=TOOLS, constraints={"made_up": 1})]}, NotPermitted),
        ({"parent": "nobody"}, NotFound),
        ({"type": "llm"}, CallerMistaken),
        ({"name": "lead"}, CallerMistaken),
    ],
)
def test_a_bad_wish_starts_nothing(
    open_house: Callable[..., Any], fields: dict[str, Any], error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await spawn(house, "lead", None, TOOLS)
            before = (len(house.directory.listed(stopped=True)), len(house.kernel.capabilities()))
            with pytest.raises(error):
                await house.agents.spawn(
                    house.owner, SpawnAgent(**({"name": "child", "parent": "lead"} | fields))
                )
            assert (len(house.directory.listed(stopped=True)), len(house.kernel.capabilities())) == before

    asyncio.run(scenario())


def test_a_child_lives_in_its_parents_session(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.sessions.create(house.owner, "", "careful", "", {})
            lead = await house.agents.spawn(house.owner, SpawnAgent(name="lead", session_id=session.id))
            child = await spawn(house, "child", "lead")
            assert child.session_id == session.id
            assert house.sessions.get(session.id).agents == [lead.id, child.id]

    asyncio.run(scenario())


def test_an_agent_that_could_not_be_recorded_leaves_no_rights(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            real = house.journal.append

            async def refuse(stream: str, events: Any, **fields: Any) -> Any:
                if stream.startswith("agent:"):
                    raise StorageUnavailable("the disk is gone", "mend it")
                return await real(stream, events, **fields)

            monkeypatch.setattr(house.journal, "append", refuse)
            with pytest.raises(StorageUnavailable):
                await spawn(house, "child", None, TOOLS)
            assert {capability.principal_id for capability in house.kernel.capabilities()} == {house.owner}

    asyncio.run(scenario())


def test_rights_of_an_agent_that_never_came_to_life_end_at_the_next_start(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store) as house:
            ghost = PrincipalId("agent_" + "0" * 32)  # as after a kill between the grant and the birth
            root = house.kernel.held_by(house.owner)[0]
            handle = house.kernel.handle_of(root.id, house.owner)
            await house.kernel.delegate(handle, house.owner, ghost)
        async with open_house(store) as house:
            assert not house.kernel.held_by(ghost)

    asyncio.run(scenario())


def test_a_spawn_that_is_cancelled_leaves_a_whole_agent_or_none(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            for steps in range(12):
                spawning = asyncio.create_task(spawn(house, f"child{steps}", None, TOOLS))
                for _ in range(steps):
                    await asyncio.sleep(0)
                spawning.cancel()
                await asyncio.gather(spawning, return_exceptions=True)
            await spawn(house, "last")
            agents = {agent.id for agent in house.directory.listed()}
            holders = {capability.principal_id for capability in house.kernel.capabilities()} - {house.owner}
            assert {AgentId(holder) for holder in holders} <= agents

    asyncio.run(scenario())


def test_an_explanation_tells_the_whole_way_from_the_root(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await spawn(house, "lead", None, "mcp://fs/read/srv/**")
            child = await spawn(house, "child", "lead", "mcp://fs/read/srv/docs/**", expires_in_s=60.0)
            found = await house.agents.explain(
                house.owner, ExplainAccess(principal="child", resource_uri="mcp://fs/read/srv/secret")
            )
            assert not found.verdict.allowed
            assert found.chain[0].principal_id == child.id
            assert [step.resource_uri for step in found.chain] == [
                "mcp://fs/read/srv/docs/**",
                "mcp://fs/read/srv/**",
                "mcp://fs/read/**",
            ]

    asyncio.run(scenario())


NEAR = "mcp://api/get/http/localhost:8080/**"


def test_nobody_is_born_into_a_session_that_has_ended(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            await house.commands.end(house.owner, EndSession(session_id=session.id))
            before = (len(house.directory.listed(stopped=True)), list(house.kernel.capabilities()))
            wish = [Wish(resource_uri=TOOLS)]
            with pytest.raises(LostRace, match="has ended"):
                await house.agents.spawn(
                    house.owner, SpawnAgent(name="ghost", session_id=session.id, grants=wish)
                )
            assert (len(house.directory.listed(stopped=True)), list(house.kernel.capabilities())) == before

    asyncio.run(scenario())


@pytest.mark.parametrize("step", ["join", "learn"])
def test_an_agent_that_could_not_begin_is_ended_with_its_rights(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            before = (house.directory.listed(), list(house.kernel.capabilities()))

            async def ended(*_: Any) -> None:
                if step == "join":  # the session ends in the moment in which the agent is born
                    await house.sessions.end(session.id, "")
                    await real(*_)
                raise StorageUnavailable("the disk is gone", "mend it")

            place, name = (house.sessions, "join") if step == "join" else (house.agents._endowing, "learn")
            real = getattr(place, name)
            monkeypatch.setattr(place, name, ended)
            wishes = [Wish(resource_uri=TOOLS), Wish(resource_uri=NEAR)]
            with pytest.raises(LostRace if step == "join" else StorageUnavailable):
                await house.agents.spawn(
                    house.owner, SpawnAgent(name="ghost", session_id=session.id, grants=wishes)
                )
            assert (house.directory.listed(), list(house.kernel.capabilities())) == before
            (ghost,) = [each for each in house.directory.listed(stopped=True) if each.name == "ghost"]
            assert ghost.state == "terminated"

    asyncio.run(scenario())


@pytest.mark.parametrize("uri", [TOOLS, NEAR])
def test_a_right_granted_while_its_agent_ends_ends_with_it(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            agent = await spawn(house, "w")
            before = list(house.kernel.capabilities())
            real = house.kernel.delegate_all

            async def slow(*args: Any) -> Any:
                await house.directory.stop(agent.id, "in the same moment")
                return await real(*args)

            monkeypatch.setattr(house.kernel, "delegate_all", slow)
            with pytest.raises(NotFound):
                await house.agents.grant(house.owner, GrantCapability(agent="w", resource_uri=uri))
            assert list(house.kernel.capabilities()) == before

    asyncio.run(scenario())


def test_a_right_comes_from_the_least_limited_that_covers_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await spawn(house, "lead")
            for constraints in ({"max_uses": 5}, {}, {"max_uses": 7}):
                await house.agents.grant(
                    house.owner, GrantCapability(agent="lead", resource_uri=TOOLS, constraints=constraints)
                )
            refusals = house.audit.kinds().count("capability_denied")
            child = await spawn(house, "child", "lead", COUNT, constraints={"max_uses": 50})
            (held,) = house.kernel.held_by(PrincipalId(child.id))
            assert held.constraints == {"max_uses": 50}
            assert house.audit.kinds().count("capability_denied") == refusals

    asyncio.run(scenario())
