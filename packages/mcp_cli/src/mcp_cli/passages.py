"""What a transcript consists of: one struct for each kind of block, and a few words about each."""

from base64 import b64decode
from datetime import datetime
from typing import Any, Literal

import msgspec

from mcp_cli.untrusted import readable_json
from mcp_interface.approval import Answer, Approval
from mcp_interface.errors import ErrorBody
from mcp_interface.ids import SYSTEM, CapabilityId, ExecutionId, MessageId, PrincipalId, TurnId
from mcp_interface.provider import Usage
from mcp_interface.question import Question, Response
from mcp_interface.tool import Preview, ToolResult

ToolState = Literal["running", "done", "failed", "denied", "interrupted"]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A person's message."""

    message_id: MessageId
    author: PrincipalId
    text: str
    at: datetime


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's words; `open` while they are still being written."""

    message_id: MessageId
    turn_id: TurnId
    text: str
    open: bool = False
    cut: bool = False
    """The words broke off and were never finished."""
    stop: str = "end"
    """Why they end here, as `AssistantMessage.stop` says it."""
    retried: bool = False
    """Somebody asked for another answer after these words."""
    model: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    """US dollars; None: not known."""
    seconds: float = 0.0
    at: datetime | None = None


class ToolCard(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call and how it went."""

    execution_id: ExecutionId
    principal_id: PrincipalId
    server: str
    tool: str
    arguments: dict[str, Any] = {}
    by_model: bool = False
    state: ToolState = "running"
    began: datetime
    seconds: float | None = None
    """How long it took; None while it runs, and when it never began."""
    progress: float = 0.0
    message: str = ""
    said: tuple[str, ...] = ()
    """The last lines that the tool said while it ran; they are not remembered by the node."""
    capability_id: CapabilityId | None = None
    """The right by which it ran."""
    preview: Preview | None = None
    """What it was going to change, as it was shown to whoever was asked."""
    result: ToolResult | None = None
    error: ErrorBody | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has to allow or refuse; `answer` is None while that is open."""

    approval: Approval
    answer: Answer | None = None
    by: PrincipalId | None = None
    capability_id: CapabilityId | None = None
    """The right that came of a yes."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A tool wants to know something; `response` is None while the question is open."""

    question: Question
    response: Response | None = None
    by: PrincipalId | None = None


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to the conversation itself."""

    tone: Literal["dim", "warn", "bad"]
    text: str
    remedy: str = ""
    more: str = ""
    """A longer text behind it, folded on a screen."""


Block = Said | Answered | ToolCard | Permission | Asked | Remark


def may_change(block: Block) -> bool:
    """Whether a later notice can still change the block; all others stay as they are for good."""
    match block:
        case Answered():
            return block.open or (block.cut and not block.retried)
        case ToolCard():
            return block.state == "running"
        case Permission():
            return block.answer is None
        case Asked():
            return block.response is None
        case _:
            return False


def told(asked: Asked) -> str:
    """Say in a few words how a tool's question was answered."""
    response = asked.response
    if response is None:
        return "waiting for your answer"
    if response.action != "accept":
        unanswered = "not answered in time" if asked.by == SYSTEM else "not answered"
        return "declined" if response.action == "decline" else unanswered
    fields = ", ".join(f"{name}: {value}" for name, value in (response.content or {}).items())
    form = f"answered with {fields}" if fields else "answered"
    yes = {"url": "you open the page", "sampling": "your model may answer", "roots": "folders named"}
    return yes.get(asked.question.inquiry.kind, form)


def verdict(permission: Permission) -> str:
    """Say in a few words how somebody allowed or refused."""
    answer = permission.answer
    if answer is None:
        return "waiting for your answer"
    if answer.allow:
        lasts = {"once": "allowed once", "session": "allowed for this session", "always": "always allowed"}
        any_arguments = " with any arguments" if answer.any_arguments else ""
        pattern = f" to {answer.resource_uri}" if answer.resource_uri else ""
        return lasts[answer.remember] + any_arguments + pattern
    by = " by the node" if permission.by == SYSTEM else ""
    word = "never" if answer.remember == "always" else f"denied{by}"
    return f"{word}: {answer.reason}" if answer.reason else word


def break_mark(answered: Answered) -> str:
    """Say why an answer is not whole; empty when it is."""
    if answered.cut:
        return "broke off here" if answered.retried else "broke off here; /retry answers once more"
    marks = {
        "length": "cut off: the model may not write more in one answer; say “go on”",
        "refused": "the model refused to say more",
    }
    return marks.get(answered.stop, "")


def dollars(cost: float) -> str:
    """Write a sum of US dollars as people read it: two digits, more where it would be nothing else."""
    if 0 < cost < 0.01:
        return f"${cost:.4f}" if cost >= 0.0001 else "<$0.0001"
    return f"${cost:.2f}"


def result_text(result: ToolResult) -> str:
    """Return what a tool gave back as text; a picture or a sound is named with its kind and size."""
    text = "\n".join(_content(block) for block in result.content)
    if text or result.structured is None:
        return text
    return readable_json(result.structured)


def _content(block: dict[str, Any]) -> str:
    kind = str(block.get("type", "unknown"))
    match kind:
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio":
            return _placeholder(kind, str(block.get("mimeType", "")), str(block.get("data", "")))
        case "resource_link":
            return f"[resource {block.get('uri', '')}]"
        case "resource":
            inner = block.get("resource")
            held = inner if isinstance(inner, dict) else {}
            return str(held.get("text") or f"[resource {held.get('uri', '')}]")
        case _:
            return f"[{kind}]"


def _placeholder(kind: str, mime_type: str, data: str) -> str:
    size = len(data) * 3 // 4 - data.count("=", -2)
    shape = _shape(data) if mime_type == "image/png" else ""
    unit = f"{size / 1024:.1f} KB" if size >= 1024 else f"{size} bytes"
    return f"[{' '.join(filter(None, [kind, mime_type.partition('/')[2], shape]))}, {unit}]"


def _shape(data: str) -> str:
    """Read width and height off the head of a PNG; empty when it is none."""
    try:
        head = b64decode(data[:32])
    except ValueError:
        return ""
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        return ""
    return f"{int.from_bytes(head[16:20])}x{int.from_bytes(head[20:24])}"
