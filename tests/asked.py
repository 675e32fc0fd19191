"""Questions about rights, for tests of what they look like."""

from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_interface.approval import Approval
from mcp_interface.ids import ApprovalId

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HERE = "session_" + "1" * 32
FILE = "mcp://fs/write/proj/a.txt"
FOLDER = "mcp://fs/write/proj/**"


def asked(number: int = 1, **changes: Any) -> Approval:
    """A question about a file."""
    fields: dict[str, Any] = {
        "id": ApprovalId(f"ask_{number:032x}"),
        "session_id": HERE,
        "execution_id": f"exec_{number:032x}",
        "principal_id": "agent_" + "1" * 32,
        "server": "fs",
        "tool": "write_file",
        "arguments": {"path": "/proj/a.txt", "content": "new"},
        "resource_uri": FILE,
        "reason": "it holds nothing",
        "fingerprint": "ff",
        "asked_at": NOW - timedelta(minutes=1) + timedelta(seconds=number),
        "expires_at": NOW + timedelta(minutes=5),
        "effect": "destroys",
        "touches": [FILE],
        "suggestions": [FILE, FOLDER],
        "agent_name": "ann",
    }
    return Approval(**(fields | changes))
