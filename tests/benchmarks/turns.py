"""Turns of rivals, each in a process of its own, and the lines that say what came of them."""

import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median, quantiles
from typing import Any

Figures = dict[str, float]
"""What one turn of one medium gave, by name."""
Medium = tuple[Callable[..., Figures], Any]
"""A function that a fresh process can run, and its arguments."""


def show(
    name: str, unit: str, value: float, peer: str | None = None, peer_value: float | None = None
) -> None:
    """One figure. A peer that is not on this machine is named, without a value."""
    line = {"name": name, "value": rounded(value), "unit": unit, "peer": peer}
    line |= {"peer_value": None, "ratio": None}
    if peer_value is not None:
        line |= {"peer_value": rounded(peer_value), "ratio": rounded(value / peer_value)}
    print(json.dumps(line), flush=True)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def apart(work: Callable[..., Any], *args: Any) -> Any:
    """Run a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *args).result()


def every_turn(media: dict[str, tuple[Any, ...]], turns: int) -> dict[str, list[Any]]:
    """Run every medium once in each turn, apart; the order moves on by one each time. Gives what each run gave.

    One that fails ends the run: nothing is passed over.
    """
    seen: dict[str, list[Any]] = {title: [] for title in media}
    titles = list(media)
    for turn in range(turns):
        for place in range(len(titles)):
            title = titles[(place + turn) % len(titles)]
            seen[title].append(apart(*media[title]))
    return seen


def in_turns(media: dict[str, tuple[Any, ...]], turns: int) -> dict[str, Figures]:
    """As `every_turn`, for media that give figures. Gives the medians."""
    return {title: medians(figures) for title, figures in every_turn(media, turns).items()}


def medians(seen: list[Figures]) -> Figures:
    return {name: median(figures[name] for figures in seen) for name in seen[0]}


# -- within one turn ---------------------------------------------------------------------------------------


class Speed:
    """Operations a second, by the clock on the wall and by the time of the processor. The medians of some rounds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._wall: list[float] = []
        self._busy: list[float] = []

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_raised: object) -> None:
        self._wall.append(time.perf_counter() - self._began[0])
        self._busy.append(time.process_time() - self._began[1])

    def figures(self, name: str) -> Figures:
        busy = max(median(self._busy), 1e-6)
        return {name: self.count / median(self._wall), f"{name}, CPU": self.count / busy}


async def rounds(name: str, count: int, work: Callable[[int], Awaitable[Any]], times: int = 5) -> Figures:
    """Operations a second of a coroutine function that does so many, after a warm-up."""
    await work(max(1, count // 10))
    speed = Speed(count)
    for _ in range(times):
        with speed:
            await work(count)
    return speed.figures(name)


def waited(name: str, seconds: Iterable[float]) -> Figures:
    """Median and 99th percentile in milliseconds."""
    cuts = quantiles(seconds, n=100)
    return {f"{name}, p50": 1000 * cuts[49], f"{name}, p99": 1000 * cuts[98]}
