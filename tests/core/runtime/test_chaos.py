"""Ten thousand agents under random kills, crashes, stops and floods of mail: at the end nothing is lost or left."""

import asyncio
import gc
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pykka
import pytest

from mcp_core.runtime import Actor, PoolActor
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.child import Child
from mcp_core.runtime.commit import History, Journal
from mcp_core.runtime.exits import KILLED
from mcp_core.runtime.observer import resident
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.sourced import Sourced
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import SystemClock
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import AgentRestarted, Event
from mcp_interface.ids import AgentId
from mcp_interface.store import Record
from mcp_interface.testing import START, MemoryStore, SeededEntropy

SECONDS = 60.0 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 2.0
AGENTS = 10_000
GROWTH = 150 * 1024 * 1024
"""Bytes that a storm may add to the process, at most; what its journal holds is in it."""


class Ledger(msgspec.Struct):
    """State of a sourced agent: which entries it has, each with how often."""

    entries: dict[str, int] = {}


def enter(state: Ledger, record: Record) -> None:
    assert isinstance(record.event, AgentRestarted)
    state.entries[record.event.reason] = state.entries.get(record.event.reason, 0) + 1


class Clerk(Sourced[Ledger]):
    """Keeps a ledger in the journal; answers how many entries there are."""

    def decide(self, message: Any, state: Ledger) -> Sequence[Event]:
        if message in ("crash", "count"):
            return []
        agent = AgentId("agent_1")
        return [AgentRestarted(timestamp=START, agent_id=agent, reason=message, restarts=1)]

    def reply(self, message: Any, state: Ledger, records: Sequence[Record]) -> Any:
        if message == "crash":
            raise RuntimeError("boom")
        return len(state.entries)


class HastyClerk(Clerk):
    """Answers before anything is written: what the checks have to notice."""

    async def on_receive(self, message: Any) -> Any:
        return len(self.history.state.entries)


class Plain(Actor):
    """Some of its messages take a while."""

    async def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise RuntimeError("boom")
        if message == "wait":
            await asyncio.sleep(0.005)
        return message


class Blocking(PoolActor):
    """The same on a thread."""

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise RuntimeError("boom")
        return message


class Forgetful(Supervisor):
    """Says that it brings everybody back, and does not always."""

    def lost(self, member: Any, error: BaseException, *, made: bool = True) -> bool:
        return hash(member.name) % 3 == 0 or super().lost(member, error, made=made)


class Careless(Supervisor):
    """Forgets who is there, and so does not end them."""

    def lost(self, member: Any, error: BaseException, *, made: bool = True) -> bool:
        kept = super().lost(member, error, made=made)
        self.forget(member)
        return kept


class Storm:
    """The agents, what is done to them, and what was promised meanwhile."""

    def __init__(
        self,
        count: int,
        *,
        keeper: type[Supervisor] = Supervisor,
        clerk: type[Clerk] = Clerk,
        patience: float = 10.0,
    ) -> None:
        self.patience = patience
        self.dice = random.Random(count)
        self.count = count
        self.clerk = clerk
        self.clock = SystemClock()
        options: dict[str, Any] = {"max_restarts": 1_000_000, "window_s": 0.5}
        self.top = Supervisor(self.clock, SeededEntropy(), name="top", strategy="one_for_one", **options)
        self.branches = [
            self.top.branch(keeper(self.clock, SeededEntropy(), name=name, **options))
            for name in ("sourced", "plain", "pool")
        ]
        for number in range(20):  # some live in groups of five
            group = keeper(
                self.clock, SeededEntropy(), name=f"group-{number}", strategy="one_for_all", **options
            )
            self.branches.append(self.top.branch(group))
        self.refs: dict[str, tuple[Supervisor, Any]] = {}
        self.stopping: set[asyncio.Task[None]] = set()
        self.asked: dict[asyncio.Task[Any], tuple[str, str]] = {}
        self.acknowledged: dict[str, set[str]] = {}
        self.failed = self.answered = self.restarted = 0
        self.faults: list[str] = []

    async def begin(self) -> None:
        store = MemoryStore()
        self.journal = Journal(store, await store.claim(), Bus(store, 0))
        for number in range(self.count):
            kind = "sourced" if number % 5 == 0 else "pool" if number % 50 == 1 else "plain"
            place = {"sourced": 0, "plain": 1, "pool": 2}[kind]
            if kind == "plain" and number % 100 == 2:
                place = 3 + number // 100 % 20
            self._start(self.branches[place], f"{kind}-{number}")
        self.names = list(self.refs)

    def _start(self, supervisor: Supervisor, name: str) -> None:
        kind = name.split("-", maxsplit=1)[0]
        make: Any = {"sourced": partial(self._clerk, name), "pool": Blocking, "plain": Plain}[kind]
        told = self._restarted
        self.refs[name] = (supervisor, supervisor.start(ChildSpec(name=name, make=make, on_restart=told)))

    def _clerk(self, name: str) -> Clerk:
        return self.clerk(self.history(name))

    def history(self, name: str) -> History[Ledger]:
        return History(self.journal, name, initial=Ledger, apply=enter, clock=self.clock, schema="ledger/1")

    def _restarted(self, error: BaseException, count: int) -> None:
        self.restarted += 1

    # -- the storm -------------------------------------------------------------------------------------------

    async def rage(self, seconds: float) -> None:
        """Do something bad to somebody, again and again; a thread does the same from outside."""
        end = self.clock.monotonic() + seconds
        over = threading.Event()
        outside = asyncio.create_task(asyncio.to_thread(self._from_outside, over))
        number = 0
        while self.clock.monotonic() < end:
            for _ in range(40):
                number += 1
                self._one(self.dice.choice(self.names), f"entry-{number}")
            await asyncio.sleep(0)
            while len(self.asked) > 2000:
                await self._hear()
        over.set()
        await outside
        await asyncio.gather(*self.stopping)

    def _one(self, name: str, entry: str) -> None:
        supervisor, ref = self.refs[name]
        what = self.dice.random()
        if what < 0.55:
            message = entry if name.startswith("sourced") else self.dice.choice([entry, "wait"])
            asking = asyncio.create_task(ref.call(message, timeout=self.patience, urgent=what < 0.1))
            self.asked[asking] = (name, message)
        elif what < 0.7:
            with suppress(pykka.ActorDeadError, UmbrellaError):
                ref.tell("count", urgent=what < 0.6)
        elif what < 0.8:
            with suppress(pykka.ActorDeadError, UmbrellaError):
                ref.tell("crash")
        elif what < 0.9:
            ref.kill()
        elif what < 0.95:
            child = supervisor.child(name)
            if child is not None:
                child.rest()
        else:
            self._keep(asyncio.create_task(supervisor.stop(name, 0.05)))
            self._later(lambda: self._again(supervisor, name))

    def _again(self, supervisor: Supervisor, name: str) -> None:
        if supervisor.child(name) is None:
            self._start(supervisor, name)

    def _later(self, job: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(self.dice.random() * 0.02)  # while it still ends, or afterwards
            job()

        self._keep(asyncio.create_task(wait()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.stopping.add(task)
        task.add_done_callback(self.stopping.discard)

    def _from_outside(self, over: threading.Event) -> None:
        dice = random.Random(1)
        while not over.is_set():
            _, ref = self.refs[dice.choice(self.names)]
            if dice.random() < 0.2:
                ref.kill()
            try:
                ref.ask("count", timeout=self.patience)
            except pykka.Timeout:
                self.faults.append(f"a thread was not answered by {ref.name}")
            except Exception:
                self.failed += 1
            else:
                self.answered += 1
            over.wait(0.0005)

    async def _hear(self) -> None:
        done, _ = await asyncio.wait(
            self.asked, timeout=self.patience * 2, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            self.faults.append(f"{len(self.asked)} asks had neither answer nor error at their deadline")
            self.asked.clear()
        for task in done:
            name, message = self.asked.pop(task)
            if task.cancelled() or task.exception() is not None:
                self.failed += 1
            else:
                self.answered += 1
                if name.startswith("sourced"):
                    self.acknowledged.setdefault(name, set()).add(message)

    # -- the day after ---------------------------------------------------------------------------------------

    async def check(self) -> list[str]:
        """What is not as it was promised."""
        while self.asked:
            await self._hear()
        end = self.clock.monotonic() + self.patience * 2
        for begun in range(0, len(self.names), 500):
            some = self.names[begun : begun + 500]
            left = max(0.05, end - self.clock.monotonic())
            calls = (self.refs[name][1].call("count", timeout=left) for name in some)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for name, answer in zip(some, answers, strict=True):
                supervisor, ref = self.refs[name]
                child = supervisor.child(name)
                if isinstance(answer, BaseException):
                    self.faults.append(f"{name} is not back: {answer!r}")
                elif child is None or child.ref is not ref:
                    self.faults.append(f"{name} is not in the tree")
                elif name.startswith("sourced"):
                    await self._check_ledger(name, answer)
        return self.faults

    async def _check_ledger(self, name: str, held: int) -> None:
        history = self.history(name)
        await history.load()
        entries = history.state.entries
        missing = self.acknowledged.get(name, set()) - set(entries)
        if missing or max(entries.values(), default=1) > 1 or held != len(entries):
            self.faults.append(f"{name} holds {held}, its journal {entries}, {missing} were acknowledged")


class Before:
    """What the process held, and what is too much of it now."""

    def __init__(self) -> None:
        gc.collect()
        self.actors = len(ROLL)
        self.children = _children()
        self.tasks = len(_tasks())
        self.threads = threading.active_count()
        self.files = len(list(Path("/proc/self/fd").iterdir()))
        self.memory = resident()

    def leaks(self) -> list[str]:
        now = Before()
        # threads of the pool and of `to_thread` stay for the next that needs them
        threads = now.threads - self.threads - PoolActor.pool.threads - 4
        excess = {
            "actors": now.actors - self.actors,
            "children": now.children - self.children,
            "tasks": now.tasks - self.tasks,
            "threads": threads,
            "files": now.files - self.files,
            "bytes": now.memory - self.memory - GROWTH * (1 + SECONDS / 10),
        }
        return [f"{count:.0f} {what} too many" for what, count in excess.items() if count > 0]


def _children() -> int:
    return sum(isinstance(each, Child) for each in gc.get_objects())


def _tasks() -> list[Any]:
    """All but those that are kept to take handlers over."""
    return [task for task in asyncio.all_tasks() if "_carry_on" not in repr(task.get_coro())]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A traceback for each of so many crashes would take more time than everything else."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(120 + SECONDS * 3)
def test_ten_thousand_agents_weather_a_storm_without_a_loss() -> None:
    async def scenario() -> None:
        before = Before()
        storm = Storm(AGENTS)
        await storm.begin()
        await storm.rage(SECONDS)
        assert await storm.check() == []
        entries = sum(map(len, storm.acknowledged.values()))
        print(
            f"{storm.restarted} restarts, {storm.answered} answers, {storm.failed} failed, {entries} entries"
        )
        assert storm.restarted > 100 and storm.answered > 1000 and entries > 100
        await storm.top.close(5)
        del storm
        await asyncio.sleep(0)
        assert before.leaks() == []

    asyncio.run(scenario())


async def _small(**kinds: Any) -> tuple[list[str], list[str]]:
    before, there = Before(), set(ROLL)
    storm = Storm(300, patience=0.2, **kinds)
    await storm.begin()
    await storm.rage(0.1)
    for name in storm.names:
        storm.refs[name][1].kill()
    faults = list(await storm.check())
    await storm.top.close(0.2)
    leaks = before.leaks()
    for ref in set(ROLL) - there:  # nobody else will end them
        ref._die(KILLED)
    return faults, leaks


def test_a_supervisor_that_forgets_to_restart_is_noticed() -> None:
    faults, _ = asyncio.run(_small(keeper=Forgetful))
    assert any("is not back" in fault for fault in faults)


def test_a_supervisor_that_loses_sight_of_its_children_is_noticed() -> None:
    faults, leaks = asyncio.run(_small(keeper=Careless))
    assert any("is not in the tree" in fault for fault in faults)
    assert any("actors" in leak for leak in leaks)


def test_an_agent_that_acknowledges_what_it_has_not_written_is_noticed() -> None:
    faults, _ = asyncio.run(_small(clerk=HastyClerk))
    assert any("were acknowledged" in fault for fault in faults)
