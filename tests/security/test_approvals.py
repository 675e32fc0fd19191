import asyncio
import math
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from mcp_interface.address import parse_resource
from mcp_interface.approval import Answer, Approval, Remember
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, TooMuch
from mcp_interface.ids import SYSTEM, ApprovalId, PrincipalId
from mcp_interface.testing import START, ManualClock
from mcp_interface.tool import ToolInfo
from mcp_security import Approvals
from mcp_security.constraints import Question, compile_rules, read
from mcp_security.patterns import Paths

PERSON = PrincipalId("user_" + "1" * 32)
TOOL = ToolInfo(server="git", name="commit", parameters={"type": "object"})


def question(number: int = 1, session: str = "session_" + "5" * 32, seconds: float = 60) -> Approval:
    return Approval(
        id=ApprovalId(f"ask_{number:032x}"),
        session_id=session,
        execution_id="exec_" + "2" * 32,
        principal_id="agent_" + "3" * 32,
        server="git",
        tool="commit",
        arguments={"message": "first"},
        resource_uri="mcp://tool/execute/git/commit",
        reason="",
        fingerprint="ff",
        asked_at=START,
        expires_at=START + timedelta(seconds=seconds),
    )


async def waiting(desk: Approvals, clock: ManualClock, asked: Approval) -> asyncio.Task:
    task = asyncio.create_task(desk.wait(asked.id))
    async with asyncio.timeout(10):
        while not clock.sleepers:
            await asyncio.sleep(0)
    return task


def test_the_first_answer_counts() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        desk = Approvals(clock)
        asked = question()
        desk.open(asked)
        task = await waiting(desk, clock, asked)
        assert desk.pending() == [asked]
        desk.answer(asked.id, Answer(allow=True), PERSON)
        with pytest.raises(NotFound):
            desk.answer(asked.id, Answer(allow=False), PERSON)
        assert desk.pending() == []
        async with asyncio.timeout(10):
            assert await task == (Answer(allow=True), PERSON)
        with pytest.raises(NotFound):
            await desk.wait(asked.id)
        async with asyncio.timeout(10):
            while clock.sleepers:
                await asyncio.sleep(0)

    asyncio.run(scenario())


def test_an_answer_before_anybody_waits_is_kept() -> None:
    async def scenario() -> None:
        desk = Approvals(ManualClock())
        desk.open(question())
        desk.answer(question().id, Answer(allow=False, reason="use pnpm"), PERSON)
        assert (await desk.wait(question().id))[0].reason == "use pnpm"

    asyncio.run(scenario())


def test_the_deadline_is_a_no_by_the_system() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        desk = Approvals(clock)
        desk.open(question(seconds=60))
        task = await waiting(desk, clock, question())
        clock.advance(59)
        assert desk.pending()
        clock.advance(1)
        assert desk.pending() == []
        with pytest.raises(NotFound):
            desk.answer(question().id, Answer(allow=True), PERSON)
        async with asyncio.timeout(10):
            answer, by = await task
        assert (answer.allow, by) == (False, SYSTEM)

    asyncio.run(scenario())


def test_cancelling_the_waiter_withdraws_the_question() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        desk = Approvals(clock)
        desk.open(question())
        task = await waiting(desk, clock, question())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert desk.pending() == []
        with pytest.raises(NotFound):
            desk.answer(question().id, Answer(allow=True), PERSON)
        desk.open(question())

    asyncio.run(scenario())


def test_open_questions_are_bounded_and_listed_by_session() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        desk = Approvals(clock, limit=2)
        other = "session_" + "6" * 32
        desk.open(question(1))
        desk.open(question(2, session=other, seconds=5))
        with pytest.raises(TooMuch):
            desk.open(question(3))
        assert [one.id for one in desk.pending(other)] == [question(2).id]
        clock.advance(5)
        desk.open(question(3))
        with pytest.raises(CallerMistaken):
            desk.open(question(3))
        assert [one.id for one in desk.pending()] == [question(1).id, question(3).id]

    asyncio.run(scenario())


def test_the_fingerprint_changes_with_the_definition_and_with_any_argument() -> None:
    desk = Approvals(ManualClock())
    base = desk.fingerprint(TOOL, {"a": 1, "b": [True, None]})
    assert base == desk.fingerprint(TOOL, {"b": [True, None], "a": 1})
    others = [
        desk.fingerprint(TOOL, {"a": 1.0, "b": [True, None]}),
        desk.fingerprint(TOOL, {"a": "1", "b": [True, None]}),
        desk.fingerprint(TOOL, {"a": True, "b": [True, None]}),
        desk.fingerprint(TOOL, {"a": 1, "b": [None, True]}),
        desk.fingerprint(
            ToolInfo(server="git", name="commit", parameters={"type": "object"}, description="!"),
            {"a": 1, "b": [True, None]},
        ),
    ]
    assert len({base, *others}) == 6
    with pytest.raises(CallerMistaken):
        desk.fingerprint(TOOL, {"a": object()})


def test_an_answer_becomes_a_right_that_cannot_be_handed_on() -> None:
    desk = Approvals(ManualClock())
    once = desk.terms(question(), Answer(allow=True))
    assert once.constraints == {"max_uses": 1, "arguments": [{"const": {"message": "first"}}]}
    assert once.expires_in is not None
    session = desk.terms(question(), Answer(allow=True, remember="session"))
    assert session.metadata["session_id"] == question().session_id
    always = desk.terms(question(), Answer(allow=True, remember="always"))
    assert (always.expires_in, always.expires_at) == (None, None)
    assert session.constraints == always.constraints == {"arguments": [{"const": {"message": "first"}}]}
    assert {terms.delegation_depth for terms in (once, session, always)} == {0}
    with pytest.raises(CallerMistaken):
        desk.terms(question(), Answer(allow=False))


@pytest.mark.parametrize("remember", ["once", "session", "always"])
@pytest.mark.parametrize(
    ("uri", "bound"),
    [
        ("mcp://tool/execute/git/commit", True),
        ("mcp://shell/execute/usr/bin/git", True),
        ("mcp://fs/write/tmp/x", True),
        ("mcp://fs/delete/tmp/x", True),
        ("mcp://fs/read/tmp/x", False),
        ("mcp://fs/list/tmp/x", False),
        ("mcp://api/post/https/example.org/x", True),
        ("mcp://db/query/main/people", True),
        ("mcp://db/read/main/people", True),
    ],
)
def test_a_right_that_does_not_say_with_what_is_bound_to_the_arguments(
    remember: Remember, uri: str, bound: bool
) -> None:
    desk = Approvals(ManualClock())
    asked = msgspec.structs.replace(question(), resource_uri=uri)
    terms = desk.terms(asked, Answer(allow=True, remember=remember))
    assert ("arguments" in terms.constraints) is bound
    wider = desk.terms(asked, Answer(allow=True, remember=remember, any_arguments=True))
    assert "arguments" not in wider.constraints


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "arguments", [{"text": "x" * 1_100_000}, {"d": deep(40)}, {"n": 2**70}, {"text": "\ud800"}]
)
def test_arguments_that_no_limit_can_hold_are_told_before_anybody_says_yes(
    arguments: dict[str, object],
) -> None:
    desk = Approvals(ManualClock())
    asked = msgspec.structs.replace(question(), arguments=arguments)
    with pytest.raises(NotPermitted, match="cannot be bound to an approval") as refused:
        desk.terms(asked, Answer(allow=True))
    assert refused.value.remedy.endswith(f"umbrella grant {asked.principal_id} {asked.resource_uri}")
    assert desk.terms(asked, Answer(allow=True, any_arguments=True)).constraints == {"max_uses": 1}


@pytest.mark.parametrize(
    "number", [1e300, -1e300, 2.0**53 + 2, 2.0**64, 0.5, 2**60, 2**64 - 1, -(2.0**63) - 2048]
)
def test_a_number_of_any_size_is_bound_exactly(number: float) -> None:
    desk = Approvals(ManualClock())
    asked = msgspec.structs.replace(question(), arguments={"n": number})
    terms = desk.terms(asked, Answer(allow=True))
    (check,) = compile_rules({"arguments": terms.constraints["arguments"]}, "tool").checks
    kept = read(terms.constraints, "tool")
    assert read(msgspec.json.decode(msgspec.json.encode(kept)), "tool") == kept
    wanted = parse_resource(asked.resource_uri)
    others = {number: True, number * 2: False, math.nextafter(math.nextafter(number, 0), 0): False}
    for other, fits in others.items():
        facts = Facts(arguments={"n": other})
        assert (check(Question(wanted, Paths.of(wanted.path), facts, START)) is None) is fits


FOLDER = "mcp://fs/write/proj/**"


def edit(**changes: Any) -> Approval:
    """A question about a file, with a folder as the wider answer."""
    fields = {
        "server": "fs",
        "tool": "write_file",
        "arguments": {"path": "/proj/a.txt", "content": "x"},
        "resource_uri": "mcp://fs/write/proj/a.txt",
        "suggestions": ["mcp://fs/write/proj/a.txt", FOLDER],
    }
    return msgspec.structs.replace(question(), **{**fields, **changes})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Answer(allow=True, remember="always", resource_uri="mcp://fs/write/**"), "no pattern that"),
        (Answer(allow=True, remember="always", resource_uri="mcp://fs/write/proj/**/"), "no pattern that"),
        (Answer(allow=True, remember="always", resource_uri="mcp://fs/write/proj/b.txt"), "no pattern that"),
        (Answer(allow=True, resource_uri=FOLDER), "a yes once"),
        (Answer(allow=False, remember="always", resource_uri=FOLDER), "a no is"),
        (Answer(allow=True, expires_in_s=60.0), "remembered"),
        (Answer(allow=False, remember="always", expires_in_s=60.0), "remembered"),
        (Answer(allow=True, remember="always", expires_in_s=-1.0), "cannot end"),
        (Answer(allow=True, remember="always", expires_in_s=math.nan), "cannot end"),
        (Answer(allow=True, remember="always", expires_in_s=math.inf), "cannot end"),
        (Answer(allow=True, remember="session", expires_in_s=1e9), "cannot end"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open(wrong: Answer, why: str) -> None:
    async def scenario() -> None:
        desk = Approvals(ManualClock())
        asked = edit()
        desk.open(asked)
        with pytest.raises(CallerMistaken, match=why):
            desk.answer(asked.id, wrong, PERSON)
        assert desk.pending() == [asked]
        if wrong.allow:  # one that an earlier process took would be no right either
            with pytest.raises(CallerMistaken, match=why):
                desk.terms(asked, wrong)
        desk.answer(asked.id, Answer(allow=True), PERSON)
        assert (await desk.wait(asked.id))[0] == Answer(allow=True)

    asyncio.run(scenario())


def test_a_question_that_offers_no_pattern_is_answered_with_none() -> None:
    async def scenario() -> None:
        desk = Approvals(ManualClock())
        asked = edit(suggestions=[])
        desk.open(asked)
        itself = Answer(allow=True, remember="always", resource_uri=asked.resource_uri)
        with pytest.raises(CallerMistaken, match="none; leave it out"):
            desk.answer(asked.id, itself, PERSON)

    asyncio.run(scenario())


def test_a_wider_pattern_is_a_yes_to_whatever_is_done_within_it_and_the_thing_itself_is_not() -> None:
    async def scenario() -> None:
        desk = Approvals(ManualClock())
        wide = desk.terms(edit(), Answer(allow=True, remember="always", resource_uri=FOLDER))
        assert wide.constraints == {}
        itself = Answer(allow=True, remember="always", resource_uri="mcp://fs/write/proj/a.txt")
        assert desk.terms(edit(), itself).constraints["arguments"] == [{"const": edit().arguments}]
        assert (wide.delegation_depth, wide.metadata["remember"]) == (0, "always")

    asyncio.run(scenario())


@pytest.mark.parametrize("remember", ["session", "always"])
def test_a_yes_that_is_remembered_may_have_an_end(remember: Remember) -> None:
    async def scenario() -> None:
        desk = Approvals(ManualClock())
        ends = desk.terms(edit(), Answer(allow=True, remember=remember, expires_in_s=90.0))
        assert ends.expires_in == timedelta(seconds=90)
        assert desk.terms(edit(), Answer(allow=True, remember=remember)).expires_in is None

    asyncio.run(scenario())


@pytest.mark.parametrize("remember", ["session", "always"])
def test_a_yes_to_handing_on_that_is_remembered_says_that_it_is_bound_to_no_arguments(
    remember: Remember,
) -> None:
    desk = Approvals(ManualClock())
    handed = msgspec.structs.replace(question(), hands_on=True)
    with pytest.raises(CallerMistaken, match="to be handed on") as refused:
        desk.terms(handed, Answer(allow=True, remember=remember))
    assert refused.value.remedy == "choose once, or any arguments"
    assert not desk.terms(handed, Answer(allow=True, remember=remember, any_arguments=True)).constraints
    assert desk.terms(handed, Answer(allow=True)).metadata["remember"] == "once"
    asyncio.run(refused_at_the_desk(handed, Answer(allow=True, remember=remember)))


async def refused_at_the_desk(asked: Approval, answer: Answer) -> None:
    desk = Approvals(ManualClock())
    desk.open(asked)
    with pytest.raises(CallerMistaken):
        desk.answer(asked.id, answer, PERSON)
    assert desk.pending() == [asked], "it stays open"
    desk.answer(asked.id, msgspec.structs.replace(answer, allow=False), PERSON)
