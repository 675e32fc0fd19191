"""Answers what a server of the older era asks or says on its own: for the request that it belongs to.

Over HTTP the stream tells which request that is. Over stdio a server cannot say it; then the party behind everything
that is under way is asked, and nobody where there are several parties: a person must not be asked about somebody else's
call, nor their answer given to it. Imports the SDK; imported late.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mcp.client.session import ClientRequestContext
from mcp_types import (
    INTERNAL_ERROR,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
    LoggingMessageNotificationParams,
)

from mcp_core.protocol.errand import Errand, roots_response
from mcp_core.protocol.requests import Requests
from mcp_core.protocol.wire_questions import (
    elicitation,
    elicited,
    folders,
    nobody,
    roots,
    sampled,
    sampling,
    tool_log,
)
from mcp_interface.errors import NotPermitted, UmbrellaError
from mcp_interface.question import Inquiry, Response

T = TypeVar("T")
_KEY = "0"
"""Of the one inquiry that a request of the older era is."""


class Answering:
    """The callbacks that the SDK is given.

    Args:
        server: Named in questions.
        folders: Roots of the server's entry; told to whoever asks.
        requests: What is under way.
    """

    def __init__(self, server: str, folders: Sequence[str], requests: Requests) -> None:
        self._server = server
        self._folders = folders
        self._requests = requests

    async def elicit(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult | ErrorData:
        """A form or a link; declined where nobody can be asked."""
        asked = elicitation(_KEY, params)
        errand = self._requests.whose()
        if errand is None or asked.kind not in errand.answers:
            return ElicitResult(action="decline")
        return await self._asked(errand, asked, elicited)

    async def sample(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | CreateMessageResultWithTools | ErrorData:
        """A model's words; an error where nobody can be asked, because there is no other way to decline."""
        errand = self._requests.whose()
        if errand is None or "sampling" not in errand.answers:
            return nobody("sampling")
        return await self._asked(errand, sampling(self._server, _KEY, params), sampled)

    async def list_roots(self, context: ClientRequestContext) -> ListRootsResult | ErrorData:
        """The folders of the server's entry, else what the party behind the call says, else none."""
        errand = self._requests.whose()
        if self._folders or errand is None:
            return folders(roots_response(self._folders))
        return await self._asked(errand, roots(self._server, _KEY), lambda _, response: folders(response))

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        """Something said while a request is worked on; nobody hears it where it is not certain for whom it is."""
        errand = self._requests.whose()
        if errand is not None:
            errand.said(tool_log(params))

    async def _asked(
        self, errand: Errand, asked: Inquiry, translate: Callable[[Inquiry, Response], T | ErrorData]
    ) -> T | ErrorData:
        try:
            return translate(asked, await errand.ask_aside(asked))
        except NotPermitted as error:  # the call may not go on, whatever its server would make of that
            self._requests.refuse(errand, error)
            return ErrorData(code=INTERNAL_ERROR, message=str(error))
        except UmbrellaError as error:
            return ErrorData(code=INTERNAL_ERROR, message=str(error))
