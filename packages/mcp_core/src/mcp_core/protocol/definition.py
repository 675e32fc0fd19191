"""What a tool says of itself as one text: to measure, to hash, to compare. Pure."""

import json
from typing import Final

from mcp_interface.codec import to_external
from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_interface.tool import ToolInfo

MAX_DEFINITION: Final = 256 * 1024
"""Bytes of a definition as JSON; what is larger is not offered, because no person could look at a change of it."""


def canonical(tool: ToolInfo) -> str:
    """Write everything that a tool says of itself as JSON in ASCII; the order of keys does not count.

    Raises:
        InvalidRecord: The definition is not data; `unencodable`.
    """
    try:
        return json.dumps(to_external(tool), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(
            "unencodable",
            f"the definition of {tool.server}/{tool.name} is not data: {error}",
            "report it to whoever makes the server",
        ) from error


def fits(tool: ToolInfo) -> bool:
    """Whether a definition is data, and small enough to be offered."""
    try:
        return len(canonical(tool)) <= MAX_DEFINITION
    except InvalidRecord:
        return False


def require_same(judged: ToolInfo, now: ToolInfo) -> None:
    """Return if a tool still says of itself what it said when its call was judged.

    Raises:
        NotPermitted: It does not; reason `tool_changed`.
        InvalidRecord: A definition is not data.
    """
    # as text, because Python takes true for 1
    if now is judged or canonical(now) == canonical(judged):
        return
    name = f"{judged.server}/{judged.name}"
    raise NotPermitted(
        f"{name} is not the tool that it was when the call was judged: its definition has changed, "
        "and nobody has looked at the change yet",
        f"umbrella tools changed {name}",
        {"reason": "tool_changed", "server": judged.server, "tool": judged.name},
    )
