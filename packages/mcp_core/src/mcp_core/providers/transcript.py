"""A conversation put into the order that every vendor demands, before it is written in a vendor's own format.

Pure. Vendors refuse a request in which a tool call is not answered at once, is answered twice, or shares its
id with another. Our history can hold all of that: a crash between call and result, a person who typed while a
tool ran, a window that begins behind a call, a local server that counts its ids from zero in every answer.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from mcp_core.providers.arguments import unused_id
from mcp_interface.provider import ChatMessage, ToolOutput, ToolUse

NO_RESULT: Final = "There is no result: the call was interrupted and may or may not have taken effect."


def orderly(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the same conversation with every tool result right behind its call.

    A `tool` message holds exactly the outputs of the assistant message before it, in the order of the calls; a
    call without a result gets one that says so; a result without a call is left out (its call is behind the
    window, and vendors refuse it); so is a message that says nothing. Repeated ids are told apart.
    """
    turns: list[ChatMessage] = []
    answers: dict[int, list[ToolOutput]] = {}
    waiting: dict[
        str, list[tuple[int, int]]
    ] = {}  # id in the history -> turn and index its output belongs to
    known: set[str] = set()
    for message in messages:
        for output in message.tool_outputs:
            if places := waiting.get(output.tool_use_id):
                turn, index = places.pop(0)
                own_id = answers[turn][index].tool_use_id
                answers[turn][index] = msgspec.structs.replace(output, tool_use_id=own_id)
        if message.text.strip() or message.tool_uses:
            speaks: Literal["assistant", "user"] = "user"
            if message.role == "assistant" or message.tool_uses:
                speaks = "assistant"
            uses = [msgspec.structs.replace(use, id=unused_id(use.id, known)) for use in message.tool_uses]
            turns.append(ChatMessage(role=speaks, text=message.text, tool_uses=uses))
        if message.tool_uses:
            # An older call of the same id will not be answered any more.
            waiting.update({use.id: [] for use in message.tool_uses})
            for index, use in enumerate(message.tool_uses):
                waiting[use.id].append((len(turns), index))
            answers[len(turns)] = [_missing(use) for use in uses]
            turns.append(ChatMessage(role="tool"))
    return [
        ChatMessage(role="tool", tool_outputs=answers[place]) if place in answers else turn
        for place, turn in enumerate(turns)
    ]


def _missing(use: ToolUse) -> ToolOutput:
    return ToolOutput(tool_use_id=use.id, text=NO_RESULT, is_error=True)
