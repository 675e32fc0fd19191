"""Turns for tasks: never more at once than may be, in the order in which they came, and within bounds."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.agents.pool import Pool, PoolStatus
from mcp_interface.errors import DeadlineExceeded, TooMuch
from mcp_interface.ids import SessionId, TaskId

PLACE, OTHER = SessionId("session_a"), SessionId("session_b")


def name(number: int) -> TaskId:
    return TaskId(f"task_{number}")


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave"]), st.integers(0, 9)), max_size=60))
def test_turns_go_in_order_and_never_to_more_than_may_run(steps: list[tuple[str, int]]) -> None:
    pool = Pool(at_once=2, queued=3)
    running, queue = list[TaskId](), list[TaskId]()
    for deed, number in steps:
        key = name(number)
        if deed == "leave":
            pool.leave(key)
            running, queue = [x for x in running if x != key], [x for x in queue if x != key]
            while queue and len(running) < 2:
                running.append(queue.pop(0))
        elif key in running or key in queue:
            pool.enter(PLACE, key)
        elif len(running) < 2:
            pool.enter(PLACE, key)
            running.append(key)
        elif len(queue) < 3:
            pool.enter(PLACE, key)
            queue.append(key)
        else:
            with pytest.raises(TooMuch, match="umbrella task cancel"):
                pool.enter(PLACE, key)
        assert pool.status(PLACE) == PoolStatus(running=len(running), queued=len(queue))
        assert has_turn(pool, running) and not any(has_turn(pool, [each]) for each in queue)


def has_turn(pool: Pool, keys: list[TaskId]) -> bool:
    return all(pool._turns[key].is_set() for key in keys)


def test_who_waits_too_long_is_told_and_sessions_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        pool = Pool(at_once=1)
        pool.enter(PLACE, name(1))
        pool.enter(PLACE, name(2))
        pool.enter(OTHER, name(3))
        await pool.turn(name(3), 0.0)
        with pytest.raises(DeadlineExceeded, match="waited too long"):
            await pool.turn(name(2), 0.01)
        waiting = asyncio.create_task(pool.turn(name(2), 10.0))
        await asyncio.sleep(0)
        pool.leave(name(1))
        await waiting

    asyncio.run(scenario())


def test_what_ran_in_an_earlier_process_gets_its_turn_beyond_any_bound() -> None:
    pool = Pool(at_once=1, queued=0)
    for number in range(3):
        pool.enter(PLACE, name(number), runs=True)
    assert pool.status(PLACE).running == 3
    with pytest.raises(TooMuch):
        pool.enter(PLACE, name(9))
