"""What of a conversation goes to the model: what fits, well-formed, and always what the person said last. Pure.

Tokens are estimated from the length of the text; who sends the window corrects the estimate by what the provider
counted the last time. A window is never cut between a tool call and its output.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_interface.codec import encode_json
from mcp_interface.provider import ChatMessage, ToolOutput, ToolSchema

CONTEXT: Final = 128_000
"""Tokens that a model is thought to take of which nothing is known."""
ANSWER: Final = 8_192
"""Tokens of an answer of such a model."""
LEAST_OUTPUT: Final = 500
"""Characters that are always kept of one tool's output."""
MOST_OUTPUT: Final = 64_000
"""Characters that are kept at most of one tool's output, where the model has room."""
MESSAGE: Final = 4
"""Tokens that a message costs beside its text."""
_TIGHTER: Final = (1, 4, 16, 64)
_STEPS_OUT: Final = 4
"""A window is cut by parts of its budget, so that it begins at the same place for several steps: what the provider
keeps of it stays of use."""

Units = list[list[ChatMessage]]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A window as it is sent."""

    messages: list[ChatMessage]
    tokens: int
    """About so many."""
    left_out: int = 0
    """Messages that are not sent, though a summary does not stand for them either."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    return (len(text) + 3) // 4 if text.isascii() else (len(text.encode(errors="replace")) + 2) // 3


def tokens_in(message: ChatMessage) -> int:
    """About how many tokens a message has."""
    total = MESSAGE + tokens_of(message.text)
    for use in message.tool_uses:
        total += MESSAGE + tokens_of(use.name) + tokens_of(encode_json(use.arguments).decode())
    return total + sum(MESSAGE + tokens_of(output.text) for output in message.tool_outputs)


def tokens_of_tools(tools: Sequence[ToolSchema]) -> int:
    """About how many tokens the definitions of tools have."""
    return sum(MESSAGE + tokens_of(encode_json(tool).decode()) for tool in tools)


def longest_output(context: int) -> int:
    """Characters that are kept of one tool's output, for a model that takes so many tokens: an eighth of them."""
    return max(LEAST_OUTPUT, min(MOST_OUTPUT, context // 2))


def fit(window: Sequence[ChatMessage], budget: int, *, longest: int = MOST_OUTPUT, pinned: int = 0) -> Fitted:
    """Choose what is sent: all of it if it fits, else without its oldest exchanges.

    Of the last exchange the oldest steps are left out when it does not fit alone. What does not fit then is sent all
    the same: the last words of the person, and the last step.

    Args:
        window: The whole conversation, oldest first.
        budget: Estimated tokens that it may have.
        longest: Characters of one tool's output.
        pinned: So many messages at the beginning are kept: a summary.
    """
    fitted = Fitted(messages=list(window), tokens=0)
    for tighter in _TIGHTER:
        capped = [_capped(message, max(LEAST_OUTPUT, longest // tighter)) for message in window]
        fitted = _slide(capped[:pinned], capped[pinned:], budget)
        if fitted.tokens <= budget or longest // tighter <= LEAST_OUTPUT:
            break
    return fitted


def overflows(window: Sequence[ChatMessage], budget: int, longest: int) -> bool:
    """Whether something has to be left out of a window."""
    return sum(tokens_in(_capped(message, longest)) for message in window) > budget


def older_part(window: Sequence[ChatMessage], keep: int, pinned: int = 0) -> int:
    """How many messages at the beginning a summary can stand for.

    Args:
        window: The whole conversation.
        keep: Estimated tokens of the end that stay as they are; the last exchange does if it can.
        pinned: So many messages at the beginning are a summary already.

    Returns:
        Zero when it would stand for nothing new.
    """
    exchanges = _exchanges(window[pinned:])
    split = len(window) - len(_last_within(exchanges, keep))
    if split > pinned:
        return split
    if not exchanges:
        return 0
    opening, *steps = _steps(exchanges[-1])  # one long exchange: its last steps stay
    split = len(window) - len(_last_within(steps, keep)) if len(steps) > 1 else 0
    return split if split > pinned + len(opening) else 0


def _last_within(units: Units, keep: int) -> list[ChatMessage]:
    """The messages of the last units that fit, at least of the last one."""
    kept: list[ChatMessage] = []
    total = 0
    for unit in reversed(units):
        total += sum(map(tokens_in, unit))
        if kept and total > keep:
            break
        kept = [*unit, *kept]
    return kept


def _slide(head: Sequence[ChatMessage], rest: Sequence[ChatMessage], budget: int) -> Fitted:
    budget -= sum(map(tokens_in, head))
    kept = _without_oldest(_exchanges(rest) or [list(rest)], budget)
    if len(kept) == 1:
        opening, *steps = _steps(kept[0])
        kept = [opening, *_without_oldest(steps, budget - sum(map(tokens_in, opening)))]
    messages = [*head, *(message for unit in kept for message in unit)]
    left_out = len(head) + len(rest) - len(messages)
    return Fitted(messages=messages, tokens=sum(map(tokens_in, messages)), left_out=left_out)


def _without_oldest(units: Units, budget: int) -> Units:
    sizes = [sum(map(tokens_in, unit)) for unit in units]
    over = sum(sizes) - budget
    if over <= 0:
        return units
    part = max(1, budget // _STEPS_OUT)
    over = -(-over // part) * part
    first = 0
    while over > 0 and first < len(units) - 1:
        over -= sizes[first]
        first += 1
    return units[first:]


def _exchanges(window: Sequence[ChatMessage]) -> Units:
    """Each begins with words of a person; what stands before the first of them is in none."""
    units: Units = []
    for message in window:
        if message.role == "user":
            units.append([message])
        elif units:
            units[-1].append(message)
    return units


def _steps(exchange: list[ChatMessage]) -> Units:
    """What the person said, then each answer with the outputs of its tools."""
    units: Units = [[]]
    for message in exchange:
        if message.role == "assistant":
            units.append([message])
        else:
            units[-1].append(message)
    return units


def _capped(message: ChatMessage, longest: int) -> ChatMessage:
    if all(len(output.text) <= longest for output in message.tool_outputs):
        return message
    outputs = [_shortened(output, longest) for output in message.tool_outputs]
    return msgspec.structs.replace(message, tool_outputs=outputs)


def _shortened(output: ToolOutput, longest: int) -> ToolOutput:
    text = output.text
    if len(text) <= longest:
        return output
    head, tail = longest * 3 // 4, longest // 4
    note = f"[… {len(text) - head - tail:,} of {len(text):,} characters are left out here; the execution's result has all of it …]"
    return msgspec.structs.replace(output, text=f"{text[:head]}\n{note}\n{text[len(text) - tail :]}")
