"""Hosts near this machine are reached by nobody's wildcard: a person names them, for themselves or for an agent."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.delegation import NAMED, delegate_from_holdings
from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import DEFAULT_DEPTH, Facts, GrantOptions, Need
from mcp_interface.commands import EndSession, GrantCapability, SpawnAgent, Wish
from mcp_interface.errors import CallerMistaken, NotPermitted, StorageUnavailable, UmbrellaError
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import SeededEntropy
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

NEAR = "mcp://api/get/http/localhost:8080/**"
FAR = "mcp://api/get/https/api.example.org/**"


PAGE = "mcp://api/get/http/localhost:8080/x"
WIDE = "mcp://api/get/**"


class Get:
    """A tool that would reach a host near this machine."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.held: Callable[[], Any] = list
        self.during: list[Any] = []

    def info(self) -> ToolInfo:
        return ToolInfo(server="web", name="get", parameters={"type": "object"})

    def validate_args(self, args: dict[str, Any]) -> None:
        if args.get("bad"):
            raise CallerMistaken("bad", "be good")

    def needs(self, args: dict[str, Any]) -> list[Need]:
        return [Need(parse_resource(PAGE), Facts(arguments=args, size=0))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.ran.append(context.principal_id)
        self.during = self.held()
        if args.get("fail"):
            raise StorageUnavailable("the disk is gone", "mend it")
        return text_result("ran")


async def call(house: Any, who: str, session: Any = None, **arguments: Any) -> None:
    session = session or await house.sessions.console(house.owner)
    await house.caller.call(
        ToolRequest(
            session_id=session.id,
            principal_id=PrincipalId(who),
            server="web",
            tool="get",
            arguments=arguments,
            may_ask=who.startswith("agent_"),
        )
    )


async def allowed_by_a_person(house: Any, answer: Answer, who: str, session: Any) -> None:
    task = asyncio.create_task(call(house, who, session))
    while not house.desk.pending() and not task.done():
        await asyncio.sleep(0)
    house.desk.answer(house.desk.pending()[0].id, answer, house.owner)
    await task


def named(house: Any, person: str | None = None) -> list[Any]:
    held = house.kernel.held_by(PrincipalId(person or house.owner))
    return [one for one in held if one.metadata.get("by") == NAMED]


async def person_with(house: Any, **options: Any) -> PrincipalId:
    """Somebody else, who holds the whole of the operation."""
    bob = PrincipalId(new_id("user", SeededEntropy(55)))
    await house.kernel.request(bob, parse_resource(WIDE), GrantOptions(**options))
    return bob


def test_a_person_names_it_and_an_agent_cannot(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            wide = await house.agents.spawn(
                house.owner, SpawnAgent(name="wide", grants=[Wish(resource_uri="mcp://api/get/**")])
            )
            holder = PrincipalId(wide.id)
            page = parse_resource("mcp://api/get/http/localhost:8080/x")
            assert not (await house.kernel.authorize(holder, page)).allowed
            with pytest.raises(NotPermitted):
                await house.agents.spawn(
                    house.owner, SpawnAgent(name="sly", parent="wide", grants=[Wish(resource_uri=NEAR)])
                )
            await house.agents.grant(house.owner, GrantCapability(agent="wide", resource_uri=NEAR))
            assert (await house.kernel.authorize(holder, page)).allowed
            child = await house.agents.spawn(
                house.owner, SpawnAgent(name="child", parent="wide", grants=[Wish(resource_uri=NEAR)])
            )
            assert (await house.kernel.authorize(PrincipalId(child.id), page)).allowed

    asyncio.run(scenario())


def test_naming_what_a_wildcard_reaches_mints_no_root(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            before = len(house.kernel.held_by(house.owner))
            await house.agents.spawn(house.owner, SpawnAgent(name="a"))
            for uri in (FAR, "mcp://api/get/http/*/**"):
                await house.agents.grant(house.owner, GrantCapability(agent="a", resource_uri=uri))
            assert len(house.kernel.held_by(house.owner)) == before

    asyncio.run(scenario())


def test_what_a_person_names_for_one_agent_is_never_handed_to_another(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            one, other = [await house.agents.spawn(house.owner, SpawnAgent(name=name)) for name in "ab"]
            given = await house.agents.grant(house.owner, GrantCapability(agent="a", resource_uri=NEAR))
            assert given.principal_id == one.id
            assert [root.id for root in named(house)] == [given.parent_capability_id]
            for _ in range(2):  # while its agent holds it, and when that is over
                with pytest.raises(NotPermitted, match="named for something else") as refused:
                    await delegate_from_holdings(
                        house.kernel, house.owner, PrincipalId(other.id), parse_resource(PAGE), GrantOptions()
                    )
                assert refused.value.details["reason"] == "path_not_allowed"
                await house.kernel.revoke(given.id, house.owner)

    asyncio.run(scenario())


@pytest.mark.parametrize("remember", ["once", "session", "always"])
def test_an_approval_for_one_agent_lets_no_other_session_reach_it_unasked(
    open_house: Callable[..., Any], remember: Any
) -> None:
    async def scenario() -> None:
        tool = Get()
        async with open_house(tools=[tool]) as house:
            asked = await house.sessions.create(house.owner, "", "ask", "", {})
            unasked = await house.sessions.create(house.owner, "", "open", "", {})
            one = await house.directory.spawn("worker", "a", session_id=asked.id)
            other = await house.directory.spawn("worker", "b", session_id=unasked.id)
            await allowed_by_a_person(house, Answer(allow=True, remember=remember), one.id, asked)
            assert [root.delegation_depth for root in named(house)] == [1]
            assert all((root.expires_at is None) == (remember != "once") for root in named(house))
            with pytest.raises(NotPermitted):
                await call(house, other.id, unasked)
            await house.commands.end(house.owner, EndSession(session_id=asked.id))
            with pytest.raises(NotPermitted):
                await call(house, other.id, unasked)
            assert tool.ran == [one.id]

    asyncio.run(scenario())


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 50])
def test_what_is_named_goes_no_further_and_lasts_no_longer_than_the_whole(
    open_house: Callable[..., Any], depth: int
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bob = await person_with(house, delegation_depth=depth, expires_in=timedelta(hours=1))
            (wide,) = house.kernel.held_by(bob)
            to = PrincipalId(new_id("agent", SeededEntropy(56)))

            async def hand_on(**options: Any) -> Any:
                return await delegate_from_holdings(
                    house.kernel, bob, to, parse_resource(NEAR), GrantOptions(**options), in_person=True
                )

            if depth == 0:
                grants = house.audit.kinds().count("capability_granted")
                with pytest.raises(NotPermitted):
                    await hand_on()
                assert list(house.kernel.held_by(bob)) == [wide]
                assert house.audit.kinds().count("capability_granted") == grants
                return
            right = (await hand_on()).capability
            assert right.expires_at == wide.expires_at
            assert right.delegation_depth == min(depth, DEFAULT_DEPTH) - 1
            short = (await hand_on(expires_in=timedelta(seconds=60), delegation_depth=0)).capability
            assert short.expires_at < wide.expires_at
            assert [root.delegation_depth for root in named(house, bob)] == [min(depth, DEFAULT_DEPTH), 1]
            assert named(house, bob)[1].expires_at - short.expires_at < timedelta(seconds=1)
            await house.kernel.revoke(wide.id, bob)
            with pytest.raises(NotPermitted):
                await hand_on()

    asyncio.run(scenario())


def test_who_was_handed_the_whole_cannot_name_what_would_outlive_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Get()]) as house:
            bob = PrincipalId(new_id("user", SeededEntropy(55)))
            await delegate_from_holdings(house.kernel, house.owner, bob, parse_resource(WIDE), GrantOptions())
            with pytest.raises(NotPermitted):
                await delegate_from_holdings(
                    house.kernel,
                    bob,
                    PrincipalId(new_id("agent", SeededEntropy(56))),
                    parse_resource(NEAR),
                    GrantOptions(),
                    in_person=True,
                )
            with pytest.raises(NotPermitted):
                await call(house, bob)
            assert not named(house, bob)

    asyncio.run(scenario())


def test_what_a_person_names_by_calling_ends_with_the_call(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        tool = Get()
        async with open_house(tools=[tool]) as house:
            tool.held = lambda: named(house)
            for _ in range(3):
                await call(house, house.owner)
                (root,) = tool.during
                assert (root.resource_uri, root.delegation_depth) == (PAGE, 0)
                assert root.constraints == {"max_uses": 1}
                assert root.expires_at - root.granted_at == timedelta(minutes=1)
                assert not named(house)
            for arguments in ({"fail": True}, {"bad": True}):
                with pytest.raises(UmbrellaError):
                    await call(house, house.owner, **arguments)
                assert not named(house)
            await asyncio.gather(*(call(house, house.owner) for _ in range(5)))
            assert not named(house)
            assert len(tool.ran) == 9

    asyncio.run(scenario())


def test_a_person_may_use_what_they_cannot_hand_on(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Get()]) as house:
            bob = await person_with(house, delegation_depth=0, expires_in=timedelta(seconds=30))
            before = list(house.kernel.held_by(bob))
            await call(house, bob)
            assert list(house.kernel.held_by(bob)) == before

    asyncio.run(scenario())


def test_an_act_that_fails_leaves_no_root(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            before = list(house.kernel.capabilities())
            for bad in (
                Wish(resource_uri="mcp://fs/read/x", constraints={"made_up": 1}),
                Wish(resource_uri=NEAR, constraints={"max_uses": 0}),
                Wish(resource_uri=NEAR, expires_in_s=-1),
            ):
                with pytest.raises(UmbrellaError):
                    wishes = [Wish(resource_uri=NEAR), bad]
                    await house.agents.spawn(house.owner, SpawnAgent(name="w", grants=wishes))
                assert list(house.kernel.capabilities()) == before
            real = house.journal.append

            async def refuse(stream: str, events: Any, **fields: Any) -> Any:
                if stream.startswith("agent:"):
                    raise StorageUnavailable("the disk is gone", "mend it")
                return await real(stream, events, **fields)

            monkeypatch.setattr(house.journal, "append", refuse)
            with pytest.raises(StorageUnavailable):
                await house.agents.spawn(house.owner, SpawnAgent(name="w", grants=[Wish(resource_uri=NEAR)]))
            assert list(house.kernel.capabilities()) == before

    asyncio.run(scenario())
