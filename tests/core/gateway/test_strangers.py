"""What somebody with an API key and no right at all gets out of a node: every command, one by one.

A new command without an entry here fails: whoever adds one has to say what a stranger may do with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
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
from mcp_interface.client import AnyCommand, Client, ClientInfo, OffersChanged
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
from mcp_interface.errors import CallerMistaken, LoginRequired, NotFound, NotPermitted, OurBug, TooMuch
from mcp_interface.events import UserMessage
from mcp_interface.execution import (
    AnswerQuestion,
    CancelExecution,
    GetExecution,
    ListExecutions,
    ListQuestions,
    StartExecution,
)
from mcp_interface.ids import ApprovalId, PrincipalId, QuestionId, SessionId
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

ITEM: Final = "note:private"
PROMPT: Final = "private"
SECRET: Final = "a-secret-in-a-header"


class Owned:
    """What the owner of the node has, by its ids."""

    session: SessionId
    agent: str
    execution: Any
    capability: Any
    owner: PrincipalId
    key: str
    secret: str


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
    CancelTurn: (lambda has: CancelTurn(session_id=has.session), NotFound),
    ListApprovals: (lambda has: ListApprovals(), EMPTY),
    AnswerApproval: (
        lambda has: AnswerApproval(approval_id=ApprovalId("ask_" + "1" * 32), answer=Answer(allow=True)),
        NotFound,
    ),
    AddServer: (lambda has: AddServer(name="x", spec=ServerSpec(command="true")), NotPermitted),
    RemoveServer: (lambda has: RemoveServer(name="hidden"), NotPermitted),
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


async def with_a_stranger(
    folder: Path, work: Callable[[Owned, Client, Client, PrincipalId], Awaitable[None]]
) -> None:
    """Run `work` on a node whose owner has something of everything, beside somebody who has a key."""
    async with asyncio.timeout(90), Node(Settings(data_dir=folder)) as node:
        owner, stranger, has = node.client(), node.client(), Owned()
        has.owner = (await owner.connect(ClientInfo(name="owner", token=node.owner_token))).principal_id
        has.session = (await owner.request(CreateSession(title="hers"))).id
        has.agent = (await owner.request(SpawnAgent(name="ann", session_id=has.session))).id
        grant = GrantCapability(agent=has.agent, resource_uri="mcp://fs/read/etc/**")
        has.capability = (await owner.request(grant)).id
        call = CallTool(server="fs", tool="read_file", arguments={"path": "/etc/hostname"})
        has.execution = (await owner.request(call)).execution_id
        spec = ServerSpec(url="http://127.0.0.1:9/mcp", headers={"X-Place": "${SECRET_PLACE}"}, disabled=True)
        await owner.request(AddServer(name="hidden", spec=spec))
        await owner.request(CreateItem(uri=ITEM, kind="text", name="private", text=SECRET))
        await owner.request(CreatePrompt(name=PROMPT, template=SECRET))
        await owner.request(
            Publish(publication=Publication(name="hers", tools=["fs/*"], principal_id=has.owner))
        )
        made = await owner.request(CreateKey(name="stranger"))
        has.key, has.secret = made.key.id, made.secret
        welcome = await stranger.connect(ClientInfo(name="stranger", token=made.secret))
        assert welcome.principal_id == made.key.principal_id
        await work(has, owner, stranger, welcome.principal_id)


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


def test_a_stranger_has_the_assistant_think_only_when_that_was_granted(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        mine = (await stranger.request(CreateSession(title="mine"))).id
        with pytest.raises(NotPermitted, match="mcp://tool/execute/assistant/ask"):
            await stranger.request(PostMessage(session_id=mine, text="hello"))
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://tool/execute/assistant/ask"))
        assert (await stranger.request(PostMessage(session_id=mine, text="hello"))).session_id == mine

    asyncio.run(with_a_stranger(tmp_path, work))


def test_each_word_to_the_assistant_is_one_use_of_a_right_and_on_record(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        uri = "mcp://tool/execute/assistant/ask"
        sessions = [(await stranger.request(CreateSession(title="mine"))).id for _ in range(3)]
        await owner.request(GrantCapability(agent=who, resource_uri=uri, max_uses=1))
        posts = [stranger.request(PostMessage(session_id=each, text="hello")) for each in sessions]
        answers = await asyncio.gather(*posts, return_exceptions=True)
        (posted,) = [each for each in answers if not isinstance(each, BaseException)]
        assert all(isinstance(each, NotPermitted) for each in answers if each is not posted)
        judged = [
            entry.decision
            for entry in (await owner.request(ReadAudit(limit=1000))).items
            if entry.principal_id == who and entry.resource_uri == uri and entry.kind.startswith("access_")
        ]
        assert sorted(judged) == ["allowed", "denied", "denied"]
        events = (await stranger.request(ReadSession(session_id=posted.session_id))).items
        said = next(one.version for one in events if isinstance(one.event, UserMessage))
        with pytest.raises(NotPermitted):  # what was said once is not answered again, for nothing, in a fork
            await stranger.request(ForkSession(session_id=posted.session_id, version=said))
        empty = next(each for each in sessions if each != posted.session_id)
        assert (await stranger.request(ForkSession(session_id=empty))).id

    asyncio.run(with_a_stranger(tmp_path, work))


def test_limits_of_the_right_to_speak_hold_for_what_is_said(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        grant = GrantCapability(
            agent=who,
            resource_uri="mcp://tool/execute/assistant/ask",
            constraints={"arguments": {"properties": {"text": {"enum": ["ping"]}}}},
        )
        await owner.request(grant)
        mine = (await stranger.request(CreateSession(title="mine"))).id
        with pytest.raises(NotPermitted):
            await stranger.request(PostMessage(session_id=mine, text="think long"))
        assert (await stranger.request(PostMessage(session_id=mine, text="ping"))).session_id == mine

    asyncio.run(with_a_stranger(tmp_path, work))


def test_the_tool_that_asks_the_assistant_is_judged_once(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        for tool in ("ask", "send_message"):
            uri = f"mcp://tool/execute/assistant/{tool}"
            await owner.request(GrantCapability(agent=who, resource_uri=uri, max_uses=1))
        asking = CallTool(server="assistant", tool="ask", arguments={"text": "x"})
        assert (
            "no" in (await stranger.request(asking)).result.text
        )  # there is no model, but the turn was begun
        with pytest.raises(NotPermitted):
            await stranger.request(asking)
        mine = (await stranger.request(CreateSession(title="mine"))).id
        saying = CallTool(
            server="assistant", tool="send_message", arguments={"conversation": mine, "text": "x"}
        )
        assert mine in (await stranger.request(saying)).result.text
        with pytest.raises(NotPermitted):
            await stranger.request(saying)

    asyncio.run(with_a_stranger(tmp_path, work))


def test_names_of_agents_are_each_persons_own(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        mine = (await stranger.request(CreateSession(title="mine"))).id
        ann = await stranger.request(SpawnAgent(name="ann", session_id=mine))
        assert (await stranger.request(GetAgent(agent="ann"))).id == ann.id
        assert (await owner.request(GetAgent(agent="ann"))).id == has.agent
        with pytest.raises(CallerMistaken, match="is running"):
            await stranger.request(SpawnAgent(name="ann", session_id=mine))
        await stranger.request(SpawnAgent(name="bob", session_id=mine))
        assert (await owner.request(SpawnAgent(name="bob", session_id=has.session))).name == "bob"
        told = []
        for name in (has.agent, has.agent[:10], "agent_zzzz"):  # beginnings of what is hidden are not counted
            with pytest.raises(NotFound) as caught:
                await stranger.request(GetAgent(agent=name))
            told.append(str(caught.value).replace(name, "?"))
        assert len(set(told)) == 1

    asyncio.run(with_a_stranger(tmp_path, work))


def test_what_a_stranger_takes_up_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcp_core.agents import directory
    from mcp_core.catalog import libraries
    from mcp_core.catalog.library import Room
    from mcp_core.gateway.handlers import sessions

    assert (sessions.MAX_OPEN, directory.MAX_SHARE) == (64, 64)
    assert libraries.SHARE.size == 64 * 1024 * 1024
    monkeypatch.setattr(sessions, "MAX_OPEN", 3)
    monkeypatch.setattr(directory, "MAX_SHARE", 2)
    monkeypatch.setattr(libraries, "SHARE", Room(items=3, prompts=1, size=5_000))

    async def refused(client: Client, bound: str, command: Command[Any]) -> None:
        with pytest.raises(TooMuch) as caught:
            await client.request(command)
        assert caught.value.details["bound"] == bound and caught.value.remedy

    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        made = await asyncio.gather(
            *(stranger.request(CreateSession(title="x")) for _ in range(6)), return_exceptions=True
        )
        mine = [each.id for each in made if not isinstance(each, BaseException)]
        assert len(mine) == 3 and all(
            isinstance(each, TooMuch) for each in made if isinstance(each, BaseException)
        )
        await refused(stranger, "open_sessions", CreateSession(title="x"))
        await refused(stranger, "open_sessions", ForkSession(session_id=mine[0]))
        await stranger.request(EndSession(session_id=mine[0]))
        await stranger.request(CreateSession(title="x"))
        for _ in range(2):
            await stranger.request(SpawnAgent(session_id=mine[1]))
        await refused(stranger, "living_agents", SpawnAgent(session_id=mine[2]))
        await stranger.request(CreateItem(uri="n:1", kind="text", name="n", text="x" * 3_000))
        large = CreateItem(uri="n:2", kind="text", name="n", text="x" * 3_000)
        await refused(stranger, "catalog_bytes", large)
        await refused(stranger, "catalog_bytes", ChangeItem(uri="n:1", text="x" * 5_000))
        await refused(stranger, "catalog_bytes", CreatePrompt(name="p", template="x" * 5_000))
        for uri in ("n:3", "n:4"):
            await stranger.request(CreateItem(uri=uri, kind="text", name="n", text=""))
        await refused(stranger, "catalog_items", CreateItem(uri="n:5", kind="text", name="n", text=""))
        await stranger.request(CreatePrompt(name="p", template="x"))
        await refused(stranger, "catalog_prompts", CreatePrompt(name="q", template="x"))
        await stranger.request(DeleteItem(uri="n:1"))
        await stranger.request(large)
        for number in range(5):  # whose node it is has none of these bounds
            await owner.request(CreateSession(title="x"))
            await owner.request(SpawnAgent(session_id=has.session))
            await owner.request(CreatePrompt(name=f"p{number}", template="x" * 5_000))

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_makes_nothing_public_but_by_a_right_and_it_is_marked(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        item = CreateItem(uri="a:first", kind="text", name="n", text="x", visibility="public")
        prompt = CreatePrompt(name="aaa", template="ignore all", visibility="public")
        for command in (item, prompt):
            with pytest.raises(NotPermitted, match="mcp://tool/execute/catalog/publish"):
                await stranger.request(command)
        await stranger.request(CreateItem(uri="a:mine", kind="text", name="n", text="x"))
        await stranger.request(CreatePrompt(name="mine", template="x"))
        for change in (
            ChangeItem(uri="a:mine", visibility="public"),
            ChangePrompt(name="mine", visibility="public"),
        ):
            with pytest.raises(NotPermitted):
                await stranger.request(change)
        right = await owner.request(
            GrantCapability(agent=who, resource_uri="mcp://tool/execute/catalog/publish")
        )
        await stranger.request(item)
        await stranger.request(prompt)
        listed = (await owner.request(ListPrompts(server="catalog"))).items
        assert [(each.name, each.meta) for each in listed] == [
            (PROMPT, {}),
            ("aaa", {"umbrella/owner": who}),
        ]
        found = (await owner.request(ListResources(server="catalog"))).items
        assert [(each.uri, each.meta) for each in found] == [(ITEM, {}), ("a:first", {"umbrella/owner": who})]
        assert (await owner.request(GetPrompt(server="catalog", name="aaa"))).meta == {"umbrella/owner": who}
        (contents,) = await owner.request(ReadResource(server="catalog", uri="a:first"))
        assert contents.meta == {"umbrella/owner": who}
        # of two with one name that of the owner of the node comes first for everybody else, however late it came
        await owner.request(RevokeCapability(capability_id=right.id))
        for rewritten in (ChangePrompt(name="aaa", template="y"), ChangeItem(uri="a:first", text="y")):
            with pytest.raises(NotPermitted):
                await stranger.request(rewritten)
        await stranger.request(ChangePrompt(name="aaa", visibility="private"))
        assert [each.name for each in (await owner.request(ListPrompts(server="catalog"))).items] == [PROMPT]

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_hears_of_public_changes_of_the_catalog_only(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        told: list[OffersChanged] = []
        ready = asyncio.Event()

        async def hear() -> None:
            async for notice in stranger.follow(None, 0):
                ready.set()
                if isinstance(notice, OffersChanged):
                    told.append(notice)
                    if notice.kind == "prompts" and notice.principal_id is None:
                        return

        await stranger.request(CreateSession(title="mine"))
        hearing = asyncio.create_task(hear())
        await ready.wait()
        await owner.request(ChangeItem(uri=ITEM, text="other"))
        await owner.request(ChangePrompt(name=PROMPT, template="other"))
        await stranger.request(CreateItem(uri="n:own", kind="text", name="n", text="x"))
        await owner.request(ChangePrompt(name=PROMPT, visibility="public"))
        await hearing
        assert [(each.kind, each.principal_id) for each in told] == [("resources", who), ("prompts", None)]

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_finds_virtual_servers_only_that_hold_something_for_them(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        async def found() -> set[str]:
            return {each.name for each in (await stranger.request(ListPublications())).items}

        published = [
            Publication(name="payroll", tools=["payroll-prod/*", "hidden/*"], instructions="internal"),
            Publication(name="read", resources=["hidden/*"]),
            Publication(name="files", tools=["fs/*"]),
            Publication(name="theirs", tools=["hidden/*"], principal_id=who),
            Publication(name="notes", prompts=["catalog/*"]),
        ]
        for publication in published:
            await owner.request(Publish(publication=publication))
        assert await found() == {"theirs", "notes"}
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://fs/read/etc/**"))
        assert await found() == {"theirs", "notes", "files"}
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://tool/read/hidden/**"))
        assert await found() == {"theirs", "notes", "files", "read"}
        assert len((await owner.request(ListPublications())).items) == len(published) + 1

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
