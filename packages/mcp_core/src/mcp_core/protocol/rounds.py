"""The newer era's way of asking: a server answers with what it wants to know, and is sent the request again with that.

What is asked is made known together with a handle, so that the question can be kept and another process go on. A server
of the older era may refuse a call until pages have been opened; that is the same to us. Imports the SDK; imported late.

Source: Model Context Protocol 2026-07-28, multi-round-trip requests (SEP-2322); 2025-11-25, error -32042.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    URL_ELICITATION_REQUIRED,
    ElicitationRequiredErrorData,
    ErrorData,
    InputRequiredResult,
    Result,
)
from pydantic import ValidationError

from mcp_core.protocol.errand import Errand
from mcp_core.protocol.reach import Forgotten
from mcp_core.protocol.wire_questions import answer_kept, elicitation, inquiry
from mcp_interface.errors import NotPermitted, WorldBroken

MAX_ROUNDS: Final = 32
"""How often a server may ask in one call."""
_POLL_FIRST: Final = 0.05
_POLL_LAST: Final = 1.0
"""Seconds between two sendings while a server only says that it is not ready."""

R = TypeVar("R", bound=Result)


async def rounds(errand: Errand, send: Callable[[Any, str | None], Awaitable[R | InputRequiredResult]]) -> R:
    """Send, answer what is asked, send again; what is known by now stays with the errand.

    That answers are sent is durable before they are, and right before each sending the errand's `look` is asked: hours
    may have passed over a question.

    Args:
        errand: What it is about; where it knows answers from an earlier process, they go with the first sending.
        send: Takes the answers in their wire form, and the state to hand back.

    Raises:
        Forgotten: The server does not know any more what it had asked in an earlier process.
        NotPermitted: A model's words were refused, for which the newer era has no form. Or as `look` says.
        StorageUnavailable: It could not be made durable that answers are sent; they were not.
        WorldBroken: The server asks for what nobody can answer and it may not be refused, or it asks without end.
        MCPError: Whatever else the server says.
    """
    resumed = errand.responses is not None
    pause = _POLL_FIRST
    for _ in range(MAX_ROUNDS):
        answers = _answers(errand)
        if answers is not None:
            await errand.send_on()
        try:
            errand.look()
            result = await send(answers, errand.state)
        except MCPError as error:
            if error.code == URL_ELICITATION_REQUIRED and await _opened(errand, error):
                continue
            if resumed and error.code == INVALID_PARAMS and "requeststate" in error.message.lower():
                raise _forgotten(errand, error) from error
            raise
        resumed = False
        while isinstance(result, InputRequiredResult) and not result.input_requests:
            await asyncio.sleep(pause)  # it is not ready yet; our deadline goes on
            pause = min(_POLL_LAST, 2 * pause)
            errand.look()
            result = await send(None, result.request_state)
        if not isinstance(result, InputRequiredResult):
            return result
        pause = _POLL_FIRST
        await _inform(errand, result)
    raise WorldBroken(
        f"server {errand.server!r} asked more than {MAX_ROUNDS} times in one call of {errand.what}",
        "report it to the server's authors",
        errand.details,
    )


async def _inform(errand: Errand, result: InputRequiredResult) -> None:
    asked = [inquiry(errand.server, key, one) for key, one in (result.input_requests or {}).items()]
    for one in asked:
        if one.kind == "sampling" and one.kind not in errand.answers:
            raise WorldBroken(
                f"{errand.what} of server {errand.server!r} needs a model's words, which nobody behind this "
                "call can give",
                "call it from a session with a model",
                {**errand.details, "kind": one.kind},
            )
    await errand.ask_round(result.request_state, asked)


def _answers(errand: Errand) -> Any:
    """What was answered last, as the server wants it.

    Raises:
        NotPermitted: A model's words were refused, for which the newer era has no form.
    """
    if errand.responses is None:
        return None
    found = {key: answer_kept(errand.kinds.get(key), one) for key, one in errand.responses.items()}
    for key, one in found.items():
        if isinstance(one, ErrorData):
            raise NotPermitted(
                f"{errand.what} of server {errand.server!r} asked for {key!r}: {one.message}",
                "call it again, and answer",
                {**errand.details, "reason": "question_declined"},
            )
    return found


async def _opened(errand: Errand, error: MCPError) -> bool:
    """Whether a person has opened all the pages without which the server refuses a call."""
    try:
        wanted = ElicitationRequiredErrorData.model_validate(error.data).elicitations
    except ValidationError:
        return False
    asked = [elicitation(str(place), one) for place, one in enumerate(wanted)]
    if not asked or "url" not in errand.answers:
        return False
    return all(one.action == "accept" for one in (await errand.ask_between(asked)).values())


def _forgotten(errand: Errand, error: MCPError) -> Forgotten:
    return Forgotten(
        f"server {errand.server!r} no longer knows what it had asked for {errand.what}: {error.message[:300]}",
        "it may or may not have taken effect; look before you call again",
        errand.details,
    )
