"""Between the SDK's types and ours: what a server wants to know, the answers, and what it says while it works.

Imports the SDK's types; imported late.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    ErrorData,
    InputRequest,
    ListRootsResult,
    LoggingMessageNotificationParams,
)
from pydantic import BaseModel, ValidationError

from mcp_core.protocol.wire import wire
from mcp_interface.question import Inquiry, InquiryKind, Response
from mcp_interface.tool import ToolLog

Answer = ElicitResult | CreateMessageResult | CreateMessageResultWithTools | ListRootsResult
R = TypeVar("R", bound=BaseModel)
REJECTED = -1
"""What the older era says of a wish for a model's words that a person has refused."""


def inquiry(server: str, key: str, request: InputRequest) -> Inquiry:
    """Translate one thing that a server wants to know."""
    match request:
        case ElicitRequest(params=params):
            return elicitation(key, params)
        case CreateMessageRequest(params=params):
            return sampling(server, key, params)
        case _:
            return roots(server, key)


def elicitation(key: str, params: ElicitRequestParams) -> Inquiry:
    """A form to fill in, or a page to open."""
    if isinstance(params, ElicitRequestURLParams):
        return Inquiry(key=key, kind="url", message=params.message, url=params.url)
    return Inquiry(key=key, kind="form", message=params.message, schema=params.requested_schema)


def sampling(server: str, key: str, params: CreateMessageRequestParams) -> Inquiry:
    """Words of a model of ours; what it is asked is in the wire form."""
    asked = wire(params)
    asked.pop("_meta", None)
    return Inquiry(key=key, kind="sampling", message=f"{server} asks for a model's words", params=asked)


def roots(server: str, key: str) -> Inquiry:
    """The folders to work in."""
    return Inquiry(key=key, kind="roots", message=f"{server} asks which folders it may work in")


def answer(asked: Inquiry, response: Response) -> Answer | ErrorData:
    """Translate an answer; an error where MCP has no way of declining, or where the answer does not fit."""
    if asked.kind in {"form", "url"}:
        return elicited(asked, response)
    if asked.kind == "roots":
        return folders(response)
    return sampled(asked, response)


def sampled(
    asked: Inquiry, response: Response
) -> CreateMessageResult | CreateMessageResultWithTools | ErrorData:
    """Translate the answer to a wish for a model's words."""
    content = response.content or {}
    if response.action != "accept":
        told = "the model's words were refused" if response.action == "decline" else "nobody answered"
        return ErrorData(code=REJECTED, message=told)
    if isinstance(content.get("content"), list) or "tools" in asked.params:
        return _fitting(CreateMessageResultWithTools, content)
    return _fitting(CreateMessageResult, content)


def answer_kept(kind: InquiryKind | None, response: Response) -> Answer | ErrorData:
    """As `answer`, of what another process asked: only its kind is known by now."""
    return answer(Inquiry(key="", kind=kind or "form"), response)


def folders(response: Response) -> ListRootsResult | ErrorData:
    """Translate the answer to a wish for roots; none is an answer, too."""
    return _fitting(ListRootsResult, response.content or {} if response.action == "accept" else {"roots": []})


def elicited(asked: Inquiry, response: Response) -> ElicitResult:
    """Translate the answer to a form or a link."""
    content = (response.content or {}) if asked.kind == "form" and response.action == "accept" else None
    return ElicitResult(action=response.action, content=content)


def nobody(kind: str) -> ErrorData:
    """Said to a server that asks for something which nobody behind the call can give."""
    return ErrorData(code=INVALID_REQUEST, message=f"nobody behind this call can answer ({kind})")


def tool_log(params: LoggingMessageNotificationParams) -> ToolLog:
    """Translate a line that a server says while it works."""
    return ToolLog(level=params.level, data=params.data, logger=params.logger or "")


def _fitting(kind: type[R], content: Mapping[str, Any]) -> R | ErrorData:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return ErrorData(code=INTERNAL_ERROR, message=f"the answer does not fit: {where}: {first['msg']}")
