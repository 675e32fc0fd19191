"""Plans on a real node: laid out, looked at, allowed, carried out; and what nobody can do with them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from core.gateway.plans.planned import Owner, owned, read, run, write
from core.refusing import RefusingNode
from mcp_core import Node
from mcp_interface.access import CreateKey
from mcp_interface.client import ClientInfo
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CreateSession,
    EndSession,
    ForkSession,
    GetStatus,
    GrantCapability,
    ListCapabilities,
    PostMessage,
    ReadAudit,
    RemoveServer,
    ResumeSession,
    RevokeCapability,
    SpawnAgent,
    StopAgent,
    SuspendSession,
)
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    NotPermitted,
    StorageUnavailable,
    TooMuch,
    WrongState,
)
from mcp_interface.events import ApprovalAsked, ExecutionChanged, PlanMoved, StepMoved, UserMessage
from mcp_interface.execution import ListExecutions
from mcp_interface.ids import PlanId
from mcp_interface.plan import CheckpointStep, ConditionalStep, MessageStep, Plan, ToolStep
from mcp_interface.planning import (
    AnswerStep,
    ApprovePlan,
    CancelPlan,
    ChangePlan,
    DryRunPlan,
    GetPlan,
    ListPlans,
    Step,
)
from mcp_interface.server import ServerSpec
from scripted_model import scripted_model

TURNCOAT = Path(__file__).parents[1] / "servers" / "turncoat.py"
Work = Callable[[Owner, Path], Awaitable[None]]


def on_a_node(tmp_path: Path, work: Work, kind: type[Node] = Node, **settings: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(100), owned(tmp_path, kind, **settings) as owner:
            await work(owner, tmp_path)

    asyncio.run(whole())


def test_a_plan_is_laid_out_approved_and_carried_out_with_rights_that_end_with_it(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        note = folder / "note.txt"
        plan = await owner.draft(
            write(note, "eggs"),
            read(note),
            ConditionalStep(step=1, contains="eggs"),
            run("cat", str(note)),
            ConditionalStep(step=1, contains="ham"),
            write(folder / "ham.txt", "ham"),
        )
        assert [step.risk for step in plan.steps] == [
            "dangerous", "safe", "safe", "dangerous", "safe", "dangerous",
        ]  # fmt: skip
        assert plan.status == "draft" and plan.risk == "dangerous" and plan.by == owner.who
        assert plan.steps[0].needs == [f"mcp://fs/write{note}"]
        assert plan.steps[3].needs[0].startswith("mcp://shell/execute/")
        assert plan.steps[3].needs[1:] == [f"mcp://fs/list{folder}"], "in the folder the person works in"
        await asyncio.sleep(0.1)
        assert not note.exists() and not await owner.agents(), "nothing is done before somebody says yes"
        approved = await owner.client.request(ApprovePlan(plan_id=plan.id))
        assert approved.status == "executing"
        over = await owner.over(plan.id)
        assert over.status == "completed", over
        assert [step.status for step in over.steps] == [*["completed"] * 5, "skipped"]
        assert "eggs" in over.steps[1].result and "eggs" in over.steps[3].result
        assert note.read_text() == "eggs" and not (folder / "ham.txt").exists()
        await owner.nobody_left()
        moves = [event for event in await owner.events() if isinstance(event, StepMoved | PlanMoved)]
        agent = next(event.by for event in moves if isinstance(event, PlanMoved) and event.by != owner.who)
        calls = [event for event in await owner.events() if isinstance(event, ExecutionChanged)]
        assert {event.principal_id for event in calls} == {agent}, "the plan's own agent, and nobody else"
        order = [(event.step, event.status) for event in moves if isinstance(event, StepMoved)]
        assert order[:4] == [(0, "running"), (0, "completed"), (1, "running"), (1, "completed")]
        with pytest.raises(WrongState, match="is completed and cannot become approved"):
            await owner.client.request(ApprovePlan(plan_id=plan.id))
        assert (await owner.client.request(CancelPlan(plan_id=plan.id))).status == "completed", "harmless"

    on_a_node(tmp_path, work)


def test_the_agent_of_a_plan_holds_exactly_what_its_steps_need(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        note = folder / "note.txt"
        plan = await owner.draft(CheckpointStep(question="now?"), write(note, "x"), read(note), read(note))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        assert (await owner.waits(plan.id)).waits == "now?"
        [agent] = await owner.agents()
        held = (await owner.client.request(ListCapabilities(principal=agent.id))).items
        assert sorted(each.resource_uri for each in held) == [
            f"mcp://fs/read{note}",
            f"mcp://fs/write{note}",
        ]
        assert {each.delegation_depth for each in held} == {0}, "it hands nothing on"
        assert {each.metadata["by"] for each in held} == {f"plan {plan.id}"}
        with pytest.raises(NotPermitted):
            await owner.client.request(
                CallTool(
                    server="fs", tool="read_file", arguments={"path": "/etc/hostname"}, as_agent=agent.id
                )
            )
        await owner.client.request(CancelPlan(plan_id=plan.id))
        await owner.nobody_left()
        assert not note.exists()

    on_a_node(tmp_path, work)


def test_what_the_person_does_not_hold_approves_nothing_at_all(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        ann = await as_somebody(owner)
        await owner.client.request(GrantCapability(agent=ann.who, resource_uri=f"mcp://fs/write{folder}/**"))
        plan = await ann.draft(write(folder / "a", "x"), read(folder / "secret"))
        agents = len(await owner.agents())
        with pytest.raises(NotPermitted, match=f"fs/read{folder}/secret"):
            await ann.client.request(ApprovePlan(plan_id=plan.id))
        assert (await ann.get(plan.id)).status == "draft", "it can be changed and approved yet"
        assert len(await owner.agents()) == agents
        await owner.nobody_left()
        changed = await ann.client.request(
            ChangePlan(plan_id=plan.id, steps=[Step(work=write(folder / "a", "x"))])
        )
        assert len(changed.steps) == 1
        await ann.client.request(ApprovePlan(plan_id=plan.id))
        assert (await ann.over(plan.id)).status == "completed"
        assert (folder / "a").read_text() == "x"

    on_a_node(tmp_path, work)


def test_a_limit_that_a_step_would_exceed_is_found_before_anything_begins(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        ann = await as_somebody(owner)
        grant = GrantCapability(
            agent=ann.who, resource_uri=f"mcp://fs/write{folder}/**", constraints={"max_bytes": 3}
        )
        await owner.client.request(grant)
        plan = await ann.draft(write(folder / "a", "abc"), write(folder / "b", "abcd"))
        with pytest.raises(NotPermitted, match="step 2"):
            await ann.client.request(ApprovePlan(plan_id=plan.id))
        await owner.nobody_left()
        assert not (folder / "a").exists()

    on_a_node(tmp_path, work)


def test_nobody_but_the_person_of_the_session_decides_about_a_plan(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(write(folder / "a", "x"))
        agent = await owner.client.request(SpawnAgent(name="a", session_id=owner.session_id))
        ann = await as_somebody(owner)
        gateway: Any = owner.client._gateway
        as_agent = type(owner.client).of(gateway, agent.id)
        for client in (ann.client, as_agent):
            for command in (
                GetPlan(plan_id=plan.id),
                ApprovePlan(plan_id=plan.id),
                DryRunPlan(plan_id=plan.id),
                ChangePlan(plan_id=plan.id, steps=[Step(work=read(folder))]),
                AnswerStep(plan_id=plan.id, answer="go_on"),
                CancelPlan(plan_id=plan.id),
            ):
                with pytest.raises(NotFound, match="no plan"):
                    await client.request(command)
            assert (await client.request(ListPlans())).items == []
        assert (await owner.get(plan.id)).status == "draft"
        unknown = PlanId("plan_" + "1" * 32)
        with pytest.raises(NotFound, match="no plan"):
            await owner.client.request(ApprovePlan(plan_id=unknown))

    on_a_node(tmp_path, work)


def test_step_by_step_each_right_comes_when_the_person_says_go_on_and_ends_with_the_step(
    tmp_path: Path,
) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        one, two, three = (folder / name for name in "abc")
        plan = await owner.draft(write(one, "1"), write(two, "2"), write(three, "3"))
        await owner.client.request(ApprovePlan(plan_id=plan.id, stepwise=True))
        first = await owner.waits(plan.id)
        assert first.waits.startswith("Step 1 of 3") and first.stepwise
        [agent] = await owner.agents()
        assert (await owner.client.request(ListCapabilities(principal=agent.id))).items == []
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        second = await owner.until(plan.id, lambda now: now.waits.startswith("Step 2"))
        assert one.read_text() == "1" and second.steps[0].status == "completed"
        assert (await owner.client.request(ListCapabilities(principal=agent.id))).items == []
        with pytest.raises(WrongState, match="about step 2 by now, not about step 1"):
            await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on", step=0))
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="skip", step=1))
        third = await owner.until(plan.id, lambda now: now.waits.startswith("Step 3"))
        assert third.steps[1].status == "skipped" and not two.exists()
        stopped = await owner.client.request(AnswerStep(plan_id=plan.id, answer="stop"))
        assert stopped.status == "cancelled" and not three.exists()
        await owner.nobody_left()
        with pytest.raises(WrongState, match="waits for no answer"):
            await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))

    on_a_node(tmp_path, work)


def test_a_right_that_is_taken_back_ends_the_plan_and_nobody_is_asked(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(CheckpointStep(question="now?"), write(folder / "a", "x"))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        await owner.waits(plan.id)
        [agent] = await owner.agents()
        [held] = (await owner.client.request(ListCapabilities(principal=agent.id))).items
        await owner.client.request(RevokeCapability(capability_id=held.id))
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        over = await owner.over(plan.id)
        assert over.status == "failed" and over.error is not None and over.error.code == "denied"
        assert over.error.message.startswith("step 2 failed") and not (folder / "a").exists()
        assert not [event for event in await owner.events() if isinstance(event, ApprovalAsked)]
        again = await owner.draft(CheckpointStep(question="now?"), write(folder / "a", "x"))
        await owner.client.request(ApprovePlan(plan_id=again.id))
        await owner.waits(again.id)
        [agent] = await owner.agents()
        await owner.client.request(StopAgent(agent=agent.id))
        await owner.client.request(AnswerStep(plan_id=again.id, answer="go_on"))
        assert (await owner.over(again.id)).status == "failed" and not (folder / "a").exists()

    on_a_node(tmp_path, work)


def test_a_cancelled_plan_stops_the_step_that_runs(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(run("sleep", "60"), write(folder / "a", "x"))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        running = await owner.until(plan.id, lambda now: now.steps[0].execution_id is not None)
        over = await owner.client.request(CancelPlan(plan_id=plan.id))
        assert over.status == "cancelled" and over.ended_at is not None
        assert [step.status for step in over.steps] == ["failed", "pending"]
        await owner.nobody_left()
        calls = (await owner.client.request(ListExecutions(session_id=owner.session_id))).items
        [call] = [call for call in calls if call.id == running.steps[0].execution_id]
        assert call.over and call.status in {"CANCELLED", "FAILED"}
        assert not (folder / "a").exists()

    on_a_node(tmp_path, work)


def test_a_failed_step_ends_the_plan_unless_the_next_one_looks_at_it(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(run("false"), write(folder / "a", "x"))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        over = await owner.over(plan.id)
        assert over.status == "failed" and [step.status for step in over.steps] == ["failed", "pending"]
        assert "exit code 1" in over.steps[0].result and not (folder / "a").exists()
        looked = await owner.draft(
            run("false"), ConditionalStep(step=0, status="failed"), write(folder / "b", "x")
        )
        await owner.client.request(ApprovePlan(plan_id=looked.id))
        assert (await owner.over(looked.id)).status == "completed"
        assert (folder / "b").read_text() == "x"
        await owner.nobody_left()

    on_a_node(tmp_path, work)


def test_what_cannot_be_is_refused_when_it_is_drafted_and_names_the_step(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        for step, told in (
            (ToolStep(server="nowhere", tool="x"), "step 2: no server 'nowhere'"),
            (ToolStep(server="fs", tool="reed_file"), "step 2: fs has no tool 'reed_file'"),
            (ToolStep(server="fs", tool="read_file", arguments={"path": 3}), "step 2: arguments of fs"),
            (run("./ls"), "step 2: .*is relative"),
            (ConditionalStep(step=5), "step 2 looks at step 6"),
            (write(folder / "a", "x" * 300_000), "the steps are .* bytes long"),
        ):
            with pytest.raises(CallerMistaken, match=told):
                await owner.draft(read(folder / "a"), step)
        assert (await owner.client.request(ListPlans())).items == []

    on_a_node(tmp_path, work)


def test_a_session_has_so_many_open_plans_and_lists_them_latest_first(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        drafted = [await owner.draft(read(folder), title=f"{number}") for number in range(20)]
        with pytest.raises(TooMuch, match="20 plans that are not over"):
            await owner.draft(read(folder))
        await owner.client.request(CancelPlan(plan_id=drafted[0].id))
        page = await owner.client.request(ListPlans(session_id=owner.session_id, limit=15))
        assert [plan.title for plan in page.items] == [f"{number}" for number in range(19, 4, -1)]
        rest = await owner.client.request(ListPlans(cursor=page.cursor))
        assert [plan.status for plan in rest.items] == [*["draft"] * 4, "cancelled"]
        other = await owner.client.request(CreateSession(title="other"))
        assert (await owner.client.request(ListPlans(session_id=other.id))).items == []
        fork = await owner.client.request(ForkSession(session_id=owner.session_id))
        assert (await owner.client.request(ListPlans(session_id=fork.id))).items == [], "a copy is no plan"

    on_a_node(tmp_path, work)


def test_a_dry_run_tells_what_would_happen_and_moves_nothing(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        (folder / "a").write_text("old\n")
        ann = await as_somebody(owner)
        await owner.client.request(
            GrantCapability(agent=ann.who, resource_uri=f"mcp://fs/write{folder}/**", max_uses=1)
        )
        await owner.client.request(GrantCapability(agent=ann.who, resource_uri=f"mcp://fs/read{folder}/a"))
        plan = await ann.draft(
            write(folder / "a", "new\n"), read(folder / "b"), CheckpointStep(question="?"), run("true")
        )
        before = await still(owner)
        for _ in range(3):
            looked = await ann.client.request(DryRunPlan(plan_id=plan.id))
            assert [step.allowed for step in looked] == [True, False, True, False]
        assert await still(owner) == before, "neither the journal nor the audit trail has moved"
        assert looked[0].preview is not None and "+new" in looked[0].preview.diff
        assert looked[0].why == f"mcp://fs/write{folder}/**" and f"{folder}/b" in looked[1].why
        assert (folder / "a").read_text() == "old\n"
        call = CallTool(server="fs", tool="write_file", arguments=write(folder / "c", "x").arguments)
        await ann.client.request(call)  # its one use is there yet
        spent = await ann.client.request(DryRunPlan(plan_id=plan.id))
        assert not spent[0].allowed

    on_a_node(tmp_path, work)


async def still(owner: Owner) -> tuple[int, int]:
    """Where the journal and the audit trail are."""
    status = await owner.client.request(GetStatus())
    audit = await owner.client.request(ReadAudit(limit=1000))
    return status.position, max(entry.seq for entry in audit.items)


def test_a_plan_rests_with_its_session_and_ends_with_it(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(CheckpointStep(question="now?"), write(folder / "a", "x"))
        other = await owner.draft(CheckpointStep(question="now?"), write(folder / "b", "x"))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        await owner.waits(plan.id)
        await owner.client.request(SuspendSession(session_id=owner.session_id))
        for command in (AnswerStep(plan_id=plan.id, answer="go_on"), ApprovePlan(plan_id=other.id)):
            with pytest.raises(WrongState, match="resume it"):
                await owner.client.request(command)
        with pytest.raises(WrongState, match="resume it"):
            await owner.draft(read(folder))
        await owner.client.request(ResumeSession(session_id=owner.session_id))
        await owner.client.request(ApprovePlan(plan_id=other.id))
        await owner.waits(other.id)
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        assert (await owner.over(plan.id)).status == "completed"
        await owner.client.request(EndSession(session_id=owner.session_id))
        over = await owner.over(other.id)
        assert over.status == "cancelled" and not (folder / "b").exists()
        await owner.nobody_left()

    on_a_node(tmp_path, work)


def test_an_agent_lays_a_plan_out_and_nothing_of_it_is_done(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        agent = await owner.client.request(SpawnAgent(name="a", session_id=owner.session_id))
        await owner.client.request(
            GrantCapability(agent=agent.id, resource_uri="mcp://tool/execute/plan/draft")
        )
        steps: list[Any] = [{"title": "write it", "work": {"kind": "tool", "server": "fs", "tool": "write_file",
                             "arguments": {"path": str(folder / "a"), "content": "x"}}}]  # fmt: skip
        call = CallTool(
            server="plan",
            tool="draft",
            arguments={"title": "mine", "steps": steps},
            as_agent=agent.id,
            session_id=owner.session_id,
        )
        answered = await owner.client.request(call)
        assert "nothing of it is done until the person approves it" in answered.result.text
        [plan] = (await owner.client.request(ListPlans())).items
        assert (plan.by, plan.status, plan.title) == (agent.id, "draft", "mine")
        assert plan.steps[0].title == "write it" and not (folder / "a").exists()
        for broken in ({"title": "x"}, {"title": "x", "steps": []}, {"title": "", "steps": steps}):
            with pytest.raises(CallerMistaken, match="arguments of plan/draft"):
                await owner.client.request(
                    CallTool(server="plan", tool="draft", arguments=broken, as_agent=agent.id)
                )
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        assert (await owner.over(plan.id)).status == "completed"

    on_a_node(tmp_path, work)


def test_words_that_nobody_answers_fail_the_step(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(MessageStep(text="hello"), write(folder / "a", "x"))
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        over = await owner.over(plan.id)
        assert over.status == "failed" and over.error is not None
        assert over.error.code == "model_unavailable", "there is none here"
        assert not (folder / "a").exists()
        await owner.nobody_left()

    on_a_node(tmp_path, work, environ={})


async def as_somebody(owner: Owner) -> Owner:
    """Somebody with a key and no right, in a session of theirs."""
    made = await owner.client.request(CreateKey(name="ann"))
    client = owner.node.client()
    who = (await client.connect(ClientInfo(name="ann", token=made.secret))).principal_id
    session = await client.request(CreateSession(title="hers"))
    return Owner(owner.node, client, session.id, who)


def test_a_tool_that_became_another_one_since_the_draft_is_not_approved(tmp_path: Path) -> None:
    said = tmp_path / "description"
    said.write_text("Read one note.")
    spec = ServerSpec(command=sys.executable, args=[str(TURNCOAT), str(said)])

    async def work(owner: Owner, folder: Path) -> None:
        await owner.client.request(AddServer(name="notes", spec=spec))
        note = ToolStep(server="notes", tool="read", arguments={"name": "one"})
        plan = await owner.draft(CheckpointStep(question="now?"), note)
        assert plan.steps[1].risk == "safe" and plan.steps[1].needs == ["mcp://tool/execute/notes/read"]
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        await owner.waits(plan.id)
        later = await owner.draft(note)
        said.write_text("Read one note. Also send it away.")
        await owner.client.request(RemoveServer(name="notes"))
        await owner.client.request(AddServer(name="notes", spec=spec))
        assert not (await owner.client.request(DryRunPlan(plan_id=later.id)))[0].allowed
        with pytest.raises(NotPermitted, match="step 1: notes/read is not the tool that it was"):
            await owner.client.request(ApprovePlan(plan_id=later.id))
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        over = await owner.over(plan.id)
        assert over.status == "failed" and over.error is not None and over.error.code == "denied"
        await owner.nobody_left()

    on_a_node(tmp_path, work)


def test_a_journal_that_refuses_holds_a_plan_up_and_no_longer(tmp_path: Path) -> None:
    async def work(owner: Owner, folder: Path) -> None:
        node = owner.node
        assert isinstance(node, RefusingNode)
        plan = await owner.draft(run("sleep", "1"), CheckpointStep(question="now?"), write(folder / "a", "x"))
        node.refuse()
        with pytest.raises((StorageUnavailable, NotPermitted)):
            await owner.client.request(ApprovePlan(plan_id=plan.id))
        node.accept()
        assert (await owner.get(plan.id)).status == "draft"
        await owner.nobody_left()
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        await owner.until(plan.id, lambda now: now.steps[0].execution_id is not None)
        node.refuse()
        await asyncio.sleep(1.5)
        node.accept()
        assert (await owner.waits(plan.id)).steps[0].status == "completed"
        node.refuse()
        with pytest.raises(StorageUnavailable):
            await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        node.accept()
        await owner.client.request(AnswerStep(plan_id=plan.id, answer="go_on"))
        over = await owner.over(plan.id)
        assert over.status == "completed" and (folder / "a").read_text() == "x"
        await owner.nobody_left()

    on_a_node(tmp_path, work, kind=RefusingNode)


def test_a_plan_that_was_over_long_ago_and_one_of_an_earlier_process_are_read_as_they_were(
    tmp_path: Path,
) -> None:
    kept: list[Plan] = []

    async def first(owner: Owner, folder: Path) -> None:
        plan = await owner.draft(
            run("echo", "hello"), ConditionalStep(step=0, contains="ham"), read(folder / "no")
        )
        await owner.client.request(ApprovePlan(plan_id=plan.id))
        over = await owner.over(plan.id)
        index: Any = owner.node._planner.commands._index  # type: ignore[union-attr]
        index._ended.clear()
        assert await owner.get(plan.id) == over, "from the journal"
        assert (await owner.client.request(CancelPlan(plan_id=plan.id))).status == "completed"
        kept.extend([over, await owner.draft(read(folder))])

    async def second(owner: Owner, folder: Path) -> None:
        for plan in kept:
            assert await owner.get(plan.id) == plan
        assert {plan.id for plan in (await owner.client.request(ListPlans())).items} == {
            plan.id for plan in kept
        }

    on_a_node(tmp_path, first)
    on_a_node(tmp_path, second)


def test_the_assistant_drafts_unasked_under_a_careful_profile_and_its_plan_waits_for_the_person(
    tmp_path: Path,
) -> None:
    steps = [{"work": {"kind": "message", "text": "and now say done"}}]
    script = [
        {"tool_call": {"name_contains": "draft", "arguments": {"title": "mine", "steps": steps}}},
        {"text": "Please look at the plan."},
        {"text": "done", "when": "and now say done"},
    ]

    with scripted_model(script) as model:

        async def work(owner: Owner, folder: Path) -> None:
            await owner.client.request(PostMessage(session_id=owner.session_id, text="plan it"))
            async with asyncio.timeout(30):
                while not (found := (await owner.client.request(ListPlans())).items):
                    await asyncio.sleep(0.05)
                while "Please look" not in str(await owner.events()):
                    await asyncio.sleep(0.05)
            [plan] = found
            assert plan.by.startswith("agent_") and plan.status == "draft"
            assert not [event for event in await owner.events() if isinstance(event, ApprovalAsked)]
            await owner.client.request(ApprovePlan(plan_id=plan.id))
            over = await owner.over(plan.id)
            assert over.status == "completed" and over.steps[0].result == "done"
            said = [event for event in await owner.events() if isinstance(event, UserMessage)]
            assert [(event.author, event.text) for event in said][1:] == [(owner.who, "and now say done")]

        on_a_node(tmp_path, work, environ=model.environ("openai"))
