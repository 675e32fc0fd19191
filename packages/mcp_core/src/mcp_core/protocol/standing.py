"""How one server's connection stands, and the telling of it: its state, its lists, the resources that are watched."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from mcp_core.protocol.offered import Offered
from mcp_core.protocol.watch import Watch
from mcp_interface.client import OffersChanged, ResourceChanged
from mcp_interface.clock import Clock
from mcp_interface.server import ServerSpec, ServerState, ServerStatus

News = OffersChanged | ResourceChanged


class Standing:
    """What is known of one server.

    Args:
        name: Of the server.
        spec: Unexpanded.
        log_file: Where its stderr goes; empty when it has none.
        clock: For deadlines.
        on_change: Told every new status, on the event loop; must not raise.
        on_news: Told what is offered anew and which watched resources changed, likewise.
        watched: Who wants to be told of which resources, by URI; kept by whoever makes this.
    """

    def __init__(
        self,
        name: str,
        spec: ServerSpec,
        log_file: str,
        clock: Clock,
        on_change: Callable[[ServerStatus], None] | None,
        on_news: Callable[[News], None] | None,
        watched: dict[str, set[str]] | None,
    ) -> None:
        self.name = name
        self.spec = spec
        self._clock = clock
        self._on_change = on_change
        self._on_news = on_news
        self._watched = {} if watched is None else watched
        self._offered = Offered()
        self._changed = asyncio.Event()
        self._status = ServerStatus(
            name=name,
            spec=spec,
            state="resting" if spec.lazy or spec.disabled else "connecting",
            log_file=log_file,
        )

    @property
    def status(self) -> ServerStatus:
        """How the connection is doing."""
        return self._status

    @property
    def offered(self) -> Offered:
        """All that it offers as last listed; kept while the server is away."""
        return self._offered

    async def settled(self, seconds: float) -> ServerStatus:
        """Wait at most so long for the first attempt to end, well or badly, and return the status."""
        deadline = self._clock.monotonic() + seconds
        while self._status.state == "connecting":
            if not await self._change(deadline):
                break
        return self._status

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

    def _take(self, offered: Offered) -> None:
        before, self._offered = self._offered, offered
        for kind in offered.differs(before):
            self._tell(OffersChanged(server=self.name, kind=kind))

    def _tell_updates(self, watch: Watch) -> None:
        """Hand on what watched resources have become, or what lies below them."""
        updated, watch.updated = watch.updated, {}
        for uri in updated:
            if any(uri == each or uri.startswith(f"{each.rstrip('/')}/") for each in self._watched):
                self._tell(ResourceChanged(server=self.name, uri=uri))

    def _tell(self, news: News) -> None:
        if self._on_news is not None:
            self._on_news(news)
