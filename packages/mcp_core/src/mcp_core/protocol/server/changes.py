"""What changes in what one principal is offered, for whoever listens: `subscriptions/listen` streams and older clients.

The node is followed only while somebody listens, and a resource is watched only while somebody subscribes to it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from mcp_core.protocol.server.catalogue import Catalogue
from mcp_core.protocol.server.line import Line
from mcp_interface.client import Notice, OffersChanged, ResourceChanged
from mcp_interface.errors import UmbrellaError
from mcp_interface.reading import UnwatchResource, WatchResource

log = logging.getLogger(__name__)

Listener = Callable[[ServerEvent], None]
_LISTS: dict[str, ServerEvent] = {
    "tools": ToolsListChanged(),
    "resources": ResourcesListChanged(),
    "prompts": PromptsListChanged(),
}


class Changes:
    """Fans out what changes; the SDK's `SubscriptionBus`.

    Args:
        line: To the node.
        catalogue: Knows which server a resource is read from.
    """

    def __init__(self, line: Line, catalogue: Catalogue) -> None:
        self._line = line
        self._catalogue = catalogue
        self._listeners: dict[object, Listener] = {}
        self._watched: dict[tuple[str, str], Counter[str]] = {}
        """By server and own URI: under which public URIs it is watched, and how often."""
        self._task: asyncio.Task[None] | None = None

    async def publish(self, event: ServerEvent) -> None:
        """Tell everybody who listens."""
        for listener in list(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Listen; returns what ends it."""
        token = object()
        self._listeners[token] = listener
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow(), name="mcp: follow changes")

        def leave() -> None:
            self._listeners.pop(token, None)
            if not self._listeners and self._task is not None:
                self._task.cancel()

        return leave

    async def watch(self, uri: str) -> None:
        """Have changes of a resource told, until as many `unwatch`.

        Raises:
            UmbrellaError: It cannot be watched, or is not found.
        """
        refused: UmbrellaError | None = None
        for server, own in await self._catalogue.places(uri):
            counter = self._watched.setdefault((server, own), Counter())
            try:
                if not counter.total():
                    await self._line.ask(WatchResource(server=server, uri=own))
            except UmbrellaError as error:
                del self._watched[server, own]
                refused = error
            else:
                counter[uri] += 1
                return
        if refused is not None:
            raise refused

    async def unwatch(self, uri: str) -> None:
        """No longer have changes told; harmless when nobody has."""
        for place, counter in list(self._watched.items()):
            if counter[uri]:
                counter[uri] -= 1
                if not counter.total():
                    del self._watched[place]
                    with suppress(UmbrellaError):  # the node is away, and forgets it by itself
                        await self._line.ask(UnwatchResource(server=place[0], uri=place[1]))
                return

    async def close(self) -> None:
        """Listen no longer, and watch nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for server, uri in list(self._watched):
            with suppress(UmbrellaError):
                await self._line.ask(UnwatchResource(server=server, uri=uri))
        self._watched.clear()

    async def _follow(self) -> None:
        try:
            async for notice in self._line.follow(None):
                await (self._missed() if notice is None else self._tell(notice))
        except UmbrellaError as error:
            log.info("changes are not followed any more: %s", error)

    async def _tell(self, notice: Notice) -> None:
        match notice:
            case OffersChanged(kind=kind):
                await self.publish(_LISTS[kind])
            case ResourceChanged(server=server, uri=uri):
                counter = self._watched.get((server, uri), Counter())
                for public in [public for public, count in counter.items() if count > 0]:
                    await self.publish(ResourceUpdated(uri=public))

    async def _missed(self) -> None:
        """After a gap everything may be otherwise; a node that was started anew watches nothing."""
        for server, uri in list(self._watched):
            with suppress(UmbrellaError):
                await self._line.ask(WatchResource(server=server, uri=uri))
        for event in _LISTS.values():
            await self.publish(event)
