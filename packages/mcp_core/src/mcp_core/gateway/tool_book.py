"""What the node remembers of tools: the pinned definitions, and the calls that a person said "never" to.

State of the stream "tools". A definition is pinned when a tool of an external server is first granted or first
allowed to run; a server that says otherwise later is not believed until a person has looked. That a server is
removed and added again forgets nothing: this is how a tool would be swapped.

"Never" is about one call, by name and arguments. It binds all agents of the person in whose session it was said,
those of other sessions and times too, whatever they hold and whatever the tool says of itself, until it is
forgotten. It does not bind the person: what they call themselves runs.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec

from mcp_core.gateway.definitions import difference, fingerprint
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.runtime.commit import History, Journal
from mcp_core.tools.assistant import SERVER as FOR_PEOPLE
from mcp_interface.address import tool_resource
from mcp_interface.approval import Approval
from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Clock, Instant
from mcp_interface.commands import Refusal, ToolChange
from mcp_interface.errors import CallerMistaken, NotPermitted, TooMuch
from mcp_interface.events import RefusalForgotten, RefusalRemembered, ToolPinned
from mcp_interface.ids import SYSTEM, PrincipalId, SessionId
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

log = logging.getLogger(__name__)

SCHEMA: Final = "tools/1"
MAX_PINS: Final = 20_000
MAX_PINS_OF_SERVER: Final = 2_000
"""So that no server fills the room of all the others."""
MAX_REFUSALS: Final = 10_000


class AuditNotes(Protocol):
    """Where this is put on record (`mcp_security.AuditLog`)."""

    async def append(
        self,
        *,
        kind: str,
        principal_id: PrincipalId,
        resource_uri: str | None = None,
        decision: Any = "noted",
        reason: str = "",
        session_id: SessionId | None = None,
        details: dict[str, Any] | None = None,
    ) -> AuditEntry:
        """Record one entry, durable on return."""
        ...


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is taken to be."""

    tool: ToolInfo
    by: PrincipalId
    since: Instant


class Changed(msgspec.Struct, frozen=True):
    """A pinned tool that is not what it was, or is gone."""

    pin: Pin
    now: ToolInfo | None

    def shown(self) -> ToolChange:
        """The change as a person looks at it; the diff is made here, one page's worth at a time."""
        before, now = self.pin.tool, self.now
        return ToolChange(
            server=before.server,
            tool=before.name,
            before=before,
            now=now,
            fingerprint="" if now is None else fingerprint(now),
            diff="" if now is None else difference(before, now),
        )


class Tools(msgspec.Struct):
    """What is remembered of all tools."""

    pins: dict[str, Pin] = {}
    """By `server/tool`; no server's name holds a slash."""
    refusals: dict[str, Refusal] = {}
    """By person and fingerprint, oldest first."""


def apply(state: Tools, record: Record) -> None:
    """Move on by one event."""
    match record.event:
        case ToolPinned(tool=tool, by=by, timestamp=since):
            state.pins[_key(tool)] = Pin(tool=tool, by=by, since=since)
        case RefusalRemembered() as event:
            state.refusals[_question(event.principal_id, event.fingerprint)] = Refusal(
                principal_id=event.principal_id,
                server=event.server,
                tool=event.tool,
                fingerprint=event.fingerprint,
                reason=event.reason,
                by=event.by,
                since=event.timestamp,
                arguments=event.arguments,
            )
        case RefusalForgotten(principal_id=principal_id, fingerprint=asked):
            state.refusals.pop(_question(principal_id, asked), None)


class ToolBook:
    """Pins definitions and remembers refusals; durable before anybody hears of it.

    Args:
        journal: Holds the stream.
        audit: Told of every pin, of every change that was refused, and of what was accepted.
        clock: Stamps the events.
    """

    def __init__(self, journal: Journal, audit: AuditNotes, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._writing = asyncio.Lock()
        self._known: dict[str, tuple[Pin, str]] = {}
        self._said: dict[str, str] = {}
        """Reasons of refusals that are on their way to the disk; they bind already."""
        self._history: History[Tools] = History(
            journal, "tools", initial=Tools, apply=apply, clock=clock, schema=SCHEMA
        )

    async def load(self) -> None:
        """Read what is remembered."""
        await self._history.load()

    # -- definitions -------------------------------------------------------------------------------------

    def holds(self, tool: ToolInfo) -> bool:
        """Whether a tool is what it was pinned as; True also when it was never pinned."""
        pinned = self._pinned(tool)
        return pinned is None or pinned == fingerprint(tool)

    def is_pinned(self, tool: ToolInfo) -> bool:
        """Whether a tool is pinned as exactly what it says now."""
        return self._pinned(tool) == fingerprint(tool)

    async def check(
        self, tool: ToolInfo, principal: PrincipalId, session_id: SessionId | None = None
    ) -> None:
        """Return if a tool is what it was pinned as, or was never pinned.

        Raises:
            NotPermitted: It has changed since; on record when this is raised.
        """
        if self.holds(tool):
            return
        name, pin = _key(tool), self._history.state.pins[_key(tool)]
        entry = await self._audit.append(
            kind="tool_changed",
            principal_id=principal,
            resource_uri=tool_resource(tool.server, tool.name).uri,
            decision="denied",
            reason="tool_changed",
            session_id=session_id,
            details={"pinned": self._pinned(tool), "now": fingerprint(tool)},
        )
        raise NotPermitted(
            f"{name} is not the tool that it was on {pin.since:%Y-%m-%d}: its definition has changed, "
            "and nobody has looked at the change yet",
            f"umbrella tools changed {name}",
            {
                "reason": "tool_changed",
                "principal_id": principal,
                "server": tool.server,
                "tool": tool.name,
                "audit_seq": entry.seq,
            },
        )

    async def settle(
        self, tool: ToolInfo, principal: PrincipalId, session_id: SessionId | None = None
    ) -> None:
        """Pin a tool that was never pinned; of one that was, make sure that it is the same.

        Raises:
            NotPermitted: As `check`.
            TooMuch: There are too many pins, or too many of this server.
        """
        await self._pin_new(tool, principal)
        await self.check(tool, principal, session_id)

    async def pin_granted(self, tools: Iterable[ToolInfo], principal: PrincipalId) -> None:
        """Pin what became allowed, as far as there is room; one that has changed stays pinned as it was.

        What finds no room is pinned when it first runs or, without room then too, does not run: the grant
        stands already, and is not wrong for that.
        """
        full: set[str] = set()
        for tool in tools:
            if tool.server in full:
                continue
            try:
                await self._pin_new(tool, principal)
            except TooMuch as error:
                full.add(tool.server)
                log.warning("granted tools from %r on are not pinned: %s", _key(tool), error.message)

    async def accept(self, tool: ToolInfo, by: PrincipalId) -> bool:
        """Take a tool for what it says now, because a person has looked at it; False when nothing changes."""
        async with self._writing:
            before = self._pinned(tool)
            if before == fingerprint(tool):
                return False
            await self._pin(tool, by, "tool_accepted", {"before": before})
            return True

    def changes(self, offered: Sequence[ToolInfo], connected: Collection[str]) -> list[Changed]:
        """Every pinned tool that is not what it was, by name.

        Args:
            offered: The tools of all external servers as they are now.
            connected: Servers whose list of tools is true at the moment; what they do not offer is gone.
        """
        now = {_key(tool): tool for tool in offered}
        found = []
        for name, pin in sorted(self._history.state.pins.items()):
            tool = now.get(name)
            if tool is not None and not self.holds(tool):
                found.append(Changed(pin, tool))
            elif tool is None and pin.tool.server in connected:
                found.append(Changed(pin, None))
        return found

    def shown(self, offered: Sequence[ToolInfo]) -> list[ToolInfo]:
        """The tools as a model may read them: of one that has changed, what was pinned.

        What a server wrote since then is not put before a model until a person has read it.
        """
        return [tool if self.holds(tool) else self._history.state.pins[_key(tool)].tool for tool in offered]

    async def _pin_new(self, tool: ToolInfo, principal: PrincipalId) -> None:
        if self._pinned(tool) is None:
            async with self._writing:
                if self._pinned(tool) is None:
                    await self._pin(tool, SYSTEM, "tool_pinned", {"for": principal})

    async def _pin(self, tool: ToolInfo, by: PrincipalId, kind: str, details: dict[str, Any]) -> None:
        pins, now = self._history.state.pins, fingerprint(tool)
        if _key(tool) not in pins:
            _require_room(pins, tool.server)
        await self._audit.append(
            kind=kind,
            principal_id=by,
            resource_uri=tool_resource(tool.server, tool.name).uri,
            details={**details, "fingerprint": now},
        )
        await self._history.commit(ToolPinned(timestamp=self._clock.now(), tool=tool, fingerprint=now, by=by))

    def _pinned(self, tool: ToolInfo) -> str | None:
        """The hash of a pinned definition, as this release counts it: a new field of ours is no change of theirs."""
        name = _key(tool)
        pin = self._history.state.pins.get(name)
        if pin is None:
            return None
        known = self._known.get(name)
        if known is None or known[0] is not pin:
            known = self._known[name] = (pin, fingerprint(pin.tool))
        return known[1]

    # -- refusals ----------------------------------------------------------------------------------------

    def refusal(self, person: PrincipalId, question: str) -> Refusal | None:
        """What was said to a call that was answered with "never".

        Args:
            person: Whose agents are bound by it.
            question: `call_fingerprint` of it.
        """
        return self._history.state.refusals.get(_question(person, question))

    def refusals(self) -> list[Refusal]:
        """Every question that is answered with no unasked, oldest first."""
        return list(self._history.state.refusals.values())

    async def require_not_refused(
        self,
        person: PrincipalId,
        principal: PrincipalId,
        server: str,
        tool: str,
        arguments: dict[str, Any],
        session_id: SessionId | None = None,
    ) -> None:
        """Return unless this very call was refused for good to a person's agents, whatever they hold.

        Args:
            person: Whose agent it is.
            principal: The agent, for the record.
            server: Of the call.
            tool: Of the call.
            arguments: Of the call.
            session_id: In which it is made, for the record.

        Raises:
            NotPermitted: It was; on record when this is raised.
            CallerMistaken: The arguments are not JSON-compatible.
        """
        refusals = self._history.state.refusals
        if not refusals and not self._said:
            return
        key = _question(person, call_fingerprint(server, tool, arguments))
        reason = refusals[key].reason if key in refusals else self._said.get(key)
        if reason is None:
            return
        wanted = tool_resource(server, tool).uri
        entry = await self._audit.append(
            kind="access_denied",
            principal_id=principal,
            resource_uri=wanted,
            decision="denied",
            reason="refused",
            session_id=session_id,
            details={"note": f"{server}/{tool}", "refused_by": person},
        )
        raise said_no(server, tool, reason, {"resource_uri": wanted, "audit_seq": entry.seq}, for_good=True)

    async def note_no(self, approval: Approval, by: PrincipalId, why: str) -> None:
        """Put on record that somebody was asked, and said no; `system` when time ran out.

        Raises:
            UmbrellaError: The audit refused.
        """
        await self._audit.append(
            kind="access_denied",
            principal_id=approval.principal_id,
            resource_uri=approval.resource_uri,
            decision="denied",
            reason="said_no",
            session_id=approval.session_id,
            details={"note": f"{approval.server}/{approval.tool}", "by": by, "why": why[:500]},
        )

    async def remember(
        self,
        person: PrincipalId,
        server: str,
        tool: str,
        arguments: dict[str, Any],
        reason: str,
        by: PrincipalId,
    ) -> None:
        """Refuse a call to all agents of a person from now on: at once, and durably on return.

        Raises:
            TooMuch: Too many are remembered.
            CallerMistaken: The arguments are not JSON-compatible.
        """
        question = call_fingerprint(server, tool, arguments)
        key = _question(person, question)
        # an equal question may be answered with yes while this one is being written
        self._said[key] = reason
        try:
            async with self._writing:
                if self.refusal(person, question) is not None:
                    return
                if len(self._history.state.refusals) >= MAX_REFUSALS:
                    raise TooMuch(
                        f"{MAX_REFUSALS} refusals are remembered, the most there can be",
                        "forget some: umbrella approvals never, umbrella approvals forget",
                    )
                await self._history.commit(
                    RefusalRemembered(
                        timestamp=self._clock.now(),
                        principal_id=person,
                        server=server,
                        tool=tool,
                        fingerprint=question,
                        reason=reason,
                        by=by,
                        arguments=arguments,
                    )
                )
        finally:
            self._said.pop(key, None)

    async def forget(self, person: PrincipalId, question: str, by: PrincipalId) -> None:
        """Let a call be asked about again; harmless when repeated."""
        async with self._writing:
            if self.refusal(person, question) is None:
                return
            await self._history.commit(
                RefusalForgotten(
                    timestamp=self._clock.now(), principal_id=person, fingerprint=question, by=by
                )
            )


class Offered:
    """The tools as a model may read them."""

    def __init__(self, toolbox: Toolbox, book: ToolBook) -> None:
        self._toolbox = toolbox
        self._book = book

    def listed(self) -> list[ToolInfo]:
        """Every tool that is known now; of one that has changed, the definition that was pinned.

        Not those that speak as a person: no agent may call them.
        """
        tools = [tool for tool in self._toolbox.listed() if tool.server != FOR_PEOPLE]
        own = [tool for tool in tools if tool.server in self._toolbox.builtin]
        return own + self._book.shown([tool for tool in tools if tool.server not in self._toolbox.builtin])


def _key(tool: ToolInfo) -> str:
    return f"{tool.server}/{tool.name}"


def _question(person: PrincipalId, fingerprint: str) -> str:
    return f"{person}/{fingerprint}"


def _require_room(pins: dict[str, Pin], server: str) -> None:
    if sum(pin.tool.server == server for pin in pins.values()) >= MAX_PINS_OF_SERVER:
        raise TooMuch(
            f"{MAX_PINS_OF_SERVER} tools of {server} are pinned, the most there can be of one server; "
            "what is not pinned does not run",
            "use a server with fewer tools",
        )
    if len(pins) >= MAX_PINS:
        raise TooMuch(
            f"{MAX_PINS} tools are pinned, the most there can be; what is not pinned does not run",
            "use a data directory of its own",
        )


def call_fingerprint(server: str, tool: str, arguments: dict[str, Any]) -> str:
    """Hash a call by name and arguments, hex; neither the order of keys counts nor 1.0 instead of 1.

    What the tool says of itself does not count: a server could change a word, and have the person asked again.

    Raises:
        CallerMistaken: The arguments are not JSON-compatible.
    """
    try:
        call = [server, tool, _canonical(arguments)]
        text = json.dumps(call, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CallerMistaken(
            f"the arguments of {server}/{tool} cannot be written as JSON: {error}", "use JSON values only"
        ) from error
    return sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def said_no(server: str, tool: str, reason: str, details: dict[str, Any], *, for_good: bool) -> NotPermitted:
    """The error of a call that a person refused, with their reason."""
    why = f": {reason}" if reason else ""
    word = "never" if for_good else "no"
    return NotPermitted(
        f"a person said {word} to {server}/{tool} with these arguments{why}",
        "do something else" if for_good else "do something else, or ask again with a better reason",
        {"reason": "refused", **details},
    )
