import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import ATTEMPTS, History, Journal
from mcp_core.runtime.sourced import Sourced
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import SystemClock
from mcp_interface.errors import CallerMistaken, VersionConflict
from mcp_interface.events import AgentRestarted, Event
from mcp_interface.ids import AgentId
from mcp_interface.store import Record, SnapshotPolicy
from mcp_interface.testing import START, ManualClock, MemoryStore, SeededEntropy

STREAM = "agent:counter"


def counted(by: int) -> AgentRestarted:
    return AgentRestarted(timestamp=START, agent_id=AgentId("agent_1"), reason="counted", restarts=by)


class Count(msgspec.Struct):
    total: int = 0


def apply(state: Count, record: Record) -> None:
    assert isinstance(record.event, AgentRestarted)
    state.total += record.event.restarts


class Counter(Sourced[Count]):
    decided = 0

    def decide(self, message: Any, state: Count) -> Sequence[Event]:
        type(self).decided += 1
        if message == "crash":
            raise SystemError("boom")
        if message < 0:
            raise CallerMistaken("only upwards")
        return [counted(message)] * (message > 0)

    def reply(self, message: Any, state: Count, records: Sequence[Record]) -> int:
        return state.total


async def _journal() -> Journal:
    store = MemoryStore()
    return Journal(store, await store.claim(), Bus(store, 0))


def _history(journal: Journal) -> History[Count]:
    return History(
        journal,
        STREAM,
        initial=Count,
        apply=apply,
        clock=SystemClock(),
        schema="count/1",
        policy=SnapshotPolicy(events=5),
    )


@given(st.lists(st.one_of(st.integers(-2, 5), st.sampled_from(["crash", "rest"])), max_size=30))
def test_its_state_is_what_the_journal_says_through_crashes_and_rests(messages: list[Any]) -> None:
    async def scenario() -> None:
        journal = await _journal()
        clock = ManualClock()
        supervisor = Supervisor(clock, SeededEntropy())
        ref = supervisor.start(ChildSpec(name="counter", make=lambda: Counter(_history(journal))))
        child = supervisor.child("counter")
        assert child is not None
        total = 0
        for message in messages:
            clock.advance(61)  # so that every crash is the first one in its window
            if message == "rest":
                child.rest()
            elif message == "crash":
                ref.kill()
            elif message < 0:
                with pytest.raises(CallerMistaken):
                    await ref.call(message)
            else:
                total += message
                assert await ref.call(message, timeout=60) == total
        again = _history(journal)
        await again.load()
        assert again.state.total == total
        await supervisor.close(1)

    asyncio.run(scenario())


def test_a_lost_race_is_decided_again_on_the_newer_state() -> None:
    async def scenario() -> None:
        journal = await _journal()
        ref = Counter.start(_history(journal))
        assert await ref.call(1) == 1
        await journal.append(STREAM, [counted(10)], expected=1, epoch=journal.epoch)
        Counter.decided = 0
        assert await ref.call(1) == 12
        assert Counter.decided == 2
        ref.kill()

    asyncio.run(scenario())


def test_a_writer_that_is_always_late_gives_up() -> None:
    async def scenario() -> None:
        journal = await _journal()
        history = _history(journal)
        await history.load()
        seen = []

        def decide(state: Count) -> Sequence[Event]:
            seen.append(state.total)
            other = journal.append(STREAM, [counted(1)], expected=len(seen) - 1, epoch=journal.epoch)
            with pytest.raises(StopIteration):  # the store in memory does not wait
                other.send(None)
            return [counted(100)]

        with pytest.raises(VersionConflict):
            await history.decide(decide)
        assert seen == list(range(ATTEMPTS))

    asyncio.run(scenario())
