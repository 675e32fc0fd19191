import asyncio
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.rights import denial
from mcp_interface.address import tool_resource
from mcp_interface.approval import Answer
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, Interrupted, NotFound, NotPermitted, OurBug
from mcp_interface.events import ApprovalAnswered, ApprovalAsked, ExecutionChanged
from mcp_interface.ids import AgentId, PrincipalId
from mcp_interface.testing import CountWords, MemoryStore
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result


class Stubborn(CountWords):
    """A tool that writes, takes its time and can break."""

    def __init__(self) -> None:
        self.runs = 0

    def info(self) -> ToolInfo:
        return ToolInfo(server="stub", name="change", description="Change something")

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(tool_resource("stub", "change"), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.runs += 1
        if args["text"] == "sleep":
            await asyncio.sleep(30)
        if args["text"] == "break":
            raise RuntimeError("kaboom")
        if args["text"] == "link":
            raise NotPermitted("it leads outside", "use another", {"reason": "path_not_allowed"})
        return text_result("changed")


def request(session_id: Any, principal: Any, text: Any = "a b", **changes: Any) -> ToolRequest:
    fields: dict[str, Any] = {
        "session_id": session_id,
        "principal_id": PrincipalId(principal),
        "server": "stub",
        "tool": "change",
        "arguments": {"text": text},
        "timeout_s": 5.0,
    }
    return ToolRequest(**(fields | changes))


async def _executions(house: Any, session_id: Any) -> list[ExecutionChanged]:
    records = await house.journal.read(f"session:{session_id}")
    return [record.event for record in records if isinstance(record.event, ExecutionChanged)]


async def _session(house: Any, profile: str = "careful", **metadata: Any) -> Any:
    return await house.sessions.create(house.owner, "", profile, "", metadata)


def test_the_owner_may_and_the_start_is_journaled_before_the_end(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Stubborn()]) as house:
            session = await _session(house)
            outcome = await house.caller.call(request(session.id, house.owner))
            assert outcome.result.text == "changed"
            started, completed = await _executions(house, session.id)
            assert (started.status, completed.status) == ("started", "completed")
            assert started.call.capability_id == outcome.capability_id
            assert started.call.audit_seq is not None

    asyncio.run(scenario())


def test_what_a_gate_refuses_after_it_was_allowed_is_on_record_before_the_caller_hears_of_it(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Stubborn()]) as house:
            session = await _session(house)
            with pytest.raises(NotPermitted, match="it leads outside"):
                await house.caller.call(request(session.id, house.owner, "link"))
            allowed, denied = house.audit.entries[-2:]
            assert (allowed.kind, denied.kind) == ("access_allowed", "access_denied")
            assert (denied.decision, denied.reason) == ("denied", "path_not_allowed")
            assert denied.resource_uri == allowed.resource_uri == "mcp://tool/execute/stub/change"
            assert denied.details["allowed_by"] == allowed.seq
            assert denied.details["refused_by"] == "gate"

    asyncio.run(scenario())


def test_a_fresh_agent_is_denied_with_the_exact_grant_that_would_help(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        tool = Stubborn()
        async with open_house(tools=[tool]) as house:
            session = await _session(house)
            agent = await house.directory.spawn("worker", "ann")
            with pytest.raises(NotPermitted) as denied:
                await house.caller.call(request(session.id, agent.id))
            assert "umbrella grant" not in denied.value.message
            assert denied.value.remedy == f"umbrella grant {agent.id} mcp://tool/execute/stub/change"
            assert tool.runs == 0
            (failed,) = await _executions(house, session.id)
            assert failed.error is not None and failed.error.code == "denied"
            assert failed.call is not None and failed.call.tool == "change"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "runs", "asked"),
    [
        (Answer(allow=True, remember="once"), 2, 2),
        (Answer(allow=True, remember="session"), 2, 1),
        (Answer(allow=True, remember="always"), 2, 1),
        (Answer(allow=False, reason="not today"), 0, 2),
    ],
)
def test_a_person_is_asked_and_the_answer_lasts_as_long_as_they_said(
    open_house: Callable[..., Any], answer: Answer, runs: int, asked: int
) -> None:
    async def scenario() -> None:
        tool = Stubborn()
        async with open_house(tools=[tool]) as house:
            session = await _session(house)
            agent = await house.directory.spawn("worker")

            async def person() -> None:
                while True:
                    for question in house.desk.pending():
                        house.desk.answer(question.id, answer, house.owner)
                    await asyncio.sleep(0.005)

            answering = asyncio.create_task(person())
            for _ in range(2):
                call = house.caller.call(request(session.id, agent.id, may_ask=True))
                if answer.allow:
                    await call
                else:
                    with pytest.raises(NotPermitted, match="not today"):
                        await call
            answering.cancel()
            events = [record.event for record in await house.journal.read(f"session:{session.id}")]
            assert sum(isinstance(event, ApprovalAsked) for event in events) == asked
            assert sum(isinstance(event, ApprovalAnswered) for event in events) == asked
            assert tool.runs == runs

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("profile", "tool", "allowed"),
    [
        ("careful", "text", True),  # read-only
        ("open", "stub", True),
        ("locked", "text", False),
        ("locked", "stub", False),
    ],
)
def test_the_profile_decides_without_asking(
    open_house: Callable[..., Any], profile: str, tool: str, allowed: bool
) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Stubborn(), CountWords()]) as house:
            session = await _session(house, profile)
            agent = await house.directory.spawn("worker")
            name = "count_words" if tool == "text" else "change"
            call = house.caller.call(request(session.id, agent.id, server=tool, tool=name, may_ask=True))
            if allowed:
                await call
                (held,) = house.kernel.held_by(agent.id)
                assert held.metadata["by"] == f"profile {profile}"
            else:
                with pytest.raises(NotPermitted):
                    await call

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"tool": "chnge"}, NotFound),
        ({"server": "stubb"}, NotFound),
        ({"text": 3}, CallerMistaken),
        ({"text": "break"}, OurBug),
        ({"text": "sleep", "timeout_s": 0.05}, DeadlineExceeded),
    ],
)
def test_every_failure_is_typed_and_journaled(
    open_house: Callable[..., Any], changes: dict[str, Any], error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Stubborn()]) as house:
            session = await _session(house)
            with pytest.raises(error):
                await house.caller.call(request(session.id, house.owner, **changes))
            last = (await _executions(house, session.id))[-1]
            assert last.status == "failed" and last.error is not None
            assert not (await house.sessions.state(session.id)).running

    asyncio.run(scenario())


def test_cancelling_the_caller_cancels_the_call_and_says_so_in_the_journal(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house(tools=[Stubborn()]) as house:
            session = await _session(house)
            call = asyncio.create_task(house.caller.call(request(session.id, house.owner, "sleep")))
            await house.until(session.id, lambda record: isinstance(record.event, ExecutionChanged))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            last = (
                await house.until(
                    session.id,
                    lambda record: (
                        isinstance(record.event, ExecutionChanged) and record.event.status == "failed"
                    ),
                )
            )[-1].event
            assert last.error.code == Interrupted.code

    asyncio.run(scenario())


def test_a_broken_audit_denies(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        tool = Stubborn()
        async with open_house(tools=[tool]) as house:
            session = await _session(house, "open")
            house.audit.broken = True
            with pytest.raises(NotPermitted):
                await house.caller.call(request(session.id, house.owner, may_ask=True))
            assert tool.runs == 0

    asyncio.run(scenario())


def test_what_ran_in_an_earlier_process_is_interrupted_and_what_waits_for_a_person_goes_on(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with open_house(store, tools=[Stubborn()]) as house:
            session = await _session(house, "ask")
            agent = await house.directory.spawn("worker")
            running = asyncio.create_task(house.caller.call(request(session.id, house.owner, "sleep")))
            await house.until(session.id, lambda record: isinstance(record.event, ExecutionChanged))
            asking = asyncio.create_task(house.caller.call(request(session.id, agent.id, may_ask=True)))
            await house.until(session.id, lambda record: isinstance(record.event, ApprovalAsked))
            async with open_house(store, tools=[Stubborn()]) as successor:  # as after a kill -9
                assert successor.recovered == 1
                state = await successor.sessions.state(session.id)
                (waiting,) = state.running
                (asked,) = state.asked
                assert state.asked[asked].approval.execution_id == waiting
                assert [each.id for each in successor.desk.pending()] == [asked]
                events = await _executions(successor, session.id)
                assert [event.status for event in events] == ["started", "queued", "failed"]
                assert events[-1].error is not None and events[-1].error.code == "interrupted"
            for task in (running, asking):
                task.cancel()
            await asyncio.gather(running, asking, return_exceptions=True)

    asyncio.run(scenario())


def test_ending_an_agent_ends_its_rights(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            session = await _session(house, "open")
            agent = await house.directory.spawn("worker")
            count = request(session.id, agent.id, server="text", tool="count_words", may_ask=True)
            await house.caller.call(count)
            assert house.kernel.held_by(agent.id)
            await house.directory.stop(AgentId(agent.id), "enough")
            assert not house.kernel.held_by(agent.id)

    asyncio.run(scenario())


def test_the_command_of_a_denial_is_safe_to_paste() -> None:
    evil = tool_resource("stub", "x; rm -rf $HOME")
    verdict = Verdict(
        allowed=False, reason="no_capability", message="no", needed="mcp://fs/read/x; rm -rf $HOME"
    )
    words = shlex.split(denial(PrincipalId("system"), evil, verdict).remedy)
    assert words == ["umbrella", "grant", "system", "mcp://fs/read/x; rm -rf $HOME"]


@pytest.mark.parametrize(("wide", "asked"), [(False, 2), (True, 1)])
def test_a_yes_to_writing_is_one_to_what_is_written(
    open_house: Callable[..., Any], tmp_path: Path, wide: bool, asked: int
) -> None:
    from mcp_core.tools.filesystem.writing import WriteFile
    from mcp_security.validators.filesystem import FilesystemGate

    async def scenario() -> None:
        async with open_house(tools=[WriteFile(FilesystemGate())]) as house:
            session = await _session(house, "ask")
            agent = await house.directory.spawn("worker")
            path, questions = str(tmp_path.resolve() / "a.txt"), 0
            answer = Answer(allow=True, remember="always", any_arguments=wide)

            async def person() -> None:
                nonlocal questions
                while True:
                    for question in house.desk.pending():
                        questions += 1
                        house.desk.answer(question.id, answer, house.owner)
                    await asyncio.sleep(0.005)

            answering = asyncio.create_task(person())
            for content in ("one", "one", "two"):
                args = {"path": path, "content": content}
                await house.caller.call(
                    request(
                        session.id, agent.id, server="fs", tool="write_file", arguments=args, may_ask=True
                    )
                )
            answering.cancel()
            assert questions == asked
            assert Path(path).read_text() == "two"

    asyncio.run(scenario())
