"""Looks at the actors of a system without disturbing them: the tree, their mail, one actor's messages.

A look costs what is looked at: the number of actors is bounded by whoever asks, and an actor that is not watched pays
nothing.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from heapq import nsmallest
from pathlib import Path
from types import CoroutineType
from typing import Any, Final, NamedTuple

from mcp_core.runtime import waits
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.life import ASLEEP, BUSY, DOWN, IDLE, READY
from mcp_core.runtime.light import PoolActor
from mcp_core.runtime.outline import content
from mcp_core.runtime.pool import PoolRef
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.supervisor import Child, Supervisor
from mcp_core.runtime.system import System
from mcp_core.runtime.watchdog import Blocked
from mcp_interface.clock import Clock
from mcp_interface.envelope import Envelope
from mcp_interface.errors import NotFound, TooMuch, UmbrellaError
from mcp_interface.observe import (
    ActorOrder,
    ActorState,
    ActorStatus,
    Blockage,
    Branch,
    RuntimeStatus,
    SeenMessage,
)

SHOWN: Final = 200
"""Actors of each supervisor that one look shows unless told otherwise."""
SEEN: Final = 200
"""Messages that are kept of an actor that is watched."""
WATCHED: Final = 20
"""Actors that can be watched at the same time."""

CHUNK: Final = 1000
"""Actors looked at before everything else has its turn."""

_STATES: Final[dict[int, ActorState]] = {
    IDLE: "idle",
    READY: "ready",
    BUSY: "busy",
    DOWN: "down",
    ASLEEP: "asleep",
}


class Observer:
    """Looks at one system.

    Args:
        system: Whose actors.
        clock: For the time of a look.
        about: Who the actor of a name is to people; empty when that is all there is to say.
    """

    def __init__(self, system: System, clock: Clock, about: Callable[[str], str] = lambda name: "") -> None:
        self._system = system
        self._clock = clock
        self._about = about
        self._began = clock.monotonic()
        self._watched: dict[str, tuple[Ref[Any], deque[SeenMessage]]] = {}

    async def look(
        self, *, order: ActorOrder = "mail", limit: int = SHOWN, match: str = "", memory: bool = False
    ) -> RuntimeStatus:
        """The runtime as it is now; of very many actors, as it was within some turns of the loop.

        Args:
            order: Which actors of a supervisor come first.
            limit: How many of each supervisor.
            match: Only those with this in their name, type or `about`.
            memory: Whether to measure the actors, which takes some microseconds each.
        """
        system = self._system
        tree = await self._branch(system.tree, _Wish(order, limit, match.casefold(), memory))
        blocked = system.watchdog.blocked
        return RuntimeStatus(
            at=self._clock.now(),
            uptime_s=self._clock.monotonic() - self._began,
            tree=tree,
            actors=len(ROLL),
            suspended=len(system.home.suspended),
            threads=PoolActor.pool.threads,
            dead_letters=len(system.letters),
            memory=resident(),
            worst_block_s=system.watchdog.worst_s,
            blocked=None if blocked is None else _blockage(blocked),
            blocks=[_blockage(each, ago) for each, ago in system.watchdog.passed()],
        )

    async def _branch(self, supervisor: Supervisor, wish: "_Wish") -> Branch:
        total, first = await self._first(supervisor.children(), wish)
        return Branch(
            name=supervisor.name,
            strategy=supervisor.strategy,
            failures=supervisor.failures,
            total=total,
            actors=[self._status(child, wish.memory) for child in first],
            branches=[await self._branch(branch, wish) for branch in supervisor.branches()],
        )

    async def _first(self, children: list[Child], wish: "_Wish") -> tuple[int, list[Child]]:
        """How many fit, and the first of them; nobody waits for long while there are very many."""
        total, first = 0, list[Child]()
        for start in range(0, len(children), CHUNK):
            if start:
                await asyncio.sleep(0)
            fit = [child for child in children[start : start + CHUNK] if self._fits(child, wish.match)]
            total += len(fit)
            first = nsmallest(wish.limit, first + fit, key=_BY[wish.order])
        return total, first

    def _fits(self, child: Child, match: str) -> bool:
        if not match:
            return True
        name = child.spec.name
        return match in f"{name}\n{child.ref.actor_class.__name__}\n{self._about(name)}".casefold()

    def _status(self, child: Child, memory: bool) -> ActorStatus:
        ref = child.ref
        watched = self._watched.get(child.spec.name)
        return ActorStatus(
            name=child.spec.name,
            type=ref.actor_class.__name__,
            about=self._about(child.spec.name),
            kind="pool" if isinstance(ref, PoolRef) else "loop",
            state=state_of(ref),
            mail=ref.waiting,
            handled=ref.handled,
            restarts=child.restarts,
            memory=weight(ref) if memory else None,
            waits_for=waits.awaited(ref),
            watched=watched is not None and watched[0] is ref,
        )

    # -- one actor's messages --------------------------------------------------------------------------------

    def watch(self, name: str) -> None:
        """Begin to record an actor's messages; harmless when repeated.

        Raises:
            NotFound: No actor has that name.
            TooMuch: As many as can be are watched already.
        """
        child = self._system.find(name)
        if child is None:
            raise NotFound(f"no actor is named {name!r}", "look at the tree for its name")
        ref = child.ref
        if name in self._watched and self._watched[name][0] is ref:
            return
        # those that have ended for good make room, also an earlier one of this name
        self._watched = {
            each: kept for each, kept in self._watched.items() if kept[0].is_alive() and each != name
        }
        if len(self._watched) >= WATCHED:
            raise TooMuch(f"{WATCHED} actors are watched", "stop watching one of them")
        seen: deque[SeenMessage] = deque(maxlen=SEEN)
        self._watched[name] = (ref, seen)
        ref.watch(_Recorder(seen, self._clock).around)

    def unwatch(self, name: str) -> None:
        """Record its messages no longer, and forget them; harmless when it is not watched."""
        ref, _ = self._watched.pop(name, (None, None))
        if ref is not None:
            ref.watch(None)

    def seen(self, name: str) -> list[SeenMessage]:
        """What an actor has received since it is watched, the latest last.

        Raises:
            NotFound: It is not watched.
        """
        if name not in self._watched:
            raise NotFound(f"{name!r} is not watched", "begin to watch it first")
        return list(self._watched[name][1])


class _Wish(NamedTuple):
    """What a look wants to see."""

    order: ActorOrder
    limit: int
    match: str
    memory: bool


def _blockage(blocked: Blocked, ago_s: float = 0.0) -> Blockage:
    return Blockage(actor=blocked.actor, duration_s=blocked.duration_s, where=blocked.where, ago_s=ago_s)


class _Recorder:
    """Notes each message with its outcome, around a handler."""

    def __init__(self, seen: deque[SeenMessage], clock: Clock) -> None:
        self._seen = seen
        self._clock = clock

    def around(self, receive: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The handler, watched."""

        def watched(message: Any) -> Any:
            began = self._clock.monotonic()
            try:
                value = receive(message)
            except BaseException as error:
                self._note(message, began, _code(error))
                raise
            if type(value) is CoroutineType:
                return self._finish(value, message, began)
            self._note(message, began, "ok")
            return value

        return watched

    async def _finish(self, work: "CoroutineType[Any, Any, Any]", message: Any, began: float) -> Any:
        try:
            value = await work
        except BaseException as error:
            self._note(message, began, _code(error))
            raise
        self._note(message, began, "ok")
        return value

    def _note(self, message: Any, began: float, outcome: str) -> None:
        self._seen.append(
            SeenMessage(
                at=self._clock.now(),
                message=content(message),
                sender=message.sender if isinstance(message, Envelope) else "",
                duration_s=self._clock.monotonic() - began,
                outcome=outcome,
            )
        )


def state_of(ref: Ref[Any]) -> ActorState:
    """What an actor is doing."""
    state = _STATES.get(ref._state, "ended")
    if state == "busy" and ref in getattr(ref._home, "suspended", ()):
        return "waiting"
    if state == "idle" and not _may_rest(ref):
        return "busy"  # with work of its own, beside its messages
    return state


def _may_rest(ref: Ref[Any]) -> bool:
    actor = ref._actor
    try:
        return actor is None or bool(actor.may_rest())
    except Exception:  # whatever it is, a look must not fail over it
        return True


def weight(ref: Ref[Any]) -> int:
    """Bytes of an actor and what it holds directly, about: not what that holds in turn."""
    total = sys.getsizeof(ref)
    actor = ref._actor
    if actor is not None:
        total += sys.getsizeof(actor)
        held = getattr(actor, "__dict__", {})
        total += sys.getsizeof(held) + sum(sys.getsizeof(value) for value in held.values())
    return total


def resident() -> int:
    """Resident bytes of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, UmbrellaError) else type(error).__name__


_BY: Final[dict[ActorOrder, Callable[[Child], Any]]] = {
    "mail": lambda child: (-child.ref.waiting, child.spec.name),
    "handled": lambda child: (-child.ref.handled, child.spec.name),
    "restarts": lambda child: (-child.restarts, child.spec.name),
    "name": lambda child: child.spec.name,
}
