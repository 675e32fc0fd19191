"""A light actor's mailbox and end, as pykka knows them; made only when somebody looks."""

from _thread import allocate_lock
from threading import Event
from typing import TYPE_CHECKING, Any

from mcp_core.runtime.future import DONE, Future
from mcp_core.runtime.messages import Ask

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref


class Inbox:
    """The mailbox as pykka's `ActorInbox`."""

    __slots__ = ("_ref",)

    def __init__(self, ref: "Ref[Any]") -> None:
        self._ref = ref

    def put(self, envelope: Any, /) -> None:
        """Put a pykka envelope in."""
        if envelope.reply_to is None:
            self._ref.tell(envelope.message)
        else:
            self._ref._put(Ask(envelope.message, _ours(envelope.reply_to, self._ref)))

    def get(self) -> Any:
        """Not for the outside: the runtime alone takes messages out."""
        raise NotImplementedError("the runtime takes the messages out")

    def empty(self) -> bool:
        """Whether no message waits."""
        return self._ref.waiting == 0

    def qsize(self) -> int:
        """How many messages wait."""
        return self._ref.waiting


class Stopped(Event):
    """The end of an actor as an event; costs nothing while nobody looks."""

    def __init__(self, ref: "Ref[Any]") -> None:
        self._ref = ref

    def is_set(self) -> bool:
        """Whether the actor has ended."""
        return not self._ref.is_alive()

    def set(self) -> None:
        """End it."""
        self._ref.kill()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait in a thread until the actor has ended.

        Args:
            timeout: Seconds; None waits for as long as it takes.
        """
        ended = allocate_lock()
        ended.acquire()
        forget = self._ref.on_exit(lambda ref, exit: ended.release())
        try:
            return ended.acquire(True, -1 if timeout is None else timeout)
        finally:
            forget()


def _ours(reply_to: Any, ref: "Ref[Any]") -> Future:
    """A future of ours that hands its reply on to one of another kind."""
    if isinstance(reply_to, Future):
        return reply_to
    ours = Future(ref)

    def hand_on() -> None:
        if ours._state == DONE:
            reply_to.set(ours._value)
        else:
            reply_to.set_exception(ours._value)

    ours.add_done_callback(hand_on)
    return ours
