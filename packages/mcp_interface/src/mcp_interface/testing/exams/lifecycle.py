"""The part of the client exam about the states of a session, and about forks of it."""

from typing import Any, Final

from mcp_interface.client import Client
from mcp_interface.commands import (
    ChangeSession,
    Command,
    CreateSession,
    EndSession,
    ForkSession,
    GetSession,
    ListSessions,
    PostMessage,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.errors import CallerMistaken, NotFound, WrongState
from mcp_interface.events import (
    AgentJoined,
    AssistantMessage,
    SessionCreated,
    SessionResumed,
    SessionSuspended,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import SessionId, new_id
from mcp_interface.session import ForkPoint, Limits, Session
from mcp_interface.store import Record
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.exams.connection import Entrance, connected, read_whole, say
from mcp_interface.testing.time import SeededEntropy


async def _suspends_and_resumes(entrance: Entrance) -> None:
    async with connected(entrance) as client, connected(entrance) as other:
        session = await client.request(CreateSession(title="paused"))
        await say(client, session.id, "hello")
        for _ in range(2):
            resting = await client.request(SuspendSession(session_id=session.id, reason="lunch"))
            assert resting.status == "suspended", f"a suspended session says so: {resting.status}"
        assert await other.request(GetSession(session_id=session.id)) == resting, "everybody sees it"
        before = await read_whole(client, session.id)
        with refuses(WrongState, what="talking in a suspended session") as caught:
            await other.request(PostMessage(session_id=session.id, text="anybody there?"))
        assert caught.error.details.get("status") == "suspended", "the error names the state"
        assert "resume" in caught.error.remedy, f"and what helps: {caught.error.remedy}"
        assert await read_whole(client, session.id) == before, "a refused message leaves no trace"
        renamed = await client.request(ChangeSession(session_id=session.id, title="renamed"))
        assert (renamed.title, renamed.status) == ("renamed", "suspended"), "settings can be changed"
        listed = await client.request(ListSessions(limit=1))
        assert listed.items[0].status == "suspended", "it is listed as suspended"
        for _ in range(2):
            going = await other.request(ResumeSession(session_id=session.id))
            assert going.status == "active", f"a resumed session is active, not {going.status}"
        await say(client, session.id, "back again")
        events = [record.event for record in await read_whole(client, session.id)]
        steps = [type(event) for event in events if isinstance(event, SessionSuspended | SessionResumed)]
        assert steps == [SessionSuspended, SessionResumed], f"each step is remembered once: {steps}"


async def _knows_which_step_may_follow(entrance: Entrance) -> None:
    unknown = SessionId(new_id("session", SeededEntropy(407)))
    async with connected(entrance) as client:
        session = await client.request(CreateSession())
        await client.request(SuspendSession(session_id=session.id))
        await client.request(EndSession(session_id=session.id, cleanup="graceful"))
        over = await client.request(GetSession(session_id=session.id))
        assert over.status == "terminated", f"a suspended session can be ended: {over.status}"
        steps: tuple[Command[Any], ...] = (
            SuspendSession(session_id=session.id),
            ResumeSession(session_id=session.id),
        )
        for step in steps:
            with refuses(WrongState, what=f"{type(step).__name__} after the end"):
                await client.request(step)
        for command in (
            SuspendSession(session_id=unknown),
            ResumeSession(session_id=unknown),
            ForkSession(session_id=unknown),
        ):
            with refuses(NotFound, what=f"{type(command).__name__} of an unknown session"):
                await client.request(command)
        for cleanup in ("graceful", "immediate", "force"):
            made = await client.request(CreateSession(limits=Limits(max_agents=3, idle_timeout_s=3600.0)))
            assert made.limits == Limits(max_agents=3, idle_timeout_s=3600.0), (
                f"limits are kept: {made.limits}"
            )
            await client.request(EndSession(session_id=made.id, cleanup=cleanup))
            ended = await client.request(GetSession(session_id=made.id))
            assert ended.status == "terminated", f"{cleanup} ends it: {ended.status}"


async def _forks(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        parent = await client.request(CreateSession(title="parent", profile="ask", metadata={"cwd": "/srv"}))
        await say(client, parent.id, "one")
        await client.request(ChangeSession(session_id=parent.id, profile="locked"))
        await say(client, parent.id, "two")
        whole = await read_whole(client, parent.id)
        for cut in (whole[0], whole[len(whole) // 2], whole[-1]):
            by_version = await client.request(ForkSession(session_id=parent.id, version=cut.version))
            by_position = await client.request(ForkSession(session_id=parent.id, position=cut.position))
            for made in (by_version, by_position):
                await _check_fork(client, parent, made, whole[: cut.version])
        named = await client.request(ForkSession(session_id=parent.id, title="another way"))
        assert named.title == "another way", f"a fork can be named: {named.title}"
        await say(client, named.id, "three")
        assert await read_whole(client, parent.id) == whole, "what it came from stays as it is"
        again = await client.request(ForkSession(session_id=named.id))
        assert again.forked_from is not None and again.forked_from.session_id == named.id, "forks have forks"
        await client.request(EndSession(session_id=parent.id))
        late = await client.request(ForkSession(session_id=parent.id))
        assert late.status == "active", "an ended session goes on in a fork"
        assert await read_whole(client, named.id), "a fork needs nothing of what it came from"
        last = len(await read_whole(client, parent.id))
        for wrong in (
            ForkSession(session_id=parent.id, version=last + 1),
            ForkSession(session_id=parent.id, version=0),
            ForkSession(session_id=parent.id, position=whole[0].position - 1),
            ForkSession(session_id=parent.id, version=1, position=whole[0].position),
        ):
            with refuses(CallerMistaken, what=f"a fork at {wrong.version}, {wrong.position}"):
                await client.request(wrong)


async def _check_fork(client: Client, parent: Session, made: Session, carried: list[Record]) -> None:
    made.validate()
    assert made.id != parent.id and made.status == "active", f"a fork is a session of its own: {made}"
    assert made.forked_from == ForkPoint(session_id=parent.id, version=len(carried)), "it says where from"
    assert made.metadata == parent.metadata, "it works where the other one did"
    assert not set(made.agents) & set(parent.agents), "agents are not carried over"
    assert (await client.request(GetSession(session_id=made.id))).forked_from == made.forked_from
    record, *rest = await read_whole(client, made.id)
    first = record.event
    assert isinstance(first, SessionCreated) and first.session_id == made.id, f"it begins anew: {first}"
    assert first.forked_from == made.forked_from, "its history says where it is from"
    # nobody's turn and nobody's agent: what was going on there is not going on here
    old = [each.event for each in carried[1:] if not isinstance(each.event, AgentJoined | TurnStarted)]
    new = [each.event for each in rest if not isinstance(each.event, AgentJoined | TurnStarted)]
    assert new[: len(old)] == old, "what was said and done is carried over as it was"
    said = [event for event in old if isinstance(event, UserMessage | AssistantMessage)]
    assert made.message_count >= len(said), f"{len(said)} messages, not {made.message_count}"


LIFECYCLE: Final = (_suspends_and_resumes, _knows_which_step_may_follow, _forks)
"""Every part; `check_client` runs them."""
