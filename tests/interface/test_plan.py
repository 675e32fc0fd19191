from datetime import UTC, datetime

import pytest

from mcp_interface.ids import PlanId, PrincipalId, SessionId
from mcp_interface.plan import CheckpointStep, Plan, PlanStep, Risk


@pytest.mark.parametrize(
    ("risks", "highest"),
    [
        ((), "safe"),
        (("safe",), "safe"),
        (("safe", "moderate", "safe"), "moderate"),
        (("moderate", "dangerous", "safe"), "dangerous"),
    ],
)
def test_a_plan_is_as_risky_as_its_riskiest_step(risks: tuple[Risk, ...], highest: Risk) -> None:
    plan = Plan(
        id=PlanId("plan_1"),
        session_id=SessionId("session_1"),
        by=PrincipalId("user_1"),
        title="tidy up",
        steps=[PlanStep(work=CheckpointStep(question="on?"), risk=risk) for risk in risks],
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert plan.risk == highest
