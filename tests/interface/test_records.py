"""Every rule of every record: the record that keeps it passes, the one that breaks it names the rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from mcp_interface import (
    SYSTEM,
    AgentId,
    AgentRecord,
    Capability,
    CapabilityId,
    Envelope,
    ErrorBody,
    ExecutionChanged,
    ExecutionId,
    InvalidRecord,
    Limits,
    MessageId,
    PrincipalId,
    ServerSpec,
    Session,
    SessionId,
    ToolResult,
    Validatable,
    new_id,
)
from mcp_interface.errors import WrongState
from mcp_interface.session import check_open
from mcp_interface.testing import SeededEntropy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
E = SeededEntropy()
AGENT, USER, SESSION = (
    AgentId(new_id("agent", E)),
    PrincipalId(new_id("user", E)),
    SessionId(new_id("session", E)),
)

CAPABILITY = Capability(
    id=CapabilityId(new_id("cap", E)),
    resource_uri="mcp://fs/read/home/**",
    principal_id=PrincipalId(AGENT),
    granted_at=NOW,
)
ENVELOPE = Envelope(id=MessageId(new_id("msg", E)), to=f"mcp://agent/{AGENT}", sender=USER, timestamp=NOW)
RECORD = AgentRecord(id=AGENT, type="worker", started_at=NOW)
CONVERSATION = Session(id=SESSION, created_by=USER, created_at=NOW, updated_at=NOW)
EXECUTION = ExecutionChanged(
    timestamp=NOW,
    execution_id=ExecutionId(new_id("exec", E)),
    session_id=SESSION,
    principal_id=USER,
    status="started",
)
STDIO, HTTP = ServerSpec(command="git-server"), ServerSpec(url="https://example.org/mcp")
FAILED = ErrorBody(code="timeout", message="too slow")


@pytest.mark.parametrize(
    "record",
    [
        CAPABILITY,
        msgspec.structs.replace(CAPABILITY, delegation_depth=0, principal_id=SYSTEM),
        msgspec.structs.replace(CAPABILITY, delegation_depth=10, principal_id=USER),
        msgspec.structs.replace(CAPABILITY, expires_at=NOW + timedelta(microseconds=1)),
        ENVELOPE,
        msgspec.structs.replace(ENVELOPE, to="mcp://broadcast/topic", sender="system"),
        msgspec.structs.replace(ENVELOPE, sender=f"mcp://agent/{AGENT}"),
        RECORD,
        msgspec.structs.replace(RECORD, parent_id=AGENT, session_id=SESSION),
        CONVERSATION,
        msgspec.structs.replace(CONVERSATION, agents=[AGENT] * 2, limits=Limits(max_agents=2)),
        EXECUTION,
        msgspec.structs.replace(EXECUTION, status="progress", progress=100.0),
        msgspec.structs.replace(EXECUTION, status="completed", result=ToolResult()),
        msgspec.structs.replace(EXECUTION, status="failed", error=FAILED),
        STDIO,
        HTTP,
        msgspec.structs.replace(STDIO, type="stdio", timeout=1),
        msgspec.structs.replace(HTTP, type="streamable-http"),
        msgspec.structs.replace(HTTP, type="http", url="${HOST}/mcp"),
    ],
)
def test_a_record_that_keeps_its_rules_is_valid(record: Validatable) -> None:
    record.validate()


@pytest.mark.parametrize(
    ("record", "rule", "change"),
    [
        (CAPABILITY, "invalid_capability_id", {"id": "cap_1"}),
        (CAPABILITY, "invalid_capability_id", {"id": AGENT}),
        (CAPABILITY, "invalid_resource_uri", {"resource_uri": "mcp://fs/read/../x"}),
        (CAPABILITY, "invalid_principal_id", {"principal_id": "nobody"}),
        (CAPABILITY, "invalid_principal_id", {"principal_id": SESSION}),
        (CAPABILITY, "expires_before_granted", {"expires_at": NOW}),
        (CAPABILITY, "expires_before_granted", {"expires_at": NOW - timedelta(days=1)}),
        (CAPABILITY, "invalid_delegation_depth", {"delegation_depth": -1}),
        (CAPABILITY, "invalid_delegation_depth", {"delegation_depth": 1001}),
        (ENVELOPE, "invalid_to_uri", {"to": "agent"}),
        (ENVELOPE, "invalid_to_uri", {"to": USER}),
        (ENVELOPE, "invalid_from_uri", {"sender": "somebody"}),
        (ENVELOPE, "invalid_from_uri", {"sender": "mcp://broadcast/topic"}),
        (RECORD, "invalid_agent_id", {"id": USER}),
        (RECORD, "invalid_parent_id", {"parent_id": "agent"}),
        (RECORD, "invalid_session_id", {"session_id": ""}),
        (CONVERSATION, "invalid_session_id", {"id": "session"}),
        (CONVERSATION, "invalid_principal_id", {"created_by": "me"}),
        (CONVERSATION, "too_many_agents", {"agents": [AGENT] * 11}),
        (CONVERSATION, "updated_before_created", {"updated_at": NOW - timedelta(seconds=1)}),
        (EXECUTION, "invalid_progress", {"progress": -0.1}),
        (EXECUTION, "invalid_progress", {"progress": 100.1}),
        (EXECUTION, "invalid_progress", {"progress": float("nan")}),
        (EXECUTION, "result_without_completion", {"result": ToolResult()}),
        (EXECUTION, "result_without_completion", {"status": "completed"}),
        (EXECUTION, "error_without_failure", {"error": FAILED}),
        (EXECUTION, "error_without_failure", {"status": "failed"}),
        (STDIO, "command_or_url", {"command": None}),
        (STDIO, "command_or_url", {"url": "https://example.org"}),
        (STDIO, "type_mismatch", {"type": "http"}),
        (HTTP, "type_mismatch", {"type": "stdio"}),
        (HTTP, "invalid_url", {"url": "ftp://example.org"}),
        (STDIO, "invalid_timeout", {"timeout": 0}),
    ],
)
def test_a_broken_rule_is_named(record: Any, rule: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord) as caught:
        msgspec.structs.replace(record, **change).validate()
    assert caught.value.rule == rule
    assert caught.value.details["rule"] == rule


def test_a_server_knows_its_transport() -> None:
    assert (STDIO.transport, HTTP.transport) == ("stdio", "http")


@pytest.mark.parametrize("status", ["suspended", "terminating", "terminated", "error"])
def test_nothing_begins_in_a_session_that_is_not_open(status: str) -> None:
    check_open(CONVERSATION)
    with pytest.raises(WrongState) as refused:
        check_open(msgspec.structs.replace(CONVERSATION, status=status))
    assert SESSION in refused.value.message and refused.value.remedy
