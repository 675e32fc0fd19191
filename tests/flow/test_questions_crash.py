"""kill -9 of the node at random moments while tools ask people: the same ids end, once, with what was answered."""

import asyncio
import os
import random
import sys
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asking import form, heard, said
from flow.conftest import NodeProcess

from mcp_interface.approval import Answer
from mcp_interface.commands import (
    AddServer,
    AnswerApproval,
    CreateSession,
    ListApprovals,
    ListSessions,
    PostMessage,
    ReadSession,
)
from mcp_interface.errors import TooMuch, UmbrellaError
from mcp_interface.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ExecutionChanged,
    QuestionAnswered,
    QuestionAsked,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.execution import AnswerQuestion, Execution, GetExecution, ListQuestions, StartExecution
from mcp_interface.question import Response
from mcp_interface.server import ServerSpec
from scripted_model import scripted_model

TESTS = Path(__file__).parents[1]
SERVERS = TESTS / "core" / "protocol" / "servers"
PATH = {"PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])}
ROUNDS = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 10
CALLS = 2
"""Of each kind, begun in each round."""
PATIENCE = 60.0
KILLED = frozenset({"node_unavailable", "interrupted"})
GONE = frozenset({"not_found"})
TWICE = {"rounds": [[form(message="first")], [form(message="second")]]}
ANSWERS = {"first": 1, "second": 2}
KINDS = {
    "resume": (StartExecution(server="asks", tool="resume", arguments=TWICE), heard(1, 2)),
    "ask": (StartExecution(server="asks", tool="ask", arguments=TWICE), heard(1, 2)),
    "look": (StartExecution(server="asks", tool="look", arguments=TWICE), heard(1, 2)),
}
SERVED = {
    "modern": (
        StartExecution(server="modern", tool="book", arguments={"city": "Bern"}),
        "Bern one accept [('day', 'monday'), ('seats', 2)]",
    ),
    "legacy": (StartExecution(server="legacy", tool="ask", arguments={"kind": "form"}), '"accept"'),
    "pay": (StartExecution(server="modern", tool="pay", arguments={"seconds": 0.3}), "paid"),
}


class AskingProcess(NodeProcess):
    """The node of `asking_node`."""

    def command(self) -> list[str]:
        return [sys.executable, str(TESTS / "flow" / "asking_node.py"), "--data-dir", str(self.place.root)]


class People:
    """Whoever answers, and what they were told."""

    def __init__(self, entropy: random.Random) -> None:
        self.entropy = entropy
        self.answered: set[str] = set()
        """What was acknowledged."""
        self.after_a_restart = 0
        self.seen: dict[str, int] = {}
        self.life = 0

    async def answer(self, client: Any, pause: float = 0.05) -> None:
        """Answer whatever is open, one after the other, without end."""
        while True:
            questions = (await client.request(ListQuestions(limit=1000))).items
            approvals = (await client.request(ListApprovals(limit=1000))).items
            for each in [*questions, *approvals]:
                assert each.id not in self.answered, f"{each.id} was answered, and is open again"
                first = self.seen.setdefault(each.id, self.life)
                if self.entropy.random() < 0.6:
                    await self.one(client, each)
                    self.answered.add(each.id)
                    self.after_a_restart += first < self.life
            await asyncio.sleep(pause * self.entropy.random())

    async def one(self, client: Any, each: Any) -> None:
        with suppress_gone():
            if not hasattr(each, "inquiry"):
                await client.request(AnswerApproval(approval_id=each.id, answer=Answer(allow=True)))
                return
            response = Response(action="accept", content={})
            if each.server == "asks":
                response = said(ANSWERS[each.inquiry.message])
            elif each.server == "modern":
                response = Response(action="accept", content={"day": "monday"})
            await client.request(AnswerQuestion(question_id=each.id, response=response))


class suppress_gone:
    """What was answered in the same moment the process died may be answered already."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        return isinstance(error, UmbrellaError) and error.code in GONE


async def until_killed(work: Any) -> None:
    try:
        await work
    except UmbrellaError as error:
        assert error.code in KILLED, error


async def begin(
    client: Any, kinds: Any, started: dict[str, tuple[str, str]], session: Any, ledger: str
) -> None:
    """Begin calls of every kind, and a turn whose tool needs a person's yes."""
    for _ in range(CALLS):
        for kind, (usual, text) in kinds.items():
            if kind == "legacy" and await goes_on(
                client, [key for key, (its, _) in started.items() if its == kind]
            ):
                continue  # what such a server asks names no call: two at a time could not be told apart
            command = usual
            if kind == "pay":
                order = {"order": uuid.uuid4().hex, "ledger": ledger}
                command = msgspec.structs.replace(usual, arguments=usual.arguments | order)
            try:
                execution: Execution = await client.request(command)
            except TooMuch:  # on a busy machine those of earlier lives are not over yet
                return
            started[execution.id] = (kind, text)
    if session is not None:
        await client.request(PostMessage(session_id=session, text="do it"))


async def goes_on(client: Any, keys: list[str]) -> bool:
    """Whether one of these has not ended."""
    return not all([(await client.request(GetExecution(execution_id=key))).over for key in keys[-1:]])


async def asked(client: Any, command: Any) -> dict[str, int]:
    """Wait until something is open, now or from an earlier process; a model and a server take their time."""
    async with asyncio.timeout(PATIENCE):
        while not (found := (await client.request(command)).items):
            await asyncio.sleep(0.02)
    return {each.id: 0 for each in found}


async def all_over(client: Any, started: dict[str, tuple[str, str]]) -> dict[str, Execution]:
    ends: dict[str, Execution] = {}
    async with asyncio.timeout(PATIENCE + 2 * ROUNDS):
        for key in started:
            while not (found := await client.request(GetExecution(execution_id=key))).over:
                await asyncio.sleep(0.02)
            ends[key] = found
    return ends


async def history(client: Any, session_id: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = await client.request(ReadSession(session_id=session_id, limit=1000, cursor=cursor))
        found += [record.event for record in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


def check(ends: dict[str, Execution], started: dict[str, tuple[str, str]], events: list[Any]) -> Counter[str]:
    """Each id has ended, once, and with the answers that were given."""
    outcomes: Counter[str] = Counter()
    questions = [event for event in events if isinstance(event, QuestionAsked)]
    answered = {event.question_id for event in events if isinstance(event, QuestionAnswered)}
    handles = {event.question.execution_id: event.handle for event in questions if event.handle}
    kept = [event for event in events if isinstance(event, ExecutionChanged) and event.status == "kept"]
    handles |= {event.execution_id: event.handle for event in kept}
    sent = {key for key, handle in handles.items() if '"sent":true' in handle}
    for key, found in ends.items():
        kind, text = started[key]
        outcomes[f"{kind} {found.status}"] += 1
        if found.status == "SUCCESS":
            assert found.result is not None and text in found.result.text, (kind, found)
            continue
        # what it was doing nobody knows: nothing was open, it is not harmless, and no handle was known or its
        # answers were sent
        assert found.status == "INTERRUPTED" and kind != "look", (kind, found)
        assert key not in handles or key in sent, (kind, found)
        mine = {event.question.id for event in questions if event.question.execution_id == key}
        assert mine <= answered, (kind, found)
    over = Counter(
        event.execution_id
        for event in events
        if isinstance(event, ExecutionChanged) and event.status in {"completed", "failed"}
    )
    assert not [key for key in ends if over[key] != 1]
    return outcomes


def check_turns(events: list[Any]) -> int:
    """Nobody but a person has answered about a right, and each turn is over; gives how many calls were allowed."""
    asked = {event.approval.id: event.approval for event in events if isinstance(event, ApprovalAsked)}
    answers = [event for event in events if isinstance(event, ApprovalAnswered)]
    assert sorted(event.approval_id for event in answers) == sorted(asked)
    assert all(event.answer.allow for event in answers), [
        event for event in answers if not event.answer.allow
    ]
    begun = Counter(event.turn_id for event in events if isinstance(event, TurnStarted))
    ended = Counter(event.turn_id for event in events if isinstance(event, TurnEnded))
    assert begun == ended and set(begun.values()) <= {1}
    return len(answers)


async def add_servers(client: Any) -> None:
    for name, arguments in (
        ("modern", ["asking_server.py", "stdio", "sealed"]),
        ("legacy", ["old_server.py"]),
    ):
        spec = ServerSpec(command=sys.executable, args=[str(SERVERS / arguments[0]), *arguments[1:]])
        added = await client.request(AddServer(name=name, spec=spec))
        assert added.state == "ready", added.error


async def at_rest(client: Any, session_id: Any) -> None:
    """Wait until every message has its turn, and the last turn is over."""
    async with asyncio.timeout(PATIENCE):
        while True:
            events = await history(client, session_id)
            last = [event for event in events if isinstance(event, UserMessage | TurnStarted | TurnEnded)]
            if not last or isinstance(last[-1], TurnEnded):
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(120 + ROUNDS * 20)
@pytest.mark.parametrize("kinds", [KINDS, SERVED], ids=["built in", "of servers"])
def test_what_is_asked_survives_kill_9_and_so_does_who_asks(tmp_path: Path, kinds: dict[str, Any]) -> None:
    async def scenario(environ: dict[str, str]) -> None:
        entropy = random.Random(2026)
        ledger = tmp_path / "ledger"
        ledger.touch()
        node, people = AskingProcess(tmp_path / "node", {**environ, **PATH}), People(entropy)
        started: dict[str, tuple[str, str]] = {}
        session: Any = None
        try:
            for number in range(ROUNDS):
                people.life = number
                await node.start()
                mine, theirs = await node.client(), await node.client()
                if number == 0 and kinds is SERVED:
                    await add_servers(mine)
                if kinds is KINDS and session is None:
                    session = (await mine.request(CreateSession(profile="careful"))).id
                beginning = asyncio.create_task(
                    until_killed(begin(mine, kinds, started, session, str(ledger)))
                )
                load = [beginning]
                if number % 3 == 0:
                    await beginning  # in the others, it is killed while it takes them
                    await asked(mine, ListQuestions())
                    if session is not None:
                        await asked(mine, ListApprovals())
                if number > 0:  # what is asked in the first life is answered in a later one
                    load.append(asyncio.create_task(until_killed(people.answer(theirs))))
                else:
                    people.seen = await asked(mine, ListQuestions())
                await asyncio.sleep(entropy.random() * (1.5 if kinds is SERVED else 0.6))
                node.kill()
                await asyncio.gather(*load)
                await node.let_go()
            people.life = ROUNDS
            await node.start()
            mine, theirs = await node.client(), await node.client()
            answering = asyncio.create_task(people.answer(theirs, 0.01))
            ends = await all_over(mine, started)
            if session is not None:
                await at_rest(mine, session)
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
            events = [
                event
                for each in (await mine.request(ListSessions(limit=1000))).items
                for event in await history(mine, each.id)
            ]
            outcomes = check(ends, started, events)
            allowed = check_turns(events)
            orders = Counter(ledger.read_text().split())
            assert max(orders.values(), default=1) == 1, f"done twice: {orders}"
            assert len(orders) >= outcomes["pay SUCCESS"]
            assert people.after_a_restart > 0 and (allowed > 0 or session is None)
            assert all(outcomes[f"{kind} SUCCESS"] for kind in kinds)
            print(
                f"{ROUNDS} rounds: {dict(outcomes)}, {len(orders)} paid, {allowed} allowed, "
                f"{people.after_a_restart} answered later"
            )
        finally:
            await node.let_go()
            node.kill()

    steps = [{"when": "do it", "tool_call": {"name_contains": "asks__", "arguments": {}}}] * (ROUNDS * 2)
    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ("openai")))


@pytest.mark.timeout(120)
def test_what_a_person_has_confirmed_is_not_done_twice_when_the_node_is_killed_meanwhile(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger"
    order = {"order": "one", "ledger": str(ledger), "seconds": 300.0}

    async def scenario() -> None:
        node = AskingProcess(tmp_path / "node", PATH)
        await node.start()
        client = await node.client()
        spec = ServerSpec(command=sys.executable, args=[str(SERVERS / "asking_server.py"), "stdio", "sealed"])
        assert (await client.request(AddServer(name="modern", spec=spec))).state == "ready"
        started = await client.request(StartExecution(server="modern", tool="pay", arguments=order))
        await asked(client, ListQuestions())
        (question,) = (await client.request(ListQuestions())).items
        await People(random.Random(1)).one(client, question)
        async with asyncio.timeout(PATIENCE):
            while not ledger.exists():
                await asyncio.sleep(0.02)
        node.kill()
        await node.let_go()
        await node.start()
        client = await node.client()
        found = (await all_over(client, {started.id: ("pay", "")}))[started.id]
        assert found.status == "INTERRUPTED" and found.error is not None
        assert "may or may not have taken effect" in found.error.remedy
        assert not (await client.request(ListQuestions())).items
        # whoever has looked may call it again
        again = await client.request(StartExecution(server="modern", tool="pay", arguments=order))
        await asked(client, ListQuestions())
        assert ledger.read_text().split() == ["one"] and again.id != started.id
        await node.let_go()
        node.kill()

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_stop_of_the_node_leaves_open_what_is_asked(tmp_path: Path) -> None:
    """SIGTERM instead of SIGKILL: the same questions are open behind it, and another client answers."""

    async def scenario() -> None:
        node = AskingProcess(tmp_path / "node", PATH)
        await node.start()
        client = await node.client()
        started = [await client.request(command) for command, _ in KINDS.values()]
        async with asyncio.timeout(PATIENCE):
            while len(open_now := (await client.request(ListQuestions())).items) < len(started):
                await asyncio.sleep(0.02)
        await node.let_go()
        assert node.process is not None
        node.process.terminate()
        node.process.wait(30)
        await node.start()
        client = await node.client()
        after = (await client.request(ListQuestions())).items
        assert [each.id for each in after] == [each.id for each in open_now]
        answering = asyncio.create_task(People(random.Random(1)).answer(await node.client(), 0.01))
        for execution, (_, text) in zip(started, KINDS.values(), strict=True):
            async with asyncio.timeout(PATIENCE):
                while not (found := await client.request(GetExecution(execution_id=execution.id))).over:
                    await asyncio.sleep(0.02)
            assert found.result is not None and found.result.text == text
        answering.cancel()
        with suppress(asyncio.CancelledError):
            await answering
        await node.let_go()
        node.kill()

    asyncio.run(scenario())
