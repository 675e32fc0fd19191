"""Commands about tasks: giving, listing and ending what agents below work on."""

from collections.abc import Sequence
from typing import Final

from mcp_core.agents.directory import Directory
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import Owning
from mcp_core.gateway.handlers.paging import Place, page_behind, place_at
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.tasks import Tasks
from mcp_core.tools.team import Order
from mcp_interface.commands import Page
from mcp_interface.errors import NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.session import check_open
from mcp_interface.task import Task
from mcp_interface.team import CancelTask, GiveTask, ListTasks

PAGE_CHARS: Final = 1_000_000
"""Characters of goals and results on one page, about; then it ends before its limit."""


class TeamCommands:
    """Handlers over the tasks of a node, each seen by the person in whose session it was given.

    Args:
        tasks: Has them worked on.
        sessions: Say whose they are.
        directory: The agents.
        speaking: Who may have a model speak.
        owner: Of the node.
    """

    def __init__(
        self, tasks: Tasks, sessions: Sessions, directory: Directory, speaking: Speaking, owner: PrincipalId
    ) -> None:
        self._tasks = tasks
        tasks.speaking = speaking
        self._sessions = sessions
        self._directory = directory
        self._speaking = speaking
        self._owning = Owning(owner, sessions, directory)

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {GiveTask: self.give, ListTasks: self.listed, CancelTask: self.cancel}

    async def give(self, who: PrincipalId, command: GiveTask) -> Task:
        """Have a new agent work on something, out of the rights of the caller or of one of the caller's agents."""
        session = self._sessions.get(command.session_id, who)
        check_open(session)  # before a right is used up
        parent = None if command.parent is None else self._owning.agent(who, command.parent)
        if parent is not None:
            self._directory.ref(parent.id)  # it has to be alive
            # what somebody gives in their own name, the tasks judge
            said = {"text": command.goal, "conversation": session.id}
            await self._speaking.require(who, session.id, said)
        return await self._tasks.give(
            Order(
                task_id=self._tasks.new_id(),
                session_id=session.id,
                by=who if parent is None else PrincipalId(parent.id),
                goal=command.goal,
                name=command.name,
                grants=command.grants,
                model=command.model,
                budget=command.budget,
                timeout_s=command.timeout_s,
            )
        )

    async def listed(self, who: PrincipalId, command: ListTasks) -> Page[Task]:
        """The caller's tasks, latest first."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        found = [
            task
            for task in self._tasks.index.each()
            if command.session_id in {None, task.session_id} and self._owns(who, task)
        ]
        found.sort(key=_place_of, reverse=True)
        page = page_behind(found, _place_of, command.limit, command.cursor, falling=True)
        fitting = _fitting(page.items)
        if fitting == len(page.items):
            return page
        return page_behind(found, _place_of, fitting, command.cursor, falling=True)

    async def cancel(self, who: PrincipalId, command: CancelTask) -> Task:
        """End a task with all that is below it."""
        task = self._tasks.find(command.task_id)
        if not self._owns(who, task):
            raise NotFound(f"no task {command.task_id!r}", "list the tasks with: umbrella task list")
        return await self._tasks.cancel(task.id, f"{who} has cancelled it")

    def _owns(self, who: PrincipalId, task: Task) -> bool:
        try:
            return self._sessions.get(task.session_id).created_by == who
        except NotFound:  # it has ended long ago
            return False


def _fitting(tasks: Sequence[Task]) -> int:
    """How many of these fit on a page, by what is told of them; one always does."""
    size = 0
    for number, task in enumerate(tasks):
        size += len(task.goal) + len(task.result)
        if number and size > PAGE_CHARS:
            return number
    return len(tasks)


def _place_of(task: Task) -> Place:
    return place_at(task.given_at, task.id)
