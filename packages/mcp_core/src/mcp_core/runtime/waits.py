"""Who waits for whom: finds actors that wait for each other before they begin to.

An actor that awaits a reply waits for the actor that was asked; an actor handles one message at a time, so a circle
of such waits never ends. Each wait is looked at when it begins: the circle is named, not timed out. Only what a
handler itself awaits counts. What a task awaits that the handler made may outlast the handler, so a circle through
`asyncio.gather` is left to the deadline of the calls.
"""

import asyncio
from _thread import get_ident
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING, Any, Protocol

from mcp_interface.errors import Deadlock

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref
    from mcp_core.runtime.future import Future

owners: dict["asyncio.Task[Any]", "Ref[Any]"] = {}
"""Which actor's suspended handler a task carries."""


class Thread(Protocol):
    """What a thread that runs actors knows of itself."""

    loop: Any
    """The event loop whose coroutines run on it, or None."""
    stack: list["Ref[Any]"]
    """Actors whose handlers run on this thread now, the innermost last."""

    def work_off(self, future: "Future") -> bool:
        """Do what can be done on this thread for a reply; False leaves it to wait."""
        ...

    def is_carrier(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task is one that stands in for handlers that begin."""
        ...

    def blocking(self, more: int) -> None:
        """One more (or, with -1, one less) handler of this thread's kind is about to block."""
        ...


class _Here(local):
    thread: Thread | None = None


here = _Here()
"""The pool that this thread works for, if it does."""

homes: dict[asyncio.AbstractEventLoop, Any] = {}
"""What runs actors on an event loop."""

_waits: dict["Ref[Any]", list["Future"]] = {}


def present() -> Thread | None:
    """What runs actors here: on the running event loop, or else on this thread."""
    loop = asyncio._get_running_loop()
    return here.thread if loop is None else homes.get(loop)


def who() -> "Ref[Any] | None":
    """The actor whose handler runs here now."""
    thread = present()
    if thread is None:
        return None
    if thread.stack:
        return thread.stack[-1]
    task = None if thread.loop is None else asyncio.current_task()
    return None if task is None else owners.get(task)


def who_awaits() -> "Ref[Any] | None":
    """The actor whose handler the coroutine that runs here belongs to.

    A task that begins at once when it is made, on the stack of the handler that makes it, is not the handler's.
    """
    thread, task = present(), asyncio.current_task()
    if thread is None or task is None:
        return None
    if thread.stack and thread.is_carrier(task):
        return thread.stack[-1]
    return owners.get(task)


def begin(me: "Ref[Any]", future: "Future") -> None:
    """Note that an actor waits.

    Raises:
        Deadlock: What it waits for waits for it.
    """
    # Noted before it is looked for: of two that begin on two threads at once, one sees the other.
    _waits.setdefault(me, []).append(future)
    target = future._target
    chain = None
    if target in _waits or target is me:  # most targets wait for nobody
        chain = _path(target, me)
    if chain is not None:
        end(me, future)
        names = " -> ".join(ref.label for ref in [me, *chain])
        raise Deadlock(
            f"these actors would wait for each other: {names}",
            "answer before you ask back, or tell instead of ask",
            {"chain": [ref.label for ref in chain]},
        )


def end(me: "Ref[Any]", future: "Future") -> None:
    """The wait is over."""
    mine = _waits.get(me)
    if mine is not None and future in mine:
        mine.remove(future)
        if not mine:
            del _waits[me]


def forget(me: "Ref[Any]") -> None:
    """An actor's handler is not looked at any more: what it waits for says nothing about the actor."""
    _waits.pop(me, None)


def awaited(ref: "Ref[Any]") -> list[str]:
    """Names of the actors whose replies an actor waits for."""
    return [future._target.label for future in list(_waits.get(ref, ())) if future._target is not None]


def _path(start: "Ref[Any]", goal: "Ref[Any]") -> list["Ref[Any]"] | None:
    """From one actor along what each waits for to another, or None."""
    came: dict[Ref[Any], Ref[Any] | None] = {start: None}
    edge = [start]
    while edge:
        ref = edge.pop()
        if ref is goal:
            path, step = [], came[ref]
            path.append(ref)
            while step is not None:
                path.append(step)
                step = came[step]
            return path[::-1]
        for future in list(_waits.get(ref, ())):
            target = future._target
            # One that has its reply waits no more, though it has not gone on yet.
            if target is not None and target not in came and not future.done():
                came[target] = ref
                edge.append(target)
    return None


@contextmanager
def waiting(future: "Future") -> Iterator[None]:
    """Around a thread that blocks until a reply is there."""
    thread, me = present(), who()
    if me is not None:
        begin(me, future)
    try:
        if thread is None:
            yield
            return
        thread.blocking(1)
        try:
            yield
        finally:
            thread.blocking(-1)
    finally:
        if me is not None:
            end(me, future)


def work_off(future: "Future") -> bool:
    """Do on this thread what brings a reply, before it blocks; whether the reply is there."""
    thread, target = present(), future._target
    if target is not None and getattr(target._home, "ident", 0) == get_ident():
        thread = target._home  # also when its loop stands still: this thread alone can run it
    return thread is not None and thread.work_off(future)
