"""One request that is under way on behalf of somebody: for whom, until when, and what it was answered so far.

Knows nothing of the SDK. What a server wants to know is answered here from what the host knows (roots), by whoever is
behind the call (`ToolContext.ask`), or by a refusal when nobody is.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from mcp_core.protocol.deadline import Deadline
from mcp_interface.errors import Interrupted, NotPermitted
from mcp_interface.question import Inquiry, InquiryKind, Response
from mcp_interface.tool import ToolContext, ToolLog

Kind = Literal["tool", "resource", "prompt", "completion"]
Redact = Callable[[str], str]


class Errand:
    """One request under way.

    Args:
        server: Whom it goes to, by the name here.
        kind: What it is about.
        name: Of the tool or prompt; of a resource its URI.
        deadline: Until when.
        context: Who is behind it; None: nobody who could be asked or told.
        roots: Folders that the server's entry names; they are told without asking anybody.

    Raises:
        Interrupted: It cannot be resumed by what is kept of it.
    """

    def __init__(
        self,
        server: str,
        kind: Kind,
        name: str,
        deadline: Deadline,
        context: ToolContext | None = None,
        roots: Sequence[str] = (),
    ) -> None:
        self.server = server
        self.kind: Kind = kind
        self.name = name
        self.deadline = deadline
        self.context = context
        self.roots = roots
        self.state: str | None = None
        """What the server gave us to hand back, as it stands."""
        self.kinds: dict[str, InquiryKind] = {}
        """Of what was asked last, by key."""
        self.responses: dict[str, Response] | None = None
        """To what was asked last, forms filled up with their defaults; None before anything was."""
        self.redact: Redact = str
        """Takes secrets out of what its server says; set by whoever sends it."""
        self.redact_data: Callable[[Any], Any] = lambda data: data
        """The same for data."""
        self.task = ""
        """Id of the task as which its server works for it; empty: none that we know of."""
        self.look: Callable[[], None] = lambda: None
        """Raises if it must not be sent, or go on, any more; looked at right before each sending."""
        self.refusal: NotPermitted | None = None
        """Why it may not go on, found out while its server asked."""
        self._kept: Kept | None = None
        """How to go on with it behind what was asked last; None before anything was."""
        self._asking: set[asyncio.Task[dict[str, Response]]] = set()
        if context is not None and context.resumption is not None and context.resumption.handle:
            kept = self._kept = read_handle(context.resumption.handle)
            self.state, self.kinds, self.task = kept.state, kept.kinds, kept.task
            self.responses = {
                key: filled_up(response, kept.defaults.get(key, {}))
                for key, response in context.resumption.responses.items()
                if key in kept.kinds  # else it answers an earlier round
            } | kept.known

    @property
    def what(self) -> str:
        """What it is about, in words for an error."""
        return repr(self.name[:200]) if self.kind == "tool" else f"{self.kind} {self.name[:200]!r}"

    @property
    def details(self) -> dict[str, Any]:
        """The same for programs."""
        return {"server": self.server, self.kind: self.name}

    @property
    def party(self) -> tuple[str, str]:
        """For whom it is; requests of one party may be taken for each other when a server does not say which it means."""
        if self.context is None:
            return "", ""
        return self.context.principal_id, self.context.session_id or ""

    @property
    def answers(self) -> frozenset[InquiryKind]:
        """What the server may ask; roots always, if only to hear that there are none."""
        if self.context is None or self.context.ask is None:
            return frozenset({"roots"})
        return self.context.answers | {"roots"}

    async def progressed(self, share: float, message: str) -> None:
        """The server lives and works: the deadline begins anew, and whoever looks on is told."""
        self.deadline.renew()
        if self.context is not None and self.context.progress is not None:
            await self.context.progress(share, self.redact(message))

    def said(self, line: ToolLog) -> None:
        """The server said something for whoever looks on."""
        if self.context is not None and self.context.log is not None:
            data = self.redact(line.data) if isinstance(line.data, str) else line.data
            told = msgspec.structs.replace(line, data=data, logger=self.redact(line.logger))
            self.context.log(self.redact_data(told))

    async def ask(self, inquiries: Sequence[Inquiry], handle: str) -> dict[str, Response]:
        """Answer every inquiry, asking whoever is behind the call only what they can answer.

        Args:
            inquiries: All at once.
            handle: By which the call can be resumed; empty when it cannot.
        """
        answered = self.known(inquiries)
        open_ones = [one for one in inquiries if one.key not in answered]
        if open_ones and self.context is not None and self.context.ask is not None:
            with self.deadline.paused():
                answered |= await self.context.ask([self.redact_data(one) for one in open_ones], handle)
        return {
            one.key: filled_up(answered.get(one.key, Response(action="cancel")), defaults(one))
            for one in inquiries
        }

    async def ask_round(self, state: str | None, inquiries: Sequence[Inquiry]) -> None:
        """Answer what the server wants to know before it is sent the request again.

        Args:
            state: What it gave us to hand back.
            inquiries: All at once.
        """
        self.state, self.kinds = state, {one.key: one.kind for one in inquiries}
        handle = make_handle(state, inquiries, known=self.known(inquiries))
        self._kept = read_handle(handle)
        self.responses = await self.ask(inquiries, handle)

    async def ask_between(self, inquiries: Sequence[Inquiry]) -> dict[str, Response]:
        """Answer what the server refuses the request without; the answers are not sent to it.

        It has done nothing by what it was sent: another process may send that again.
        """
        handle = ""
        if self._kept is not None:
            self._kept = msgspec.structs.replace(self._kept, known=self.responses or {}, sent=False)
            handle = msgspec.json.encode(self._kept).decode()
        return await self.ask(inquiries, handle)

    async def send_on(self) -> None:
        """Make durable that what was answered is about to be sent: from then on it may have taken effect."""
        context = self.context
        if self._kept is None or context is None or context.keep is None:
            return
        sent = msgspec.structs.replace(self._kept, sent=True)
        await context.keep(msgspec.json.encode(sent).decode())
        # no earlier handle stands any more, so that the id of a task that it may become is kept too
        self.context = msgspec.structs.replace(context, resumption=None)

    def known(self, inquiries: Sequence[Inquiry]) -> dict[str, Response]:
        """Answers to those inquiries for which nobody has to be asked, by key."""
        return {one.key: found for one in inquiries if (found := self._known(one)) is not None}

    async def ask_aside(self, inquiry: Inquiry) -> Response:
        """Answer one inquiry that a server makes beside the call; `cancel` once the call is over."""
        asking = asyncio.create_task(self.ask([inquiry], ""))
        self._asking.add(asking)
        try:
            await asyncio.wait({asking})
        finally:
            self._asking.discard(asking)
            asking.cancel()
        return Response(action="cancel") if asking.cancelled() else asking.result()[inquiry.key]

    def forget(self) -> None:
        """Begin anew: the server no longer knows what it had asked."""
        self.state, self.kinds, self.responses, self._kept = None, {}, None, None

    def close(self) -> None:
        """The call is over: what it still asks has become pointless."""
        for asking in self._asking:
            asking.cancel()

    def _known(self, inquiry: Inquiry) -> Response | None:
        if inquiry.kind == "roots" and (self.roots or not self._can_ask("roots")):
            return roots_response(self.roots)
        return None if self._can_ask(inquiry.kind) else Response(action="decline")

    def _can_ask(self, kind: InquiryKind) -> bool:
        return self.context is not None and self.context.ask is not None and kind in self.context.answers


CURRENT: Final[ContextVar[Errand | None]] = ContextVar("mcp_errand", default=None)
"""The request that the running task works for. The SDK's HTTP transport carries it along to what the server asks on the
answering stream of that request, so that there, unlike over stdio, we know for certain whom a question is meant for."""


def roots_response(folders: Sequence[str]) -> Response:
    """Folders as MCP's answer to a wish for roots."""
    roots = [{"uri": f"file://{quote(path)}", "name": PurePosixPath(path).name or path} for path in folders]
    return Response(action="accept", content={"roots": roots})


def defaults(inquiry: Inquiry) -> dict[str, Any]:
    """What the fields of a form are if nothing is said.

    Source: SEP-1034, default values in elicitation.
    """
    fields = inquiry.schema.get("properties")
    if inquiry.kind != "form" or not isinstance(fields, dict):
        return {}
    return {
        name: field["default"]
        for name, field in fields.items()
        if isinstance(field, dict) and "default" in field
    }


def filled_up(response: Response, fields: Mapping[str, Any]) -> Response:
    """An accepted form with what was left out of it."""
    if response.action != "accept" or not fields:
        return response
    return msgspec.structs.replace(response, content={**fields, **(response.content or {})})


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What another process needs, beside the answers, to go on with a call; as JSON it is the handle."""

    state: str | None
    """What the server gave us to hand back."""
    kinds: dict[str, InquiryKind] = {}
    """Of what was asked, by key."""
    defaults: dict[str, dict[str, Any]] = {}
    """Of the forms that were asked, by key."""
    task: str = ""
    """Id of the task as which the server works for it."""
    known: dict[str, Response] = {}
    """Answers that nobody had to be asked for, by key."""
    sent: bool = False
    """Whether the answers were about to be sent; `mcp_core.agents.left` reads it, and `task`."""


def make_handle(
    state: str | None,
    asked: Sequence[Inquiry],
    task: str = "",
    known: Mapping[str, Response] | None = None,
) -> str:
    """Write down how to go on with a call that asks, or for which the server works as a task."""
    filling = {one.key: fields for one in asked if (fields := defaults(one))}
    kept = Kept(state, {one.key: one.kind for one in asked}, filling, task, dict(known or {}))
    return msgspec.json.encode(kept).decode()


def read_handle(handle: str) -> Kept:
    """How to go on with a call.

    Raises:
        Interrupted: It is no handle of ours.
    """
    try:
        return msgspec.json.decode(handle, type=Kept)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Interrupted(
            "what is kept of this call does not tell how to go on with it",
            "it may or may not have taken effect; look before you call again",
        ) from error
