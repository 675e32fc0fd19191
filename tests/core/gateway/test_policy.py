"""What a profile makes of a missing right."""

from typing import Any

import pytest

from mcp_core.gateway.policy import Decision, decide
from mcp_interface.address import parse_resource
from mcp_interface.session import Session
from mcp_interface.testing import START
from mcp_interface.tool import ToolInfo

READS = ToolInfo(server="s", name="t", read_only=True)
WRITES = ToolInfo(server="s", name="t")


def session(profile: Any) -> Session:
    return Session(
        id="session_" + "1" * 32,
        created_by="user_" + "1" * 32,
        created_at=START,
        updated_at=START,
        profile=profile,
        metadata={"cwd": "/home/me/project"},
    )


@pytest.mark.parametrize(
    ("uri", "tool", "decision"),
    [
        ("mcp://fs/read/home/me/project/a", READS, Decision.GRANT),
        ("mcp://fs/read/home/me/project", READS, Decision.GRANT),
        ("mcp://fs/read/home/me/project2/a", READS, Decision.ASK),
        ("mcp://fs/read/home/me", READS, Decision.ASK),
        ("mcp://fs/write/home/me/project/a", WRITES, Decision.ASK),
        ("mcp://tool/execute/git/log", READS, Decision.GRANT),
        ("mcp://tool/execute/git/push", WRITES, Decision.ASK),
        ("mcp://api/get/https/example.org/collect", READS, Decision.ASK),
        ("mcp://api/post/https/example.org/collect", WRITES, Decision.ASK),
        ("mcp://db/query/main/people", READS, Decision.ASK),
        ("mcp://db/list/main", READS, Decision.ASK),
        ("mcp://shell/execute/usr/bin/cat", READS, Decision.ASK),
    ],
)
def test_careful_grants_what_reads_here_and_asks_before_anything_can_leave(
    uri: str, tool: ToolInfo, decision: Decision
) -> None:
    assert decide(session("careful"), tool, parse_resource(uri)) is decision


@pytest.mark.parametrize(
    ("profile", "decision"),
    [("open", Decision.GRANT), ("ask", Decision.ASK), ("locked", Decision.DENY)],
)
@pytest.mark.parametrize("uri", ["mcp://fs/read/home/me/project/a", "mcp://api/get/https/example.org/x"])
def test_the_other_profiles_make_no_difference(profile: str, decision: Decision, uri: str) -> None:
    assert decide(session(profile), READS, parse_resource(uri)) is decision
