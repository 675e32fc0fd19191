"""A call that its server works for as a task of its own: asked about until it is over, over as many connections as it takes.

The task outlives the connection on which it was begun, and this process: its id is made durable before anything else,
and whoever takes the call up asks about the same task instead of calling again. A poll that fails says nothing about the
task; it is tried again, for as long as the server is not away for good. Knows nothing of the SDK; what travels is in
`tasks_client`.

Source: Model Context Protocol extension `io.modelcontextprotocol/tasks` (SEP-2663).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from mcp_core.protocol.deadline import Deadline
from mcp_core.protocol.errand import Errand, make_handle
from mcp_core.runtime.backoff import pause
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    Interrupted,
    NotFound,
    ServerUnavailable,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.question import Inquiry, Response
from mcp_interface.tool import ToolResult

log = logging.getLogger(__name__)

POLL_S: Final = 30.0
"""For one request about a task."""
AWAY_S: Final = 3_600.0
"""So long its server may be away before a task counts as lost."""
SOONEST: Final = 0.05
USUAL: Final = 1.0
LATEST: Final = 60.0
"""Seconds between two polls: at least, where the server says nothing, at most."""
NONSENSE: Final = 5
"""Answers in a row that cannot be used, after which no more are asked for."""

T = TypeVar("T")


class Begun(Exception):
    """A server has taken a call as a task, which the errand names; not an error."""


class RemoteTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its server describes it."""

    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    message: str = ""
    poll_s: float | None = None
    """After how many seconds the server wants to be asked again."""
    asked: list[Inquiry] = []
    """What it wants to know before it goes on."""
    result: ToolResult | None = None
    error: UmbrellaError | None = None


class TaskLink(Protocol):
    """What is needed of a live connection (`mcp_core.protocol.link.Link`)."""

    async def poll_task(self, errand: Errand) -> RemoteTask:
        """How the task of an errand is."""
        ...

    async def answer_task(self, errand: Errand, responses: dict[str, Response]) -> None:
        """Answer what it wants to know."""
        ...

    async def cancel_task(self, errand: Errand) -> None:
        """Ask the server to stop it."""
        ...


Reach = Callable[[float], Awaitable[TaskLink]]
"""The live connection, waited for until a moment of the monotonic clock."""


class Following:
    """Sees one remote task to its end.

    Args:
        errand: The call; names the task.
        reach: Finds the connection of the moment.
        clock: For the pauses between polls.
        entropy: For their jitter while the server is away.
        stopping: Whether our node is about to stop: then the task goes on, for the next process to ask about.
    """

    def __init__(
        self, errand: Errand, reach: Reach, clock: Clock, entropy: Entropy, stopping: Callable[[], bool]
    ) -> None:
        self._errand = errand
        self._reach = reach
        self._clock = clock
        self._entropy = entropy
        self._stopping = stopping
        self._answers: dict[str, Response] = dict(errand.responses or {})
        """What was answered, by key; it is delivered for as long as the server says that it waits for it."""
        self._asking: dict[str, asyncio.Task[dict[str, Response]]] = {}
        """Who is being asked, by key."""
        self._over = False
        """Whether there is nothing left that could be cancelled."""

    async def run(self) -> ToolResult:
        """Wait for the end; cancelling this asks the server to cancel the task.

        Raises:
            Interrupted: The server has cancelled it, no longer knows it, or was away for too long.
            NotPermitted: A question was refused without whose answer it cannot go on.
            UmbrellaError: What became of the call, as without a task.
        """
        try:
            await self._keep()
            with self._errand.deadline.paused():  # the server keeps its own time for a task
                return await self._ended()
        except asyncio.CancelledError:
            self._over = self._over or self._stopping()
            raise
        finally:
            await self._end_asking(self._asking.values())
            if not self._over:
                await self._give_up()

    async def _keep(self) -> None:
        context = self._errand.context
        resumed = context is not None and context.resumption is not None
        if context is not None and context.keep is not None and not resumed:
            await context.keep(make_handle(None, (), task=self._errand.task))

    async def _ended(self) -> ToolResult:
        answered_at, failures, nonsense = self._clock.monotonic(), 0, 0
        while True:
            try:
                found = await self._polled()
            except (CallerMistaken, NotFound) as error:
                self._over = True
                raise self._forgotten(error) from error
            except (Interrupted, ServerUnavailable, DeadlineExceeded, WorldBroken) as error:
                failures += 1
                nonsense = nonsense + 1 if isinstance(error, WorldBroken) else 0
                away = self._clock.monotonic() - answered_at
                if nonsense >= NONSENSE or away >= AWAY_S or _gone_for_good(error):
                    raise self._lost(error) from error
                log.info("a task of %s could not be asked about: %s", self._errand.server, error)
                await self._clock.sleep(pause(failures, self._entropy))
                continue
            answered_at, failures, nonsense = self._clock.monotonic(), 0, 0
            if found.status in {"completed", "failed", "cancelled"}:
                self._over = True
                if found.result is not None:
                    return found.result
                raise found.error or self._interrupted("has cancelled it")
            await self._attend(found)

    async def _polled(self) -> RemoteTask:
        """How the task is, once all is delivered that it is known to wait for."""
        found = await self._on_link(lambda link, errand: link.poll_task(errand))
        due = {one.key: self._answers[one.key] for one in found.asked if one.key in self._answers}
        if not due:
            return found
        await self._on_link(lambda link, errand: link.answer_task(errand, due))
        return await self._on_link(lambda link, errand: link.poll_task(errand))

    async def _attend(self, found: RemoteTask) -> None:
        """Show how it is, ask what is new, and wait until it is time to look again."""
        await self._errand.progressed(0.0, found.message)
        wanted = {one.key for one in found.asked}
        await self._end_asking([each for key, each in self._asking.items() if key not in wanted])
        new = [one for one in found.asked if one.key not in self._answers and one.key not in self._asking]
        if new:
            self._errand.kinds |= {one.key: one.kind for one in new}
            handle = make_handle(None, found.asked, task=self._errand.task)
            asking = asyncio.create_task(self._errand.ask(new, handle))
            self._asking |= {one.key: asking for one in new}
        seconds = USUAL if found.poll_s is None else min(LATEST, max(SOONEST, found.poll_s))
        waking = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({waking, *self._asking.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            await asyncio.gather(waking, return_exceptions=True)
        for asking in {each for each in self._asking.values() if each.done()}:
            self._drop(asking)
            self._answers |= asking.result()

    async def _end_asking(self, pointless: Iterable[asyncio.Task[dict[str, Response]]]) -> None:
        """What the server no longer wants to know, nobody needs to answer."""
        for asking in set(pointless):
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._drop(asking)

    def _drop(self, asking: asyncio.Task[dict[str, Response]]) -> None:
        self._asking = {key: each for key, each in self._asking.items() if each is not asking}

    async def _on_link(self, work: Callable[[TaskLink, Errand], Awaitable[T]]) -> T:
        whole = self._errand
        context = whole.context and msgspec.structs.replace(whole.context, resumption=None)
        deadline = Deadline(POLL_S, self._clock)
        errand = Errand(whole.server, whole.kind, whole.name, deadline, context, whole.roots)
        errand.task, errand.kinds = whole.task, whole.kinds
        return await work(await self._reach(deadline.at), errand)

    async def _give_up(self) -> None:
        """Nobody waits any more: the server hears so, if it can be told soon."""

        async def tell() -> None:
            with suppress(UmbrellaError):
                await self._on_link(lambda link, errand: link.cancel_task(errand))

        telling = asyncio.ensure_future(tell())
        await asyncio.wait({telling}, timeout=1.0)
        telling.cancel()

    def _forgotten(self, error: UmbrellaError) -> Interrupted:
        return self._interrupted(f"no longer knows it: {error.message[:300]}")

    def _lost(self, error: UmbrellaError) -> Interrupted:
        return self._interrupted(f"cannot be asked about it: {error.message[:300]}")

    def _interrupted(self, what: str) -> Interrupted:
        errand = self._errand
        return Interrupted(
            f"server {errand.server!r} took {errand.what} as a task and {what}",
            "it may or may not have taken effect; look before you call again",
            {**errand.details, "task": errand.task},
        )


def _gone_for_good(error: UmbrellaError) -> bool:
    """Whether somebody has taken the server away."""
    return isinstance(error, ServerUnavailable) and error.details.get("state") == "stopped"
