"""What blocks an event loop is named, and nothing else is. Handlers here block until they have been named."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

from actors import TEST_S, Doer, PlainDoer
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.system import System
from mcp_core.runtime.watchdog import KEPT, Blocked, Watchdog
from mcp_interface.clock import SystemClock
from mcp_interface.testing import RecordingTelemetry, SeededEntropy

HERE = __file__


class Named:
    """Takes what a watchdog tells, and lets whoever blocks go on."""

    def __init__(self) -> None:
        self.all: list[Blocked] = []
        self._come = threading.Event()

    def tell(self, blocked: Blocked) -> None:
        self.all.append(blocked)
        self._come.set()

    def block(self) -> None:
        self._come.clear()
        assert self._come.wait(TEST_S), "nobody named it"

    def block_without_python(self) -> None:
        self._come.clear()
        while not self._come.is_set():
            time.sleep(0.01)


def watched(work: Callable[[Named, Watchdog], Any], patience_s: float = 0.03) -> list[Blocked]:
    async def scenario() -> list[Blocked]:
        named = Named()
        watchdog = Watchdog(present_loop(), named.tell, patience_s=patience_s, look_s=0.005)
        watchdog.start()
        try:
            async with asyncio.timeout(TEST_S):
                await work(named, watchdog)
        finally:
            watchdog.stop()
        assert not watchdog._thread.is_alive()
        return named.all

    return asyncio.run(scenario())


async def _free(watchdog: Watchdog) -> None:
    while watchdog.blocked is not None:
        await asyncio.sleep(0.005)


def test_a_handler_that_keeps_its_loop_is_named_with_its_actor_and_the_line() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        ref = PlainDoer.start()
        ref._tied().name = "sleeper"
        await ref.call(named.block_without_python, timeout=TEST_S)
        await _free(watchdog)
        assert watchdog.worst_s >= 0.03
        (passed,) = watchdog.passed()
        assert passed[0].actor == "sleeper"
        assert passed[0].duration_s == watchdog.worst_s, "in the end, not when it was noticed"
        assert passed[1] >= 0

    (blocked,) = watched(work)
    assert (blocked.actor, blocked.type) == ("sleeper", "PlainDoer")
    lines, first = inspect.getsourcelines(Named.block_without_python)
    assert blocked.where.startswith(f"{HERE}:")
    assert blocked.where.endswith(" block_without_python")
    assert first <= int(blocked.where.split(":")[1].split()[0]) < first + len(lines)


def test_inside_the_standard_library_the_line_that_called_it_comes_first() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        await PlainDoer.start().call(named.block, timeout=TEST_S)

    (blocked,) = watched(work)
    own, inner = blocked.where.split(", in ")
    assert own.startswith(f"{HERE}:")
    assert own.endswith(" block")
    assert "threading.py:" in inner


def test_a_coroutine_that_blocks_after_it_has_waited_is_named_too() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        async def later() -> None:
            await asyncio.sleep(0.001)
            named.block()

        await Doer.start().call(later, timeout=TEST_S)

    (blocked,) = watched(work)
    assert blocked.type == "Doer"


def test_code_outside_the_actors_is_told_without_a_name() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        await asyncio.sleep(0)
        named.block()

    (blocked,) = watched(work)
    assert (blocked.actor, blocked.type) == ("", "")
    assert blocked.where.startswith(f"{HERE}:")


def test_each_is_told_once_and_the_last_are_kept() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        for _ in range(KEPT + 2):
            await PlainDoer.start().call(named.block, timeout=TEST_S)
            await _free(watchdog)
        assert len(watchdog.passed()) == KEPT

    assert len(watched(work, 0.01)) == KEPT + 2


def test_an_idle_loop_and_one_that_is_busy_with_small_things_raise_no_alarm() -> None:
    async def work(named: Named, watchdog: Watchdog) -> None:
        ref = PlainDoer.start()
        for _ in range(50):
            ref.tell(lambda: None)
            await asyncio.sleep(0.004)
        assert watchdog.blocked is None
        assert watchdog.worst_s == 0

    assert watched(work, patience_s=TEST_S) == []


def test_a_system_tells_telemetry_and_its_watchdog_ends_with_it() -> None:
    async def scenario() -> None:
        telemetry = RecordingTelemetry()
        system = System(SystemClock(), SeededEntropy(), telemetry)
        system.watchdog._patience = system.watchdog._look = 0.02
        async with system, asyncio.timeout(TEST_S):
            told = threading.Event()
            telemetry.attach("mcp.actor.blocked", lambda *_: told.set())
            ref = PlainDoer.start()
            ref._tied().name = "greedy"
            await ref.call(lambda: told.wait(TEST_S), timeout=TEST_S)
        (heard,) = [heard for heard in telemetry.heard if heard.name == "mcp.actor.blocked"]
        assert heard.metadata["actor"] == "greedy"
        assert heard.metadata["type"] == "PlainDoer"
        assert HERE in heard.metadata["where"]
        assert heard.measurements["duration_s"] > 0
        assert not system.watchdog._thread.is_alive()

    asyncio.run(scenario())


def test_a_watchdog_of_a_loop_that_is_gone_ends_by_itself_and_blames_nobody() -> None:
    named = Named()

    async def scenario() -> Watchdog:
        watchdog = Watchdog(present_loop(), named.tell, patience_s=TEST_S, look_s=0.05)
        watchdog.start()
        return watchdog

    watchdog = asyncio.run(scenario())
    watchdog._thread.join(TEST_S / 2)
    assert not watchdog._thread.is_alive()
    assert named.all == []
