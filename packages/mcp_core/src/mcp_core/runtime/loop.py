"""Runs actors on an asyncio event loop, from one plain callback: no thread and no task for any of them.

An actor stands in the run queue only while it has mail, and handles a few messages at each turn. After a slice of
time the loop gets its turn for everything else. An ask of an idle actor is answered on the asker's own stack: its
mailbox is empty, so the order of messages is kept, and nothing is scheduled at all.
"""

import asyncio
import logging
import sys
import threading
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from time import perf_counter, sleep
from types import CoroutineType
from typing import Any, Final, TypeVar

from mcp_core.runtime import waits
from mcp_core.runtime.cell import CALL_TIMEOUT_S, Ref, log_dead_letter
from mcp_core.runtime.exits import KILLED, ActorGone
from mcp_core.runtime.future import DONE, PENDING, Future
from mcp_core.runtime.life import BUSY, EMPTY, IDLE, READY
from mcp_core.runtime.loop_ref import DEPTH, LoopRef
from mcp_core.runtime.messages import SPECIAL, Ask
from mcp_core.runtime.parked import CARRIER, Parked, swap_current_task
from mcp_core.runtime.roll import ROLL
from mcp_interface.errors import CallerMistaken, TooMuch, UmbrellaError

A = TypeVar("A", bound=Any)

log = logging.getLogger(__name__)

BATCH: Final = 16
"""Messages an actor handles before the next one has its turn."""
SLICE_S: Final = 0.001
"""Seconds the actors run before the event loop does everything else."""
SWITCH_S: Final = SLICE_S / 4
"""Seconds until a thread that wants the interpreter makes this one hand it over; for the whole process."""
CREDIT: Final = 512
"""Asks answered on the stack before the event loop gets a turn."""
INBOX: Final = 100_000
"""Messages from other threads that may wait for the loop; a thread that sends more waits a little."""
SPARES: Final = 256
"""Empty queues that are kept for the next actors that need one."""
CARRIERS: Final = 1024
"""Tasks that are kept for the next handlers that wait for something, a kilobyte and a half each."""


class Loop:
    """The scheduler of the actors of one event loop.

    Args:
        loop: The event loop; None until a background thread is started for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop: Any = loop
        self.ident = 0
        self.ready: deque[LoopRef[Any]] = deque()
        self.urgent: deque[LoopRef[Any]] = deque()
        self.stack: list[Ref[Any]] = []
        self.scheduled = False
        self.credit = CREDIT
        self.spare_queues: list[deque[Any]] = []
        self.suspended: dict[Ref[Any], Parked] = {}
        self.turns = 0
        """Turns given so far; a watchdog sees by it whether the loop goes on."""
        self.dead_letter: Callable[[Ref[Any], Any, str], None] = log_dead_letter
        self._spares: list[Parked] = []
        self._returned: list[Parked] = []
        self._context = Context()
        self._lock = allocate_lock()
        self._ending: AsyncGenerator[None, None] | None = None
        self._inbox: deque[tuple[LoopRef[Any], Any, bool]] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._signalled = False

    # -- joining a loop --------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Become the scheduler of the running loop of this thread, and let other threads in more often."""
        # Between two slices the loop lets the interpreter go and takes it back at once. A thread that waits for it
        # asks this one to step aside only after nobody let go for the whole interval: with Python's 5 ms, never.
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self.loop = asyncio.get_running_loop()
        self.ident = get_ident()
        waits.homes[self.loop] = self
        self._ending = _ending(self)
        with suppress(StopIteration):
            self._ending.__anext__().__await__().send(None)
        if self._inbox or self._jobs:
            self._signal()

    def detach(self) -> None:
        """Its loop is over: the actors that are left end, and every asker is told."""
        self.ident = 0
        waits.homes.pop(self.loop, None)
        for ref in ROLL:
            if isinstance(ref, LoopRef) and ref._home is self:
                ref._die(KILLED)
        for parked in list(self.suspended.values()):
            parked.drop()
        while self._inbox:
            ref, item, _ = self._inbox.popleft()
            ref._return(item)
        self._jobs.clear()
        self.ready.clear()
        self.urgent.clear()
        self._spares.clear()
        self._returned.clear()
        self.spare_queues.clear()

    # -- from other threads ----------------------------------------------------------------------------------

    def post(self, ref: LoopRef[Any], item: Any, urgent: bool) -> None:
        """Bring a message to an actor from another thread.

        Raises:
            ActorGone: The loop has been closed.
            TooMuch: So many wait already that the sender would have to wait too long.
        """
        if self.loop is not None and self.loop.is_closed():
            self.detach()
            raise _closed()
        inbox = self._inbox
        if len(inbox) > INBOX:
            self._make_room()
        inbox.append((ref, item, urgent))
        if not self._signalled:
            self._signal()

    def _make_room(self) -> None:
        """Let a thread that sends too fast wait; a coroutine must not."""
        end = perf_counter() + (CALL_TIMEOUT_S if asyncio._get_running_loop() is None else 0)
        while len(self._inbox) > INBOX:
            if perf_counter() > end or self.loop.is_closed():
                raise TooMuch(
                    f"{INBOX} messages from other threads wait for this event loop",
                    "send less, or ask and wait for the replies",
                )
            sleep(0.001)

    def run_there(self, job: Callable[[], None]) -> None:
        """Run a function on the loop's thread, soon; not at all when the loop has been closed."""
        self._jobs.append(job)
        if not self._signalled:
            self._signal()

    def _signal(self) -> None:
        self._signalled = True
        if self.loop is None:
            self._run_in_background()
        try:
            self.loop.call_soon_threadsafe(self._take_in, context=self._context)
        except RuntimeError:
            self.detach()

    def _take_in(self) -> None:
        self._signalled = False
        due, self.scheduled = self.scheduled, True  # no wake-ups meanwhile
        try:
            # What comes while this runs signals again: so a flood leaves the loop its turns.
            for _ in range(len(self._jobs)):
                self._run_job(self._jobs.popleft())
            for _ in range(len(self._inbox)):
                ref, item, urgent = self._inbox.popleft()
                try:
                    ref._queue(item, urgent)
                except UmbrellaError as error:  # its sender has gone on long ago
                    ref._lose(item, error.message)
        finally:
            if not due:  # else a pump is coming anyway: two would double the wait of everything else
                self.scheduled = False
                if self.ready or self.urgent:
                    self.pump()

    def _run_job(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            log.exception("what another thread wanted done raised")

    def _run_in_background(self) -> None:
        """Start a thread with an event loop of its own, once."""
        started = threading.Event()

        async def main() -> None:
            self.attach()
            started.set()
            await asyncio.Event().wait()

        with self._lock:
            if self.loop is None:
                work = partial(asyncio.run, main())
                threading.Thread(target=work, name="actors", daemon=True).start()
                started.wait()

    # -- the scheduler ---------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is mail: run at the loop's next turn."""
        self.scheduled = True
        try:
            self.loop.call_soon(self.pump, context=self._context)
        except RuntimeError as error:
            self.scheduled = False
            self.detach()
            raise _closed() from error

    def pump(self) -> None:
        """Give turns to the actors that have mail, for one slice."""
        self.scheduled = True
        self.credit = CREDIT
        end = perf_counter() + SLICE_S
        ready, urgent, turn = self.ready, self.urgent, self.turn
        handled = 0
        try:
            while True:
                if urgent:
                    handled += turn(urgent.popleft(), True)
                elif ready:
                    handled += turn(ready.popleft(), False)
                else:
                    break
                if handled >= BATCH:  # the clock costs as much as a small message
                    handled = 0
                    if perf_counter() > end:
                        break
        finally:  # whatever one actor does, the others go on
            if urgent or ready:
                self.wake()
            else:
                self.scheduled = False

    def turn(self, ref: LoopRef[Any], urgent: bool) -> int:
        """Let one actor handle some of its mail; returns how many messages."""
        if ref._state != READY:
            return 1  # it had its turn out of order
        queued = urgent and (ref._first is not EMPTY or bool(ref._mail))
        item = ref._next(urgent)
        ref._state = BUSY
        if item is EMPTY:  # all who asked have given up
            self.after(ref, queued)
            return 1
        actor, left = ref._actor, BATCH
        receive = actor.on_receive
        self.stack.append(ref)
        try:
            while True:
                left -= 1
                reply, message = None, item
                if type(item) is Ask:
                    reply, message = item.reply, item.message
                try:
                    special = SPECIAL.get(type(message))
                    value = receive(message) if special is None else special(actor, message)
                    if type(value) is CoroutineType:
                        value = self.begin(value)
                        if type(value) is Parked:
                            value.carry(ref, reply)
                            return BATCH - left
                except (Exception, asyncio.CancelledError):
                    ref._failed(reply)
                except BaseException:
                    ref._collapsed(reply)
                else:
                    if reply is not None:
                        reply._settle(DONE, value)
                if ref._state != BUSY or left == 0 or (item := ref._next(urgent)) is EMPTY:
                    break
        finally:
            self.stack.pop()
            ref._count += BATCH - left
            self.turns += 1
        self.after(ref, queued)
        return BATCH - left

    def after(self, ref: LoopRef[Any], queued: bool = False) -> None:
        """A turn has ended: back into the run queue, or idle.

        Args:
            ref: Whose turn it was.
            queued: Whether it still has its place in the run queue, because its turn was an urgent one.
        """
        if ref._state != BUSY:
            ref._ended()
            return
        mail, ties = ref._mail, ref._ties
        if ties is not None and ties.urgent:
            ref._state = READY
            self.urgent.append(ref)
        if ref._first is not EMPTY or mail:
            ref._state = READY
            if not queued:
                self.ready.append(ref)
        elif mail is not None:
            ref._mail = None
            if len(self.spare_queues) < SPARES:
                self.spare_queues.append(mail)
        if ref._state == BUSY:
            ref._state = IDLE
        elif not self.scheduled:
            self.wake()

    def begin(self, work: "CoroutineType[Any, Any, Any]") -> Any:
        """Take the first step of a handler.

        Returns:
            What it returned, or the `Parked` that carries it on.

        Raises:
            BaseException: What it raised.
        """
        spares, loop = self._spares, self.loop
        parked = spares.pop() if spares else Parked(self)
        while parked.gate.is_open:  # somebody has cancelled it while it waited here
            parked = spares.pop() if spares else Parked(self)
        before = swap_current_task(loop, parked.task)
        try:
            awaited = parked.context.run(work.send, None)
        except BaseException as end:
            swap_current_task(loop, before)
            self._keep(parked)
            if type(end) is StopIteration:
                return end.value
            raise
        swap_current_task(loop, before)
        parked.take(work, awaited)
        return parked

    def _keep(self, parked: Parked) -> None:
        """A carrier has nothing to carry any more: keep it for the next handler, or let it end."""
        if len(self._spares) < CARRIERS and parked.is_clean():
            self._spares.append(parked)
        else:
            parked.task.cancel()

    def returned(self, parked: Parked) -> None:
        """A carrier has carried its handler to the end, and will wait for the next one."""
        if not self._returned:
            self.loop.call_soon(self._take_back, context=self._context)
        self._returned.append(parked)

    def _take_back(self) -> None:
        returned, self._returned = self._returned, []
        for parked in returned:
            self._keep(parked)

    # -- for `waits` -----------------------------------------------------------------------------------------

    def help(self, future: Future) -> None:
        """Handle the mail of the actor that was asked before its asker begins to wait: mostly it need not then.

        It costs the same credit as asks that are answered on the stack, so that the event loop gets its turns.
        """
        target: Any = future._target
        while target._state == READY and len(self.stack) < DEPTH and self.credit > 0:
            self.credit -= self.turn(target, bool(target._ties and target._ties.urgent))
            if future._state != PENDING:
                return

    def work_off(self, future: Future) -> bool:
        """Handle the mail of the actor that was asked until it has replied.

        Raises:
            CallerMistaken: That does not bring the reply; to wait would block the loop that it needs.
            Deadlock: The actors wait for each other.
        """
        target = future._target
        while target is not None and target._home is self and target._state == READY:
            self.turn(target, bool(target._ties and target._ties.urgent))
            if future._state != PENDING:
                return True
        if future._state != PENDING:
            return True
        me = waits.who()
        if me is not None:
            waits.begin(me, future)
            waits.end(me, future)
        raise CallerMistaken(
            "to wait here would block the event loop that the reply needs",
            "await the future, or move the blocking code into a PoolActor",
        )

    def is_carrier(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task is one that stands in for handlers that begin."""
        return getattr(task.get_coro(), "cr_code", None) is CARRIER

    def blocking(self, more: int) -> None:
        """Nothing on this thread may block."""


def _closed() -> ActorGone:
    return ActorGone("the event loop of this actor has been closed", "start it on a running one")


# -- which loop ------------------------------------------------------------------------------------------------

_background = Loop()
"""Where actors live that are started outside every event loop, as pykka's are."""


def present_loop() -> Loop:
    """The scheduler of the running event loop; outside one, that of a thread in the background."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return _background
    home: Loop | None = waits.homes.get(loop)
    if home is None:
        for other in list(waits.homes.values()):
            if other.loop.is_closed():
                other.detach()
        home = Loop()
        home.attach()
    return home


async def _ending(home: Loop) -> AsyncGenerator[None, None]:
    """Notices that a loop is over: the last that it does is to close its asynchronous generators."""
    try:
        yield
    finally:
        home.detach()
