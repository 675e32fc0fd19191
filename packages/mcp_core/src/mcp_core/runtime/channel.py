"""Messages to one target, in order, each handled at least once or accounted for as a dead letter.

One message is under way at a time: the target's answer to it is the acknowledgement, and the next one leaves only
then. An actor handles one message at a time anyway, so that order costs no speed. What is not acknowledged in time is
sent again after a pause that grows; after too many attempts, or when its time is over, it becomes a dead letter. A
target that is away keeps its queue. The receiver's side is `Seen`, which makes "at least once" into "once".

All of this is memory. What must survive the process is put into the outbox of the store (`mcp_persistence.outbox`)
together with the events it follows from; whoever empties the outbox sends through a channel with the entry's key as
`id`, and says `done` or `failed` to the outbox when the channel reports the message as settled. So the outbox keeps,
the channel delivers, and the receiver's `Seen` covers what both of them repeat.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from mcp_core.runtime.backoff import FIRST, LONGEST, pause
from mcp_core.runtime.dead_letters import DeadLetters, reason_of
from mcp_core.runtime.target import Target
from mcp_core.runtime.timers import Timer, Timers
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, NotFound, NotPermitted, TooMuch
from mcp_interface.ids import new_id

EXPIRED: Final = "expired"
"""Reason of a dead letter whose time was over."""
SEND_SECONDS: Final = 30.0
"""How long a sender waits for room unless told otherwise."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the target receives."""

    id: str
    """The same in every attempt."""
    payload: Any
    to: str
    sender: str = ""
    attempt: int = 1
    """Counted from one; a later one may be a repetition of what was handled."""
    sent_at: Instant
    expires_at: Instant | None = None


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a channel tries, and how much it holds."""

    ack_s: float = 30.0
    """Seconds until an attempt without an answer has failed."""
    attempts: int = 10
    """After so many a message is dead. Waiting for a target that is away is no attempt."""
    first_pause_s: float = FIRST
    longest_pause_s: float = LONGEST
    room: int = 1000
    """Messages that are kept."""
    senders: int = 1000
    """Senders that may wait for room."""

    def __post_init__(self) -> None:
        """Check, so that no channel keeps nothing or tries for ever."""
        if min(self.attempts, self.room) < 1 or self.senders < 0 or not self.ack_s > 0:
            raise CallerMistaken(
                f"{self} cannot deliver anything", "allow one attempt, one message and some time or more"
            )


USUAL: Final = Patience()

Settled: TypeAlias = Callable[[Delivery, str], object]
"""Told of each message once: delivered when the reason is empty, else a dead letter for that reason."""


class Channel:
    """From any number of senders to one target; used on one event loop.

    Args:
        to: Name of the target, also while it is away.
        timers: For pauses and expiry.
        clock: For the times that messages carry.
        entropy: For ids and jitter.
        letters: Where what is given up goes.
        target: Whom to send to; None until `attach`.
        patience: Limits.
        settled: Told what became of each message; must not raise.
    """

    def __init__(
        self,
        to: str,
        *,
        timers: Timers,
        clock: Clock,
        entropy: Entropy,
        letters: DeadLetters,
        target: Target | None = None,
        patience: Patience = USUAL,
        settled: Settled | None = None,
    ) -> None:
        self.to = to
        self._timers = timers
        self._clock = clock
        self._entropy = entropy
        self._letters = letters
        self._target = target
        self._patience = patience
        self._settled = settled
        self._queue: OrderedDict[int, _Item] = OrderedDict()
        self._senders: OrderedDict[asyncio.Future[None], _Item] = OrderedDict()
        self._count = 0
        self._under_way: _Item | None = None
        self._work: asyncio.Task[None] | None = None
        self._resting: Timer | None = None
        self._absences = 0
        self._closed = False
        self._emptied = asyncio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        """How many messages are kept, the one under way included."""
        return len(self._queue)

    # -- sending -----------------------------------------------------------------------------------------

    def offer(self, payload: Any, *, id: str = "", sender: str = "", expires_in: float | None = None) -> str:
        """Keep a message to be delivered, if there is room now.

        Args:
            payload: Anything.
            id: Tells the message from others, for the receiver; empty makes one.
            sender: For the target and for dead letters.
            expires_in: Seconds after which delivering it makes no sense; None means never.

        Returns:
            The id.

        Raises:
            TooMuch: There is no room, or others wait for it.
            NotFound: The channel is closed.
            CallerMistaken: It would expire at once.
        """
        item = self._make(payload, id, sender, expires_in)
        if not self._has_room():
            raise self._full()
        self._accept(item)
        return item.delivery.id

    async def send(
        self,
        payload: Any,
        *,
        id: str = "",
        sender: str = "",
        expires_in: float | None = None,
        timeout: float = SEND_SECONDS,
    ) -> str:
        """As `offer`, but wait for room, behind those who wait already.

        A sender that is cancelled while it waits may have been let in just before; then the message is delivered.

        Raises:
            DeadlineExceeded: There was no room within `timeout` seconds.
            TooMuch: Too many wait already.
            NotFound: The channel is closed, or was while this waited.
            CallerMistaken: As `offer`.
        """
        item = self._make(payload, id, sender, expires_in)
        if self._has_room():
            self._accept(item)
            return item.delivery.id
        if len(self._senders) >= self._patience.senders:
            raise self._full()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._senders[waiting] = item
        deadline = self._timers.after(timeout, partial(self._too_late, waiting, timeout))
        try:
            await waiting
        finally:
            deadline.cancel()
            self._senders.pop(waiting, None)
        return item.delivery.id

    # -- the target --------------------------------------------------------------------------------------

    def attach(self, target: Target) -> None:
        """Deliver to this one from now on, beginning at once with what is not acknowledged."""
        self._target = target
        self._absences = 0
        self._rest(None)
        self._begin()

    def detach(self) -> None:
        """Keep what comes until there is a target again. An attempt that is under way goes on."""
        self._target = None
        self._rest(None)

    # -- the end -----------------------------------------------------------------------------------------

    async def drain(self, timeout: float) -> bool:
        """Wait until nothing is kept any more, so many seconds at most; says whether that came."""
        late = asyncio.Event()
        timer = self._timers.after(timeout, late.set)
        waits = {asyncio.ensure_future(self._emptied.wait()), asyncio.ensure_future(late.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for wait in waits:
                wait.cancel()
        return self._emptied.is_set()

    async def close(self, reason: str = "closed") -> None:
        """Take nothing more; what is not acknowledged becomes dead letters. Harmless when repeated."""
        self._closed = True
        self._rest(None)
        work = self._work
        if work is not None:
            work.cancel()
            await asyncio.wait({work})
        for waiting in self._senders:
            if not waiting.done():
                waiting.set_exception(self._closed_error())
        for item in list(self._queue.values()):
            self._settle(item, reason)

    # -- inside ------------------------------------------------------------------------------------------

    def _make(self, payload: Any, id: str, sender: str, expires_in: float | None) -> "_Item":
        if self._closed:
            raise self._closed_error()
        if expires_in is not None and not expires_in > 0:
            raise CallerMistaken(
                f"a message to {self.to} would expire after {expires_in} s", "give it some time"
            )
        self._count += 1
        now = self._clock.now()
        delivery = Delivery(
            id=id or new_id("msg", self._entropy),
            payload=payload,
            to=self.to,
            sender=sender,
            sent_at=now,
            expires_at=None if expires_in is None else now + timedelta(seconds=expires_in),
        )
        return _Item(
            self._count, delivery, None if expires_in is None else self._clock.monotonic() + expires_in
        )

    def _has_room(self) -> bool:
        return len(self._queue) < self._patience.room and not self._senders

    def _accept(self, item: "_Item") -> None:
        if item.deadline is not None:
            left = item.deadline - self._clock.monotonic()
            if left <= 0:
                self._report(item, EXPIRED)
                return
            item.expiry = self._timers.after(left, partial(self._expire, item))
        self._queue[item.number] = item
        self._emptied.clear()
        self._begin()

    def _let_in(self) -> None:
        while self._senders and len(self._queue) < self._patience.room:
            waiting, item = self._senders.popitem(last=False)
            if not waiting.done():
                waiting.set_result(None)
                self._accept(item)

    def _begin(self) -> None:
        if self._work is None and self._resting is None and self._queue and self._target is not None:
            self._work = asyncio.get_running_loop().create_task(self._deliver(), name=f"channel {self.to}")

    async def _deliver(self) -> None:
        try:
            while self._queue and self._resting is None and self._target is not None:
                if self._target.is_alive():
                    self._absences = 0
                    await self._attempt(next(iter(self._queue.values())), self._target)
                else:
                    self._absences += 1
                    self._rest(self._absences)
        finally:
            self._work = None

    async def _attempt(self, item: "_Item", target: Target) -> None:
        self._under_way = item
        item.attempts += 1
        delivery = msgspec.structs.replace(item.delivery, attempt=item.attempts)
        try:
            await target.call(delivery, timeout=self._patience.ack_s)
        except Exception as error:  # whatever it is, it was no acknowledgement
            reason = EXPIRED if item.expired else verdict(error, item.attempts, self._patience.attempts)
        else:
            reason = ""
        finally:
            self._under_way = None
        if reason is not None:
            self._settle(item, reason)
        elif self._target is target:  # another one may have been attached meanwhile: that is tried at once
            self._rest(item.attempts)

    def _rest(self, failures: int | None) -> None:
        """Pause after so many failures; None ends a pause."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if failures is not None:
            limits = self._patience
            seconds = pause(
                failures, self._entropy, first=limits.first_pause_s, longest=limits.longest_pause_s
            )
            self._resting = self._timers.after(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._begin()

    def _expire(self, item: "_Item") -> None:
        if item is self._under_way:
            item.expired = True  # its answer may still come, and counts
        else:
            self._settle(item, EXPIRED)

    def _settle(self, item: "_Item", reason: str) -> None:
        if self._queue.pop(item.number, None) is None:
            return
        if item.expiry is not None:
            item.expiry.cancel()
        self._report(item, reason)
        self._let_in()
        if not self._queue:
            self._emptied.set()

    def _report(self, item: "_Item", reason: str) -> None:
        delivery = msgspec.structs.replace(item.delivery, attempt=max(1, item.attempts))
        if reason:
            self._letters.record(self.to, delivery, reason, delivery.sender)
        if self._settled is not None:
            self._settled(delivery, reason)

    def _too_late(self, waiting: asyncio.Future[None], seconds: float) -> None:
        if not waiting.done():
            waiting.set_exception(
                DeadlineExceeded(
                    f"the channel to {self.to} had no room within {seconds:g} s; nothing was sent",
                    "send less, or look why its target does not keep up",
                    {"to": self.to},
                )
            )

    def _full(self) -> TooMuch:
        return TooMuch(
            f"the channel to {self.to} holds {len(self._queue)} messages, and {len(self._senders)} wait for room",
            "wait for it to work through them",
            {"to": self.to},
        )

    def _closed_error(self) -> NotFound:
        return NotFound(f"the channel to {self.to} is closed", "open another", {"to": self.to})


def verdict(error: Exception, attempts: int, most: int) -> str | None:
    """The reason why a message is given up after this attempt; None to try it again."""
    # the target was reached and says that repeating cannot help
    hopeless = isinstance(error, CallerMistaken | NotPermitted)
    return reason_of(error) if hopeless or attempts >= most else None


class _Item:
    __slots__ = ("attempts", "deadline", "delivery", "expired", "expiry", "number")

    def __init__(self, number: int, delivery: Delivery, deadline: float | None) -> None:
        self.number = number
        self.delivery = delivery
        self.deadline = deadline
        """By the clock's `monotonic`."""
        self.attempts = 0
        self.expired = False
        self.expiry: Timer | None = None
