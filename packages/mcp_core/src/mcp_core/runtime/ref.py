"""The address of an actor that stays good when the actor is restarted."""

import asyncio
from typing import Any

import pykka

from mcp_core.runtime.actor import Promise
from mcp_interface.errors import DeadlineExceeded, NotFound, TooMuch, UmbrellaError, error_from

MAILBOX = 10_000
"""Messages that may wait for one actor. What the runtime itself sends, such as a stop, always gets in."""
ASK_TIMEOUT = 30.0
"""Seconds an ask waits unless told otherwise."""


class Ref:
    """Send to an actor by name. Made by the supervisor, which points it at each new incarnation.

    Used on the node's event loop only.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._target: pykka.ActorRef[Any] | None = None
        self._up = asyncio.Event()
        self._gone = False
        self._cause: BaseException | None = None

    def __repr__(self) -> str:
        return f"Ref({self.name})"

    @property
    def is_alive(self) -> bool:
        """Whether a message would be taken now."""
        return self._target is not None and self._target.is_alive()

    def point(
        self,
        target: pykka.ActorRef[Any] | None,
        *,
        gone: bool = False,
        cause: BaseException | None = None,
    ) -> None:
        """Set the present incarnation; `gone` says that there will be no other, `cause` why."""
        self._target = target
        self._gone = gone
        self._cause = cause
        if target is not None or gone:
            self._up.set()
        else:
            self._up.clear()

    def tell(self, message: Any) -> None:
        """Send without an answer.

        Raises:
            NotFound: The actor is not running now.
            TooMuch: Its mailbox is full.
            UmbrellaError: What it was given up for.
        """
        target = self._running()
        try:
            target.tell(message)
        except pykka.ActorDeadError as error:
            raise self._missing() from error

    async def ask(self, message: Any, timeout: float = ASK_TIMEOUT) -> Any:
        """Send and wait for the answer; waits through a restart.

        Args:
            message: Anything the actor understands.
            timeout: Seconds for everything together.

        Raises:
            NotFound: The actor has ended for good.
            UmbrellaError: What it was given up for.
            TooMuch: Its mailbox is full.
            DeadlineExceeded: No answer in time; the actor may still be working on it.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._up.wait()
                    target = self._running()
                    promise = target.ask(message, block=False)
                    if not isinstance(promise, Promise):
                        raise TypeError(f"{self.name} is not an actor of this runtime")
                    try:
                        return await asyncio.wrap_future(promise.outcome)
                    except pykka.ActorDeadError:
                        # It died before it came to this message; the supervisor heard of a crash before us.
                        if self._target is target:
                            raise
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{self.name} did not answer within {timeout:g} s", "the work may still be going on"
            ) from error
        except pykka.ActorDeadError as error:
            raise self._missing() from error

    async def stop(self, timeout: float) -> None:
        """Ask it to end after the messages it has; does nothing when it is down.

        Raises:
            DeadlineExceeded: It was still busy.
        """
        target = self._target
        if target is None or not target.is_alive():
            return
        from pykka.messages import _ActorStop  # pykka offers no awaitable stop

        promise = target.ask(_ActorStop(), block=False)
        if isinstance(promise, Promise):
            try:
                await asyncio.wait_for(asyncio.wrap_future(promise.outcome), timeout)
            except pykka.ActorDeadError:
                return
            except TimeoutError as error:
                raise DeadlineExceeded(f"{self.name} was still busy after {timeout:g} s") from error

    def _running(self) -> pykka.ActorRef[Any]:
        target = self._target
        if target is None or not target.is_alive():
            raise self._missing()
        # Not a bounded queue: it would block, on the event loop that the actor needs to work it off.
        if target.actor_inbox.qsize() >= MAILBOX:  # type: ignore[attr-defined]  # a queue.Queue
            raise TooMuch(f"the mailbox of {self.name} is full", "wait for it to work through its messages")
        return target

    def _missing(self) -> UmbrellaError:
        if isinstance(self._cause, UmbrellaError):
            return error_from(self._cause.body())
        how = "has ended" if self._gone else "is not running now"
        return NotFound(f"{self.name} {how}", "list the agents to see what is running")
