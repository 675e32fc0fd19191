"""The exam of a `Client`, in process, over a socket or a WebSocket: all of them see the same node."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from mcp_interface.client import PROTOCOL, Client, ClientInfo
from mcp_interface.commands import Command, CreateSession, EndSession, GetSession, GetStatus, NodeStatus
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    LoginRequired,
    NodeUnavailable,
    NotFound,
    error_from,
)
from mcp_interface.execution import StartExecution
from mcp_interface.ids import SessionId, is_principal, new_id
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.exams.connection import Entrance, connected
from mcp_interface.testing.exams.conversation import CONVERSATION
from mcp_interface.testing.exams.executing import EXECUTING
from mcp_interface.testing.exams.following import FOLLOWING
from mcp_interface.testing.exams.lifecycle import LIFECYCLE
from mcp_interface.testing.exams.sharing import SHARING, overruns
from mcp_interface.testing.time import SeededEntropy

UNKNOWN: Final = SessionId(new_id("session", SeededEntropy(404)))
SHORT: Final = 0.05
"""Seconds in which a stalled command is not answered."""


async def check_client(
    maker: Callable[[], AbstractAsyncContextManager[Entrance]],
    *,
    guarded: bool = True,
    stalled: Command[Any] | None = None,
    overrun_by: int = 0,
    call: StartExecution | None = None,
) -> None:
    """Examine a client against the node that it is made for.

    Only session commands and `GetStatus` are used, and no answer of an assistant is expected: without a model
    a turn ends as failed, which will do.

    Args:
        maker: Opens one node; called once, every client of the exam is its.
        guarded: Whether a wrong token is refused; a client in the node's own process may do without one.
        stalled: A command that takes this node longer than a second; None leaves deadlines half examined.
        overrun_by: So many events of a kilobyte are more than may wait for a reader that reads nothing; zero
            leaves slow readers half examined.
        call: A call that succeeds on this node; None leaves tool calls unexamined.

    Raises:
        AssertionError: Names the broken promise.
    """
    async with maker() as entrance:
        for part in (
            _welcomes,
            _answers_each_its_own,
            _carries_errors,
            _refuses_when_not_connected,
            _survives_short_deadlines,
            *CONVERSATION,
            *FOLLOWING,
            *SHARING,
            *LIFECYCLE,
        ):
            await within(part(entrance), f"check_client.{part.__name__.strip('_')}", 60.0)
        if call is not None:
            for exam in EXECUTING:
                await within(exam(entrance, call), f"check_client.{exam.__name__}", 60.0)
        if guarded:
            await within(_guards_the_door(entrance), "check_client.guards_the_door")
        if overrun_by:
            await within(overruns(entrance, overrun_by), "check_client.overruns", 60.0)
        if stalled is not None:
            await within(_keeps_deadlines(entrance, stalled), "check_client.keeps_deadlines")
            await within(_abandons_nothing(entrance, stalled), "check_client.abandons_nothing")


async def _welcomes(entrance: Entrance) -> None:
    first = entrance.client()
    welcome = await first.connect(ClientInfo(name="exam", token=entrance.owner_token))
    assert is_principal(welcome.principal_id), f"a client is somebody: {welcome.principal_id!r}"
    assert welcome.session_id is None, "no session was asked for"
    assert welcome.protocol == PROTOCOL, f"the protocol is {PROTOCOL}, not {welcome.protocol}"
    assert welcome.version and welcome.position >= 0, f"a welcome is complete: {welcome}"
    status = await first.request(GetStatus())
    assert status.owner == welcome.principal_id, "the token is the owner's"
    assert status.started_at.utcoffset() is not None, "times carry a time zone"
    session = await first.request(CreateSession(title="attached"))
    second = entrance.client()
    info = ClientInfo(name="exam", token=entrance.owner_token, session_id=session.id)
    attached = await second.connect(info)
    assert attached.session_id == session.id, "it attaches to the session"
    assert attached.principal_id == welcome.principal_id, "both are the same person"
    assert attached.position > welcome.position, "the position tells where the journal is now"
    third = entrance.client()
    with refuses(NotFound, what="attaching to an unknown session"):
        await third.connect(ClientInfo(name="exam", token=entrance.owner_token, session_id=UNKNOWN))
    for client in (first, second, third):
        await client.disconnect()


async def _answers_each_its_own(entrance: Entrance) -> None:
    async with connected(entrance) as one, connected(entrance) as two:
        titles = [f"title {number}" for number in range(12)]
        made = await asyncio.gather(*(one.request(CreateSession(title=title)) for title in titles))
        assert [session.title for session in made] == titles, "answers go to their own requests"
        assert len({session.id for session in made}) == len(titles), "every session has its own id"
        read = await asyncio.gather(
            *(client.request(GetSession(session_id=session.id)) for client in (one, two) for session in made)
        )
        assert read == made * 2, "both clients see the same"


async def _carries_errors(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        unknown: tuple[Command[Any], ...] = (GetSession(session_id=UNKNOWN), EndSession(session_id=UNKNOWN))
        for command in unknown:
            with refuses(NotFound, what=f"{type(command).__name__} of an unknown session") as caught:
                await client.request(command)
            assert type(caught.error) is NotFound, f"the kind is rebuilt, not {type(caught.error)}"
            body = caught.error.body()
            assert error_from(body).body() == body, "the error can travel on"
        with refuses(CallerMistaken, what="metadata that no frame can carry"):
            await client.request(CreateSession(metadata={"thing": object()}))
        _check_status(await client.request(GetStatus()))


async def _refuses_when_not_connected(entrance: Entrance) -> None:
    fresh, left = entrance.client(), entrance.client()
    await fresh.disconnect()
    await left.connect(ClientInfo(name="exam", token=entrance.owner_token))
    await left.disconnect("first")
    await left.disconnect("second")
    for client, what in ((fresh, "before connecting"), (left, "after leaving")):
        with refuses(NodeUnavailable, LoginRequired, what=f"asking {what}"):
            await client.request(GetStatus())
        with refuses(NodeUnavailable, LoginRequired, what=f"following {what}"):
            await anext(client.follow())
    async with connected(entrance) as client:
        _check_status(await client.request(GetStatus()))


async def _survives_short_deadlines(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession(title="mine"), timeout=None)
        tries = [client.request(GetStatus(), timeout=0.0) for _ in range(20)]
        for outcome in await asyncio.gather(*tries, return_exceptions=True):
            assert isinstance(outcome, NodeStatus | DeadlineExceeded), f"deadline zero gave {outcome!r}"
        for _ in range(5):
            found = await client.request(GetSession(session_id=session.id))
            assert found == session, "late answers do not reach later requests"


async def _guards_the_door(entrance: Entrance) -> None:
    for token in ("", "wrong", entrance.owner_token + "0", entrance.owner_token[:-1]):
        client = entrance.client()
        with refuses(LoginRequired, what="connecting with a wrong token") as caught:
            await client.connect(ClientInfo(name="exam", token=token))
        assert entrance.owner_token not in str(caught.error), "an error never shows the token"
        with refuses(NodeUnavailable, LoginRequired, what="asking after a refused connection"):
            await client.request(GetStatus())
        await client.disconnect()


async def _keeps_deadlines(entrance: Entrance, stalled: Command[Any]) -> None:
    async with connected(entrance) as client:
        with refuses(DeadlineExceeded, what=f"waiting {SHORT} s for a stalled command"):
            await client.request(stalled, timeout=SHORT)
        _check_status(await client.request(GetStatus()))
        slow = asyncio.ensure_future(_ask(client, stalled))
        _check_status(await client.request(GetStatus()))
        assert not slow.done(), "a stalled request holds up nobody else"
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        _check_status(await client.request(GetStatus()))


async def _abandons_nothing(entrance: Entrance, stalled: Command[Any]) -> None:
    async with connected(entrance) as client:
        slow = asyncio.ensure_future(_ask(client, stalled))
        await client.request(GetStatus())
        await client.disconnect()
        with refuses(NodeUnavailable, what="a request that waits while the client leaves"):
            await slow


async def _ask(client: Client, command: Command[Any]) -> Any:
    return await client.request(command, timeout=None)


def _check_status(status: NodeStatus) -> None:
    assert isinstance(status, NodeStatus), f"the connection still works, got {status!r}"
