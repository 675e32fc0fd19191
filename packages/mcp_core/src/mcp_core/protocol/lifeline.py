"""One MCP server kept connected: opened when it is needed, watched, rebuilt after a pause.

`run` owns the connection and is meant to be owned itself, by `start` or by a supervised actor. Each attempt
lives in a task of its own that opens and closes the SDK's client; what the SDK cancels when a server dies is
that task, never the caller of a tool and never the owner. What a connection is used for stands in `connections`.

A lazy server rests until it is needed and again when it has not been needed for a while; a disabled one rests always.
"""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_core.protocol.doors import Doors
from mcp_core.protocol.expansion import Expanded, resolve
from mcp_core.protocol.offered import Offered
from mcp_core.protocol.reach import first_reason
from mcp_core.protocol.server_log import ServerLog
from mcp_core.protocol.standing import News, Standing
from mcp_core.protocol.watch import OfferKind, Watch
from mcp_core.runtime.backoff import pause
from mcp_interface.client import ResourceChanged
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    OurBug,
    ServerUnavailable,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.server import ServerSpec, ServerState, ServerStatus

if TYPE_CHECKING:
    from mcp_core.protocol.link import Link

CONNECT_SECONDS: Final = 120.0
"""For one attempt; a first start may have to install the server."""
PATIENCE: Final = 5.0
"""How long a call waits for a server that keeps failing."""
STABLE: Final = 10.0
"""After so many seconds of life, or one answer to somebody, a death counts as the first again."""
ENOUGH: Final = 12
"""Failures in a row after which only a call tries again."""
IDLE_SECONDS = 300.0
"""After so many seconds without use a lazy server goes back to rest."""
MAX_INSTRUCTIONS: Final = 20_000
_FAREWELL: Final = 8.0
_LOG_CHECK: Final = 60.0
_PUT_OFF: Final[frozenset[ServerState]] = frozenset({"waiting", "failed", "login"})
"""States in which an attempt has failed."""


class _Ended(msgspec.Struct, frozen=True):
    """Why an attempt ended."""

    reason: str
    hopeless: bool = False
    """Trying again cannot help until somebody changes something."""
    login: bool = False
    """Nor until somebody has logged in."""
    idle: bool = False
    """Nothing is wrong; nobody needs it."""


class Lifeline(Standing):
    """The life of one connection.

    Args:
        name: Valid by `SERVER_NAME`.
        spec: Valid, unexpanded.
        clock: For the pauses between attempts.
        entropy: For their jitter.
        log_dir: Where the server's stderr goes, into `mcp-<name>.log`.
        on_change: Told every new status, on the event loop; must not raise.
        on_news: Told what is offered anew and which watched resources changed, likewise.
        environment: Where `${VAR}` looks; None is the environment of the process.
        doors: What the node adds to the transport and the protocol.
        watched: Who wants to be told of which resources; whoever makes this may hand it on to a successor.
    """

    def __init__(
        self,
        name: str,
        spec: ServerSpec,
        *,
        clock: Clock,
        entropy: Entropy,
        log_dir: Path,
        on_change: Callable[[ServerStatus], None] | None = None,
        on_news: Callable[[News], None] | None = None,
        environment: Mapping[str, str] | None = None,
        doors: Doors | None = None,
        watched: dict[str, set[str]] | None = None,
    ) -> None:
        log = ServerLog(log_dir, name) if spec.transport == "stdio" else None
        super().__init__(name, spec, "" if log is None else str(log.path), clock, on_change, on_news, watched)
        self._log = log
        self._entropy = entropy
        self._environment = environment
        self._doors = doors or Doors()
        self._link: Link | None = None
        self._watch = Watch("")
        self._attempts = 0
        self._restarts = -1
        self._needed = not spec.lazy
        self._used_at = clock.monotonic()
        self._hopeless = False
        self._kicked = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._started = False
        self._running: asyncio.Task[None] | None = None

    def start(self, died: Callable[[BaseException], object] | None = None) -> None:
        """Begin to run in a task of its own; `stop` ends and awaits it.

        Args:
            died: Told when the task ends by an error, which none of a server's making should do.
        """
        self._running = asyncio.create_task(self.run(), name=f"mcp {self.name}")
        if died is not None:
            self._running.add_done_callback(lambda task: _report(task, died))

    async def stop(self) -> None:
        """Disconnect and end the server's process; bounded, and harmless when repeated."""
        self._stop.set()
        self._watch.woken.set()
        if self._running is not None:
            await asyncio.wait({self._running})
        elif self._started:
            await self._ended.wait()
        else:
            self._become("stopped")

    async def run(self) -> None:
        """Keep the server connected until `stop`, or until cancelled; both leave nothing behind.

        Raises:
            OurBug: It runs already.
        """
        if self._started:
            raise OurBug(f"the connection to {self.name!r} was started twice")
        self._started = True
        failures = 0
        try:
            while not self._stop.is_set():
                if self.spec.disabled or not self._needed:
                    await self._rest()
                    continue
                began = self._clock.monotonic()
                ended = await self._one_attempt()
                if self._stop.is_set():
                    break
                if ended.idle:
                    failures, self._needed = 0, False
                    continue
                stable = self._clock.monotonic() - began >= STABLE or self._watch.useful
                failures = 1 if stable else failures + 1
                await self._wait_for_next(ended, failures)
        finally:
            self._become("stopped")
            self._take(Offered())
            self._ended.set()

    def retry(self) -> None:
        """Try again now what has failed: a login has been made, or something was mended."""
        self._kicked.set()

    async def try_again(self) -> None:
        """As `retry`, and wait until the attempt begins."""
        seen = self._attempts
        deadline = self._clock.monotonic() + PATIENCE
        while self._attempts == seen and self._status.state in _PUT_OFF:
            self._kicked.set()
            if not await self._change(deadline):
                return

    async def _reach(self, deadline: float) -> "Link":
        """The live connection, waited for.

        Raises:
            ServerUnavailable: There is none, and it is known why.
            DeadlineExceeded: There is none yet.
        """
        seen = self._attempts if self._status.state in ("connecting", "ready") else self._attempts + 1
        patience = self._clock.monotonic() + PATIENCE
        kicked = False
        while True:
            link, state = self._link, self._status.state
            now = self._clock.monotonic()
            if link is not None and not link.broken:
                self._used_at = now
                return link
            tried = state in _PUT_OFF and self._attempts >= seen
            over = self._hopeless or state != "waiting" or now >= patience
            if state == "stopped" or self.spec.disabled or (tried and over):
                raise self._unavailable()
            if now >= deadline:
                raise DeadlineExceeded(
                    f"server {self.name!r} was not ready in time ({state}); nothing was sent",
                    "allow more time, or look at its status and log",
                    {"server": self.name},
                )
            if (state in _PUT_OFF or state == "resting") and not kicked:
                kicked = True
                self._kicked.set()
            await self._change(min(deadline, patience) if tried else deadline)

    def _unavailable(self) -> ServerUnavailable:
        details = {"server": self.name, "state": self._status.state, "log_file": self._status.log_file}
        if self.spec.disabled:
            return ServerUnavailable(
                f"server {self.name!r} is disabled", "add it again without 'disabled'", details
            )
        if self._status.state == "stopped":
            return ServerUnavailable(f"server {self.name!r} is stopped", "add it again", details)
        if self._status.state == "login":
            return ServerUnavailable(
                f"server {self.name!r} wants a login: {self._status.error}",
                f"log in: umbrella mcp login {self.name}",
                details,
            )
        log = f"; its log is {self._status.log_file}" if self._log is not None else ""
        return ServerUnavailable(
            f"server {self.name!r} cannot be reached: {self._status.error}{log}",
            "mend the server or its configuration; the next call tries again",
            details,
        )

    async def _rest(self) -> None:
        """Wait until it is needed."""
        self._become("resting")
        await self._race(self._stop.wait(), *([] if self.spec.disabled else [self._kicked.wait()]))
        self._kicked.clear()  # only now: whoever needs it may have come before
        self._needed = True

    async def _one_attempt(self) -> _Ended:
        self._attempts += 1
        self._hopeless = False
        self._become("connecting", error=self._status.error)
        self._watch = Watch(self._entropy.token(8).hex())
        attempt = asyncio.create_task(self._attempt(self._watch), name=f"mcp {self.name} attempt")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({attempt, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not attempt.done():
                await self._end(attempt)
        if attempt.cancelled():
            return _Ended(self._watch.broken or "the connection was closed")
        return attempt.result()

    async def _end(self, attempt: asyncio.Task[_Ended]) -> None:
        """Let a live connection say goodbye, cancel one that is still being made; both bounded."""
        self._stop.set()
        self._watch.woken.set()
        if self._link is not None:
            await asyncio.wait({attempt}, timeout=_FAREWELL)
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=_FAREWELL)

    async def _attempt(self, watch: Watch) -> _Ended:
        """Live one connection's whole life; the task that runs this enters and exits the client."""
        environment = os.environ if self._environment is None else self._environment
        try:
            expanded = await resolve(self.spec, environment, self._doors.vault)
        except WorldBroken as error:  # something is not set, or the vault is damaged
            return _Ended(str(error), hopeless=True)
        failure: Exception | None = None
        hopeless = idle = False
        try:
            async with AsyncExitStack() as stack:
                idle = await self._live(stack, expanded, watch)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            return _Ended(expanded.redact(first_reason(error)), hopeless=not watch.broken)
        except Exception as error:
            failure, hopeless = error, isinstance(error, CallerMistaken)
        if watch.login:
            return _Ended(expanded.redact(watch.login), login=True)
        return _Ended(self._reason(expanded, watch, failure), hopeless=hopeless, idle=idle)

    async def _live(self, stack: AsyncExitStack, expanded: Expanded, watch: Watch) -> bool:
        """From the first word to the last; True when it ended because nobody needed it."""
        errlog = None if self._log is None else stack.enter_context(self._log.opened(self._clock.now()))
        # In a thread: importing the SDK takes seconds, which the event loop does not have.
        module = await asyncio.to_thread(importlib.import_module, "mcp_core.protocol.link")
        async with asyncio.timeout(CONNECT_SECONDS):
            link: Link = await module.open_link(stack, self.name, expanded, errlog, watch, self._doors)
        watch.live = True
        self._link, self._used_at = link, self._clock.monotonic()
        self._restarts += 1
        self._become(
            "ready",
            error=link.remarks,
            protocol=link.protocol,
            restarts=self._restarts,
            instructions=link.instructions[:MAX_INSTRUCTIONS],
            caged=watch.caged,
            **_counts(link.offered),
        )
        self._take(link.offered)
        beside = [asyncio.create_task(link.listening.run()), asyncio.create_task(self._arm(link))]
        try:
            await self._serve(link, watch)
        finally:
            self._link = None
            for task in beside:
                task.cancel()
            await asyncio.wait(beside, timeout=1.0)
            await link.cut()
        idle = not watch.broken and not self._stop.is_set()
        self._restarts -= idle  # waking up again is no restart
        return idle

    async def _serve(self, link: "Link", watch: Watch) -> None:
        """Until the connection is broken, not wanted any more, or not needed."""
        refreshing: asyncio.Task[None] | None = None
        look = min(_LOG_CHECK, IDLE_SECONDS / 4) if self.spec.lazy else _LOG_CHECK
        try:
            while not watch.broken and not self._stop.is_set() and not self._is_idle(link):
                try:
                    await asyncio.wait_for(watch.woken.wait(), look)
                except TimeoutError:
                    if self._log is not None:
                        self._log.shorten()
                watch.woken.clear()
                self._tell_updates(watch)
                if watch.stale and refreshing is None and not watch.broken:
                    kinds, watch.stale = watch.stale, set()
                    refreshing = asyncio.create_task(self._refresh(link, kinds))
                    refreshing.add_done_callback(lambda _: watch.woken.set())
                elif refreshing is not None and refreshing.done():
                    refreshing = None
                    if watch.stale:
                        watch.woken.set()
        finally:
            if refreshing is not None:
                refreshing.cancel()
                await asyncio.wait({refreshing}, timeout=1.0)

    def _is_idle(self, link: "Link") -> bool:
        now = self._clock.monotonic()
        if not self.spec.lazy or link.requests.count or self._watched:
            self._used_at = now
        return now - self._used_at >= IDLE_SECONDS

    async def _refresh(self, link: "Link", kinds: set[OfferKind]) -> None:
        """List anew; a failure leaves the old lists, and the watch hears of a dead server."""
        try:
            await link.refresh(kinds)
        except Exception as error:
            self._become(self._status.state, error=f"its tools cannot be listed: {link.reason(error)}")
            return
        if link is self._link and not link.broken:
            self._become("ready", error=link.remarks, **_counts(link.offered))
            self._take(link.offered)

    async def _arm(self, link: "Link") -> None:
        """Have a new connection told of what was watched on the one before; it may have changed in between."""
        for uri in list(self._watched):
            try:
                await link.listening.add(uri)
            except (CallerMistaken, WorldBroken):
                continue  # whoever watches it hears of every reconnection
            finally:
                self._tell(ResourceChanged(server=self.name, uri=uri))

    async def _wait_for_next(self, ended: _Ended, failures: int) -> None:
        self._hopeless = ended.hopeless or ended.login
        self._kicked.clear()
        if self._hopeless or failures >= ENOUGH:
            self._become("login" if ended.login else "failed", error=ended.reason)
            await self._race(self._kicked.wait(), self._stop.wait())
            return
        self._become("waiting", error=ended.reason)
        await self._race(
            self._clock.sleep(pause(failures, self._entropy)),
            self._stop.wait(),
            *([] if failures == 1 else [self._kicked.wait()]),
        )

    async def _race(self, *waits: Awaitable[Any]) -> None:
        tasks = {asyncio.ensure_future(wait) for wait in waits}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _reason(self, expanded: Expanded, watch: Watch, error: BaseException | None) -> str:
        if isinstance(error, UmbrellaError):  # of our own making, as when there can be no cage
            return expanded.redact(str(error))
        parts = [watch.broken or ("the connection was closed" if error is None else first_reason(error))]
        last = "" if self._log is None else self._log.last_line(expanded.redact)
        if last:
            parts.append(f"its last words: {last}")
        elif watch.noise:
            parts.append(f"it printed what is not MCP: {watch.noise}")
        return expanded.redact("; ".join(parts))


def _counts(offered: Offered) -> dict[str, int]:
    return {
        "tools": len(offered.tools),
        "resources": len(offered.resources),
        "prompts": len(offered.prompts),
    }


def _report(task: asyncio.Task[None], died: Callable[[BaseException], object]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        died(error)
