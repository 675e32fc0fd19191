"""The line at the bottom says what matters, and on a narrow terminal the most important of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.statusline import GAP, Beyond, Standing, status_parts
from mcp_interface.conversing import WindowStatus
from mcp_interface.provider import ModelInfo

FULL = Standing(
    session="session_12345678",
    model="gpt-large",
    profile="careful",
    waiting=2,
    working=1,
    input_tokens=12_345,
    output_tokens=678,
    in_window=100_000,
    cost=0.1234,
    seconds=3.21,
    beyond=Beyond(
        model=ModelInfo(name="gpt-large", context_tokens=200_000), elsewhere=1, working_elsewhere=3
    ),
)


def line(standing: Standing, width: int = 0) -> str:
    return GAP.join(part.text for part in status_parts(standing, width))


def test_there_is_room_for_all_of_it() -> None:
    assert line(FULL) == (
        "2 waiting for you · 1 waiting elsewhere · session_12345678 · gpt-large · profile careful · context 50 %"
        " · 12.3k in, 678 out · $0.12 · 3.2 s · 3 at work elsewhere · connected"
    )


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            120,
            "2 waiting for you · 1 waiting elsewhere · gpt-large · profile careful · context 50 %"
            " · 12.3k in, 678 out · $0.12",
        ),
        (80, "2 waiting for you · 1 waiting elsewhere · gpt-large · profile careful"),
        (60, "2 waiting for you · 1 waiting elsewhere · profile careful"),
        (40, "2 waiting for you · 1 waiting elsewhere"),
    ],
)
def test_a_narrow_terminal_keeps_the_important_parts(width: int, shown: str) -> None:
    assert line(FULL, width) == shown


def test_what_is_not_known_is_left_out() -> None:
    assert line(Standing()) == "new session · model ? · profile careful · connected"
    assert "$" not in line(Standing(unpriced=3, input_tokens=1)), "an unknown price is not nothing"
    assert "context" not in line(Standing(in_window=5_000))
    assert "$0.12+" in line(Standing(cost=0.12, unpriced=1))


def test_the_nodes_own_count_of_the_window_is_used_until_the_model_has_answered() -> None:
    window = WindowStatus(tokens=30_000, context_tokens=40_000, messages=9, left_out=0)
    assert "context 75 %" in line(Standing(beyond=Beyond(window=window)))
    nearly = status_parts(Standing(in_window=36_000, beyond=Beyond(window=window)))
    assert [part.tone for part in nearly if part.text.startswith("context")] == ["warn"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_node_that_is_away_and_an_open_profile_stay_in_sight(width: int) -> None:
    assert "node lost" in line(Standing(connection="lost", session="s" * 16, model="m" * 40), width)
    shown = status_parts(Standing(profile="open", session="s" * 16, model="m" * 40), width)
    assert [part.tone for part in shown if part.text == "profile open"] == ["bad"]


@given(
    st.integers(1, 200),
    st.builds(
        Standing,
        session=st.text(max_size=20),
        model=st.text(max_size=60),
        waiting=st.integers(0, 3),
        working=st.integers(0, 9),
        suspended=st.booleans(),
        refusing=st.booleans(),
        connection=st.sampled_from(["connecting", "connected", "lost", "stopped"]),
        cost=st.floats(0, 1e4),
        input_tokens=st.integers(0, 10**9),
    ),
)
def test_it_fits_or_is_one_part(width: int, standing: Any) -> None:
    parts = status_parts(standing, width)
    assert len(parts) == 1 or len(line(standing, width)) <= width
    assert parts == [part for part in status_parts(standing) if part in parts], "the order stays"
