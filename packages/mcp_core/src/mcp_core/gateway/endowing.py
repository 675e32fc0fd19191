"""What follows when an agent is handed rights: tools that became allowed are pinned as they are, and it is told."""

from collections.abc import Sequence
from datetime import timedelta

from mcp_core.agents.base import Learn
from mcp_core.agents.directory import Directory
from mcp_core.gateway.tool_book import ToolBook
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import parse_resource, tool_resource
from mcp_interface.capability import Ask, Capability, Grant, GrantOptions, SecurityKernel
from mcp_interface.commands import Wish
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import AgentId, PrincipalId, is_id
from mcp_interface.tool import ToolInfo


class Endowing:
    """Tells who was handed rights.

    Args:
        kernel: Knows what a right covers.
        directory: The agents.
        toolbox: The tools that there are.
        book: Pins them.
    """

    def __init__(
        self, kernel: SecurityKernel, directory: Directory, toolbox: Toolbox, book: ToolBook
    ) -> None:
        self._kernel = kernel
        self._directory = directory
        self._toolbox = toolbox
        self._book = book

    async def learn(self, principal: AgentId | PrincipalId, grants: Sequence[Grant]) -> None:
        """Pin the external tools that became allowed, as they are now, and tell an agent what it holds.

        Raises:
            NotFound: The agent has ended meanwhile.
        """
        ref = self._directory.ref(AgentId(principal)) if is_id("agent", principal) else None
        holder = PrincipalId(principal)
        for grant in grants:
            offered = self._toolbox.host.tools() if _is_for_tools(grant.capability) else []
            await self._book.pin_granted([tool for tool in offered if self._covers(grant, tool)], holder)
            if ref is not None:
                ref.tell(Learn(grant.capability))

    def _covers(self, grant: Grant, tool: ToolInfo) -> bool:
        wanted = tool_resource(tool.server, tool.name)
        verdict = self._kernel.validate(grant.handle, grant.capability.principal_id, wanted)
        return verdict.reason in {"allowed", "constraint_violated"}  # limits may allow other arguments


def asks_of(wishes: Sequence[Wish]) -> list[Ask]:
    """What is wished for, as the kernel is asked for it.

    Raises:
        InvalidAddress: One of them is about no resource.
        CallerMistaken: It would end in a time that cannot be written.
    """
    return [
        Ask(
            resource=parse_resource(wish.resource_uri),
            options=GrantOptions(expires_in=span(wish.expires_in_s), constraints=wish.constraints),
        )
        for wish in wishes
    ]


def span(seconds: float | None) -> timedelta | None:
    """So many seconds; None is no end.

    Raises:
        CallerMistaken: There is no such time.
    """
    try:
        return None if seconds is None else timedelta(seconds=seconds)
    except OverflowError as error:
        raise CallerMistaken(f"{seconds:g} s is no time that can pass", "leave it out for no end") from error


def _is_for_tools(capability: Capability) -> bool:
    return parse_resource(capability.resource_uri).type == "tool"
