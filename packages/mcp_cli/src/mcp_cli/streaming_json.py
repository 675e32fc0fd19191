"""What `umbrella ask` tells programs: one report at the end, or one line after the other while it happens.

Each line is one JSON object whose `type` says what it is. The first is `begin`, the last `end` or `error`, and there
is exactly one of those. Types and fields may be added; none changes its meaning. The JSON Schema of all of them is
`schema()`, which `umbrella ask --schema` prints.
"""

from typing import Any, Literal

import msgspec

from mcp_cli.exit_codes import DENIED, FAILED, INTERRUPTED, OK, exit_code
from mcp_interface.codec import encode_json
from mcp_interface.errors import ErrorBody, error_from
from mcp_interface.ids import ExecutionId, MessageId, QuestionId, SessionId, TurnId
from mcp_interface.provider import Usage
from mcp_interface.tool import ToolResult


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call of the turn."""

    server: str
    tool: str
    arguments: dict[str, Any]
    state: str
    seconds: float | None = None
    result: ToolResult | None = None
    error: ErrorBody | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A question that could not be put to anybody."""

    server: str
    tool: str
    resource_uri: str
    remedy: str


class TurnReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn went; the JSON document of `umbrella ask`."""

    session_id: SessionId
    turn_id: TurnId | None
    status: Literal["completed", "failed", "cancelled", "interrupted"]
    text: str
    model: str
    usage: Usage
    tool_calls: list[CallReport]
    refused: list[Refusal]
    error: ErrorBody | None = None
    cost: float | None = None
    """US dollars of the turn; None: the price of an answer is not known."""

    @property
    def code(self) -> int:
        """The exit code: 3 also for a turn that ended well although something was refused."""
        if self.status == "completed":
            return DENIED if self.refused else OK
        if self.status == "failed":
            return exit_code(error_from(self.error)) if self.error is not None else FAILED
        return INTERRUPTED


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="begin"):
    """The question is put."""

    session_id: SessionId
    model: str = ""
    """That the session chose; empty: the node's default."""


class Text(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """More of the answer; the pieces of one message make its text."""

    message_id: MessageId
    text: str


class Tool(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool"):
    """A tool call began, or ended; `call.state` is then no longer `running`."""

    execution_id: ExecutionId
    call: CallReport


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """A tool call needed a person's yes."""

    refusal: Refusal


class Question(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="question"):
    """A tool wants to know something, and the turn waits: umbrella questions answer ID."""

    question_id: QuestionId
    server: str
    tool: str
    message: str


class Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="note"):
    """Something for people to know."""

    text: str


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The turn is over."""

    report: TurnReport
    exit_code: int


class Error(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """There will be no report."""

    error: ErrorBody
    exit_code: int


Line = Begin | Text | Tool | Refused | Question | Note | End | Error


def line_of(line: Line) -> str:
    """One line of JSON, without sealed values."""
    return encode_json(line).decode() + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of a line."""
    return msgspec.json.schema(Line)
