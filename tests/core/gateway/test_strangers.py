"""What somebody with an API key and no right at all gets out of a node: every command, one by one.

A new command without an entry here fails: whoever adds one has to say what a stranger may do with it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from mcp_core import Node, Settings
from mcp_interface.access import (
    CreateKey,
    ListKeys,
    ListPublications,
    Publish,
    RevokeKey,
    Unpublish,
)
from mcp_interface.approval import Answer
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.client import AnyCommand, Client, ClientInfo
from mcp_interface.commands import (
    AcceptTool,
    AddServer,
    AnswerApproval,
    CallTool,
    CancelTurn,
    ChangeSession,
    CheckLogin,
    Command,
    CreateLogin,
    CreateSession,
    DiagnoseServer,
    EndLogin,
    EndSession,
    ExplainAccess,
    ForgetRefusal,
    ForkSession,
    GetAgent,
    GetHealth,
    GetMetrics,
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
    PostMessage,
    ReadAudit,
    ReadSession,
    RebuildStorage,
    RedeemLogin,
    RemoveServer,
    RestartServer,
    ResumeSession,
    RevokeCapability,
    SendMessage,
    ShareVariables,
    SpawnAgent,
    StopAgent,
    StopNode,
    SuspendSession,
    VerifyAudit,
    VerifyStorage,
)
from mcp_interface.conversing import (
    CompactWindow,
    GetUsage,
    GetWindow,
    ImportedMessage,
    ImportSession,
    ListModels,
    RetryTurn,
    SearchMessages,
)
from mcp_interface.errors import LoginRequired, NotFound, NotPermitted, OurBug
from mcp_interface.execution import (
    AnswerQuestion,
    CancelExecution,
    GetExecution,
    ListExecutions,
    ListQuestions,
    StartExecution,
)
from mcp_interface.ids import ApprovalId, PrincipalId, QuestionId
from mcp_interface.key import Publication
from mcp_interface.observe import (
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    ObserveRuntime,
    ResendLost,
    WatchActor,
)
from mcp_interface.plan import CheckpointStep
from mcp_interface.planning import (
    AnswerStep,
    ApprovePlan,
    CancelPlan,
    ChangePlan,
    DraftPlan,
    DryRunPlan,
    GetPlan,
    ListPlans,
    Step,
)
from mcp_interface.question import Response
from mcp_interface.reading import (
    Complete,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListTemplates,
    ReadResource,
    UnwatchResource,
    WatchResource,
)
from mcp_interface.secret import FinishLogin, ListSecrets, LoginServer, PutSecret, RemoveSecret
from mcp_interface.server import ServerSpec
from mcp_interface.team import CancelTask, GiveTask, ListTasks
from strangers import ITEM, PROMPT, SECRET, Owned, with_a_stranger

Make = Callable[[Owned], Command[Any]]
EMPTY: Final = "an empty list"
OWN: Final = "what is the stranger's own"
NOTHING: Final = "no answer, because there is nothing to do"
ASKED: Final[dict[type[Command[Any]], tuple[Make, Any]]] = {
    GetStatus: (lambda has: GetStatus(), NotPermitted),
    GetHealth: (lambda has: GetHealth(), NotPermitted),
    GetMetrics: (lambda has: GetMetrics(), NotPermitted),
    StopNode: (lambda has: StopNode(), NotPermitted),
    ShareVariables: (lambda has: ShareVariables(variables={"A": "b"}), NotPermitted),
    CreateLogin: (lambda has: CreateLogin(), NotPermitted),
    RedeemLogin: (lambda has: RedeemLogin(code="none"), LoginRequired),
    CheckLogin: (lambda has: CheckLogin(key="none"), LoginRequired),
    EndLogin: (lambda has: EndLogin(key="none"), NOTHING),
    CreateSession: (lambda has: CreateSession(title="mine"), OWN),
    ListSessions: (lambda has: ListSessions(ended=True), OWN),
    GetSession: (lambda has: GetSession(session_id=has.session), NotFound),
    ReadSession: (lambda has: ReadSession(session_id=has.session), NotFound),
    EndSession: (lambda has: EndSession(session_id=has.session), NotFound),
    SuspendSession: (lambda has: SuspendSession(session_id=has.session), NotFound),
    ResumeSession: (lambda has: ResumeSession(session_id=has.session), NotFound),
    ForkSession: (lambda has: ForkSession(session_id=has.session), NotFound),
    ChangeSession: (lambda has: ChangeSession(session_id=has.session, title="x"), NotFound),
    PostMessage: (lambda has: PostMessage(session_id=has.session, text="hello"), NotFound),
    RetryTurn: (lambda has: RetryTurn(session_id=has.session), NotFound),
    CompactWindow: (lambda has: CompactWindow(session_id=has.session), NotFound),
    GetWindow: (lambda has: GetWindow(session_id=has.session), NotFound),
    GetUsage: (lambda has: GetUsage(session_id=has.session), NotFound),
    CancelTurn: (lambda has: CancelTurn(session_id=has.session), NotFound),
    ListApprovals: (lambda has: ListApprovals(), EMPTY),
    AnswerApproval: (
        lambda has: AnswerApproval(approval_id=ApprovalId("ask_" + "1" * 32), answer=Answer(allow=True)),
        NotFound,
    ),
    AddServer: (lambda has: AddServer(name="x", spec=ServerSpec(command="true")), NotPermitted),
    RemoveServer: (lambda has: RemoveServer(name="hidden"), NotPermitted),
    RestartServer: (lambda has: RestartServer(name="hidden"), NotPermitted),
    ListServers: (lambda has: ListServers(), EMPTY),
    DiagnoseServer: (lambda has: DiagnoseServer(name="hidden"), NotPermitted),
    LoginServer: (lambda has: LoginServer(name="hidden", redirect_url="http://127.0.0.1/x"), NotPermitted),
    FinishLogin: (lambda has: FinishLogin(name="hidden", callback_url="http://127.0.0.1/x"), NotPermitted),
    PutSecret: (lambda has: PutSecret(name="a", value="b"), NotPermitted),
    ListSecrets: (lambda has: ListSecrets(), NotPermitted),
    RemoveSecret: (lambda has: RemoveSecret(name="a"), NotPermitted),
    ListTools: (lambda has: ListTools(), EMPTY),
    CallTool: (lambda has: CallTool(server="hidden", tool="x"), NotFound),
    StartExecution: (lambda has: StartExecution(server="hidden", tool="x"), NotFound),
    GetExecution: (lambda has: GetExecution(execution_id=has.execution), NotFound),
    ListExecutions: (lambda has: ListExecutions(), EMPTY),
    CancelExecution: (lambda has: CancelExecution(execution_id=has.execution), NotFound),
    ListQuestions: (lambda has: ListQuestions(), EMPTY),
    AnswerQuestion: (
        lambda has: AnswerQuestion(
            question_id=QuestionId("question_" + "1" * 32), response=Response(action="decline")
        ),
        NotFound,
    ),
    ListResources: (lambda has: ListResources(), EMPTY),
    ListTemplates: (lambda has: ListTemplates(), EMPTY),
    ReadResource: (lambda has: ReadResource(server="catalog", uri=ITEM), NotFound),
    WatchResource: (lambda has: WatchResource(server="catalog", uri=ITEM), NotFound),
    UnwatchResource: (lambda has: UnwatchResource(server="catalog", uri=ITEM), NOTHING),
    ListPrompts: (lambda has: ListPrompts(), EMPTY),
    GetPrompt: (lambda has: GetPrompt(server="catalog", name=PROMPT), NotFound),
    Complete: (lambda has: Complete(server="catalog", kind="prompt", name=PROMPT, argument="a"), NotFound),
    CreateItem: (lambda has: CreateItem(uri="note:mine", kind="text", name="mine", text="x"), OWN),
    ChangeItem: (lambda has: ChangeItem(uri=ITEM, name="x"), NotFound),
    DeleteItem: (lambda has: DeleteItem(uri=ITEM), NotFound),
    GetItem: (lambda has: GetItem(uri=ITEM), NotFound),
    ListItems: (lambda has: ListItems(), OWN),
    CountItems: (lambda has: CountItems(), OWN),
    CreatePrompt: (lambda has: CreatePrompt(name="mine", template="hello"), OWN),
    ChangePrompt: (lambda has: ChangePrompt(name=PROMPT, title="x"), NotFound),
    RevertPrompt: (lambda has: RevertPrompt(name=PROMPT, version=1), NotFound),
    DeletePrompt: (lambda has: DeletePrompt(name=PROMPT), NotFound),
    GetStoredPrompt: (lambda has: GetStoredPrompt(name=PROMPT), NotFound),
    RenderPrompt: (lambda has: RenderPrompt(name=PROMPT), NotFound),
    ListPromptVersions: (lambda has: ListPromptVersions(name=PROMPT), NotFound),
    ListModels: (lambda has: ListModels(), NotPermitted),
    ListStoredPrompts: (lambda has: ListStoredPrompts(), OWN),
    CountPrompts: (lambda has: CountPrompts(), OWN),
    CreateKey: (lambda has: CreateKey(name="x", principal_id=has.owner), NotPermitted),
    ListKeys: (lambda has: ListKeys(), NotPermitted),
    RevokeKey: (lambda has: RevokeKey(key=has.key), NotPermitted),
    Publish: (lambda has: Publish(publication=Publication(name="x", tools=["*"])), NotPermitted),
    Unpublish: (lambda has: Unpublish(name="hers"), NotPermitted),
    ListPublications: (lambda has: ListPublications(), EMPTY),
    ListToolChanges: (lambda has: ListToolChanges(), NotPermitted),
    AcceptTool: (lambda has: AcceptTool(server="hidden", tool="x", fingerprint="0"), NotPermitted),
    ListRefusals: (lambda has: ListRefusals(), EMPTY),
    ForgetRefusal: (lambda has: ForgetRefusal(principal_id=has.owner, fingerprint="0"), NOTHING),
    SearchMessages: (lambda has: SearchMessages(text="hers"), EMPTY),
    ImportSession: (
        lambda has: ImportSession(messages=[ImportedMessage(role="user", content="mine")]),
        NotPermitted,
    ),
    GiveTask: (lambda has: GiveTask(session_id=has.session, goal="x"), NotFound),
    ListTasks: (lambda has: ListTasks(), EMPTY),
    CancelTask: (lambda has: CancelTask(task_id=has.task), NotFound),
    DraftPlan: (
        lambda has: DraftPlan(
            session_id=has.session, title="x", steps=[Step(work=CheckpointStep(question="?"))]
        ),
        NotFound,
    ),
    GetPlan: (lambda has: GetPlan(plan_id=has.plan), NotFound),
    ListPlans: (lambda has: ListPlans(), EMPTY),
    ChangePlan: (
        lambda has: ChangePlan(plan_id=has.plan, steps=[Step(work=CheckpointStep(question="?"))]),
        NotFound,
    ),
    DryRunPlan: (lambda has: DryRunPlan(plan_id=has.plan), NotFound),
    ApprovePlan: (lambda has: ApprovePlan(plan_id=has.plan), NotFound),
    AnswerStep: (lambda has: AnswerStep(plan_id=has.plan, answer="go_on"), NotFound),
    CancelPlan: (lambda has: CancelPlan(plan_id=has.plan), NotFound),
    SpawnAgent: (lambda has: SpawnAgent(name="x"), NotPermitted),
    ListAgents: (lambda has: ListAgents(stopped=True), OWN),
    GetAgent: (lambda has: GetAgent(agent=has.agent), NotFound),
    StopAgent: (lambda has: StopAgent(agent=has.agent), NotFound),
    SendMessage: (lambda has: SendMessage(to=f"mcp://agent/{has.agent}"), NotFound),
    GrantCapability: (
        lambda has: GrantCapability(agent=has.agent, resource_uri="mcp://fs/read/etc/**"),
        NotFound,
    ),
    ListCapabilities: (lambda has: ListCapabilities(), NotPermitted),
    RevokeCapability: (lambda has: RevokeCapability(capability_id=has.capability), NotPermitted),
    ExplainAccess: (
        lambda has: ExplainAccess(principal=has.owner, resource_uri="mcp://fs/read/etc/**"),
        NotPermitted,
    ),
    ReadAudit: (lambda has: ReadAudit(), NotPermitted),
    VerifyAudit: (lambda has: VerifyAudit(), NotPermitted),
    GetStorage: (lambda has: GetStorage(), NotPermitted),
    VerifyStorage: (lambda has: VerifyStorage(), NotPermitted),
    RebuildStorage: (lambda has: RebuildStorage(), NotPermitted),
    ObserveRuntime: (lambda has: ObserveRuntime(), NotPermitted),
    WatchActor: (lambda has: WatchActor(name="x", on=True), NotPermitted),
    ListSeen: (lambda has: ListSeen(name="x"), NotPermitted),
    KillActor: (lambda has: KillActor(name="x"), NotPermitted),
    ListLost: (lambda has: ListLost(), NotPermitted),
    ResendLost: (lambda has: ResendLost(number=1), NotPermitted),
    ForgetLost: (lambda has: ForgetLost(number=1), NotPermitted),
}


def test_every_command_says_what_a_stranger_gets() -> None:
    missing = {kind.__name__ for kind in get_args(AnyCommand)} - {kind.__name__ for kind in ASKED}
    assert not missing, f"say what a stranger gets of: {sorted(missing)}"


def test_what_a_stranger_gets(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        wrong, unserved = [], []
        for kind, (make, expected) in ASKED.items():
            try:
                value = await stranger.request(make(has), timeout=20)
            except OurBug as error:
                assert "nothing handles" in error.message, error
                unserved.append(kind.__name__)
                continue
            except (NotFound, NotPermitted) as error:
                if not (isinstance(expected, type) and isinstance(error, expected)):
                    wrong.append(f"{kind.__name__}: {error!r}, not {expected}")
                continue
            if isinstance(expected, type):
                wrong.append(f"{kind.__name__}: answered, not {expected}")
            elif expected == EMPTY and value.items:
                wrong.append(f"{kind.__name__}: {value.items}")
            elif has.owner in str(value) or SECRET in str(value) or has.session in str(value):
                wrong.append(f"{kind.__name__} tells of the owner: {value}")
        assert not wrong, "\n".join(wrong)
        assert not unserved, f"nothing handles {unserved}"

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_is_told_of_a_bug_nothing_but_where_to_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(who: PrincipalId, command: Any) -> None:
        raise ValueError("the file /srv/private/x is empty")

    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        gateway: Any = owner._gateway  # type: ignore[attr-defined]
        gateway.serve({GetStatus: broken})
        with pytest.raises(OurBug, match=r"GetStatus .*/srv/private/x"):
            await owner.request(GetStatus())
        caplog.clear()
        with pytest.raises(OurBug, match=r"GetStatus failed unexpectedly \(trace_") as caught:
            await stranger.request(GetStatus())
        assert "private" not in str(caught.value) and "ValueError" not in str(caught.value)
        trace = caught.value.message.partition("(")[2].rstrip(")")
        assert trace in caplog.text and "/srv/private/x" in caplog.text

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_is_told_alike_of_what_is_hidden_and_of_what_does_not_exist(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        for one, other in (("hidden", "absent"),):
            told = []
            for name in (one, other):
                for command in (CallTool(server=name, tool="x"), ListTools(server=name)):
                    with pytest.raises(NotFound) as caught:
                        await stranger.request(command)
                    told.append(str(caught.value).replace(name, "?"))
            assert told[:2] == told[2:]
        call = CallTool(server="fs", tool="read_file", arguments={"path": "/etc/hostname"})
        with pytest.raises(NotPermitted, match="umbrella grant"):  # what is built in is no secret
            await stranger.request(call)
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://fs/read/etc/hostname"))
        assert (await stranger.request(call)).result.text
        assert "read_file" in {tool.name for tool in (await stranger.request(ListTools())).items}
        assert not (await stranger.request(ListExecutions(session_id=None))).items[0].error

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_who_follows_the_node_hears_of_their_own_sessions_only(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        mine = (await stranger.request(CreateSession(title="mine"))).id
        await owner.request(ChangeSession(session_id=has.session, title="still hers"))
        await stranger.request(ChangeSession(session_id=mine, title="the last"))
        streams = set()
        async for notice in stranger.follow(None, 0):
            streams.add(notice.stream)  # type: ignore[union-attr]
            if getattr(getattr(notice, "event", None), "title", None) == "the last":
                break
        assert streams == {f"session:{mine}"}
        with pytest.raises(NotFound):
            async for _ in stranger.follow(has.session, 0):
                raise AssertionError("the session of somebody else is followed")

    asyncio.run(with_a_stranger(tmp_path, work))


def test_an_agent_may_not_be_acted_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(Settings(data_dir=tmp_path)) as node:
            client = node.client()
            for name in ("agent_" + "1" * 32, "system", "nobody"):
                info = ClientInfo(name="x", token=node.owner_token, on_behalf_of=PrincipalId(name))
                with pytest.raises(LoginRequired, match="no person"):
                    await client.connect(info)

    asyncio.run(scenario())


def test_nobody_but_the_node_acts_for_others(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        info = ClientInfo(name="x", token=has.secret, on_behalf_of=has.owner)
        with pytest.raises(LoginRequired, match="only the node's own token"):
            await stranger.connect(info)

    asyncio.run(with_a_stranger(tmp_path, work))
