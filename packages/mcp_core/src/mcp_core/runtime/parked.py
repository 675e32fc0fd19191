"""A real asyncio task, made beforehand, that takes over a handler when it first waits.

Handlers are begun on the stack of the scheduler, without a task: most end before they wait for anything. While one
is begun, a parked task stands in as `asyncio.current_task()`, and its context is the handler's: so timeouts, task
groups and context variables bind to the task that carries on if the handler does wait. The context is empty, as that
of a new thread is: what the sender has in its own would otherwise reach every handler after.
"""

import asyncio
import sys
from asyncio import tasks
from collections.abc import Generator
from contextvars import Context
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, Final

from mcp_core.runtime import waits
from mcp_core.runtime.exits import KILLED
from mcp_core.runtime.future import DONE, Future

if TYPE_CHECKING:
    from mcp_core.runtime.loop import Loop
    from mcp_core.runtime.loop_ref import LoopRef

if sys.version_info >= (3, 12):
    swap_current_task = tasks._swap_current_task  # type: ignore[attr-defined]
else:
    _current: dict[Any, Any] = tasks._current_tasks  # type: ignore[attr-defined]

    def swap_current_task(loop: Any, task: Any) -> Any:
        """Make a task the current one of a loop; returns the one before, or None."""
        before = _current.pop(loop, None)
        if task is not None:
            _current[loop] = task
        return before


class Parked:
    """One such task. It serves one handler and ends with it.

    Args:
        home: Whose handlers it serves.
    """

    __slots__ = ("_awaited", "_coroutine", "context", "gate", "home", "ref", "reply", "task")

    def __init__(self, home: "Loop") -> None:
        loop = home.loop
        self.home = home
        self.ref: LoopRef[Any] | None = None
        self.reply: Future | None = None
        self.context = Context()
        self.gate = loop.create_future()
        self._coroutine: CoroutineType[Any, Any, Any] | None = None
        self._awaited: Any = None
        work = self._carry_on()
        work.send(None)  # a task that is cancelled before its first step would not run at all
        self.task = loop.create_task(work, context=self.context)

    def take(self, work: "CoroutineType[Any, Any, Any]", awaited: Any) -> None:
        """Take over a coroutine whose first step has ended with something to wait for."""
        self._coroutine = work
        self._awaited = awaited
        if not self.gate.done():  # else cancelled while the first step was taken
            self.gate.set_result(None)

    def carry(self, ref: "LoopRef[Any]", reply: Future | None) -> None:
        """Say whose handler it is, and who waits for it."""
        self.ref = ref
        self.reply = reply
        waits.owners[self.task] = ref
        self.home.suspended[ref] = self
        ties = ref._ties
        if ties is not None and ties.exit is not None:  # killed while the first step was taken
            self.task.cancel()

    def drop(self) -> None:
        """Cancel it, and do not look at what it does any more; whoever asked is told."""
        ref = self.ref
        assert ref is not None  # only what is carried is dropped
        del self.home.suspended[ref]
        waits.owners.pop(self.task, None)
        waits.forget(ref)
        if self.reply is not None:
            ref._cut(self.reply)
        if not self.home.loop.is_closed():
            self.task.cancel()

    async def _carry_on(self) -> None:
        cancelled = None
        try:
            await _first_step()
            await self.gate
        except asyncio.CancelledError as error:
            if self._coroutine is None:
                self.home.discard(self)
                return
            cancelled = error
        ref, home = self.ref, self.home
        assert ref is not None  # it is set before the gate opens
        try:
            await self._work_on(ref, cancelled)
        finally:
            waits.owners.pop(self.task, None)
            if home.suspended.get(ref) is self:
                del home.suspended[ref]
                home.after(ref)

    async def _work_on(self, ref: "LoopRef[Any]", cancelled: asyncio.CancelledError | None) -> None:
        suspended = self.home.suspended
        try:
            result = await _resume(self._coroutine, self._awaited, cancelled)
        except GeneratorExit:  # the loop was closed before the handler could end
            if suspended.pop(ref, None) is self:
                if self.reply is not None:
                    ref._cut(self.reply)
                ref._die(KILLED)
            raise
        except (Exception, asyncio.CancelledError):
            if suspended.get(ref) is self:
                ref._failed(self.reply)
        except BaseException:
            if suspended.get(ref) is self:
                ref._collapsed(self.reply)
        else:
            if self.reply is not None:
                self.reply._settle(DONE, result)


CARRIER: Final = Parked._carry_on.__code__
"""What every such task runs."""


@coroutine
def _first_step() -> Generator[None, None, None]:
    """Stop here until the task takes over."""
    yield


@coroutine
def _resume(work: Any, awaited: Any, cancelled: asyncio.CancelledError | None) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that has begun elsewhere and waits for `awaited`."""
    try:
        # With what it says: anyio knows the cancellations of its own scopes by it.
        if cancelled is not None and (awaited is None or not awaited.cancel(*cancelled.args)):
            raise cancelled
        if awaited is None or not awaited.done():
            yield awaited
        else:
            awaited._asyncio_future_blocking = False
    except GeneratorExit:
        work.close()
        raise
    except BaseException as error:
        try:
            awaited = work.throw(error)
        except StopIteration as stop:
            return stop.value
        return (yield from _resume(work, awaited, None))
    return (yield from work)
