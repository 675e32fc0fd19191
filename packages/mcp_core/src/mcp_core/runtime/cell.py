"""The reference to an actor, which is also its mailbox and the keeper of its life.

One object is all that an idle actor has beside itself: no queue, no lock, no event, no task, no thread. It stays the
same when the actor is restarted, and its mail waits meanwhile.
"""

import asyncio
import logging
import sys
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pykka
from pykka import ActorRegistry
from pykka.messages import _ActorStop

from mcp_core.runtime.adoption import adopt
from mcp_core.runtime.deadlines import deadlines
from mcp_core.runtime.exits import GONE, KILLED, NORMAL, ActorGone, Exit, fail_too, tell_down
from mcp_core.runtime.future import DONE, FAILED, PENDING, Future
from mcp_core.runtime.inbox import Inbox, Stopped
from mcp_core.runtime.life import ASLEEP, BUSY, DEAD, DOWN, DYING, EMPTY, IDLE, Ties
from mcp_core.runtime.messages import BEGIN, Ask, is_system
from mcp_core.runtime.roll import enrol, next_number, strike, urn
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    Interrupted,
    TooMuch,
    UmbrellaError,
    error_from,
)

if TYPE_CHECKING:
    from mcp_core.runtime.light import LightActor

A = TypeVar("A", bound="LightActor")

log = logging.getLogger("pykka")

LATE: Final = "the reply came when nobody waited any more"
"""Why an answer, and not a message, is a dead letter."""
CALL_TIMEOUT_S: Final = 30.0
"""Seconds a call waits unless told otherwise."""
_lock = allocate_lock()


def log_dead_letter(ref: "Ref[Any]", message: Any, reason: str) -> None:
    """What a scheduler does with a message that nobody handles, until somebody else wants it."""
    logging.getLogger(__name__).debug("a message to %s was not handled: %s", ref.label, reason)


class Ref(pykka.ActorRef[A]):  # type: ignore[type-var]  # it is one; see `light`
    """Where to send to one actor, for as long as it or its successors live."""

    __slots__ = ("_actor", "_count", "_first", "_home", "_mail", "_number", "_state", "_ties", "actor_class")

    _actor: Any
    """The present incarnation; None when there is none."""
    _count: int
    """Messages handled so far."""
    _first: Any
    """The message an idle actor was woken by; EMPTY is none. Only a second one needs a queue."""
    _home: Any
    _mail: deque[Any] | None
    _number: int
    _state: int
    _ties: Ties | None

    # -- who it is -------------------------------------------------------------------------------------------

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # read only, made late
        """The URN, made when it is first read."""
        if self._number == 0:
            with _lock:
                self._number = self._number or next_number()
        return urn(self._number)

    @property
    def name(self) -> str:
        """The name it was given, or its URN."""
        ties = self._ties
        return ties.name if ties is not None and ties.name else self.actor_urn

    @property
    def label(self) -> str:
        """Name for a person: the one it was given, or its class and number."""
        ties = self._ties
        if ties is not None and ties.name:
            return ties.name
        return f"{self.actor_class.__name__}#{self.actor_urn[-12:].lstrip('0')}"

    @property
    def handled(self) -> int:
        """Messages handled so far, by all incarnations."""
        return self._count

    @property
    def waiting(self) -> int:
        """Messages that wait in the mailbox."""
        ties = self._ties
        return (self._first is not EMPTY) + len(self._mail or ()) + (0 if ties is None else len(ties.urgent))

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]  # read only, made late
        """The mailbox as pykka knows it."""
        return Inbox(self)

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]  # read only, made late
        """Whether the actor has ended, as pykka knows it."""
        return Stopped(self)

    def _actor_weakref(self) -> Any:  # type: ignore[override]  # called as a weak reference is
        return self._actor

    def is_alive(self) -> bool:
        """Whether it takes messages; one that may be restarted does so to its end."""
        return self._state < DYING or not self._is_over()

    def _is_over(self) -> bool:
        """Whether an actor that has begun to end will not be restarted."""
        return self._state == DEAD or self._ties is None or self._ties.guard is None

    def _tied(self) -> Ties:
        if self._ties is None:
            with _lock:
                self._ties = self._ties or Ties()
        return self._ties

    def _urgent_mail(self) -> deque[Any]:
        ties = self._tied()
        with _lock:  # and not by whether it is empty: another thread may be about to put something in
            if isinstance(ties.urgent, tuple):
                ties.urgent = deque()
            return ties.urgent

    # -- sending -------------------------------------------------------------------------------------------

    def ask(
        self, message: Any, *, block: bool = True, timeout: float | None = None, urgent: bool = False
    ) -> Any:
        """Send and get the reply; see the two kinds of refs."""
        raise NotImplementedError

    def _put(self, item: Any) -> None:
        """Put a message in, from any thread."""
        raise NotImplementedError

    def _get(self, future: Future, timeout: float | None) -> Any:
        """Wait in a thread for the reply to a message that nobody else waits for."""
        try:
            return future.get(timeout=timeout)
        except pykka.Timeout as error:
            future.give_up(error)
            raise
        except CallerMistaken:  # to wait would have been wrong
            future.cancel()
            raise

    # -- sending beyond pykka --------------------------------------------------------------------------------

    async def call(self, message: Any, *, timeout: float = CALL_TIMEOUT_S, urgent: bool = False) -> Any:
        """Send and await the reply, through restarts of the actor.

        A caller that is cancelled ends the work, unless the actor says that it is not interruptible.

        Args:
            message: Anything.
            timeout: Seconds for everything together; a reply that comes later is a dead letter.
            urgent: Whether it overtakes what waits.

        Raises:
            ActorGone: The actor has ended.
            TooMuch: Its mailbox is full, and turns new messages away.
            DeadlineExceeded: No reply in time; the actor may still be working on it.
            Deadlock: The actors would wait for each other.
            Exception: What the actor raised.
        """
        future = self.ask(message, block=False, urgent=urgent)
        if future._state == DONE:
            return future._value
        return await self._within(future, timeout)

    async def _within(self, future: Future, timeout: float) -> Any:
        due = deadlines().add(future, timeout)
        try:
            return await future
        except (asyncio.CancelledError, CallerMistaken):  # cancelled, or a deadlock: nobody waits any more
            future.cancel()
            raise
        finally:
            due.pop(future, None)

    def _too_late(self, future: Future, timeout: float) -> None:
        future.give_up(
            DeadlineExceeded(
                f"{self.label} did not answer within {timeout:g} s", "the work may still be going on"
            )
        )

    async def send(self, message: Any, *, timeout: float = CALL_TIMEOUT_S) -> None:
        """Send without an answer, and wait while the mailbox is full.

        Args:
            message: Anything.
            timeout: Seconds to wait for room.

        Raises:
            ActorGone: The actor has ended.
            TooMuch: There was no room in time.
        """
        limit = self.actor_class.mailbox_limit
        end = asyncio.get_running_loop().time() + timeout
        pause = 0.0
        while self.waiting >= limit and self.is_alive():
            if asyncio.get_running_loop().time() > end:
                raise self._full_error()
            await asyncio.sleep(pause)
            pause = min(0.05, pause + 0.001)
        self.tell(message)

    # -- watching --------------------------------------------------------------------------------------------

    def on_exit(self, callback: "Callable[[Ref[Any], Exit], object]") -> Callable[[], None]:
        """Call a function once when the actor has ended for good; at once when it has.

        Returns:
            Takes the wish back.
        """
        return self._observe(object(), callback)

    def _observe(self, key: object, callback: "Callable[[Ref[Any], Exit], object]") -> Callable[[], None]:
        ties = self._tied()
        with _lock:
            over = ties.over
            if over is None and self._state == DEAD:
                over = GONE
            if over is None:
                ties.observers[key] = callback
        if over is not None:
            callback(self, over)
        return lambda: ties.observers.pop(key, None) and None

    def monitor(self, watcher: "Ref[Any]") -> Callable[[], None]:
        """Send a `Down` to another actor when this one has ended; returns the function that stops it."""
        return self.on_exit(partial(tell_down, watcher))

    def link(self, other: "Ref[Any]") -> None:
        """Let two actors fail together: when one ends unplanned, so does the other, unless it traps exits.

        One that traps exits (`Actor.traps_exits`) gets a `Down` instead. To link twice is to link once.
        """
        # Each is the other's key: so the survivor can forget the one that has ended.
        self._observe(other, partial(fail_too, other))
        other._observe(self, partial(fail_too, self))

    # -- the end ---------------------------------------------------------------------------------------------

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """End after the messages that came before; as pykka's.

        Args:
            block: Whether to wait; on an event loop pass False and await what is returned.
            timeout: Seconds to wait.

        Returns:
            Whether it was running, or a future of that.
        """
        ended = self.ask(_ActorStop(), block=False)
        result = Future(self)

        def convert(timeout: float | None) -> bool:
            try:
                ended.get(timeout=timeout)
            except pykka.Timeout:
                raise
            except Exception:  # why it is gone does not matter here
                return False
            return True

        def deliver() -> None:
            result.set(ended._state == DONE)

        if block:
            return convert(timeout)
        ended.add_done_callback(deliver)
        return result

    def kill(self, reason: Exit = KILLED) -> None:
        """End now: no message more is handled, and a handler that waits is cancelled."""
        raise NotImplementedError

    def abandon(self, reason: Exit = KILLED) -> None:
        """End now and do not wait for a handler that resists: what it does is not looked at any more."""
        raise NotImplementedError

    def _begin_stop(self) -> Any:
        """Handle pykka's stop message."""
        actor = self._actor
        self._state = DYING
        strike(self, None)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(f"Unregistered {self}")
            log.debug(f"Stopped {actor}")
        try:
            work = actor.on_stop()
        except Exception:
            actor._handle_failure(*sys.exc_info())
            return None
        return _finish(actor, work) if type(work) is CoroutineType else work

    def _failed(self, reply: Future | None) -> None:
        """A handler raised: an ask goes on to the asker, a tell ends the incarnation."""
        kind, error, trace = sys.exc_info()
        actor = self._actor
        if self._state >= DYING:  # it was killed meanwhile
            if reply is not None:
                self._cut(reply)
            elif isinstance(error, Exception):
                log.error(f"Unhandled exception in {self} after it was killed:", exc_info=error)
            return
        if reply is not None:
            if log.isEnabledFor(logging.INFO):
                log.info(f"Exception returned from {actor} to caller:", exc_info=(kind, error, trace))  # type: ignore[arg-type]
            if isinstance(error, Exception):
                reply._settle(FAILED, (kind, error, trace))
            elif reply._state == PENDING:  # else it is the asker who has given up
                reply._settle(FAILED, (Interrupted, self._cancelled_error(), None))
            return
        if not isinstance(error, Exception):
            return  # a tell that was cancelled has no one to report to
        self._state = DYING
        actor._handle_failure(kind, error, trace)
        try:
            actor.on_failure(kind, error, trace)
        except Exception:
            actor._handle_failure(*sys.exc_info())
        self._leave(Exit("crashed", error))

    def _cancelled_error(self) -> Interrupted:
        # A CancelledError as it is would look like the asker's own cancellation.
        return Interrupted(f"{self.label} was cancelled before it answered", "ask again")

    def _cut(self, reply: Future) -> None:
        """Tell whoever asked, if anybody still waits, that the handler was ended before it answered."""
        if reply._state == PENDING:
            error = ActorGone(f"{self} ended before it answered", "look whether it was restarted")
            reply._settle(FAILED, (ActorGone, error, None))

    def _collapsed(self, reply: Future | None) -> None:
        """A handler raised what ends a program: as pykka does, everything stops."""
        error = sys.exc_info()[1]
        log.debug(f"{error!r} in {self._actor}. Stopping all actors.")
        ending = self._begin_stop()
        if type(ending) is CoroutineType:
            ending.close()  # the program ends: nothing would carry it on
        self._leave(NORMAL)
        if reply is not None:
            self._cut(reply)
        ActorRegistry.stop_all(block=False)

    def _ended(self) -> None:
        """A turn is over and the state is not what it was when the turn began."""
        if self._state == DYING:
            self._leave(NORMAL if self._ties is None else self._ties.exit or NORMAL)

    def _leave(self, exit: Exit) -> None:
        """The incarnation is over; its guard decides whether the ref is."""
        actor, ties = self._actor, self._ties
        if actor is not None and exit.kind in ("crashed", "killed"):
            try:
                actor.on_leave()
            except Exception:
                log.exception("%s raised when it left", self.label)
        if ties is not None:
            ties.exit = None
            if ties.guard is not None and self._state != DEAD:
                self._state = DOWN
                self._actor = None
                strike(self, None)
                try:
                    if ties.guard(self, exit):
                        return
                except Exception:
                    log.exception("the guard of %s raised at its end", self.label)
        self._die(exit)

    def _die(self, exit: Exit) -> None:
        if self._state == DEAD:
            return
        if self._ties is not None:
            self._ties.over = exit  # before anybody can see that it is dead
        self._state = DEAD
        self._actor = None
        strike(self, None)
        ties = self._ties
        if ties is None:
            self._return_mail()
            return
        with _lock:
            ties.over = exit
            observers = list(ties.observers.values())
            ties.observers.clear()
        self._return_mail()
        ties.guard = ties.wake = None
        for observer in observers:
            try:
                observer(self, exit)
            except Exception:
                log.exception("an observer of %s raised at its end", self.label)

    def _return_mail(self) -> None:
        """Nothing is lost in silence: askers are told, the rest goes to the dead letters."""
        mail: list[Any] = [] if self._ties is None else list(self._ties.urgent)
        if self._first is not EMPTY:
            mail.append(self._first)
        mail += self._mail or ()
        self._first, self._mail = EMPTY, None
        if self._ties is not None:
            self._ties.urgent = ()
        for item in mail:
            self._return(item)

    def _return(self, item: Any) -> None:
        if type(item) is not Ask:
            if item is not BEGIN:
                self._lose(item, "its receiver has ended")
        elif item.reply._state != PENDING:
            return  # whoever asked has given up
        elif isinstance(item.message, _ActorStop):
            item.reply._settle(DONE, None)
        else:
            error = self._gone_error("stopped before handling the message")
            item.reply._settle(FAILED, (None, error, None))

    def _lose(self, item: Any, reason: str) -> None:
        """Hand a message that nobody handles to the dead letters."""
        try:
            self._home.dead_letter(self, item, reason)
        except Exception:
            log.exception("what takes dead letters raised")

    def _gone_error(self, how: str = "not found") -> UmbrellaError:
        over = None if self._ties is None else self._ties.over
        if over is not None and isinstance(over.error, UmbrellaError):
            return error_from(over.error.body())  # what it was given up for says more
        return ActorGone(f"{self} {how}")

    def _gone_future(self) -> Future:
        future = Future(self)
        future.set_exception((None, self._gone_error(), None))
        return future

    def _late(self, state: int, value: Any) -> None:
        answer = value if state == DONE else value[1]
        self._lose(answer, LATE)

    def _withdraw(self, future: Future) -> None:
        """Whoever asked has given up: end the handler that works for it, if there is one."""
        raise NotImplementedError

    def watch(self, wrap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]] | None) -> None:
        """Put a function around the handler, of later incarnations too; None takes it away.

        An actor that is not watched pays nothing for this.
        """
        self._tied().wrap = wrap
        actor = self._actor
        if actor is not None:
            actor.__dict__.pop("on_receive", None)
            if wrap is not None:
                actor.on_receive = wrap(actor.on_receive)

    # -- the next incarnation --------------------------------------------------------------------------------

    def _revive(self, make: "Callable[[], LightActor]") -> None:
        """Put a new incarnation behind this ref; its mail has waited.

        Raises:
            ActorGone: It has ended for good.
            Exception: What making it raised; the ref is as before.
        """
        if self._state == DEAD:
            raise self._gone_error()
        actor = adopt(self, make)
        self._actor = actor
        self.actor_class = type(actor)
        if self._ties is not None and self._ties.wrap is not None:
            actor.on_receive = self._ties.wrap(actor.on_receive)
        enrol(self, None)
        if actor._begins:
            self._put_first(BEGIN)
        self._state = BUSY
        self._home.after(self)

    def _put_first(self, item: Any) -> None:
        """Put a message before all that wait."""
        if self._first is not EMPTY:
            if self._mail is None:
                self._mail = deque()
            self._mail.appendleft(self._first)
        self._first = item

    def _sleep(self, wake: "Callable[[Ref[Any]], None]") -> bool:
        """Leave memory until the next message; False when there is mail or work."""
        if self._state != IDLE:
            return False
        self._tied().wake = wake
        self._state = ASLEEP
        self._actor = None
        return True

    def _rouse(self) -> None:
        """Have an actor come back that is asleep and has mail."""
        ties = self._ties
        with _lock:
            if ties is None or ties.wake is None or self._state != ASLEEP:
                return  # another thread was first
            self._state = DOWN
        try:
            ties.wake(self)
        except Exception as error:
            log.exception("%s could not be woken", self.label)
            self._die(Exit("crashed", error))

    def _full(self, item: Any, mail: deque[Any]) -> bool:
        """What a full mailbox does; whether the message may be put in.

        Raises:
            TooMuch: The message is turned away.
        """
        if is_system(item):
            return True
        if self.actor_class.mailbox_policy == "drop_oldest":
            place = next((at for at, old in enumerate(mail) if not is_system(old)), None)
            if place is not None:
                oldest = mail[place]
                del mail[place]
                if type(oldest) is Ask:
                    oldest.reply._settle(FAILED, (TooMuch, self._full_error(), None))
                else:
                    self._lose(oldest, "pushed out of a full mailbox")
                return True
        if type(item) is Ask:
            item.reply._settle(FAILED, (TooMuch, self._full_error(), None))
            return False
        raise self._full_error()

    def _full_error(self) -> TooMuch:
        return TooMuch(
            f"the mailbox of {self.label} is full ({self.actor_class.mailbox_limit} messages)",
            "wait for it to work through its messages; `await ref.send(...)` waits for room",
        )


async def _finish(actor: Any, work: "CoroutineType[Any, Any, Any]") -> None:
    """Carry an `on_stop` to its end, whatever that is: the actor has stopped."""
    try:
        await work
    except Exception:
        actor._handle_failure(*sys.exc_info())
    except asyncio.CancelledError:
        log.debug("the on_stop of %s was cancelled", actor)
