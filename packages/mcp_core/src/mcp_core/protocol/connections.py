"""One MCP server kept connected: opened, watched, rebuilt after a pause, called.

`run` owns the connection and is meant to be owned itself, by `start` or by a supervised actor. Each attempt
lives in a task of its own that opens and closes the SDK's client; what the SDK cancels when a server dies is
that task, never the caller of a tool and never the owner. Knows nothing of rights: whoever calls has asked.
"""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_core.protocol.definition import require_same
from mcp_core.protocol.expansion import Expanded, expand
from mcp_core.protocol.reach import NotSent, did_you_mean, first_reason
from mcp_core.protocol.server_log import ServerLog
from mcp_core.protocol.watch import Watch
from mcp_core.runtime.backoff import pause
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import DeadlineExceeded, NotFound, OurBug, ServerUnavailable
from mcp_interface.server import ServerSpec, ServerState, ServerStatus
from mcp_interface.tool import ToolInfo, ToolResult

if TYPE_CHECKING:
    from mcp_core.protocol.link import Link

CALL_SECONDS: Final = 60.0
"""Deadline of a call when neither the caller nor the specification gives one."""
CONNECT_SECONDS: Final = 120.0
"""For one attempt; a first start may have to install the server."""
PATIENCE: Final = 5.0
"""How long a call waits for a server that keeps failing."""
STABLE: Final = 10.0
"""After so many seconds of life a death counts as the first again."""
ENOUGH: Final = 12
"""Failures in a row after which only a call tries again."""
_FAREWELL: Final = 8.0
_LOG_CHECK: Final = 60.0


class _Failure(msgspec.Struct, frozen=True):
    """Why an attempt ended."""

    reason: str
    hopeless: bool = False
    """Trying again cannot help until somebody changes something."""


class Connection:
    """One server.

    Args:
        name: Valid by `SERVER_NAME`.
        spec: Valid, unexpanded.
        clock: For the pauses between attempts.
        entropy: For their jitter.
        log_dir: Where the server's stderr goes, into `mcp-<name>.log`.
        on_change: Told every new status, on the event loop; must not raise.
        environment: Where `${VAR}` looks; None is the environment of the process.
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
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.spec = spec
        self._clock = clock
        self._entropy = entropy
        self._on_change = on_change
        self._environment = environment
        self._log = ServerLog(log_dir, name) if spec.transport == "stdio" else None
        self._status = ServerStatus(
            name=name,
            spec=spec,
            state="connecting",
            log_file="" if self._log is None else str(self._log.path),
        )
        self._link: Link | None = None
        self._watch = Watch("")
        self._tools: dict[str, ToolInfo] = {}
        self._attempts = 0
        self._lives = 0
        self._hopeless = False
        self._changed = asyncio.Event()
        self._kicked = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------

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
        elif self._attempts:
            await self._ended.wait()
        else:
            self._become("stopped")

    async def run(self) -> None:
        """Keep the server connected until `stop`, or until cancelled; both leave nothing behind.

        Raises:
            OurBug: It runs already.
        """
        if self._attempts:
            raise OurBug(f"the connection to {self.name!r} was started twice")
        failures = 0
        try:
            while not self._stop.is_set():
                began = self._clock.monotonic()
                failure = await self._one_attempt()
                if self._stop.is_set():
                    break
                failures = 1 if self._clock.monotonic() - began >= STABLE else failures + 1
                await self._wait_for_next(failure, failures)
        finally:
            self._become("stopped")
            self._ended.set()

    async def settled(self, seconds: float) -> ServerStatus:
        """Wait at most so long for the first attempt to end, well or badly, and return the status."""
        deadline = self._clock.monotonic() + seconds
        while self._status.state == "connecting":
            if not await self._change(deadline):
                break
        return self._status

    # -- use ---------------------------------------------------------------------------------------------

    @property
    def status(self) -> ServerStatus:
        """How the connection is doing."""
        return self._status

    @property
    def tools(self) -> Mapping[str, ToolInfo]:
        """The tools as last listed; kept while the server is away."""
        return self._tools

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None = None,
        progress: Callable[[float, str], Awaitable[None]] | None = None,
        expected: ToolInfo | None = None,
        last_look: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Run one tool, waiting for the server to be there. Sends a call again only if it never arrived.

        The server that is there after a wait may be another one, and the caller's mind may have changed: both are
        looked at right before each sending.

        Args:
            tool: Its name on the server.
            arguments: Checked against the tool's schema before anything is sent.
            timeout: Seconds for all of it; None takes the specification's, else a minute.
            progress: Told 0 to 100 and a message.
            expected: What the tool must still say of itself; None takes it as it is.
            last_look: Raises if the call must not be sent any more.

        Raises:
            NotPermitted: The tool is not what was expected; nothing was sent. Or whatever `last_look` raises.
            NotFound: No such tool; names those that come close.
            CallerMistaken: An argument breaks the schema, or the server says so.
            ServerUnavailable: The server cannot be reached; nothing was sent.
            Interrupted: The server was lost during the call.
            DeadlineExceeded: No answer in time.
            WorldBroken: The server answered with an error or with nonsense.
        """
        if timeout is None:
            timeout = CALL_SECONDS if self.spec.timeout is None else self.spec.timeout / 1000
        deadline = self._clock.monotonic() + timeout
        while True:
            link = await self._reach(deadline)
            await self._know(link, tool, deadline)
            # from here on without any wait
            if expected is not None:
                require_same(expected, link.tools[tool])
            link.check(tool, arguments)
            if last_look is not None:
                last_look()
            try:
                return await link.call(tool, arguments, deadline - self._clock.monotonic(), progress)
            except NotSent:
                continue  # the link is broken now, so that `_reach` waits for the next one

    async def describe(self, tool: str, timeout: float) -> ToolInfo:
        """Describe one tool, waiting for the server when it has never been heard of.

        Raises:
            NotFound: The server has no such tool; names those that come close.
            ServerUnavailable: It cannot be reached.
            DeadlineExceeded: It was not ready within `timeout` seconds.
        """
        if tool in self._tools:
            return self._tools[tool]
        deadline = self._clock.monotonic() + timeout
        link = await self._reach(deadline)
        await self._know(link, tool, deadline)
        return link.tools[tool]

    # -- inside ------------------------------------------------------------------------------------------

    async def _reach(self, deadline: float) -> "Link":
        seen = self._attempts if self._status.state in ("connecting", "ready") else self._attempts + 1
        patience = self._clock.monotonic() + PATIENCE
        kicked = False
        while True:
            link, state = self._link, self._status.state
            if link is not None and not link.broken:
                return link
            tried = state in ("waiting", "failed") and self._attempts >= seen
            now = self._clock.monotonic()
            if state == "stopped" or (tried and (self._hopeless or state == "failed" or now >= patience)):
                raise self._unavailable()
            if now >= deadline:
                raise DeadlineExceeded(
                    f"server {self.name!r} was not ready in time ({state}); nothing was sent",
                    "allow more time, or look at its status and log",
                    {"server": self.name},
                )
            if state in ("waiting", "failed") and not kicked:
                kicked = True
                self._kicked.set()
            await self._change(min(deadline, patience) if tried else deadline)

    async def _know(self, link: "Link", tool: str, deadline: float) -> None:
        if tool not in link.tools:
            await self._race(self._refresh(link), asyncio.sleep(max(0.0, deadline - self._clock.monotonic())))
        if tool not in link.tools:
            raise NotFound(
                f"server {self.name!r} has no tool {tool[:200]!r}",
                did_you_mean(tool, link.tools),
                {"server": self.name, "tool": tool},
            )

    def _unavailable(self) -> ServerUnavailable:
        if self._status.state == "stopped":
            return ServerUnavailable(
                f"server {self.name!r} is stopped", "add it again", {"server": self.name}
            )
        log = f"; its log is {self._status.log_file}" if self._log is not None else ""
        return ServerUnavailable(
            f"server {self.name!r} cannot be reached: {self._status.error}{log}",
            "mend the server or its configuration; the next call tries again",
            {"server": self.name, "log_file": self._status.log_file},
        )

    async def _one_attempt(self) -> _Failure:
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
            return _Failure(self._watch.broken or "the connection was closed")
        return attempt.result()

    async def _end(self, attempt: asyncio.Task[_Failure]) -> None:
        """Let a live connection say goodbye, cancel one that is still being made; both bounded."""
        self._stop.set()
        self._watch.woken.set()
        if self._link is not None:
            await asyncio.wait({attempt}, timeout=_FAREWELL)
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=_FAREWELL)

    async def _attempt(self, watch: Watch) -> _Failure:
        """Live one connection's whole life; the task that runs this enters and exits the client."""
        environment = os.environ if self._environment is None else self._environment
        try:
            expanded = expand(self.spec, environment)
        except ServerUnavailable as error:
            return _Failure(str(error), hopeless=True)
        try:
            async with AsyncExitStack() as stack:
                await self._live(stack, expanded, watch)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            return _Failure(expanded.redact(first_reason(error)), hopeless=not watch.broken)
        except Exception as error:
            return _Failure(expanded.redact(self._reason(watch, error)))
        return _Failure(expanded.redact(self._reason(watch, None)))

    async def _live(self, stack: AsyncExitStack, expanded: Expanded, watch: Watch) -> None:
        errlog = None if self._log is None else stack.enter_context(self._log.opened(self._clock.now()))
        # In a thread: importing the SDK takes seconds, which the event loop does not have.
        module = await asyncio.to_thread(importlib.import_module, "mcp_core.protocol.link")
        async with asyncio.timeout(CONNECT_SECONDS):
            link: Link = await module.open_link(stack, self.name, expanded.spec, errlog, watch)
        self._link = link
        self._tools = link.tools
        self._become(
            "ready", error=link.left_out, protocol=link.protocol, tools=len(link.tools), restarts=self._lives
        )
        self._lives += 1
        listening = asyncio.create_task(link.listen())
        try:
            await self._serve(link, watch)
        finally:
            self._link = None
            listening.cancel()
            await asyncio.wait({listening}, timeout=1.0)
            await link.cut()

    async def _serve(self, link: "Link", watch: Watch) -> None:
        refreshing: asyncio.Task[None] | None = None
        try:
            while not watch.broken and not self._stop.is_set():
                try:
                    await asyncio.wait_for(watch.woken.wait(), _LOG_CHECK)
                except TimeoutError:
                    if self._log is not None:
                        self._log.shorten()
                watch.woken.clear()
                if watch.stale and refreshing is None and not watch.broken:
                    watch.stale = False
                    refreshing = asyncio.create_task(self._refresh(link))
                    refreshing.add_done_callback(lambda _: watch.woken.set())
                elif refreshing is not None and refreshing.done():
                    refreshing = None
                    if watch.stale:
                        watch.woken.set()
        finally:
            if refreshing is not None:
                refreshing.cancel()
                await asyncio.wait({refreshing}, timeout=1.0)

    async def _refresh(self, link: "Link") -> None:
        """List the tools again; a failure leaves the old list, and the watch hears of a dead server."""
        try:
            await link.refresh()
        except Exception as error:
            self._become(self._status.state, error=f"its tools cannot be listed: {first_reason(error)}")
            return
        if link is self._link and not link.broken:
            self._tools = link.tools
            self._become("ready", error=link.left_out, tools=len(link.tools))

    async def _wait_for_next(self, failure: _Failure, failures: int) -> None:
        self._hopeless = failure.hopeless
        self._kicked.clear()
        if failure.hopeless or failures >= ENOUGH:
            self._become("failed", error=failure.reason)
            await self._race(self._kicked.wait(), self._stop.wait())
            return
        self._become("waiting", error=failure.reason)
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

    async def _change(self, deadline: float) -> bool:
        """Wait for the next status; False when the deadline came first."""
        changed = self._changed
        left = deadline - self._clock.monotonic()
        try:
            await asyncio.wait_for(changed.wait(), max(0.0, left))
        except TimeoutError:
            return False
        return True

    def _become(self, state: ServerState, *, error: str = "", **changes: Any) -> None:
        status = msgspec.structs.replace(self._status, state=state, error=error, **changes)
        if status == self._status:
            return
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()
        if self._on_change is not None:
            self._on_change(status)

    def _reason(self, watch: Watch, error: BaseException | None) -> str:
        parts = [watch.broken or ("the connection was closed" if error is None else first_reason(error))]
        last = "" if self._log is None else self._log.last_line()
        if last:
            parts.append(f"its last words: {last}")
        elif watch.noise:
            parts.append(f"it printed what is not MCP: {watch.noise}")
        return "; ".join(parts)


def _report(task: asyncio.Task[None], died: Callable[[BaseException], object]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        died(error)
