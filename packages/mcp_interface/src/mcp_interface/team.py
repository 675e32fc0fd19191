"""Commands about tasks: giving, listing and ending what agents below work on."""

from typing import Annotated

from msgspec import Meta

from mcp_interface.budget import Budget
from mcp_interface.commands import Command, Limit, Page, Wish
from mcp_interface.ids import SessionId, TaskId
from mcp_interface.task import Task


class GiveTask(Command[Task], frozen=True, kw_only=True, tag="task.give"):
    """Have a new agent work on something, with what is handed to it and no more; durable when answered."""

    session_id: SessionId
    goal: Annotated[str, Meta(min_length=1, max_length=100_000)]
    name: str = ""
    parent: str | None = None
    """The agent, by id or name, out of whose rights it gets its own; None: the caller's."""
    grants: Annotated[list[Wish], Meta(max_length=100)] = []
    model: str = ""
    budget: Budget = Budget()
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    """Seconds of work after which it fails."""


class ListTasks(Command[Page[Task]], frozen=True, kw_only=True, tag="task.list"):
    """Tasks of one session, or of all of the caller's, latest first."""

    session_id: SessionId | None = None
    limit: Limit = 50
    cursor: str | None = None


class CancelTask(Command[Task], frozen=True, kw_only=True, tag="task.cancel"):
    """End a task with all that is below it; harmless when it has ended."""

    task_id: TaskId
