"""A model's tool call put together from what it wrote: never trusted to be JSON, never unbounded."""

from typing import Any, Final

import msgspec

from mcp_interface.provider import Completion, StopReason, ToolUse

MAX_ARGUMENTS: Final = 1024 * 1024
"""Characters of the arguments of one call; what is longer is not kept."""
MAX_TOOL_CALLS: Final = 128
"""Calls in one answer; the rest is not kept."""


def known_ids(completion: Completion) -> set[str]:
    """Return the ids of the tool calls that a conversation already holds."""
    return {use.id for message in completion.messages for use in message.tool_uses}


def unused_id(wanted: str, known: set[str]) -> str:
    """Return the id, or one made from it that is not yet known, and remember it as known.

    Some servers leave ids empty, or count them from zero in every answer.
    """
    fresh, count = wanted or "call", 1
    while fresh in known:
        count += 1
        fresh = f"{wanted or 'call'}-{count}"
    known.add(fresh)
    return fresh


def settle(reason: StopReason, uses: list[ToolUse]) -> tuple[StopReason, list[ToolUse]]:
    """Make the end of an answer agree with its calls; not every server does.

    A refused answer calls nothing: what was written before the refusal is not to be run.
    """
    if reason == "refused":
        return reason, []
    if uses:
        return ("length" if reason == "length" else "tool_use"), uses
    return ("other" if reason == "tool_use" else reason), uses


class Draft:
    """One call while its pieces arrive."""

    def __init__(self, tool_use_id: str = "", name: str = "") -> None:
        self.id = tool_use_id
        self.name = name
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: str) -> None:
        """Take the next piece of the arguments' text."""
        self._size += len(piece)
        if self._size <= MAX_ARGUMENTS:
            self._pieces.append(piece)

    def finish(self, *, cut: bool) -> ToolUse:
        """Read the whole call; what cannot be read becomes the call's `problem`.

        Args:
            cut: The answer ended because it reached its allowed length.
        """
        if self._size > MAX_ARGUMENTS:
            return self._with({}, f"the arguments are longer than {MAX_ARGUMENTS} characters")
        text = "".join(self._pieces).strip()
        try:
            value = msgspec.json.decode(text) if text else {}
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            why = (
                "the answer reached its token limit inside the arguments"
                if cut
                else "the arguments are not JSON"
            )
            return self._with({}, f"{why}: {error}")
        if not isinstance(value, dict):
            return self._with({}, f"the arguments must be a JSON object, not {type(value).__name__}")
        return self._with(value, "")

    def _with(self, arguments: dict[str, Any], problem: str) -> ToolUse:
        return ToolUse(id=self.id, name=self.name, arguments=arguments, problem=problem)
