"""Commands about what tools are taken to be, and about questions that are never asked again."""

from mcp_core.gateway.definitions import fingerprint
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.tool_book import ToolBook
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import tool_resource
from mcp_interface.capability import SecurityKernel
from mcp_interface.commands import (
    AcceptTool,
    ForgetRefusal,
    ListRefusals,
    ListToolChanges,
    Page,
    Refusal,
    ToolChange,
)
from mcp_interface.errors import LostRace, NotFound, NotPermitted
from mcp_interface.ids import SYSTEM, PrincipalId
from mcp_interface.tool import ToolInfo


class ToolCommands:
    """Handlers over pinned definitions and remembered refusals."""

    def __init__(self, toolbox: Toolbox, book: ToolBook, kernel: SecurityKernel, owner: PrincipalId) -> None:
        self._toolbox = toolbox
        self._book = book
        self._kernel = kernel
        self._owner = owner

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            ListToolChanges: self.changes,
            AcceptTool: self.accept,
            ListRefusals: self.refusals,
            ForgetRefusal: self.forget,
        }

    async def changes(self, who: PrincipalId, command: ListToolChanges) -> Page[ToolChange]:
        """Tools that are not what they were."""
        require_owner(who, self._owner, "look at changed tools")
        connected = {status.name for status in self._toolbox.host.statuses() if status.state == "ready"}
        found = self._book.changes(self._toolbox.host.tools(), connected)
        page = page_of(found, command.limit, command.cursor)
        return Page(items=[each.shown() for each in page.items], cursor=page.cursor)

    async def accept(self, who: PrincipalId, command: AcceptTool) -> ToolInfo:
        """Pin what the tool is now, if it is still what was looked at.

        Approvals of the tool as it was end: they were given for another definition.
        """
        require_owner(who, self._owner, "accept changed tools")
        name = f"{command.server}/{command.tool}"
        if command.server in self._toolbox.builtin:
            raise NotFound(
                f"{name} is built in and changes with the release only", "there is nothing to accept"
            )
        tools = {tool.name: tool for tool in self._toolbox.listed(command.server)}
        now = tools.get(command.tool)
        if now is None:
            raise NotFound(
                f"{command.server} does not offer {command.tool!r} at the moment",
                "see: umbrella tools changed",
            )
        if fingerprint(now) != command.fingerprint:
            raise LostRace(
                f"{name} is not what was looked at: it has changed again, or the fingerprint is another's",
                f"look again: umbrella tools changed {name}",
                {"fingerprint": fingerprint(now)},
            )
        if not self._book.is_pinned(now):
            # ended first: what is pinned otherwise is refused, so a crash in between leaves nothing usable
            await self._end_approvals(now)
            await self._book.accept(now, who)
            # the server may have shown the old definition for a moment, and a person have said yes to that
            await self._end_approvals(now)
        return now

    async def refusals(self, who: PrincipalId, command: ListRefusals) -> Page[Refusal]:
        """What the caller said never to, or what binds the caller's agents; the owner sees everybody's."""
        mine = [
            known for known in self._book.refusals() if who in {self._owner, known.by, known.principal_id}
        ]
        return page_of(mine, command.limit, command.cursor)

    async def forget(self, who: PrincipalId, command: ForgetRefusal) -> None:
        """Let a question be asked again."""
        known = self._book.refusal(command.principal_id, command.fingerprint)
        if known is not None and who not in {self._owner, known.by}:
            raise NotPermitted("somebody else said never to this", "ask them, or the node's owner")
        await self._book.forget(command.principal_id, command.fingerprint, who)

    async def _end_approvals(self, tool: ToolInfo) -> None:
        right = tool_resource(tool.server, tool.name).uri
        for capability in self._kernel.capabilities():
            if capability.resource_uri == right and "approval_id" in capability.metadata:
                why = "the tool that was approved has changed"
                await self._kernel.revoke(capability.id, SYSTEM, why)
