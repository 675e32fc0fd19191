"""Many appenders at once, each on a stream of its own, and what they saw.

An appender waits for its acknowledgement before it appends again. All begin together; the first part of the time
warms up and is not counted; an append counts when its acknowledgement falls within the time that is.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any

import msgspec
from payloads import EVENTS, stream_name

from mcp_interface.events import Event

WARM_UP = 0.2
"""Part of the measured time that goes before it."""

Append = Callable[[str, int, Event], Any]
"""Stores one event durably: the stream, the version it has reached, the event. Awaitable or not."""
Within = Callable[[int, Callable[[int], Awaitable[None]]], Awaitable[None]]
"""Runs an appender inside something of the medium's own, such as a workflow."""


class Seen(msgspec.Struct):
    """One turn of one medium."""

    rate: float
    """Acknowledged events a second."""
    p50: float
    """Seconds."""
    p99: float
    total: int
    """Events acknowledged, warm-up included."""
    stored: int = 0
    """Bytes on disk afterwards, without what was zeroed in advance."""
    logged: int = 0
    """The same without what can be rebuilt from the log."""


class Load:
    """Appenders that run until time is up.

    Args:
        appenders: How many.
        seconds: How long is counted.
        pause: Seconds from one append of an appender to its next; zero means at once.
    """

    def __init__(self, appenders: int, seconds: float, pause: float = 0.0) -> None:
        self._appenders = appenders
        self._seconds = seconds
        self._pause = pause
        self._streams = [stream_name(number) for number in range(appenders)]
        self._versions = [0] * appenders
        self._waits: list[float] = []
        self._from = self._until = 0.0

    async def run(self, append: Append, within: Within | None = None) -> Seen:
        """Append as tasks of one event loop."""
        begin = asyncio.Barrier(self._appenders)

        async def appender(number: int) -> None:
            if await begin.wait() == 0:
                self._start()
            # Some go on before the one that starts the clock; what they store until then is not counted.
            while (before := time.perf_counter()) < self._until or not self._until:
                await append(self._streams[number], self._versions[number], self._event(number))
                self._acknowledged(number, before)
                if self._pause:
                    await asyncio.sleep(max(0.0, before + self._pause - time.perf_counter()))

        if within is None:
            await asyncio.gather(*map(appender, range(self._appenders)))
        else:
            await asyncio.gather(*(within(number, appender) for number in range(self._appenders)))
        return self._seen()

    def run_threads(self, append: Append) -> Seen:
        """Append from threads."""
        begin = threading.Barrier(self._appenders, self._start)
        errors: list[Exception] = []

        def appender(number: int) -> None:
            begin.wait()
            try:
                while (before := time.perf_counter()) < self._until:
                    append(self._streams[number], self._versions[number], self._event(number))
                    self._acknowledged(number, before)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=appender, args=(number,)) for number in range(self._appenders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return self._seen()

    def _start(self) -> None:
        self._from = time.perf_counter() + WARM_UP * self._seconds
        self._until = self._from + self._seconds

    def _event(self, number: int) -> Event:
        return EVENTS[(number + self._versions[number]) % len(EVENTS)]

    def _acknowledged(self, number: int, before: float) -> None:
        after = time.perf_counter()
        self._versions[number] += 1
        if self._from <= after < self._until:
            self._waits.append(after - before)

    def _seen(self) -> Seen:
        waits = self._waits
        if len(waits) < 2:
            raise ValueError("too few acknowledgements in the time given; take longer turns")
        cuts = quantiles(waits, n=100)
        return Seen(len(waits) / self._seconds, cuts[49], cuts[98], sum(self._versions))
