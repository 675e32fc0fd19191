"""The law of tasks: whoever works on one never may what its giver may not, and has no way to get more."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.conftest import AuditNotes, House, NoServers
from core.gateway.teaming import Team, open_team_house
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.policy import Decision, decide
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_interface.address import Resource, parse_resource, resource, tool_resource
from mcp_interface.approval import Answer
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.commands import (
    ChangeSession,
    CreateSession,
    ForkSession,
    GrantCapability,
    SpawnAgent,
    Wish,
)
from mcp_interface.errors import NotPermitted, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.provider import Completion
from mcp_interface.session import Profile, Session
from mcp_interface.task import Task
from mcp_interface.team import GiveTask
from mcp_interface.testing import CountWords, MemoryStore
from mcp_security import Approvals, Kernel

EXAMPLES = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 12
names = st.sampled_from(["a", "b", "ab"])
paths = st.builds(
    lambda parts, tail: "/".join(parts) + tail if parts else "**",
    st.lists(names, max_size=3),
    st.sampled_from(["", "/**", "/*"]),
)
uris = st.one_of(
    st.builds(lambda path: f"mcp://fs/read/{path}", paths),
    st.builds(lambda path: f"mcp://fs/write/{path}", paths),
    st.sampled_from(["mcp://agent/execute/llm", "mcp://agent/execute/**", "mcp://tool/execute/text/**"]),
)
wishes = st.lists(
    st.builds(
        Wish,
        resource_uri=uris,
        constraints=st.sampled_from([{}, {}, {"max_uses": 2}, {"max_delegation_depth": 1}]),
    ),
    max_size=3,
)


@st.composite
def part_of(draw: st.DrawFn, held: list[Wish]) -> list[Wish]:
    """What might be handed on out of this: mostly parts of it, now and then something else."""
    wanted = []
    for wish in draw(st.lists(st.sampled_from(held), min_size=1, max_size=2)) if held else []:
        uri = wish.resource_uri
        if uri.endswith("**"):
            uri = uri.removesuffix("**") + draw(st.sampled_from(["**", "a", "ab/**", "b/*"]))
        wanted.append(msgspec.structs.replace(wish, resource_uri=uri))
    return wanted + draw(st.one_of(st.just([]), st.just([]), wishes))


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Wish], list[Wish], list[Wish]]:
    """What a giver holds, what it hands on, and what is handed on out of that."""
    held = draw(wishes.filter(bool))
    asked = draw(part_of(held))
    return held, asked, draw(part_of(asked))


ALL = [Wish(resource_uri="mcp://fs/read/a/**"), Wish(resource_uri="mcp://agent/execute/llm")]
"""Handed on whole, twice."""
PROBES = [
    *(
        resource("fs", kind, "/".join(parts))
        for kind in ("read", "write")
        for parts in (["a"], ["b"], ["ab"], ["a", "b"], ["a", "b", "ab"], ["b", "a"], ["ab", "ab", "a", "a"])
    ),
    resource("agent", "execute", "llm"),
    resource("agent", "execute", "worker"),
    resource("api", "get", "example.org/x"),
    tool_resource("text", "count_words"),
]


@asynccontextmanager
async def opened(store: Any, tools: Any, host: Any = None) -> AsyncIterator[House]:
    store = store or MemoryStore()
    bus = Bus(store, await store.head())
    journal = Journal(store, await store.claim(), bus)
    audit = AuditNotes(SystemClock())
    kernel = await Kernel.open(journal, journal.epoch, audit, SystemClock(), SystemEntropy())
    house = House(store, bus, journal, audit, kernel, Approvals(SystemClock()), tools, host or NoServers())
    await house.open()
    try:
        yield house
    finally:
        await house.close()
        await kernel.close()


def in_a_team(work: Callable[[Team], Awaitable[None]]) -> None:
    async def for_ever(completion: Completion) -> str:
        await asyncio.sleep(3600)
        return ""

    async def scenario() -> None:
        def make(store: Any = None, tools: Any = (), host: Any = None) -> Any:
            return opened(store, tools, host)

        async with asyncio.timeout(60), open_team_house(make) as team:
            team.model.answers = for_ever
            await work(team)

    asyncio.run(scenario())


async def giver_of(team: Team, session: Session, rights: list[Wish]) -> PrincipalId:
    command = SpawnAgent(session_id=session.id, grants=rights)
    return PrincipalId((await team.house.agents.spawn(team.house.owner, command)).id)


async def give(team: Team, session: Session, giver: str | None, rights: list[Wish]) -> Task | None:
    command = GiveTask(session_id=session.id, goal="work", parent=giver, grants=rights)
    try:
        return await team.commands.give(team.house.owner, command)
    except UmbrellaError:
        return None


def may(team: Team, who: PrincipalId, wanted: Resource) -> bool:
    return team.house.kernel.explain(who, wanted).verdict.allowed


@settings(max_examples=EXAMPLES, deadline=None)
@given(family=families())
@example(family=(ALL, ALL, ALL[:1]))
def test_a_child_never_may_what_its_giver_may_not(family: tuple[list[Wish], list[Wish], list[Wish]]) -> None:
    held, asked, below = family

    async def work(team: Team) -> None:
        session = await team.house.commands.create(team.house.owner, CreateSession(profile="open"))
        giver = await giver_of(team, session, held)
        before = len(team.house.kernel.capabilities())
        task = await give(team, session, giver, asked)
        if task is None:
            assert len(team.house.kernel.capabilities()) == before, "all or nothing"
            return
        chain = [giver, PrincipalId(str(task.agent_id))]
        child = team.house.sessions.get(task.child_id)
        second = await give(team, child, str(task.agent_id), below)
        if second is not None:
            chain.append(PrincipalId(str(second.agent_id)))
        for above, beneath in pairwise(chain):
            for wanted in PROBES:
                assert may(team, above, wanted) or not may(team, beneath, wanted), (beneath, wanted)
        assert len(team.house.kernel.held_by(chain[1])) == len(asked), "and it gets all of it"
        await team.house.kernel.revoke_all(giver, PrincipalId("system"), "over")
        for beneath in chain[1:]:
            assert not team.house.kernel.held_by(beneath), "revoking the giver leaves nothing below"
            assert not any(may(team, beneath, wanted) for wanted in PROBES)
        if asked:
            assert (await team.tasks.wait(task.id, 10)).status == "cancelled"

    in_a_team(work)


@settings(max_examples=4 if EXAMPLES < 100 else 40, deadline=None)
@given(profile=st.sampled_from(["open", "careful", "ask", "locked"]), read_only=st.booleans())
def test_a_child_gets_nothing_from_its_person(profile: Profile, read_only: bool) -> None:
    """Neither by the profile of its session, whatever it is changed to, nor by asking, nor through a fork."""

    async def work(team: Team) -> None:
        house, who = team.house, team.house.owner
        session = await house.commands.create(who, CreateSession(profile="open"))
        task = await give(team, session, None, [])
        assert task is not None
        agent = PrincipalId(str(task.agent_id))
        changed = ChangeSession(session_id=task.child_id, profile=profile)  # type: ignore[arg-type]
        child = await house.commands.change(who, changed)
        assert child.profile == profile
        info = CountWords().info()
        assert decide(child, info, tool_resource("text", "count_words")) is Decision.DENY
        request = ToolRequest(
            session_id=child.id,
            principal_id=agent,
            server="text",
            tool="count_words",
            arguments={"text": "a b"},
            may_ask=True,
        )
        assert not house.questions.kinds(request), "nobody answers what a tool wants to know"
        for each in (request, delegating(child, agent)):
            try:
                await house.caller.call(each)
            except NotPermitted:
                pass
            else:
                raise AssertionError(f"{each.tool} ran without a right")
        assert not house.desk.pending(), "nobody was asked"
        assert not house.kernel.held_by(agent)
        try:
            await house.agents.grant(who, GrantCapability(agent=agent, resource_uri="mcp://fs/read/a"))
        except NotPermitted as error:
            assert error.details["reason"] == "child_session"
        else:
            raise AssertionError("a child was granted what its giver did not hand on")
        fork = await house.commands.fork(who, ForkSession(session_id=child.id))
        assert (fork.lineage, fork.profile) == (None, "locked")
        for each in house.directory.listed(fork.id):
            assert each.id != agent and not house.kernel.held_by(PrincipalId(each.id))

    in_a_team(work)


@settings(max_examples=EXAMPLES, deadline=None)
@given(wanted=uris, remember=st.sampled_from(["by its profile", "once", "always"]))
@example(wanted="mcp://fs/read/**", remember="once")
def test_asking_to_hand_on_a_right_adds_nothing_to_what_the_asker_may(wanted: str, remember: Any) -> None:
    """Neither while the task is worked on nor afterwards; whoever works on it may all of it."""

    async def work(team: Team) -> None:
        house = team.house
        profile: Profile = "open" if remember == "by its profile" else "ask"
        session = await house.commands.create(house.owner, CreateSession(profile=profile))
        giver = await giver_of(team, session, [Wish(resource_uri="mcp://agent/execute/llm")])
        before = [may(team, giver, each) for each in PROBES]
        request = msgspec.structs.replace(
            delegating(session, giver), arguments={"goal": "work", "rights": [wanted], "wait": False}
        )
        calling = asyncio.create_task(house.caller.call(request))
        while not calling.done():
            for each in house.desk.pending():
                if house.approving.is_durable(each.id):
                    yes = Answer(allow=True, remember=remember, any_arguments=remember == "always")
                    await house.approving.answer(each.id, yes, house.owner)
            await asyncio.sleep(0.001)
        await calling
        (task,) = team.tasks.index.open()
        assert may(team, PrincipalId(str(task.agent_id)), parse_resource(wanted))
        assert [may(team, giver, each) for each in PROBES] == before
        await team.tasks.cancel(task.id, "seen enough")
        await team.tasks.wait(task.id, 10)
        assert [may(team, giver, each) for each in PROBES] == before

    in_a_team(work)


def delegating(child: Session, agent: PrincipalId) -> ToolRequest:
    return ToolRequest(
        session_id=child.id,
        principal_id=agent,
        server="team",
        tool="delegate",
        arguments={"goal": "get more", "rights": ["mcp://fs/read/a"]},
        may_ask=True,
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(family=families())
@example(family=(ALL, ALL, ALL[:1]))
def test_an_agent_hands_on_only_what_it_holds_so_that_it_can_be_handed_on(
    family: tuple[list[Wish], list[Wish], list[Wish]],
) -> None:
    """Through the tool, in a locked session: the guard lets through no right that the kernel would not hand on."""
    held, wanted, _ = family
    asked = wanted[0].resource_uri if wanted else "mcp://fs/read/a"

    async def work(team: Team) -> None:
        house = team.house
        session = await house.commands.create(house.owner, CreateSession(profile="locked"))
        start = Wish(resource_uri="mcp://agent/execute/llm")
        giver = await giver_of(team, session, [start, *held])
        request = ToolRequest(
            session_id=session.id,
            principal_id=giver,
            server="team",
            tool="delegate",
            arguments={"goal": "work", "rights": [asked], "wait": False},
            may_ask=True,
        )
        try:
            await house.caller.call(request)
        except UmbrellaError:
            assert not team.tasks.index.open()
            return
        (task,) = team.tasks.index.open()
        (right,) = house.kernel.held_by(PrincipalId(str(task.agent_id)))
        above = {each.id: each for each in house.kernel.held_by(giver)}[right.parent_capability_id]
        assert right.resource_uri == asked and above.delegation_depth > right.delegation_depth

    in_a_team(work)
