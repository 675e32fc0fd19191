"""Opens the exporters that a person asked for, and closes them with the node."""

import asyncio
import logging
from typing import Self

from mcp_core.observe.metrics import Gauge, Metrics
from mcp_core.observe.tracing import Spans, open_otlp
from mcp_core.settings import TelemetrySettings
from mcp_interface.clock import Clock
from mcp_interface.errors import NotFound
from mcp_interface.telemetry import Telemetry

log = logging.getLogger(__name__)

CLOSE_S = 10.0
"""Seconds that the last spans may take; then the node stops without them."""


class Exporters:
    """What one node tells the world about itself; nothing unless it was asked for."""

    def __init__(self, metrics: Metrics | None, spans: Spans | None) -> None:
        self._metrics = metrics
        self._spans = spans

    @classmethod
    def open(cls, settings: TelemetrySettings, telemetry: Telemetry, clock: Clock, version: str = "") -> Self:
        """Begin to listen.

        Raises:
            CallerMistaken: An extra is not installed; nothing listens.
        """
        metrics = Metrics(telemetry) if settings.metrics else None
        if not settings.otel_endpoint:
            return cls(metrics, None)
        try:
            spans = Spans(telemetry, open_otlp(settings.otel_endpoint), clock, version)
        except BaseException:
            if metrics is not None:
                metrics.close()
            raise
        return cls(metrics, spans)

    def add(self, *gauges: Gauge) -> None:
        """Show figures that are asked for when somebody looks; nobody ever does when metrics are off."""
        if self._metrics is not None:
            for gauge in gauges:
                self._metrics.add(gauge)

    def text(self) -> str:
        """Every figure, as Prometheus reads it.

        Raises:
            NotFound: Metrics are not switched on.
        """
        if self._metrics is None:
            raise NotFound(
                "this node keeps no metrics",
                "write [telemetry] metrics = true into config.toml of the data directory, and restart the node",
            )
        return self._metrics.text()

    async def close(self) -> None:
        """Stop listening and send what waits, within `CLOSE_S`."""
        if self._metrics is not None:
            self._metrics.close()
        if self._spans is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.to_thread(self._spans.close)
            except TimeoutError:
                log.warning("the last spans were not taken within %g s and are lost", CLOSE_S)
