"""The rooms beside the actors, with real actors in them."""

import asyncio
from typing import Any

import pytest

from mcp_core.runtime import Actor, PoolActor
from mcp_core.runtime.channel import Channel, Delivery, Patience
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_core.runtime.registry import LocalRegistry
from mcp_core.runtime.seen import Seen
from mcp_core.runtime.target import Target
from mcp_core.runtime.timers import Timers
from mcp_interface.clock import SystemClock, SystemEntropy


class Listener(Actor):
    """Keeps what it hears; a delivery fails the first time when its number is a multiple of three."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.seen = Seen()

    async def on_receive(self, message: Any) -> Any:
        if message == "what?":
            return self.heard
        if not isinstance(message, Delivery):
            self.heard.append(message)
            return None

        async def handle() -> None:
            if message.payload % 3 == 0 and message.attempt == 1:
                raise RuntimeError("not the first time")
            await asyncio.sleep(0)
            self.heard.append(message.payload)

        return await self.seen.once(message.id, handle)


class Blocking(PoolActor):
    def on_receive(self, message: Any) -> Any:
        return message


@pytest.mark.parametrize("kind", [Listener, Blocking])
def test_names_and_memberships_end_with_their_actor(kind: type[Actor] | type[PoolActor]) -> None:
    async def scenario() -> None:
        groups, registry = Groups(), LocalRegistry[Target]()
        lives, ends = kind.start(), kind.start()
        for name, ref in (("lives", lives), ("ends", ends)):
            groups.join("news", ref)
            registry.register(name, ref, {"type": "listener", "key": name})
        assert groups.publish("news", "hello") == 2
        assert await ends.stop(block=False)
        async with asyncio.timeout(5):
            while len(registry) > 1 or len(groups) > 1:
                await asyncio.sleep(0.005)
        assert groups.members("news") == [lives]
        assert registry.lookup_key("listener", "ends") is None
        assert registry.whereis("lives") is lives
        registry.register("ends", ends, {})
        assert registry.lookup("ends") is None, "what has ended gets no name"
        assert await lives.stop(block=False)

    asyncio.run(scenario())


def test_what_is_sent_later_arrives_or_is_a_dead_letter() -> None:
    async def scenario() -> None:
        letters = DeadLetters(SystemClock())
        timers = Timers(SystemClock(), letters)
        lives, ends = Listener.start(), Listener.start()
        for ref in (lives, ends):
            timers.send_after(ref, 0.02, "later")
        assert await ends.stop(block=False)
        async with asyncio.timeout(5):
            while len(timers) or not len(letters):
                await asyncio.sleep(0.005)
        assert await lives.call("what?", timeout=5) == ["later"]
        [letter] = letters.page()
        assert (letter.to, letter.reason, letter.outline) == (ends.name, "not_found", "'later'")
        letters.replay(letter.number, lambda name: lives)
        assert await lives.call("what?", timeout=5) == ["later", "later"]
        await timers.close()
        assert await lives.stop(block=False)

    asyncio.run(scenario())


def test_a_channel_keeps_the_order_over_failures_and_a_new_actor() -> None:
    async def scenario() -> None:
        clock = SystemClock()
        letters = DeadLetters(clock)
        timers = Timers(clock, letters)
        first, second = Listener.start(), Listener.start()
        channel = Channel(
            "listener",
            timers=timers,
            clock=clock,
            entropy=SystemEntropy(),
            letters=letters,
            target=first,
            patience=Patience(ack_s=5, first_pause_s=0.005, longest_pause_s=0.02, room=4),
        )
        for number in range(10):
            await channel.send(number)
        assert await channel.drain(10)
        assert await first.call("what?", timeout=5) == list(range(10))
        assert await first.stop(block=False)
        await channel.send(10)
        await asyncio.sleep(0.05)
        assert len(channel) == 1, "it waits for somebody who is there"
        channel.attach(second)
        assert await channel.drain(10)
        assert await second.call("what?", timeout=5) == [10]
        assert len(letters) == 0
        await channel.close()
        await timers.close()
        assert await second.stop(block=False)

    asyncio.run(scenario())
