import pytest

from mcp_core.agents.budgeting import check_budget, cost_of, counted, together, with_answer
from mcp_interface.budget import Budget, Spent
from mcp_interface.errors import TooMuch
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.provider import ModelInfo, Usage
from mcp_interface.session import Limits, Session
from mcp_interface.testing import START

PRICED = ModelInfo(
    name="openai:m", input_price=2.0, output_price=8.0, cached_price=0.5, cache_write_price=2.5
)


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(
        input_tokens=1_000_000, output_tokens=500_000, cached_tokens=400_000, cache_written_tokens=100_000
    )
    assert cost_of(usage, PRICED) == pytest.approx(0.5 * 2 + 0.4 * 0.5 + 0.1 * 2.5 + 0.5 * 8)
    plain = ModelInfo(name="m", input_price=2.0, output_price=8.0)
    assert cost_of(usage, plain) == pytest.approx(2 + 4)


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    usage = Usage(input_tokens=10, output_tokens=10)
    assert cost_of(usage, ModelInfo(name="m")) is None
    assert cost_of(usage, ModelInfo(name="m", input_price=1.0)) is None
    spent = with_answer(with_answer(Spent(), usage, None), usage, 0.25)
    assert (spent.answers, spent.unpriced, spent.cost, spent.input_tokens) == (2, 1, 0.25, 20)
    assert together(spent, spent).cost == 0.5 and together(spent, spent).unpriced == 2


def test_more_tokens_from_a_cache_than_were_read_cost_no_less_than_nothing() -> None:
    assert cost_of(Usage(input_tokens=10, cached_tokens=99, cache_written_tokens=99), PRICED) == (
        pytest.approx(10 * 0.5 / 1_000_000)
    )


def test_an_answer_that_nobody_counted_is_estimated() -> None:
    assert counted(Usage(), 10, 3) == Usage(input_tokens=10, output_tokens=3)
    assert counted(Usage(input_tokens=1), 10, 3) == Usage(input_tokens=1)


def session(budget: Budget, spent: Spent) -> Session:
    return Session(
        id=SessionId("session_1"),
        created_by=PrincipalId("user_1"),
        created_at=START,
        updated_at=START,
        limits=Limits(budget=budget),
        spent=spent,
    )


FREE = ModelInfo(name="ollama:m", input_price=0.0, output_price=0.0)


@pytest.mark.parametrize(
    ("budget", "spent", "info", "told"),
    [
        (Budget(), Spent(cost=99.0), ModelInfo(name="m"), ""),
        (Budget(max_cost=1.0), Spent(cost=0.99), PRICED, ""),
        (Budget(max_cost=1.0), Spent(cost=1.0), PRICED, r"has spent \$1.0000 of its budget of \$1"),
        (Budget(max_cost=1.0), Spent(cost=2.0), FREE, ""),
        (Budget(max_cost=0.0), Spent(), PRICED, r"budget of \$0"),
        (Budget(max_cost=1.0), Spent(), ModelInfo(name="m"), "the price of m is not known"),
        (Budget(max_tokens=10), Spent(input_tokens=5, output_tokens=4), PRICED, ""),
        (Budget(max_tokens=10), Spent(input_tokens=5, output_tokens=5), FREE, "10 of the 10 tokens"),
    ],
)
def test_a_budget_is_looked_at_before_each_request(
    budget: Budget, spent: Spent, info: ModelInfo, told: str
) -> None:
    if not told:
        check_budget(session(budget, spent), info)
        return
    with pytest.raises(TooMuch, match=told) as caught:
        check_budget(session(budget, spent), info)
    assert "/budget" in caught.value.remedy and caught.value.details["bound"]
