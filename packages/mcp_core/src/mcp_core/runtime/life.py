"""The states of an actor's life, and what only some actors have in theirs."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref
    from mcp_core.runtime.exits import Exit

IDLE: Final = 0
READY: Final = 1
"""Has mail and a place in the run queue."""
BUSY: Final = 2
DOWN: Final = 3
"""Between two incarnations; mail waits."""
ASLEEP: Final = 4
"""Has left memory; the next message brings it back."""
DYING: Final = 5
"""Over as soon as its present handler ends."""
DEAD: Final = 6

EMPTY: Final = object()
"""In the place of a first message where there is none; None may be one."""


class Ties:
    """What only some actors have: a name, a guard, watchers, urgent mail."""

    __slots__ = ("exit", "guard", "name", "observers", "over", "urgent", "wake", "wrap")

    def __init__(self) -> None:
        self.name = ""
        self.guard: Callable[[Ref[Any], Exit], bool] | None = None
        """Asked when an incarnation ends: whether the ref and its mail are kept for another one."""
        self.wake: Callable[[Ref[Any]], None] | None = None
        """Called when mail comes for an actor that is asleep."""
        self.wrap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]] | None = None
        """Put around the handler of every incarnation, to watch its messages."""
        self.observers: dict[object, Callable[[Ref[Any], Exit], object]] = {}
        self.urgent: deque[Any] | tuple[()] = ()
        """A queue once there has been urgent mail: an empty one takes more than all the rest of an idle actor."""
        self.exit: Exit | None = None
        """Why the present incarnation is being killed; None while it is not."""
        self.over: Exit | None = None
