"""The messages format of Anthropic and of everything compatible with it, without any I/O.

Each request says up to where it will be sent again, so that the vendor keeps what it has read: the tools, the system
text, and the conversation. A request of less than about a thousand tokens is not kept, and costs what it would anyway.

Below: `anthropic` sends and receives it.
"""

import re
from typing import Any, Final

from mcp_core.providers.transcript import orderly
from mcp_interface.provider import ChatMessage, Completion, StopReason, ToolSchema

_STOPS: Final[dict[str, StopReason]] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
_KEEP: Final = {"cache_control": {"type": "ephemeral"}}
"""On a block: keep all up to here, for five minutes; a request may have four of them."""


def request(completion: Completion, model: str) -> dict[str, Any]:
    """Write a request body; `completion.model` may be empty, `model` is not."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": completion.max_tokens,
        "messages": _messages(completion),
        "stream": True,
    }
    if completion.system.strip():
        body["system"] = [{"type": "text", "text": completion.system, **_KEEP}]
    if completion.tools:
        body["tools"] = [_tool(schema) for schema in completion.tools]
        body["tools"][-1].update(_KEEP)
    _keep_conversation(body["messages"])
    return body


def _keep_conversation(messages: list[dict[str, Any]]) -> None:
    """Mark the end, for the next request to find, and where the request before this one ended, which is found now.

    The vendor looks for what it has kept in the twenty blocks before a mark, and one step of an agent may bring more.
    """
    ends = [message["content"][-1] for message in messages if message["role"] == "user"]
    for block in ends[-2:]:
        block.update(_KEEP)


def _tool(schema: ToolSchema) -> dict[str, Any]:
    return {"name": schema.name, "description": schema.description, "input_schema": schema.parameters}


def _messages(completion: Completion) -> list[dict[str, Any]]:
    """Alternate the two roles, beginning with the user: results and what the person says are one message."""
    written: list[dict[str, Any]] = []
    for message in orderly(completion.messages):
        role = "assistant" if message.role == "assistant" else "user"
        if not written and role == "assistant":
            opening = {"type": "text", "text": "(The conversation begins earlier.)"}
            written.append({"role": "user", "content": [opening]})
        if written and written[-1]["role"] == role:
            written[-1]["content"].extend(_blocks(message))
        else:
            written.append({"role": role, "content": _blocks(message)})
    return written


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for output in message.tool_outputs:
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": _call_id(output.tool_use_id)}
        if output.text.strip():
            result["content"] = output.text
        if output.is_error:
            result["is_error"] = True
        blocks.append(result)
    if message.text.strip():  # a blank text block is refused
        blocks.append({"type": "text", "text": message.text})
    blocks.extend(
        {"type": "tool_use", "id": _call_id(use.id), "name": use.name, "input": use.arguments}
        for use in message.tool_uses
    )
    return blocks


def _call_id(text: str) -> str:
    # An id that another vendor's model chose, earlier in the same session.
    return _FOREIGN.sub(lambda match: f"_{ord(match[0]):x}", text)


def stop_reason(reported: str) -> StopReason:
    """Map `stop_reason`."""
    return _STOPS.get(reported, "other")
