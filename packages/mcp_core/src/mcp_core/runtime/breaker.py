"""Stops asking who keeps failing, for a while.

    closed ── too many failures within the window ──> open ── after a rest ──> half open
    half open: one probe goes through ── success ──> closed ── failure ──> open

A breaker protects the target and those who would wait for it. It does not repeat anything: who repeats, and when, is
its caller's affair (`backoff`).

Source: M. Nygard, "Release It!" (2nd ed., 2018), section "Circuit Breaker".
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, CircuitOpen, DeadlineExceeded, WorldBroken

log = logging.getLogger(__name__)

T = TypeVar("T")
State: TypeAlias = Literal["closed", "open", "half_open"]
Listener: TypeAlias = Callable[[str, State, State], object]
"""Told the name of the target, the state before and the state now."""

BREAKERS: Final = 1000


def failed(error: BaseException) -> bool:
    """Whether an error speaks against the target: it is broken or too slow, and was really asked."""
    return isinstance(error, WorldBroken | DeadlineExceeded) and not isinstance(error, CircuitOpen)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens, and for how long."""

    failures: int = 3
    window_s: float = 60.0
    """So many failures in a row within so many seconds open it."""
    rest_s: float = 60.0
    """Seconds until a probe; a probe that has not come back after as long again is given up."""
    failed: Callable[[BaseException], bool] = failed
    """What counts as a failure. Any other error says nothing about the target, neither good nor bad."""

    def __post_init__(self) -> None:
        """Check, so that no breaker waits for what never comes."""
        if self.failures < 1 or not self.window_s > 0 or not self.rest_s > 0:
            raise CallerMistaken(
                f"a breaker of {self.failures} failures in {self.window_s} s, resting {self.rest_s} s, cannot work",
                "give one failure or more, and times above zero",
            )


USUAL: Final = Policy()


class Breaker:
    """The breaker of one target; used on one event loop.

    Args:
        name: Of the target.
        clock: For the window and the rest.
        policy: When it opens.
    """

    def __init__(self, name: str, clock: Clock, policy: Policy = USUAL) -> None:
        self.name = name
        self._clock = clock
        self._policy = policy
        self._failures: deque[float] = deque(maxlen=policy.failures)
        self._state: State = "closed"
        self._opened = 0.0
        self._probe: Attempt | None = None
        self._probed = 0.0
        self._era = 0
        """Counts the changes of state: what an attempt of an earlier era meets says nothing about this one."""
        self._listeners: dict[object, Listener] = {}

    @property
    def state(self) -> State:
        """`open` becomes `half_open` with the first attempt after the rest, not by itself."""
        return self._state

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear of every change of state; returns what takes it back. A listener that raises is logged."""
        key = object()  # the same listener may listen twice
        self._listeners[key] = listener

        def take_back() -> None:
            self._listeners.pop(key, None)

        return take_back

    def attempt(self) -> "Attempt":
        """Make an async context in which the target is asked once.

        Entering raises `CircuitOpen` with the seconds to wait in its details; nothing was asked then. An error that
        leaves the context goes on to the caller; so does a cancellation, which counts as nothing.
        """
        return Attempt(self)

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Ask the target, unless the breaker is open.

        Args:
            work: Asks it, once; not called while the breaker is open.

        Raises:
            CircuitOpen: It is open; `details["seconds"]` says for how long.
            Exception: What the work raised.
        """
        async with Attempt(self):
            return await work()

    def _admit(self, attempt: "Attempt") -> int:
        if self._state == "closed":
            return self._era
        now = self._clock.monotonic()
        if self._state == "open":
            self._refuse_for(self._opened + self._policy.rest_s - now)
            self._become("half_open")
        elif self._probe is not None:
            self._refuse_for(self._probed + self._policy.rest_s - now)
        self._probe, self._probed = attempt, now
        return self._era

    def _refuse_for(self, seconds: float) -> None:
        if seconds > 0:
            raise CircuitOpen(
                f"{self.name} has failed too often and is not asked for another {seconds:.3g} s",
                "wait so long, or mend it",
                {"target": self.name, "seconds": round(seconds, 3)},
            )

    def _settle(self, attempt: "Attempt", era: int, error: BaseException | None) -> None:
        probing = self._probe is attempt
        if probing:
            self._probe = None
        if era != self._era:
            return
        if error is None:
            self._failures.clear()
            if probing:
                self._become("closed")
        elif self._policy.failed(error):
            now = self._clock.monotonic()
            self._failures.append(now)
            full = len(self._failures) == self._policy.failures
            if probing or (
                self._state == "closed" and full and now - self._failures[0] <= self._policy.window_s
            ):
                self._opened = now
                self._become("open")

    def _become(self, state: State) -> None:
        before, self._state = self._state, state
        self._era += 1
        for listener in list(self._listeners.values()):
            try:
                listener(self.name, before, state)
            except Exception:  # whatever it is, the target is asked or not all the same
                log.exception("a listener to the breaker of %s raised", self.name)


class Attempt:
    """One asking of the target, as an async context; made by `Breaker.attempt`, used once."""

    __slots__ = ("_breaker", "_era")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._era = -1

    async def __aenter__(self) -> None:
        self._era = self._breaker._admit(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._breaker._settle(self, self._era, error)


class Breakers:
    """A breaker for each target; those used least recently are forgotten, which costs a few failures at worst.

    Args:
        clock: For all of them.
        policy: Of all of them.
        most: How many are kept.
        on_change: Told of every change of state of any of them.
    """

    def __init__(
        self,
        clock: Clock,
        policy: Policy = USUAL,
        *,
        most: int = BREAKERS,
        on_change: Listener | None = None,
    ) -> None:
        if most < 1:
            raise CallerMistaken(f"{most} breakers are none", "keep one or more")
        self._clock = clock
        self._policy = policy
        self._most = most
        self._on_change = on_change
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._breakers)

    def of(self, name: str) -> Breaker:
        """The breaker of a target, closed when it is new."""
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(name, self._clock, self._policy)
            if self._on_change is not None:
                breaker.listen(self._on_change)
            if len(self._breakers) > self._most:
                self._breakers.popitem(last=False)
        else:
            self._breakers.move_to_end(name)
        return breaker

    def states(self) -> dict[str, State]:
        """The state of each that is kept, the least recently used first."""
        return {name: breaker.state for name, breaker in self._breakers.items()}
