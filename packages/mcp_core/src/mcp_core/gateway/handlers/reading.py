"""Commands about what servers offer beside tools: resources, templates, prompts, completions.

Each server is an `Offering`: a connected one through `Connected`, judged by the kernel, and `catalog`, the node's own
collection, which judges by itself. What somebody may not read is not in their lists, and is not found: a denial and a
thing that does not exist look the same to everybody but the owner of the node, who is told which right is missing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.plain_errors import plain
from mcp_core.gateway.rights import denial
from mcp_core.protocol.errand import read_handle
from mcp_core.protocol.host import Host
from mcp_core.protocol.reach import did_you_mean
from mcp_interface.address import Resource
from mcp_interface.capability import Context, Sealed, SecurityKernel
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken, Interrupted, InvalidAddress, NotFound, UmbrellaError
from mcp_interface.ids import ExecutionId, PrincipalId
from mcp_interface.offers import (
    CATALOG,
    Contents,
    PromptInfo,
    PromptResult,
    ResourceInfo,
    ResourceTemplate,
    Suggestions,
    prompt_right,
    resource_right,
)
from mcp_interface.question import Inquiry, Response
from mcp_interface.reading import (
    Complete,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListTemplates,
    ReadResource,
    UnwatchResource,
    WatchResource,
)
from mcp_interface.tool import Resumption, ToolContext
from mcp_interface.trace import current_trace_id

T = TypeVar("T")
_READS: Final = "mcp://tool/read/"


class Offering(Protocol):
    """What one server offers beside tools, as far as whoever asks may read it.

    What they may not read is left out of the lists; asked for by name, it raises the same `NotFound` as what does not
    exist.
    """

    async def resources(self, who: PrincipalId) -> Sequence[ResourceInfo]:
        """The resources, in an order that stays."""
        ...

    async def templates(self, who: PrincipalId) -> Sequence[ResourceTemplate]:
        """The templates of resources."""
        ...

    async def prompts(self, who: PrincipalId) -> Sequence[PromptInfo]:
        """The prompts."""
        ...

    async def read(self, who: PrincipalId, uri: str) -> list[Contents]:
        """What a resource holds."""
        ...

    async def watch(self, who: PrincipalId, uri: str) -> None:
        """Have changes of a resource told as `ResourceChanged`; harmless when repeated."""
        ...

    async def unwatch(self, who: PrincipalId, uri: str) -> None:
        """No longer have changes told; harmless when repeated."""
        ...

    async def prompt(self, who: PrincipalId, name: str, arguments: Mapping[str, str]) -> PromptResult:
        """A prompt with values in place."""
        ...

    async def complete(self, who: PrincipalId, command: Complete) -> Suggestions:
        """What could stand for a value."""
        ...


class Connected:
    """A connected server as an `Offering`: each reading needs a right, and is on record before it happens.

    Args:
        server: Its name.
        host: The connected servers.
        kernel: Judges.
        owner: Of the node; only they are told that a right is missing.
    """

    def __init__(self, server: str, host: Host, kernel: SecurityKernel, owner: PrincipalId) -> None:
        self._server = server
        self._host = host
        self._kernel = kernel
        self._owner = owner

    async def resources(self, who: PrincipalId) -> Sequence[ResourceInfo]:
        """The resources as last listed."""
        found = self._host.resources(self._server)
        return self._readable(who, found, lambda one: resource_right(self._server, one.uri))

    async def templates(self, who: PrincipalId) -> Sequence[ResourceTemplate]:
        """The templates as last listed; each counts as the resource that its own text would name."""
        found = self._host.templates(self._server)
        return self._readable(who, found, lambda one: resource_right(self._server, one.uri_template))

    async def prompts(self, who: PrincipalId) -> Sequence[PromptInfo]:
        """The prompts as last listed."""
        found = self._host.prompts(self._server)
        return self._readable(who, found, lambda one: prompt_right(self._server, one.name))

    async def read(self, who: PrincipalId, uri: str) -> list[Contents]:
        """Read a resource, listed or not: templates name more than lists do."""
        await self._require(who, resource_right, uri)
        return await self._told_alike(who, uri, self._host.read(self._server, uri))

    async def watch(self, who: PrincipalId, uri: str) -> None:
        """Watch as this principal; the server is asked once, however many watch."""
        await self._require(who, resource_right, uri)
        await self._told_alike(who, uri, self._host.watch(self._server, uri, who))

    async def unwatch(self, who: PrincipalId, uri: str) -> None:
        """End this principal's watch; needs no right, since it only takes something of theirs away."""
        with suppress(UmbrellaError):  # nobody learns from it what there is
            await self._host.unwatch(self._server, uri, who)

    async def prompt(self, who: PrincipalId, name: str, arguments: Mapping[str, str]) -> PromptResult:
        """Get a prompt of a server that is told that nobody can be asked."""
        return await self.ask_prompt(
            who, GetPrompt(server=self._server, name=name, arguments=dict(arguments))
        )

    async def ask_prompt(self, who: PrincipalId, command: GetPrompt) -> PromptResult:
        """Get a prompt whose server may want to know more first: then that is the result, and answers come with the
        next command. Nothing is kept of it here.

        Raises:
            CallerMistaken: The state is not one that was handed out.
        """
        await self._require(who, prompt_right, command.name)
        if command.state:
            _check_state(command.state)
        context = ToolContext(
            execution_id=ExecutionId(""),
            principal_id=who,
            answers=frozenset(command.answers),
            ask=_hand_over,
            resumption=Resumption(handle=command.state, responses=command.responses),
        )
        asked = self._host.get_prompt(self._server, command.name, command.arguments, context=context)
        try:
            return await self._told_alike(who, command.name, asked)
        except _Wanted as wanted:
            return PromptResult(inquiries=wanted.inquiries, state=wanted.handle)

    async def complete(self, who: PrincipalId, command: Complete) -> Suggestions:
        """Ask the server; whoever may not read a prompt or template gets no help with it either."""
        await self._require(who, prompt_right if command.kind == "prompt" else resource_right, command.name)
        asked = self._host.complete(
            self._server,
            command.kind,
            command.name,
            argument=command.argument,
            value=command.value,
            known=command.context,
        )
        return await self._told_alike(who, command.name, asked)

    async def _require(self, who: PrincipalId, right: Callable[[str, str], Resource], name: str) -> None:
        """Have the reading judged and put on record.

        Raises:
            NotPermitted: Of the owner of the node; names the grant.
            NotFound: Of everybody else.
        """
        try:
            needed = right(self._server, name)
        except InvalidAddress as error:
            raise _not_found(self._server, name) from error
        note = f"{self._server} {name}"[:200]
        verdict = await self._kernel.authorize(who, needed, Context(trace_id=current_trace_id(), note=note))
        if not verdict.allowed and who == self._owner:
            raise denial(who, needed, verdict)
        if not verdict.allowed:
            raise _not_found(self._server, name)

    async def _told_alike(self, who: PrincipalId, name: str, asked: Awaitable[T]) -> T:
        """What the server says, but to others than the owner every trouble with the server in the same plain words."""
        try:
            return await asked
        except UmbrellaError as error:
            if who == self._owner:
                raise
            raise plain(error, self._server, name) from None

    def _readable(self, who: PrincipalId, found: Sequence[T], right: Callable[[T], Resource]) -> list[T]:
        handles = self._handles(who)

        def readable(one: T) -> bool:
            try:
                needed = right(one)
            except InvalidAddress:
                return False
            return any(self._kernel.validate(handle, who, needed).allowed for handle in handles)

        return [one for one in found if readable(one)]

    def _handles(self, who: PrincipalId) -> list[Sealed]:
        found = []
        for capability in self._kernel.held_by(who):
            if capability.resource_uri.startswith(_READS):
                try:
                    found.append(self._kernel.handle_of(capability.id, who))
                except NotFound:
                    continue  # it ended in between
        return found


def _check_state(state: str) -> None:
    """Return if this is what `ask_prompt` hands out: what a prompt's server asked, and no task or call of another kind.

    Raises:
        CallerMistaken: It is not.
    """
    try:
        kept = read_handle(state)
    except Interrupted:
        kept = None
    if kept is None or not kept.kinds or kept.task or kept.sent:
        raise CallerMistaken(
            f"the state {state[:80]!r} is none that was handed out",
            "send it back as it came, or leave it out to begin anew",
        )


class _Wanted(UmbrellaError):
    """A server wants to know more before it gives a prompt."""

    def __init__(self, inquiries: Sequence[Inquiry], handle: str) -> None:
        super().__init__("it wants to know more first")
        self.inquiries = list(inquiries)
        self.handle = handle


async def _hand_over(inquiries: Sequence[Inquiry], handle: str) -> dict[str, Response]:
    """Instead of asking anybody: end the request, so that its sender hears what is asked."""
    if not handle:  # a server of the older era waits meanwhile, for an answer that cannot come
        return {}
    raise _Wanted(inquiries, handle)


class ReadingCommands:
    """Handlers over the offerings of a node.

    Args:
        host: The connected servers.
        kernel: Judges what is read of them.
        owner: Of the node.
        catalog: The node's own collection; None where there is none.
    """

    def __init__(
        self, host: Host, kernel: SecurityKernel, owner: PrincipalId, catalog: Offering | None = None
    ) -> None:
        self._host = host
        self._kernel = kernel
        self._owner = owner
        self._catalog = catalog

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            ListResources: self.resources,
            ListTemplates: self.templates,
            ReadResource: self.read,
            WatchResource: self.watch,
            UnwatchResource: self.unwatch,
            ListPrompts: self.prompts,
            GetPrompt: self.prompt,
            Complete: self.complete,
        }

    async def resources(self, who: PrincipalId, command: ListResources) -> Page[ResourceInfo]:
        """Resources of one server or of all that the caller may read."""
        found = [await each.resources(who) for each in self._of(who, command.server)]
        return page_of([one for some in found for one in some], command.limit, command.cursor)

    async def templates(self, who: PrincipalId, command: ListTemplates) -> Page[ResourceTemplate]:
        """Templates of one server or of all."""
        found = [await each.templates(who) for each in self._of(who, command.server)]
        return page_of([one for some in found for one in some], command.limit, command.cursor)

    async def prompts(self, who: PrincipalId, command: ListPrompts) -> Page[PromptInfo]:
        """Prompts of one server or of all."""
        found = [await each.prompts(who) for each in self._of(who, command.server)]
        return page_of([one for some in found for one in some], command.limit, command.cursor)

    async def read(self, who: PrincipalId, command: ReadResource) -> list[Contents]:
        """Read one resource."""
        return await self._one(command.server).read(who, command.uri)

    async def watch(self, who: PrincipalId, command: WatchResource) -> None:
        """Begin to watch one resource."""
        await self._one(command.server).watch(who, command.uri)

    async def unwatch(self, who: PrincipalId, command: UnwatchResource) -> None:
        """No longer watch it."""
        await self._one(command.server).unwatch(who, command.uri)

    async def prompt(self, who: PrincipalId, command: GetPrompt) -> PromptResult:
        """One prompt with values in place, or what its server wants to know first."""
        offering = self._one(command.server)
        if isinstance(offering, Connected):
            return await offering.ask_prompt(who, command)
        return await offering.prompt(who, command.name, command.arguments)

    async def complete(self, who: PrincipalId, command: Complete) -> Suggestions:
        """Suggestions for one value."""
        return await self._one(command.server).complete(who, command)

    def _of(self, who: PrincipalId, server: str | None) -> list[Offering]:
        names = [status.name for status in self._host.statuses()]
        own = [] if self._catalog is None else [CATALOG]
        if server is None:
            return [self._one(name) for name in (*own, *names)]
        if server not in (*own, *names):
            if who != self._owner:  # who may see nothing of a server may not learn whether there is one
                return []
            raise NotFound(f"no server {server!r}", did_you_mean(server, (*own, *names)))
        return [self._one(server)]

    def _one(self, server: str) -> Offering:
        if server == CATALOG and self._catalog is not None:
            return self._catalog
        return Connected(server, self._host, self._kernel, self._owner)


def _not_found(server: str, name: str) -> NotFound:
    return NotFound(f"{server[:80]!r} has no {name[:200]!r}", "list what there is", {"server": server})
