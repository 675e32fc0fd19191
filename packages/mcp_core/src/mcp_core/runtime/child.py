"""One supervised actor: how it is made, how it ends, sleeps and begins again behind the same ref.

Whether it comes back at all is its supervisor's decision; how is decided here.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from pykka.messages import _ActorStop

from mcp_core.runtime.cell import Ref
from mcp_core.runtime.exits import SHUTDOWN, Ended, Exit
from mcp_core.runtime.future import Future
from mcp_core.runtime.life import ASLEEP, DEAD, DOWN, DYING
from mcp_core.runtime.light import LightActor, launch

if TYPE_CHECKING:
    from mcp_core.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

Restart = Literal["permanent", "transient", "temporary"]
UNWIND_S: Final = 1.0
"""Seconds a handler that is cancelled may take to end; then it is not looked at any more."""
OVER: Final = frozenset({DOWN, ASLEEP, DEAD})
"""There is no incarnation."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one child is made, and what its end means."""

    name: str
    make: Callable[[], LightActor]
    """Builds an incarnation that is not started yet."""
    restart: Restart = "permanent"
    """Comes back after every end; after an unplanned one; never, not even when its siblings do."""
    shutdown_s: float = 10.0
    """Seconds it has to work off its mail and to stop in order; then it is killed."""
    on_restart: Callable[[BaseException, int], None] | None = None
    """Told of each crash that is answered by a restart, with the count so far."""
    on_give_up: Callable[[BaseException], None] | None = None
    """Told once when the child will not come back, though nobody stopped it."""


class Child:
    """One supervised actor, through all its incarnations."""

    __slots__ = (
        "cause",
        "down",
        "ending",
        "ends",
        "halting",
        "incarnation",
        "owner",
        "ref",
        "restarts",
        "revival",
        "spec",
        "stopping",
    )

    def __init__(self, owner: "Supervisor", spec: ChildSpec, ref: Ref[Any]) -> None:
        self.owner = owner
        self.spec = spec
        self.ref = ref
        self.restarts = 0
        self.ends: list[float] | None = None
        """When it ended within the window; most never do, so there is no list before."""
        self.cause: BaseException | None = None
        """What it is given up for."""
        self.down = False
        """It has no incarnation, and its supervisor knows."""
        self.ending = False
        self.halting = False
        """Its incarnation ends because a sibling's did."""
        self.incarnation = 1
        self.revival: asyncio.Task[None] | None = None
        self.stopping: Future | None = None
        """Its answer to being halted; nobody waits for it any more when the incarnation ends by itself."""

    @property
    def name(self) -> str:
        """As its supervisor knows it."""
        return self.spec.name

    def begin(self, *, later: bool) -> None:
        """Start the first incarnation.

        Args:
            later: Whether it only takes mail until `begin_again`: one of the same name has not ended yet.
        """
        ref = self.ref
        ties = ref._tied()
        ties.name = self.spec.name
        ties.guard = self
        if later:
            ref._state = DOWN
            self.down = True
        else:
            launch(ref._actor)

    def begin_again(self) -> None:
        """Put the next incarnation behind the ref; its mail has waited."""
        self.halting = False
        if not self.down:  # it sleeps, or a thread is about to tell of its end
            return
        self.incarnation += 1
        made = self.ref._actor  # there when the first one had to wait for its beginning
        try:
            self.ref._revive(self.spec.make if made is None else lambda: made)
        except Exception as error:  # whatever it is, one that cannot be made has crashed
            if not self.owner.lost(self, error, made=False):
                self.ref._die(Exit("crashed", error))
        else:
            self.down = False

    def __call__(self, ref: Ref[Any], exit: Exit) -> bool:
        """Be the guard of its ref: whether that is kept for another incarnation.

        The child itself and not a method of it, which would be one more object for each agent.
        """
        if self.ending:
            return False
        if asyncio._get_running_loop() is not self.owner.home.loop:
            return self._ended_elsewhere(exit)
        if self._is_unwanted(exit):
            self.owner.forget(self)
            if self.cause is not None:
                self.owner.reports.given_up(self, self.cause)
            return False
        if self.down:  # killed once more between two incarnations
            return True
        self.down = True
        if not (self.halting or self.owner.down):
            return self.owner.lost(self, exit.error or Ended(exit.kind))
        if self.stopping is not None:
            self.stopping.give_up(Ended(exit.kind))
        return True

    def _is_unwanted(self, exit: Exit) -> bool:
        """Whether nobody asks for another incarnation."""
        if self.owner.closed or self.spec.restart == "temporary":
            return True
        planned = exit.is_planned and not (self.down or self.halting or self.owner.down)
        return planned and self.spec.restart == "transient"

    def _ended_elsewhere(self, exit: Exit) -> bool:
        """It has ended on a thread of a pool: its supervisor decides on its own."""
        home, incarnation = self.owner.home, self.incarnation
        if home.loop is None or home.loop.is_closed():
            return False

        def decide() -> None:
            # not about an end that was answered meanwhile
            if incarnation == self.incarnation and self.ref._state == DOWN and not self(self.ref, exit):
                self.ref._die(exit)

        home.run_there(decide)
        return True

    # -- sleep -----------------------------------------------------------------------------------------------

    def rest(self) -> bool:
        """Let the incarnation leave memory until the next message; False when it has something to do."""
        actor = self.ref._actor
        if actor is None or self.down or self.ending or self.halting or self.owner.down or self.owner.closed:
            return False
        try:
            if not actor.may_rest():
                return False
        except Exception:
            log.exception("%s raised when it was asked whether it may rest, and stays", self.spec.name)
            return False
        if not self.ref._sleep(self._wake):
            return False
        self.owner.reports.passivated(self)
        return True

    def _wake(self, ref: Ref[Any]) -> None:
        home = self.owner.home
        if asyncio._get_running_loop() is not home.loop:
            home.run_there(lambda: self._wake(ref))
            return
        if ref._state != DOWN or self.down:
            return
        self.down = True
        if self.halting or self.owner.down:  # it comes back with its siblings
            return
        self.begin_again()
        if not self.down:
            self.owner.reports.awakened(self)

    # -- the end ---------------------------------------------------------------------------------------------

    def give_up(self, error: BaseException) -> None:
        """Its supervisor will not bring it back: tell whoever wants to know."""
        self.cause = error
        self.owner.reports.given_up(self, error)

    def condemn(self, error: BaseException) -> None:
        """Its supervisor has failed for good: when it is ended, that is why."""
        self.cause = error

    async def end(self, timeout: float | None) -> None:
        """End it for good, after the mail it has; harmless when it has no incarnation.

        Args:
            timeout: Seconds; None takes its own.
        """
        self.ending = True
        if not self.down:
            await self._finish(self.spec.shutdown_s if timeout is None else timeout, urgent=False)
        self.ref._die(SHUTDOWN if self.cause is None else Exit("shutdown", self.cause))
        if self.cause is not None:
            self.owner.reports.given_up(self, self.cause)

    async def halt(self) -> None:
        """End the incarnation; the ref and its mail stay."""
        self.halting = True
        if self.ref._state == ASLEEP and self.spec.restart == "temporary":
            self.ref.kill(SHUTDOWN)  # what is asleep needs no end, but this one is not to come back either
        await self._finish(self.spec.shutdown_s, urgent=True)

    async def _finish(self, timeout: float, urgent: bool) -> None:
        """End the incarnation in order, by force when that takes too long."""
        ref, stopped = self.ref, None
        if ref._state in OVER:
            return
        try:
            if ref._state != DYING:
                stopped = self.stopping = ref.ask(_ActorStop(), block=False, urgent=urgent)
                await _settled(stopped, timeout)
            elif ref._ties is None or ref._ties.exit is None:  # it was stopped already, in order
                await self._unwound(timeout)
            if ref._state not in OVER and (stopped is None or not stopped.done()):
                log.warning("%s was still busy when it had to stop, and is killed", self.spec.name)
                ref.kill(SHUTDOWN)
            await self._unwound(UNWIND_S)
            if ref._state not in OVER:
                ref.abandon(SHUTDOWN)
        finally:
            if stopped is not None:  # else the next incarnation would find it in its mail
                stopped.give_up(asyncio.CancelledError())
            self.stopping = None

    async def _unwound(self, seconds: float) -> None:
        """Wait until what it does at its end is done, so long at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        # a thread of a pool tells nobody when its handler has returned
        while self.ref._state not in OVER and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def _settled(future: Any, timeout: float) -> None:
    """Wait until a reply is there, whatever it is, so many seconds at most."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not arrived.done():
            arrived.set_result(None)

    future.add_done_callback(lambda: loop.call_soon_threadsafe(done))
    await asyncio.wait([arrived], timeout=timeout)
