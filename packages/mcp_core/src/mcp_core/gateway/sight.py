"""What a principal may know of: the servers and tools on which it holds some right. The owner sees everything.

This decides what is shown and what is called "not found"; whether something may be done is the kernel's to judge,
each time.
"""

from fnmatch import fnmatchcase

from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import parse_resource, tool_resource
from mcp_interface.capability import Capability, SecurityKernel
from mcp_interface.client import Notice, OffersChanged, ResourceChanged, ServerChanged
from mcp_interface.errors import NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.key import Publication
from mcp_interface.offers import CATALOG, resource_right
from mcp_interface.tool import ToolInfo

_COVERS = frozenset({"allowed", "constraint_violated"})
"""Limits may allow other arguments than none."""


class Sight:
    """Whom is shown what.

    Args:
        kernel: Knows the rights.
        toolbox: Knows the tools.
        owner: Of the node.
    """

    def __init__(self, kernel: SecurityKernel, toolbox: Toolbox, owner: PrincipalId) -> None:
        self._kernel = kernel
        self._toolbox = toolbox
        self._owner = owner

    def sees_all(self, who: PrincipalId) -> bool:
        """Whether nothing is hidden from somebody."""
        return who == self._owner

    def tool(self, who: PrincipalId, tool: ToolInfo) -> bool:
        """Whether somebody holds a right with which this tool can be called in some way."""
        if self.sees_all(who):
            return True
        if tool.server not in self._toolbox.builtin:
            return self._covered(who, tool_resource(tool.server, tool.name).uri)
        # what it touches depends on the arguments: any right of the kind that it needs will do
        wanted = {_kind(pattern) for pattern in tool.required_capabilities}
        return any(_kind(held.resource_uri) in wanted for held in self._kernel.held_by(who)) and all(
            not pattern.startswith("mcp://tool/") or self._covered(who, pattern)
            for pattern in tool.required_capabilities
        )

    def check(self, who: PrincipalId, server: str, tool: str) -> None:
        """Return if somebody may know whether a server has such a tool; what is built in is no secret.

        Raises:
            NotFound: Not so; the same for a tool that is hidden and for one that does not exist.
        """
        if self.sees_all(who) or server in self._toolbox.builtin:
            return
        if not self._covered(who, tool_resource(server, tool).uri):
            raise NotFound(f"no tool {server[:80]}/{tool[:80]}", "list them: umbrella mcp tools")

    def server(self, who: PrincipalId, name: str) -> bool:
        """Whether somebody holds a right on anything of a server."""
        if self.sees_all(who) or name == CATALOG:
            return True
        place = tool_resource(name, "x").segments[0]
        return any(_reaches(held, place) for held in self._kernel.held_by(who))

    def publication(self, who: PrincipalId, publication: Publication) -> bool:
        """Whether somebody finds a virtual server: one that is for them or for all, with something that they may know."""
        if self.sees_all(who) or publication.principal_id == who:
            return True
        if publication.principal_id is not None:
            return False
        shown = [f"{tool.server}/{tool.name}" for tool in self._toolbox.listed() if self.tool(who, tool)]
        if any(fnmatchcase(name, glob) for name in shown for glob in publication.tools):
            return True
        away = [each.name for each in self._toolbox.statuses() if each.state in {"connecting", "waiting"}]
        if any(self._may_offer(who, name, glob) for name in away for glob in publication.tools):
            return True
        return any(self._reads(who, glob) for glob in (*publication.resources, *publication.prompts))

    def _may_offer(self, who: PrincipalId, server: str, glob: str) -> bool:
        """Whether somebody may know of a tool of a server that has not said yet, as after a start, which it has."""
        wanted, _, tool = glob.partition("/")
        if not fnmatchcase(server, wanted):
            return False
        if set(tool) & set("*?["):
            return self.server(who, server)
        return self._covered(who, tool_resource(server, tool).uri)

    def _reads(self, who: PrincipalId, glob: str) -> bool:
        """Whether a glob over resources or prompts names a server of which somebody may read something."""
        wanted = glob.partition("/")[0]
        if fnmatchcase(CATALOG, wanted):
            return True
        names = [status.name for status in self._toolbox.statuses()]
        return any(fnmatchcase(name, wanted) and self.server(who, name) for name in names)

    def passing(self, who: PrincipalId, notice: Notice) -> Notice | None:
        """What somebody is told of a notice that concerns the whole node; None: nothing.

        What is private in the catalog is the affair of whose it is: its changes are told to them, and to the owner
        of the node.
        """
        match notice:
            case OffersChanged(
                server="", principal_id=whose
            ):  # their rights have changed, and may have ended
                return notice if whose == who else None
            case OffersChanged(server=name, principal_id=whose) if self.server(who, name):
                return notice if whose in {None, who} else None
            case ResourceChanged(server=name, uri=uri) if name != CATALOG:
                return notice if self._covered(who, resource_right(name, uri).uri) else None
            case ServerChanged(name=name, state=state) if self.server(who, name):
                return ServerChanged(name=name, state=state)  # its error may tell how it is reached
        return None

    def _covered(self, who: PrincipalId, uri: str) -> bool:
        wanted = parse_resource(uri)
        for held in self._kernel.held_by(who):
            handle = self._kernel.handle_of(held.id, who)
            if self._kernel.validate(handle, who, wanted).reason in _COVERS:
                return True
        return False


def _kind(uri: str) -> tuple[str, str]:
    wanted = parse_resource(uri)
    return wanted.type, wanted.operation


def _reaches(held: Capability, place: str) -> bool:
    """Whether a right on tools may be one on something of the server that is written so in resources."""
    wanted = parse_resource(held.resource_uri)
    if wanted.type != "tool":
        return False
    first = wanted.segments[0]
    return first == "**" or fnmatchcase(place, first.replace("[", "[[]"))
