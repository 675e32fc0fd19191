"""From a conversation to one request that fits into its model's window.

Remembers of each model how far the estimate of tokens was off, and what was too long for it. It is lost with the
process: the first answers bring it back.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_core.agents.window import ANSWER, CONTEXT, Fitted, fit, longest_output, tokens_of, tokens_of_tools
from mcp_interface.provider import ChatMessage, Completion, ModelInfo, ToolSchema, Usage

MARGIN: Final = 0.9
"""Part of the room that is used: an estimate is one."""
SMALLER: Final = 0.6
"""Part of what was too long that is tried next."""
LEAST: Final = 1_000
"""Tokens that every model is thought to take."""
_SCALES: Final = (0.5, 4.0)
_SHORT: Final = 500
"""Tokens below which the estimate teaches nothing: what providers add by themselves weighs too much."""
MODELS: Final = 256
"""Models of which something is remembered."""
_GO_ON: Final = (
    "(From the program, not from the person: your answer reached its allowed length. Go on exactly where it ended, "
    "without repeating anything.)"
)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes."""

    context: int
    """Tokens that it reads and writes together."""
    answer: int
    """Those that are left for one answer."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and how large it is thought to be."""

    completion: Completion
    estimate: int
    """Tokens by their text alone."""
    tokens: int
    """The same, corrected by what the provider has counted before."""
    fitted: Fitted
    room: Room


class _Known(msgspec.Struct):
    scale: float = 1.0
    context: int | None = None


class Preparing:
    """Prepares requests for all models of a node."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def room(self, info: ModelInfo) -> Room:
        """What a model takes: by its card, or by what was too long for it."""
        told = info.context_tokens or CONTEXT
        found = self._of(info).context
        context = max(LEAST, told if found is None else min(told, found))
        return Room(
            context=context, answer=min(info.max_output_tokens or ANSWER, max(LEAST // 4, context // 4))
        )

    def budget(self, info: ModelInfo, system: str, tools: Sequence[ToolSchema]) -> int:
        """Estimated tokens that the messages of a request may have."""
        room = self.room(info)
        taken = tokens_of(system) + tokens_of_tools(tools)
        return max(1, int((room.context - room.answer) * MARGIN / self._of(info).scale) - taken)

    def prepare(
        self,
        info: ModelInfo,
        system: str,
        window: Sequence[ChatMessage],
        tools: Sequence[ToolSchema],
        *,
        summarized: bool = False,
        model: str = "",
        goes_on: bool = False,
    ) -> Prepared:
        """Put a request together.

        Args:
            info: Of whom is asked.
            system: What it is told before.
            window: The whole conversation as it would be without bounds.
            tools: What it may call.
            summarized: Whether the first message is a summary, which is never left out.
            model: Its own name, as its provider wants it.
            goes_on: Whether the latest answer was cut at its length, and shall be finished.
        """
        room = self.room(info)
        budget = self.budget(info, system, tools)
        fitted = fit(window, budget, longest=longest_output(room.context), pinned=int(summarized))
        messages = fitted.messages
        if goes_on and messages and messages[-1].role == "assistant":
            messages = [*messages, ChatMessage(role="user", text=_GO_ON)]
        completion = Completion(
            model=model, system=system, messages=messages, tools=tools, max_tokens=room.answer
        )
        estimate = fitted.tokens + tokens_of(system) + tokens_of_tools(tools)
        tokens = int(estimate * self._of(info).scale)
        return Prepared(completion=completion, estimate=estimate, tokens=tokens, fitted=fitted, room=room)

    def learn(self, info: ModelInfo, prepared: Prepared, usage: Usage) -> None:
        """Take from what the provider counted how far the estimate was off."""
        if usage.input_tokens and prepared.estimate >= _SHORT:
            low, high = _SCALES
            scale = usage.input_tokens / prepared.estimate
            # In coarse steps: a window that begins elsewhere each time is of no use to the provider's cache.
            self._note(info).scale = min(high, max(low, round(scale + 0.05, 1)))

    def too_long(self, info: ModelInfo, prepared: Prepared) -> None:
        """Take from a refusal that the model takes less than was thought."""
        tried = min(prepared.room.context, prepared.tokens + prepared.room.answer)
        self._note(info).context = max(LEAST, int(tried * SMALLER))

    def _of(self, info: ModelInfo) -> _Known:
        return self._known.get(_key(info)) or _Known()

    def _note(self, info: ModelInfo) -> _Known:
        key = _key(info)
        if key not in self._known and len(self._known) >= MODELS:
            del self._known[next(iter(self._known))]
        return self._known.setdefault(key, _Known())


def _key(info: ModelInfo) -> str:
    return f"{info.provider}:{info.name}"
