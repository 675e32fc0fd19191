"""What a session's profile makes of a missing right. Pure."""

from enum import Enum
from typing import Final

from mcp_interface.address import Resource
from mcp_interface.session import Session
from mcp_interface.tool import ToolInfo

SEEN_FIRST: Final = frozenset({"api", "db", "shell"})
"""Types of resources that a person sees before anything is granted under `careful`."""


class Decision(Enum):
    """What to do about a right that the assistant does not hold."""

    GRANT = "grant"
    ASK = "ask"
    DENY = "deny"


def decide(session: Session, tool: ToolInfo, needed: Resource) -> Decision:
    """Read the profile.

    Under `careful`, tools that call themselves read-only are granted; but a file is only granted when it lies
    below the folder the person works in (`metadata["cwd"]`): a prompt that reaches for other files should be
    seen by somebody first. What reaches beyond this machine or into a database is never granted unseen, reading
    included: an address or a query can carry out what was read before. Commands neither.

    In a session about a task nothing is granted and nobody is asked, whatever its profile says: what its person
    holds is not what was handed down.
    """
    if session.lineage is not None:
        return Decision.DENY
    match session.profile:
        case "open":
            return Decision.GRANT
        case "careful" if tool.read_only and needed.type not in SEEN_FIRST and _within(session, needed):
            return Decision.GRANT
        case "careful" | "ask":
            return Decision.ASK
        case _:
            return Decision.DENY


def _within(session: Session, needed: Resource) -> bool:
    if needed.type != "fs":
        return True
    cwd = str(session.metadata.get("cwd", "")).strip("/")
    return bool(cwd) and (needed.path == cwd or needed.path.startswith(f"{cwd}/"))
