"""A pykka actor whose handlers are coroutines on the node's event loop.

Each actor owns a thread that takes one message at a time from its mailbox and waits for the handler's
coroutine to end on the loop; so handlers of one actor never overlap, while all of them may await the same
store, servers and models. The thread is an implementation detail behind `Ref`: a light dispatcher can take
its place without a change to any actor.
"""

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pykka

T = TypeVar("T")

log = logging.getLogger(__name__)


class Promise(pykka.ThreadingFuture[Any]):
    """A pykka future that a coroutine can await through `outcome`."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def set(self, value: Any | None = None) -> None:
        """Deliver the reply."""
        super().set(value)
        if self.outcome.set_running_or_notify_cancel():
            self.outcome.set_result(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Deliver the failure."""
        super().set_exception(exc_info)
        result = self._result
        error = result.exc_info[1] if result is not None and result.exc_info is not None else None
        if self.outcome.set_running_or_notify_cancel():
            self.outcome.set_exception(error or RuntimeError("actor failed"))


class Actor(pykka.ThreadingActor):
    """Base of every actor of the node. Subclasses override the three coroutines."""

    use_daemon_thread = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.on_crash: Callable[[BaseException], None] | None = None
        """Called on the loop when the actor dies of an exception; set by the supervisor."""

    async def started(self) -> None:
        """Run before the first message; raising is a crash."""

    async def receive(self, message: Any) -> Any:
        """Handle one message; the value answers an ask.

        Raising in an ask goes to the asker and the actor lives on; raising in a tell is a crash.
        """
        raise NotImplementedError(f"{type(self).__name__} does not receive {type(message).__name__}")

    async def stopped(self) -> None:
        """Run after the last message of a planned stop."""

    @staticmethod
    def _create_future() -> Promise:
        return Promise()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def on_start(self) -> None:
        """Run `started` on the loop; a failure ends the actor before any message."""
        try:
            self._await(self.started())
        except Exception as error:  # whatever it is, the supervisor decides
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            self._report(error)

    def on_receive(self, message: Any) -> Any:
        """Run `receive` on the loop."""
        return self._await(self.receive(message))

    def on_stop(self) -> None:
        """Run `stopped` on the loop."""
        self._await(self.stopped())

    def on_failure(self, exception_type: Any, exception_value: BaseException | None, traceback: Any) -> None:
        """Tell the supervisor."""
        self._report(exception_value or RuntimeError("unknown failure"))

    def _report(self, error: BaseException) -> None:
        if self.on_crash is not None:
            self._loop.call_soon_threadsafe(self.on_crash, error)
