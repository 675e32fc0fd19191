"""What the observer says of two looks."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.observer.picture import SORTS, figure, head, sheet, title, tree, trouble
from mcp_cli.sheet import Cell
from mcp_interface.observe import ActorStatus, Blockage, Branch, RuntimeStatus

ANN = "agent_" + "a" * 32


def actor(name: str = ANN, **more: Any) -> ActorStatus:
    return ActorStatus(
        **{
            "name": name,
            "type": "AgentActor",
            "state": "idle",
            "mail": 0,
            "handled": 0,
            "restarts": 0,
            **more,
        }
    )


def look(*actors: ActorStatus, at: float = 10.0, total: int | None = None, **more: Any) -> RuntimeStatus:
    agents = Branch(
        name="agents",
        strategy="dynamic",
        failures=0,
        total=len(actors) if total is None else total,
        actors=list(actors),
    )
    given: dict[str, Any] = {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "uptime_s": at,
        "actors": len(actors),
        "suspended": 0,
        "threads": 0,
        "dead_letters": 0,
        "memory": 3 * 2**20,
        "worst_block_s": 0.0,
        **more,
    }
    tree = Branch(name="node", strategy="one_for_one", failures=0, total=0, actors=[], branches=[agents])
    return RuntimeStatus(tree=tree, **given)


def test_rates_come_from_two_looks_and_the_time_between_them() -> None:
    before, now = look(actor(handled=100)), look(actor(handled=150), actor("new"), at=12.0)
    rates = {line.actor.name: line.rate for line in tree(now, before) if line.actor is not None}
    assert rates == {ANN: 25.0, "new": None}
    assert all(line.rate is None for line in tree(now))
    assert tree(before, before)[2].rate is None, "no time has passed"
    begun_anew = look(actor(handled=3), at=12.0)
    assert tree(begun_anew, before)[2].rate == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=8),
    st.sampled_from(SORTS),
)
def test_every_actor_is_there_once_below_its_supervisor_in_the_order_asked_for(
    figures: list[tuple[int, int, int]], sort: Any
) -> None:
    before = look(*(actor(f"a{at}") for at in range(len(figures))), at=1.0)
    now = look(
        *(actor(f"a{at}", mail=m, handled=h, restarts=r) for at, (m, h, r) in enumerate(figures)), at=2.0
    )
    lines = tree(now, before, sort)
    assert [line.depth for line in lines] == [0, 1, *[2] * len(figures)]
    assert len({line.key for line in lines}) == len(lines)
    actors = [line.actor for line in lines if line.actor is not None]
    assert sorted(each.name for each in actors) == [f"a{at}" for at in range(len(figures))]
    wanted = {"mail": lambda a: -a.mail, "rate": lambda a: -a.handled, "restarts": lambda a: -a.restarts}
    keys = [(wanted[sort](each) if sort in wanted else 0, each.name) for each in actors]
    assert keys == sorted(keys)


def test_people_are_told_who_an_actor_is_and_how_many_are_not_shown() -> None:
    lines = tree(look(actor(about="worker ann", watched=True), total=500))
    assert [title(line) for line in lines] == [
        "node (one_for_one, 0)",
        "agents (dynamic, 1 of 500)",
        "◉ worker ann agent_aaaaaaaa",
    ]
    assert title(tree(look(actor("session:session_" + "b" * 32, about="Harbor")))[2]) == (
        "Harbor session_bbbbbbbb"
    )
    assert title(tree(look(actor("server:notes")))[2]) == "server:notes"
    hostile = title(tree(look(actor(about="worker \x1b[31mevil\nsecond")))[2])
    assert "\x1b" not in hostile
    assert "\n" not in hostile


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (0.24, "0.2"), (12, "12"), (12.34, "12.3"), (123.4, "123"), (1234, "1.2k"), (2.5e6, "2.5M")],
)
def test_numbers_stay_short(count: float, text: str) -> None:
    assert figure(count) == text


def test_what_blocks_the_loop_is_told_with_its_place_and_for_a_while_afterwards() -> None:
    assert trouble(look()) == ""
    now = Blockage(actor=ANN, duration_s=1.25, where="/src/tool.py:12 run")
    assert trouble(look(blocked=now)) == "blocked for 1.2 s by agent_aaaaaaaa at /src/tool.py:12 run"
    passed = Blockage(actor="", duration_s=0.75, where="/src/a.py:1 f", ago_s=4.0)
    told = trouble(look(blocks=[now, passed]))
    assert told == "was blocked for 750 ms, 4.0 s ago, by code outside the actors at /src/a.py:1 f"
    old = Blockage(actor=ANN, duration_s=0.7, where="x", ago_s=3600.0)
    assert trouble(look(blocks=[old])) == ""


def test_the_table_for_paper_says_what_the_screen_shows() -> None:
    before = look(actor(handled=1), at=1.0)
    now = look(
        actor(handled=11, mail=2, restarts=3, memory=2048, waits_for=["agent_" + "b" * 32], state="waiting"),
        at=2.0,
        dead_letters=1,
        worst_block_s=0.6,
    )
    shown = sheet(now, before)
    assert shown.title == "1 actor · 0 suspended · 3 MiB · worst block 600 ms · 1 dead letter · up 2.0 s"
    last = [cell.text for cell in shown.rows[-1]]
    assert last == [
        "    agent_aaaaaaaa",
        "AgentActor",
        "waiting",
        "2",
        "10",
        "3",
        "2.0k",
        "waits for agent_bbbbbbbb",
    ]
    assert Cell("waiting", "accent") in shown.rows[-1]
    assert ("1 dead letter", "warn") in head(now)
