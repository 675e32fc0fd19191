"""Requests that are under way on one link: each in a task of its own, each with a deadline. Imports the SDK.

Whatever the SDK cancels when a server dies is such a task, never whoever waits for it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from mcp.shared.exceptions import MCPError

from mcp_core.protocol.errand import CURRENT, Errand
from mcp_core.protocol.expansion import Expanded
from mcp_core.protocol.following import Begun
from mcp_core.protocol.reach import Lost, NotSent
from mcp_core.protocol.watch import Watch
from mcp_core.protocol.wire import refusal
from mcp_interface.errors import DeadlineExceeded, NotPermitted, UmbrellaError

T = TypeVar("T")
_MOURNING: Final = 1.0
"""Seconds for an abandoned request to tell the server that nobody waits any more."""
_LAST_WORDS: Final = 0.2
_LOST: Final = ("Connection closed", "SSE stream ended")
"""How the SDK begins the errors that it makes itself when a connection ends under a request."""


class Requests:
    """What is asked of one server and not yet answered.

    Args:
        watch: Knows whether the connection lives, and hears when it seems not to.
        expanded: Knows the secrets that the server was given, which are taken out of all that it says.
    """

    def __init__(self, watch: Watch, expanded: Expanded) -> None:
        self._watch = watch
        self._expanded = expanded
        self._under_way: dict[asyncio.Task[Any], Errand] = {}

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    async def run(self, errand: Errand, work: Coroutine[Any, Any, T]) -> T:
        """Do the work of an errand; cancelling this, or its deadline, tells the server to stop.

        Errors, progress and log lines are without the secrets of the server's entry.

        Raises:
            NotSent: The server was not there; nothing has happened.
            Lost: The connection ended under the request.
            DeadlineExceeded: No answer, and no progress, in time.
            Begun: The server works for it as a task.
            NotPermitted: It was refused on the way.
            UmbrellaError: The server refused.
        """
        errand.redact, errand.redact_data = self._expanded.redact, self._expanded.redact_data

        async def marked() -> T:
            CURRENT.set(errand)
            return await work

        task = asyncio.create_task(marked())
        self._under_way[task] = errand
        task.add_done_callback(self._forget)
        try:
            while not task.done() and (left := errand.deadline.left()) > 0:
                await asyncio.wait({task}, timeout=left)
            if not task.done():
                raise DeadlineExceeded(
                    f"server {errand.server!r} did not answer {errand.what} in {errand.deadline.seconds:g} s; "
                    "it was told to stop",
                    "allow more time, or look into the server's log",
                    errand.details,
                )
        finally:
            errand.close()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_MOURNING)
        return self._outcome(errand, task)

    def whose(self) -> Errand | None:
        """Which request the server means that asks or says something just now; None where that is not certain.

        Certain it is on the answering stream of the request, and where all that is under way is for one party; of
        several the latest is taken.
        """
        current = CURRENT.get()
        under_way = list(self._under_way.values())
        if current is not None and current in under_way:
            return current
        return under_way[-1] if len({errand.party for errand in under_way}) == 1 else None

    def refuse(self, errand: Errand, error: NotPermitted) -> None:
        """End a request that may not go on; its server is told to stop, and what it answers nobody gets."""
        errand.refusal = error
        for task, mine in self._under_way.items():
            if mine is errand:
                task.cancel()

    async def cut(self) -> None:
        """End every request that is still under way; each becomes `Lost`.

        A moment first, in which the transport says which requests never arrived.
        """
        for seconds in (_LAST_WORDS, _MOURNING):
            if self._under_way:
                await asyncio.wait(list(self._under_way), timeout=seconds)
            for task in self._under_way:
                task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more

    def _outcome(self, errand: Errand, task: asyncio.Task[T]) -> T:
        if errand.refusal is not None:
            raise errand.refusal
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            self._watch.useful = True
            return task.result()
        if isinstance(error, UmbrellaError | Begun):
            raise error
        data = error.data if isinstance(error, MCPError) else None
        withheld = self._watch.withheld(data)
        if withheld is not None:
            raise withheld
        if data == self._watch.not_sent:
            raise NotSent(errand.redact(self._watch.broken or str(error)))
        if task.cancelled() or data == self._watch.cut or self._lost(error):
            self._watch.changed()
            reason = self._watch.broken or (str(error) if error is not None else "the connection was closed")
            raise Lost(
                f"server {errand.server!r} was lost while it ran {errand.what}: {errand.redact(reason)}",
                "it may or may not have taken effect; look before you call again",
                errand.details,
            ) from error
        if isinstance(error, Exception):
            raise refusal(errand, error) from error
        raise error if error is not None else asyncio.CancelledError

    def _lost(self, error: BaseException | None) -> bool:
        if isinstance(error, MCPError):
            return error.message.startswith(_LOST)
        return bool(self._watch.broken)
