"""The actors of a real node, seen and operated by its owner, and by nobody else."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from mcp_core import Node, Settings
from mcp_core.gateway.handlers.runtime import RuntimeCommands
from mcp_core.gateway.tickets import Ticket
from mcp_core.runtime.observer import SEEN
from mcp_interface.agent import AgentRecord
from mcp_interface.client import AnyCommand, Client, ClientInfo
from mcp_interface.clock import SystemClock
from mcp_interface.commands import (
    CallTool,
    Command,
    CreateSession,
    GrantCapability,
    ListAgents,
    PostMessage,
    ReadSession,
    RevokeCapability,
    SendMessage,
    SpawnAgent,
    StopAgent,
)
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, InvalidAddress, NotFound, NotPermitted, TooMuch
from mcp_interface.events import AgentRestarted, TurnEnded
from mcp_interface.ids import MessageId, PrincipalId
from mcp_interface.observe import (
    ActorStatus,
    Branch,
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    ObserveRuntime,
    ResendLost,
    RuntimeStatus,
    WatchActor,
)
from scripted_model import scripted_model

PATIENCE_S = 20.0
GUEST = PrincipalId("user_" + "b" * 32)


def run(place: Path, work: Callable[[Client, Node], Any], environ: dict[str, str] | None = None) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(place, environ or {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            async with asyncio.timeout(PATIENCE_S):
                await work(client, node)

    asyncio.run(scenario())


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    while not (found := await condition()):
        await asyncio.sleep(0.01)
    return found


def everybody(branch: Branch) -> list[ActorStatus]:
    return [*branch.actors, *(each for below in branch.branches for each in everybody(below))]


def actor(status: RuntimeStatus, name: str) -> ActorStatus:
    return next(each for each in everybody(status.tree) if each.name == name)


async def spawned(client: Client, name: str, **metadata: Any) -> AgentRecord:
    return await client.request(SpawnAgent(name=name, metadata=metadata))


def address(agent: AgentRecord) -> str:
    return f"mcp://agent/{agent.id}"


def test_the_tree_shows_servers_sessions_and_agents_by_the_names_that_people_know(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        session = await client.request(CreateSession(title="Harbor"))
        ann = await spawned(client, "ann")
        status = await client.request(ObserveRuntime(memory=True))
        assert [branch.name for branch in status.tree.branches] == ["servers", "sessions", "agents"]
        assert actor(status, ann.id).about == "worker ann"
        assert actor(status, ann.id).type == "AgentActor"
        assert actor(status, f"session:{session.id}").about == "Harbor"
        assert "tool_executor tool-executor" in {each.about for each in everybody(status.tree)}
        assert all(each.memory for each in everybody(status.tree) if each.state != "asleep")
        assert status.actors >= 3
        assert status.dead_letters == 0
        only = await client.request(ObserveRuntime(match="WORKER ANN"))
        assert [each.name for each in everybody(only.tree)] == [ann.id]

    run(tmp_path, work)


def test_a_killed_agent_comes_back_with_its_state_under_the_same_id_while_its_session_goes_on(
    tmp_path: Path,
) -> None:
    async def work(client: Client, node: Node) -> None:
        session = await client.request(CreateSession(title="Harbor"))
        ann = await client.request(SpawnAgent(name="ann", session_id=session.id))
        for _ in range(3):
            assert await client.request(SendMessage(to=address(ann), payload={"hello": 1})) == 1
        await until(lambda: _handled(client, ann.id, 3))
        before = actor(await client.request(ObserveRuntime()), ann.id)
        await client.request(KillActor(name=ann.id))
        await client.request(WatchActor(name=ann.id))
        await client.request(SendMessage(to=address(ann)))
        await until(lambda: client.request(ListSeen(name=ann.id)))
        after = actor(await client.request(ObserveRuntime()), ann.id)
        assert (after.restarts, after.state) == (before.restarts + 1, "idle")
        assert after.handled == before.handled + 2, "its start, and the message"
        (agent,) = [each for each in (await client.request(ListAgents())).items if each.id == ann.id]
        assert (agent.state, agent.restarts) == ("active", 1)
        ref = node_ref(node, ann.id)
        assert ref._actor._state.messages == 4, "three before it was killed and one after"
        notes = await until(lambda: _restarts(client, session.id))
        assert notes == ["killed"], "the session says so"

    run(tmp_path, work)


async def _handled(client: Client, name: str, count: int) -> bool:
    shown = actor(await client.request(ObserveRuntime()), name)
    return shown.handled >= count and shown.mail == 0 and shown.state == "idle"


async def _restarts(client: Client, session_id: Any) -> list[str]:
    records = (await client.request(ReadSession(session_id=session_id))).items
    return [record.event.reason for record in records if isinstance(record.event, AgentRestarted)]


def room_of(node: Node) -> RuntimeCommands:
    gateway: Any = node._gateway
    commands: RuntimeCommands = gateway._handlers[KillActor].__self__
    return commands


def node_ref(node: Node, name: str) -> Any:
    child = room_of(node)._system.find(name)
    assert child is not None
    return child.ref


def test_killing_the_assistant_in_the_middle_of_a_turn_does_not_lose_the_answer(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        session = await client.request(CreateSession(title="Harbor"))
        await client.request(PostMessage(session_id=session.id, text="hello"))
        (assistant,) = [
            each
            for each in (await client.request(ListAgents(session_id=session.id))).items
            if each.type == "llm"
        ]
        await client.request(KillActor(name=assistant.id))
        await client.request(KillActor(name=f"session:{session.id}"))
        executor = next(
            each for each in (await client.request(ListAgents())).items if each.type == "tool_executor"
        )
        await client.request(KillActor(name=executor.id))

        async def ended() -> list[Any]:
            records = (await client.request(ReadSession(session_id=session.id))).items
            return [record.event for record in records if isinstance(record.event, TurnEnded)]

        (turn,) = await until(ended)
        assert turn.status == "completed"
        called = await client.request(
            CallTool(server="fs", tool="list_directory", arguments={"path": str(tmp_path.parent)})
        )
        assert not called.result.is_error

    with scripted_model([{"text": "Hello, I am still here.", "chunk_delay": 0.05}]) as model:
        run(tmp_path, work, model.environ("openai"))


def test_two_looks_tell_how_many_messages_an_actor_handles(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann")
        first = await client.request(ObserveRuntime())
        for _ in range(20):
            await client.request(SendMessage(to=address(ann)))
        await until(lambda: _handled(client, ann.id, actor(first, ann.id).handled + 20))
        second = await client.request(ObserveRuntime(order="handled"))
        assert actor(second, ann.id).handled - actor(first, ann.id).handled >= 20
        assert second.uptime_s > first.uptime_s

    run(tmp_path, work)


def test_a_watched_agent_shows_its_messages_with_sender_and_outcome(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann")
        with pytest.raises(NotFound, match="not watched"):
            await client.request(ListSeen(name=ann.id))
        await client.request(WatchActor(name=ann.id))
        await client.request(SendMessage(to=address(ann), payload={"text": "the mail"}))
        (seen,) = await until(lambda: client.request(ListSeen(name=ann.id)))
        welcome = await node.client().connect(ClientInfo(name="test", token=node.owner_token))
        assert (seen.sender, seen.outcome) == (welcome.principal_id, "ok")
        assert "the mail" in seen.message
        assert actor(await client.request(ObserveRuntime()), ann.id).watched
        for _ in range(SEEN + 10):
            await client.request(SendMessage(to=address(ann)))
        await client.request(WatchActor(name=ann.id, on=False))
        await client.request(WatchActor(name=ann.id, on=False))
        with pytest.raises(NotFound):
            await client.request(ListSeen(name=ann.id))
        with pytest.raises(NotFound):
            await client.request(WatchActor(name="nobody"))

    run(tmp_path, work)


def test_a_topic_reaches_all_who_listen_and_what_reached_nobody_is_sent_again(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        with pytest.raises(NotFound, match="nobody listens"):
            await client.request(SendMessage(to="mcp://broadcast/news", payload="first"))
        (lost,) = (await client.request(ListLost())).items
        assert (lost.to, lost.reason, lost.can_be_sent) == ("mcp://broadcast/news", "not_found", True)
        assert "first" in lost.message
        assert (await client.request(ObserveRuntime())).dead_letters == 1
        with pytest.raises(NotFound):
            await client.request(ResendLost(number=lost.number))
        assert [each.number for each in (await client.request(ListLost())).items] == [lost.number], (
            "it stays as it is, and is not kept a second time"
        )
        names = [await spawned(client, name, topics=["news"]) for name in ("ann", "bob")]
        for agent in names:
            await client.request(WatchActor(name=agent.id))
        assert (await client.request(ResendLost(number=lost.number))).number == lost.number
        assert await client.request(SendMessage(to="mcp://broadcast/news", payload="second")) == 2
        for agent in names:

            async def both(name: str = agent.id) -> Any:
                seen = await client.request(ListSeen(name=name))
                return seen if len(seen) == 2 else None

            seen = await until(both)
            assert ["first" in seen[0].message, "second" in seen[1].message] == [True, True]
        assert (await client.request(ListLost())).items == []
        with pytest.raises(NotFound):
            await client.request(ResendLost(number=lost.number))

    run(tmp_path, work)


def test_two_who_send_the_same_again_send_it_once(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        with pytest.raises(NotFound):
            await client.request(SendMessage(to="mcp://broadcast/news"))
        ann = await spawned(client, "ann", topics=["news"])
        await client.request(WatchActor(name=ann.id))
        answers = await asyncio.gather(
            *(client.request(ResendLost(number=1)) for _ in range(5)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["LostMessage", *["NotFound"] * 4]
        await until(lambda: client.request(ListSeen(name=ann.id)))
        assert len(await client.request(ListSeen(name=ann.id))) == 1

    run(tmp_path, work)


def test_what_its_sender_may_not_send_any_more_is_not_sent_again(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann")
        right = await client.request(
            GrantCapability(agent=ann.id, resource_uri="mcp://agent/write/broadcast/news")
        )
        message = Envelope(
            id=MessageId("msg_" + "1" * 32),
            to="mcp://broadcast/news",
            sender=ann.id,
            timestamp=SystemClock().now(),
        )
        with pytest.raises(NotFound):
            await room_of(node)._router.tell(message)
        await client.request(RevokeCapability(capability_id=right.id))
        bob = await spawned(client, "bob", topics=["news"])
        await client.request(WatchActor(name=bob.id))
        with pytest.raises(NotPermitted, match="agent/write/broadcast/news"):
            await client.request(ResendLost(number=1))
        assert [each.sender for each in (await client.request(ListLost())).items] == [ann.id]
        await client.request(GrantCapability(agent=ann.id, resource_uri="mcp://agent/write/broadcast/news"))
        await client.request(ResendLost(number=1))
        (seen,) = await until(lambda: client.request(ListSeen(name=bob.id)))
        assert seen.sender == ann.id

    run(tmp_path, work)


def test_one_member_of_a_topic_that_missed_a_message_gets_it_again_alone(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann", topics=["news"])
        bob = await spawned(client, "bob", topics=["news"])
        for agent in (ann, bob):
            await client.request(WatchActor(name=agent.id))
        kind = type(node_ref(node, ann.id)._actor)
        limit, kind.mailbox_limit = kind.mailbox_limit, 2
        try:
            node_ref(node, ann.id)._actor.on_receive = _hold(release := asyncio.Event())
            for _ in range(4):  # one is handled, one more wakes it, two wait: the next is turned away
                await client.request(SendMessage(to=address(ann)))
                await asyncio.sleep(0)
                if node_ref(node, ann.id).waiting >= 2:
                    break
            assert await client.request(SendMessage(to="mcp://broadcast/news", payload="x")) == 1
        finally:
            kind.mailbox_limit = limit
            release.set()
        (lost,) = (await client.request(ListLost(to=ann.id))).items
        assert lost.reason == "overloaded"
        await client.request(ResendLost(number=lost.number))
        await until(lambda: client.request(ListSeen(name=bob.id)))
        assert len(await client.request(ListSeen(name=bob.id))) == 1, "bob had got it"
        assert (await client.request(ListLost())).items == []

    run(tmp_path, work)


def _hold(release: asyncio.Event) -> Callable[[Any], Any]:
    async def receive(message: Any) -> None:
        await release.wait()

    return receive


def test_lost_messages_are_paged_filtered_and_forgotten(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann")
        await client.request(StopAgent(agent=ann.id))
        for place in range(5):
            with pytest.raises(NotFound):
                await client.request(SendMessage(to=f"mcp://broadcast/{place}"))
        with pytest.raises(NotFound):
            await client.request(SendMessage(to=address(ann)))
        first = await client.request(ListLost(limit=4))
        rest = await client.request(ListLost(limit=4, cursor=first.cursor))
        assert [each.number for each in [*first.items, *rest.items]] == [1, 2, 3, 4, 5, 6]
        assert rest.cursor is None
        assert [each.number for each in (await client.request(ListLost(to=address(ann)))).items] == [6]
        assert (await client.request(ForgetLost(number=3))).to == "mcp://broadcast/2"
        with pytest.raises(NotFound):
            await client.request(ForgetLost(number=3))
        assert len((await client.request(ListLost())).items) == 5
        with pytest.raises(CallerMistaken):
            await client.request(ListLost(cursor="made up"))

    run(tmp_path, work)


def test_an_actor_is_not_killed_so_often_that_it_would_be_given_up(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann")
        killed = 0
        with pytest.raises(TooMuch, match="would give it up"):
            while True:
                before = actor(await client.request(ObserveRuntime()), ann.id).restarts
                await client.request(KillActor(name=ann.id))
                killed = actor(await client.request(ObserveRuntime()), ann.id).restarts
                assert killed in (before, before + 1)
                await asyncio.sleep(0.01)
        assert killed == 5
        await until(lambda: _handled(client, ann.id, 0))
        assert await client.request(SendMessage(to=address(ann))) == 1, "and it lives on"
        with pytest.raises(NotFound, match="umbrella observe"):
            await client.request(KillActor(name="nobody"))

    run(tmp_path, work)


def test_people_do_not_speak_to_the_nodes_own_agents_by_mail(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        executor = next(
            each for each in (await client.request(ListAgents())).items if each.type == "tool_executor"
        )
        with pytest.raises(CallerMistaken, match="take no messages"):
            await client.request(SendMessage(to=address(executor)))
        with pytest.raises(InvalidAddress):
            await client.request(SendMessage(to="ann"))
        ann = await spawned(client, "ann")
        assert await client.request(SendMessage(to="mcp://agent/ann")) == 1, "its name will do"
        assert (await client.request(ObserveRuntime())).dead_letters == 0
        assert (await _handled(client, ann.id, 0)) in (True, False)

    run(tmp_path, work)


def test_only_the_owner_sees_and_operates_the_actors(tmp_path: Path) -> None:
    async def work(client: Client, node: Node) -> None:
        ann = await spawned(client, "ann", topics=["news"])
        gateway: Any = node._gateway
        forbidden: list[Command[Any]] = [
            ObserveRuntime(),
            WatchActor(name=ann.id),
            ListSeen(name=ann.id),
            KillActor(name=ann.id),
            ListLost(),
            ResendLost(number=1),
            ForgetLost(number=1),
            SendMessage(to="mcp://broadcast/news"),
        ]
        asked = {type(command) for command in forbidden}
        assert {kind for kind in get_args(AnyCommand) if kind.__module__ == "mcp_interface.observe"} <= asked
        for command in forbidden:
            with pytest.raises(NotPermitted, match="only the owner"):
                await gateway.handle(Ticket(GUEST), command)
        with pytest.raises(NotFound, match="no agent"):
            await gateway.handle(Ticket(GUEST), SendMessage(to=address(ann)))
        status = cast("RuntimeStatus", await client.request(ObserveRuntime()))
        assert (actor(status, ann.id).restarts, actor(status, ann.id).watched) == (0, False)
        assert status.dead_letters == 0

    run(tmp_path, work)
