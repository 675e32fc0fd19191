"""The chat-completions format of OpenAI and of everything compatible with it, without any I/O.

Below: `openai` sends and receives it. Compatible servers differ in small ways; what is tolerated here is named
where it is tolerated.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mcp_core.providers.arguments import MAX_TOOL_CALLS, Draft, unused_id
from mcp_core.providers.transcript import orderly
from mcp_interface.provider import ChatMessage, Completion, StopReason, ToolSchema, ToolUse

_STOPS: Final[dict[str, StopReason]] = {
    "stop": "end",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "length",
    "content_filter": "refused",
}

_OTHERWISE: Final = re.compile(
    r"^(babbage|chatgpt-image|dall-e|davinci|gpt-image|omni-moderation|sora|text-|tts-|whisper)"
    r"|-(audio|image|instruct|live|realtime|search-api|transcribe|translate|tts)(-|$)"
)
"""Names of models at OpenAI itself that are not for chat; it lists them all alike."""


def request(completion: Completion, model: str, *, modern: bool) -> dict[str, Any]:
    """Write a request body.

    Args:
        completion: What to ask.
        model: The model's name; `completion.model` may be empty.
        modern: The vendor's own endpoint, which has renamed `max_tokens`; compatible servers know the old name.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(completion),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if modern else "max_tokens": completion.max_tokens,
    }
    if completion.tools:  # an empty list is refused
        body["tools"] = [_tool(schema) for schema in completion.tools]
    return body


def _tool(schema: ToolSchema) -> dict[str, Any]:
    function = {"name": schema.name, "description": schema.description, "parameters": schema.parameters}
    return {"type": "function", "function": function}


def _messages(completion: Completion) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    if completion.system.strip():
        written.append({"role": "system", "content": completion.system})
    for message in orderly(completion.messages):
        written.extend(_turn(message))
    return written


def _turn(message: ChatMessage) -> Sequence[dict[str, Any]]:
    if message.role == "tool":
        return [
            # The format has no mark for a failed call, so the text carries it.
            {
                "role": "tool",
                "tool_call_id": output.tool_use_id,
                "content": f"Error: {output.text}" if output.is_error else output.text or "(no output)",
            }
            for output in message.tool_outputs
        ]
    turn: dict[str, Any] = {"role": message.role}
    if message.text.strip():
        turn["content"] = message.text
    if message.tool_uses:
        turn.setdefault("content", None)
        turn["tool_calls"] = [_call(use) for use in message.tool_uses]
    return [turn]


def _call(use: ToolUse) -> dict[str, Any]:
    arguments = msgspec.json.encode(use.arguments).decode()
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": arguments}}


class Calls:
    """Tool calls of one answer, put together from deltas.

    Args:
        known: Ids of the calls that the conversation already holds; grows by those of this answer.
    """

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._drafts: list[Draft] = []
        self._by_index: dict[int, Draft] = {}

    def add(self, index: int | None, call_id: str, name: str, arguments: str) -> None:
        """Take one delta; some servers leave the index out, or number every parallel call zero."""
        draft = self._by_index.get(index) if index is not None else None
        if index is None and not call_id and not name and self._drafts:
            draft = self._drafts[-1]
        if draft is None or (call_id and draft.id and draft.id != call_id):
            if len(self._drafts) >= MAX_TOOL_CALLS:
                return
            draft = Draft()
            self._drafts.append(draft)
        if index is not None:
            self._by_index[index] = draft
        draft.id = draft.id or call_id
        draft.name = draft.name or name
        draft.add(arguments)

    def finish(self, *, cut: bool) -> list[ToolUse]:
        """Return the whole calls, in the order in which they began, under ids that are new to the conversation."""
        for draft in self._drafts:
            draft.id = unused_id(draft.id, self._known)
        return [draft.finish(cut=cut) for draft in self._drafts]


def stop_reason(reported: str, *, refusal: bool) -> StopReason:
    """Map `finish_reason`; a refusal in words can come with any."""
    return "refused" if refusal else _STOPS.get(reported, "other")


def speaks_otherwise(model: str) -> bool:
    """Tell whether a model of OpenAI itself is for something else than chat, by its name."""
    return _OTHERWISE.search(model) is not None
