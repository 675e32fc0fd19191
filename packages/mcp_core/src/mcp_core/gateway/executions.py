"""Tool calls as things of their own: each has its turn, can be asked about, waited for and cancelled.

Every call of the node passes through `Executions.run`, whoever wants it: the assistant, a person who waits, or
nobody any more. So many of a principal's calls run at once in a session, others wait in order, and beyond a bound
they are refused. A call that is started (`start`) is journaled before it is answered for and belongs to the node:
its client may leave, and whoever is entitled fetches the result later, from the journal. One that waits for people
gives its turn to others meanwhile, and goes on in the next process, as do those that began or waited without harm
(`take_up`; which, says `mcp_core.agents.left`). Judging and running is the guard's; the progress of what is running
is kept here and nowhere else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, Protocol

import msgspec

from mcp_core.agents.tool_executor import MAX_CALLS, ToolRequest
from mcp_core.gateway.execution_index import ExecutionIndex, unknown
from mcp_core.gateway.guard import not_begun
from mcp_core.gateway.sessions import Sessions, person_of
from mcp_core.gateway.state import Running, stream_of
from mcp_interface.client import Passing, ToolProgress
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.commands import CallOutcome
from mcp_interface.errors import (
    Interrupted,
    NodeUnavailable,
    OurBug,
    StorageUnavailable,
    TooMuch,
    UmbrellaError,
)
from mcp_interface.events import ExecutionChanged, TurnEnded
from mcp_interface.execution import Execution, RunStatus
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId, new_id
from mcp_interface.store import Record

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Calls of one principal that run at the same time in one session; one that waits for a right counts, for an answer not."""
ADMITTED: Final = 64
"""Those and the ones that wait for their turn."""
SHARE: Final = MAX_CALLS // 4
"""Those and the waiting ones of one person who is not the owner of the node, in all their sessions."""
LET_GO_S: Final = 5.0
"""How long a cancelled call is waited for before the answer says that it still runs."""

MESSAGE: Final = 500
"""Characters that are kept of what a tool says about its progress."""

Call = Callable[[ToolRequest], Awaitable[CallOutcome]]


class Runner(Protocol):
    """What judges and runs a call when its turn has come (`mcp_core.gateway.guard`)."""

    async def run(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call through the whole path."""
        ...

    def reopen(self, execution_id: ExecutionId, request: ToolRequest) -> None:
        """Let people answer what a call had asked them in an earlier process."""
        ...

    async def recall(self, execution_id: ExecutionId, request: ToolRequest) -> ToolRequest:
        """Wait until they have; the call with their answers."""
        ...

    async def let_go(self, execution_id: ExecutionId) -> None:
        """Withdraw what is still asked for a call that has ended."""
        ...

    def stop(self) -> None:
        """From now on a call that is cut off is so by the stop of the node."""
        ...


class _Lane:
    """The calls of one principal in one session."""

    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self.admitted = 0

    def give_back(self, live: "_Live") -> None:
        if live.has_turn:
            live.has_turn = False
            self.turns.release()

    async def take(self, live: "_Live") -> None:
        await self.turns.acquire()
        live.has_turn = True


class _Live:
    """A call that this process has admitted and not let go."""

    def __init__(self, request: ToolRequest, execution: Execution, lane: _Lane) -> None:
        self.request = request
        self.execution = execution
        self.lane = lane
        self.running: asyncio.Task[object] | None = None
        """The task that waits for its turn and then runs; None: it has not reached the executor."""
        self.has_turn = False
        self.asking = 0
        """How often it waits for people."""
        self.stopped = False
        self.over = False
        """Whether it has been run."""
        self.accepted = False
        """Whether it goes on by itself."""
        self.ended = asyncio.Event()
        """Set when its end is known or it is let go, whichever is first."""
        self.news = asyncio.Event()
        """Set while it has ended, or a question is open."""
        self.left = asyncio.Event()


class Executions:
    """All tool calls of one node.

    Args:
        sessions: Say whose they are; what is journaled is theirs.
        index: Where the journaled ones are.
        publish: Where progress goes on to.
        clock: Source of time.
        entropy: Makes ids.
        owner: Of the node, who has no share but all of it.
        at_once: Calls of one principal that run at the same time in one session.
        admitted: Those and the waiting ones.
    """

    def __init__(
        self,
        sessions: Sessions,
        index: ExecutionIndex,
        publish: Callable[[Passing], None],
        clock: Clock,
        entropy: Entropy,
        owner: PrincipalId,
        at_once: int = AT_ONCE,
        admitted: int = ADMITTED,
    ) -> None:
        self._sessions = sessions
        self._index = index
        self._publish = publish
        self._clock = clock
        self._entropy = entropy
        self._owner = owner
        self._at_once = at_once
        self._admitted = admitted
        self._runner: Runner | None = None
        self._lanes: dict[tuple[SessionId, PrincipalId], _Lane] = {}
        self._live: dict[ExecutionId, _Live] = {}
        self._carried: set[asyncio.Task[None]] = set()
        self._closing = False
        sessions.watch(self._heard)

    def serve(self, runner: Runner) -> None:
        """Say who runs a call when its turn has come."""
        self._runner = runner

    @property
    def stopping(self) -> bool:
        """Whether the node is about to stop."""
        return self._closing

    def stop(self) -> None:
        """The node is about to stop: take nothing more, and what is cut off from now on nobody has cancelled."""
        self._closing = True
        if self._runner is not None:
            self._runner.stop()

    def pass_by(self, passing: Passing) -> None:
        """Note how far a call is, and hand the notice on."""
        if isinstance(passing, ToolProgress) and (live := self._live.get(passing.execution_id)) is not None:
            live.execution = msgspec.structs.replace(
                live.execution, progress=passing.progress, message=passing.message[:MESSAGE]
            )
        self._publish(passing)

    async def run(self, request: ToolRequest) -> CallOutcome:
        """Wait for a turn, then run; cancelling this cancels the call.

        Raises:
            TooMuch: The principal has too many calls in this session, or the node too many altogether.
            UmbrellaError: As the runner says.
        """
        if self._runner is None:
            raise OurBug("nobody runs tool calls yet")
        live = self._known(request)
        started = live is not None
        if live is None:
            live = self._admit(request)
        began = False
        try:
            live.running = asyncio.current_task()
            if live.stopped or live.over:
                raise not_begun(live.request, stopping=self._closing)
            live.request = await self._runner.recall(live.execution.id, live.request)
            await live.lane.take(live)
            began = True
            return await self._runner.run(live.request)
        except asyncio.CancelledError:
            if live.stopped and not began and not started:
                await asyncio.shield(self._end(live, not_begun(live.request, stopping=self._closing)))
            raise
        finally:
            live.over = True
            live.lane.give_back(live)
            if not started:
                self._leave(live)

    @asynccontextmanager
    async def aside(self, execution_id: ExecutionId) -> AsyncIterator[None]:
        """While this is entered, a call that waits for people has given its turn to others."""
        live = self._live.get(execution_id)
        if live is None:
            yield
            return
        live.asking += 1
        live.lane.give_back(live)
        try:
            yield
        finally:
            live.asking -= 1
        if not live.asking and not live.has_turn:
            await live.lane.take(live)

    def take_up(self, session_id: SessionId, left: Mapping[ExecutionId, Running]) -> None:
        """Take in calls of an earlier process that go on, beyond any bound; people can answer them from here on."""
        if self._runner is None:
            raise OurBug("nobody runs tool calls yet")
        for key, running in left.items():
            execution = self._index.open(key)
            if execution is None or key in self._live:
                continue
            request = request_of(session_id, key, running)
            place = (session_id, running.principal_id)
            lane = self._lanes.setdefault(place, _Lane(self._at_once))
            lane.admitted += 1
            live = self._live[key] = _Live(request, execution, lane)
            live.accepted = True
            self._runner.reopen(key, request)
            if execution.questions:
                live.news.set()

    def go_on(self, call: Call, ready: Callable[[str], Awaitable[None]]) -> None:
        """Bring what was taken up to its tools.

        Args:
            call: Brings a request to the executor.
            ready: Waits until a server, by its name, can be asked for its tools, or is not going to be for a while.
        """

        async def bring(request: ToolRequest) -> CallOutcome:
            await ready(request.server)
            return await call(request)

        for live in self._live.values():
            if live.accepted and live.request.call is not None:
                self._carry_on(live, bring)

    async def start(self, request: ToolRequest, call: Call) -> Execution:
        """Accept a call that goes on by itself; durable when this returns.

        Args:
            request: Without an id.
            call: Brings a request to the executor, and so back to `run`.

        Raises:
            TooMuch: As `run`.
            LostRace: The session has ended.
            StorageUnavailable: It could not be journaled and was not accepted.
        """
        live = self._admit(request)
        # shielded: who leaves in this moment leaves a call that is known, or none
        await asyncio.shield(asyncio.ensure_future(self._accept(live, call)))
        return live.execution

    async def get(self, execution_id: ExecutionId, who: PrincipalId, wait_s: float = 0.0) -> Execution:
        """One call as it is, or as it is when it has ended, asks something, or time is up.

        Args:
            execution_id: Which.
            who: The owner of its session, or the principal that began it.
            wait_s: Seconds to wait for its end, or for a question of it.

        Raises:
            NotFound: There is none, or `who` is somebody else.
        """
        live = self._live.get(execution_id)
        if live is not None:
            self._require(live.execution, who)
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await live.news.wait()
            if not live.ended.is_set():
                return live.execution
        return await self._index.read(execution_id, lambda found: self._require(found, who))

    def listed(
        self, who: PrincipalId, session_id: SessionId | None, status: RunStatus | None
    ) -> list[Execution]:
        """What somebody may see, latest first, without results."""
        shown = {summary.id: summary for summary in self._index.summaries()}
        shown |= {key: live.execution for key, live in self._live.items() if not live.ended.is_set()}
        mine = [
            execution
            for execution in shown.values()
            if session_id in {None, execution.session_id}
            and status in {None, execution.status}
            and self._may_see(execution, who)
        ]
        mine.sort(key=lambda execution: (execution.accepted_at, execution.id), reverse=True)
        return mine

    async def cancel(self, execution_id: ExecutionId, who: PrincipalId) -> Execution:
        """Stop a call and give it as it is then; harmless when it has ended.

        Raises:
            NotFound: As `get`.
        """
        found = await self.get(execution_id, who)
        live = self._live.get(execution_id)
        if live is None:
            return found
        self._stop(live)
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_S):
                await live.left.wait()
        return await self.get(execution_id, who)

    async def close(self) -> None:
        """Stop what goes on by itself and wait, bounded, for its end; what is late is closed at the next start."""
        self.stop()
        for live in list(self._live.values()):
            if live.accepted:
                self._stop(live)
        if self._carried:
            _, late = await asyncio.wait(list(self._carried), timeout=LET_GO_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _known(self, request: ToolRequest) -> _Live | None:
        """What was started or taken up before, and is brought here now; a turn names its own calls only."""
        if request.execution_id is not None:
            return self._live.get(request.execution_id)
        use = (request.session_id, request.tool_use_id)
        for live in self._live.values() if request.tool_use_id else ():
            taken = live.request
            if live.accepted and live.running is None and (taken.session_id, taken.tool_use_id) == use:
                return live
        return None

    def _admit(self, request: ToolRequest) -> _Live:
        """Take a call in, or refuse it before anything of it is on record."""
        if self._closing:
            raise NodeUnavailable("the node is stopping", "start it again with: umbrella node start")
        if len(self._live) >= MAX_CALLS:
            raise TooMuch(f"{MAX_CALLS} tool calls are running or waiting", "wait for some to end")
        self._require_share(request.session_id)
        place = (request.session_id, request.principal_id)
        lane = self._lanes.get(place) or _Lane(self._at_once)
        if lane.admitted >= self._admitted:
            raise TooMuch(
                f"{request.principal_id} has {self._admitted} calls running or waiting in {request.session_id}",
                "wait for some to end, or stop some: umbrella executions cancel ID",
            )
        self._lanes[place] = lane
        lane.admitted += 1
        key = ExecutionId(new_id("exec", self._entropy))
        execution = Execution(
            id=key,
            session_id=request.session_id,
            principal_id=request.principal_id,
            server=request.server,
            tool=request.tool,
            accepted_at=self._clock.now(),
        )
        live = _Live(msgspec.structs.replace(request, execution_id=key), execution, lane)
        self._live[key] = live
        return live

    def _require_share(self, session_id: SessionId) -> None:
        person = self._person(session_id)
        if person == self._owner:
            return
        theirs = sum(self._person(live.request.session_id) == person for live in self._live.values())
        if theirs >= SHARE:
            raise TooMuch(
                f"{person} has {theirs} calls running or waiting, the most that others than the node's owner have",
                "wait for some to end, or stop some: umbrella executions cancel ID",
                {"bound": "calls", "most": SHARE},
            )

    def _person(self, session_id: SessionId) -> PrincipalId | None:
        return person_of(self._sessions, self._owner, session_id)

    def _leave(self, live: _Live) -> None:
        self._live.pop(live.execution.id, None)
        live.lane.admitted -= 1
        if not live.lane.admitted:
            self._lanes.pop((live.request.session_id, live.request.principal_id), None)
        live.ended.set()
        live.news.set()
        live.left.set()

    def _stop(self, live: _Live) -> None:
        live.stopped = True  # if it has not reached the executor, it ends when it does
        if live.running is not None:
            live.running.cancel()

    async def _accept(self, live: _Live, call: Call) -> None:
        try:
            await self._note(live, "queued", live.execution.accepted_at)
        except BaseException:
            self._leave(live)
            raise
        live.accepted = True
        self._carry_on(live, call)

    def _carry_on(self, live: _Live, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(live, call))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, live: _Live, call: Call) -> None:
        """See an accepted call to its end, which is in the journal afterwards if the journal takes anything."""
        try:
            await call(live.request)
        except UmbrellaError as error:
            await self._settle(live, error)
        except Exception as error:
            log.exception("%s could not be brought to its tool", live.execution.id)
            await self._settle(live, OurBug(f"the call failed unexpectedly: {error!r}"[:500]))
        finally:
            self._leave(live)
            if live.request.call is not None and self._runner is not None:
                await self._runner.let_go(live.execution.id)

    async def _settle(self, live: _Live, error: UmbrellaError) -> None:
        """Journal the end of a call that came to it before the guard had it."""
        if isinstance(error, StorageUnavailable):
            return  # the session owes the end, and records it as soon as it can
        if self._closing and isinstance(error, Interrupted | NodeUnavailable):
            return  # it was cut off by the stop: the next process takes it up
        request = live.request
        try:
            state = await self._sessions.state(request.session_id)
            if live.execution.id not in state.running:
                return
            ending = not_begun(request, stopping=self._closing) if isinstance(error, Interrupted) else error
            await self._end(live, ending)
        except UmbrellaError as problem:
            log.warning("the end of %s could not be recorded yet: %s", live.execution.id, problem)

    async def _end(self, live: _Live, error: UmbrellaError) -> None:
        """Journal the end of a call that never began."""
        await self._note(live, "failed", self._clock.now(), error)

    async def _note(
        self,
        live: _Live,
        status: Literal["queued", "failed"],
        moment: Instant,
        error: UmbrellaError | None = None,
    ) -> None:
        request = live.request
        event = ExecutionChanged(
            timestamp=moment,
            execution_id=live.execution.id,
            session_id=request.session_id,
            principal_id=request.principal_id,
            status=status,
            call=request.noted(),
            error=None if error is None else error.body(),
        )
        for record in await self._sessions.add(request.session_id, event):
            self._heard(record)  # whoever has the id can ask at once; the bus may come later

    def _heard(self, record: Record) -> None:
        if isinstance(record.event, TurnEnded):
            self._stop_left(record.stream)
        summary = self._index.heard(record)
        if summary is None or (live := self._live.get(summary.id)) is None:
            return
        if summary.over:
            live.ended.set()
            live.news.set()
            return
        now = live.execution
        live.execution = msgspec.structs.replace(summary, progress=now.progress, message=now.message)
        if summary.questions:
            live.news.set()
        else:
            live.news.clear()

    def _stop_left(self, stream: str) -> None:
        """Calls that were taken up for a turn end with it, also where the turn had not joined them yet."""
        for live in list(self._live.values()):
            request = live.request
            taken_up = request.call is not None and bool(request.tool_use_id)
            if taken_up and stream_of(request.session_id) == stream:
                self._stop(live)

    def _may_see(self, execution: Execution, who: PrincipalId) -> bool:
        return who in {execution.principal_id, self._person(execution.session_id)}

    def _require(self, execution: Execution, who: PrincipalId) -> None:
        if not self._may_see(execution, who):
            raise unknown(execution.id)


def request_of(session_id: SessionId, execution_id: ExecutionId, running: Running) -> ToolRequest:
    """A call as an earlier process had it, so that it can go on."""
    call = running.call
    return ToolRequest(
        session_id=session_id,
        principal_id=running.principal_id,
        server=call.server,
        tool=call.tool,
        arguments=call.arguments,
        timeout_s=call.timeout_s,
        tool_use_id=call.tool_use_id,
        may_ask=call.may_ask,
        execution_id=execution_id,
        answers=call.answers,
        detached=call.detached,
        left=running.left,
        call=call,
    )
