"""All that one server offers, as last listed; pure."""

import msgspec

from mcp_core.protocol.watch import OfferKind
from mcp_interface.offers import PromptInfo, ResourceInfo, ResourceTemplate
from mcp_interface.tool import ToolInfo


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """Lists that belong together."""

    tools: dict[str, ToolInfo] = {}
    resources: list[ResourceInfo] = []
    templates: list[ResourceTemplate] = []
    prompts: list[PromptInfo] = []
    left_out: str = ""
    """Which tools are not listed because of what they say of themselves, in words; empty when there are none."""
    trouble: str = ""
    """What could not be listed, in words."""

    @property
    def remarks(self) -> str:
        """What a person should know of the lists."""
        return "; ".join(filter(None, (self.left_out, self.trouble)))

    def differs(self, before: "Offered") -> list[OfferKind]:
        """Which kinds are not what they were."""
        found: list[OfferKind] = []
        if self.tools != before.tools:
            found.append("tools")
        if (self.resources, self.templates) != (before.resources, before.templates):
            found.append("resources")
        if self.prompts != before.prompts:
            found.append("prompts")
        return found
