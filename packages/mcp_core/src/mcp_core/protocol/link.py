"""One live client of the SDK: opened, listed, called, read, listened to. Imports the SDK; imported late.

`open_link` and the closing of its stack must happen in one task, because the SDK's cancel scopes belong to the
task that entered them; requests may come from any.

What a server wants to know in the middle of a call comes in two ways: in the older era it sends a request of its own
(`answering`), in the newer one it answers with what it wants to know (`rounds`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from typing import Any, Final, Literal, TextIO, TypeVar

import msgspec
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    LOG_LEVEL_META_KEY,
    CallToolResult,
    EmptyResult,
    GetPromptRequest,
    GetPromptRequestParams,
    GetPromptResult,
    Implementation,
    InputRequiredResult,
    PromptReference,
    ReadResourceRequest,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplateReference,
    Result,
    SetLevelRequest,
    SetLevelRequestParams,
)
from pydantic import TypeAdapter

from mcp_core.protocol import tasks_client
from mcp_core.protocol.answering import Answering
from mcp_core.protocol.arguments import ArgumentCheck
from mcp_core.protocol.claims import narrow_capabilities
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.errand import Errand
from mcp_core.protocol.expansion import Expanded
from mcp_core.protocol.following import RemoteTask
from mcp_core.protocol.listening import Listening
from mcp_core.protocol.listing import relist
from mcp_core.protocol.offered import Offered
from mcp_core.protocol.reach import Relisted, first_reason
from mcp_core.protocol.requests import Requests
from mcp_core.protocol.rounds import rounds
from mcp_core.protocol.transports import transport_of
from mcp_core.protocol.watch import OFFER_KINDS, OfferKind, Watch
from mcp_core.protocol.wire import percent, tool_result
from mcp_core.protocol.wire_offers import contents, prompt_result, suggestions
from mcp_interface.offers import Contents, PromptResult, Suggestions
from mcp_interface.question import Response
from mcp_interface.tool import ToolInfo, ToolResult

for _library in ("mcp", "httpx2", "client"):  # else Python prints their warnings onto a terminal
    logging.getLogger(_library).addHandler(logging.NullHandler())

T = TypeVar("T")
REQUEST_SECONDS: Final = 20.0
"""For each request of ours that nobody waits for."""
LOG_LEVEL: Final = "info"
"""From here on servers are asked to say what they do."""
_OURS: Final = 30 * 86_400.0
"""Seconds after which the SDK would give up a request; never, because our own deadlines come first."""
_PROMPT: Final[TypeAdapter[GetPromptResult | InputRequiredResult]] = TypeAdapter(
    GetPromptResult | InputRequiredResult
)
_READ: Final[TypeAdapter[ReadResourceResult | InputRequiredResult]] = TypeAdapter(
    ReadResourceResult | InputRequiredResult
)


async def open_link(
    stack: AsyncExitStack, name: str, expanded: Expanded, errlog: TextIO | None, watch: Watch, doors: Doors
) -> "Link":
    """Connect, agree on a protocol version and list what is offered.

    Args:
        stack: Closes the connection; to be closed by the task that calls this.
        name: The server's name here.
        expanded: How it is started, and which secrets it is given; they are taken out of what it says.
        errlog: Where a stdio server's stderr goes; None over HTTP.
        watch: Told about what happens to the connection later.
        doors: What the node adds to the transport and to the protocol.

    Raises:
        Exception: Whatever the transport or the SDK raises; the caller translates.
    """
    spec = expanded.spec
    requests = Requests(watch, expanded)
    answering = Answering(name, spec.roots, requests)
    heard: list[Listening] = []

    async def hear(message: Any) -> None:
        if isinstance(message, Exception):
            watch.heard(str(message).splitlines()[0] if str(message) else type(message).__name__)
        for listening in heard:
            listening.hear(message)

    extensions = doors.extensions(name)
    client = Client(
        transport_of(name, spec, errlog, watch, doors),
        mode="auto",
        read_timeout_seconds=REQUEST_SECONDS,
        message_handler=hear,
        elicitation_callback=answering.elicit,
        sampling_callback=answering.sample,
        list_roots_callback=answering.list_roots,
        logging_callback=answering.log,
        client_info=Implementation(name="umbrella", title="Umbrella", version=version("mcp-umbrella-core")),
        extensions=extensions,
        cache=None,
    )
    await stack.enter_async_context(client)
    narrow_capabilities(client.session)
    heard.append(Listening(name, client, watch))
    link = Link(name, client, watch, requests, heard[0], expanded, extensions)
    await asyncio.gather(link.refresh(set(OFFER_KINDS)), link.ask_for_logs())
    return link


class Link:
    """One live connection.

    Args:
        server: The server's name here.
        client: Entered.
        watch: Where news about the connection goes.
        requests: What is under way on it.
        listening: What it is told by itself.
        expanded: Takes the secrets of its entry out of all that goes on. Errors, notes, log lines and instructions lose
            every value that was put in; results, contents and prompts lose whole secrets of the vault.
        extensions: Whose results it knows how to finish.
    """

    def __init__(
        self,
        server: str,
        client: Client,
        watch: Watch,
        requests: Requests,
        listening: Listening,
        expanded: Expanded,
        extensions: Sequence[ClientExtension] = (),
    ) -> None:
        self.offered = Offered()
        self.listening = listening
        self.requests = requests
        self._expanded = expanded
        self._server = server
        self._client = client
        self._watch = watch
        self._checks: dict[str, ArgumentCheck] = {}
        self._claims: dict[type[Result], ResultClaim[Any]] = {
            claim.model: claim for extension in extensions for claim in extension.claims()
        }

    @property
    def protocol(self) -> str:
        """The version both sides agreed on."""
        return self._client.protocol_version

    @property
    def instructions(self) -> str:
        """What the server says of itself."""
        return self._expanded.redact(self._client.instructions or "")

    @property
    def remarks(self) -> str:
        """What a person should know of the lists."""
        return self._expanded.redact(self.offered.remarks)

    def reason(self, error: BaseException) -> str:
        """Why something failed on it, in words."""
        return self._expanded.redact(first_reason(error))

    @property
    def tools(self) -> Mapping[str, ToolInfo]:
        """The tools as last listed."""
        return self.offered.tools

    @property
    def broken(self) -> bool:
        """Whether the connection is known to be dead."""
        return bool(self._watch.broken)

    async def refresh(self, kinds: set[OfferKind]) -> None:
        """List some kinds anew; see `relist`.

        Raises:
            MCPError: The connection ended or the server refused.
        """
        before = self.offered
        after = await relist(self._client, self._server, before, kinds)
        self.offered = after
        if after.tools is not before.tools:
            self._checks.clear()

    async def ask_for_logs(self) -> None:
        """Have a server of the older era say what it does; in the newer one each request asks for it."""
        if self._client.session.initialize_result is not None and self._client.server_capabilities.logging:
            asked = SetLevelRequest(params=SetLevelRequestParams(level=LOG_LEVEL))
            with suppress(MCPError):  # then it says what it wants
                await self._client.session.send_request(asked, EmptyResult)

    def check(self, tool: str, arguments: dict[str, Any]) -> None:
        """Check the arguments of a listed tool.

        Raises:
            CallerMistaken: Naming the argument.
        """
        found = self._checks.get(tool)
        if found is None:
            found = ArgumentCheck(self._server, tool, self.tools[tool].parameters)
            self._checks[tool] = found
        found(arguments)

    async def call(self, errand: Errand, arguments: dict[str, Any]) -> ToolResult:
        """Run a tool; answers what it asks on the way.

        Raises:
            Relisted: Nothing has happened, but the tools were not what we took them for; they are listed anew.
            Begun: The server works for it as a task, which the errand names.
            UmbrellaError: As `Requests.run`.
        """

        async def send(responses: Any, state: str | None) -> Result:
            return await self._client.session.call_tool(
                errand.name,
                arguments,
                read_timeout_seconds=_OURS,
                progress_callback=percent(errand),
                input_responses=responses,
                request_state=state,
                meta=_meta(errand),
                allow_input_required=True,
                allow_claimed=True,
            )

        async def work() -> CallToolResult:
            try:
                return await self._finished(errand, await rounds(errand, send))
            except MCPError as error:
                if error.code != HEADER_MISMATCH:
                    raise
                await self.refresh({"tools"})
                raise Relisted(
                    f"server {self._server!r} has changed the parameters of {errand.what}"
                ) from error

        return self._told(tool_result(await self.requests.run(errand, work())))

    async def poll_task(self, errand: Errand) -> RemoteTask:
        """How the task of an errand is.

        Raises:
            UmbrellaError: As `Requests.run`.
        """
        found = await self.requests.run(errand, tasks_client.poll(self._client.session, errand))
        return self._told(msgspec.structs.replace(found, message=errand.redact(found.message)))

    async def answer_task(self, errand: Errand, responses: dict[str, Response]) -> None:
        """Answer what the task of an errand wants to know.

        Raises:
            NotPermitted: A model's words were refused.
            UmbrellaError: As `Requests.run`.
        """
        await self.requests.run(errand, tasks_client.answer(self._client.session, errand, responses))

    async def cancel_task(self, errand: Errand) -> None:
        """Ask the server to stop the task of an errand.

        Raises:
            UmbrellaError: As `Requests.run`.
        """
        await self.requests.run(errand, tasks_client.cancel(self._client.session, errand))

    async def read(self, errand: Errand) -> list[Contents]:
        """Read a resource; answers what the server asks on the way.

        Raises:
            NotFound: The server has no such resource.
            UmbrellaError: As `Requests.run`.
        """

        async def send(responses: Any, state: str | None) -> ReadResourceResult | InputRequiredResult:
            params = ReadResourceRequestParams(
                uri=errand.name, input_responses=responses, request_state=state, _meta=_meta(errand)
            )
            return await self._client.session.send_request(
                ReadResourceRequest(params=params), _READ, _OURS, progress_callback=percent(errand)
            )

        return self._told(contents(self._server, await self.requests.run(errand, rounds(errand, send))))

    async def get_prompt(self, errand: Errand, arguments: Mapping[str, str]) -> PromptResult:
        """Get a prompt with values in place; answers what the server asks on the way.

        Raises:
            NotFound: The server has no such prompt.
            UmbrellaError: As `Requests.run`.
        """

        async def send(responses: Any, state: str | None) -> GetPromptResult | InputRequiredResult:
            params = GetPromptRequestParams(
                name=errand.name,
                arguments=dict(arguments),
                input_responses=responses,
                request_state=state,
                _meta=_meta(errand),
            )
            return await self._client.session.send_request(
                GetPromptRequest(params=params), _PROMPT, _OURS, progress_callback=percent(errand)
            )

        return self._told(prompt_result(await self.requests.run(errand, rounds(errand, send))))

    async def complete(
        self,
        errand: Errand,
        kind: Literal["prompt", "template"],
        argument: str,
        value: str,
        known: Mapping[str, str],
    ) -> Suggestions:
        """What could stand for a value; nothing from a server that completes nothing.

        Raises:
            UmbrellaError: As `Requests.run`.
        """
        if self._client.server_capabilities.completions is None:
            return Suggestions()
        ref = (
            PromptReference(name=errand.name)
            if kind == "prompt"
            else ResourceTemplateReference(uri=errand.name)
        )
        asked = self._client.complete(ref, {"name": argument, "value": value}, dict(known) or None)
        return self._told(suggestions(await self.requests.run(errand, asked)))

    async def cut(self) -> None:
        """End every request that is still under way; see `Requests.cut`."""
        await self.requests.cut()

    def _told(self, result: T) -> T:
        """What goes on of a result."""
        told: T = self._expanded.redact_data(result)
        return told

    async def _finished(self, errand: Errand, result: Result) -> CallToolResult:
        """Let the extension that claims a result finish it; `CURRENT` tells it for whom."""
        if isinstance(result, CallToolResult):
            return result
        claim = self._claims[type(result)]
        context = ClaimContext(
            session=self._client.session, tool_name=errand.name, read_timeout_seconds=_OURS
        )
        final = await claim.resolve(result, context)
        if not final.is_error:
            await self._client.session.validate_tool_result(errand.name, final)
        return final


def _meta(errand: Errand) -> Any:
    """Asks a server of the newer era to say what it does, where somebody listens."""
    listens = errand.context is not None and errand.context.log is not None
    return {LOG_LEVEL_META_KEY: LOG_LEVEL} if listens else None
