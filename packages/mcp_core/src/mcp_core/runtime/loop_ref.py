"""The ref of an actor that lives on an event loop.

An ask of an idle actor is answered on the asker's own stack: its mailbox is empty, so the order of messages is kept,
and nothing is scheduled at all. Everything else goes through the mailbox and the scheduler, which is in `loop`.
"""

import asyncio
import logging
from _thread import get_ident
from collections import deque
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcp_core.runtime.cell import CALL_TIMEOUT_S, Ref
from mcp_core.runtime.exits import KILLED, Exit
from mcp_core.runtime.future import DONE, FAILED, PENDING, Future, settled
from mcp_core.runtime.life import ASLEEP, BUSY, DEAD, DYING, EMPTY, IDLE, READY
from mcp_core.runtime.messages import SPECIAL, Ask
from mcp_core.runtime.parked import Parked
from mcp_interface.errors import UmbrellaError

if TYPE_CHECKING:
    from mcp_core.runtime.loop import Loop

A = TypeVar("A", bound=Any)

log = logging.getLogger(__name__)

DEPTH: Final = 24
"""Handlers on one stack; beyond it an ask goes through the mailbox."""


class LoopRef(Ref[A]):
    """The ref of an actor that lives on an event loop. Every method may be used from any thread."""

    __slots__ = ()

    _home: "Loop"

    def tell(self, message: Any, *, urgent: bool = False) -> None:
        """Send without an answer.

        Args:
            message: Anything.
            urgent: Whether it overtakes what waits, here and in the run queue.

        Raises:
            ActorGone: The actor has ended.
            TooMuch: Its mailbox is full, and turns new messages away.
        """
        home = self._home
        if get_ident() != home.ident:
            if self._state >= DYING and self._is_over():
                raise self._gone_error()
            home.post(self, message, urgent)
        elif self._state == IDLE and not urgent:
            self._state = READY
            self._first = message
            home.ready.append(self)
            if not home.scheduled:
                home.wake()
        else:
            self._queue(message, urgent)

    def ask(
        self, message: Any, *, block: bool = True, timeout: float | None = None, urgent: bool = False
    ) -> Any:
        """Send and get the reply; as pykka's.

        Args:
            message: Anything.
            block: Whether to wait here; a coroutine passes False and awaits the future, or uses `call`.
            timeout: Seconds to wait here.
            urgent: Whether it overtakes what waits.

        Returns:
            The reply, or a future of it.
        """
        home = self._home
        here = get_ident() == home.ident
        if here and self._state == IDLE and len(home.stack) < DEPTH and (block or home.credit > 0):
            try:
                value = self._answer(message)
            except Exception as error:
                if block:
                    raise
                future = Future(self)
                future.set_exception((type(error), error, error.__traceback__))
                return future
            if type(value) is not Parked:
                return value if block else settled(value)
            future = Future(self)
            value.reply = future
        elif self._state >= DYING and self._is_over():
            future = self._gone_future()
        else:
            future = Future(self)
            self._bring(Ask(message, future), urgent)
        return self._get(future, timeout) if block else future

    def _bring(self, item: Ask, urgent: bool) -> None:
        """Put an ask in, from any thread; what prevents it is told to whoever asked."""
        try:
            if get_ident() == self._home.ident:
                self._queue(item, urgent)
            else:
                self._home.post(self, item, urgent)
        except UmbrellaError as error:
            if item.reply._state == PENDING:
                item.reply._settle(FAILED, (type(error), error, None))

    async def call(self, message: Any, *, timeout: float = CALL_TIMEOUT_S, urgent: bool = False) -> Any:
        """As `Ref.call`; an idle actor answers on this stack, without a future."""
        home = self._home
        if self._state == IDLE and get_ident() == home.ident and len(home.stack) < DEPTH and home.credit > 0:
            value = self._answer(message)
            if type(value) is not Parked:
                return value
            future = value.reply = Future(self)
        else:
            future = self.ask(message, block=False, urgent=urgent)
            if future._state == PENDING and get_ident() == home.ident:
                home.help(future)
            if future._state == DONE:
                return future._value
        return await self._within(future, timeout)

    # -- on the loop's own thread ----------------------------------------------------------------------------

    def _answer(self, message: Any) -> Any:
        """Handle a message now, on the asker's stack; a `Parked` when the handler waits for something.

        Raises:
            Exception: What the handler raised.
        """
        home, actor = self._home, self._actor
        home.credit -= 1
        self._state = BUSY
        home.stack.append(self)
        try:
            special = SPECIAL.get(type(message))
            value = actor.on_receive(message) if special is None else special(actor, message)
            if type(value) is CoroutineType:
                value = home.begin(value)
                if type(value) is Parked:
                    value.carry(self, None)
                    return value
        except Exception:
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s answered with an error", self.label, exc_info=True)
            home.after(self)
            raise
        except asyncio.CancelledError as error:
            home.after(self)
            raise self._cancelled_error() from error
        except BaseException as error:
            self._collapsed(None)
            raise self._gone_error("ended the program instead of answering") from error
        finally:
            home.stack.pop()
            self._count += 1
        if self._state == BUSY and not self._mail and self._ties is None:
            self._state = IDLE
        else:
            home.after(self)
        return value

    def _queue(self, item: Any, urgent: bool) -> None:
        """Put a message into the mailbox, on the loop's thread."""
        home, state = self._home, self._state
        if state >= DYING and self._is_over():
            if type(item) is not Ask:
                raise self._gone_error()
            item.reply._settle(FAILED, (None, self._gone_error(), None))
            return
        if urgent:
            self._urgent_mail().append(item)
            if state <= READY:  # else at the end of its turn
                home.urgent.append(self)
        elif state == IDLE:
            self._first = item
            home.ready.append(self)
        else:
            mail = self._mail
            if mail is None:
                self._mail = mail = home.spare_queues.pop() if home.spare_queues else deque()
                if state == READY and self._first is EMPTY:  # so far for urgent mail alone
                    home.ready.append(self)
            elif len(mail) >= self.actor_class.mailbox_limit and not self._full(item, mail):
                return
            mail.append(item)
        if state == IDLE:
            self._state = READY
            if not home.scheduled:
                home.wake()
        elif state == ASLEEP:
            self._rouse()

    def _next(self, urgent: bool) -> Any:
        """Take the next message out of the mailbox; EMPTY is none."""
        while True:
            item = self._first
            if urgent:
                ties = self._ties
                item = ties.urgent.popleft() if ties is not None and ties.urgent else EMPTY
            elif item is not EMPTY:
                self._first = EMPTY
            else:
                mail = self._mail
                if not mail:
                    return EMPTY
                item = mail.popleft()
            if type(item) is Ask and item.reply._state != PENDING:
                continue  # whoever asked has given up
            return item

    def _put(self, item: Any) -> None:
        """Put a message in, from any thread."""
        if get_ident() == self._home.ident:
            self._queue(item, False)
        else:
            self._home.post(self, item, False)

    def kill(self, reason: Exit = KILLED) -> None:
        """End now: no message more is handled, and a handler that waits is cancelled.

        A handler that computes is not interrupted: nothing can stop it.
        """
        if get_ident() != self._home.ident:
            self._home.run_there(partial(self.kill, reason))
            return
        if self._state == DEAD:
            return
        if self._state not in (BUSY, DYING):
            self._leave(reason)
            return
        ties = self._tied()
        if ties.exit is not None:  # a second cancellation would disturb what it does at its end
            return
        ties.exit = reason
        self._state = DYING
        parked = self._home.suspended.get(self)
        if parked is not None:
            parked.task.cancel()

    def abandon(self, reason: Exit = KILLED) -> None:
        """End now and do not wait for a handler that resists cancellation: what it does is not looked at."""
        if get_ident() != self._home.ident:
            self._home.run_there(partial(self.abandon, reason))
            return
        parked = self._home.suspended.get(self)
        if parked is not None:
            parked.drop()
        elif self in self._home.stack:  # below us on this very stack: it goes on, whatever we say
            self.kill(reason)
            return
        if self._state != DEAD:
            self._leave(reason)

    def _withdraw(self, future: Future) -> None:
        if not self.actor_class.interruptible:
            return
        if get_ident() != self._home.ident:
            self._home.run_there(partial(self._withdraw, future))
            return
        parked = self._home.suspended.get(self)
        if parked is not None and parked.reply is future:
            parked.task.cancel()
