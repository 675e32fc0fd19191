"""A process full of event-sourced agents, for a test that kills it: says which entries are acknowledged, one a line."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import History, Journal
from mcp_core.runtime.sourced import Sourced
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.events import AgentRestarted, Event
from mcp_interface.ids import AgentId
from mcp_interface.store import Record, SnapshotPolicy
from mcp_persistence import SegmentJournal

AGENTS = 200


class Ledger(msgspec.Struct):
    """Which entries there are, each with how often."""

    entries: dict[str, int] = {}


def enter(state: Ledger, record: Record) -> None:
    """Move a ledger on by one event."""
    assert isinstance(record.event, AgentRestarted)
    state.entries[record.event.reason] = state.entries.get(record.event.reason, 0) + 1


class Clerk(Sourced[Ledger]):
    """Enters what it is told; crashes now and then."""

    def decide(self, message: Any, state: Ledger) -> Sequence[Event]:
        """One event for each entry."""
        if message == "crash":
            raise RuntimeError("boom")
        agent = AgentId("agent_1")
        return [AgentRestarted(timestamp=SystemClock().now(), agent_id=agent, reason=message, restarts=1)]


def history(journal: Journal, name: str) -> History[Ledger]:
    """The stream of one agent; with snapshots often enough to be met by a kill."""
    policy = SnapshotPolicy(events=7)
    clock = SystemClock()
    return History(journal, name, initial=Ledger, apply=enter, clock=clock, schema="ledger/1", policy=policy)


async def opened(folder: Path) -> tuple[Any, Journal]:
    """The store in a folder, and this writer's way to it."""
    store = await SegmentJournal.open(folder, SystemClock())
    return store, Journal(store, await store.claim(), Bus(store, await store.head()))


async def main(folder: Path, life: str) -> None:
    """Work without end."""
    logging.disable(logging.CRITICAL)
    _, journal = await opened(folder)
    keeper = Supervisor(SystemClock(), SystemEntropy(), max_restarts=1_000_000, window_s=0.2)
    names = [f"agent:{number}" for number in range(AGENTS)]
    refs = {
        name: keeper.start(ChildSpec(name=name, make=lambda name=name: Clerk(history(journal, name))))
        for name in names
    }

    async def work(name: str) -> None:
        number = 0
        while True:
            number += 1
            entry = f"{name}/{life}/{number}"
            try:
                await refs[name].call(entry)
            except Exception:  # it was killed while it worked: not acknowledged
                continue
            print(entry, flush=True)
            if number % 10 == 0:
                refs[name].tell("crash")
            elif number % 10 == 5:
                refs[name].kill()

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(work(name))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
