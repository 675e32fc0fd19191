"""Names the handler that keeps its event loop: nothing can interrupt it, but nobody need guess.

A thread looks a few times a second whether the loop goes on. It costs the loop one callback at each look, and the
actors nothing at all.
"""

import asyncio
import logging
import sys
import sysconfig
import threading
import traceback
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import CodeType, FrameType
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from mcp_core.runtime import waits
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.loop import Loop

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""Seconds between two looks."""
PATIENCE_S: Final = 0.5
"""Seconds that a handler may keep its loop before it is named."""
KEPT: Final = 10
"""Handlers that have let go again and are still told of."""


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that has kept its loop for too long."""

    actor: str
    """Its name; empty when it is no actor's code."""
    type: str
    duration_s: float
    """So far."""
    where: str
    """File, line and function at which it was seen."""


class Watchdog:
    """Watches one loop from a thread of its own.

    Args:
        home: The loop; it must be running.
        tell: Told once about each handler that is too slow, on the watchdog's thread.
        patience_s: Seconds a handler may take.
        look_s: Seconds between two looks.
    """

    def __init__(
        self,
        home: Loop,
        tell: Callable[[Blocked], None],
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self.blocked: Blocked | None = None
        """What blocks the loop now."""
        self.worst_s = 0.0
        """Longest time that the loop has been kept."""
        self._home = home
        self._tell = tell
        self._patience = patience_s
        self._look = look_s
        self._passed: deque[tuple[Blocked, float]] = deque(maxlen=KEPT)
        self._over = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        self._answered.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def passed(self) -> list[tuple[Blocked, float]]:
        """The last handlers that kept the loop and have let go, each with the seconds since then; the latest last."""
        now = monotonic()
        return [(blocked, now - ended) for blocked, ended in list(self._passed)]

    def _watch(self) -> None:
        while not self._over.wait(self._look):
            self._answered.clear()
            began = monotonic()
            self._home.run_there(self._answered.set)
            if self._home.ident == 0:  # the loop is over
                return
            if not self._answered.wait(self._patience) and not self._over.is_set():
                self._wait_for_it(began)

    def _wait_for_it(self, began: float) -> None:
        """Name what blocks, and wait until it has passed."""
        self.blocked = self._see(began)
        log.warning(
            "%s has kept the event loop for %.1f s, at %s",
            self.blocked.actor or "code outside the actors",
            self.blocked.duration_s,
            self.blocked.where,
        )
        self._tell(self.blocked)
        self._answered.wait()
        ended = monotonic()
        self.worst_s = max(self.worst_s, ended - began)
        self._passed.append((replace(self.blocked, duration_s=ended - began), ended))
        self.blocked = None

    def _see(self, began: float) -> Blocked:
        ref = self._who()
        frame = sys._current_frames().get(self._home.ident)
        return Blocked(
            actor="" if ref is None else ref.label,
            type="" if ref is None else ref.actor_class.__name__,
            duration_s=monotonic() - began,
            where="unknown" if frame is None else _place(frame),
        )

    def _who(self) -> Ref[Any] | None:
        """The actor whose handler runs: begun on the scheduler's stack, or gone on in a task of its own."""
        stack = list(self._home.stack)
        if stack:
            return stack[-1]
        task = asyncio.current_task(self._home.loop)
        return None if task is None else waits.owners.get(task)


_LIBRARY: Final = sysconfig.get_path("stdlib")
_INSTALLED: Final = sysconfig.get_path("purelib")


def _place(frame: FrameType) -> str:
    """Where a stack stands: at its innermost line outside the standard library, and what that line has called."""
    stack = [(each.f_code, line) for each, line in traceback.walk_stack(frame)]
    inner = _line(*stack[0])
    for code, line in stack:
        name = code.co_filename
        if not name.startswith("<") and (name.startswith(_INSTALLED) or not name.startswith(_LIBRARY)):
            own = _line(code, line)
            return own if own == inner else f"{own}, in {inner}"
    return inner


def _line(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line} {code.co_name}"
