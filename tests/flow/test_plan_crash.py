"""kill -9 of the node at every write of a plan and within its steps: nothing runs twice, and no right is left."""

import asyncio
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flow.conftest import NodeProcess

from mcp_interface.commands import CreateSession, ListAgents, ListCapabilities, VerifyAudit
from mcp_interface.errors import DeadlineExceeded, Interrupted, NodeUnavailable, UmbrellaError, WrongState
from mcp_interface.ids import PlanId
from mcp_interface.plan import PLAN_ENDED, CheckpointStep, ConditionalStep, MessageStep, Plan, ToolStep, Work
from mcp_interface.planning import AnswerStep, ApprovePlan, DraftPlan, GetPlan, ListPlans, Step
from scripted_model import scripted_model

TESTS = Path(__file__).parents[1]
NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
PATIENCE = 60.0
WRITES = 60
"""More than a plan of these steps takes; those behind its end kill nobody."""


class PlanningProcess(NodeProcess):
    """The node of `planning_node`."""

    def command(self) -> list[str]:
        return [sys.executable, str(TESTS / "flow" / "planning_node.py"), "--data-dir", str(self.place.root)]

    def marks(self) -> Counter[str]:
        """What the tools have left, since this was asked last."""
        file = self.place.root / "marks"
        found = Counter(file.read_text().splitlines()) if file.exists() else Counter[str]()
        file.unlink(missing_ok=True)
        return found

    def is_dead(self) -> bool:
        """Whether it has killed itself."""
        return self.process is None or self.process.poll() is not None


def steps(*, talks: bool) -> list[Work]:
    """Seven of them; one that `talks` says something to the assistant, whose first turn takes a while."""

    def mark(tool: str, name: str) -> ToolStep:
        return ToolStep(server="marks", tool=tool, arguments={"mark": name})

    return [
        mark("once", "0"),
        mark("look", "1"),
        CheckpointStep(question="on?"),
        mark("once", "3"),
        MessageStep(text="say left 4") if talks else mark("look", "4"),
        ConditionalStep(step=4, contains="left 4"),
        mark("once", "6"),
    ]


async def until_over(node: PlanningProcess, client: Any, plan_id: PlanId) -> Plan | None:
    """Answer what is asked until the plan is over;
    None when the node has died over it."""
    async with asyncio.timeout(PATIENCE):
        while not node.is_dead():
            with suppress(NodeUnavailable, Interrupted, DeadlineExceeded, WrongState):
                plan: Plan = await client.request(GetPlan(plan_id=plan_id), timeout=5)
                if plan.status in PLAN_ENDED:
                    return plan
                if plan.waits:
                    await client.request(AnswerStep(plan_id=plan_id, answer="go_on"), timeout=5)
            await asyncio.sleep(0.01)
    return None


async def one_death(
    node: PlanningProcess, title: str, *, stepwise: bool, talks: bool
) -> tuple[Plan, Counter[str], bool]:
    """Carry a plan out over a death of the node; the plan as it is in the end, the marks, and whether it died."""
    client = await node.client()
    session = await client.request(CreateSession(title=title))
    drafted = [Step(work=work) for work in steps(talks=talks)]
    await client.request(DraftPlan(session_id=session.id, title=title, steps=drafted))
    [plan] = (await client.request(ListPlans(session_id=session.id))).items
    with suppress(UmbrellaError):
        await client.request(ApprovePlan(plan_id=plan.id, stepwise=stepwise), timeout=20)
    over = await until_over(node, client, plan.id)
    with suppress(NodeUnavailable):  # it may die over what is left of the plan, too
        if over is not None:
            await nothing_left(client)
            return over, node.marks(), False
    await node.let_go()
    node.kill()
    await node.start()
    client = await node.client()
    over = await client.request(GetPlan(plan_id=plan.id))
    if over.status != "draft":
        over = await until_over(node, client, plan.id)
    assert over is not None, "it dies once only"
    await nothing_left(client)
    return over, node.marks(), True


async def nothing_left(client: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while any("plan" in agent.metadata for agent in (await client.request(ListAgents())).items):
            await asyncio.sleep(0.02)
    held = (await client.request(ListCapabilities(limit=1000))).items
    assert not [each for each in held if str(each.metadata.get("by", "")).startswith("plan ")]


def check(title: str, plan: Plan, marks: Counter[str]) -> None:
    """Whatever happened, nothing is done twice, nothing is done out of turn, and what is said is true."""
    for number, step in enumerate(plan.steps):
        begins, ends = marks[f"{number} begins"], marks[f"{number} ends"]
        if not isinstance(step.work, ToolStep):
            continue
        where = f"{title}: step {number} is {step.status}, {begins} begins, {ends} ends"
        if step.work.tool == "once":
            assert begins <= 1, where
        if step.status == "completed":
            assert ends >= 1, where
        elif step.status == "pending":
            assert begins == 0, where
    if plan.status == "failed":
        assert plan.error is not None and plan.error.code == "interrupted", f"{title}: {plan.error}"
        assert plan.error.remedy, title
        number = int(plan.error.details["step"])
        assert plan.steps[number].status == "failed", title
        assert {step.status for step in plan.steps[number + 1 :]} <= {"pending"}, title
    elif plan.status == "completed":
        assert all(step.status == "completed" for step in plan.steps), title
    else:
        assert plan.status == "draft" and not marks, title


class Death(msgspec.Struct, frozen=True):
    """When the node dies, and over what kind of plan."""

    title: str
    stepwise: bool = False
    talks: bool = False


def deaths() -> list[Death]:
    """Every write from both sides, and every run of a tool; by day some of them."""
    if not NIGHTLY:
        return [
            Death("die 1 within"),
            Death("die 2 within", stepwise=True),
            Death("die 7 before"),
            Death("die 18 after", stepwise=True),
            Death("die 27 after", talks=True),
        ]
    named = [f"die {at} {how}" for at in range(1, WRITES) for how in ("before", "after")]
    within = [f"die {at} within" for at in range(1, 6)]
    return [
        Death(title, stepwise, talks)
        for title in [*within, *named]
        for stepwise in (False, True)
        for talks in (False, True)
    ]


@pytest.mark.timeout(60 + (6000 if NIGHTLY else 120))
def test_kill_9_at_any_moment_of_a_plan_repeats_nothing_and_leaves_no_right(tmp_path: Path) -> None:
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])

    async def scenario() -> None:
        ended: Counter[str] = Counter()
        with scripted_model({"steps": [], "then": {"text": "left 4"}}) as model:  # type: ignore[arg-type]
            node = PlanningProcess(tmp_path / "node", {"PYTHONPATH": path, **model.environ("openai")})
            await node.start()
            try:
                for death in deaths():
                    plan, marks, died = await one_death(
                        node, death.title, stepwise=death.stepwise, talks=death.talks
                    )
                    check(f"{death}", plan, marks)
                    ended[plan.status] += died
                    ended["died"] += died
                client = await node.client()
                assert (await client.request(VerifyAudit())).ok
                await node.let_go()
            finally:
                node.kill()
        print(dict(ended))
        assert ended["died"] >= 4 and ended["completed"] >= 2 and ended["failed"] >= 1

    asyncio.run(scenario())
