"""The laws of a plan's life, and what comes next in it."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.plans.conditions import check_conditions, holds
from mcp_core.gateway.plans.risk import label, risk_of, risk_of_tool
from mcp_core.gateway.plans.state import (
    PLAN_MOVES,
    STEP_MOVES,
    Ask,
    Attend,
    Begin,
    Finish,
    GiveUp,
    Held,
    Look,
    Rest,
    Wait,
    advance,
    called,
    check_draft,
    check_move,
    check_waits,
    ended_with_session,
    next_move,
)
from mcp_interface.address import parse_resource
from mcp_interface.errors import CallerMistaken, ErrorBody, WrongState
from mcp_interface.events import PlanDrafted, PlanMoved, StepMoved
from mcp_interface.ids import ExecutionId, PlanId, PrincipalId, SessionId
from mcp_interface.plan import (
    PLAN_ENDED,
    CheckpointStep,
    CommandStep,
    ConditionalStep,
    MessageStep,
    Plan,
    PlanStep,
    ToolStep,
    Work,
)
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLAN, SESSION = PlanId("plan_" + "1" * 32), SessionId("session_" + "2" * 32)
ANN, AGENT = PrincipalId("user_" + "3" * 32), PrincipalId("agent_" + "4" * 32)
READ, SAY = ToolStep(server="fs", tool="read_file"), MessageStep(text="hello")
STOP = CheckpointStep(question="all right?")
BROKEN, DOUBT = (
    ErrorBody(code="unavailable", message="no"),
    ErrorBody(code="interrupted", message="who knows"),
)

works = st.lists(st.sampled_from([READ, SAY, STOP]), min_size=1, max_size=6).flatmap(
    lambda plain: st.lists(
        st.one_of(
            st.just(None),
            st.builds(
                ConditionalStep,
                step=st.integers(0, 3),
                status=st.sampled_from(["completed", "failed"]),
                contains=st.sampled_from(["", "x"]),
                skip=st.integers(1, 3),
            ),
        ),
        min_size=len(plain),
        max_size=len(plain),
    ).map(lambda conditions: _lawful(plain, conditions))
)


def _lawful(plain: list[Any], conditions: list[Any]) -> list[Work]:
    found: list[Work] = [work if rule is None else rule for work, rule in zip(plain, conditions, strict=True)]
    for number, work in enumerate(found):
        try:
            check_conditions(found)
        except CallerMistaken:
            if isinstance(work, ConditionalStep):
                found[number] = READ
    return found


def plan(*steps: Work, **fields: Any) -> Plan:
    made = [PlanStep(title=label(work), work=work) for work in steps]
    return Plan(id=PLAN, session_id=SESSION, by=ANN, title="t", steps=made, created_at=NOW, **fields)


class Life:
    """A plan with the records that made it."""

    def __init__(self, drafted: Plan) -> None:
        self.records: list[Record] = []
        self.held: Held | None = None
        self._versions = count(1)
        self.add(PlanDrafted(timestamp=NOW, plan=drafted))

    def add(self, *events: Any) -> None:
        for event in events:
            version = next(self._versions)
            record = Record(
                position=version, stream=f"session:{SESSION}", version=version, epoch=1, event=event
            )
            self.records.append(record)
            self.held = advance(self.held, record)

    @property
    def plan(self) -> Plan:
        assert self.held is not None
        return self.held.plan

    def approve(self, *, stepwise: bool = False) -> None:
        self.add(moved("approved", by=ANN, stepwise=stepwise), moved("executing", by=AGENT))


def moved(status: Any, **fields: Any) -> PlanMoved:
    return PlanMoved(timestamp=NOW, plan_id=PLAN, status=status, **{"by": ANN, **fields})


def step(number: int, status: Any, **fields: Any) -> StepMoved:
    return StepMoved(timestamp=NOW, plan_id=PLAN, step=number, status=status, **fields)


events = st.lists(
    st.one_of(
        st.builds(moved, st.sampled_from(sorted(PLAN_MOVES)), waits=st.sampled_from(["", "go on?"])),
        st.builds(step, st.integers(-1, 4), st.sampled_from(sorted(STEP_MOVES))),
        st.just(PlanDrafted(timestamp=NOW, plan=plan(SAY, SAY))),
    ),
    max_size=30,
)


@given(events)
def test_nothing_follows_but_what_may(happening: list[Any]) -> None:
    life = Life(plan(READ, STOP, SAY))
    for event in happening:
        before = life.plan
        life.add(event)
        after = life.plan
        if after.status != before.status:
            assert after.status in PLAN_MOVES[before.status]
        if before.status in PLAN_ENDED:
            assert after == before, "what is over stays as it is"
        if before.status == after.status == "executing" and len(before.steps) == len(after.steps):
            for was, now in zip(before.steps, after.steps, strict=True):
                assert was.status == now.status or now.status in STEP_MOVES[was.status]
        else:
            assert isinstance(event, PlanDrafted) or [s.status for s in before.steps] == [
                s.status for s in after.steps
            ]
        if before.status != "draft":
            assert [each.work for each in after.steps] == [each.work for each in before.steps]
        assert (after.ended_at is not None) == (after.status in PLAN_ENDED)
        assert not (after.waits and after.status in PLAN_ENDED)
    again: Held | None = None
    for record in life.records:
        again = advance(again, record)
        again = advance(again, record)
    assert again == life.held, "a replay gives the same, also where a record is seen twice"


outcomes = st.lists(st.sampled_from(["ok", "x", "bad", "doubt", "cut"]), min_size=30, max_size=30)


@given(works, outcomes, st.booleans())
def test_a_plan_comes_to_its_end_and_begins_no_step_twice(
    steps: list[Work], coming: list[str], stepwise: bool
) -> None:
    life = Life(plan(*steps))
    life.approve(stepwise=stepwise)
    begun: Counter[int] = Counter()
    asked: set[int] = set()
    for turn in range(200):
        move = next_move(life.plan)
        match move:
            case Ask(step=number, question=question):
                assert number not in asked and question
                asked.add(number)
                life.add(moved("executing", waits=question))
            case Wait():
                number = check_waits(life.plan)
                is_stop = isinstance(life.plan.steps[number].work, CheckpointStep)
                life.add(moved("executing"), step(number, "completed" if is_stop else "running"))
                begun[number] += not is_stop
            case Begin(step=number):
                assert not stepwise
                life.add(step(number, "running"))
                begun[number] += 1
            case Attend(step=number):
                held = life.held
                assert held is not None and held.began == life.records[-1].version
                end = coming[(turn + number) % len(coming)]
                failed = {"bad": BROKEN, "doubt": DOUBT}.get(end)
                life.add(step(number, "failed" if failed else "completed", result=end, error=failed))
            case Look(step=number):
                work = life.plan.steps[number].work
                assert isinstance(work, ConditionalStep)
                left_out = range(number + 1, number + 1 + work.skip)
                out = [] if holds(work, life.plan.steps) else [step(each, "skipped") for each in left_out]
                life.add(step(number, "completed"), *out)
            case GiveUp(step=number):
                life.add(moved("failed", error=life.plan.steps[number].error))
            case Finish():
                life.add(moved("completed"))
            case Rest():
                break
    assert life.plan.status in {"completed", "failed"}, "it has come to its end"
    assert max(begun.values(), default=0) <= 1
    statuses = [each.status for each in life.plan.steps]
    assert "running" not in statuses
    if life.plan.status == "completed":
        assert "pending" not in statuses
    doubtful = [each.error for each in life.plan.steps if each.error == DOUBT]
    assert not doubtful or life.plan.status == "failed", "what is in doubt ends a plan"


def test_what_is_told_late_of_an_earlier_call_is_not_taken_for_that_of_the_next_step() -> None:
    life = Life(plan(READ, READ))
    life.approve()
    life.add(step(0, "running"))
    assert life.held is not None
    one, other = ExecutionId("exec_" + "1" * 32), ExecutionId("exec_" + "2" * 32)
    life.held = called(life.held, one)
    life.add(step(0, "completed"), step(1, "running"))
    life.held = called(life.held, one)
    assert [each.execution_id for each in life.plan.steps] == [one, None]
    life.held = called(life.held, other)
    life.held = called(life.held, ExecutionId("exec_" + "3" * 32))
    assert [each.execution_id for each in life.plan.steps] == [one, other]


def test_a_plan_ends_with_its_session() -> None:
    life = Life(plan(READ, SAY))
    life.approve()
    life.add(step(0, "running"))
    assert life.held is not None
    over = ended_with_session(life.held, NOW).plan
    assert over.status == "cancelled" and over.ended_at == NOW
    assert [each.status for each in over.steps] == ["failed", "pending"]
    assert ended_with_session(Held(plan=over), NOW).plan == over


def test_what_a_plan_cannot_become_is_said_with_what_helps() -> None:
    life = Life(plan(READ))
    for wanted in ("completed", "failed", "executing"):
        with pytest.raises(WrongState, match="approve it: umbrella plan approve"):
            check_move(life.plan, wanted)  # type: ignore[arg-type]
    life.approve()
    with pytest.raises(WrongState, match="only a draft can be changed"):
        check_draft(life.plan)
    with pytest.raises(WrongState, match="waits for no answer"):
        check_waits(life.plan)
    life.add(moved("failed"))
    with pytest.raises(WrongState, match="has failed and cannot become approved"):
        check_move(life.plan, "approved")


def test_a_failed_step_is_looked_at_only_by_the_very_next_one_and_not_when_in_doubt() -> None:
    looks = ConditionalStep(step=0, status="failed")
    for steps, error, expected in (
        ((READ, looks, SAY), BROKEN, Look(1)),
        ((READ, SAY, looks, SAY), BROKEN, GiveUp(0)),
        ((READ, looks, SAY), DOUBT, GiveUp(0)),
        ((READ, looks, SAY), ErrorBody(code="denied", message="no right"), GiveUp(0)),
    ):
        life = Life(plan(*steps))
        life.approve()
        life.add(step(0, "running"), step(0, "failed", error=error))
        assert next_move(life.plan) == expected


def test_conditions_look_back_and_leave_out_what_there_is() -> None:
    with pytest.raises(CallerMistaken, match="step 1 looks at step 1, which does not come before it"):
        check_conditions([ConditionalStep(step=0), READ])
    with pytest.raises(CallerMistaken, match="step 2 would leave out 2 steps, and 1 follow"):
        check_conditions([READ, ConditionalStep(step=0, skip=2), READ])
    check_conditions([READ, ConditionalStep(step=0, skip=1), READ])
    done = PlanStep(work=READ, status="completed", result="three eggs")
    assert holds(ConditionalStep(step=0, contains="eggs"), [done])
    assert not holds(ConditionalStep(step=0, contains="ham"), [done])
    assert not holds(ConditionalStep(step=0, status="failed"), [done])


@pytest.mark.parametrize(
    ("says", "need", "risk"),
    [
        ({"read_only": True}, "mcp://fs/read/a", "safe"),
        ({"read_only": True}, "mcp://api/get/example.org/a", "dangerous"),
        ({"read_only": True}, "mcp://tool/execute/mail/list", "safe"),
        ({"destructive": False, "open_world": False}, "mcp://fs/write/a", "moderate"),
        ({"destructive": False}, "mcp://tool/execute/mail/send", "dangerous"),
        ({}, "mcp://fs/write/a", "dangerous"),
        ({"destructive": False, "open_world": False}, "mcp://shell/execute/bin/true", "dangerous"),
    ],
)
def test_the_risk_of_a_call_is_the_worst_that_may_come_of_it(says: Any, need: str, risk: str) -> None:
    info = ToolInfo(server="s", name="t", **says)
    assert risk_of_tool(info, [parse_resource("mcp://fs/read/b"), parse_resource(need)]) == risk


def test_the_risk_of_what_calls_nothing() -> None:
    steps: list[Work] = [STOP, ConditionalStep(step=0), SAY, CommandStep(command=["/bin/true"])]
    assert [risk_of(work) for work in steps] == ["safe", "safe", "moderate", "dangerous"]
    assert [label(work) for work in [READ, *steps]] == [
        "fs/read_file",
        "ask: all right?",
        "look at step 1",
        "say: hello",
        "run: /bin/true",
    ]
