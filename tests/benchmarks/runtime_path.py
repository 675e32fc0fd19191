"""Our side of `bench_runtime`: the whole way of a message through a node, with and without the journal.

An envelope is made with a fresh id and the time; the router reads its address, has the sender's right judged by the
kernel and finds the agent; telemetry is on, with the listener that counts for Prometheus; the agent's actor notes what
it received and how long it took, and answers. All parts are those of the product but the agents themselves
and the list of them: a node would also ask models and keep sessions.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from payloads import EVENTS, State, fold, stream_name
from turns import Figures, Speed, rounds

from mcp_core.gateway.passes import Passes
from mcp_core.gateway.router import Router
from mcp_core.observe.metrics import Metrics
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.runtime import Actor
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.collection import settle_memory
from mcp_core.runtime.commit import History, Journal
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_core.runtime.registry import LocalRegistry
from mcp_interface.address import parse_resource
from mcp_interface.capability import GrantOptions
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.envelope import Envelope
from mcp_interface.ids import AgentId, MessageId, PrincipalId, new_id
from mcp_interface.store import Record
from mcp_interface.telemetry import Telemetry
from mcp_interface.testing import MemoryStore
from mcp_interface.trace import tracing
from mcp_persistence import SegmentJournal
from mcp_security import AuditLog, Kernel

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
OWNER = PrincipalId(new_id("user", ENTROPY))
AGENTS = 1_000


class Worker(Actor):
    """An agent's actor: tells telemetry as the product's does, and answers with what its state says."""

    def __init__(self, agent_id: str, telemetry: Telemetry, history: "History[State] | None") -> None:
        super().__init__()
        self._id = agent_id
        self._received = telemetry.emitter("mcp.message.received")
        self._handled = telemetry.emitter("mcp.agent.message_handled")
        self._history = history
        self._count = 0

    async def on_receive(self, message: Envelope) -> int:
        with tracing(message.trace):
            if self._received.on:
                names = {"to": message.to, "sender": message.sender, "session_id": message.session_id}
                self._received.emit({}, names)
            began = CLOCK.monotonic()
            answer = await self._answer(message)
            if self._handled.on:
                taken = {"duration_s": CLOCK.monotonic() - began}
                self._handled.emit(taken, {"agent_id": self._id, "type": "worker"})
            return answer

    async def _answer(self, message: Envelope) -> int:
        if self._history is not None:
            await self._history.commit(EVENTS[message.payload % len(EVENTS)])
            return self._history.state.events
        self._count += 1
        return self._count


class Agents:
    """Who can be reached, in the place of the directory: a lookup in the registry and nothing else."""

    def __init__(self) -> None:
        self._registry: LocalRegistry[Any] = LocalRegistry()

    def add(self, agent_id: str, ref: Any) -> None:
        self._registry.register(agent_id, ref, {"type": "worker"})

    def ref(self, agent_id: AgentId) -> Any:
        return self._registry.whereis(agent_id)

    def type_of(self, agent_id: AgentId) -> str:
        return "worker"


class House:
    """The parts, put together."""

    def __init__(self, kernel: Kernel, sender: PrincipalId) -> None:
        self.telemetry = LocalTelemetry()
        self.metrics = Metrics(self.telemetry)
        self.agents = Agents()
        self.passes = Passes(kernel)
        letters = DeadLetters(CLOCK, self.telemetry)
        self.router = Router(self.agents, self.passes, Groups(letters), letters, self.telemetry)  # type: ignore[arg-type]
        self._sender = sender
        self.names: list[str] = []

    def add(self, history: "History[State] | None" = None) -> None:
        agent_id = new_id("agent", ENTROPY)
        self.agents.add(agent_id, Worker.start(agent_id, self.telemetry, history))
        self.names.append(agent_id)

    def letter(self, to: str, payload: int) -> Envelope:
        return Envelope(
            id=MessageId(new_id("msg", ENTROPY)),
            to=f"mcp://agent/{to}",
            sender=self._sender,
            payload=payload,
            timestamp=CLOCK.now(),
        )

    async def send(self, to: str, payload: int) -> Any:
        return await self.router.ask(self.letter(to, payload))


async def a_house(stack: AsyncExitStack, folder: Path) -> House:
    store = MemoryStore()
    audit = await AuditLog.open(folder / "audit.jsonl", CLOCK)
    stack.push_async_callback(audit.close)
    kernel = await Kernel.open(store, await store.claim(), audit, CLOCK, ENTROPY)
    stack.push_async_callback(kernel.close)
    every, sender = parse_resource("mcp://agent/write/**"), PrincipalId(new_id("agent", ENTROPY))
    root = await kernel.request(OWNER, every, GrantOptions(delegation_depth=2))
    await kernel.delegate(root.handle, OWNER, sender)
    return House(kernel, sender)


class Sender(Actor):
    async def on_receive(self, message: Any) -> Any:
        return await message()


def path(scale: float) -> Figures:
    """One sender after the other's answer, over a thousand agents; then each part of the way alone."""

    async def main() -> Figures:
        with TemporaryDirectory() as name:
            async with AsyncExitStack() as stack:
                house = await a_house(stack, Path(name))
                for _ in range(AGENTS):
                    house.add()
                settle_memory()
                sender = Sender.start()
                names, count = house.names, int(30_000 * scale)

                async def send(number: int) -> None:
                    async def run() -> None:
                        for each in range(number):
                            await house.send(names[each % AGENTS], each)

                    await sender.call(run, timeout=120.0)

                found = await rounds("full path", count, send)
                parts = _parts(house)
                for title, part in parts.items():
                    found |= await rounds(title, count, part, times=3)
                seen = house.metrics.text()
                assert "mcp_message_received" in seen and "mcp_message_sent" in seen
                return found

    return asyncio.run(main())


def _parts(house: House) -> dict[str, Callable[[int], Awaitable[None]]]:
    to, letter = house.names[0], house.letter(house.names[0], 0)
    worker = house.agents._registry.whereis(to)

    async def letters(count: int) -> None:
        for number in range(count):
            house.letter(to, number)

    async def judged(count: int) -> None:
        for _ in range(count):
            assert house.passes.holds(letter)

    async def routed(count: int) -> None:
        ask = house.router.ask
        for _ in range(count):
            await ask(letter)

    async def called(count: int) -> None:
        call = worker.call
        for _ in range(count):
            await call(letter)

    return {
        "of it: the envelope": letters,
        "of it: the judgement": judged,
        "of it: from the router on": routed,
        "of it: from the actor on": called,
    }


def journaled(scale: float, parent: str | None) -> Figures:
    """A thousand senders, each to an agent of its own; one event for each message is durable before the answer."""
    laps = max(4, int(60 * scale))

    async def main(folder: Path) -> Figures:
        async with AsyncExitStack() as stack:
            house = await a_house(stack, folder)
            where = folder / "log"
            where.mkdir()
            store = await SegmentJournal.open(where, CLOCK)
            stack.push_async_callback(store.close)
            journal = Journal(store, await store.claim(), Bus(store, 0))
            for number in range(AGENTS):
                house.add(_history(journal, stream_name(number)))
            settle_memory()

            async def one(to: str, count: int) -> None:
                for number in range(count):
                    await house.send(to, number)

            async def all_of_them(count: int) -> None:
                await asyncio.gather(*(one(to, count) for to in house.names))

            await all_of_them(2)
            speed = Speed(AGENTS * laps)
            with speed:
                await all_of_them(laps)
            assert await store.head() >= AGENTS * (laps + 2)
            return speed.figures("journaled")

    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        return asyncio.run(main(Path(name)))


def _history(journal: Journal, stream: str) -> "History[State]":
    def apply(state: State, record: Record) -> None:
        fold(state, record.event)

    return History(journal, stream, initial=State, apply=apply, clock=CLOCK, schema="benchmark-1")


def appended(scale: float, parent: str | None) -> Figures:
    """The limit of the row above: the same events, appended to the same journal by a thousand tasks, and nothing else."""
    laps = max(4, int(60 * scale))

    async def main(folder: Path) -> Figures:
        store = await SegmentJournal.open(folder, CLOCK)
        epoch = await store.claim()

        async def one(stream: str, first: int, count: int) -> None:
            for version in range(first, first + count):
                event = EVENTS[version % len(EVENTS)]
                await store.append(stream, [event], expected=version, epoch=epoch)

        async def all_of_them(first: int, count: int) -> None:
            await asyncio.gather(*(one(stream_name(n), first, count) for n in range(AGENTS)))

        settle_memory()
        await all_of_them(0, 2)
        speed = Speed(AGENTS * laps)
        with speed:
            await all_of_them(2, laps)
        await store.close()
        return speed.figures("appended")

    with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
        return asyncio.run(main(Path(name)))
