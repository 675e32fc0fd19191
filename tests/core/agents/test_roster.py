"""The list of agents against a plain one that forgets nothing."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.agents.roster import Roster
from mcp_interface.agent import AgentRecord
from mcp_interface.ids import AgentId, SessionId
from mcp_interface.testing import START

KEPT = 3
STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(["", "ann", "bob"])), max_size=40
)


def agent(number: int, name: str) -> AgentRecord:
    return AgentRecord(
        id=AgentId(f"agent_{number:032x}"),
        type="worker",
        name=name,
        session_id=SessionId(f"session_{number % 2}"),
        started_at=START - timedelta(seconds=number),  # a clock that was set back changes no order
    )


@given(STEPS)
def test_all_that_live_and_the_last_that_ended_are_listed_in_the_order_of_their_births(steps: Any) -> None:
    roster = Roster(KEPT)
    born: list[AgentRecord] = []
    ended: list[AgentId] = []
    for is_birth, which, name in steps:
        if is_birth:
            born.append(agent(len(born), name))
            roster.born(born[-1], len(born))
        elif born:
            key = born[which % len(born)].id
            forgotten = roster.ended(key)
            if key not in ended:
                ended.append(key)
                assert forgotten == (ended[-KEPT - 1] if len(ended) > KEPT else None)
        living = [each for each in born if each.id not in ended]
        known = [each.id for each in born if each.id not in ended[:-KEPT]]
        assert roster.living() == list(roster.listed()) == living and len(roster) == len(living)
        assert [each.id for each in roster.listed(ended=True)] == known
        for session_id in (SessionId("session_0"), SessionId("session_1")):
            of_it = [each.id for each in born if each.id in known and each.session_id == session_id]
            assert [each.id for each in roster.listed(session_id, ended=True)] == of_it
            assert [each.id for each in roster.living(session_id)] == [
                each.id for each in living if each.session_id == session_id
            ]
        for each in born:
            found = roster.get(each.id)
            assert (found is not None) == (each.id in known) and roster.lives(each.id) == (each in living)
            assert found is None or (found.state == "terminated") == (each.id in ended)
        for each_name in ("ann", "bob"):
            assert roster.named(each_name) == [each for each in living if each.name == each_name]
        assert [each.id for each in roster.beginning("agent_")] == known and roster.named("") == []
