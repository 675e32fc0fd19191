"""States and forks of sessions over kill -9 of their node, seen by several clients."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_interface.client import Client
from mcp_interface.commands import (
    CallTool,
    CreateSession,
    EndSession,
    ForkSession,
    GetSession,
    PostMessage,
    ReadSession,
    ResumeSession,
    SuspendSession,
)
from mcp_interface.errors import UmbrellaError, WrongState
from mcp_interface.events import SessionEnded, TurnEnded
from mcp_interface.ids import SessionId
from mcp_interface.store import Record


async def answered(client: Client, session_id: SessionId, text: str) -> None:
    """Say something and wait until the turn has ended; without a model it fails, which will do."""
    posted = await client.request(PostMessage(session_id=session_id, text=text))
    async for notice in client.follow(session_id, after=posted.position):
        if isinstance(notice, Record) and isinstance(notice.event, TurnEnded):
            return


async def status(client: Client, session_id: SessionId) -> str:
    return (await client.request(GetSession(session_id=session_id))).status


async def history(client: Client, session_id: SessionId) -> list[Record]:
    return (await client.request(ReadSession(session_id=session_id, limit=1000))).items


@pytest.mark.timeout(120)
def test_states_and_forks_survive_kill_9(node_process: Callable[..., Any], tmp_path: Any) -> None:
    call = {"server": "fs", "tool": "list_directory", "arguments": {"path": str(tmp_path)}}

    async def scenario() -> None:
        node = node_process()
        await node.start()
        one, two = await node.client(), await node.client()
        session = await one.request(CreateSession(title="kept"))
        await answered(one, session.id, "hello")
        await two.request(SuspendSession(session_id=session.id, reason="a kill is coming"))
        made = await two.request(ForkSession(session_id=session.id))
        before, copied = await history(one, session.id), await history(one, made.id)
        node.kill()

        await node.start()
        one, two = await node.client(), await node.client()
        assert await status(one, session.id) == await status(two, session.id) == "suspended"
        assert await history(one, session.id) == before
        assert (await history(two, made.id))[: len(copied)] == copied
        assert (await one.request(GetSession(session_id=made.id))).forked_from == made.forked_from
        with pytest.raises(WrongState, match="resume"):
            await one.request(CallTool(session_id=session.id, **call))
        with pytest.raises(WrongState, match="resume"):
            await one.request(PostMessage(session_id=session.id, text="hello?"))
        await two.request(ResumeSession(session_id=session.id))
        await one.request(CallTool(session_id=session.id, **call))
        await answered(two, session.id, "and again")
        await answered(two, made.id, "another way")
        node.kill()
        await node.let_go()

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_an_end_that_was_begun_is_an_end_after_kill_9(node_process: Callable[..., Any]) -> None:
    async def scenario() -> None:
        node = node_process()
        for cleanup in ("immediate", "force"):
            await node.start()
            client = await node.client()
            sessions = [await client.request(CreateSession(title=str(number))) for number in range(5)]
            tries = [
                asyncio.ensure_future(client.request(EndSession(session_id=each.id, cleanup=cleanup)))
                for each in sessions
            ]
            follower = client.follow(None, after=(await history(client, sessions[0].id))[0].position - 1)
            async for notice in follower:  # the first of them has ended, the others are on their way
                if isinstance(notice, Record) and isinstance(notice.event, SessionEnded):
                    break
            node.kill()
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert all(each is None or isinstance(each, UmbrellaError) for each in outcomes)
            await node.start()
            client = await node.client()
            async with asyncio.timeout(20):
                for each, outcome in zip(sessions, outcomes, strict=True):
                    now = await status(client, each.id)
                    assert outcome is not None or now == "terminated", "what was acknowledged is so"
                    while await status(client, each.id) == "terminating":
                        await asyncio.sleep(0.02)
                    ends = [r for r in await history(client, each.id) if isinstance(r.event, SessionEnded)]
                    assert len(ends) == (await status(client, each.id) == "terminated")
            node.kill()
        await node.let_go()

    asyncio.run(scenario())
