"""The reply of an actor: a pykka future that a thread can wait for and a coroutine can await.

A reply that comes after nobody wants it any more, because its deadline has passed or its asker was cancelled, is
late: it is handed to the dead letters of the actor that gave it.
"""

import asyncio
import logging
import queue
import sys
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pykka

from mcp_core.runtime import waits

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref

PENDING: Final = 0
DONE: Final = 1
FAILED: Final = 2
GIVEN_UP: Final = 3
"""Nobody waits for it any more; whatever comes is late."""

log = logging.getLogger(__name__)
_lock = allocate_lock()


class Future(pykka.Future[Any]):
    """The place where one reply arrives, once."""

    __slots__ = ("_callbacks", "_state", "_target", "_value")

    # pykka sets these two in __init__; on the class they cost nothing for each reply
    _get_hook: Any = None
    _get_hook_result: Any = pykka.Future[Any]()._get_hook_result

    def __init__(self, target: "Ref[Any] | None" = None) -> None:
        self._state = PENDING
        self._callbacks: list[Callable[[], None]] | None = None
        self._target = target

    def done(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._state != PENDING

    # -- who answers -----------------------------------------------------------------------------------------

    def set(self, value: Any = None) -> None:
        """Deliver the reply.

        Raises:
            queue.Full: It was delivered before.
        """
        if self._state in (DONE, FAILED) or self._get_hook is not None:
            raise queue.Full
        self._settle(DONE, value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Deliver a failure: that of `exc_info`, or the one being handled.

        Raises:
            queue.Full: It was delivered before.
        """
        if self._state in (DONE, FAILED) or self._get_hook is not None:
            raise queue.Full
        self._settle(FAILED, exc_info or sys.exc_info())

    def set_get_hook(self, func: Callable[[float | None], Any]) -> None:
        """Have the value computed by the first `get`.

        Raises:
            queue.Full: It was delivered before.
        """
        if self._state != PENDING:
            raise queue.Full
        self._get_hook = func
        self._call_back()

    def _settle(self, state: int, value: Any) -> None:
        """Deliver what the actor has to say; it never raises, for it is called by schedulers."""
        if self._state != PENDING or self._get_hook is not None:
            if self._target is not None:
                self._target._late(state, value)
            return
        # No call between the look and the two stores: another thread may be giving up now.
        self._value = value
        self._state = state
        if self._callbacks is not None:
            self._call_back()

    def _call_back(self) -> None:
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:  # another thread took the last one
                return
            try:
                callback()
            except Exception:
                log.exception("a callback of a future raised")

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call a function once when there is nothing to wait for any more, in the thread that settles it."""
        with _lock:
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
        if self._state != PENDING or self._get_hook is not None:
            self._call_back()

    def _forget(self, callback: Callable[[], None]) -> None:
        """Take a callback back, so that one who waits again and again leaves nothing behind."""
        if self._callbacks:
            with suppress(ValueError):
                self._callbacks.remove(callback)

    # -- who asked -------------------------------------------------------------------------------------------

    def give_up(self, error: BaseException) -> bool:
        """Fail it because nobody waits any more; what comes is late. False when it was settled already."""
        value = (type(error), error, None)
        if self._state != PENDING:
            return False
        self._value = value  # as in `_settle`
        self._state = GIVEN_UP
        if self._callbacks is not None:
            self._call_back()
        return True

    def cancel(self) -> bool:
        """Give up, and end the work: a message that waits is not handled, a handler that runs is cancelled.

        Returns:
            Whether there was something to cancel.
        """
        if not self.give_up(asyncio.CancelledError()):
            return False
        if self._target is not None:
            self._target._withdraw(self)
        return True

    def _result(self) -> Any:
        if self._state == DONE:
            return self._value
        kind, error, trace = self._value
        if error is None:
            error = kind()
        if error.__traceback__ is not trace:
            raise error.with_traceback(trace)
        raise error

    def get(self, *, timeout: float | None = None) -> Any:
        """Wait for the reply in a thread.

        On the thread of an event loop it works off the mail of the actor that was asked, and refuses to wait for
        anything else.

        Args:
            timeout: Seconds; None waits for as long as it takes.

        Raises:
            pykka.Timeout: No reply in time.
            CallerMistaken: It would block the event loop that the reply needs.
            Deadlock: The actors wait for each other.
            Exception: What the actor raised.
        """
        if self._state != PENDING:
            return self._result()
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if timeout is not None and timeout <= 0:
            raise pykka.Timeout(f"{timeout} seconds")
        if not waits.work_off(self):
            self._wait(timeout)
        if self._get_hook is not None:  # set by another thread meanwhile
            return super().get(timeout=timeout)  # type: ignore[unreachable]
        return self._result()

    def _wait(self, timeout: float | None) -> None:
        arrived = allocate_lock()
        arrived.acquire()
        release = arrived.release
        self.add_done_callback(release)
        try:
            with waits.waiting(self):
                if not arrived.acquire(True, -1 if timeout is None else timeout):
                    raise pykka.Timeout(f"{timeout} seconds")
        finally:
            self._forget(release)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the reply in a coroutine of any event loop.

        Raises:
            Deadlock: The actors wait for each other.
            Exception: What the actor raised.
        """
        if self._state == DONE:
            return self._value
        if self._state == PENDING:
            yield from self._suspend()
        return self._result()

    __iter__ = __await__

    def _suspend(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        if self._get_hook is not None:
            yield from loop.run_in_executor(None, self.get).__await__()
            self._state, self._value = DONE, self._get_hook_result
            return
        arrived, thread = loop.create_future(), get_ident()

        def wake() -> None:
            if get_ident() == thread:
                _set(arrived)
                return
            with suppress(RuntimeError):  # the loop of who waited has been closed
                loop.call_soon_threadsafe(_set, arrived)

        self.add_done_callback(wake)
        me = waits.who_awaits()
        try:
            if me is not None:
                waits.begin(me, self)
            yield from arrived
        finally:
            self._forget(wake)
            if me is not None:
                waits.end(me, self)


def _set(arrived: "asyncio.Future[None]") -> None:
    if not arrived.done():
        arrived.set_result(None)


def settled(value: Any) -> Future:
    """A future that has its reply."""
    future = Future.__new__(Future)
    future._state = DONE
    future._value = value
    future._callbacks = None
    future._target = None
    return future
