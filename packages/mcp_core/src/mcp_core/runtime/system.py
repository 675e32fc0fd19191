"""What the actors of one node share, and the one place to begin and end it.

async with System(clock, entropy, telemetry) as system:
agents = system.branch("agents")
ref = agents.start(ChildSpec(name="mine", make=Mine))
"""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from mcp_core.runtime.breaker import USUAL, Breakers, Policy, State
from mcp_core.runtime.cell import LATE, Ref
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_core.runtime.light import PoolActor
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.passivation import Passivation
from mcp_core.runtime.registry import LocalRegistry
from mcp_core.runtime.supervisor import Child, Strategy, Supervisor
from mcp_core.runtime.timers import Timers
from mcp_core.runtime.watchdog import Blocked, Watchdog
from mcp_interface.clock import Clock, Entropy
from mcp_interface.telemetry import Telemetry

log = logging.getLogger(__name__)

STOP_S: Final = 10.0


class System:
    """The actors of one event loop: their tree, names, groups, timers and dead letters.

    Args:
        clock: For everything that waits.
        entropy: For jitter.
        telemetry: Where everything is told.
        stop_s: Seconds that the actors have to end in order.
        on_give_up: Told when the tree has failed as a whole: its actors end, and no other can be started. A program
            ends then, and begins anew.
    """

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry,
        *,
        stop_s: float = STOP_S,
        on_give_up: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.home = present_loop()
        self.tree = Supervisor(
            clock,
            entropy,
            name="node",
            strategy="one_for_one",
            telemetry=telemetry,
            on_give_up=on_give_up,
        )
        self.letters = DeadLetters(clock, telemetry)
        self.groups = Groups(self.letters)
        self.timers = Timers(clock, self.letters)
        self.names: LocalRegistry[Ref[Any]] = LocalRegistry()
        self.watchdog = Watchdog(self.home, self._blocked)
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry
        self._stop_s = stop_s
        self._sweeps: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to watch the loop, and to keep what is not delivered."""
        self._before = self.home.dead_letter, PoolActor.pool.dead_letter
        self.home.dead_letter = self._undelivered
        PoolActor.pool.dead_letter = self._undelivered_elsewhere
        self.watchdog.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every actor that is left."""
        for sweep in self._sweeps:
            sweep.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)
        await self.tree.close(self._stop_s)
        await self.timers.close()
        self.watchdog.stop()
        if PoolActor.pool.dead_letter == self._undelivered_elsewhere:  # else another one has come since
            self.home.dead_letter, PoolActor.pool.dead_letter = self._before

    def branch(
        self, name: str, strategy: Strategy = "dynamic", *, passive_after_s: float | None = None
    ) -> Supervisor:
        """A supervisor below the root.

        Args:
            name: As people see it.
            strategy: See `Supervisor`.
            passive_after_s: Seconds without a message after which those of its children that allow it leave memory.
        """
        branch = self.tree.branch(
            Supervisor(self._clock, self._entropy, name=name, strategy=strategy, telemetry=self._telemetry)
        )
        if passive_after_s is not None:
            sweeping = Passivation(branch, self._clock, passive_after_s).run()
            self._sweeps.append(asyncio.get_running_loop().create_task(sweeping))
        return branch

    def find(self, name: str) -> Child | None:
        """A supervised actor anywhere in the tree by its name."""
        return self.tree.find(name)

    def breakers(self, policy: Policy = USUAL) -> Breakers:
        """A set of circuit breakers whose changes are told.

        Args:
            policy: Of all of them.
        """
        return Breakers(self._clock, policy, on_change=self._breaker_changed)

    def _undelivered(self, ref: Ref[Any], message: Any, reason: str) -> None:
        # an answer is nothing to send again, and not to the one who gave it
        self.letters.record(ref.name, message, reason, again=reason != LATE)

    def _undelivered_elsewhere(self, ref: Ref[Any], message: Any, reason: str) -> None:
        self.home.run_there(lambda: self._undelivered(ref, message, reason))

    def _breaker_changed(self, target: str, before: State, after: State) -> None:
        self._telemetry.emit("mcp.breaker.state", {}, {"state": after, "target": target})

    def _blocked(self, blocked: Blocked) -> None:
        """Told on the watchdog's thread, while the loop cannot be told anything."""
        self._telemetry.emit(
            "mcp.actor.blocked",
            {"duration_s": blocked.duration_s},
            {"type": blocked.type, "actor": blocked.actor, "where": blocked.where},
        )
