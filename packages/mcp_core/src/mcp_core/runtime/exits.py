"""How an actor ends, and who is told."""

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref

import pykka

from mcp_interface.errors import NotFound


class Exit(NamedTuple):
    """Why an actor, or one incarnation of it, is over."""

    kind: Literal["normal", "shutdown", "killed", "crashed", "gone"]
    """Stopped in order; stopped with its supervisor; ended from outside; a handler raised; there was none."""
    error: BaseException | None = None

    @property
    def is_planned(self) -> bool:
        """Whether nothing went wrong."""
        return self.kind in ("normal", "shutdown")

    def __str__(self) -> str:
        return self.kind if self.error is None else f"{self.kind}: {self.error!r}"


NORMAL: Final = Exit("normal")
SHUTDOWN: Final = Exit("shutdown")
KILLED: Final = Exit("killed")
GONE: Final = Exit("gone")


class Down(NamedTuple):
    """Message to a monitor, or to a linked actor that traps exits: this one has ended."""

    ref: "Ref[Any]"
    exit: Exit


class Ended(Exception):
    """What a supervisor reports of an end that no exception caused."""


class ActorGone(NotFound, pykka.ActorDeadError):
    """The actor has ended; both what pykka raises and what a client is told."""


def tell_down(watcher: "Ref[Any]", ref: "Ref[Any]", exit: Exit) -> None:
    """Send a monitor what it wants to know."""
    if watcher.is_alive():
        watcher.tell(Down(ref, exit))


def fail_too(other: "Ref[Any]", ref: "Ref[Any]", exit: Exit) -> None:
    """End an actor that is linked to one that has ended, or tell it."""
    if other._ties is not None:
        other._ties.observers.pop(ref, None)
    if not other.is_alive():
        return
    if other.actor_class.traps_exits:
        other.tell(Down(ref, exit))
    elif not exit.is_planned:
        other.kill(Exit("killed", exit.error))
