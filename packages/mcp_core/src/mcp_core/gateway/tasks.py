"""Work that agents hand to agents below them: given, queued, worked on in a child session, ended with all beneath.

Who works on a task is an assistant over a session of its own. Turns, crashes, budgets and exports are therefore what
they are everywhere; this adds when a task begins, when it has ended, and what ends with what.

Rights: the child session, its agent and what that agent holds are made when the task is given, out of the giver's
rights and by the kernel, all of it or there is no task. So a refusal is heard at once, nothing about rights waits in
a queue, and a giver that loses a right takes it from what waits too. Nobody is asked in a child session (`policy`).

Journal: `TaskGiven` behind the child session and its rights, `TaskMoved(running)` before the goal is said in it,
`TaskMoved(ended)` before the child session is ended. Wherever a process dies on this way, the next one finds which
step was the last (`begin`), and no task is worked on twice.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.agents.pool import Pool
from mcp_core.agents.strategy import Strategy, step
from mcp_core.gateway.children import Children, task_of
from mcp_core.gateway.endowing import Endowing
from mcp_core.gateway.lifecycle import Lifecycle
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.task_index import Talk, TaskIndex
from mcp_core.runtime.bus import Bus
from mcp_core.tools.team import REPORT_S, Order, Report
from mcp_interface.agent import AgentRecord
from mcp_interface.capability import SecurityKernel
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    ErrorBody,
    Interrupted,
    NotFound,
    NotPermitted,
    OurBug,
    StorageUnavailable,
    TooMuch,
    UmbrellaError,
    WrongState,
)
from mcp_interface.events import CapabilityRevoked, SessionEvent, TaskGiven, TaskMoved, UserMessage
from mcp_interface.ids import SYSTEM, MessageId, PrincipalId, SessionId, TaskId, is_id, new_id
from mcp_interface.session import Session, check_open
from mcp_interface.store import Record
from mcp_interface.task import ENDED, Task, TaskStatus

log = logging.getLogger(__name__)

QUEUE_S: Final = 3600.0
"""Seconds that a task waits for its turn, from when it was given."""
GENERATIONS: Final = 4
"""How far below a person's own session a task can be given."""
MOST_OPEN: Final = 256
"""Tasks of one person that have not ended."""
MAX_RESULT: Final = 32_000
"""Characters that are kept of the last words; the child session has all."""
JOURNAL_AGAIN_S: Final = 1.0
"""Seconds until an end is tried again that the journal refused."""


class Conversations(Protocol):
    """What wakes assistants (`handlers.sessions.SessionCommands`)."""

    def wake(self, session: Session) -> None:
        """Tell the assistant of a session that somebody waits for it."""
        ...


class Room(Conversations, Protocol):
    """The same, with the life cycle of sessions."""

    @property
    def lifecycle(self) -> Lifecycle:
        """How sessions come to rest and end."""
        ...


class Tasks:
    """The tasks of one node; implements `mcp_core.tools.team.Team`.

    Args:
        index: Which there are; it has been watching the sessions since before they were loaded.
        sessions: Hold them, and the conversations about them.
        directory: The agents.
        kernel: Knows who holds what.
        children: The sessions in which tasks are worked on.
        conversations: Wake the agents.
        is_stopping: Whether the node is about to stop.
        clock: Source of time.
        entropy: Makes ids.
        pool: Turns.
    """

    def __init__(
        self,
        index: TaskIndex,
        sessions: Sessions,
        directory: Directory,
        kernel: SecurityKernel,
        children: Children,
        conversations: Conversations,
        is_stopping: Callable[[], bool],
        clock: Clock,
        entropy: Entropy,
        pool: Pool | None = None,
    ) -> None:
        self.index = index
        self.pool = pool or Pool()
        self.speaking = Speaking(kernel, SYSTEM)
        """Until it is said who owns the node, everybody needs the right."""
        self._sessions = sessions
        self._directory = directory
        self._kernel = kernel
        self._children = children
        self._conversations = conversations
        self._is_stopping = is_stopping
        self._clock = clock
        self._entropy = entropy
        self._news: dict[TaskId, asyncio.Event] = {}
        """Set when something has happened to a task that this process sees to."""
        self._ended: dict[TaskId, asyncio.Event] = {}
        """Of tasks that somebody waits for."""
        self._carried: dict[TaskId, asyncio.Task[None]] = {}
        self._finishing: dict[TaskId, asyncio.Task[None]] = {}
        self._giving: dict[TaskId, SessionId] = {}
        self._work: set[asyncio.Task[Any]] = set()
        index.on_news = self._moved_on

    @property
    def stopping(self) -> bool:
        """Whether the node is about to stop, so that nobody has cancelled what is cut off now."""
        return self._is_stopping()

    def new_id(self) -> TaskId:
        """An id for a task that has not been given yet."""
        return TaskId(new_id("task", self._entropy))

    def model_of(self, session_id: SessionId) -> str:
        """The model of a session; empty is the node's own."""
        return self._sessions.get(session_id).model

    # -- looking -----------------------------------------------------------------------------------------------

    def given_by(self, by: PrincipalId, session_id: SessionId) -> list[Task]:
        """What somebody has given in a session, in that order."""
        mine = [task for task in self.index.each() if task.by == by and task.session_id == session_id]
        return mine[::-1]

    def find(self, task_id: TaskId, by: PrincipalId | None = None) -> Task:
        """A task, of whoever gave it.

        Raises:
            NotFound: There is none, or somebody else gave it, or it ended long ago.
        """
        task = self.index.get(task_id)
        if task is None or by not in {None, task.by}:
            raise NotFound(f"no task {task_id!r}", "list the tasks with: umbrella task list")
        return task

    async def wait(self, task_id: TaskId, seconds: float) -> Task:
        """A task when it has ended and nothing is done below it any more, or as it is when time is up.

        Raises:
            NotFound: There is none.
        """
        task = self.find(task_id)
        if seconds <= 0 or (task.status in ENDED and task_id not in self._finishing):
            return task
        ended = self._ended.setdefault(task_id, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            pass
        return self.index.get(task_id) or task

    # -- giving ------------------------------------------------------------------------------------------------

    async def give(self, order: Order) -> Task:
        """Have a new agent work on something; durable when this returns. Repeated under one id it gives nothing twice.

        Raises:
            NotPermitted: The giver does not hold all that is to be handed on, or may not hand it on.
            TooMuch: Too many tasks wait in this session, or are open of this person.
            CallerMistaken: The name is taken, a right is none, or it would be too far below a person.
            WrongState: The session begins nothing at present.
        """
        session = self._sessions.get(order.session_id)
        if is_id("user", order.by) and self.index.get(order.task_id) is None:
            check_open(session)  # before a right is used up
            await self.speaking.require(
                order.by, session.id, {"text": order.goal, "conversation": session.id}
            )
        if (known := self.index.get(order.task_id)) is not None:
            return known
        check_open(session)
        self._require_room(session)
        if order.task_id in self._giving:
            raise WrongState(f"{order.task_id} is being given in this moment", "wait for it")
        self.pool.enter(session.id, order.task_id)
        self._giving[order.task_id] = session.id
        giving = self._later(self._give(order, session))
        try:
            return await asyncio.shield(giving)
        except asyncio.CancelledError:
            if not self.stopping:  # it may be given in this moment, and nobody would know of it
                self._later(self._take_back(giving))
            raise

    async def run_all(self, orders: Sequence[Order], strategy: Strategy, report: Report) -> list[Task]:
        """Give several as the strategy says and wait for them; those that were never given are left out.

        A task that cannot be given counts as failed: it is told as one, and the others go on as the strategy says.
        """
        ends: dict[TaskId, Task] = {}
        waiting: dict[asyncio.Task[Task], Order] = {}
        begun = 0
        try:
            while True:
                now = step(
                    strategy, len(orders), begun, [each.status == "completed" for each in ends.values()]
                )
                for order in orders[begun : begun + now.begin]:
                    waiting[asyncio.create_task(self._run(order, report))] = order
                begun += now.begin
                if now.over:
                    return [ends[order.task_id] for order in orders if order.task_id in ends]
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    ends[waiting.pop(each).task_id] = each.result()
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _run(self, order: Order, report: Report) -> Task:
        try:
            task = await self.give(order)
        except UmbrellaError as error:
            return msgspec.structs.replace(
                task_of(order, self._clock.now()), status="failed", error=error.body()
            )
        while (task := await self.wait(task.id, REPORT_S)).status not in ENDED:
            await report()
        return task

    def _require_room(self, session: Session) -> None:
        person = session.created_by
        theirs = [task for task in self.index.open() if self._person(task.session_id) == person]
        if len(theirs) + len(self._giving) >= MOST_OPEN:
            raise TooMuch(
                f"{person} has {len(theirs)} tasks that have not ended, the most there can be",
                "wait for some to end, or cancel one: umbrella task cancel ID",
                {"bound": "open_tasks", "most": MOST_OPEN},
            )
        above: Session | None = session
        for _ in range(GENERATIONS):
            talk = None if above is None else self.index.talk(above.id)
            if talk is None:
                return
            above = self._sessions.get(talk.lineage.session_id)
        raise CallerMistaken(
            f"{session.id} is {GENERATIONS} tasks below a person's own session, the furthest there can be",
            "do it yourself instead",
        )

    def _person(self, session_id: SessionId) -> PrincipalId | None:
        try:
            return self._sessions.get(session_id).created_by
        except NotFound:
            return None

    async def _give(self, order: Order, session: Session) -> Task:
        try:
            task = await self._children.make(order, session)
            given = TaskGiven(timestamp=task.given_at, task=task)
            try:
                await self._add(session.id, given)
            except BaseException:
                await asyncio.shield(self._children.unmake(task))
                raise
            if not self._directory.is_active(order.by):  # it has ended while this was written
                self._later(self._cancelled(task.id, f"{order.by} has ended"))
            elif self._is_bare(task):
                self._later(self._strip(task.id))
            self._carry(task)
            return task
        finally:
            del self._giving[order.task_id]
            if not self.index.is_open(order.task_id):
                self.pool.leave(order.task_id)

    async def _take_back(self, giving: "asyncio.Task[Task]") -> None:
        await asyncio.wait([giving])
        if not giving.cancelled() and giving.exception() is None:
            await self.cancel(giving.result().id, "who gave it was cancelled")

    # -- working on it -----------------------------------------------------------------------------------------

    def _carry(self, task: Task) -> None:
        if task.id not in self._carried and self.index.is_open(task.id):
            work = self._carried[task.id] = self._later(self._see_through(task))
            work.add_done_callback(lambda _: self._carried.pop(task.id, None))

    async def _see_through(self, task: Task) -> None:
        """From the queue to the end; whatever goes wrong on the way is its end."""
        try:
            try:
                await self._worked_on(task)
            except UmbrellaError as error:
                await self._finish(task.id, "failed", error=error)
            except Exception as error:
                log.exception("%s could not be seen through", task.id)
                await self._finish(task.id, "failed", error=OurBug(f"the task failed: {error!r}"[:500]))
        finally:
            self.pool.leave(task.id)

    async def _worked_on(self, task: Task) -> None:
        child_id = task.child_id
        talk = None if child_id is None else self.index.talk(child_id)
        if child_id is None or talk is None or talk.over:
            raise Interrupted("the session in which it was worked on has ended", "give it again")
        if task.status == "queued":
            waited = (self._clock.now() - task.given_at).total_seconds()
            await self.pool.turn(task.id, QUEUE_S - waited)
            running = TaskMoved(
                timestamp=self._clock.now(),
                task_id=task.id,
                status="running",
                agent_id=task.agent_id,
                child_id=child_id,
            )
            await self._add(task.session_id, running)
        seconds = float(talk.metadata.get("timeout_s", 0.0)) - self._age(task.id)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._say_goal(task, child_id)
                await self._its_end(task.id, child_id, talk)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{task.id} was worked on for longer than its time", "give it more: --timeout"
            ) from error
        await self._conclude(task.id, talk)

    def _age(self, task_id: TaskId) -> float:
        """Seconds for which a task is being worked on."""
        task = self.index.get(task_id)
        began = None if task is None else task.started_at
        return 0.0 if began is None else (self._clock.now() - began).total_seconds()

    async def _say_goal(self, task: Task, child_id: SessionId) -> None:
        """Say what to do, unless an earlier process has; it is said once, and so the work is begun once."""
        if (await self._sessions.state(child_id)).spoken:
            return
        message_id = MessageId(new_id("msg", self._entropy))
        said = UserMessage(timestamp=self._clock.now(), message_id=message_id, author=task.by, text=task.goal)
        await self._sessions.add(child_id, said)
        self._conversations.wake(self._sessions.get(child_id))

    async def _its_end(self, task_id: TaskId, child_id: SessionId, talk: Talk) -> None:
        """Return when the turn has ended and nothing more has been said that it did not hear."""
        while True:
            news = self._news.setdefault(task_id, asyncio.Event())
            news.clear()
            if talk.over:
                raise Interrupted("the session in which it was worked on has ended", "give it again")
            if talk.ended is not None:
                state = await self._sessions.state(child_id)
                if state.turn is None and not state.unanswered:
                    return
            await news.wait()

    async def _conclude(self, task_id: TaskId, talk: Talk) -> None:
        status = "interrupted" if talk.ended is None else talk.ended.status
        error = None if talk.ended is None else talk.ended.error
        match status:
            case "completed":
                await self._finish(task_id, "completed", result=talk.words)
            case "cancelled":
                await self._finish(task_id, "cancelled", result=talk.words, error=error)
            case "interrupted":
                cut = Interrupted(
                    "the node stopped in the middle of it", "look at what was done, then give it again"
                )
                await self._finish(task_id, "failed", result=talk.words, error=cut)
            case _:
                await self._finish(task_id, "failed", result=talk.words, error=error)

    def _moved_on(self, task_id: TaskId) -> None:
        if (news := self._news.get(task_id)) is not None:
            news.set()
        if self.index.is_open(task_id) or task_id in self._finishing:
            return
        task = self.index.get(task_id)
        if task is not None and self._is_left(task):
            self._later(self._finish(task_id, task.status))  # the session above ended over its head
        self._tell(task_id)

    def _tell(self, task_id: TaskId) -> None:
        """Wake whoever waits for the end of a task."""
        if (ended := self._ended.pop(task_id, None)) is not None:
            ended.set()

    def _is_left(self, task: Task) -> bool:
        """Whether the session in which it was worked on has not ended."""
        talk = None if task.child_id is None else self.index.talk(task.child_id)
        return talk is not None and not talk.over

    # -- ending ------------------------------------------------------------------------------------------------

    async def cancel(self, task_id: TaskId, why: str) -> Task:
        """End a task with all that is below it; harmless when it has ended.

        Raises:
            NotFound: There is none.
        """
        task = self.find(task_id)
        await self._finish(
            task_id, "cancelled", error=Interrupted(why, "give it again if it is still wanted")
        )
        return self.index.get(task_id) or task

    async def close_session(self, session_id: SessionId, why: str) -> None:
        """End what was given in a session that begins nothing any more, and the task that it is itself about."""
        talk = self.index.talk(session_id)
        ending = [self._cancelled(task.id, why) for task in self.index.open(session_id)]
        if talk is not None and self.index.is_open(talk.lineage.task_id):
            ending.append(self._cancelled(talk.lineage.task_id, why))
        await asyncio.gather(*ending)

    def is_at_work(self, session_id: SessionId) -> bool:
        """Whether somebody works on what was given in a session."""
        return bool(self.index.open(session_id)) or session_id in self._giving.values()

    def agent_stopped(self, agent: AgentRecord, reason: str) -> None:
        """An agent has ended: what it gave ends, and what it worked on. Its rights are over already."""
        for task in self.index.open():
            if agent.id in {task.by, task.agent_id}:
                self._later(self._cancelled(task.id, f"{agent.id} has ended: {reason}"))

    def heard(self, record: Record) -> None:
        """Listen to the bus: a task ends when rights were taken back and its agent holds nothing any more."""
        if isinstance(record.event, CapabilityRevoked):
            for task in self.index.open():
                if self._is_bare(task):
                    self._later(self._strip(task.id))

    def _is_bare(self, task: Task) -> bool:
        """Whether an agent that was handed rights has none left."""
        talk = None if task.child_id is None else self.index.talk(task.child_id)
        if talk is None or task.agent_id is None or not talk.metadata.get("handed"):
            return False
        return not self._kernel.held_by(PrincipalId(task.agent_id))

    async def _strip(self, task_id: TaskId) -> None:
        reason = {"reason": "capability_revoked"}
        error = NotPermitted(
            "nothing is left of the rights that went with it", "give it again with new ones", reason
        )
        await self._finish(task_id, "cancelled", error=error)

    async def _cancelled(self, task_id: TaskId, why: str) -> None:
        await self._finish(
            task_id, "cancelled", error=Interrupted(why, "give it again if it is still wanted")
        )

    async def _finish(
        self,
        task_id: TaskId,
        status: TaskStatus,
        *,
        result: str = "",
        error: UmbrellaError | ErrorBody | None = None,
    ) -> None:
        """Put a task's end on record, then end its session with all beneath; the first end counts."""
        task, work = self.index.get(task_id), self._finishing.get(task_id)
        if work is None:
            if task is None or (task.status in ENDED and not self._is_left(task)):
                return
            work = self._finishing[task_id] = self._later(self._finished(task, status, result, error))
        await asyncio.shield(work)

    async def _finished(
        self, task: Task, status: TaskStatus, result: str, error: UmbrellaError | ErrorBody | None
    ) -> None:
        try:
            moved = TaskMoved(
                timestamp=self._clock.now(),
                task_id=task.id,
                status=status,
                result=result[:MAX_RESULT],
                error=error.body() if isinstance(error, UmbrellaError) else error,
            )
            if task.status not in ENDED:
                await self._record(task.session_id, moved)
            if (carried := self._carried.get(task.id)) is not None:
                carried.cancel()
            if task.child_id is not None:
                await self._children.end(task, f"its task was {status}")
        finally:
            del self._finishing[task.id]
            self._tell(task.id)
            self._news.pop(task.id, None)

    async def _record(self, session_id: SessionId, moved: TaskMoved) -> None:
        while True:
            try:
                await self._add(session_id, moved)
            except StorageUnavailable as error:
                log.warning("the end of %s waits for the journal: %s", moved.task_id, error)
                await self._clock.sleep(JOURNAL_AGAIN_S)
            except (WrongState, NotFound):
                return  # its session has ended, and the task with it
            else:
                return

    # -- the life of the node ----------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Go on with what an earlier process has left: what ran goes on, what waited waits again, in its order.

        Returns when nothing is done any more in sessions whose task has ended, or was never given.
        """
        for child_id in self.index.left():
            await self._children.end_session(child_id, "its task was never given, or is over")
        tasks = self.index.open()
        for task in sorted(tasks, key=lambda each: each.status != "running"):
            why = self._speaks_against(task)
            if why:
                self._later(self._cancelled(task.id, why))
            elif self._is_bare(task):
                self._later(self._strip(task.id))
            else:
                self.pool.enter(task.session_id, task.id, runs=task.status == "running")
                self._carry(task)

    def _speaks_against(self, task: Task) -> str:
        """Why a task that an earlier process left does not go on; empty if it does."""
        try:
            check_open(self._sessions.get(task.session_id))
        except UmbrellaError as error:
            return error.message
        for each in (task.by, task.agent_id):
            if each is not None and not self._directory.is_active(PrincipalId(each)):
                return f"{each} has ended"
        return ""

    async def close(self) -> None:
        """Leave everything as it is; the next process goes on with it."""
        for work in list(self._work):
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _add(self, session_id: SessionId, *events: SessionEvent) -> None:
        for record in await self._sessions.add(session_id, *events):
            self.index.heard(record)  # who has committed need not wait for the bus

    def _later(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._worked)
        return task

    def _worked(self, task: "asyncio.Task[Any]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, UmbrellaError) else logging.ERROR
            log.log(level, "work on a task failed: %r", error)


def open_team(
    index: TaskIndex,
    sessions: Sessions,
    directory: Directory,
    kernel: SecurityKernel,
    endowing: Endowing,
    conversations: Room,
    bus: Bus,
    is_stopping: Callable[[], bool],
    clock: Clock,
    entropy: Entropy,
) -> Tasks:
    """The tasks of a node, told of what ends with what: sessions by their life cycle, agents, rights by the bus."""
    lifecycle = conversations.lifecycle
    children = Children(sessions, directory, kernel, endowing, lifecycle.end, clock, entropy)
    tasks = Tasks(index, sessions, directory, kernel, children, conversations, is_stopping, clock, entropy)
    directory.on_stop = tasks.agent_stopped
    lifecycle.team = tasks
    bus.listen(tasks.heard)
    return tasks
