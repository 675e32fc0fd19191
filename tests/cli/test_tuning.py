"""Budgets as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.tuning import budget_words, read_budget
from mcp_interface.budget import Budget
from mcp_interface.errors import CallerMistaken


@pytest.mark.parametrize(
    ("line", "budget"),
    [
        ("2.50", Budget(max_cost=2.5)),
        ("$3", Budget(max_cost=3.0)),
        ("200k tokens", Budget(max_tokens=200_000)),
        ("1.5m tokens, 4$", Budget(max_cost=4.0, max_tokens=1_500_000)),
        ("0 0 tokens", Budget(max_cost=0.0, max_tokens=0)),
        ("off", Budget()),
    ],
)
def test_a_budget_is_read(line: str, budget: Budget) -> None:
    assert read_budget(line.split()) == budget


@pytest.mark.parametrize("line", ["-1", "2 3", "k tokens", "2.50 off", "1e9", "nan", "tokens", "٣"])
def test_what_is_none_is_refused_with_an_example(line: str) -> None:
    with pytest.raises(CallerMistaken) as refused:
        read_budget(line.split())
    assert "write for example" in refused.value.remedy


@given(st.integers(0, 10**9), st.integers(0, 10**8))
def test_a_budget_in_words_is_read_back(cents: int, tokens: int) -> None:
    budget = Budget(max_cost=cents / 100, max_tokens=tokens)
    assert read_budget([f"{cents / 100:.2f}", str(tokens), "tokens"]) == budget
    assert "tokens" in budget_words(budget)
    assert budget_words(Budget()) == "no bound"
