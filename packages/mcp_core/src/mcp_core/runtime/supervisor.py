"""Keeps actors alive: a crash is answered by a fresh incarnation behind the same ref, and its mail waits.

The strategies and the words are those of OTP. A first crash is answered at once, a second one within the window
after a pause that doubles. A child that crashes too often is given up. A supervisor that gives a child up fails as a
whole, unless it is dynamic: it ends its other children and leaves the rest to the supervisor above it.

Everything here happens on the event loop that the supervisor was made on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec
from pykka.messages import _ActorStop

from mcp_core.runtime.backoff import pause
from mcp_core.runtime.cell import ASLEEP, DEAD, DOWN, DYING, Ref
from mcp_core.runtime.exits import SHUTDOWN, Ended, Exit
from mcp_core.runtime.light import LightActor, launch
from mcp_core.runtime.loop import present_loop
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import LostRace
from mcp_interface.telemetry import Telemetry

log = logging.getLogger(__name__)

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one", "dynamic"]
Restart = Literal["permanent", "transient", "temporary"]
UNWIND_S: Final = 1.0
"""Seconds a handler that is cancelled may take to end; then it is not looked at any more."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one child is made, and what its end means."""

    name: str
    make: Callable[[], LightActor]
    """Builds an incarnation that is not started yet."""
    restart: Restart = "permanent"
    """Comes back after every end; after an unplanned one; never."""
    shutdown_s: float = 10.0
    """Seconds it has to work off its mail and to stop in order; then it is killed."""
    on_restart: Callable[[BaseException, int], None] | None = None
    """Told of each crash that is answered by a restart, with the count so far."""
    on_give_up: Callable[[BaseException], None] | None = None
    """Told once when the child will not come back."""


class Supervisor:
    """One node of the tree.

    Args:
        clock: For windows and pauses.
        entropy: For the jitter of pauses.
        name: As people see it in the tree.
        strategy: Who is restarted when a child ends: it alone; all; it and those started after it. `dynamic` is for
            many independent children: as the first, and one that is given up is nobody else's matter.
        max_restarts: More than so many ends within the window: given up. Counted for each child by the two
            strategies that restart one child, for all together by the others.
        window_s: Seconds.
        telemetry: Where restarts are told.
    """

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        *,
        name: str = "",
        strategy: Strategy = "dynamic",
        max_restarts: int = 5,
        window_s: float = 60.0,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.window_s = window_s
        self.parent: Supervisor | None = None
        self.failures = 0
        """How often it has failed as a whole."""
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry
        self._children: dict[str, Child] = {}
        self._branches: dict[str, Supervisor] = {}
        self._ends: deque[float] = deque()
        self._regrouping: asyncio.Task[None] | None = None
        self._home = present_loop()

    # -- the tree --------------------------------------------------------------------------------------------

    def start(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and keep it running.

        Raises:
            LostRace: A child of that name is running.
            Exception: What making it raised; the name is free again.
        """
        if spec.name in self._children:
            raise LostRace(f"{spec.name} is already supervised", "stop it first, or choose another name")
        ref: Ref[Any] = spec.make().actor_ref
        child = self._children[spec.name] = Child(self, spec, ref)
        ties = ref._tied()
        ties.name = spec.name
        ties.guard = child.ended
        launch(ref._actor)
        return ref

    def branch(self, branch: "Supervisor") -> "Supervisor":
        """Put another supervisor below this one.

        Raises:
            LostRace: There is one of that name.
        """
        if branch.name in self._branches:
            raise LostRace(f"there is a supervisor {branch.name!r}", "choose another name")
        self._branches[branch.name] = branch
        branch.parent = self
        return branch

    def children(self) -> "list[Child]":
        """Its own children, in the order they were started."""
        return list(self._children.values())

    def branches(self) -> "list[Supervisor]":
        """The supervisors below it."""
        return list(self._branches.values())

    def walk(self) -> "Iterator[tuple[Supervisor, Child]]":
        """Every child below, with its supervisor."""
        for child in self.children():
            yield self, child
        for branch in self.branches():
            yield from branch.walk()

    def child(self, name: str) -> "Child | None":
        """A child of its own by name."""
        return self._children.get(name)

    def restarts(self, name: str) -> int:
        """How often a running child has been brought back."""
        child = self._children.get(name)
        return 0 if child is None else child.restarts

    def answers(self, child: "Child") -> bool:
        """Whether one more unplanned end of a child would be answered by a restart, and not by giving it up."""
        since = self._clock.monotonic() - self.window_s
        recent = sum(end >= since for end in self._ends_of(child))
        return child.spec.restart != "temporary" and recent < self.max_restarts

    # -- the end ---------------------------------------------------------------------------------------------

    async def stop(self, name: str, timeout: float | None = None) -> None:
        """End a child for good, after the mail it has; unknown names are ignored.

        One that is still busy at the deadline is killed: whoever waits for it is told.

        Args:
            name: The child's.
            timeout: Seconds; None takes the child's own.
        """
        child = self._children.pop(name, None)
        if child is not None:
            await child.end(child.spec.shutdown_s if timeout is None else timeout)

    async def close(self, timeout: float) -> None:
        """End everything below, the last started first; dynamic children all at once.

        Args:
            timeout: Seconds for each step.
        """
        if self._regrouping is not None:
            self._regrouping.cancel()
        for branch in reversed(self.branches()):
            await branch.close(timeout)
        names = list(reversed(self._children))
        if self.strategy == "dynamic":
            await asyncio.gather(*(self.stop(name, timeout) for name in names))
        else:
            for name in names:
                await self.stop(name, timeout)

    # -- when a child ends -----------------------------------------------------------------------------------

    def _ended(self, child: "Child", exit: Exit) -> bool:
        """Decide about a child that has ended; whether its ref stays."""
        if child.spec.restart == "temporary" or (child.spec.restart == "transient" and exit.is_planned):
            self._children.pop(child.spec.name, None)
            return False
        error = exit.error or Ended(exit.kind)
        ends = self._ends_of(child)
        now = self._clock.monotonic()
        ends.append(now)
        while ends[0] < now - self.window_s:
            ends.popleft()
        if len(ends) > self.max_restarts:
            self._give_up(child, error)
            return False
        child.restarts += 1
        delay = 0.0 if len(ends) == 1 else pause(len(ends) - 1, self._entropy)
        self._tell_restart(child, error, delay)
        if self.strategy in ("one_for_all", "rest_for_one"):
            self._regroup(child, delay)
        elif delay:
            child.revival = self._later(self._revive(child, delay))
        else:
            self._bring_back(child)
        return True

    def _ends_of(self, child: "Child") -> deque[float]:
        return child.ends if self.strategy in ("one_for_one", "dynamic") else self._ends

    def _tell_restart(self, child: "Child", error: BaseException, delay: float) -> None:
        log.warning("%s has ended and is restarted: %r", child.spec.name, error)
        self._emit("mcp.actor.restart", {"restarts": child.restarts, "pause_s": delay}, child)
        if child.spec.on_restart is not None:
            child.spec.on_restart(error, child.restarts)

    def _give_up(self, child: "Child", error: BaseException) -> None:
        log.error("%s is given up: %r", child.spec.name, error)
        self._children.pop(child.spec.name, None)
        child.cause = error
        self._emit("mcp.actor.given_up", {"restarts": child.restarts}, child, reason=repr(error))
        if child.spec.on_give_up is not None:
            child.spec.on_give_up(error)
        if self.strategy != "dynamic":
            self._fail(child, error)

    def _fail(self, child: "Child", error: BaseException) -> None:
        """Fail as a whole; the supervisor above decides."""
        self.failures += 1
        if self._telemetry is not None:
            self._telemetry.emit(
                "mcp.supervisor.escalated",
                {"restarts": child.restarts},
                {"supervisor": self.name, "reason": repr(error)},
            )
        specs = [child.spec, *(each.spec for each in self.children())]
        self._later(self._escalate(specs, error))

    async def _escalate(self, specs: list[ChildSpec], error: BaseException) -> None:
        await self.close(UNWIND_S)
        if self.parent is not None:
            self.parent._branch_failed(self, specs, error)

    def _branch_failed(self, branch: "Supervisor", specs: list[ChildSpec], error: BaseException) -> None:
        now = self._clock.monotonic()
        self._ends.append(now)
        while self._ends[0] < now - self.window_s:
            self._ends.popleft()
        if len(self._ends) > self.max_restarts:
            log.error("supervisor %s is given up: %r", branch.name, error)
            self._branches.pop(branch.name, None)
            return
        for spec in specs:
            branch.start(spec)

    def _bring_back(self, child: "Child") -> None:
        try:
            child.ref._revive(child.spec.make)
        except Exception as error:  # whatever it is, one that cannot be made has crashed
            if not child.ended(child.ref, Exit("crashed", error)):
                child.ref._die(Exit("crashed", error))

    async def _revive(self, child: "Child", delay: float) -> None:
        await self._clock.sleep(delay)
        if child.ref._state == DOWN:
            self._bring_back(child)

    # -- several at once -------------------------------------------------------------------------------------

    def _regroup(self, child: "Child", delay: float) -> None:
        for each in self._group(child):
            each.halting = True
        if self._regrouping is None or self._regrouping.done():
            self._regrouping = self._later(self._halt_and_restart(delay))

    def _group(self, child: "Child") -> "list[Child]":
        all = self.children()
        return all if self.strategy == "one_for_all" else all[all.index(child) :]

    async def _halt_and_restart(self, delay: float) -> None:
        """End the incarnations of a group, the last first, and begin them anew in order."""
        while group := [child for child in self.children() if child.halting]:
            for child in reversed(group):
                await child.halt(child.spec.shutdown_s)
            await self._clock.sleep(delay)
            for child in [child for child in self.children() if child.halting]:
                child.halting = False
                if child.ref._state == DOWN:
                    self._bring_back(child)

    def _later(self, work: Any) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(work)

    def _emit(self, name: str, measurements: dict[str, float], child: "Child", **more: str) -> None:
        if self._telemetry is not None:
            names = {"type": child.ref.actor_class.__name__, "actor": child.spec.name, **more}
            self._telemetry.emit(name, measurements, names)


class Child:
    """One supervised actor, through all its incarnations."""

    __slots__ = (
        "cause",
        "ending",
        "ends",
        "halting",
        "owner",
        "ref",
        "restarts",
        "resting",
        "revival",
        "spec",
    )

    def __init__(self, owner: Supervisor, spec: ChildSpec, ref: Ref[Any]) -> None:
        self.owner = owner
        self.spec = spec
        self.ref = ref
        self.restarts = 0
        self.ends: deque[float] = deque()
        self.cause: BaseException | None = None
        """What it was given up for."""
        self.ending = False
        self.halting = False
        """Its incarnation ends because a sibling's did."""
        self.revival: asyncio.Task[None] | None = None

    def ended(self, ref: Ref[Any], exit: Exit) -> bool:
        """The guard of its ref: whether it is kept for another incarnation."""
        if self.ending:
            return False
        home = self.owner._home
        if asyncio._get_running_loop() is not home.loop:  # a thread of a pool
            home.run_there(lambda: None if self.ended(ref, exit) else ref._die(exit))
            return True
        if self.halting:
            return True
        return self.owner._ended(self, exit)

    # -- sleep -----------------------------------------------------------------------------------------------

    def rest(self) -> bool:
        """Let the incarnation leave memory until the next message; False when it has something to do."""
        actor = self.ref._actor
        if actor is None or self.ending or self.halting or not actor.may_rest():
            return False
        if not self.ref._sleep(self._wake):
            return False
        self.owner._emit("mcp.actor.passivated", {}, self)
        return True

    def _wake(self, ref: Ref[Any]) -> None:
        home = self.owner._home
        if asyncio._get_running_loop() is not home.loop:
            home.run_there(lambda: self._wake(ref))
            return
        if ref._state == DOWN:
            self.owner._bring_back(self)
            self.owner._emit("mcp.actor.awakened", {}, self)

    # -- the end ---------------------------------------------------------------------------------------------

    async def end(self, timeout: float) -> None:
        """End it for good."""
        self.ending = True
        if self.revival is not None:
            self.revival.cancel()
        await self._finish(timeout, urgent=False)
        if self.ref._state != DEAD:
            self.ref._die(SHUTDOWN)

    async def halt(self, timeout: float) -> None:
        """End the incarnation; the ref and its mail stay."""
        if self.revival is not None:
            self.revival.cancel()
        await self._finish(timeout, urgent=True)

    async def _finish(self, timeout: float, urgent: bool) -> None:
        ref = self.ref
        if ref._state in (DOWN, ASLEEP, DEAD):
            return
        if ref._state != DYING:
            stopped = ref.ask(_ActorStop(), block=False, urgent=urgent)
            await _settled(stopped, timeout)
            if stopped.done():
                return
            log.warning("%s was still busy when it had to stop, and is killed", self.spec.name)
            ref.kill(SHUTDOWN)
        deadline = asyncio.get_running_loop().time() + UNWIND_S
        # a thread of a pool tells nobody when its handler has returned
        while ref._state == DYING and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        if ref._state not in (DOWN, ASLEEP, DEAD):
            ref.abandon(SHUTDOWN)


async def _settled(future: Any, timeout: float) -> None:
    """Wait until a reply is there, whatever it is, so many seconds at most."""
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def done() -> None:
        if not arrived.done():
            arrived.set_result(None)

    future.add_done_callback(lambda: loop.call_soon_threadsafe(done))
    await asyncio.wait([arrived], timeout=timeout)
