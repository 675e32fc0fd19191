"""Handing work to agents below, as tools: give a task or several, see how they are, wait for them, end them.

Whoever gives a task needs the right to start agents and, for each right that goes with it, that right itself, in a
form that can be handed on: so a person who is asked sees exactly what is handed on, one right at a time. What the
agent below gets is made out of that by the kernel, and so is never more.

Each call settles the ids of its tasks before it gives the first one, and keeps them: taken up again after a crash it
finds what it has given, and gives nothing twice.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.budget import Budget
from mcp_interface.capability import Facts, Need
from mcp_interface.codec import to_external
from mcp_interface.commands import Wish
from mcp_interface.errors import CallerMistaken, NodeUnavailable, NotPermitted
from mcp_interface.ids import PrincipalId, SessionId, TaskId, is_id
from mcp_interface.task import ENDED, Task
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult

SERVER: Final = "team"
START: Final = resource("agent", "execute", "llm")
"""The right to start agents that ask a model."""
LOOK: Final = resource("agent", "read", "tasks")
END: Final = resource("agent", "delete", "tasks")
MOST: Final = 16
"""Tasks of one call."""
REPORT_S: Final = 15.0
"""Seconds between two words to whoever waits for the call, so that it is not taken for hung."""
TIMEOUT_S: Final = 600.0
"""Seconds of work after which a task fails."""
Strategy = Literal["parallel", "sequential", "adaptive"]
_Id = Annotated[str, Meta(pattern="^task_[0-9a-f]{32}$", description="As delegate told it.")]
_Goal = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100_000,
        description="What to do and what to tell at the end; it knows nothing else.",
    ),
]
_Rights = Annotated[
    list[str],
    Meta(
        max_length=100,
        description="Resources it may use, of yours: mcp://fs/read/home/me/docs/**. Nobody can be asked for more.",
    ),
]


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody below is to do, and with what."""

    goal: _Goal
    name: Annotated[str, Meta(max_length=64)] = ""
    rights: _Rights = []
    model: str = ""
    max_cost: Annotated[float, Meta(ge=0, description="US dollars.")] | None = None


class DelegateArgs(Piece, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One task."""

    wait: Annotated[bool, Meta(description="Answer with its result; else at once, with its id.")] = True


class DelegateAllArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several tasks."""

    tasks: Annotated[list[Piece], Meta(min_length=1, max_length=MOST)]
    strategy: Annotated[
        Strategy,
        Meta(
            description="All at once; one after the other until one fails; more at once as long as they succeed."
        ),
    ] = "parallel"


class LookArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which task; none is all that you have given in this session."""

    task: _Id | msgspec.UnsetType = msgspec.UNSET


class TaskArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which task."""

    task: _Id


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A task that somebody wants to be worked on."""

    task_id: TaskId
    session_id: SessionId
    by: PrincipalId
    """Out of whose rights `grants` come."""
    goal: str
    name: str = ""
    grants: list[Wish] = []
    model: str = ""
    budget: Budget = Budget()
    timeout_s: float = TIMEOUT_S


Report = Callable[[], Awaitable[None]]


class Team(Protocol):
    """Who has tasks worked on (`mcp_core.gateway.tasks`)."""

    @property
    def stopping(self) -> bool:
        """Whether the node is about to stop, so that nobody has cancelled what is cut off now."""
        ...

    def new_id(self) -> TaskId:
        """An id for a task that has not been given yet."""
        ...

    def given_by(self, by: PrincipalId, session_id: SessionId) -> list[Task]:
        """What somebody has given in a session, in that order."""
        ...

    def find(self, task_id: TaskId, by: PrincipalId) -> Task:
        """A task that somebody has given; raises `NotFound`."""
        ...

    def model_of(self, session_id: SessionId) -> str:
        """The model of a session; empty is the node's own."""
        ...

    async def give(self, order: Order) -> Task:
        """Have an agent below work on something; durable when this returns, and harmless when repeated."""
        ...

    async def wait(self, task_id: TaskId, seconds: float) -> Task:
        """A task when it has ended, or as it is when time is up."""
        ...

    async def run_all(self, orders: Sequence[Order], strategy: Strategy, report: Report) -> list[Task]:
        """Give several as the strategy says and wait for them; those that were never given are left out."""
        ...

    async def cancel(self, task_id: TaskId, why: str) -> Task:
        """End a task with all that is below it."""
        ...


class TeamTool:
    """One of the tools.

    Args:
        info: What it is.
        args: What it takes.
        team: Gives the team of the node, once it is up.
    """

    def __init__(self, info: ToolInfo, args: type[msgspec.Struct], team: Callable[[], Team | None]) -> None:
        self._info = info
        self._args = args
        self._team = team

    def info(self) -> ToolInfo:
        """Describe it."""
        return self._info

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types, limits, and that each right is one.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        for piece in _pieces(self._checked(args)):
            for uri in piece.rights:
                parse_resource(uri)

    def _checked(self, args: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            name = f"{SERVER}/{self._info.name}"
            raise CallerMistaken(f"arguments of {name}: {error}", "see its parameters") from error

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to do it, and of each right that is handed on that it can be."""
        checked = self._checked(args)
        handed = dict.fromkeys(uri for piece in _pieces(checked) for uri in piece.rights)
        own = Need(parse_resource(self._info.required_capabilities[0]), Facts(arguments=args))
        return [own, *(Need(parse_resource(uri), depth=1) for uri in handed)]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Do it for the caller.

        Raises:
            UmbrellaError: What the team says.
        """
        if context.session_id is None:
            raise CallerMistaken("tasks belong to a session, and this call has none", "call it in one")
        return await self._work(self._checked(args), context, context.session_id)

    async def _work(self, checked: Any, context: ToolContext, session_id: SessionId) -> ToolResult:
        team, who = self._team(), context.principal_id
        if team is None:
            raise NodeUnavailable("the node is not up yet", "try again in a moment")
        match checked:
            case DelegateArgs(wait=wait):
                (order,) = await _settled(team, [checked], context, session_id)
                return await _delegate(team, order, wait, context)
            case DelegateAllArgs(tasks=pieces, strategy=strategy):
                orders = await _settled(team, pieces, context, session_id)
                return await _delegate_all(team, orders, strategy, context)
            case LookArgs(task=str() as task_id):
                return told([team.find(TaskId(task_id), who)])
            case LookArgs():
                return told(team.given_by(who, session_id))
            case TaskArgs(task=task_id):
                known = team.find(TaskId(task_id), who)
                if self._info.name == "wait_for":
                    return result_of(await _waited(team, known.id, context))
                return told([await team.cancel(known.id, f"{who} has cancelled it")])
        raise CallerMistaken(f"{SERVER} has no tool {self._info.name!r}", "list its tools")


def team_tools(team: Callable[[], Team | None]) -> list[TeamTool]:
    """The tools, over whatever gives the team once the node is up."""
    said = (
        ("delegate", "Have another agent work on something, with some of your rights, and get its result.",
         DelegateArgs, START),
        ("delegate_all", "Have several agents work, each on a task of its own, and get all results.",
         DelegateAllArgs, START),
        ("task_status", "How the tasks are that you have given.", LookArgs, LOOK),
        ("wait_for", "Wait for the end of a task that you have given, and get its result.", TaskArgs, LOOK),
        ("cancel", "End a task that you have given, with all that is below it.", TaskArgs, END),
    )  # fmt: skip
    return [TeamTool(_info(name, about, args, needed), args, team) for name, about, args, needed in said]


def told(tasks: Sequence[Task]) -> ToolResult:
    """How tasks are, without their results."""
    lines = [f"{task.id}  {task.status}  {task.name or task.goal[:80]}" for task in tasks]
    shown = [{"task": task.id, "status": task.status, "name": task.name} for task in tasks]
    return ToolResult(
        content=[{"type": "text", "text": "\n".join(lines) or "You have given none."}],
        structured={"tasks": shown},
    )


def result_of(task: Task) -> ToolResult:
    """The last words of whoever worked on it, or why there are none."""
    return ToolResult(
        content=[{"type": "text", "text": _words(task)}],
        structured=to_external(
            {"task": task.id, "status": task.status, "result": task.result, "error": task.error}
        ),
        is_error=task.status != "completed",
    )


def _words(task: Task) -> str:
    if task.status == "completed":
        return task.result
    why = "" if task.error is None else f": {task.error.message}. {task.error.remedy}".rstrip()
    if task.status not in ENDED:
        return f"The task is {task.status}."
    return f"The task failed{why}" if task.status == "failed" else f"The task was cancelled{why}"


# -- giving and waiting ------------------------------------------------------------------------------------


async def _settled(
    team: Team, pieces: Sequence[Piece], context: ToolContext, session_id: SessionId
) -> list[Order]:
    """The orders of a call, under ids that outlive the process."""
    _require_own_model(team, pieces, context.principal_id, session_id)
    if context.resumption is not None and context.resumption.handle:
        ids = msgspec.json.decode(context.resumption.handle, type=list[TaskId])
    else:
        ids = [team.new_id() for _ in pieces]
        if context.keep is not None:
            await context.keep(msgspec.json.encode(ids).decode())
    return [
        Order(
            task_id=task_id,
            session_id=session_id,
            by=context.principal_id,
            goal=piece.goal,
            name=piece.name,
            grants=[Wish(resource_uri=uri) for uri in dict.fromkeys(piece.rights)],
            model=piece.model,
            budget=Budget(max_cost=piece.max_cost),
        )
        for task_id, piece in zip(ids, pieces, strict=True)
    ]


def _require_own_model(team: Team, pieces: Sequence[Piece], who: PrincipalId, session_id: SessionId) -> None:
    """Return if no agent chooses to whom the data of its task goes: that is for people.

    Raises:
        NotPermitted: One names a model that is not the session's.
    """
    if not is_id("agent", who):
        return
    own = team.model_of(session_id)
    for piece in pieces:
        if piece.model not in {"", own}:
            raise NotPermitted(
                f"an agent cannot have a task worked on by {piece.model[:200]!r}, only by the model of its session",
                "leave the model out, or let a person give it: "
                f"umbrella task give … --model {shlex.quote(piece.model[:200])}",
                {"reason": "other_model", "principal_id": who, "model": piece.model[:200]},
            )


async def _delegate(team: Team, order: Order, wait: bool, context: ToolContext) -> ToolResult:
    task = await team.give(order)
    if not wait:
        return told([task])
    try:
        return result_of(await _waited(team, task.id, context))
    except asyncio.CancelledError:
        await _let_go(team, [order])
        raise


async def _delegate_all(
    team: Team, orders: Sequence[Order], strategy: Strategy, context: ToolContext
) -> ToolResult:
    try:
        ended = await team.run_all(orders, strategy, _reporter(context))
    except asyncio.CancelledError:
        await _let_go(team, orders)
        raise
    shown = [to_external({"task": task.id, "name": task.name, "status": task.status}) for task in ended]
    text = "\n\n".join(f"## {task.name or task.id}: {task.status}\n{_words(task)}" for task in ended)
    never = len(orders) - len(ended)
    if never:
        text += f"\n\nNever begun, because one before them failed: {never}."
    return ToolResult(
        content=[{"type": "text", "text": text}],
        structured={"tasks": shown, "never_begun": never},
        is_error=not all(task.status == "completed" for task in ended) or never > 0,
    )


async def _let_go(team: Team, orders: Sequence[Order]) -> None:
    """End what somebody waited for who has been cancelled; at a stop of the node it goes on."""
    if not team.stopping:
        ending = (team.cancel(order.task_id, "who waited for it was cancelled") for order in orders)
        await asyncio.shield(asyncio.gather(*ending, return_exceptions=True))


async def _waited(team: Team, task_id: TaskId, context: ToolContext) -> Task:
    report = _reporter(context)
    while True:
        task = await team.wait(task_id, REPORT_S)
        if task.status in ENDED:
            return task
        await report()


def _reporter(context: ToolContext) -> Report:
    """Says that it goes on; how much is left nobody knows, so the share only comes nearer to the whole."""
    said = 0

    async def report() -> None:
        nonlocal said
        said += 1
        if context.progress is not None:
            await context.progress(95.0 * said / (said + 20), "agents are at work")

    return report


def _pieces(checked: Any) -> Sequence[Piece]:
    if isinstance(checked, DelegateAllArgs):
        return checked.tasks
    return [checked] if isinstance(checked, Piece) else []


def _info(name: str, about: str, args: type[msgspec.Struct], needed: Resource) -> ToolInfo:
    read_only = needed == LOOK
    return ToolInfo(
        server=SERVER,
        name=name,
        description=about,
        parameters=_schema(args),
        required_capabilities=[needed.uri],
        read_only=read_only,
        destructive=False,
        idempotent=read_only or needed == END,
        open_world=needed == START,
    )


def _schema(args: type[msgspec.Struct]) -> dict[str, Any]:
    """One schema that refers to no other: some models do not follow references."""
    _, parts = msgspec.json.schema_components([args], ref_template="#/$defs/{name}")
    schema = {
        key: value for key, value in parts[args.__name__].items() if key not in {"title", "description"}
    }
    others = {name: part for name, part in parts.items() if name != args.__name__}
    inlined: dict[str, Any] = _inlined(schema, others)
    return inlined


def _inlined(part: Any, others: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            return _inlined(others[part["$ref"].removeprefix("#/$defs/")], others)
        return {key: _inlined(value, others) for key, value in part.items()}
    return [_inlined(each, others) for each in part] if isinstance(part, list) else part
