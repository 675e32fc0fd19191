"""Keeps actors alive: a crash is answered by a fresh incarnation behind the same ref.

Restarts back off exponentially with jitter. A child that crashes too often within the window is given up,
its ref ends, and whoever started it is told.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec
import pykka

from mcp_core.runtime.actor import Actor
from mcp_core.runtime.ref import Ref
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import DeadlineExceeded, LostRace

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 30.0


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one child is made and what a crash of it means."""

    name: str
    make: Callable[[], Actor]
    """Builds an incarnation that is not started yet."""
    restart: Literal["permanent", "temporary"] = "permanent"
    max_restarts: int = 5
    window_s: float = 60.0
    """More than `max_restarts` crashes within so many seconds: given up."""
    on_restart: Callable[[BaseException, int], None] | None = None
    """Told of each crash that is answered by a restart, with the count so far."""
    on_give_up: Callable[[BaseException], None] | None = None
    """Told once when the child will not come back."""


def pause(restarts: int, jitter: float) -> float:
    """Seconds to wait before a restart: doubling from 50 ms to 30 s, spread over the upper half by jitter."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(restarts, 20))
    return longest / 2 + longest / 2 * jitter


class Supervisor:
    """One-for-one supervision; used on the node's event loop only."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._children: dict[str, _Child] = {}

    def start(self, spec: ChildSpec) -> Ref:
        """Start a child and keep it running.

        Raises:
            LostRace: A child of that name is running.
            Exception: What making it raised; the name is free again.
        """
        if spec.name in self._children:
            raise LostRace(f"{spec.name} is already supervised")
        child = _Child(spec)
        self._launch(child)
        self._children[spec.name] = child
        return child.ref

    async def stop(self, name: str, timeout: float = 10.0) -> None:
        """End a child for good; unknown names are ignored. One that stays busy is left to finish unseen."""
        child = self._children.pop(name, None)
        if child is None:
            return
        child.ending = True
        if child.revival is not None:
            child.revival.cancel()
            await asyncio.gather(child.revival, return_exceptions=True)
        try:
            await child.ref.stop(timeout)
        except DeadlineExceeded:
            log.warning("%s was still busy when it had to stop", name)
        child.ref.point(None, gone=True)

    async def close(self, timeout: float, prefix: str = "") -> None:
        """End all children whose names begin so, at once, within `timeout` seconds together."""
        names = [name for name in self._children if name.startswith(prefix)]
        await asyncio.gather(*(self.stop(name, timeout) for name in names))

    def restarts(self, name: str) -> int:
        """How often a running child has been brought back."""
        child = self._children.get(name)
        return 0 if child is None else child.restarts

    def _launch(self, child: "_Child") -> None:
        actor = child.spec.make()
        actor.on_crash = lambda error: self._crashed(child, error)
        child.ref.point(start(actor))

    def _crashed(self, child: "_Child", error: BaseException) -> None:
        if child.ending:
            return
        spec = child.spec
        now = self._clock.monotonic()
        child.crashes.append(now)
        while child.crashes and child.crashes[0] < now - spec.window_s:
            child.crashes.popleft()
        if spec.restart == "temporary" or len(child.crashes) > spec.max_restarts:
            log.error("%s is given up: %r", spec.name, error)
            self._children.pop(spec.name, None)
            child.ref.point(None, gone=True, cause=error)
            if spec.on_give_up is not None:
                spec.on_give_up(error)
            return
        child.restarts += 1
        child.ref.point(None)
        log.warning("%s crashed and will be restarted: %r", spec.name, error)
        if spec.on_restart is not None:
            spec.on_restart(error, child.restarts)
        child.revival = asyncio.get_running_loop().create_task(self._revive(child))

    async def _revive(self, child: "_Child") -> None:
        jitter = self._entropy.token(1)[0] / 255
        await self._clock.sleep(pause(len(child.crashes) - 1, jitter))
        try:
            self._launch(child)
        except Exception as error:  # whatever it is, one that cannot be made has crashed
            self._crashed(child, error)


class _Child:
    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref = Ref(spec.name)
        self.crashes: deque[float] = deque()
        self.restarts = 0
        self.ending = False
        self.revival: asyncio.Task[None] | None = None


def start(actor: Actor) -> pykka.ActorRef[Actor]:
    """Start an actor that has been built, as `pykka.Actor.start` does for a class."""
    pykka.ActorRegistry.register(actor.actor_ref)
    try:
        actor._start_actor_loop()  # pykka's own hook for implementers of actor types
    except RuntimeError:  # no more threads
        pykka.ActorRegistry.unregister(actor.actor_ref)
        raise
    return actor.actor_ref
