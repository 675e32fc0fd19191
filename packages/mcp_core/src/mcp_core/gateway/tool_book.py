"""What the node remembers of tools: the pinned definitions, and the questions that were answered with "never".

State of the stream "tools". A definition is pinned when a tool of an external server is first granted or first
allowed to run; a server that says otherwise later is not believed until a person has looked. That a server is
removed and added again forgets nothing: this is how a tool would be swapped.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import msgspec

from mcp_core.gateway.definitions import difference, fingerprint
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.runtime.commit import History, Journal
from mcp_interface.address import tool_resource
from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Clock, Instant
from mcp_interface.commands import Refusal, ToolChange
from mcp_interface.errors import NotPermitted, TooMuch
from mcp_interface.events import RefusalForgotten, RefusalRemembered, ToolPinned
from mcp_interface.ids import SYSTEM, PrincipalId, SessionId
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

SCHEMA: Final = "tools/1"
MAX_PINS: Final = 20_000
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


class Tools(msgspec.Struct):
    """What is remembered of all tools."""

    pins: dict[str, Pin] = {}
    """By `server/tool`; no server's name holds a slash."""
    refusals: dict[str, Refusal] = {}
    """By principal and fingerprint, oldest first."""


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
            TooMuch: There are too many pins.
        """
        if self._pinned(tool) is None:
            async with self._writing:
                if self._pinned(tool) is None:
                    await self._pin(tool, SYSTEM, "tool_pinned", {"for": principal})
        await self.check(tool, principal, session_id)

    async def accept(self, tool: ToolInfo, by: PrincipalId) -> bool:
        """Take a tool for what it says now, because a person has looked at it; False when nothing changes."""
        async with self._writing:
            before = self._pinned(tool)
            if before == fingerprint(tool):
                return False
            await self._pin(tool, by, "tool_accepted", {"before": before})
            return True

    def changes(self, offered: Sequence[ToolInfo], connected: Collection[str]) -> list[ToolChange]:
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
                found.append(_change(pin, tool))
            elif tool is None and pin.tool.server in connected:
                found.append(_change(pin, None))
        return found

    def shown(self, offered: Sequence[ToolInfo]) -> list[ToolInfo]:
        """The tools as a model may read them: of one that has changed, what was pinned.

        What a server wrote since then is not put before a model until a person has read it.
        """
        return [tool if self.holds(tool) else self._history.state.pins[_key(tool)].tool for tool in offered]

    async def _pin(self, tool: ToolInfo, by: PrincipalId, kind: str, details: dict[str, Any]) -> None:
        pins, now = self._history.state.pins, fingerprint(tool)
        if _key(tool) not in pins and len(pins) >= MAX_PINS:
            raise TooMuch(
                f"{MAX_PINS} tools are pinned, the most there can be", "use a data directory of its own"
            )
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

    def refusal(self, principal: PrincipalId, question: str) -> Refusal | None:
        """What was said to a question that was answered with "never".

        Args:
            principal: Who would do it.
            question: Hash of tool definition and arguments.
        """
        return self._history.state.refusals.get(_question(principal, question))

    def refusals(self) -> list[Refusal]:
        """Every question that is answered with no unasked, oldest first."""
        return list(self._history.state.refusals.values())

    async def remember(
        self,
        principal: PrincipalId,
        tool: ToolInfo,
        arguments: dict[str, Any],
        question: str,
        reason: str,
        by: PrincipalId,
    ) -> None:
        """Answer a question with no from now on.

        Raises:
            TooMuch: Too many are remembered.
        """
        async with self._writing:
            if self.refusal(principal, question) is not None:
                return
            if len(self._history.state.refusals) >= MAX_REFUSALS:
                raise TooMuch(
                    f"{MAX_REFUSALS} refusals are remembered, the most there can be",
                    "forget some: umbrella approvals never, umbrella approvals forget",
                )
            await self._history.commit(
                RefusalRemembered(
                    timestamp=self._clock.now(),
                    principal_id=principal,
                    server=tool.server,
                    tool=tool.name,
                    fingerprint=question,
                    reason=reason,
                    by=by,
                    arguments=arguments,
                )
            )

    async def forget(self, principal: PrincipalId, question: str, by: PrincipalId) -> None:
        """Let a question be asked again; harmless when repeated."""
        async with self._writing:
            if self.refusal(principal, question) is None:
                return
            await self._history.commit(
                RefusalForgotten(
                    timestamp=self._clock.now(), principal_id=principal, fingerprint=question, by=by
                )
            )


class Offered:
    """The tools as a model may read them."""

    def __init__(self, toolbox: Toolbox, book: ToolBook) -> None:
        self._toolbox = toolbox
        self._book = book

    def listed(self) -> list[ToolInfo]:
        """Every tool that is known now; of one that has changed, the definition that was pinned."""
        tools = self._toolbox.listed()
        own = [tool for tool in tools if tool.server in self._toolbox.builtin]
        return own + self._book.shown([tool for tool in tools if tool.server not in self._toolbox.builtin])


def _change(pin: Pin, now: ToolInfo | None) -> ToolChange:
    return ToolChange(
        server=pin.tool.server,
        tool=pin.tool.name,
        before=pin.tool,
        now=now,
        fingerprint="" if now is None else fingerprint(now),
        diff="" if now is None else difference(pin.tool, now),
    )


def _key(tool: ToolInfo) -> str:
    return f"{tool.server}/{tool.name}"


def _question(principal: PrincipalId, fingerprint: str) -> str:
    return f"{principal}/{fingerprint}"
