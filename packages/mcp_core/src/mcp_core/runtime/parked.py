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


class Gate:
    """Where a task waits for a handler to carry. To the task it is a future; it stands in for what the handler awaits.

    So it is that future itself which resumes the task, and no callback of the loop comes between.

    Args:
        loop: The task's.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_loop", "_wake", "awaited", "is_open")

    def __init__(self, loop: Any) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._wake: Any = None
        self._context: Context | None = None
        self.awaited: asyncio.Future[Any] | None = None
        """What it stands in for."""
        self.is_open = False
        """Whether the task will be woken without one."""

    def __await__(self) -> Generator[Any, None, None]:
        self.awaited, self.is_open = None, False
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> Any:
        """As a future's."""
        return self._loop

    def add_done_callback(self, wake: Any, *, context: Context) -> None:
        """As a future's; the only one who waits is the task."""
        self._wake, self._context = wake, context

    def result(self) -> None:
        """As a future's: the task asks it when it was woken by `open`."""

    def cancel(self, msg: Any = None) -> bool:
        """As a future's: cancel what it stands in for; while there is nothing, the task raises when it wakes."""
        if self.awaited is not None:
            return self.awaited.cancel(msg=msg)
        self.open()
        return False

    def open(self) -> None:
        """Wake the task, soon."""
        if self._wake is not None and not self.is_open:  # else its first step comes anyway
            self._loop.call_soon(self._wake, self, context=self._context)
        self.is_open = True

    def stand_in(self, awaited: Any) -> bool:
        """Have the task woken by what a handler awaits; False when it must await that in the usual way."""
        if self._wake is None or self.is_open or not isinstance(awaited, asyncio.Future):
            return False
        if not awaited._asyncio_future_blocking or awaited.get_loop() is not self._loop:
            return False
        awaited._asyncio_future_blocking = False
        self.awaited = awaited
        awaited.add_done_callback(self._wake, context=self._context)
        return True


class Parked:
    """One such task. It serves one handler after the other, as long as nothing of one could reach the next.

    Args:
        home: Whose handlers it serves.
    """

    __slots__ = ("_awaited", "_coroutine", "_holders", "context", "gate", "home", "ref", "reply", "task")

    def __init__(self, home: "Loop") -> None:
        loop = home.loop
        self.home = home
        self.ref: LoopRef[Any] | None = None
        self.reply: Future | None = None
        self.context = Context()
        self.gate = Gate(loop)
        self._coroutine: CoroutineType[Any, Any, Any] | None = None
        self._awaited: Any = None
        work = self._carry_on()
        work.send(None)  # a task that is cancelled before its first step would not run at all
        self.task: asyncio.Task[Any] = loop.create_task(work, context=self.context)
        self._holders = sys.getrefcount(self.task)

    def is_clean(self) -> bool:
        """Whether the next handler may have it; asked when it does not run.

        One that was cancelled, has variables set, or that somebody may still cancel or wait for, may not be used again.
        """
        task: Any = self.task
        return not (
            self.gate.is_open
            or self.context
            or task._must_cancel
            or task._callbacks
            or sys.getrefcount(task) > self._holders + 1  # the name above
        )

    def take(self, work: "CoroutineType[Any, Any, Any]", awaited: Any) -> None:
        """Take over a coroutine whose first step has ended with something to wait for."""
        self._coroutine = work
        if not self.gate.stand_in(awaited):
            self._awaited = awaited
            self.gate.open()

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
        turn: Any = _first_step()
        while True:
            error = None
            try:
                await turn
            except BaseException as raised:
                if self._coroutine is None:
                    self.gate.is_open = True  # so nobody gives it another handler
                    if isinstance(raised, asyncio.CancelledError):
                        return
                    raise
                error = raised
            if self._coroutine is not None:
                await self._serve(error)
                if self.task.cancelling():
                    return
                self.home.returned(self)
            turn = self.gate

    async def _serve(self, error: BaseException | None) -> None:
        """Carry one handler to its end."""
        ref, home = self.ref, self.home
        assert ref is not None  # it is set before the gate opens
        suspended = home.suspended
        try:
            result = await _resume(self._coroutine, self._awaited, error)
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
        finally:
            waits.owners.pop(self.task, None)
            self.ref = self.reply = self._coroutine = self._awaited = None
            if suspended.get(ref) is self:
                del suspended[ref]
                home.after(ref)


CARRIER: Final = Parked._carry_on.__code__
"""What every such task runs."""


@coroutine
def _first_step() -> Generator[None, None, None]:
    """Stop here until the task takes over."""
    yield


@coroutine
def _resume(work: Any, awaited: Any, error: BaseException | None) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that has begun elsewhere.

    Args:
        work: The coroutine.
        awaited: What it still waits for; None is nothing.
        error: What it is to be told: that it is cancelled, or what it has waited for raised.
    """
    try:
        # With what it says: anyio knows the cancellations of its own scopes by it.
        passed_on = isinstance(error, asyncio.CancelledError) and awaited and awaited.cancel(*error.args)
        if error is not None and not passed_on:
            raise error
        if awaited is None:
            pass  # it wanted a turn of the loop, and has had it
        elif not awaited.done():
            yield awaited
        else:
            awaited._asyncio_future_blocking = False
    except GeneratorExit:
        work.close()
        raise
    except BaseException as raised:
        try:
            awaited = work.throw(raised)
        except StopIteration as stop:
            return stop.value
        if awaited is None:
            yield
        return (yield from _resume(work, awaited, None))
    return (yield from work)
