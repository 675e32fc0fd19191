"""Each route is one command of the node, asked with the rights of the login."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from mcp_interface.agent import AgentRecord
from mcp_interface.approval import Answer
from mcp_interface.capability import AuditEntry, Capability, Explanation, Sealed, Verdict
from mcp_interface.codec import decode_json
from mcp_interface.commands import (
    AcceptTool,
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
    ForgetRefusal,
    ForkSession,
    GetAgent,
    GetSession,
    GetStatus,
    GetStorage,
    GrantCapability,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListRefusals,
    ListServers,
    ListSessions,
    ListToolChanges,
    ListTools,
    ModelStatus,
    NodeStatus,
    Page,
    Posted,
    PostMessage,
    ReadAudit,
    ReadSession,
    RebuildStorage,
    Refusal,
    RemoveServer,
    ResumeSession,
    RevokeCapability,
    SendMessage,
    SpawnAgent,
    StopAgent,
    StorageCheck,
    SuspendSession,
    ToolChange,
    VerifyAudit,
    VerifyStorage,
    Wish,
)
from mcp_interface.errors import CODES, InvalidRecord, UmbrellaError
from mcp_interface.events import UserMessage
from mcp_interface.execution import CancelExecution, Execution, GetExecution, ListExecutions, StartExecution
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    MessageId,
    PrincipalId,
    SessionId,
)
from mcp_interface.observe import (
    ActorStatus,
    Branch,
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    LostMessage,
    ObserveRuntime,
    ResendLost,
    RuntimeStatus,
    SeenMessage,
    WatchActor,
)
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_interface.session import Session
from mcp_interface.store import Record, StoreReport
from mcp_interface.tool import ToolInfo, text_result
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
TOOL = ToolInfo(server="git", name="log")
CHANGE = ToolChange(server="git", tool="log", before=TOOL, now=TOOL, fingerprint="ab", diff="-a\n+b")
REFUSAL = Refusal(
    principal_id=PrincipalId(A), server="git", tool="log", fingerprint="ab", reason="no", by=U, since=NOW
)
STORAGE = StoreReport(kind="segments", state="read_only", reason="the disk is full", head=3, streams=1)
EXECUTION = Execution(id=E, session_id=S, principal_id=U, server="fs", tool="read_file", accepted_at=NOW)
RUNTIME = RuntimeStatus(
    at=NOW, uptime_s=1.0, actors=1, suspended=0, threads=0, dead_letters=1, memory=1, worst_block_s=0.0,
    tree=Branch(name="node", strategy="dynamic", failures=0, total=1, actors=[
        ActorStatus(name=A, type="AgentActor", state="idle", mail=0, handled=1, restarts=0)
    ]),
)  # fmt: skip
SEEN = SeenMessage(at=NOW, message="'hello'", sender=U, duration_s=0.1, outcome="ok")
LOST = LostMessage(number=7, at=NOW, to=A, message="'hello'", reason="not_found")
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
    ("DELETE", f"/api/sessions/{S}?cleanup=force", None, 204, EndSession(session_id=S, cleanup="force"), None),
    ("POST", f"/api/sessions/{S}/suspend", None, 200, SuspendSession(session_id=S), SESSION),
    ("POST", f"/api/sessions/{S}/resume", None, 200, ResumeSession(session_id=S), SESSION),
    ("POST", f"/api/sessions/{S}/fork", {"version": 3, "title": "b"}, 201,
     ForkSession(session_id=S, version=3, title="b"), SESSION),
    ("POST", f"/api/sessions/{S}/fork", {}, 201, ForkSession(session_id=S), SESSION),
    ("PATCH", f"/api/sessions/{S}", {"profile": "open"}, 200, ChangeSession(session_id=S, profile="open"), SESSION),
    ("GET", f"/api/sessions/{S}/events?limit=5&cursor=3", None, 200,
     ReadSession(session_id=S, limit=5, cursor="3"), Page(items=[RECORD])),
    ("POST", f"/api/sessions/{S}/messages", {"text": "hello"}, 202, PostMessage(session_id=S, text="hello"),
     Posted(session_id=S, message_id=MESSAGE.message_id, position=9)),
    ("POST", f"/api/sessions/{S}/cancel", None, 200, CancelTurn(session_id=S), False),
    ("GET", "/api/agents?stopped=true", None, 200, ListAgents(stopped=True), Page(items=[AGENT])),
    ("POST", "/api/agents", {"name": "scout"}, 201, SpawnAgent(name="scout"), AGENT),
    ("POST", "/api/agents",
     {"parent": "lead", "grants": [{"resource_uri": URI, "expires_in_s": 60, "constraints": {"max_uses": 2}}]}, 201,
     SpawnAgent(parent="lead", grants=[Wish(resource_uri=URI, expires_in_s=60, constraints={"max_uses": 2})]), AGENT),
    ("GET", "/api/agents/scout", None, 200, GetAgent(agent="scout"), AGENT),
    ("DELETE", f"/api/agents/{A}", None, 204, StopAgent(agent=A), None),
    ("GET", "/api/servers", None, 200, ListServers(), Page(items=[SERVER])),
    ("POST", "/api/servers", {"name": "git", "spec": {"command": "git-server"}}, 201,
     AddServer(name="git", spec=ServerSpec(command="git-server")), SERVER),
    ("DELETE", "/api/servers/git", None, 204, RemoveServer(name="git"), None),
    ("GET", "/api/tools?server=fs", None, 200, ListTools(server="fs"), EMPTY),
    ("POST", "/api/tools/call", {"server": "fs", "tool": "read_file", "arguments": {"path": "/x"}, "as_agent": A},
     200, CallTool(server="fs", tool="read_file", arguments={"path": "/x"}, as_agent=A), OUTCOME),
    ("GET", f"/api/executions?session_id={S}&status=RUNNING&limit=5&cursor=5", None, 200,
     ListExecutions(session_id=S, status="RUNNING", limit=5, cursor="5"), Page(items=[EXECUTION])),
    ("POST", "/api/executions", {"server": "fs", "tool": "read_file", "session_id": S, "timeout_ms": 5}, 202,
     StartExecution(server="fs", tool="read_file", session_id=S, timeout_ms=5), EXECUTION),
    ("GET", f"/api/executions/{E}", None, 200, GetExecution(execution_id=E), EXECUTION),
    ("GET", f"/api/executions/{E}?wait=2.5", None, 200, GetExecution(execution_id=E, wait_s=2.5), EXECUTION),
    ("POST", f"/api/executions/{E}/cancel", None, 200, CancelExecution(execution_id=E), EXECUTION),
    ("GET", "/api/tools/changes?limit=5", None, 200, ListToolChanges(limit=5), Page(items=[CHANGE])),
    ("POST", "/api/tools/accept", {"server": "git", "tool": "log", "fingerprint": "ab"}, 200,
     AcceptTool(server="git", tool="log", fingerprint="ab"), TOOL),
    ("GET", f"/api/capabilities?principal={A}", None, 200, ListCapabilities(principal=A), Page(items=[CAPABILITY])),
    ("POST", "/api/capabilities", {"agent": A, "resource_uri": URI, "max_uses": 3}, 201,
     GrantCapability(agent=A, resource_uri=URI, max_uses=3), CAPABILITY),
    ("POST", "/api/capabilities", {"agent": A, "resource_uri": URI, "constraints": {"max_bytes": 9}}, 201,
     GrantCapability(agent=A, resource_uri=URI, constraints={"max_bytes": 9}), CAPABILITY),
    ("GET", f"/api/capabilities/explain?principal={A}&resource_uri={URI}", None, 200,
     ExplainAccess(principal=A, resource_uri=URI), EXPLANATION),
    ("DELETE", f"/api/capabilities/{C}", None, 204, RevokeCapability(capability_id=C), [C]),
    ("GET", f"/api/approvals?session_id={S}", None, 200, ListApprovals(session_id=S), EMPTY),
    ("POST", f"/api/approvals/{K}", {"allow": False, "reason": "no"}, 204,
     AnswerApproval(approval_id=K, answer=Answer(allow=False, reason="no")), None),
    ("POST", f"/api/approvals/{K}", {"allow": True, "remember": "session", "any_arguments": True}, 204,
     AnswerApproval(approval_id=K, answer=Answer(allow=True, remember="session", any_arguments=True)), None),
    ("POST", f"/api/approvals/{K}", {"allow": False, "remember": "always"}, 204,
     AnswerApproval(approval_id=K, answer=Answer(allow=False, remember="always")), None),
    ("GET", "/api/refusals?limit=5&cursor=5", None, 200, ListRefusals(limit=5, cursor="5"), Page(items=[REFUSAL])),
    ("DELETE", f"/api/refusals/{A}/ab", None, 204,
     ForgetRefusal(principal_id=PrincipalId(A), fingerprint="ab"), None),
    ("GET", "/api/audit?denied_only=true&kind=access_denied&limit=7", None, 200,
     ReadAudit(denied_only=True, kind="access_denied", limit=7), EMPTY),
    ("GET", "/api/audit?since=2026-01-01T00:00:00Z&until=2026-01-01T02:00:00%2B01:00&oldest_first=true", None, 200,
     ReadAudit(since=NOW, until=NOW + timedelta(hours=1), oldest_first=True), EMPTY),
    ("GET", "/api/audit/verify", None, 200, VerifyAudit(), AuditReport(ok=True, entries=3, head="ab")),
    ("GET", "/api/storage", None, 200, GetStorage(), STORAGE),
    ("POST", "/api/storage/verify", None, 200, VerifyStorage(), StorageCheck(ok=False, problem="a bit was changed")),
    ("POST", "/api/storage/rebuild", None, 200, RebuildStorage(), STORAGE),
    ("GET", "/api/runtime", None, 200, ObserveRuntime(), RUNTIME),
    ("GET", "/api/runtime?order=restarts&limit=5&match=ann&memory=true", None, 200,
     ObserveRuntime(order="restarts", limit=5, match="ann", memory=True), RUNTIME),
    ("POST", "/api/runtime/kill", {"name": A}, 204, KillActor(name=A), None),
    ("POST", "/api/runtime/watch", {"name": A, "on": False}, 204, WatchActor(name=A, on=False), None),
    ("GET", f"/api/runtime/seen?name={A}", None, 200, ListSeen(name=A), [SEEN]),
    ("GET", f"/api/runtime/lost?to={A}&limit=5&cursor=3", None, 200,
     ListLost(to=A, limit=5, cursor="3"), Page(items=[LOST])),
    ("POST", "/api/runtime/lost/7/resend", None, 200, ResendLost(number=7), LOST),
    ("DELETE", "/api/runtime/lost/7", None, 200, ForgetLost(number=7), LOST),
    ("POST", "/api/messages", {"to": f"mcp://agent/{A}", "payload": {"a": [1]}}, 200,
     SendMessage(to=f"mcp://agent/{A}", payload={"a": [1]}), 1),
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


ELSEWHERE = (
    "/api/keys",
    "/api/prompts",
    "/api/publications",
    "/api/questions",
    "/api/resources",
    "/api/servers/{name}/login",
    "/oauth/",
)
"""Routes whose tests are in modules of their own."""


def test_every_private_route_of_the_description_is_in_the_table_above() -> None:
    from mcp_web.openapi import document

    described = {
        (method.upper(), path.replace("{agent}", "{id}"))
        for path, methods in document()["paths"].items()
        for method in methods
        if not path.startswith(ELSEWHERE)
    }
    assert len(described) == len({(route[0], route[1].partition("?")[0]) for route in ROUTES}) + 5, (
        "the five others: /health, two of /api/login, /api/logout, /api/audit/export"
    )


def entry(seq: int) -> AuditEntry:
    return AuditEntry(seq=seq, time=NOW, kind="access_denied", principal_id=U)


class Trail:
    """Answers pages of a trail that grows by one entry with every question."""

    def __init__(self, entries: int, limit: int) -> None:
        self.entries = [entry(seq) for seq in range(1, entries + 1)]
        self.limit = limit
        self.breaks = 0

    def __call__(self, command: ReadAudit) -> Page[AuditEntry]:
        self.entries.append(entry(len(self.entries) + 1))
        if not command.oldest_first:
            return Page(items=self.entries[-2:-1])
        start = int(command.cursor or 0)
        if self.breaks and start >= self.breaks:
            raise UmbrellaError("the disk is gone")
        end = start + self.limit
        return Page(items=self.entries[start:end], cursor=str(end) if end < len(self.entries) else None)


def test_an_export_has_every_entry_of_its_moment_oldest_first_and_ends_although_more_are_written(
    browse: Callable[..., Any], door: Any
) -> None:
    async def scenario() -> None:
        door.answers[ReadAudit] = Trail(25, limit=10)
        async with browse() as http:
            response = await http.get("/api/audit/export?kind=access_denied&since=2026-01-01T00:00:00Z")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("application/x-ndjson")
        assert response.headers["content-disposition"] == 'attachment; filename="umbrella-audit.jsonl"'
        assert response.headers["cache-control"] == "no-store"
        lines = response.text.splitlines()
        assert [decode_json(line, AuditEntry) for line in lines] == [entry(seq) for seq in range(1, 26)]
        _, *pages = door.commands()
        assert {(page.kind, page.since, page.oldest_first) for page in pages} == {
            ("access_denied", NOW, True)
        }

    asyncio.run(scenario())


def test_an_export_of_nothing_is_empty(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ReadAudit] = EMPTY
        async with browse() as http:
            response = await http.get("/api/audit/export")
            assert (response.status_code, response.content) == (200, b"")

    asyncio.run(scenario())


def test_an_export_that_cannot_begin_is_a_problem_and_not_a_file(
    browse: Callable[..., Any], door: Any
) -> None:
    async def scenario() -> None:
        door.answers[ReadAudit] = CODES["denied"]("that is not yours")
        async with browse() as http:
            response = await http.get("/api/audit/export")
            assert (response.status_code, response.json()["code"]) == (403, "denied")
            assert "content-disposition" not in response.headers

    asyncio.run(scenario())


def test_an_export_that_breaks_off_is_never_taken_for_a_whole_one(
    listening: Callable[[], Any], door: Any
) -> None:
    trail = Trail(25, limit=10)
    trail.breaks = 10
    door.answers[ReadAudit] = trail

    async def scenario() -> None:
        async with listening() as port, httpx.AsyncClient() as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(
                    f"http://127.0.0.1:{port}/api/audit/export", headers={"authorization": "Bearer key-1"}
                )

    asyncio.run(scenario())


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
        ("POST", "/api/agents", {"grants": [{"resource_uri": URI, "expires_in": 5}]}),
        ("POST", "/api/agents", {"grants": [{"resource_uri": URI}] * 101}),
        ("POST", "/api/tools/accept", {"server": "git", "tool": "log"}),
        ("GET", "/api/audit?since=yesterday", None),
        ("GET", "/api/runtime?order=size", None),
        ("GET", "/api/runtime/seen", None),
        ("POST", "/api/runtime/kill", {"name": ""}),
        ("POST", "/api/runtime/watch", {"name": A, "off": True}),
        ("POST", "/api/messages", {"payload": 1}),
        ("GET", "/api/audit?since=2026-01-01T00:00:00", None),
        ("GET", "/api/audit/export?until=2026-13-01T00:00:00Z", None),
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


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"grants": [' + b'{"constraints":' * 50_000])
def test_too_deep_a_body_is_a_mistake_of_the_caller(
    browse: Callable[..., Any], door: Any, body: bytes
) -> None:
    async def scenario() -> None:
        async with browse() as http:
            response = await http.post(
                "/api/agents", content=body, headers={"content-type": "application/json"}
            )
            assert (response.status_code, response.json()["code"]) == (400, "invalid_input")
            assert "nested" in response.json()["message"]
        assert door.commands() == []

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
