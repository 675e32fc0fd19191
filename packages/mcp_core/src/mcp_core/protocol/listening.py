"""Keeps one link told of what changes: lists, and the resources that somebody watches. Imports the SDK; imported late.

In the newer era that is one long request, opened anew whenever more or less is watched, the new one before the old one
ends, so that nothing is missed in between. In the older era servers tell of lists unasked, and each resource is
subscribed to.
"""

import asyncio
from contextlib import suppress
from typing import Final

from mcp import Client
from mcp.client.subscriptions import (
    ListenNotSupportedError,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionLost,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    EmptyResult,
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    ToolListChangedNotification,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.watch import OFFER_KINDS, Watch
from mcp_interface.errors import CallerMistaken, UmbrellaError, WorldBroken

ARM_SECONDS: Final = 20.0
"""For a server to say that it will tell of a resource."""
_BETWEEN: Final = 1.0


class Listening:
    """What one link is told.

    Args:
        server: Named in errors.
        client: Entered.
        watch: Hears what changed.
    """

    def __init__(self, server: str, client: Client, watch: Watch) -> None:
        self._server = server
        self._client = client
        self._watch = watch
        self._wanted: set[str] = set()
        self._armed: dict[str, asyncio.Future[bool]] = {}
        self._changed = asyncio.Event()
        self._refused = ""
        can = client.server_capabilities
        self._modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._subscribes = can.resources is not None and bool(can.resources.subscribe)
        self._lists = {
            "tools_list_changed": can.tools is not None and bool(can.tools.list_changed),
            "resources_list_changed": can.resources is not None and bool(can.resources.list_changed),
            "prompts_list_changed": can.prompts is not None and bool(can.prompts.list_changed),
        }

    def hear(self, message: object) -> None:
        """Take a notice that came by itself."""
        match message:
            case ToolListChangedNotification():
                self._watch.changed("tools")
            case ResourceListChangedNotification():
                self._watch.changed("resources")
            case PromptListChangedNotification():
                self._watch.changed("prompts")
            case ResourceUpdatedNotification(params=params) if not self._modern:
                self._watch.touched(params.uri)

    async def add(self, uri: str) -> None:
        """Have changes of a resource told; harmless when repeated.

        Raises:
            CallerMistaken: The server does not tell of it.
            WorldBroken: It does not answer, or refuses.
        """
        if uri in self._wanted:
            return
        if not self._modern:
            await self._subscribe(uri)
            self._wanted.add(uri)
            return
        armed = self._armed.setdefault(uri, asyncio.get_running_loop().create_future())
        self._wanted.add(uri)
        self._changed.set()
        try:
            async with asyncio.timeout(ARM_SECONDS):
                willing = not self._refused and await asyncio.shield(armed)
        except TimeoutError:
            self._wanted.discard(uri)
            raise WorldBroken(
                f"server {self._server!r} did not say in {ARM_SECONDS:g} s whether it will tell of {uri[:200]!r}",
                "try again, or look into its log",
            ) from None
        finally:
            self._armed.pop(uri, None)
        if not willing:
            self._wanted.discard(uri)
            raise self._deaf(uri, self._refused)

    async def drop(self, uri: str) -> None:
        """No longer have changes told; harmless when repeated."""
        if uri not in self._wanted:
            return
        self._wanted.discard(uri)
        self._changed.set()
        if not self._modern:
            dropped = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
            with suppress(MCPError):  # it may go on telling; nobody is listening any more
                await self._client.session.send_request(dropped, EmptyResult)

    async def run(self) -> None:
        """Follow the newer era's stream until cancelled; returns at once in the older one."""
        if not self._modern:
            return
        stream: asyncio.Task[None] | None = None
        try:
            while not self._watch.broken and not self._refused:
                self._changed.clear()
                wanted = frozenset(self._wanted)
                before, stream = stream, None
                if wanted or any(self._lists.values()):
                    acknowledged = asyncio.Event()
                    stream = asyncio.create_task(self._follow(wanted, acknowledged))
                    await _either(stream, acknowledged)
                await _end(before)
                await _either(stream, self._changed)
                if stream is not None and stream.done() and not self._changed.is_set():
                    await asyncio.sleep(_BETWEEN)
        finally:
            await _end(stream)
            for armed in self._armed.values():
                if not armed.done():
                    armed.set_result(False)

    async def _follow(self, wanted: frozenset[str], acknowledged: asyncio.Event) -> None:
        try:
            async with self._client.listen(**self._lists, resource_subscriptions=sorted(wanted)) as events:
                honored = frozenset(events.honored.resource_subscriptions or ())
                for uri, armed in self._armed.items():
                    if uri in wanted and not armed.done():
                        armed.set_result(uri in honored)
                acknowledged.set()
                async for event in events:
                    self._take(event)
        except (ListenNotSupportedError, MCPError) as error:
            self._refused = str(error) or type(error).__name__
        except (SubscriptionLost, TimeoutError):
            for kind in OFFER_KINDS:  # listing shows whether the server lives, and what was missed
                self._watch.changed(kind)
            for uri in wanted:
                self._watch.touched(uri)

    def _take(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated):
            self._watch.touched(event.uri)
        elif isinstance(event, ResourcesListChanged):
            self._watch.changed("resources")
        elif isinstance(event, PromptsListChanged):
            self._watch.changed("prompts")
        else:
            self._watch.changed("tools")

    async def _subscribe(self, uri: str) -> None:
        if not self._subscribes:
            raise self._deaf(uri, "")
        try:
            wanted = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
            await self._client.session.send_request(wanted, EmptyResult)
        except MCPError as error:
            raise self._deaf(uri, error.message) from error

    def _deaf(self, uri: str, reason: str) -> UmbrellaError:
        because = f": {reason[:300]}" if reason else ""
        return CallerMistaken(
            f"server {self._server!r} does not tell of changes of {uri[:200]!r}{because}",
            "read it again when it is needed",
            {"server": self._server, "uri": uri},
        )


async def _either(stream: asyncio.Task[None] | None, event: asyncio.Event) -> None:
    """Wait until the stream has ended or the event has come."""
    coming = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait(
            {coming} | ({stream} if stream is not None else set()), return_when="FIRST_COMPLETED"
        )
    finally:
        coming.cancel()


async def _end(stream: asyncio.Task[None] | None) -> None:
    if stream is not None:
        stream.cancel()
        await asyncio.wait({stream}, timeout=_BETWEEN)
