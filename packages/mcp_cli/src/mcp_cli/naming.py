"""Finds what a person means by an id, a unique prefix of it, or a unique name.

Ids are long; nobody types them. A prefix may leave out the kind (`6f12` for `agent_6f12…`). More than one
match is an error that lists the candidates, never a guess.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Approval
from mcp_interface.client import Client
from mcp_interface.commands import (
    Command,
    GetSession,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListRefusals,
    ListSessions,
    Page,
    Refusal,
)
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.execution import ListExecutions, ListQuestions
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    PlanId,
    PrincipalId,
    SessionId,
    is_id,
    is_principal,
)
from mcp_interface.planning import ListPlans
from mcp_interface.question import Question
from mcp_interface.session import Session
from mcp_interface.task import Task
from mcp_interface.team import ListTasks

T = TypeVar("T")
MOST: Final = 10_000
"""Entries looked through at most."""
SHORT: Final = 8
"""Hex digits that tables show."""


def short(identifier: str) -> str:
    """Return an id as tables show it: the kind and the first eight digits."""
    kind, _, digits = identifier.partition("_")
    return f"{kind}_{digits[:SHORT]}" if digits else identifier


async def collect(client: Client, command: Command[Page[T]], most: int = MOST) -> list[T]:
    """Read page after page of a list, at most `most` entries."""
    found: list[T] = []
    while True:
        page = await client.request(command)
        found += page.items
        if page.cursor is None or len(found) >= most:
            return found[:most]
        changes: dict[str, Any] = {"cursor": page.cursor}
        command = msgspec.structs.replace(command, **changes)


def _choose(kind: str, text: str, items: Sequence[T], key: Callable[[T], str], name: Callable[[T], str]) -> T:
    exact = [item for item in items if key(item) == text]
    named = [item for item in items if name(item) and name(item) == text]
    begin = [
        item
        for item in items
        if text and (key(item).startswith(text) or key(item).partition("_")[2].startswith(text))
    ]
    for matches in (exact, named, begin):
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(short(key(item)) for item in matches[:5])
            raise CallerMistaken(f"{text!r} fits {len(matches)} {kind}s: {listed}", "write more of the id")
    raise NotFound(f"no {kind} is called {text!r}", f"list them: umbrella {_LISTS[kind]}")


_LISTS: Final = {
    "agent": "agent list",
    "session": "sessions list --all",
    "capability": "caps list",
    "approval": "approvals list",
    "execution": "executions list",
    "question": "questions list",
    "plan": "plan list",
    "task": "task list",
}


async def find_agent(client: Client, text: str) -> AgentRecord:
    """Find an agent by id, unique name or unique prefix; running ones come before stopped ones.

    Raises:
        NotFound: No agent fits.
        CallerMistaken: Several fit.
    """
    try:
        running = await collect(client, ListAgents())
        return _choose("agent", text, running, lambda agent: agent.id, lambda agent: agent.name)
    except NotFound:
        every = await collect(client, ListAgents(stopped=True))
        return _choose("agent", text, every, lambda agent: agent.id, lambda agent: agent.name)


async def agent_id(client: Client, text: str) -> AgentId:
    """Return the id of an agent; a whole id is passed on unasked."""
    return AgentId(text) if is_id("agent", text) else (await find_agent(client, text)).id


async def principal_id(client: Client, text: str) -> PrincipalId:
    """Return the id of whoever is meant: a principal's id, or an agent's prefix or name."""
    return PrincipalId(text) if is_principal(text) else PrincipalId(await agent_id(client, text))


async def find_session(client: Client, text: str) -> Session:
    """Find a session by id, unique title or unique prefix, ended ones too.

    Raises:
        NotFound: No session fits.
        CallerMistaken: Several fit.
    """
    if is_id("session", text):
        return await client.request(GetSession(session_id=SessionId(text)))
    sessions = await collect(client, ListSessions(ended=True))
    return _choose("session", text, sessions, lambda session: session.id, lambda session: session.title)


async def latest_session(client: Client) -> Session:
    """Return the conversation with the latest activity that has not ended; single tool calls are none.

    Raises:
        NotFound: There is none.
    """
    page = await client.request(ListSessions())
    talks = [
        session
        for session in page.items
        if session.metadata.get("kind") != "console" and "mcp" not in session.metadata
    ]
    if not talks:
        raise NotFound("there is no earlier session", "begin one: umbrella")
    return talks[0]


async def capability_id(client: Client, text: str) -> CapabilityId:
    """Return the id of a live capability from its id or a unique prefix."""
    if is_id("cap", text):
        return CapabilityId(text)
    held = await collect(client, ListCapabilities())
    return _choose("capability", text, held, lambda cap: cap.id, lambda _: "").id


async def find_approval(client: Client, text: str) -> Approval:
    """Find an open question by its id or a unique prefix."""
    questions = await collect(client, ListApprovals())
    return _choose("approval", text, questions, lambda question: ApprovalId(question.id), lambda _: "")


async def find_question(client: Client, text: str) -> Question:
    """Find an open question of a tool by its id or a unique prefix."""
    found = await collect(client, ListQuestions())
    return _choose("question", text, found, lambda question: question.id, lambda _: "")


async def execution_id(client: Client, text: str) -> ExecutionId:
    """Return the id of a tool call from its id, or a unique prefix among the latest."""
    if is_id("exec", text):
        return ExecutionId(text)
    calls = await collect(client, ListExecutions(limit=1000))
    return _choose("execution", text, calls, lambda call: call.id, lambda _: "").id


async def find_task(client: Client, text: str) -> Task:
    """Find a task by its id, unique name or unique prefix, among those that are listed.

    Raises:
        NotFound: No task fits.
        CallerMistaken: Several fit.
    """
    found = await collect(client, ListTasks(limit=1000))
    return _choose("task", text, found, lambda task: task.id, lambda task: task.name)


async def plan_id(client: Client, text: str) -> PlanId:
    """Return the id of a plan from its id, its unique title, or a unique prefix among the latest."""
    if is_id("plan", text):
        return PlanId(text)
    plans = await collect(client, ListPlans(limit=1000))
    return _choose("plan", text, plans, lambda plan: plan.id, lambda plan: plan.title).id


async def find_refusals(client: Client, text: str) -> list[Refusal]:
    """Find the remembered refusals of one question, by the beginning of its fingerprint.

    Several principals may have been refused the same; then all of theirs are meant.

    Raises:
        NotFound: No question fits.
        CallerMistaken: Several different ones fit.
    """
    found = [
        known
        for known in await collect(client, ListRefusals())
        if text and known.fingerprint.startswith(text)
    ]
    if not found:
        raise NotFound(f"no remembered question begins with {text!r}", "list them: umbrella approvals never")
    if len({known.fingerprint for known in found}) > 1:
        raise CallerMistaken(f"{text!r} fits several questions", "write more of it")
    return found
