"""Runs actors that block on a few shared threads.

An actor is given to a thread only while it has mail. A thread that blocks on another actor's reply is replaced
meanwhile, so a chain of actors that is longer than the pool does not stop. A thread that asks an idle actor and would
wait for ever anyway handles the message itself.
"""

import asyncio
import logging
import os
import threading
from _thread import LockType, allocate_lock, get_ident
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import CoroutineType
from typing import Any, Final, TypeVar

from mcp_core.runtime import waits
from mcp_core.runtime.cell import Ref, log_dead_letter
from mcp_core.runtime.exits import KILLED, Exit
from mcp_core.runtime.future import DONE, PENDING, Future
from mcp_core.runtime.life import ASLEEP, BUSY, DEAD, DOWN, DYING, IDLE
from mcp_core.runtime.messages import SPECIAL, Ask
from mcp_interface.errors import CallerMistaken, TooMuch

A = TypeVar("A", bound=Any)

log = logging.getLogger(__name__)

BATCH: Final = 32
"""Messages an actor handles before its thread takes the next actor."""
EXTRA: Final = 256
"""Threads beyond the usual that stand in for blocked ones."""


class PoolRef(Ref[A]):
    """The ref of an actor that lives on a pool."""

    __slots__ = ("_asked", "_taken")

    _asked: Future | None
    """Where the reply of the present handler goes."""
    _home: "Pool"
    _taken: LockType
    """Held by the thread that handles its mail; another one once a handler has been abandoned."""

    def prepare(self) -> None:
        """Make what a new ref needs beside the usual."""
        self._mail: deque[Any] = deque()
        self._asked = None
        self._taken = allocate_lock()

    def tell(self, message: Any, *, urgent: bool = False) -> None:
        """Send without an answer.

        Raises:
            ActorGone: The actor has ended.
            TooMuch: Its mailbox is full, and turns new messages away.
        """
        if self._state >= DYING and self._is_over():
            raise self._gone_error()
        self._put(message, urgent)

    def ask(
        self, message: Any, *, block: bool = True, timeout: float | None = None, urgent: bool = False
    ) -> Any:
        """Send and get the reply; as pykka's."""
        if self._state >= DYING and self._is_over():
            future = self._gone_future()
        elif (
            block
            and timeout is None
            and self._state == IDLE
            and asyncio._get_running_loop() is None
            and self._taken.acquire(False)
        ):
            return self._answer(message)
        else:
            future = Future(self)
            self._put(Ask(message, future), urgent)
        return self._get(future, timeout) if block else future

    def _answer(self, message: Any) -> Any:
        """Handle a message on the asker's thread, which holds the actor; after what waits, to keep the order."""
        future = Future(self)
        self._mail.append(Ask(message, future))
        me = waits.who()
        if me is None:
            self._home.run(self)
        else:
            waits.begin(me, future)
            try:
                self._home.run(self)
            finally:
                waits.end(me, future)
        return self._get(future, None)

    def _put(self, item: Any, urgent: bool = False) -> None:
        mail = self._urgent_mail() if urgent else self._mail
        if not urgent and len(mail) >= self.actor_class.mailbox_limit and not self._full(item, mail):
            return
        mail.append(item)
        if self._state == ASLEEP:
            self._rouse()
        self._offer()

    def _offer(self) -> None:
        """Give the actor to a thread, unless one has it already."""
        if self._taken.acquire(False):
            self._home.submit(self)

    def _next(self) -> Any:
        ties = self._ties
        if ties is not None and ties.urgent:
            return ties.urgent.popleft()
        return self._mail.popleft() if self._mail else None

    def _put_first(self, item: Any) -> None:
        self._mail.appendleft(item)

    def _return_mail(self) -> None:
        while (item := self._next()) is not None:
            self._return(item)

    def kill(self, reason: Exit = KILLED) -> None:
        """End as soon as the handler that runs, if any, returns: a thread cannot be interrupted."""
        if self._state in (DOWN, DEAD):  # there is no incarnation to end
            return
        ties = self._tied()
        if ties.exit is None:  # a thread that has it now writes the state too, and looks here
            ties.exit = reason
        self._state = DYING
        self._offer()

    def abandon(self, reason: Exit = KILLED) -> None:
        """End now; a handler that still runs keeps its thread, and what it does is not looked at any more."""
        self._taken = taken = allocate_lock()
        taken.acquire()
        asked, self._asked = self._asked, None
        if asked is not None:
            self._cut(asked)
        waits.forget(self)
        if self._state != DEAD:
            self._leave(reason)
        self._release(taken)

    def _release(self, taken: LockType) -> None:
        """Let the next thread have it; what has come meanwhile is not forgotten."""
        taken.release()
        if taken is not self._taken or self._state in (DOWN, ASLEEP):
            return
        if self.waiting or (self._state != DEAD and self._ties is not None and self._ties.exit is not None):
            self._offer()

    def _sleep(self, wake: "Callable[[Ref[Any]], None]") -> bool:
        taken = self._taken
        if not taken.acquire(False):
            return False
        asleep = not self.waiting and super()._sleep(wake)
        taken.release()
        if asleep and self.waiting:
            self._rouse()
        elif self.waiting:
            self._offer()
        return asleep

    def _withdraw(self, future: Future) -> None:
        """A handler on a thread is not interrupted; its reply will be late."""


class _PoolThread:
    """What a worker knows of itself; see `waits`."""

    loop = None

    def __init__(self, pool: "Pool | None") -> None:
        self.stack: list[Ref[Any]] = []
        self._pool = pool

    def work_off(self, future: Future) -> bool:
        """A thread may wait."""
        return False

    def is_carrier(self, task: "asyncio.Task[Any]") -> bool:
        """None is: nothing awaits on a thread of the pool."""
        return False

    def blocking(self, more: int) -> None:
        """Let another thread stand in."""
        if self._pool is not None:  # else it is an asker's, and none of the pool's is missing
            self._pool.stand_in(more)


class Pool:
    """The scheduler of actors that block.

    Args:
        size: Threads that run at the same time; the number of processors unless given.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size or os.cpu_count() or 2
        self.threads = 0
        self.running: dict[int, Ref[Any]] = {}
        """Which actor runs on which thread now."""
        self.dead_letter: Callable[[Ref[Any], Any, str], None] = log_dead_letter
        self._blocked = 0
        self._ready: SimpleQueue[PoolRef[Any]] = SimpleQueue()
        self._lock = allocate_lock()

    def submit(self, ref: PoolRef[Any]) -> None:
        """Have an actor's mail handled; the caller has taken the actor."""
        self._ready.put(ref)
        if self.threads < self.size + self._blocked:
            self._grow()

    def after(self, ref: PoolRef[Any]) -> None:
        """A new incarnation is in place."""
        ref._state = IDLE
        if ref.waiting:
            ref._offer()

    def stand_in(self, more: int) -> None:
        """A worker is about to block (1), or does no longer (-1)."""
        with self._lock:
            if more > 0 and self._blocked >= self.size + EXTRA - 1:  # one thread must be left
                raise TooMuch(
                    f"{self._blocked} handlers of the pool already wait for others",
                    "await in an Actor, which takes no thread, or wait for fewer at a time",
                )
            self._blocked += more
        if more > 0 and not self._ready.empty():
            self._grow()

    def _grow(self) -> None:
        with self._lock:
            if self.threads >= self.size + min(self._blocked, EXTRA):
                return
            self.threads += 1
            number = self.threads
        threading.Thread(target=self._work, name=f"actor-pool-{number}", daemon=True).start()

    def _work(self) -> None:
        waits.here.thread = _PoolThread(self)
        while True:
            try:
                self.run(self._ready.get())
            except Exception:
                log.exception("a thread of the pool goes on after an error")
            if self.threads > self.size + self._blocked:
                with self._lock:
                    if self.threads > self.size + self._blocked:
                        self.threads -= 1
                        return

    def run(self, ref: PoolRef[Any]) -> None:
        """Handle some of an actor's mail on this thread, which has taken it."""
        here = waits.here
        if here.thread is None:  # an asker that helps itself
            here.thread = _PoolThread(None)
        stack, ident, taken = here.thread.stack, get_ident(), ref._taken
        stack.append(ref)
        before = self.running.get(ident)
        self.running[ident] = ref
        try:
            self._handle(ref, taken)
        finally:
            stack.pop()
            if before is None:
                del self.running[ident]
            else:
                self.running[ident] = before
            ref._release(taken)

    def _handle(self, ref: PoolRef[Any], taken: LockType) -> None:
        left = BATCH
        while left:
            ties = ref._ties
            if ref._state >= DYING or (ties is not None and ties.exit is not None):
                if ref._state != DEAD:
                    ref._state = DYING
                    ref._ended()
                if ref._state == DEAD:  # what came while it died
                    ref._return_mail()
                return
            if ref._state in (DOWN, ASLEEP):
                return
            item = ref._next()
            if item is None:
                return
            left -= 1
            ref._count += 1
            ref._state = BUSY
            self._one(ref, item, taken)
            if taken is not ref._taken:
                return  # abandoned
            if ref._state == BUSY:
                ref._state = IDLE

    def _one(self, ref: PoolRef[Any], item: Any, taken: LockType) -> None:
        reply, message = (item.reply, item.message) if type(item) is Ask else (None, item)
        if reply is not None and reply._state != PENDING:
            return  # withdrawn
        ref._asked = reply
        actor = ref._actor
        try:
            special = SPECIAL.get(type(message))
            value = actor.on_receive(message) if special is None else special(actor, message)
            if type(value) is CoroutineType:
                value.close()
                raise CallerMistaken(
                    f"{ref.label} runs on a pool of threads and cannot await",
                    "derive it from Actor, or make the handler a plain function",
                )
        except (Exception, asyncio.CancelledError):
            if taken is ref._taken:
                ref._failed(reply)
        except BaseException:
            if taken is ref._taken:
                ref._collapsed(reply)
        else:
            if reply is not None:
                reply._settle(DONE, value)
