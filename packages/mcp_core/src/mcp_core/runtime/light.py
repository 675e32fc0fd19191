"""Actors that own no thread: pykka's actors, with pykka's refs, futures, proxies and registry.

`Actor` runs on an event loop and may handle messages with coroutines. `PoolActor` runs on a shared pool of threads and
may block. Both handle one message at a time. pykka's `ThreadingActor` remains for code that must stay on one thread.

    class Counter(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        async def on_receive(self, message: int) -> int:
            self.count += message
            return self.count

    ref = Counter.start()
    assert await ref.call(1) == 1

Context variables: an `async def` handler begins with an empty context, and what it sets is gone when it ends. A plain
one runs in its asker's context or in one that all share: it resets what it sets. `on_start`, `on_receive` and `on_stop`
may be coroutines, `on_failure` may not.
"""

import logging
from _thread import get_ident
from abc import abstractmethod
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import pykka

from mcp_core.runtime.adoption import adopted, adopting
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.future import Future
from mcp_core.runtime.inbox import Inbox, Stopped
from mcp_core.runtime.life import EMPTY, IDLE
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.loop_ref import LoopRef
from mcp_core.runtime.messages import BEGIN
from mcp_core.runtime.pool import Pool, PoolRef
from mcp_core.runtime.roll import enrol

log = logging.getLogger("pykka")

MAILBOX: Final = 10_000


if TYPE_CHECKING:

    class PykkaActor:
        """`pykka.Actor` without its hooks, which pykka types as plain functions; ours may be coroutines."""

        def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...
        def on_receive(self, message: Any) -> Any: ...
        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None: ...
        def stop(self) -> None: ...
else:
    PykkaActor = pykka.Actor


class LightActor(PykkaActor):
    """What both kinds share."""

    __slots__ = ("_actor_ref",)

    mailbox_limit: ClassVar[int] = MAILBOX
    """Messages that may wait; urgent ones are not counted."""
    mailbox_policy: ClassVar[Literal["reject", "drop_oldest"]] = "reject"
    """What becomes of one too many. Senders that can wait use `ref.send`, which waits for room."""
    interruptible: ClassVar[bool] = True
    """Whether a handler is cancelled when whoever asked gives up."""
    traps_exits: ClassVar[bool] = False
    """Whether the end of a linked actor comes as a `Down` message and not as this one's end."""
    passivates: ClassVar[bool] = False
    """Whether it may leave memory while nobody needs it; its state must be somewhere else then."""
    _begins: ClassVar[bool] = False

    _ref_class: ClassVar[type[Ref[Any]]]
    _actor_ref: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._begins = cls.on_start is not LightActor.on_start

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        ref = adopted()
        if ref is None:
            kind = type(self)
            ref = kind._ref_class.__new__(kind._ref_class)
            ref._actor = self
            ref._first = EMPTY
            ref._mail = None
            ref._state = IDLE
            ref._number = 0
            ref._count = 0
            ref._ties = None
            ref._home = self._find_home()
            ref.actor_class = kind
        self._actor_ref = ref

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an actor and let it begin; returns its ref."""
        if not adopting:
            return launch(cls(*args, **kwargs))
        thread = get_ident()  # one that is being restarted starts another first: the ref is not for that one
        ref = adopting.pop(thread, None)
        try:
            return launch(cls(*args, **kwargs))
        finally:
            if ref is not None:
                adopting[thread] = ref

    def on_start(self) -> Any:
        """Run before the first message; may be a coroutine. To raise is to crash."""

    def on_stop(self) -> Any:
        """Run after the last message of an actor that stops in order; may be a coroutine."""

    def may_rest(self) -> bool:
        """Whether it holds nothing now that is not somewhere else too; asked before it leaves memory."""
        return True

    def on_leave(self) -> None:
        """Run when an incarnation is over without having stopped in order: it crashed or was killed.

        Ends what would go on beside the next incarnation. Must be quick and must not raise.
        """

    @property
    def actor_ref(self) -> Any:
        """Where others send to this actor."""
        return self._actor_ref

    @property
    def actor_urn(self) -> str:
        """The actor's unique name."""
        urn: str = self._actor_ref.actor_urn
        return urn

    @property
    def actor_inbox(self) -> Any:
        """The mailbox as pykka knows it."""
        return Inbox(self._actor_ref)

    @property
    def actor_stopped(self) -> Any:
        """Whether it has ended, as pykka knows it."""
        return Stopped(self._actor_ref)

    @staticmethod
    def _create_actor_inbox() -> Any:
        raise NotImplementedError("the ref is the mailbox")

    @staticmethod
    def _create_future() -> Future:
        return Future()

    def _start_actor_loop(self) -> None:
        launch(self)

    @abstractmethod
    def _find_home(self) -> Any:
        """What runs it."""

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not log.isEnabledFor(logging.ERROR):  # to write out who it was takes longer than a restart
            return
        trace = (exception_type, exception_value, traceback)
        log.error(f"Unhandled exception in {self}:", exc_info=trace)  # type: ignore[arg-type]


def launch(actor: LightActor) -> Any:
    """Let an actor begin that has been made; returns its ref."""
    ref = actor._actor_ref
    enrol(ref, None)
    if log.isEnabledFor(logging.DEBUG):
        log.debug(f"Registered {ref}")
        log.debug(f"Starting {actor}")
    if actor._begins:
        ref._put(BEGIN)
    return ref


class Actor(LightActor):
    """An actor on the event loop it was started on; outside a loop, on one in the background."""

    __slots__ = ()

    _ref_class = LoopRef
    _find_home = staticmethod(present_loop)


class PoolActor(LightActor):
    """An actor for code that blocks: its handlers run on a pool of threads that all such actors share."""

    __slots__ = ()

    _ref_class = PoolRef
    pool: ClassVar[Pool] = Pool()

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        ref = self._actor_ref
        if ref._mail is None:
            ref._mail = deque()
            ref.prepare()

    def _find_home(self) -> Pool:
        return self.pool


__all__ = ["Actor", "LightActor", "PoolActor", "launch"]
