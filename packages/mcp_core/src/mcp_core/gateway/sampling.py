"""The node's own model, speaking for a tool whose server wished for it and a person said yes.

Source: Model Context Protocol 2025-11-25, sampling/createMessage.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from mcp_core.agents.budgeting import check_budgets
from mcp_core.gateway.speaking import Speaking
from mcp_core.providers.lender import Lent
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import SessionId
from mcp_interface.provider import ChatMessage, Completion, Finished, TextChunk
from mcp_interface.session import Session

MOST_TOKENS: Final = 8192
"""Of one answer, whatever is wished for."""
_STOPS: Final = {"end": "endTurn", "length": "maxTokens"}


class ModelSampler:
    """Implements `questions.Sampler` over the providers of the node.

    Args:
        lend: From a session's model choice to a model that can be asked.
        ready: Whether a model is configured; nothing is sent to it.
        session: Says which model a session has chosen, and for whom it would speak.
        speaking: Judges whether it may speak for them.
    """

    def __init__(
        self,
        lend: Callable[[str], Awaitable[Lent]],
        ready: Callable[[], bool],
        session: Callable[[SessionId], Session],
        speaking: Speaking,
    ) -> None:
        self._lend = lend
        self._ready = ready
        self._session = session
        self._speaking = speaking

    def ready(self, session_id: SessionId) -> bool:
        """Whether there is a model that may speak for the person whose session this is."""
        try:
            return self._ready() and self._speaking.offered(self._session(session_id).created_by)
        except NotFound:
            return False

    async def sample(self, session_id: SessionId, params: dict[str, Any]) -> dict[str, Any]:
        """Let the session's model answer; which one a server would prefer is for the person to choose, not for it.

        Raises:
            CallerMistaken: The wish holds something else than text, or tools.
            NotPermitted: It may not speak for the person whose session this is.
            TooMuch: The budget of the session is used up.
            ModelUnavailable: None is configured, or it cannot be reached.
        """
        completion = completion_of(params)
        session = self._session(session_id)
        words = "\n".join([completion.system, *(message.text for message in completion.messages)]).strip()
        asked = {"text": words, "conversation": session_id}
        await self._speaking.require(session.created_by, session_id, asked)
        lent = await self._lend(session.model)
        check_budgets(self._session, session_id, lent.info, *lent.others)
        text, finished = "", Finished(stop_reason="other")
        async for chunk in lent.provider.stream(msgspec.structs.replace(completion, model=lent.model)):
            match chunk:
                case TextChunk():
                    text += chunk.text
                case Finished():
                    finished = chunk
        return {
            "role": "assistant",
            "content": {"type": "text", "text": text},
            "model": finished.model or lent.model,
            "stopReason": _STOPS.get(finished.stop_reason, finished.stop_reason),
        }


def completion_of(params: dict[str, Any]) -> Completion:
    """The request to a model that a wish in MCP's wire form comes to.

    Raises:
        CallerMistaken: It is none that is understood here.
    """
    if params.get("tools"):
        raise CallerMistaken("a wish for a model's words brings tools", "only words are given")
    messages = params.get("messages")
    if not isinstance(messages, list) or not messages:
        raise CallerMistaken("a wish for a model's words has no messages", "send at least one")
    limit = params.get("maxTokens", MOST_TOKENS)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise CallerMistaken("maxTokens of a wish for a model's words is no number", "give at least 1")
    system = params.get("systemPrompt") or ""
    return Completion(
        model="",
        system=system if isinstance(system, str) else "",
        messages=[_message(each) for each in messages],
        max_tokens=min(limit, MOST_TOKENS),
    )


def _message(message: Any) -> ChatMessage:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in {"user", "assistant"}:
        raise CallerMistaken("a message of a wish for a model's words has no role", "user or assistant")
    content = message.get("content")
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, dict) else None for block in blocks]
    if not all(isinstance(text, str) for text in texts):
        raise CallerMistaken("a wish for a model's words holds something else than text", "send text")
    return ChatMessage(role=role, text="\n".join(str(text) for text in texts))
