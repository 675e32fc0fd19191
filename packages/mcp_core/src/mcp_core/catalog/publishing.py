"""Whether somebody may put what is theirs into everybody's lists: the owner of the node, or who was given that right."""

from typing import Final

from mcp_interface.address import Resource, tool_resource
from mcp_interface.capability import Context, Facts, SecurityKernel
from mcp_interface.catalog import Visibility
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import CATALOG
from mcp_interface.trace import current_trace_id

NEEDED: Final[Resource] = tool_resource(CATALOG, "publish")
OWNER_META: Final = "umbrella/owner"
"""Under which key of its meta stands whose it is, of what somebody else has made public."""


class Publishing:
    """Judges what becomes public, and what is public already and says something else.

    Args:
        kernel: Judges, and puts it on record.
        owner: Of the node, who needs no right.
    """

    def __init__(self, kernel: SecurityKernel, owner: PrincipalId) -> None:
        self._kernel = kernel
        self._owner = owner

    async def require(self, who: PrincipalId, what: str, visibility: Visibility) -> None:
        """Return if somebody may have this be so visible.

        Args:
            who: Whose it is.
            what: The URI of a resource, or the name of a prompt.
            visibility: As it will be.

        Raises:
            NotPermitted: They may not make it public; the remedy is the grant.
        """
        if visibility != "public" or who == self._owner:
            return
        context = Context(trace_id=current_trace_id(), note=f"public: {what}"[:200])
        verdict = await self._kernel.authorize(who, NEEDED, context, facts=Facts(arguments={"name": what}))
        if not verdict.allowed:
            raise NotPermitted(
                f"{who} may not make {what[:200]!r} public: {verdict.message}",
                f"keep it private, or: umbrella grant {who} {NEEDED.uri}",
                {"reason": verdict.reason, "principal_id": who, "resource_uri": NEEDED.uri},
            )

    def rank(self, who: PrincipalId, owner: PrincipalId) -> int:
        """Where somebody's things stand for another person: their own first, then those of the owner of the node."""
        return 0 if owner == who else 1 if owner == self._owner else 2


def meta_of(who: PrincipalId, owner: PrincipalId) -> dict[str, str]:
    """What tells a reader that something is somebody else's."""
    return {} if owner == who else {OWNER_META: owner}
