"""The node's assistant as tools, for people's programs: ask, look at conversations, say something in one.

Each acts as whoever calls and sees their conversations only. An agent may call none of them: what agents tell each other
goes as messages, and one that could speak as its person would hold that person's rights.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.client import Client, Notice, TextDelta
from mcp_interface.codec import to_external
from mcp_interface.commands import CreateSession, GetSession, ListSessions, Posted, ReadSession
from mcp_interface.errors import CallerMistaken, NodeUnavailable, NotPermitted, WrongState
from mcp_interface.events import AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted, UserMessage
from mcp_interface.ids import PrincipalId, SessionId, is_id
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

SERVER: Final = "assistant"
TITLE: Final = 80
LISTED: Final = 100
READ: Final = 1_000
"""Events that are looked through for the messages of a conversation."""
_Text = Annotated[str, Meta(min_length=1, max_length=1_000_000)]
_Conversation = Annotated[str, Meta(pattern="^session_[0-9a-f]{32}$", description="From list_conversations.")]


class NoArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a tool that takes none."""


class AskArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask, and where."""

    text: _Text
    conversation: _Conversation | msgspec.UnsetType = msgspec.UNSET


class ConversationArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which conversation."""

    conversation: _Conversation


class SayArgs(ConversationArgs, frozen=True, forbid_unknown_fields=True):
    """What to say in it."""

    text: _Text


Clients = Callable[[PrincipalId], Client]
"""Gives a way to ask the node as somebody."""
Say = Callable[[PrincipalId, SessionId, str, Sequence[Verdict]], Awaitable[Posted]]
"""Says something as somebody, by a call that was judged already."""
Work = Callable[[Client, dict[str, Any], ToolContext], Awaitable[ToolResult]]


class AssistantTool:
    """One of the tools.

    Args:
        info: What it is.
        args: What it takes.
        work: What it does, with a client of whoever calls.
        clients: Makes those.
    """

    def __init__(self, info: ToolInfo, args: type[msgspec.Struct], work: Work, clients: Clients) -> None:
        self._info = info
        self._args = args
        self._work = work
        self._clients = clients

    def info(self) -> ToolInfo:
        """Describe it."""
        return self._info

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types and limits.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        try:
            msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            name = f"{SERVER}/{self._info.name}"
            raise CallerMistaken(f"arguments of {name}: {error}", "see its parameters") from error

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to call it."""
        return [Need(tool_resource(SERVER, self._info.name), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Do it as the caller.

        Raises:
            NotPermitted: The caller is an agent.
            UmbrellaError: What the node answers.
        """
        if not is_id("user", context.principal_id):
            raise NotPermitted(
                f"{context.principal_id} is no person, and this speaks as one",
                "send the agent you mean a message instead",
                {"reason": "agents_excluded"},
            )
        return await self._work(self._clients(context.principal_id), args, context)


def assistant_tools(clients: Clients, say: Say) -> list[AssistantTool]:
    """The tools, over a way to ask the node as somebody, and one to say what their call was allowed to say."""
    asking = "Ask the assistant and wait for its answer; without a conversation it begins one."
    saying = "Say something in a conversation without waiting for the answer."
    return [
        AssistantTool(_info("ask", asking, AskArgs), AskArgs, partial(ask, say), clients),
        AssistantTool(
            _info("list_conversations", "Your conversations, the latest first.", NoArgs, read_only=True),
            NoArgs,
            list_conversations,
            clients,
        ),
        AssistantTool(
            _info("read_conversation", "What was said in a conversation.", ConversationArgs, read_only=True),
            ConversationArgs,
            read_conversation,
            clients,
        ),
        AssistantTool(_info("send_message", saying, SayArgs), SayArgs, partial(send_message, say), clients),
    ]


def _info(name: str, description: str, args: type[msgspec.Struct], *, read_only: bool = False) -> ToolInfo:
    _, parts = msgspec.json.schema_components([args])
    schema = {
        key: value for key, value in parts[args.__name__].items() if key not in {"title", "description"}
    }
    return ToolInfo(
        server=SERVER,
        name=name,
        description=description,
        parameters=schema,
        required_capabilities=[tool_resource(SERVER, name).uri],
        read_only=read_only,
        destructive=False,
        idempotent=read_only,
        open_world=not read_only,
    )


# -- the four ----------------------------------------------------------------------------------------------


class Asked(msgspec.Struct, frozen=True):
    """How far an `ask` has come: enough to go on with it in another process."""

    session_id: SessionId
    before: int
    """Position behind which the message is, if it was said."""


async def ask(say: Say, client: Client, args: dict[str, Any], context: ToolContext) -> ToolResult:
    """Say something, wait for the turn, give its answer. Taken up again after a crash, it says nothing twice."""
    asked = await _begun(client, args, context)
    said = await _said(client, asked, args["text"])
    if not said:
        await say(context.principal_id, asked.session_id, args["text"], context.verdicts)
    answer, failed = await _answer(client, asked, context)
    return ToolResult(
        content=[{"type": "text", "text": answer}],
        structured={"conversation": asked.session_id, "text": answer},
        is_error=failed,
    )


async def list_conversations(client: Client, args: dict[str, Any], context: ToolContext) -> ToolResult:
    """The caller's conversations."""
    page = await client.request(ListSessions(limit=1000))
    told = [_summary(session) for session in page.items if _is_talk(session)][:LISTED]
    lines = [f"{each['conversation']}  {each['title']}" for each in told]
    return ToolResult(
        content=[{"type": "text", "text": "\n".join(lines) or "There are none."}],
        structured={"conversations": told},
    )


async def read_conversation(client: Client, args: dict[str, Any], context: ToolContext) -> ToolResult:
    """What people and the assistant have said."""
    session_id = SessionId(args["conversation"])
    said: list[dict[str, str]] = []
    cursor: str | None = None
    while True:
        page = await client.request(ReadSession(session_id=session_id, limit=READ, cursor=cursor))
        for record in page.items:
            match record.event:
                case UserMessage(text=text):
                    said.append({"role": "user", "text": text})
                case AssistantMessage(text=text) if text:
                    said.append({"role": "assistant", "text": text})
        cursor = page.cursor
        if cursor is None:
            break
    text = "\n\n".join(f"{each['role']}: {each['text']}" for each in said)
    return ToolResult(
        content=[{"type": "text", "text": text or "Nothing was said yet."}], structured={"messages": said}
    )


async def send_message(say: Say, client: Client, args: dict[str, Any], context: ToolContext) -> ToolResult:
    """Say something; the answer comes when it comes."""
    session_id = SessionId(args["conversation"])
    posted = await say(context.principal_id, session_id, args["text"], context.verdicts)
    return text_result(f"said in {session_id} as {posted.message_id}")


# -- how ask goes about it ---------------------------------------------------------------------------------


async def _begun(client: Client, args: dict[str, Any], context: ToolContext) -> Asked:
    """Where to ask; durable before anything is said."""
    handle = "" if context.resumption is None else context.resumption.handle
    if handle:
        return msgspec.json.decode(handle, type=Asked)
    named = args.get("conversation")
    if named is None:
        title = " ".join(args["text"].split())[:TITLE]
        session = await client.request(CreateSession(title=title))
    else:
        session = await client.request(GetSession(session_id=SessionId(named)))
        if session.busy:
            raise WrongState(
                f"{session.id} is answering somebody already", "wait, or ask in a conversation of its own"
            )
    asked = Asked(session.id, await _end_of(client, session.id))
    if context.keep is not None:
        await context.keep(msgspec.json.encode(asked).decode())
    return asked


async def _end_of(client: Client, session_id: SessionId) -> int:
    """The position of a session's latest event."""
    position, cursor = 0, None
    while True:
        page = await client.request(ReadSession(session_id=session_id, limit=READ, cursor=cursor))
        if page.items:
            position = page.items[-1].position
        cursor = page.cursor
        if cursor is None:
            return position


async def _said(client: Client, asked: Asked, text: str) -> bool:
    """Whether the message is in the journal, from before a crash."""
    cursor: str | None = None
    while True:
        page = await client.request(ReadSession(session_id=asked.session_id, limit=READ, cursor=cursor))
        for record in page.items:
            event = record.event
            if record.position > asked.before and isinstance(event, UserMessage) and event.text == text:
                return True
        cursor = page.cursor
        if cursor is None:
            return False


async def _answer(client: Client, asked: Asked, context: ToolContext) -> tuple[str, bool]:
    """The last words of the turn that takes up what was asked, and whether it came to nothing."""
    words, mine, written = "", False, 0
    async with aclosing(client.follow(asked.session_id, asked.before)) as notices:  # type: ignore[type-var]  # every client's is a generator
        async for notice in notices:
            event = notice.event if isinstance(notice, Record) else None
            match event:
                case TurnStarted():
                    mine, words = True, ""
                case AssistantMessage(text=text) if mine and text:
                    words = text
                case TurnEnded(status=status, error=error) if mine:
                    if status == "completed":
                        return words, False
                    why = f"{error.message}. {error.remedy}".strip() if error is not None else status
                    return f"The turn was {status}: {why}", True
            written = await _report(notice, context, written)
    raise NodeUnavailable("the node stopped before the answer was there", "ask in the conversation again")


async def _report(notice: Notice, context: ToolContext, written: int) -> int:
    """Tell that it goes on; how much is left nobody knows, so the share only comes nearer to the whole."""
    if context.progress is None:
        return written
    event = notice.event if isinstance(notice, Record) else None
    if isinstance(notice, TextDelta):
        written += len(notice.text)
        await context.progress(95.0 * written / (written + 1_000), "writing")
    elif isinstance(event, ExecutionChanged) and event.status == "started" and event.call is not None:
        written += 100
        await context.progress(95.0 * written / (written + 1_000), f"{event.call.server}/{event.call.tool}")
    return written


def _is_talk(session: Session) -> bool:
    """Whether somebody speaks in it; others record single calls."""
    return not {"kind", "mcp"} & set(session.metadata)


def _summary(session: Session) -> dict[str, Any]:
    told: dict[str, Any] = to_external(
        {
            "conversation": session.id,
            "title": session.title,
            "updated_at": session.updated_at,
            "messages": session.message_count,
            "busy": session.busy,
        }
    )
    return told
