"""Asking, answering, killing and stopping in any order: what was answered is heard, once, by the call that asked."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asking import Asker, form, heard, said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.gateway.test_questions import ended, events, start
from core.gateway.test_taken_up import Lives
from hosting import run
from mcp_interface.errors import NotFound
from mcp_interface.events import ExecutionChanged
from mcp_interface.execution import AnswerQuestion, CancelExecution, Execution, ListQuestions
from mcp_interface.ids import ExecutionId

EXAMPLES = 400 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 12
DEEDS = st.tuples(
    st.sampled_from(["start", "start", "answer", "answer", "answer", "twice", "cancel", "kill", "stop", "tick"]),
    st.integers(0, 11),
)  # fmt: skip
KINDS = ("ask", "resume", "look")
ROUNDS = 2


class Model:
    """What was begun, and what was acknowledged of it."""

    def __init__(self) -> None:
        self.started: dict[ExecutionId, tuple[str, Execution]] = {}
        self.answers: dict[ExecutionId, dict[str, int]] = {}
        self.cancelled: set[ExecutionId] = set()
        self.counter = 0


async def do(ask: Any, model: Model, deed: str, number: int) -> None:
    match deed:
        case "start":
            kind = KINDS[number % len(KINDS)]
            rounds = [form(message=str(each)) for each in range(ROUNDS)]
            execution = await ask(start(*rounds, name=kind))
            model.started[execution.id] = (kind, execution)
            model.answers[execution.id] = {}
        case "answer" | "twice":
            for question in (await ask(ListQuestions())).items[number % 3 :][:1]:
                answers = model.answers[question.execution_id]
                assert question.inquiry.message not in answers, "nobody is asked for what is known"
                for _ in range(1 + (deed == "twice")):
                    model.counter += 1
                    with suppress(NotFound):
                        await ask(AnswerQuestion(question_id=question.id, response=said(model.counter)))
                        assert question.inquiry.message not in answers, "the first answer counts"
                        answers[question.inquiry.message] = model.counter
        case "cancel":
            for key in list(model.started)[number : number + 1]:
                await ask(CancelExecution(execution_id=key))
                model.cancelled.add(key)
        case "tick":
            for _ in range(number):
                await asyncio.sleep(0)


async def settle(house: Any, ask: Any, model: Model) -> None:
    """Answer everything that is left; then each call is over, as it must be."""
    over: dict[ExecutionId, Execution] = {}
    async with asyncio.timeout(40):
        while len(over) < len(model.started):
            while (await ask(ListQuestions())).items:
                await do(ask, model, "answer", 0)
            for key, (_, execution) in model.started.items():
                found = house.executions._live.get(key)
                if key not in over and found is None:
                    over[key] = await ended(ask, execution)
            await asyncio.sleep(0)
    for key, found in over.items():
        kind, execution = model.started[key]
        told = model.answers[key]
        if found.status == "SUCCESS":
            assert found.result is not None
            assert found.result.text == heard(*(told[str(each)] for each in range(ROUNDS)))
        elif found.status == "INTERRUPTED":  # it had begun, and nothing said how it could go on
            assert kind == "ask" or (kind == "resume" and not told), (kind, told)
        else:
            assert key in model.cancelled and found.status == "CANCELLED", json.dumps(str(found.error))
        ends = Counter(
            each.status in {"completed", "failed"}
            for each in await events(house, execution)
            if isinstance(each, ExecutionChanged) and each.execution_id == key
        )
        assert ends[True] == 1
    assert not house.questions.count()


@given(st.lists(DEEDS, max_size=25))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_each_call_hears_what_was_answered_and_ends_once(
    open_house: Callable[..., Any], deeds: list[tuple[str, int]]
) -> None:
    async def scenario() -> None:
        tools = [Asker("ask"), Asker("resume", handles=True), Asker("look", read_only=True)]
        lives, model, left = Lives(open_house, *tools), Model(), list(deeds)
        while left:
            ends = next((at for at, (deed, _) in enumerate(left) if deed in {"kill", "stop"}), len(left))
            killed = left[ends : ends + 1] != [] and left[ends][0] == "kill"
            async with lives.life(killed=killed) as (_, ask):
                for deed, number in left[:ends]:
                    await do(ask, model, deed, number)
            left = left[ends + 1 :]
        async with lives.life() as (house, ask):
            await settle(house, ask, model)

    run(scenario)
