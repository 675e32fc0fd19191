"""What one MCP server is used for: its lists, calls, readings; each waits for the server to be there.

Knows nothing of rights: whoever calls has asked. The life of the connection stands in `lifeline`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from mcp_core.protocol.deadline import Deadline
from mcp_core.protocol.definition import require_same
from mcp_core.protocol.errand import Errand, Kind
from mcp_core.protocol.following import Begun, Following
from mcp_core.protocol.lifeline import Lifeline
from mcp_core.protocol.reach import Forgotten, Lost, NotSent, Relisted, did_you_mean
from mcp_interface.errors import CallerMistaken, NotFound, ServerUnavailable, TooMuch, WorldBroken
from mcp_interface.offers import Contents, PromptResult, Suggestions
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult

if TYPE_CHECKING:
    from mcp_core.protocol.link import Link

CALL_SECONDS: Final = 60.0
"""Deadline of a call when neither the caller nor the specification gives one."""
MAX_WATCHED: Final = 1_000
"""Resources of one server that are watched at a time."""

T = TypeVar("T")


class Connection(Lifeline):
    """One server, ready to be used; takes what `Lifeline` takes."""

    @property
    def tools(self) -> Mapping[str, ToolInfo]:
        """The tools as last listed; kept while the server is away."""
        return self._offered.tools

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None = None,
        context: ToolContext | None = None,
        expected: ToolInfo | None = None,
        last_look: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Run one tool, waiting for the server to be there.

        A call is sent again if it never arrived; if its server was lost under it, once, and only where that cannot do
        harm: the tool says that it only reads, or that doing it twice is as doing it once.

        A server that works for it as a task is asked about it until it is over, whatever becomes of the connection; and
        so is one that began to in an earlier process, instead of being called again.

        The server that is there after a wait may be another one, and the caller's mind may have changed: both are
        looked at right before each sending, also of answers to what the server wanted to know in between.

        Args:
            tool: Its name on the server.
            arguments: Checked against the tool's schema before anything is sent.
            timeout: Seconds, begun anew by each progress; None takes the specification's, else a minute.
            context: Who is told of progress and asked what the server wants to know; None: nobody.
            expected: What the tool must still say of itself; None takes it as it is.
            last_look: Raises if the call must not be sent any more.

        Raises:
            NotPermitted: The tool is not what was expected; nothing was sent any more. Or whatever `last_look` raises. Or a
                question was refused without whose answer the call cannot go on.
            NotFound: No such tool; names those that come close.
            CallerMistaken: An argument breaks the schema, or the server says so.
            ServerUnavailable: The server cannot be reached; nothing was sent.
            Interrupted: The server was lost during the call.
            DeadlineExceeded: No answer in time.
            WorldBroken: The server answered with an error, with nonsense, or against its own output schema.
        """
        errand = self._errand("tool", tool, timeout, context)

        async def send(link: "Link") -> ToolResult:
            await self._know(link, tool, errand.deadline.at)

            def look() -> None:
                if tool not in link.tools:
                    raise self._unknown(link, tool)
                if expected is not None:
                    require_same(expected, link.tools[tool])
                link.check(tool, arguments)
                if last_look is not None:
                    last_look()

            errand.look = look
            look()  # and no wait from here on
            return await link.call(errand, arguments)

        def harmless() -> bool:
            return (expected or self.tools.get(tool) or ToolInfo(server="", name="")).idempotent

        try:
            if not errand.task:
                return await self._done(errand, send, harmless)
        except Begun:
            pass
        stopping = self._doors.stopping
        return await Following(errand, self._reach, self._clock, self._entropy, stopping).run()

    async def describe(self, tool: str, timeout: float) -> ToolInfo:
        """Describe one tool, waiting for the server when it has never been heard of.

        Raises:
            NotFound: The server has no such tool; names those that come close.
            ServerUnavailable: It cannot be reached.
            DeadlineExceeded: It was not ready within `timeout` seconds.
        """
        if tool in self.tools:
            return self.tools[tool]
        deadline = self._clock.monotonic() + timeout
        link = await self._reach(deadline)
        await self._know(link, tool, deadline)
        return link.tools[tool]

    async def read(
        self, uri: str, *, timeout: float | None = None, context: ToolContext | None = None
    ) -> list[Contents]:
        """Read a resource, listed or not; never from a cache, whatever the server says of its freshness.

        Raises:
            NotFound: The server has no such resource.
            UmbrellaError: As `call`.
        """
        errand = self._errand("resource", uri, timeout, context)
        return await self._done(errand, lambda link: link.read(errand), lambda: True)

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str],
        *,
        timeout: float | None = None,
        context: ToolContext | None = None,
    ) -> PromptResult:
        """Get a prompt with values in place.

        Raises:
            NotFound: The server has no such prompt.
            UmbrellaError: As `call`.
        """
        errand = self._errand("prompt", name, timeout, context)
        try:
            return await self._done(errand, lambda link: link.get_prompt(errand, arguments), lambda: True)
        except (CallerMistaken, WorldBroken) as error:
            names = [one.name for one in self.offered.prompts]
            if "mcp_code" not in error.details or name in names:
                raise
            raise NotFound(  # servers say it in many ways
                f"server {self.name!r} has no prompt {name[:200]!r}",
                did_you_mean(name, names),
                error.details,
            ) from error

    async def complete(
        self,
        kind: Literal["prompt", "template"],
        name: str,
        *,
        argument: str,
        value: str = "",
        known: Mapping[str, str] | None = None,
    ) -> Suggestions:
        """What could stand for a value of a prompt or of a template's variable.

        Raises:
            UmbrellaError: As `call`.
        """
        errand = self._errand("completion", name, None, None)
        return await self._done(
            errand, lambda link: link.complete(errand, kind, argument, value, known or {}), lambda: True
        )

    async def watch(self, uri: str, who: str) -> None:
        """Have changes of a resource told, to whoever hears this connection's news; harmless when repeated.

        Raises:
            CallerMistaken: The server does not tell of changes.
            TooMuch: There are a thousand watched already.
            UmbrellaError: As `call`.
        """
        if uri not in self._watched and len(self._watched) >= MAX_WATCHED:
            raise TooMuch(f"{MAX_WATCHED} resources of {self.name!r} are watched already", "unwatch one")
        link = await self._reach(self._clock.monotonic() + CALL_SECONDS)
        await link.listening.add(uri)
        self._watched.setdefault(uri, set()).add(who)

    async def unwatch(self, uri: str, who: str) -> None:
        """No longer have changes told to somebody; harmless when repeated."""
        watchers = self._watched.get(uri, set())
        watchers.discard(who)
        if watchers or self._watched.pop(uri, None) is None:
            return
        if self._link is not None and not self._link.broken:
            await self._link.listening.drop(uri)

    async def _done(
        self, errand: Errand, send: Callable[["Link"], Awaitable[T]], harmless: Callable[[], bool]
    ) -> T:
        """Send an errand until it has arrived, and once more if it was lost and that is harmless."""
        lost: Lost | Forgotten | None = None
        relisted = False
        while True:
            try:
                link = await self._reach(errand.deadline.at)
            except ServerUnavailable:
                if lost is not None:  # it had been sent
                    raise lost from None
                raise
            try:
                return await send(link)
            except Relisted:
                if relisted:
                    raise
                relisted = True
            except NotSent:
                continue  # the link is broken now, so that `_reach` waits for the next one
            except (Lost, Forgotten) as error:
                if (lost is not None and type(lost) is type(error)) or not harmless():
                    raise
                lost = error
                if isinstance(error, Forgotten):
                    errand.forget()
                errand.deadline.renew()

    def _errand(self, kind: Kind, name: str, timeout: float | None, context: ToolContext | None) -> Errand:
        if timeout is None:
            timeout = CALL_SECONDS if self.spec.timeout is None else self.spec.timeout / 1000
        return Errand(self.name, kind, name, Deadline(timeout, self._clock), context, self.spec.roots)

    async def _know(self, link: "Link", tool: str, deadline: float) -> None:
        if tool not in link.tools:
            wait = asyncio.sleep(max(0.0, deadline - self._clock.monotonic()))
            await self._race(self._refresh(link, {"tools"}), wait)
        if tool not in link.tools:
            raise self._unknown(link, tool)

    def _unknown(self, link: "Link", tool: str) -> NotFound:
        return NotFound(
            f"server {self.name!r} has no tool {tool[:200]!r}",
            did_you_mean(tool, link.tools),
            {"server": self.name, "tool": tool},
        )
