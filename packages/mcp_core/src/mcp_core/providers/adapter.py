"""What every adapter does the same way: the default model, trying again, and one translation of errors.

Below: `attempts`, `failures`, `transport`. Above: `openai` and `anthropic`, which write a request and read an
answer. Imported late, with them.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar, Final, Literal

import httpx2
import msgspec

from mcp_core.providers.addresses import shown_url
from mcp_core.providers.arguments import known_ids
from mcp_core.providers.attempts import call_again, stream_again
from mcp_core.providers.failures import Endpoint, FailedRequest, Failure, explain
from mcp_core.providers.transport import http_client, read_failure
from mcp_interface.clock import Clock
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import Chunk, Completion, Finished, ModelInfo

MAX_MODELS: Final = 1000
"""Names that are kept of what an endpoint lists."""

PLACEHOLDER_KEY: Final = "none"
"""Sent where no key is configured: a local server wants none, but the SDKs want one to send."""

# The SDKs build their objects without validating them, so an answer of the wrong shape shows up as an
# attribute that is not there, or as a value of the wrong type.
_GARBLED: Final = (ValueError, TypeError, AttributeError)
_NETWORK: Final = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL)


class Adapter(ABC):
    """A `Provider` over one vendor's SDK.

    Args:
        base_url: Where requests go, as the vendor's SDK wants it.
        api_key: The secret; empty for servers that want none.
        model: The model for completions that name none; empty takes the first that the endpoint lists.
        clock: Waits between attempts.
    """

    name: str
    vendor: ClassVar[Literal["openai", "anthropic"]]
    sdk_errors: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, *, base_url: str, api_key: str, model: str, clock: Clock) -> None:
        self.name = self.vendor
        self._foreign: tuple[type[Exception], ...] = (*self.sdk_errors, *_NETWORK, *_GARBLED)
        self._base_url = base_url
        self._api_key = api_key or PLACEHOLDER_KEY
        self._model = model
        self._found = ""
        self._clock = clock
        self._endpoint = Endpoint(vendor=self.vendor, url=shown_url(base_url))

    @abstractmethod
    def write(self, completion: Completion, model: str) -> dict[str, Any]:
        """Return the body of a request."""

    @abstractmethod
    def answer(
        self, http: httpx2.AsyncClient, body: dict[str, Any], known: set[str]
    ) -> AsyncGenerator[Chunk, None]:
        """Send a body and read the answer; may let the SDK's exceptions out.

        Args:
            http: The client to send with.
            body: From `write`.
            known: Ids of tool calls that may not be used again.
        """

    @abstractmethod
    async def offered(self, http: httpx2.AsyncClient) -> list[ModelInfo]:
        """List the endpoint's models, by their own names, with what it says of them; may let the SDK's exceptions out."""

    def pick(self, offered: list[str]) -> str:
        """Choose a default from what the endpoint lists; empty when there is none to choose."""
        return offered[0] if offered else ""

    async def stream(self, completion: Completion) -> AsyncGenerator[Chunk, None]:
        """Stream one answer, as `Provider.stream` says; tool calls come whole, before `Finished`."""
        model = completion.model or await self.default()
        body = self.write(completion, model)
        try:
            async with aclosing(stream_again(lambda: self._attempt(completion, body), self._clock)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except FailedRequest as failed:
            failure = failed.failure
        # Raised outside of the handler: nothing of the SDK's exception, which knows the key, hangs on to it.
        raise explain(failure, self._endpoint, model, self._api_key)

    async def models(self) -> list[str]:
        """Name the endpoint's models, as `Provider.models` says; at most `MAX_MODELS`."""
        return [info.name for info in await self.listed()]

    async def listed(self) -> list[ModelInfo]:
        """The endpoint's models with what it says of them, the default first and marked; otherwise as `models`."""
        offered = await self._offered()
        first = self._model or self.pick(list(offered))
        rest = [info for name, info in offered.items() if name != first]
        if not first:
            return rest
        return [msgspec.structs.replace(offered.get(first) or ModelInfo(name=first), default=True), *rest]

    async def default(self) -> str:
        """The model for completions that name none.

        Raises:
            ModelUnavailable: The endpoint cannot be reached, or there is none to choose.
        """
        if not (self._model or self._found):
            offered = list(await self._offered())
            self._found = self.pick(offered)
            if not self._found:
                shown = f"; it offers {', '.join(offered[:10])}" if offered else ""
                raise ModelUnavailable(
                    f"{self._endpoint.url} gives no model to begin with{shown}",
                    f"set {self._endpoint.variables}_MODEL to one of its models",
                    {"vendor": self.vendor, "kind": "no_model"},
                )
        return self._model or self._found

    async def _offered(self) -> dict[str, ModelInfo]:
        try:
            found = await call_again(self._list, self._clock)
            return {info.name: info for info in found if info.name}
        except FailedRequest as failed:
            failure = failed.failure
        raise explain(failure, self._endpoint, "", self._api_key)

    async def _list(self) -> list[ModelInfo]:
        try:
            async with http_client(self._base_url) as http:
                return await self.offered(http)
        except self._foreign as error:
            failure = read_failure(error)
        raise FailedRequest(failure)

    async def _attempt(self, completion: Completion, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        try:
            async with (
                http_client(self._base_url) as http,
                aclosing(self.answer(http, body, known_ids(completion))) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
                    if isinstance(chunk, Finished):
                        return
            failure = Failure(kind="cut")
        except self._foreign as error:
            failure = read_failure(error)
        raise FailedRequest(failure)
