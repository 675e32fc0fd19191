"""Each route is one command of the node, asked with the rights of the login."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Answer
from mcp_interface.capability import Capability, Explanation, Sealed, Verdict
from mcp_interface.commands import (
    AddServer,
    AnswerApproval,
    AuditReport,
    CallOutcome,
    CallTool,
    CancelTurn,
    ChangeSession,
    Command,
    CreateSession,
    EndSession,
    ExplainAccess,
    GetAgent,
    GetSession,
    GetStatus,
    GrantCapability,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListServers,
    ListSessions,
    ListTools,
    ModelStatus,
    NodeStatus,
    Page,
    Posted,
    PostMessage,
    ReadAudit,
    ReadSession,
    RemoveServer,
    RevokeCapability,
    SpawnAgent,
    StopAgent,
    VerifyAudit,
)
from mcp_interface.errors import CODES, InvalidRecord, UmbrellaError
from mcp_interface.events import UserMessage
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    MessageId,
    PrincipalId,
    SessionId,
)
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.tool import text_result
from mcp_web.problem import STATUS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = SessionId("session_" + "1" * 32)
A = AgentId("agent_" + "2" * 32)
U = PrincipalId("user_" + "a" * 32)
C = CapabilityId("cap_" + "3" * 32)
K = ApprovalId("ask_" + "4" * 32)
E = ExecutionId("exec_" + "5" * 32)
URI = "mcp://fs/read/home/me/**"

SESSION = Session(id=S, created_by=U, created_at=NOW, updated_at=NOW)
AGENT = AgentRecord(id=A, type="worker", started_at=NOW)
CAPABILITY = Capability(
    id=C, resource_uri=URI, principal_id=PrincipalId(A), granted_at=NOW, signature=Sealed(b"s3cret")
)
SERVER = ServerStatus(name="git", spec=ServerSpec(command="git-server"), state="ready")
EMPTY: Page[Any] = Page(items=[])
MESSAGE = UserMessage(timestamp=NOW, message_id=MessageId("msg_" + "6" * 32), author=U, text="hello")
RECORD = Record(position=1, stream=f"session:{S}", version=1, epoch=1, event=MESSAGE)
STATUS_NOW = NodeStatus(
    version="1", pid=1, data_dir="/d", started_at=NOW, epoch=1, position=1, owner=U, sessions=0, agents=0,
    servers=0, pending_approvals=0, model=ModelStatus(ready=False, hint="set a key"),
)  # fmt: skip
VERDICT = Verdict(allowed=False, reason="no_capability", message="it holds nothing", needed=URI)
EXPLANATION = Explanation(
    principal_id=PrincipalId(A), resource_uri=URI, verdict=VERDICT, considered=[], chain=[]
)
OUTCOME = CallOutcome(execution_id=E, session_id=S, result=text_result("hi"), duration_ms=1.5)

ROUTES: list[tuple[str, str, Any, int, Command[Any], Any]] = [
    ("GET", "/api/status", None, 200, GetStatus(), STATUS_NOW),
    ("GET", "/api/sessions", None, 200, ListSessions(), Page(items=[SESSION])),
    ("GET", "/api/sessions?limit=2&cursor=x&ended=true", None, 200,
     ListSessions(limit=2, cursor="x", ended=True), EMPTY),
    ("POST", "/api/sessions", {"title": "t", "profile": "ask", "metadata": {"cwd": "/w"}}, 201,
     CreateSession(title="t", profile="ask", metadata={"cwd": "/w"}), SESSION),
    ("GET", f"/api/sessions/{S}", None, 200, GetSession(session_id=S), SESSION),
    ("DELETE", f"/api/sessions/{S}", None, 204, EndSession(session_id=S), None),
    ("PATCH", f"/api/sessions/{S}", {"profile": "open"}, 200, ChangeSession(session_id=S, profile="open"), SESSION),
    ("GET", f"/api/sessions/{S}/events?limit=5&cursor=3", None, 200,
     ReadSession(session_id=S, limit=5, cursor="3"), Page(items=[RECORD])),
    ("POST", f"/api/sessions/{S}/messages", {"text": "hello"}, 202, PostMessage(session_id=S, text="hello"),
     Posted(session_id=S, message_id=MESSAGE.message_id, position=9)),
    ("POST", f"/api/sessions/{S}/cancel", None, 200, CancelTurn(session_id=S), False),
    ("GET", "/api/agents?stopped=true", None, 200, ListAgents(stopped=True), Page(items=[AGENT])),
    ("POST", "/api/agents", {"name": "scout"}, 201, SpawnAgent(name="scout"), AGENT),
    ("GET", "/api/agents/scout", None, 200, GetAgent(agent="scout"), AGENT),
    ("DELETE", f"/api/agents/{A}", None, 204, StopAgent(agent=A), None),
    ("GET", "/api/servers", None, 200, ListServers(), Page(items=[SERVER])),
    ("POST", "/api/servers", {"name": "git", "spec": {"command": "git-server"}}, 201,
     AddServer(name="git", spec=ServerSpec(command="git-server")), SERVER),
    ("DELETE", "/api/servers/git", None, 204, RemoveServer(name="git"), None),
    ("GET", "/api/tools?server=fs", None, 200, ListTools(server="fs"), EMPTY),
    ("POST", "/api/tools/call", {"server": "fs", "tool": "read_file", "arguments": {"path": "/x"}, "as_agent": A},
     200, CallTool(server="fs", tool="read_file", arguments={"path": "/x"}, as_agent=A), OUTCOME),
    ("GET", f"/api/capabilities?principal={A}", None, 200, ListCapabilities(principal=A), Page(items=[CAPABILITY])),
    ("POST", "/api/capabilities", {"agent": A, "resource_uri": URI, "max_uses": 3}, 201,
     GrantCapability(agent=A, resource_uri=URI, max_uses=3), CAPABILITY),
    ("GET", f"/api/capabilities/explain?principal={A}&resource_uri={URI}", None, 200,
     ExplainAccess(principal=A, resource_uri=URI), EXPLANATION),
    ("DELETE", f"/api/capabilities/{C}", None, 204, RevokeCapability(capability_id=C), [C]),
    ("GET", f"/api/approvals?session_id={S}", None, 200, ListApprovals(session_id=S), EMPTY),
    ("POST", f"/api/approvals/{K}", {"allow": False, "reason": "no"}, 204,
     AnswerApproval(approval_id=K, answer=Answer(allow=False, reason="no")), None),
    ("GET", "/api/audit?denied_only=true&kind=access_denied&limit=7", None, 200,
     ReadAudit(denied_only=True, kind="access_denied", limit=7), EMPTY),
    ("GET", "/api/audit/verify", None, 200, VerifyAudit(), AuditReport(ok=True, entries=3, head="ab")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "command", "answer"), ROUTES, ids=[f"{r[0]} {r[1]}" for r in ROUTES]
)
def test_a_route_asks_its_command_and_answers_its_status(
    browse: Callable[..., Any],
    door: Any,
    method: str,
    path: str,
    body: Any,
    status: int,
    command: Command[Any],
    answer: Any,
) -> None:
    async def scenario() -> None:
        door.answers[type(command)] = answer
        async with browse() as http:
            response = await http.request(method, path, json=body)
            assert response.status_code == status, response.text
            assert door.commands() == [command]
            assert response.headers["cache-control"] == "no-store"
            assert (response.content == b"") == (status == 204)

    asyncio.run(scenario())


def test_every_private_route_of_the_description_is_in_the_table_above() -> None:
    from mcp_web.openapi import document

    described = {
        (method.upper(), path.replace("{agent}", "{id}"))
        for path, methods in document()["paths"].items()
        for method in methods
    }
    assert len(described) == len({(route[0], route[1].partition("?")[0]) for route in ROUTES}) + 4, (
        "the four others: /health, two of /api/login, /api/logout"
    )


def test_a_capabilitys_signature_never_leaves(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ListCapabilities] = Page(items=[CAPABILITY])
        async with browse() as http:
            response = await http.get("/api/capabilities")
            assert response.json()["items"][0]["signature"] is None
            assert "s3cret" not in response.text

    asyncio.run(scenario())


def test_events_keep_their_tags(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ReadSession] = Page(items=[RECORD])
        async with browse() as http:
            event = (await http.get(f"/api/sessions/{S}/events")).json()["items"][0]["event"]
            assert (event["event"], event["text"]) == ("message.user", "hello")

    asyncio.run(scenario())


@pytest.mark.parametrize("code", sorted(CODES))
def test_what_the_node_answers_wrong_becomes_its_problem(
    browse: Callable[..., Any], door: Any, code: str
) -> None:
    kind = CODES[code]
    error: UmbrellaError = (
        InvalidRecord("a_rule", "it went wrong", "do this")
        if kind is InvalidRecord
        else kind("it went wrong", "do this")
    )

    async def scenario() -> None:
        door.answers[GetSession] = error
        async with browse() as http:
            response = await http.get(f"/api/sessions/{S}")
            assert response.status_code == STATUS[code]
            assert response.headers["content-type"] == "application/problem+json"
            told = response.json()
            assert (told["code"], told["message"], told["remedy"]) == (code, "it went wrong", "do this")
            assert told["request_id"] == response.headers["x-request-id"]

    asyncio.run(scenario())


def test_a_surprise_says_nothing_about_itself_but_its_request_id(
    browse: Callable[..., Any], door: Any
) -> None:
    async def scenario() -> None:
        door.answers[GetSession] = RuntimeError("password=hunter2")
        async with browse() as http:
            response = await http.get(f"/api/sessions/{S}")
            assert (response.status_code, response.json()["code"]) == (500, "internal")
            assert "hunter2" not in response.text
            assert response.json()["request_id"] == response.headers["x-request-id"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/sessions", {"profile": "nope"}),
        ("POST", "/api/sessions", {"titel": "typo"}),
        ("POST", f"/api/sessions/{S}/messages", {"text": ""}),
        ("POST", f"/api/sessions/{S}/messages", {}),
        ("POST", "/api/capabilities", {"agent": A, "resource_uri": URI, "expires_in_s": 0}),
        ("GET", "/api/sessions?limit=0", None),
        ("GET", "/api/sessions?limit=1001", None),
        ("GET", "/api/sessions?limit=many", None),
        ("GET", "/api/capabilities/explain", None),
    ],
)
def test_a_wrong_request_is_told_which_field_and_never_reaches_the_node(
    browse: Callable[..., Any], door: Any, method: str, path: str, body: Any
) -> None:
    async def scenario() -> None:
        async with browse() as http:
            response = await http.request(method, path, json=body)
            assert (response.status_code, response.json()["code"]) == (400, "invalid_input")
            assert len(response.json()["message"]) > 5
        assert door.commands() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/none", 404), ("POST", "/api/none/at/all", 404), ("PUT", "/api/sessions", 405)],
)
def test_an_unknown_route_is_a_json_problem_and_not_a_page(
    browse: Callable[..., Any], method: str, path: str, status: int
) -> None:
    async def scenario() -> None:
        async with browse() as http:
            response = await http.request(method, path)
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"

    asyncio.run(scenario())


def test_too_large_a_body_is_refused(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse() as http:
            response = await http.post("/api/sessions", content=b" " * (5 * 1024 * 1024))
            assert response.status_code == 413

    asyncio.run(scenario())


def test_the_description_is_served_as_openapi_3_1(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            response = await http.get("/api/openapi.json")
            assert response.json()["openapi"].startswith("3.1")

    asyncio.run(scenario())
