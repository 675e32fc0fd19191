"""Figures for Prometheus, derived from the telemetry table by rule.

A row that measures a duration (`…_s`) becomes a histogram in seconds, which counts its events as well; a row
without one becomes a counter of events. Any other amount becomes a counter of its sum; levels are left out,
because adding them up means nothing. Only a row's labels become labels: ids, addresses and words of errors
never do. What is so much now (actors, mail, dead letters) is asked for when somebody looks, through a
function.

The figures are kept here and the library writes them: its own counters take a lock for each of several steps
and look through all buckets, which made an event three times as dear. Needs the extra `metrics`; the registry
is our own, so that nothing of a host program gets in.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final

import msgspec

from mcp_core.observe.extras import required
from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import LEVELS, TABLE, Telemetry, TelemetryEvent

log = logging.getLogger(__name__)

EXTRA: Final = "metrics"
BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 3600.0),
)
"""Seconds: from a message (100 us) over a tool call to the life of an agent (an hour)."""
MAX_SERIES: Final = 500
"""Label sets of one metric; all further ones are counted together under `OTHER`."""
OTHER: Final = "other"
MAX_LABEL: Final = 100
"""Characters of a label's value; names of tools and models come from outside."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that is asked for when somebody looks."""

    name: str
    """As Prometheus shall show it, such as `mcp_actors_alive`."""
    help: str
    read: Callable[[], float]
    """Quick, and called in the thread of whoever looks. One that raises is left out of that answer."""


class Metrics:
    """Listens to every row of the table; `text` is what Prometheus reads.

    Args:
        telemetry: What to listen to.

    Raises:
        CallerMistaken: The extra is not installed.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        library = required("prometheus_client", EXTRA)
        self._families = required("prometheus_client.core", EXTRA)
        self._write: Callable[[Any], bytes] = library.generate_latest
        self._registry = library.CollectorRegistry()
        self._registry.register(self)
        self._gauges: dict[str, Gauge] = {}
        self._tallies = {name: Tally(row) for name, row in TABLE.items()}
        self._stops = [telemetry.attach(name, tally.take) for name, tally in self._tallies.items()]

    def add(self, gauge: Gauge) -> None:
        """Show one more figure.

        Raises:
            CallerMistaken: There is one of that name.
        """
        if gauge.name in self._gauges:
            raise CallerMistaken(f"there is a gauge {gauge.name!r} already", "choose another name")
        self._gauges[gauge.name] = gauge

    def text(self) -> str:
        """Every figure now, in Prometheus' text format 0.0.4."""
        return self._write(self._registry).decode()

    def close(self) -> None:
        """Stop listening; harmless when repeated."""
        for stop in self._stops:
            stop()

    def describe(self) -> Iterable[Any]:
        """Nothing in advance; for the library's registry."""
        return ()

    def collect(self) -> Iterable[Any]:
        """Every figure now; for the library's registry."""
        for name, tally in self._tallies.items():
            yield from tally.families(name, self._families)
        for gauge in list(self._gauges.values()):
            try:
                value = float(gauge.read())
            except Exception:
                log.exception("the gauge %s cannot be read", gauge.name)
            else:
                yield self._families.GaugeMetricFamily(gauge.name, gauge.help, value=value)


class _Cell:
    """The figures of one set of label values."""

    __slots__ = ("amounts", "buckets", "events", "seconds")

    def __init__(self, amounts: int) -> None:
        self.events = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.amounts = [0.0] * amounts


class Tally:
    """What the events of one row have come to, by its labels."""

    def __init__(self, row: TelemetryEvent) -> None:
        self._labels = row.labels
        self._key: Callable[[Mapping[str, Any]], Any] = itemgetter(*row.labels) if row.labels else _no_labels
        self._duration = next((key for key in row.measurements if key.endswith("_s")), None)
        self._amounts = tuple(key for key in row.measurements if key != self._duration and key not in LEVELS)
        self._cells: dict[Any, _Cell] = {}
        self._lock = threading.Lock()  # tools run in threads; adding is reading and writing

    def take(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Add one event."""
        key = self._key(metadata)
        with self._lock:
            cell = self._cells.get(key) or self._new(key)
            cell.events += 1
            if self._duration is not None:
                seconds = measurements[self._duration]
                cell.seconds += seconds
                cell.buckets[bisect_left(BUCKETS, seconds)] += 1
            if self._amounts:
                for place, amount in enumerate(self._amounts):
                    cell.amounts[place] += measurements[amount]

    def families(self, name: str, library: Any) -> Iterable[Any]:
        """The row as metrics of the library."""
        plain = name.replace(".", "_")
        with self._lock:
            cells = [(self._values(key), _copy(cell)) for key, cell in self._cells.items()]
        if self._duration is None:
            counter = library.CounterMetricFamily(plain, f"{name}: events", labels=self._labels)
            for values, cell in cells:
                counter.add_metric(values, cell.events)
            yield counter
        else:
            title = f"{plain}_{self._duration.removesuffix('_s')}_seconds"
            histogram = library.HistogramMetricFamily(title, f"{name}: seconds", labels=self._labels)
            for values, cell in cells:
                histogram.add_metric(values, _cumulative(cell.buckets), cell.seconds)
            yield histogram
        for place, amount in enumerate(self._amounts):
            total = library.CounterMetricFamily(
                f"{plain}_{amount}", f"{name}: sum of {amount}", labels=self._labels
            )
            for values, cell in cells:
                total.add_metric(values, cell.amounts[place])
            yield total

    def _new(self, key: Any) -> _Cell:
        if len(self._cells) >= MAX_SERIES:
            key = OTHER if len(self._labels) == 1 else (OTHER,) * len(self._labels)
        return self._cells.setdefault(key, _Cell(len(self._amounts)))

    def _values(self, key: Any) -> list[str]:
        values = (key,) if len(self._labels) == 1 else key
        return [str(value)[:MAX_LABEL] for value in values]


def _no_labels(metadata: Mapping[str, Any]) -> tuple[()]:
    return ()


def _copy(cell: _Cell) -> _Cell:
    copy = _Cell(0)
    copy.events, copy.seconds = cell.events, cell.seconds
    copy.buckets, copy.amounts = list(cell.buckets), list(cell.amounts)
    return copy


def _cumulative(buckets: list[int]) -> list[tuple[str, int]]:
    return list(zip([*map(str, BUCKETS), "+Inf"], accumulate(buckets), strict=True))
