"""A piece of work that an agent hands to one below it.

A task belongs to the session in which it was given, and is journaled there. Whoever works on it is an assistant over a
session of its own, which nobody is asked in: it holds what it was handed and cannot get more.
"""

from typing import Final, Literal

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.errors import ErrorBody
from mcp_interface.ids import AgentId, PrincipalId, SessionId, TaskId

TaskStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
ENDED: Final[frozenset[TaskStatus]] = frozenset({"completed", "failed", "cancelled"})


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody below works on."""

    id: TaskId
    session_id: SessionId
    """In which it was given."""
    by: PrincipalId
    """Who gave it, and out of whose rights."""
    goal: str
    name: str = ""
    """Of the agent that works on it."""
    status: TaskStatus = "queued"
    given_at: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    agent_id: AgentId | None = None
    """Who works on it."""
    child_id: SessionId | None = None
    """The conversation in which that happens."""
    result: str = ""
    """The last words of whoever worked on it."""
    error: ErrorBody | None = None


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session comes from in which an agent works on a task."""

    session_id: SessionId
    """In which the task was given."""
    task_id: TaskId
    by: PrincipalId
