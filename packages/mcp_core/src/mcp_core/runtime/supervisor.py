"""Keeps actors alive: a crash is answered by a fresh incarnation behind the same ref, and its mail waits.

The strategies and the words are those of OTP. A first crash is answered at once, a second one within the window
after a pause that doubles. A supervisor whose members crash too often has failed, and the one above it restarts it
like any other member: everything below it ends, the last started first, and begins anew in order, behind the same
refs. One that has nobody above it gives up: its actors end, and it says so. A dynamic supervisor never fails: it gives
up the one member that crashes too often, and nobody else.

Everything here happens on the event loop that the supervisor was made on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Any, Final, Literal

from mcp_core.runtime.backoff import pause
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.child import Child, ChildSpec
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.reports import Reports
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import CallerMistaken, LostRace, NodeUnavailable
from mcp_interface.telemetry import Telemetry

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one", "dynamic"]
ALONE: Final = ("one_for_one", "dynamic")
"""Strategies that restart one member and leave its siblings as they are."""


class Supervisor:
    """One node of the tree. Its members are actors and other supervisors.

    Args:
        clock: For windows and pauses.
        entropy: For the jitter of pauses.
        name: As people see it in the tree.
        strategy: Who is restarted when a member ends: it alone; all; it and those started after it. `dynamic` is for
            many independent members: as the first, and one that is given up is nobody else's matter.
        max_restarts: More than so many ends within the window: given up. Counted for each member by the two
            strategies that restart one member, for all together by the others.
        window_s: Seconds.
        telemetry: Where restarts are told.
        on_give_up: Told once when it will not come back, though nobody closed it.
    """

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        *,
        name: str = "",
        strategy: Strategy = "dynamic",
        max_restarts: int = 5,
        window_s: float = 60.0,
        telemetry: Telemetry | None = None,
        on_give_up: Callable[[BaseException], None] | None = None,
    ) -> None:
        if max_restarts < 0 or window_s <= 0:
            raise CallerMistaken(
                f"{max_restarts} restarts in {window_s} s cannot be counted",
                "allow none or more, in a window of more than no time",
            )
        self.name = name
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.window_s = window_s
        self.parent: Supervisor | None = None
        self.failures = 0
        """How often it has failed as a whole."""
        self.home = present_loop()
        self.ends: list[float] | None = None
        """When it has failed within the window of the one above."""
        self.down = False
        """It has failed or is halted, and waits to be begun anew; its members stay as they are."""
        self.halting = False
        self.closed = False
        """It takes no child any more, and brings none back."""
        self.revival: asyncio.Task[None] | None = None
        self._clock = clock
        self._entropy = entropy
        self._members: dict[str, Child | Supervisor] = {}
        self._branches: dict[str, Supervisor] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        """What is on its way out, by name; a successor begins when it is over."""
        self._ends: list[float] = []
        self._pause = 0.0
        self._mending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.reports = Reports(name, telemetry, on_give_up)

    # -- the tree --------------------------------------------------------------------------------------------

    def start(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and keep it running.

        While one of the same name is on its way out, the new one takes mail and begins when the other has ended: two
        of one name never run at the same time.

        Raises:
            LostRace: A member of that name is running.
            NodeUnavailable: The supervisor has been closed, or has given up.
            CallerMistaken: This is not the supervisor's event loop.
            Exception: What making it raised; the name is free again.
        """
        name = spec.name
        if name in self._members or self.closed:
            raise self._refusal(name)
        if asyncio._get_running_loop() is not self.home.loop:
            raise CallerMistaken(
                f"{name} cannot be started here: this is not its supervisor's event loop",
                "start it there, with `loop.call_soon_threadsafe`",
            )
        ref: Ref[Any] = spec.make().actor_ref
        if name in self._members:  # by what made it
            raise self._refusal(name)
        child = self._members[name] = Child(self, spec, ref)
        child.begin(later=self.down or name in self._endings)
        return ref

    def branch(self, branch: "Supervisor") -> "Supervisor":
        """Put another supervisor below this one, as its member.

        Raises:
            LostRace: There is a member of that name, or the branch has its place already.
            NodeUnavailable: The supervisor has been closed, or has given up.
        """
        if branch.name in self._members or self.closed:
            raise self._refusal(branch.name)
        if branch.parent is not None or branch is self:
            raise LostRace(f"{branch.name!r} has its place in a tree already", "make another supervisor")
        self._members[branch.name] = self._branches[branch.name] = branch
        branch.parent = self
        return branch

    def _refusal(self, name: str) -> LostRace | NodeUnavailable:
        if self.closed:
            return NodeUnavailable(
                f"the supervisor {self.name!r} has ended: {name} is not started", "start the node again"
            )
        return LostRace(f"{name} is already supervised", "stop it first, or choose another name")

    def children(self) -> list[Child]:
        """Its own actors, in the order they were started."""
        return [member for member in self._members.values() if isinstance(member, Child)]

    def branches(self) -> "list[Supervisor]":
        """The supervisors below it."""
        return list(self._branches.values())

    def walk(self) -> "Iterator[tuple[Supervisor, Child]]":
        """Every child below, with its supervisor."""
        for child in self.children():
            yield self, child
        for branch in self.branches():
            yield from branch.walk()

    def child(self, name: str) -> Child | None:
        """A child of its own by name."""
        member = self._members.get(name)
        return member if isinstance(member, Child) else None

    def find(self, name: str) -> Child | None:
        """A child by name, its own or of any supervisor below."""
        below = (branch.find(name) for branch in self.branches())
        return self.child(name) or next(filter(None, below), None)

    def restarts(self, name: str) -> int:
        """How often a running child has been brought back."""
        child = self.child(name)
        return 0 if child is None else child.restarts

    def answers(self, child: Child) -> bool:
        """Whether one more unplanned end of a child would be answered by a restart, and not by giving up."""
        ends = (child.ends or []) if self.strategy in ALONE else self._ends
        since = self._clock.monotonic() - self.window_s
        return child.spec.restart != "temporary" and sum(end >= since for end in ends) < self.max_restarts

    # -- the end ---------------------------------------------------------------------------------------------

    async def stop(self, name: str, timeout: float | None = None) -> None:
        """End a member for good, after the mail it has; unknown names are ignored.

        One that is still busy at the deadline is killed: whoever waits for it is told. It ends also when the caller is
        cancelled meanwhile. Who stops it a second time waits for the same end.

        Args:
            name: The member's.
            timeout: Seconds; None takes the child's own.
        """
        ending = self._end(name, timeout)
        if ending is not None:
            await asyncio.shield(ending)

    async def close(self, timeout: float | None = None) -> None:
        """End everything below, the last started first; dynamic members all at once. Nothing is started any more.

        Args:
            timeout: Seconds for each step; None takes each child's own.
        """
        await asyncio.shield(self._close(timeout))

    end = close
    """As a member of another one."""

    def _end(self, name: str, timeout: float | None) -> "asyncio.Task[None] | None":
        member = self._members.get(name)
        if member is not None:
            self.forget(member)
            if member.revival is not None:
                member.revival.cancel()
            ending = self._endings[name] = self._later(member.end(timeout))
            ending.add_done_callback(partial(self._is_over, name))
        return self._endings.get(name)

    def _is_over(self, name: str, ending: "asyncio.Task[None]") -> None:
        if self._endings.get(name) is ending:
            del self._endings[name]
            successor = self.child(name)
            if successor is not None and not (self.down or self.closed):
                successor.begin_again()

    def _close(self, timeout: float | None) -> "asyncio.Task[None]":
        if self._closing is None:
            self.closed = True
            for task in (self._mending, self.revival):
                if task is not None:
                    task.cancel()
            self._closing = self._later(self._end_all(timeout))
        return self._closing

    async def _end_all(self, timeout: float | None) -> None:
        for name in list(reversed(self._members)):
            if (ending := self._end(name, timeout)) is not None and self.strategy != "dynamic":
                await asyncio.wait([ending])
        if self._endings:  # of dynamic members, and what was on its way out before
            await asyncio.wait(self._endings.values())
        if self.parent is not None:
            self.parent.forget(self)

    # -- when a member ends ----------------------------------------------------------------------------------

    def lost(self, member: "Child | Supervisor", error: BaseException, *, made: bool = True) -> bool:
        """Decide about a member that has ended and is wanted.

        Args:
            member: It is not running now.
            error: Why.
            made: Whether there was an incarnation; one that could not even be made is not tried again at once.

        Returns:
            Whether it is kept, to be brought back here or when those above have decided.
        """
        if self.closed or self.down or member.halting:
            return True
        count = self._count(member)
        if count > self.max_restarts:
            if self.strategy != "dynamic":
                self._fail(error)
                return True
            self.forget(member)
            member.give_up(error)
            return False
        delay = 0.0 if made and count == 1 else pause(max(1, count - 1), self._entropy)
        if isinstance(member, Child):
            member.restarts += 1
            self.reports.restarted(member, error, delay)
        if self.strategy not in ALONE:
            self._regroup(member, delay)
        elif delay or isinstance(member, Supervisor):
            member.revival = self._later(self._revive(member, delay))
        else:
            member.begin_again()
        return True

    def forget(self, member: "Child | Supervisor") -> None:
        """A member is over, and its name free."""
        if self._members.get(member.name) is member:
            del self._members[member.name]
            self._branches.pop(member.name, None)

    def _count(self, member: "Child | Supervisor") -> int:
        """Note an end; how many there have been within the window."""
        ends = self._ends
        if self.strategy in ALONE:
            ends = member.ends = member.ends or []
        now = self._clock.monotonic()
        ends.append(now)
        while ends[0] < now - self.window_s:
            del ends[0]
        return len(ends)

    async def _revive(self, member: "Child | Supervisor", delay: float) -> None:
        if isinstance(member, Supervisor):
            await member.halt()
        await self._clock.sleep(delay)
        member.revival = None
        member.begin_again()

    # -- failing as a whole ----------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """It cannot keep its members alive: the supervisor above decides, and without one it is over."""
        self.failures += 1
        self.down = True
        self.reports.failed(error, self.max_restarts)
        if self.parent is None:
            self.give_up(error)
        else:
            self.parent.lost(self, error)

    def give_up(self, error: BaseException) -> None:
        """End everything below for good, because of this, and say so."""
        self.condemn(error)
        closing = self._close(None)
        if self.parent is not None:  # which waits for it when it is closed itself
            self.parent._endings[self.name] = closing
            closing.add_done_callback(partial(self.parent._is_over, self.name))
        self.reports.ended(error)

    def condemn(self, error: BaseException) -> None:
        """Let every child below know why it will be ended."""
        for member in self._members.values():
            member.condemn(error)

    # -- several at once -------------------------------------------------------------------------------------

    async def halt(self) -> None:
        """End the incarnations of everything below, the last started first; refs and mail stay."""
        if self.closed:
            return
        self.down = True
        if self._mending is not None:
            self._mending.cancel()
        for member in self._members.values():
            member.halting = True
            if member.revival is not None:
                member.revival.cancel()
        await self._halt(list(self._members.values()))

    def begin_again(self) -> None:
        """Begin everything below anew, in order, with no ends counted."""
        if self.closed:
            return
        self.halting = self.down = False
        self._ends.clear()
        for member in self._members.values():
            member.ends = None
        self._begin(list(self._members.values()))

    async def _halt(self, members: "list[Child | Supervisor]") -> None:
        if self.strategy == "dynamic":
            await asyncio.gather(*(member.halt() for member in members))
        else:
            for member in reversed(members):
                await member.halt()

    def _begin(self, members: "Iterable[Child | Supervisor]") -> None:
        for member in members:
            if member.name in self._endings:
                continue  # its predecessor first
            member.begin_again()
            if self.down or (member.down and self.strategy not in ALONE):
                return  # decided elsewhere: all of them are halted again

    def _regroup(self, member: "Child | Supervisor", delay: float) -> None:
        """Mark those that end and begin with a member, and see to it that they do."""
        all = list(self._members.values())
        for each in all if self.strategy == "one_for_all" else all[all.index(member) :]:
            each.halting = True
        self._pause = max(self._pause, delay)
        if self._mending is None or self._mending.done():
            self._mending = self._later(self._mend())

    async def _mend(self) -> None:
        """End those that are marked, the last first, and begin them anew in order."""
        while marked := self._marked():
            await self._halt(marked)
            delay, self._pause = self._pause, 0.0
            await self._clock.sleep(delay)
            if set(self._marked()) <= set(marked):  # else more have to end first
                self._begin(self._marked())

    def _marked(self) -> "list[Child | Supervisor]":
        return [member for member in self._members.values() if member.halting]

    def _later(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the event loop would forget it
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.reports.broken(error)


__all__ = ["Child", "ChildSpec", "Strategy", "Supervisor"]
