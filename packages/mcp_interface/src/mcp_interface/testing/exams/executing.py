"""The part of the client exam about tool calls that go on by themselves: accepted, asked about, fetched, listed."""

from typing import Any, Final

import msgspec

from mcp_interface.client import Client
from mcp_interface.commands import Command, CreateSession, EndSession, GetStatus
from mcp_interface.errors import CallerMistaken, LostRace, NotFound
from mcp_interface.events import ExecutionChanged
from mcp_interface.execution import (
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    RunStatus,
    StartExecution,
)
from mcp_interface.ids import ExecutionId, SessionId, new_id
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.exams.connection import Entrance, connected, read_whole
from mcp_interface.testing.time import SeededEntropy

WAIT_S: Final = 30.0
UNKNOWN: Final = ExecutionId(new_id("exec", SeededEntropy(406)))
NO_SESSION: Final = SessionId(new_id("session", SeededEntropy(407)))


async def result_is_fetched_by_another(entrance: Entrance, call: StartExecution) -> None:
    """Who began a call may leave; another client of the same person gets the result, as often as it likes."""
    async with connected(entrance) as first:
        session = await first.request(CreateSession(title="calls"))
        started = await first.request(_in(call, session.id))
        started.validate()
        owner = (await first.request(GetStatus())).owner
        assert (started.session_id, started.principal_id) == (session.id, owner), f"not as asked: {started}"
        assert (started.server, started.tool) == (call.server, call.tool), f"another tool: {started}"
    async with connected(entrance) as second, connected(entrance) as third:
        ended = await _ended(second, started)
        assert ended.status == "SUCCESS" and ended.result is not None, f"it succeeds: {ended}"
        assert ended.started_at is not None and ended.ended_at is not None, f"it began and ended: {ended}"
        assert started.accepted_at == ended.accepted_at <= ended.started_at <= ended.ended_at, "in this order"
        for client in (second, third):
            again = await client.request(GetExecution(execution_id=started.id))
            assert again == ended, "everybody gets the same, again and again"
            over = await client.request(CancelExecution(execution_id=started.id))
            assert over == ended, "what has ended is not cancelled"
        events = [record.event for record in await read_whole(second, session.id)]
        statuses = [
            event.status
            for event in events
            if isinstance(event, ExecutionChanged) and event.execution_id == started.id
        ]
        assert statuses == ["queued", "started", "completed"], f"it is remembered step by step: {statuses}"


async def calls_are_listed(entrance: Entrance, call: StartExecution) -> None:
    """Lists come in pages, latest first, by session and by state, and hold no results."""
    async with connected(entrance) as client:
        session = await client.request(CreateSession(title="many calls"))
        started = [await client.request(_in(call, session.id)) for _ in range(4)]
        nothing = _in(msgspec.structs.replace(call, tool="no-tool-of-this-name"), session.id)
        started.append(await client.request(nothing))
        ended = [await _ended(client, each) for each in started]
        assert ended[-1].status == "FAILED" and ended[-1].error is not None, f"why it failed: {ended[-1]}"
        assert ended[-1].result is None and ended[-1].started_at is None, f"it never began: {ended[-1]}"
        ids = [each.id for each in reversed(started)]
        for limit in (1, 2, 1000):
            assert [each.id for each in await _listed(client, session.id, limit=limit)] == ids, "latest first"
        assert [each.id for each in await _listed(client, session.id, status="FAILED")] == ids[:1]
        assert [each.id for each in await _listed(client, session.id, status="SUCCESS")] == ids[1:]
        assert not await _listed(client, session.id, status="RUNNING"), "all have ended"
        shown = await _listed(client, session.id)
        expected = [msgspec.structs.replace(each, result=None) for each in reversed(ended)]
        assert shown == expected, "a list leaves the results out, and nothing else"
        everything = {each.id for each in await _listed(client, None)}
        assert set(ids) <= everything, "without a session all are listed"


async def unknown_calls_are_refused(entrance: Entrance, call: StartExecution) -> None:
    """An id that names nothing is not found, a wait has a bound, and an ended session begins no call."""
    async with connected(entrance) as client:
        unknown: tuple[Command[Any], ...] = (
            GetExecution(execution_id=UNKNOWN),
            GetExecution(execution_id=UNKNOWN, wait_s=WAIT_S),
            CancelExecution(execution_id=UNKNOWN),
            ListExecutions(session_id=NO_SESSION),
            _in(call, NO_SESSION),
        )
        for command in unknown:
            with refuses(NotFound, what=f"{type(command).__name__} of something unknown"):
                await client.request(command)
        for wait_s in (-1.0, 301.0):
            with refuses(CallerMistaken, what=f"waiting {wait_s} s"):
                await client.request(GetExecution(execution_id=UNKNOWN, wait_s=wait_s))
        with refuses(CallerMistaken, what="a made-up cursor"):
            await client.request(ListExecutions(cursor="made up"))
        session = await client.request(CreateSession(title="over"))
        await client.request(EndSession(session_id=session.id))
        with refuses(CallerMistaken, LostRace, what="a call in a session that has ended"):
            await client.request(_in(call, session.id))
        assert not await _listed(client, session.id), "a refused call leaves no trace"


def _in(call: StartExecution, session_id: SessionId) -> StartExecution:
    return msgspec.structs.replace(call, session_id=session_id)


async def _ended(client: Client, execution: Execution) -> Execution:
    found = await client.request(GetExecution(execution_id=execution.id, wait_s=WAIT_S))
    found.validate()
    assert found.over, f"a wait ends with the call: {found}"
    assert found.id == execution.id, "it is the one that was asked for"
    return found


async def _listed(
    client: Client, session_id: SessionId | None, *, status: RunStatus | None = None, limit: int = 50
) -> list[Execution]:
    found: list[Execution] = []
    cursor: str | None = None
    while True:
        command = ListExecutions(session_id=session_id, status=status, limit=limit, cursor=cursor)
        page = await client.request(command)
        assert len(page.items) <= limit, f"a page of {limit} has {len(page.items)} items"
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


EXECUTING: Final = (result_is_fetched_by_another, calls_are_listed, unknown_calls_are_refused)
"""Every part; `check_client` runs them when it is given a call."""
